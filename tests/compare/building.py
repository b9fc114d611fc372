"""A case of two nodes whose integers were computed by hand, the digits ViT, and backends that are wrong in one node."""

from __future__ import annotations

import atexit
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ivit_ref
from ivit_ref import Graph, GraphBuilder, Quant
from ivit_ref.events import Context
from ivit_ref.golden.case import TensorRecord
from ivit_ref.interpreter import kernel_of
from ivit_ref.ir import Array
from tests.golden.building import command

ROOT = Path(ivit_ref.__file__).parent.parent
GRAPHS = ROOT / "graphs"
HERE = "tests.compare.building"

FC, OUT = "block/fc", "block/out"
X = np.array([[1, 2, 3], [-1, 0, 5]], np.int8)
WEIGHT = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 1], [1, 2, 1]], np.int8)
BIAS = np.array([10, 0, -20, 0], np.int32)
SUMS = np.array([[11, 4, -17, 8], [9, 0, -15, 4]], np.int32)
"""X times WEIGHT transposed, plus BIAS."""
RESULT = np.array([[3, 1, -4, 2], [2, 0, -4, 1]], np.int8)
"""A quarter of that, to nearest; no tie is among them."""
PAIR = "models/test_pair_qat"

WRONG = "blocks.1.mlp.act"


@cache
def scratch() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="compare-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def pair_case() -> Path:
    """The case of two nodes, written by the command."""
    b = GraphBuilder("pair", profile="qat")
    x = b.input("x", "int8", (2, 3), Quant((0.5,)))
    weight, bias = b.constant("weight", WEIGHT, Quant((0.25,))), b.constant("bias", BIAS, Quant((0.125,)))
    y = b.node("Linear", x, weight, bias, name=FC)
    graph = b.finish([b.node("Requantize", y, name=OUT, dtype="int8", quant=Quant((0.5,)))])
    ivit_ref.save(graph, scratch() / "pair.onnx")
    np.save(scratch() / "x.npy", X)
    made = ("--graph", scratch() / "pair.onnx", "--input", f"x={scratch() / 'x.npy'}")
    assert command("golden", "make", scratch() / "pair", *made) == 0
    return scratch() / "pair" / PAIR


@cache
def digits_case() -> Path:
    """The digits ViT with one image, every tensor kept."""
    made = ("--graph", GRAPHS / "digits_vit.onnx", "--images", GRAPHS / "digits_test.npz")
    assert command("golden", "make", scratch() / "digits", *made) == 0
    return scratch() / "digits" / "models" / "test_digits_vit_qat"


@cache
def suites_tree() -> Path:
    """Two suites of several cases each, directed vectors alone."""
    assert command("golden", "make", scratch() / "suites", "--suite", "ReduceMean", "Shiftmax", "--random", 0) == 0
    return scratch() / "suites"


def record(dtype: str, *shape: int) -> TensorRecord:
    return TensorRecord("t", "inner", "node", "Op", dtype, shape, "", "tensors.npz")


def dump(path: Path, **arrays: Any) -> Path:
    """An archive; ``block_fc`` stands for the name with a slash."""
    np.savez(path, **{name.replace("block_", "block/"): array for name, array in arrays.items()})
    return path


def mapped(path: Path, **fields: Any) -> Path:
    path.write_text(json.dumps({"format": "ivit_ref.map", "version": 1, **fields}), encoding="utf-8")
    return path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """One line on stderr with these words in it, and nothing on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ivit-ref: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert [word for word in words if word not in err] == [], err


# --- Backends


def everything(inputs: Mapping[str, Array], graph: Graph, change: Callable[[str, Array], Array]) -> dict[str, Array]:
    """Every tensor of a run in which the result of each node goes through ``change`` before the next one takes it."""
    values = dict(inputs) | {c.value.name: c.data for c in graph.constants}
    made = {}
    for node in graph.nodes:
        context = Context("wrap", op=node.op, node=node.name)
        y = kernel_of(node.op, "fast")([values[name] for name in node.inputs], node.attributes, context)
        values[node.output.name] = made[node.output.name] = change(node.name, y)
    return made


def exact(inputs: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    return everything(inputs, graph, lambda name, y: y)


def wrong(inputs: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    """One more than right, in one node."""
    return everything(inputs, graph, lambda name, y: y + 1 if name == WRONG else y)


def half_dropped(inputs: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    """What Shiftmax gives with another setting."""
    return exact(inputs, graph.with_attributes("Shiftmax", half="drop"))


def infinite(inputs: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    """The real numbers at the end are infinite."""
    with np.errstate(all="ignore"):
        return everything(inputs, graph, lambda name, y: y / np.float32(0) if y.dtype == np.float32 else y)


def chatty(inputs: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    print("running", len(graph.nodes), "nodes")
    return exact(inputs, graph)


def inputs_alone(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Made for the pair: it has no graph to look into."""
    sums = inputs["x"].astype(np.int32) @ WEIGHT.T.astype(np.int32) + BIAS
    return {FC: sums, OUT: RESULT}


def raising(inputs: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    raise RuntimeError("out of\nmemory")


def leaving(inputs: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    raise SystemExit(0)


def hanging(inputs: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    time.sleep(2)
    return exact(inputs, graph)


def nothing(inputs: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    return {}
