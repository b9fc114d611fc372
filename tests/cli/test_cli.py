"""The command: what it prints and writes, and that it refuses bad input in one line, with status 2, writing nothing."""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import ivit_ref
from ivit_ref.cli import main
from ivit_ref.ir import Graph, Quant
from ivit_ref.models import SwinConfig, ViTConfig, model_graph, random_state
from ivit_ref.onnx_io import to_model
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY

Array = npt.NDArray[Any]
Capture: TypeAlias = pytest.CaptureFixture[str]

ROOT = Path(__file__).parents[2]
GRAPH = ROOT / "graphs" / "digits_vit.onnx"
QUANTIZED = ROOT / "graphs" / "quantized" / "digits_batch_qdq_u8.onnx"
CHECKPOINT = ROOT / "graphs" / "digits_vit.npz"
SWIN = ROOT / "graphs" / "digits_swin.npz"
DEIT = "deit_tiny_patch16_224"
COUNT = 20

SMALL = ViTConfig((4, 6), (2, 2), channels=1, dim=8, depth=1, heads=2, hidden=8, classes=3)
"""Six patches: no square, so conversion must be told the size of the image."""
SMALL_SWIN = SwinConfig((8, 8), (2, 2), channels=1, dim=4, depths=(2, 1), heads=(1, 2), window=2, hidden=8, classes=3)


@pytest.fixture(scope="module")
def digits() -> dict[str, Array]:
    """The first images, with their labels and the simulation's logits."""
    with np.load(ROOT / "graphs" / "digits_test.npz") as archive:
        return {name: archive[name][:COUNT] for name in ("images", "labels", "logits")}


@pytest.fixture
def images(digits: dict[str, Array], tmp_path: Path) -> Path:
    np.savez(tmp_path / "images.npz", **digits)
    return tmp_path / "images.npz"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    np.savez(tmp_path / "small.npz", **random_state(SMALL).arrays)
    return tmp_path / "small.npz"


def command(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def facts_of(capsys: Capture) -> dict[str, Any]:
    """What was printed, as JSON; and nothing else was."""
    out, err = capsys.readouterr()
    assert err == ""
    facts: dict[str, Any] = json.loads(out)
    return facts


def arrays_in(path: Path) -> dict[str, Array]:
    with np.load(path) as archive:
        return dict(archive)


# --- run


@pytest.mark.parametrize("engine", ["fast", "spec"])
def test_run_tells_the_accuracy(engine: str, images: Path, digits: dict[str, Array], capsys: Capture) -> None:
    assert command("run", GRAPH, "--images", images, "--engine", engine, "--json") == 0
    facts = facts_of(capsys)
    classes = ivit_ref.run(ivit_ref.load(GRAPH), {"image": digits["images"]})["logits"].argmax(axis=1)
    assert facts["correct"] == np.count_nonzero(classes == digits["labels"])
    assert facts["agreeing"] == np.count_nonzero(classes == digits["logits"].argmax(axis=1))
    assert (facts["count"], facts["profile"], facts["engine"], facts["overflow"]) == (COUNT, "qat", engine, "raise")
    assert (facts["graph"], facts["name"]) == (str(GRAPH), "digits_vit")
    assert facts["operators"]["Shiftmax"] == 4
    assert facts["seconds"] > 0


def test_run_as_text(images: Path, digits: dict[str, Array], capsys: Capture) -> None:
    assert command("run", GRAPH, "--images", images) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = {line.split()[0]: line for line in out.splitlines() if not line.startswith(" ")}
    assert list(rows) == ["graph", "top-1", "agreement", "operators", "events", "time"]
    classes = ivit_ref.run(ivit_ref.load(GRAPH), {"image": digits["images"]})["logits"].argmax(axis=1)
    correct = np.count_nonzero(classes == digits["labels"])
    assert f"{100 * correct / COUNT:.2f} % ({correct} of {COUNT}, labels)" in rows["top-1"]
    assert "ILayerNorm 9" in rows["operators"]


def test_run_tells_the_same_as_text_and_as_json(images: Path, capsys: Capture) -> None:
    command("run", GRAPH, "--images", images, "--json")
    facts = facts_of(capsys)
    command("run", GRAPH, "--images", images)
    text = capsys.readouterr().out
    largest = max(facts["events"], key=lambda event: event["count"])
    assert largest["text"] in text
    assert all(f"{op} {count}" in text for op, count in facts["operators"].items())
    assert f"{facts['correct']} of {COUNT}" in text


def test_run_without_labels_tells_no_accuracy(digits: dict[str, Array], tmp_path: Path, capsys: Capture) -> None:
    np.savez(tmp_path / "bare.npz", images=digits["images"][:2])
    assert command("run", GRAPH, "--images", tmp_path / "bare.npz", "--json") == 0
    assert not {"correct", "agreeing"}.intersection(facts_of(capsys))


@pytest.mark.parametrize("engine", ["fast", "spec"])
def test_run_writes_the_outputs(engine: str, images: Path, digits: dict[str, Array], tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out.npz"
    assert command("run", GRAPH, "--images", images, "--out", out, "--engine", engine, "--json") == 0
    assert facts_of(capsys)["out"] == str(out)
    expected = ivit_ref.run(ivit_ref.load(GRAPH), {"image": digits["images"]}, engine="spec")
    written = arrays_in(out)
    assert {name: str(array.dtype) for name, array in written.items()} == {"logits": "float32", "logits_int": "int32"}
    for name, array in expected.items():
        np.testing.assert_array_equal(written[name], array, strict=True)


def test_run_writes_every_tensor(images: Path, digits: dict[str, Array], tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    assert command("run", GRAPH, "--images", images, "--out", out, "--intermediates") == 0
    graph = ivit_ref.load(GRAPH)
    expected = ivit_ref.Interpreter(graph).run({"image": digits["images"]}, intermediates=True)
    written = arrays_in(out)
    assert set(written) == {node.output.name for node in graph.nodes}
    assert "blocks.0.attn.int_softmax" in written
    for name, array in expected.items():
        np.testing.assert_array_equal(written[name], array, strict=True)


@pytest.mark.parametrize("batch", [1, 7])
def test_batches_do_not_show(
    batch: int, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    command("run", GRAPH, "--images", images, "--out", tmp_path / "whole.npz", "--intermediates", "--json")
    whole = facts_of(capsys)
    monkeypatch.setattr(importlib.import_module("ivit_ref.batches"), "BATCH", batch)
    command("run", GRAPH, "--images", images, "--out", tmp_path / "parts.npz", "--intermediates", "--json")
    parts = facts_of(capsys)
    counted = [[{**event, "total": 0} for event in facts["events"]] for facts in (whole, parts)]
    assert sorted(counted[0], key=str) == sorted(counted[1], key=str)
    one, other = arrays_in(tmp_path / "whole.npz"), arrays_in(tmp_path / "parts.npz")
    assert set(one) == set(other)
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array, strict=True)


@pytest.fixture
def late_overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Arguments for a run in batches of two, of which the sixth row leaves the int16 of a LayerNorm's sum."""
    monkeypatch.setattr(importlib.import_module("ivit_ref.batches"), "BATCH", 2)
    g = ivit_ref.GraphBuilder("late", "tvm")
    x = g.input("x", "int16", ("N", 4))
    bias = g.constant("bias", np.zeros(4, np.int32))
    ivit_ref.save(g.finish([g.node("ILayerNorm", x, bias, name="norm")]), tmp_path / "late.onnx")
    np.save(tmp_path / "x.npy", np.repeat(np.array([0, 1, 2, 3, 4, 30000, 5], np.int16)[:, None], 4, axis=1))
    return ["run", tmp_path / "late.onnx", "--input", f"x={tmp_path / 'x.npy'}"]


def test_place_of_an_overflow_is_one_in_the_whole(late_overflow: list[object], capsys: Capture) -> None:
    assert command(*late_overflow) == 2
    assert capsys.readouterr().err.endswith("sum of x: 1 of 2 elements do not fit int16; first at [5, 0]: 120000\n")


def test_place_of_an_event_is_one_in_the_whole(late_overflow: list[object], capsys: Capture) -> None:
    assert command(*late_overflow, "--overflow", "wrap", "--json") == 0
    (event,) = [e for e in facts_of(capsys)["events"] if e["step"] == "sum of x"]
    assert (event["kind"], event["count"], event["index"], event["value"]) == ("wrapped", 1, [5, 0], 120000)


@pytest.mark.parametrize("profile", PROFILES)
def test_run_in_a_profile(profile: str, images: Path, digits: dict[str, Array], tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out.npz"
    options = ["--profile", profile, "--overflow", "wrap", "--out", out, "--json"]
    assert command("run", GRAPH, "--images", images, *options) == 0
    facts = facts_of(capsys)
    assert (facts["profile"], facts["overflow"]) == (profile, "wrap")
    assert (profile == "tvm") == any(event["kind"] == "wrapped" for event in facts["events"])
    graph = ivit_ref.load(GRAPH).with_profile(profile)
    expected = ivit_ref.run(graph, {"image": digits["images"]}, overflow="wrap")
    np.testing.assert_array_equal(arrays_in(out)["logits_int"], expected["logits_int"], strict=True)


def test_events_say_where(images: Path, capsys: Capture) -> None:
    command("run", GRAPH, "--images", images, "--profile", "tvm", "--overflow", "wrap", "--json")
    events = facts_of(capsys)["events"]
    (first,) = [e for e in events if (e["node"], e["step"], e["kind"]) == ("blocks.0.norm1", "sum of x", "wrapped")]
    assert first["op"] == "ILayerNorm"
    assert 0 < first["count"] <= COUNT * 17
    assert len(first["index"]) == 3


def test_run_named_inputs(digits: dict[str, Array], tmp_path: Path, capsys: Capture) -> None:
    np.save(tmp_path / "x.npy", digits["images"][:3])
    out = tmp_path / "out.npz"
    assert command("run", GRAPH, "--input", f"image={tmp_path / 'x.npy'}", "--out", out, "--json") == 0
    assert facts_of(capsys)["count"] == 3
    expected = ivit_ref.run(ivit_ref.load(GRAPH), {"image": digits["images"][:3]})
    np.testing.assert_array_equal(arrays_in(out)["logits_int"], expected["logits_int"], strict=True)


def product_graph(rows: int | str, inner: int, columns: int) -> Graph:
    """A graph of two inputs whose leading axes differ."""
    g = ivit_ref.GraphBuilder("product")
    a = g.input("a", "int8", (rows, inner), Quant((0.5,)))
    b = g.input("b", "int8", (inner, columns), Quant((0.5,)))
    return g.finish([g.node("MatMul", a, b, name="y", alpha=1.0)])


@pytest.mark.parametrize(("rows", "inner"), [(2, 3), (3, 2), (40, 2), (2, 40)])
@pytest.mark.parametrize("named", [True, False])
def test_inputs_of_different_lengths(rows: int, inner: int, named: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(-128, 128, (rows, inner), "int8"), rng.integers(-128, 128, (inner, 4), "int8")
    ivit_ref.save(product_graph("N" if named else rows, inner, 4), tmp_path / "product.onnx")
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    inputs = ["--input", f"a={tmp_path / 'a.npy'}", "--input", f"b={tmp_path / 'b.npy'}"]
    assert command("run", tmp_path / "product.onnx", *inputs, "--out", tmp_path / "y.npz") == 0
    np.testing.assert_array_equal(arrays_in(tmp_path / "y.npz")["y"], a.astype("int32") @ b.astype("int32"), strict=True)


@pytest.mark.parametrize("name", ["file", "args", "kwds", "allow_pickle", "y.npy"])
def test_outputs_may_have_any_name(name: str, tmp_path: Path) -> None:
    g = ivit_ref.GraphBuilder("names")
    x = g.input("x", "int8", ("N", 2))
    ivit_ref.save(g.finish([g.node("Transpose", x, name=name, perm=(0, 1))]), tmp_path / "names.onnx")
    np.save(tmp_path / "x.npy", np.array([[1, 2]], np.int8))
    assert command("run", tmp_path / "names.onnx", "--input", f"x={tmp_path / 'x.npy'}", "--out", tmp_path / "y.npz") == 0
    np.testing.assert_array_equal(arrays_in(tmp_path / "y.npz")[name], np.array([[1, 2]], np.int8), strict=True)


def test_graph_of_a_fixed_batch(images: Path, digits: dict[str, Array], tmp_path: Path) -> None:
    ivit_ref.save(ivit_ref.load(GRAPH, N=5), tmp_path / "five.onnx")
    assert command("run", tmp_path / "five.onnx", "--images", images, "--out", tmp_path / "out.npz") == 0
    expected = ivit_ref.run(ivit_ref.load(GRAPH), {"image": digits["images"]})
    np.testing.assert_array_equal(arrays_in(tmp_path / "out.npz")["logits_int"], expected["logits_int"], strict=True)


# --- inspect, ops


def test_inspect_as_text(capsys: Capture) -> None:
    assert command("inspect", GRAPH) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "graph digits_vit"
    assert "  profile = qat" in lines
    assert any(line.startswith("input image: float32[N,1,8,8]") for line in lines)
    assert lines[-2:] == ["output logits", "output logits_int"]
    graph = ivit_ref.load(GRAPH)
    for node in graph.nodes:
        (line,) = [line for line in lines if line.startswith(f"{node.output.name}: ")]
        assert f" = {node.op}({', '.join(node.inputs)})" in line
    softmax = next(line for line in lines if line.startswith("blocks.0.attn.int_softmax: int16[N,4,17,17] scale=3.05176e-05"))
    assert "out_bits=16" in softmax


def test_inspect_as_json(capsys: Capture) -> None:
    assert command("inspect", GRAPH, "--json") == 0
    facts = facts_of(capsys)
    graph = ivit_ref.load(GRAPH)
    assert (facts["name"], facts["outputs"]) == ("digits_vit", ["logits", "logits_int"])
    assert facts["metadata"]["profile"] == "qat"
    assert facts["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["N", 1, 8, 8], "quant": None}]
    assert [node["name"] for node in facts["nodes"]] == [node.name for node in graph.nodes]
    assert len(facts["constants"]) == len(graph.constants)
    requantize = next(node for node in facts["nodes"] if node["name"] == "blocks.0.attn.qact1")
    numbers = zip(requantize["attributes"]["multiplier"], requantize["attributes"]["shift"], strict=True)
    assert requantize["real"] == [m / 2**s for m, s in numbers]


def test_ops_lists_every_operator(capsys: Capture) -> None:
    assert command("ops") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split()[0] for line in out.splitlines()] == list(REGISTRY)


def test_ops_as_json(capsys: Capture) -> None:
    assert command("ops", "--json") == 0
    operators = {op["name"]: op for op in facts_of(capsys)["operators"]}
    assert list(operators) == list(REGISTRY)
    assert operators["ILayerNorm"]["inputs"] == ["x", "bias"]
    assert operators["IntSqrt"]["attributes"] == ["start", "steps"]
    assert operators["Slice"]["summary"] == "a range of one axis."


@pytest.mark.parametrize("path", sorted((ROOT / "ivit_ref" / "ops").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_ops_prints_the_text_of_the_file(path: Path, capsys: Capture) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    name = text.partition(":")[0]
    assert command("ops", name) == 0
    said, _, called = capsys.readouterr().out.partition("\n\nFrom Python\n")
    assert said == text
    assert command("ops", name, "--json") == 0
    facts = facts_of(capsys)
    assert (facts["name"], facts["text"]) == (name, text)
    assert "".join(called.split()) == "".join(facts["function"].split())


def test_ops_prints_the_function_with_what_its_attributes_may_be(capsys: Capture) -> None:
    assert command("ops", "ReduceMean", "--json") == 0
    wanted = "ivit_ref.ops.reduce_mean(x,*,axes=tupleofint,rounding='half_even'|'half_away'|'truncate')"
    assert "".join(facts_of(capsys)["function"].split()) == wanted


# --- convert


def test_convert_a_checkpoint(checkpoint: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "small.onnx"
    options = ["--num-heads", 2, "--image-size", "4x6", "--profile", "ideal", "--json"]
    assert command("convert", checkpoint, out, *options) == 0
    facts = facts_of(capsys)
    graph = ivit_ref.load(out)
    assert facts == {"out": str(out), "name": "small", "nodes": len(graph.nodes), **graph.metadata}
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert dict(graph.metadata) == {"heads": "2", "profile": "ideal", "source": "small.npz", "source_sha256": digest}
    expected = model_graph(random_state(SMALL), SMALL, "ideal", name="small")
    assert graph == expected.with_metadata(**graph.metadata)
    assert graph.inputs[0].type.shape == ("N", 1, 4, 6)


def test_convert_as_text(checkpoint: Path, tmp_path: Path, capsys: Capture) -> None:
    assert command("convert", checkpoint, tmp_path / "small.onnx", "--num-heads", 1, "--image-size", "4x6") == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert rows["out"] == str(tmp_path / "small.onnx")
    assert (rows["heads"], rows["profile"], rows["source"]) == ("1", "qat", "small.npz")


def test_convert_depends_on_its_input_only(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("one.onnx", "two.onnx"):
        assert command("convert", checkpoint, tmp_path / name, "--num-heads", 2, "--image-size", "4x6") == 0
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


@pytest.mark.parametrize("order", ["SOURCE OUT h i", "h i SOURCE OUT", "SOURCE h i OUT", "h SOURCE i OUT", "SOURCE h OUT i"])
def test_options_stand_on_either_side_of_the_paths(order: str, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    words: dict[str, Arguments] = {"SOURCE": [checkpoint], "OUT": [out], "h": ["--num-heads", 2], "i": ["--image-size", "4x6"]}
    assert command("convert", *(word for place in order.split() for word in words[place])) == 0
    graph = ivit_ref.load(out)
    assert graph == model_graph(random_state(SMALL), SMALL, name="small").with_metadata(**graph.metadata)


def test_convert_a_published_model_with_random_weights(tmp_path: Path, capsys: Capture) -> None:
    """The options say all: the same seed gives the same bytes, another seed or profile others."""
    seeds = {"none.onnx": [], "zero.onnx": ["--seed", 0], "one.onnx": ["--seed", 1], "paper.onnx": ["--profile", "paper"]}
    for name, options in seeds.items():
        assert command("convert", "--model", DEIT, "--random-weights", *options, tmp_path / name, "--json") == 0
        facts = facts_of(capsys)
        assert (facts["model"], facts["heads"], facts["out"]) == (DEIT, "3", str(tmp_path / name))
    written = {name: (tmp_path / name).read_bytes() for name in seeds}
    assert written["none.onnx"] == written["zero.onnx"]
    assert len(set(written.values())) == 3
    graph = ivit_ref.load(tmp_path / "paper.onnx")
    assert graph == ivit_ref.load(tmp_path / "none.onnx").with_profile("paper")
    assert graph.inputs[0].type.shape == ("N", 3, 224, 224)
    assert graph.values["logits"].type.shape == ("N", 1000)


def test_convert_a_published_model_as_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """--model says what the shapes do not: the heads, and the size of an image that is not square."""
    models = importlib.import_module("ivit_ref.models.config").MODELS
    monkeypatch.setitem(models, "small", SMALL)
    np.savez(tmp_path / "small.npz", **random_state(SMALL).arrays)
    assert command("convert", tmp_path / "small.npz", tmp_path / "small.onnx", "--model", "small", "--json") == 0
    facts = facts_of(capsys)
    assert (facts["model"], facts["heads"], facts["source"]) == ("small", "2", "small.npz")
    assert ivit_ref.load(tmp_path / "small.onnx").inputs[0].type.shape == ("N", 1, 4, 6)


@pytest.mark.parametrize("profile", PROFILES)
def test_convert_a_graph(profile: str, tmp_path: Path, capsys: Capture) -> None:
    assert command("convert", GRAPH, tmp_path / "other.onnx", "--profile", profile, "--json") == 0
    assert facts_of(capsys)["profile"] == profile
    assert ivit_ref.load(tmp_path / "other.onnx") == ivit_ref.load(GRAPH).with_profile(profile)


# --- bench


@pytest.fixture
def small_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark on a model of which a run takes no time."""
    bench = importlib.import_module("ivit_ref.cli.bench")
    monkeypatch.setattr(bench, "model_named", lambda name: {"deit_tiny_patch16_224": SMALL, "swin": SMALL_SWIN}[name])


def assert_ordered(spread: dict[str, float]) -> None:
    assert 0 < spread["min"] <= spread["median"] <= spread["max"]


@pytest.mark.usefixtures("small_bench")
def test_bench_tells_a_ratio(capsys: Capture) -> None:
    pytest.importorskip("onnxruntime")
    assert command("bench", "--runs", 3, "--json") == 0
    facts = facts_of(capsys)
    for key in ("integer_ms", "onnxruntime_float_ms", "ratio"):
        assert_ordered(facts[key])
    assert facts["ratio"]["min"] >= facts["integer_ms"]["min"] / facts["onnxruntime_float_ms"]["max"]
    assert facts["ratio"]["max"] <= facts["integer_ms"]["max"] / facts["onnxruntime_float_ms"]["min"]
    assert facts["engine"] == "fast"


@pytest.mark.usefixtures("small_bench")
def test_bench_of_a_swin_has_no_float_model_to_compare_with(capsys: Capture) -> None:
    assert command("bench", "--runs", 1, "--model", "swin", "--json") == 0
    facts = facts_of(capsys)
    assert facts["model"] == "swin"
    assert "integer_ms" in facts
    assert not {"onnxruntime_float_ms", "ratio"} & set(facts)


@pytest.mark.usefixtures("small_bench")
def test_bench_as_text(capsys: Capture) -> None:
    pytest.importorskip("onnxruntime")
    assert command("bench", "--runs", 1, "--engine", "spec") == 0
    out, err = capsys.readouterr()
    assert err == ""
    names = [line[:18].strip() for line in out.splitlines()]
    assert [n for n in names if n != "peak memory"] == ["model", "engine", "size", "integer", "onnxruntime float", "ratio"]


@pytest.mark.usefixtures("small_bench")
def test_bench_without_onnxruntime(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert command("bench", "--runs", 1, "--json") == 0
    out, err = capsys.readouterr()
    assert err.startswith("ivit-ref: ")
    assert err.count("\n") == 1
    assert "pip install 'ivit-ref[ort]'" in err
    facts = json.loads(out)
    assert_ordered(facts["integer_ms"])
    assert "ratio" not in facts


# --- Refusals

Arguments: TypeAlias = list[object]
Bad: TypeAlias = Callable[[Path], Arguments]
"""Makes a bad input in a folder, and gives the arguments that meet it."""


def digits_with(folder: Path, **arrays: Array | None) -> Path:
    """An image file with other arrays; None leaves one away."""
    data = {name: array[:COUNT] for name, array in arrays_in(ROOT / "graphs" / "digits_test.npz").items()}
    np.savez(folder / "given.npz", **{name: array for name, array in {**data, **arrays}.items() if array is not None})
    return folder / "given.npz"


def run_on(folder: Path, **arrays: Array | None) -> Arguments:
    return ["run", GRAPH, "--images", digits_with(folder, **arrays), "--out", folder / "out.npz"]


def run_input(folder: Path, array: Array, name: str = "image") -> Arguments:
    np.save(folder / "x.npy", array)
    return ["run", GRAPH, "--input", f"{name}={folder / 'x.npy'}", "--out", folder / "out.npz"]


def run_graph(folder: Path, data: bytes) -> Arguments:
    (folder / "bad.onnx").write_bytes(data)
    return ["run", folder / "bad.onnx", "--images", digits_with(folder), "--out", folder / "out.npz"]


def convert_with(folder: Path, *options: object, **arrays: Array | None) -> Arguments:
    state = {**random_state(SMALL).arrays, **{key.replace("__", "."): array for key, array in arrays.items()}}
    np.savez(folder / "state.npz", **{key: array for key, array in state.items() if array is not None})
    return ["convert", folder / "state.npz", folder / "out.onnx", *(options or ["--num-heads", 2, "--image-size", "4x6"])]


def random_weights(folder: Path, *options: object) -> Arguments:
    return ["convert", folder / "out.onnx", "--random-weights", "--model", DEIT, *options]


def foreign_model(op_type: str, domain: str) -> bytes:
    """The digits with another operator for the first node."""
    model = to_model(ivit_ref.load(GRAPH))
    model.graph.node[0].op_type, model.graph.node[0].domain = op_type, domain
    return model.SerializeToString()


def float_model() -> bytes:
    info = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "float", info[:1], info[1:])
    return onnx.helper.make_model(graph).SerializeToString()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("unpickled",)


def pickled() -> Array:
    array = np.empty(1, object)
    array[0] = Evil()
    return array


def some(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


BAD: dict[str, tuple[Bad, str]] = {
    "no graph": (lambda f: ["run", f / "none.onnx", "--images", digits_with(f)], "no such file"),
    "a folder for a graph": (lambda f: ["run", f, "--images", digits_with(f)], "a folder"),
    "an empty graph": (lambda f: run_graph(f, b""), "truncated or not ONNX"),
    "a truncated graph": (lambda f: run_graph(f, GRAPH.read_bytes()[:300000]), "bad.onnx"),
    "text for a graph": (lambda f: run_graph(f, b"Not a model.\n"), "must be an ONNX model"),
    "an archive for a graph": (lambda f: ["inspect", digits_with(f)], "must be an ONNX model"),
    "a float model": (lambda f: run_graph(f, float_model()), "must be quantized"),
    "another domain": (lambda f: run_graph(f, foreign_model("QGelu", "com.microsoft")), "com.microsoft::QGelu"),
    "an unknown operator": (lambda f: run_graph(f, foreign_model("Softplus", "ai.ivit")), "ai.ivit::Softplus"),
    "no images": (lambda f: ["run", GRAPH, "--images", f / "none.npz", "--out", f / "out.npz"], "none.npz: must be a file"),
    "text for images": (lambda f: ["run", GRAPH, "--images", ROOT / "README.md"], "must be an .npz archive"),
    "images that no batch of 7 divides": (
        lambda f: ["run", QUANTIZED, "--dims", "N=7", "--images", ROOT / "graphs" / "digits_test.npz"],
        "must be a multiple of the 7 that the graph takes at once (see: --dims), but found 450",
    ),
    "no array of images": (lambda f: run_on(f, images=None), "'images'"),
    "images in float64": (lambda f: run_on(f, images=np.zeros((COUNT, 1, 8, 8))), "must be float32, but found float64"),
    "images in int8": (lambda f: run_on(f, images=np.zeros((COUNT, 1, 8, 8), np.int8)), "must be float32, but found int8"),
    "images of another size": (lambda f: run_on(f, images=some(COUNT, 1, 8, 7)), "must be float32[N,1,8,8]"),
    "images of another rank": (lambda f: run_on(f, images=some(COUNT, 8, 8)), "must be float32[N,1,8,8]"),
    "a single number": (lambda f: run_on(f, images=some()), "a single number"),
    "an empty set of images": (lambda f: run_on(f, images=some(0, 1, 8, 8)), "must be float32[N,1,8,8]"),
    "images with NaN": (lambda f: run_on(f, images=some(COUNT, 1, 8, 8) * np.nan), "no NaN and no infinity"),
    "pickled images": (lambda f: run_on(f, images=pickled()), "pickle"),
    "pickled labels": (lambda f: run_on(f, labels=pickled()), "pickle"),
    "too few labels": (lambda f: run_on(f, labels=np.zeros(COUNT - 1, int)), "'labels' must be 20 integers"),
    "labels in two axes": (lambda f: run_on(f, labels=np.zeros((COUNT, 1), int)), "'labels' must be 20 integers"),
    "labels that are floats": (lambda f: run_on(f, labels=np.zeros(COUNT)), "'labels' must be 20 integers"),
    "labels beyond the classes": (lambda f: run_on(f, labels=np.full(COUNT, 10)), "classes from 0 to 9"),
    "labels below the classes": (lambda f: run_on(f, labels=np.full(COUNT, -1)), "classes from 0 to 9"),
    "logits with NaN": (lambda f: run_on(f, logits=some(COUNT, 10) * np.nan), "'logits'"),
    "logits of another shape": (lambda f: run_on(f, logits=some(COUNT, 9)), "'logits' must have shape [20, 10]"),
    "logits that are text": (lambda f: run_on(f, logits=np.full((COUNT, 10), "a")), "'logits'"),
    "logits that are records": (lambda f: run_on(f, logits=np.zeros((COUNT, 10), [("a", "i4")])), "'logits'"),
    "another input": (lambda f: run_input(f, some(2, 1, 8, 8), "picture"), "'picture'"),
    "an input of another dtype": (lambda f: run_input(f, np.zeros((2, 1, 8, 8))), "must be float32, but found float64"),
    "an input of another shape": (lambda f: run_input(f, some(2, 8, 8)), "must be float32[N,1,8,8]"),
    "an input without axes": (lambda f: run_input(f, some()), "must be float32[N,1,8,8]"),
    "an input without elements": (lambda f: run_input(f, some(0, 1, 8, 8)), "must be float32[N,1,8,8]"),
    "a pickled input": (lambda f: run_input(f, pickled()), "pickle"),
    "an input without a file": (lambda f: ["run", GRAPH, "--input", f"image={f / 'none.npy'}"], "none.npy: must be a file"),
    "an input without =": (lambda f: ["run", GRAPH, "--input", "image"], "NAME=FILE.npy"),
    "an input twice": (lambda f: [*run_input(f, some(2, 1, 8, 8)), "--input", f"image={f / 'x.npy'}"], "'image'"),
    "intermediates without a file": (lambda f: [*run_on(f)[:4], "--intermediates"], "--intermediates: must come with --out"),
    "an overflow": (lambda f: [*run_on(f), "--profile", "tvm"], "node 'blocks.0.norm1' (ILayerNorm): sum of x: "),
    "no folder for the outputs": (lambda f: [*run_on(f)[:4], "--out", f / "none" / "out.npz"], "can be written"),
    "a folder for the outputs": (lambda f: [*run_on(f)[:4], "--out", f], "can be written"),
    "a name too long for the outputs": (lambda f: [*run_on(f)[:4], "--out", f / ("x" * 300)], "can be written"),
    "no name for the outputs": (lambda f: [*run_on(f)[:4], "--out", ""], "--out"),
    "a device for the outputs": (lambda f: [*run_on(f)[:4], "--out", "/dev/null"], "can be written"),
    "the images for the outputs": (lambda f: [*run_on(f)[:4], "--out", f / "given.npz"], "--out"),
    "an input for the outputs": (lambda f: [*run_input(f, some(2, 1, 8, 8))[:4], "--out", f / "x.npy"], "--out"),
    "the graph for the outputs": (lambda f: [*run_graph(f, GRAPH.read_bytes())[:4], "--out", f / "bad.onnx"], "--out"),
    "a graph to inspect": (lambda f: ["inspect", f / "none.onnx"], "no such file"),
    "an unknown operator to print": (lambda f: ["ops", "Softplus"], "'Softplus'"),
    "one path to convert": (lambda f: ["convert", f / "a.npz"], "must be given SOURCE and OUT.onnx, but found "),
    "three paths to convert": (lambda f: [*convert_with(f), f / "b.onnx"], "must be given SOURCE and OUT.onnx, but found "),
    "a seed alone": (lambda f: [*convert_with(f), "--seed", 3], "--seed: goes with --random-weights only, but found 3"),
    "random weights of no model": (lambda f: ["convert", f / "out.onnx", "--random-weights"], "--model: must name"),
    "random weights of an unknown model": (lambda f: random_weights(f, "--model", "vit"), "but found 'vit'"),
    "random weights of a source": (lambda f: random_weights(f, f / "b.onnx"), "must be given OUT.onnx, but found "),
    "a negative seed": (lambda f: random_weights(f, "--seed", -1), "--seed: must not be negative, but found -1"),
    "heads of random weights": (lambda f: random_weights(f, "--num-heads", 3), "--num-heads: goes with another kind"),
    "an image size of random weights": (lambda f: random_weights(f, "--image-size", "8x8"), "--image-size: goes with another"),
    "another model": (lambda f: convert_with(f, "--model", "swin_tiny_patch4_window7_224"), "swin_tiny_patch4_window7_224"),
    "an unknown model": (lambda f: convert_with(f, "--model", "vit"), "but found 'vit'"),
    "a graph with a model": (
        lambda f: ["convert", GRAPH, f / "out.onnx", "--profile", "tvm", "--model", DEIT],
        "--model: goes with another kind of source",
    ),
    "heads of a Swin": (lambda f: ["convert", SWIN, f / "out.onnx", "--num-heads", 2], "none must be given, but found 2"),
    "no heads": (lambda f: convert_with(f, "--image-size", "4x6"), "must be given (see: --num-heads)"),
    "heads that do not divide": (lambda f: convert_with(f, "--num-heads", 3, "--image-size", "4x6"), "must divide"),
    "zero heads": (lambda f: convert_with(f, "--num-heads", 0, "--image-size", "4x6"), "must divide"),
    "no image size": (lambda f: convert_with(f, "--num-heads", 2), "--image-size"),
    "another image size": (lambda f: convert_with(f, "--num-heads", 2, "--image-size", "8x8"), "must have 6 patches"),
    "an image size in words": (lambda f: convert_with(f, "--num-heads", 2, "--image-size", "4 by 6"), "must be HxW"),
    "a missing key": (lambda f: convert_with(f, norm__bias_integer=None), "'norm.bias_integer'"),
    "a key of another shape": (
        lambda f: convert_with(f, head__bias_integer=some(4)),
        "'head.bias_integer' must have shape [3]",
    ),
    "a weight between integers": (lambda f: convert_with(f, head__weight_integer=some(3, 8) + 0.5), "'head.weight_integer'"),
    "a scale beyond float32": (lambda f: convert_with(f, qact1__act_scaling_factor=np.array(1e300)), "'qact1.act_scaling"),
    "a token beyond float32": (lambda f: convert_with(f, cls_token=np.full((1, 1, 8), 1e300)), "'cls_token'"),
    "a pickled key": (lambda f: convert_with(f, cls_token=pickled()), "pickle"),
    "no checkpoint": (lambda f: ["convert", f / "none.npz", f / "out.onnx", "--num-heads", 4], "none.npz: must be a file"),
    "text for a checkpoint": (
        lambda f: ["convert", ROOT / "README.md", f / "out.onnx", "--num-heads", 4],
        "must be a checkpoint: .npz",
    ),
    "no folder for the graph": (lambda f: ["convert", GRAPH, f / "none" / "out.onnx", "--profile", "tvm"], "can be written"),
    "a graph with nothing to rewrite": (
        lambda f: ["convert", GRAPH, f / "out.onnx"],
        "must say what to rewrite, but there is none",
    ),
    "a graph with heads": (lambda f: ["convert", GRAPH, f / "out.onnx", "--profile", "tvm", "--num-heads", 4], "--num-heads"),
    "no model": (lambda f: ["bench", "--model", "deit_huge"], "model: must be one of "),
    "no runs": (lambda f: ["bench", "--runs", 0], "--runs: must be from 1 to 10000"),
}


@pytest.mark.parametrize(("bad", "part"), BAD.values(), ids=BAD)
def test_bad_input(bad: Bad, part: str, tmp_path: Path, capsys: Capture) -> None:
    arguments = bad(tmp_path)
    before = contents(tmp_path)
    assert command(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ivit-ref: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert part in err
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file of a folder, with what is in it."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("suffix", [".json", ".onnxtxt", ".textproto"])
def test_text_under_other_names(suffix: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / f"model{suffix}").write_text("Not a model.\n")
    assert command("inspect", tmp_path / f"model{suffix}") == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["none"],
        ["run"],
        ["run", "graph.onnx"],
        ["run", "graph.onnx", "--images", "a.npz", "--input", "x=x.npy"],
        ["run", "graph.onnx", "--images", "a.npz", "--profile", "none"],
        ["run", "graph.onnx", "--images", "a.npz", "--engine", "none"],
        ["run", "graph.onnx", "--images", "a.npz", "--overflow", "none"],
        ["convert"],
        ["convert", "--random-weights", "--model", "deit_tiny_patch16_224"],
        ["convert", "a.npz", "out.onnx", "--none"],
        ["convert", "out.onnx", "--random-weights", "--model", "deit_tiny_patch16_224", "--seed", "1.5"],
        ["inspect", "a.onnx", "b.onnx"],
        ["convert", "a.npz", "out.onnx", "--num-heads", "two"],
        ["bench", "--runs", "many"],
    ],
)
def test_wrong_use(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ivit-ref: ")
    assert err.endswith("--help)\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--help"], *([name, "--help"] for name in ("run", "inspect", "convert", "bench", "ops"))]
)
def test_help(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "usage: ivit-ref" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "status"), [(MemoryError, 2), (KeyboardInterrupt, 130)])
def test_stopped_runs(error: type[BaseException], status: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def stopped(_: object) -> int:
        raise error

    monkeypatch.setattr(importlib.import_module("ivit_ref.cli.ops"), "command", stopped)
    assert command("ops") == status
    out, err = capsys.readouterr()
    assert (out, err[:10], err.count("\n")) == ("", "ivit-ref: ", 1)


# --- As a program


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``python -m ivit_ref`` in a process of its own."""
    line = [sys.executable, "-m", "ivit_ref", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_program_runs(images: Path, digits: dict[str, Array], tmp_path: Path) -> None:
    done = program("run", "graphs/digits_vit.onnx", "--images", images, "--out", tmp_path / "out.npz", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["count"] == COUNT
    expected = ivit_ref.run(ivit_ref.load(GRAPH), {"image": digits["images"]})
    np.testing.assert_array_equal(arrays_in(tmp_path / "out.npz")["logits_int"], expected["logits_int"], strict=True)


def test_program_refuses_in_one_line(tmp_path: Path) -> None:
    arguments = convert_with(tmp_path, cls_token=np.full((1, 1, 8), 1e300))
    done = program(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ivit-ref: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out.onnx").exists()


def test_program_tells_its_version() -> None:
    done = program("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ivit-ref {ivit_ref.__version__}\n", "")


def test_program_whose_report_finds_no_room() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    line = [sys.executable, "-m", "ivit_ref", "ops"]
    with full.open("w") as stream:
        done = subprocess.run(line, cwd=ROOT, stdout=stream, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("ivit-ref: ")
    assert done.stderr.count("\n") == 1


def test_program_whose_reader_leaves() -> None:
    """``ivit-ref inspect ... | head -1``: no traceback."""
    line = [sys.executable, "-m", "ivit_ref", "inspect", str(GRAPH), "--json"]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=120) == 0
