"""A graph with the operators of I-BERT and FQ-ViT: constants filled in, verified, written, read, and run in both engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ivit_ref
from ivit_ref import Graph, GraphBuilder, Quant
from ivit_ref.errors import IvitError
from ivit_ref.onnx_io import to_model
from ivit_ref.ops import i_bert_gelu, i_bert_softmax, log_int_softmax, matmul, shift_mat_mul
from ivit_ref.testing.calls_ibert import following
from ivit_ref.verify import verify
from tests.onnx.runtimes import RUNTIMES

X = np.arange(-60, 60, dtype="int8").reshape(5, 24)[:, ::5].copy()
V = np.arange(-40, 35, dtype="int8").reshape(5, 15)


def attention() -> Graph:
    b = GraphBuilder("attention", profile="qat")
    x, v = b.input("x", "int8", X.shape, Quant((0.0625,))), b.input("v", "int8", V.shape, Quant((0.5,)))
    p = b.node("IBertSoftmax", x, name="softmax", n=30, out_bits=8, dtype="uint8")
    y = b.node("MatMul", p, v, name="product", alpha=1.0)
    codes = b.node("LogIntSoftmax", x, name="codes", n=30, bits=4)
    z = b.node("ShiftMatMul", codes, v, name="shifts", bits=4, alpha=1.0)
    w = b.node("IBertGELU", x, name="gelu", shift=0)
    return b.finish([y, z, w])


def test_a_graph_of_peers_has_its_constants_and_steps() -> None:
    graph = attention()
    steps = {node.name: node.output.quant for node in graph.nodes}
    assert steps["codes"] is None
    assert steps["product"] == Quant((0.5 * 2.0**-8,))
    assert steps["shifts"] == Quant((0.5 * 2.0**-15,))
    gelu = steps["gelu"]
    assert gelu is not None
    assert gelu.scale[0] < 0
    for node in graph.nodes:
        if node.op in ("IBertSoftmax", "LogIntSoftmax", "IBertGELU"):
            assert node.attributes == following(node.op, 0.0625, **node.attributes)


@pytest.mark.parametrize("engine", ["spec", "fast"])
def test_a_graph_of_peers_runs(engine: str, tmp_path: Path) -> None:
    ivit_ref.save(attention(), tmp_path / "a.onnx")
    graph = ivit_ref.load(tmp_path / "a.onnx")
    found = list(ivit_ref.run(graph, {"x": X, "v": V}, engine=engine).values())
    p = i_bert_softmax(X, **following("IBertSoftmax", 0.0625, n=30, out_bits=8, dtype="uint8"))
    codes = log_int_softmax(X, **following("LogIntSoftmax", 0.0625, n=30, bits=4))
    wanted = [matmul(p, V, alpha=1.0), shift_mat_mul(codes, V, bits=4, alpha=1.0)]
    wanted.append(i_bert_gelu(X, **following("IBertGELU", 0.0625, shift=0)))
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want, strict=True)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_graph_of_peers_runs_elsewhere(runtime: str) -> None:
    graph = attention()
    found = RUNTIMES[runtime](to_model(graph), {"x": X, "v": V})
    for name, want in ivit_ref.run(graph, {"x": X, "v": V}).items():
        np.testing.assert_array_equal(found[name], want, strict=True)


def test_a_constant_that_does_not_follow_is_refused() -> None:
    graph = attention()
    nodes = tuple(replace(n, attributes={**n.attributes, "c": 99}) if n.name == "codes" else n for n in graph.nodes)
    with pytest.raises(IvitError, match=r"\(V5\).*\bc\b.*99"):
        verify(replace(graph, nodes=nodes))
