"""The commands on models of others: what becomes of each node, what was chosen, what is refused; and graphs that load again."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import pytest

import ivit_ref
from ivit_ref.cli import main
from ivit_ref.importer import Choices
from tests.importer.building import Array, Writer, integers_of, operators

Capture: TypeAlias = pytest.CaptureFixture[str]

X = integers_of(np.random.default_rng(0), (3, 4, 8)) * np.float32(0.0625)


def written(path: Path, *, refused: bool = False) -> Path:
    """A small block with a named batch axis: norm, product, attention weights, GELU, residual; perhaps with what is refused."""
    rng, w = np.random.default_rng(0), Writer()
    x = w.qdq(w.input("x", ("N", 4, 8)), 0.0625)
    y = w.qdq(w.node("LayerNormalization", x, w.constant(np.ones(8)), w.constant(np.zeros(8)), name="norm"), 0.03)
    y = w.node("MatMul", y, w.weights(integers_of(rng, (8, 8)), 0.01), name="fc")
    y = w.qdq(w.node("Add", y, w.constant(rng.normal(size=8)), name="bias"), 0.04)
    p = w.node("Softmax", w.node("MatMul", y, w.node("Transpose", y, perm=[0, 2, 1]), name="qk"), name="softmax")
    y = w.qdq(w.node("MatMul", p, y, name="pv"), 0.05)
    y = w.qdq(w.node("Gelu", y, name="gelu"), 0.05)
    y = w.node("Add", x, y, name="residual")
    if refused:
        y = w.node("Mystery", y, name="mystery")
        y = w.node(
            "Relu", w.node("Mul", y, w.node("DynamicQuantizeLinear", x, name="dynamic", out=("a", "b", "c"))), name="after"
        )
    onnx.save(w.model(w.quantize(y, 0.0625, name="last", out="y")), path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return written(tmp_path / "model.onnx")


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return written(tmp_path / "partial.onnx", refused=True)


def command(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def wrong(capsys: Capture, *arguments: object) -> str:
    """The one line on stderr of a use that is refused."""
    try:
        status: Any = command(*arguments)
    except SystemExit as error:
        status = error.code
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n"), err.startswith("ivit-ref: ")) == (2, "", 1, True)
    return err


def coverage(capsys: Capture, *arguments: object, status: int = 0) -> dict[str, Any]:
    assert command("inspect", *arguments, "--coverage", "--json") == status
    out, err = capsys.readouterr()
    assert err == ""
    facts: dict[str, Any] = json.loads(out)
    return facts


def names_in(path: Path) -> list[str]:
    return sorted(node.name for node in onnx.load(path).graph.node)


# --- inspect --coverage


def test_every_node_of_the_source_is_told_once(model: Path, partial: Path, capsys: Capture) -> None:
    for path, status in ((model, 0), (partial, 1)):
        facts = coverage(capsys, path, "--dims", "N=3", status=status)
        assert sorted(entry["node"] for entry in facts["nodes"]) == names_in(path)
        types = {node.name: node.op_type for node in onnx.load(path).graph.node}
        assert {entry["node"]: entry["operator"] for entry in facts["nodes"]} == types
        assert all(entry["becomes"] or entry["note"] or entry["refused"] for entry in facts["nodes"])


def test_coverage_tells_what_each_node_becomes(model: Path, capsys: Capture) -> None:
    facts = coverage(capsys, model, "--dims", "N=3")
    becomes = {entry["node"]: entry["becomes"] for entry in facts["nodes"]}
    assert "ILayerNorm" in becomes["norm"]
    assert "Shiftmax" in becomes["softmax"]
    assert "ShiftGELU" in becomes["gelu"]
    assert "RequantizeAdd" in becomes["last"] + becomes["residual"]
    assert facts["refused"] == 0
    assert all(isinstance(line, str) and line.isprintable() for line in facts["chosen"])


def test_every_operator_of_the_graph_belongs_to_a_node(model: Path, capsys: Capture) -> None:
    facts = coverage(capsys, model, "--dims", "N=3")
    told = Counter(op for entry in facts["nodes"] for op in entry["becomes"])
    graph = ivit_ref.load(model, N=3)
    assert told == Counter(operators(graph))
    assert graph.metadata["chosen"] == str(len(facts["chosen"]))


def test_refused_nodes_have_reasons_and_the_status_is_1(partial: Path, capsys: Capture) -> None:
    facts = coverage(capsys, partial, "--dims", "N=3", status=1)
    refused = {entry["node"]: entry["refused"] for entry in facts["nodes"] if entry["refused"]}
    assert sorted(refused) == ["dynamic", "mystery"]
    assert "quantize_static" in refused["dynamic"]
    assert "no integer form" in refused["mystery"]
    assert facts["refused"] == 2
    notes = {entry["node"]: entry["note"] for entry in facts["nodes"]}
    assert notes["after"].startswith("not reached: it needs 'Mul")


def test_coverage_as_text_tells_the_same(model: Path, partial: Path, capsys: Capture) -> None:
    assert command("inspect", model, "--coverage", "--dims", "N=3") == 0
    text = capsys.readouterr().out
    assert "every node has an integer form" in text
    counted = [line.split()[0] for line in text.splitlines()[1:] if line.split()[0].isdigit()]
    assert sum(map(int, counted)) == len(names_in(model))
    assert command("inspect", partial, "--coverage", "--dims", "N=3") == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert re.search(r"25 nodes, 2 refused, [1-9]\d* not reached\n", out)
    lines = [line for line in out.splitlines() if line.startswith("refused")]
    assert [line.split("node ")[1].split(" ")[0] for line in lines] == ["'mystery'", "'dynamic'"]


def test_a_scale_that_the_source_does_not_give_is_told(tmp_path: Path, capsys: Capture) -> None:
    w = Writer()
    y = w.node("Mul", w.image((2, 4)), w.node("Exp", w.dequantize("QuantizeLinear0.y", 0.125), name="e"), name="product")
    onnx.save(w.model(w.node("Softmax", y)), tmp_path / "m.onnx")
    facts = coverage(capsys, tmp_path / "m.onnx")
    assert facts["chosen"]
    command("inspect", tmp_path / "m.onnx", "--coverage")
    text = capsys.readouterr().out
    assert all(line in text for line in facts["chosen"])


def test_what_is_refused_at_an_output_is_told_of_its_node(tmp_path: Path, capsys: Capture) -> None:
    w = Writer()
    y = w.node("MatMul", w.image((1, 2**18)), w.weights(np.full((2**18, 1), 127)), name="wide")
    onnx.save(w.model(y), tmp_path / "m.onnx")
    facts = coverage(capsys, tmp_path / "m.onnx", status=1)
    assert {e["node"] for e in facts["nodes"]} == set(names_in(tmp_path / "m.onnx"))


@pytest.mark.parametrize("names", [("same", "same"), ("", "Relu.y")])
def test_nodes_of_one_name_are_told_each(names: tuple[str, str], tmp_path: Path, capsys: Capture) -> None:
    w = Writer()
    y = w.node("Relu", w.image((2, 4)), out="Relu.y")
    w.node("Neg", y, out="z")
    for node, name in zip(w.nodes[-2:], names, strict=True):
        node.name = name
    onnx.save(w.model("z"), tmp_path / "m.onnx")
    assert len(coverage(capsys, tmp_path / "m.onnx")["nodes"]) == len(w.nodes)


def test_coverage_counts_unbound_axes_as_one(model: Path, capsys: Capture) -> None:
    assert coverage(capsys, model)["refused"] == 0


def test_what_follows_from_a_chosen_name_is_printable(tmp_path: Path, capsys: Capture) -> None:
    w = Writer()
    y = w.node("Exp", w.image((2, 4)), out="a\x1b[31m\nb")
    onnx.save(w.model(y), tmp_path / "m.onnx")
    command("inspect", tmp_path / "m.onnx", "--coverage")
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.splitlines())


# --- convert, run


def arrays_in(path: Path) -> dict[str, Array]:
    with np.load(path) as archive:
        return dict(archive)


@pytest.mark.parametrize("how", [(), ("--gelu", "lookup"), ("--profile", "qat"), ("--profile", "paper", "--gelu", "shiftgelu")])
def test_a_converted_model_loads_again_and_runs_equal(
    how: tuple[str, ...], model: Path, tmp_path: Path, capsys: Capture
) -> None:
    np.save(tmp_path / "x.npy", X)
    assert command("convert", model, tmp_path / "own.onnx", "--dims", "N=3", *how, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert command("run", model, "--input", f"x={tmp_path / 'x.npy'}", "--dims", "N=3", *how, "--out", tmp_path / "a.npz") == 0
    assert command("run", tmp_path / "own.onnx", "--input", f"x={tmp_path / 'x.npy'}", "--out", tmp_path / "b.npz") == 0
    one, two = arrays_in(tmp_path / "a.npz"), arrays_in(tmp_path / "b.npz")
    assert list(one) == list(two) == ["y"]
    np.testing.assert_array_equal(one["y"], two["y"], strict=True)
    given = dict(zip(how[::2], how[1::2], strict=True))
    chosen = Choices(profile=given.get("--profile", "ideal"), gelu=given.get("--gelu", "shiftgelu"))  # type: ignore[arg-type]
    graph = ivit_ref.load(model, choices=chosen, N=3)
    again = ivit_ref.load(tmp_path / "own.onnx")
    assert again.nodes == graph.nodes
    np.testing.assert_array_equal(ivit_ref.run(graph, {"x": X})["y"], one["y"], strict=True)
    wanted = {"softmax": "shiftmax", "layernorm": "ilayernorm", "source": "model.onnx", "source_opset": "20"}
    wanted |= {"profile": given.get("--profile", "ideal"), "gelu": given.get("--gelu", "shiftgelu")}
    assert {key: again.metadata.get(key) for key in wanted} == wanted
    assert {key: facts[key] for key in wanted} == wanted
    assert len(again.metadata["source_sha256"]) == 64


def test_gelu_by_lookup_has_no_shift_gelu(model: Path) -> None:
    with_table = operators(ivit_ref.load(model, choices=Choices(gelu="lookup"), N=1))
    assert ("Lookup" in with_table, "ShiftGELU" in with_table) == (True, False)
    assert "ShiftGELU" in operators(ivit_ref.load(model, N=1))


def test_the_profile_of_a_converted_graph_can_be_changed(model: Path, tmp_path: Path) -> None:
    assert command("convert", model, tmp_path / "own.onnx", "--dims", "N=3") == 0
    assert command("convert", tmp_path / "own.onnx", tmp_path / "qat.onnx", "--profile", "qat") == 0
    again = ivit_ref.load(tmp_path / "qat.onnx")
    straight = ivit_ref.load(model, choices=Choices(profile="qat"), N=3)
    for x in (X, -X):
        np.testing.assert_array_equal(ivit_ref.run(again, {"x": x})["y"], ivit_ref.run(straight, {"x": x})["y"], strict=True)


@pytest.mark.parametrize("engine", ["fast", "spec"])
def test_engines_agree_on_an_imported_model(engine: str, model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    out = tmp_path / "out.npz"
    assert command("run", model, "--input", f"x={tmp_path / 'x.npy'}", "--dims", "N=3", "--engine", engine, "--out", out) == 0
    np.testing.assert_array_equal(arrays_in(out)["y"], ivit_ref.run(ivit_ref.load(model, N=3), {"x": X})["y"])


# --- Wrong uses

DIMS = ["N", "N=", "=3", "N=x", "N=-1", "N=3=", "N=1.5", "N=99999999999"]


@pytest.mark.parametrize("dims", DIMS)
def test_dims_that_are_none_are_refused(dims: str, model: Path, capsys: Capture) -> None:
    for arguments in (("inspect", model), ("inspect", model, "--coverage")):
        assert "--dims" in wrong(capsys, *arguments, "--dims", dims)


def test_other_wrong_uses_are_refused_in_one_line(model: Path, partial: Path, tmp_path: Path, capsys: Capture) -> None:
    own, data = tmp_path / "own.onnx", tmp_path / "x.npy"
    np.save(data, X)
    command("convert", model, own, "--dims", "N=3", "--json")
    capsys.readouterr()
    assert "--dims N=1" in wrong(capsys, "inspect", model)
    assert "'M'" in wrong(capsys, "inspect", model, "--dims", "N=1", "M=2")
    assert "'N=2'" in wrong(capsys, "inspect", model, "--dims", "N=1", "N=2")
    assert "found 0" in wrong(capsys, "inspect", model, "--dims", "N=0")
    assert "gelu" in wrong(capsys, "inspect", model, "--gelu", "exact", "--dims", "N=1")
    assert "profile" in wrong(capsys, "inspect", model, "--profile", "none", "--dims", "N=1")
    assert "--gelu" in wrong(capsys, "inspect", own, "--gelu", "lookup")
    assert "--softmax" in wrong(capsys, "run", own, "--softmax", "shiftmax-fine", "--input", f"x={data}")
    assert "--profile" in wrong(capsys, "convert", own, tmp_path / "twice.onnx")
    assert "--num-heads" in wrong(capsys, "convert", model, tmp_path / "z.onnx", "--num-heads", "2", "--dims", "N=1")
    assert "'mystery'" in wrong(capsys, "convert", partial, tmp_path / "z.onnx", "--dims", "N=1")
    assert "'mystery'" in wrong(capsys, "run", partial, "--input", f"x={data}", "--dims", "N=3")
    assert not (tmp_path / "z.onnx").exists()
    wrong(capsys, "run", model, "--input", f"x={data}", "--dims", "N=2")
    wrong(capsys, "inspect", tmp_path / "none.onnx", "--coverage")
    assert "--out" in wrong(capsys, "run", model, "--input", f"x={data}", "--dims", "N=3", "--out", model)


def test_convert_does_not_write_over_its_source(model: Path, capsys: Capture) -> None:
    before = model.read_bytes()
    wrong(capsys, "convert", model, model, "--dims", "N=3")
    assert model.read_bytes() == before


def test_coverage_of_a_graph_of_our_own(model: Path, tmp_path: Path, capsys: Capture) -> None:
    command("convert", model, tmp_path / "own.onnx", "--dims", "N=3", "--json")
    nodes = json.loads(capsys.readouterr().out)["nodes"]
    assert coverage(capsys, tmp_path / "own.onnx") == {
        "graph": str(tmp_path / "own.onnx"), "native": True, "nodes": nodes, "refused": 0,
    }  # fmt: skip
