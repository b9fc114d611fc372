"""What others read: onnx's loader and runner take the tree as it stands, and ``suite.json`` needs nothing but itself.

Besides: the options of ``golden make`` that are refused, and the text that it prints.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.test_case import TestCase as BackendCase
from onnx.backend.test.loader import load_model_tests

import ivit_ref
from ivit_ref import GraphBuilder, Quant, ops
from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Context
from ivit_ref.golden.second import twin
from ivit_ref.ir import Array
from ivit_ref.registry import REGISTRY, lookup
from tests.golden.building import (
    DIGITS,
    DIGITS_IMAGES,
    OneOff,
    Reference,
    command,
    digests_tree,
    full_tree,
    run_as_onnx_does,
    tiny_files,
    told,
)
from tests.onnx.runtimes import assert_same, in_onnxruntime

Capture = pytest.CaptureFixture[str]
Vector = tuple[dict[str, Any], dict[str, Any]]

# --- onnx's backend tests


def loaded(tree: Path, kind: str) -> list[BackendCase]:
    return load_model_tests(str(tree), kind)


@pytest.mark.parametrize("kind", [*REGISTRY, "models"])
def test_onnx_loads_a_suite_and_its_evaluator_passes_without_tolerance(kind: str) -> None:
    cases = loaded(full_tree(), kind)
    assert {case.name for case in cases} == {p.parent.name for p in full_tree().glob(f"{kind}/*/case.json")} != set()
    assert {(case.rtol, case.atol) for case in cases} == {(0, 0)}
    ran, failures = run_as_onnx_does(Reference, cases)
    assert (ran, failures) == (len(cases), [])


@pytest.mark.parametrize("kind", ["Clip", "Dequantize", "Where", "models"])
def test_onnx_tells_a_backend_that_is_one_off(kind: str) -> None:
    cases = loaded(full_tree(), kind)
    _, failures = run_as_onnx_does(OneOff, cases)
    assert len(failures) == len(cases)


def test_onnx_loads_a_tree_in_which_some_cases_are_made_on_demand() -> None:
    """Those have no model; a folder that the loader cannot take stops all the others."""
    for kind in ("IntDiv", "ReduceMean"):
        stored = {p.parent.name for p in digests_tree().glob(f"{kind}/*/model.onnx")}
        assert {case.name for case in loaded(digests_tree(), kind) if case.model_dir} == stored


def protos(case: Path, kind: str) -> dict[str, Array]:
    files = sorted(case.glob(f"test_data_set_0/{kind}_*.pb"), key=lambda p: int(p.stem.rpartition("_")[2]))
    tensors = [onnx.load_tensor(p) for p in files]
    return {t.name: onnx.numpy_helper.to_array(t) for t in tensors}


def test_the_protobuf_files_are_the_inputs_and_outputs_bit_by_bit() -> None:
    for path in sorted(full_tree().glob("*/*/case.json")):
        facts = json.loads(path.read_text())
        model = onnx.load(path.parent / "model.onnx")
        for key, kind, values in (("inputs", "input", model.graph.input), ("outputs", "output", model.graph.output)):
            found = protos(path.parent, kind)
            assert list(found) == facts[key] == [v.name for v in values]
            with np.load(path.parent / "tensors.npz") as archive:
                for name, array in found.items():
                    assert_same(array, archive[name])


@pytest.mark.parametrize("kind", [*REGISTRY, "models"])
def test_onnxruntime_gives_the_same_bits_for_a_case_of_each_suite(kind: str) -> None:
    for path in sorted(full_tree().glob(f"{kind}/*/model.onnx"))[::5]:
        found = in_onnxruntime(onnx.load(path), protos(path.parent, "input"))
        for name, array in protos(path.parent, "output").items():
            assert_same(found[name], array)


def test_models_have_function_bodies() -> None:
    for path in full_tree().glob("*/*/model.onnx"):
        model = onnx.load(path)
        onnx.checker.check_model(model)
        assert {f.name for f in model.functions} >= {n.op_type for n in model.graph.node if n.domain == "ai.ivit"} != set()


# --- suite.json


@cache
def suite(op: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((full_tree() / op / "suite.json").read_text(encoding="utf-8"))
    return document


def vectors_of(op: str, result: str) -> list[Vector]:
    return [(g, test) for g in suite(op)["groups"] for test in g["tests"] if test["result"] == result]


def array_of(value: Any, type_: dict[str, Any]) -> Array:
    """An inline array: it must have its declared shape, and each number must be one of the dtype."""
    array = np.array(value, object)
    assert list(array.shape) == type_["shape"]
    return array.astype(type_["dtype"])


def arrays_of(group: dict[str, Any], test: dict[str, Any]) -> list[Array]:
    """In the order of the operator's inputs."""
    inline = group["shared"] | test["inputs"]
    assert inline.keys() == group["inputs"].keys()
    assert not group["shared"].keys() & test["inputs"].keys()
    return [array_of(inline[name], type_) for name, type_ in group["inputs"].items()]


def attributes_of(group: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in group["attributes"].items()}


@pytest.mark.parametrize("op", REGISTRY)
def test_every_vector_of_a_suite_is_what_the_twin_makes_of_its_inline_integers(op: str) -> None:
    vectors = vectors_of(op, "valid") + vectors_of(op, "overflow")
    assert vectors
    for group, test in vectors:
        expected = array_of(test["expected"], group["output"])
        answer = twin(op, arrays_of(group, test), attributes_of(group), group["output"]["dtype"])
        assert answer.tolist() == expected.tolist(), (group["id"], test["comment"])


@pytest.mark.parametrize("op", REGISTRY)
def test_what_is_valid_runs_without_an_overflow(op: str) -> None:
    for group, test in vectors_of(op, "valid"):
        answer = lookup(op).run(arrays_of(group, test), attributes_of(group), Context("raise"))
        assert answer.tolist() == test["expected"], (group["id"], test["comment"])


OVERFLOWING = [op for op in REGISTRY if op in ("ILayerNorm", "IntDiv", "Shiftmax", "ShiftGELU", "ReduceSum", "MatMul")]


@pytest.mark.parametrize("op", OVERFLOWING)
def test_an_overflow_is_the_one_that_is_told(op: str) -> None:
    vectors = vectors_of(op, "overflow")
    assert vectors
    for group, test in vectors:
        with pytest.raises(IntegerOverflow) as caught:
            lookup(op).run(arrays_of(group, test), attributes_of(group), Context("raise"))
        error = caught.value
        found = {
            "step": error.step,
            "dtype": error.dtype,
            "count": error.count,
            "index": list(error.index),
            "value": error.value,
        }
        assert found == test["overflow"], (group["id"], test["comment"])


@pytest.mark.parametrize("op", REGISTRY)
def test_a_refusal_is_refused_by_the_constraint_that_it_breaks(op: str) -> None:
    refused = vectors_of(op, "refused")
    assert refused
    for group, test in refused:
        function = getattr(ops, lookup(op).kernel.__name__)
        arrays = [
            np.array(value, type_["dtype"]).reshape(type_["shape"])
            for value, type_ in zip(test["inputs"].values(), group["inputs"].values(), strict=True)
        ]
        with pytest.raises((ConstraintError, IntegerOverflow)) as caught:
            function(*arrays, **attributes_of(group))
        assert test["constraint"] in str(caught.value), test["comment"]
        assert "expected" not in test


@pytest.mark.parametrize("op", REGISTRY)
def test_a_suite_counts_its_vectors_and_explains_its_flags(op: str) -> None:
    vectors = [test for g in suite(op)["groups"] for test in g["tests"]]
    assert suite(op)["suite"] == op
    assert suite(op)["number_of_tests"] == len({test["id"] for test in vectors}) == len(vectors)
    assert {flag for test in vectors for flag in test["flags"]} <= set(suite(op)["notes"])
    assert [g["id"] for g in suite(op)["groups"] if g["id"] != "refused"] == sorted(
        p.parent.name for p in full_tree().glob(f"{op}/*/case.json")
    )
    for test in vectors:
        assert ("expected" in test, "overflow" in test, "constraint" in test) == {
            "valid": (True, False, False),
            "overflow": (True, True, False),
            "refused": (False, False, True),
        }[test["result"]]


# --- Options

SUITE, GRAPH = ("--suite", "Clip"), ("--graph", DIGITS, "--images", DIGITS_IMAGES)
WRONG: dict[str, tuple[tuple[object, ...], str]] = {
    "suite and graph": ((*SUITE, *GRAPH), "--suite, --graph and --model"),
    "model and graph": (("--model", "deit_tiny_patch16_224", *GRAPH), "--suite, --graph and --model"),
    "graph alone": (("--graph", DIGITS), "--images or --input"),
    "images without a graph": ((*SUITE, "--images", DIGITS_IMAGES), "--images"),
    "nodes without a graph": ((*SUITE, "--nodes", "*"), "--nodes"),
    "tensors of a suite": ((*SUITE, "--tensors", "outputs"), "--tensors"),
    "images of a suite": ((*SUITE, "--count", 5), "--count"),
    "digests of a graph": ((*GRAPH, "--digests"), "--digests"),
    "more images than there are": ((*GRAPH, "--count", 451, "--nodes", "qact_input"), "450"),
    "no such node": ((*GRAPH, "--nodes", "nothing*"), "nothing*"),
    "no such tensor": ((*GRAPH, "--tensors", "nothing*"), "nothing*"),
    "no tensor of a graph": ((*GRAPH, "--tensors", "none"), "none"),
    "unknown operator": (("--suite", "Softmax"), "Softmax"),
    "unknown profile": ((*SUITE, "--profile", "best"), "best"),
    "unknown model": (("--model", "deit_huge"), "deit_huge"),
    "too many images of a model": (("--model", "deit_tiny_patch16_224", "--count", 65), "64"),
    "count": ((*GRAPH, "--count", 0), "--count"),
    "seed": ((*SUITE, "--seed", -1), "--seed"),
    "random": ((*SUITE, "--random", 10**7), "--random"),
    "name": ((*GRAPH, "--name", "../x"), "--name"),
    "no such file": (("--graph", "nothing.onnx", "--images", DIGITS_IMAGES), "nothing.onnx"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_use_of_make_is_one_line_and_nothing_is_written(wrong: str, tmp_path: Path, capsys: Capture) -> None:
    arguments, word = WRONG[wrong]
    try:
        status = command("golden", "make", tmp_path / "tree", *arguments)
    except SystemExit as stopped:  # the parser's own
        status = int(str(stopped.code))
    assert status == 2
    told(capsys, word)
    assert not (tmp_path / "tree").exists()


def test_make_says_what_it_made(tmp_path: Path, capsys: Capture) -> None:
    options = tiny_files(tmp_path)
    assert command("golden", "make", tmp_path / "tree", *options) == 0
    assert capsys.readouterr() == (f"1 case in 1 suite, computed twice: {tmp_path / 'tree'}\n", "")
    assert command("golden", "make", tmp_path / "tree", *options, "--name", "again", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(tmp_path / "tree"), "cases": 1, "suites": {"models": 1}}
    assert sorted(p.parent.name for p in tmp_path.rglob("case.json")) == ["test_again_qat", "test_tiny_qat"]


def test_a_file_is_no_place_for_a_tree(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "tree").write_text("kept")
    assert command("golden", "make", tmp_path / "tree", *SUITE) == 2
    told(capsys, str(tmp_path / "tree"))
    assert (tmp_path / "tree").read_text() == "kept"


def test_a_name_too_long_for_an_archive_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    """A zip file has 16 bits for the length of a name."""
    b = GraphBuilder("long", profile="qat")
    x = b.input("x", "int32", (2,), Quant((0.25,)))
    graph = b.finish([b.node("Requantize", x, name="n" * 2**16, dtype="int8", quant=Quant((0.5,)))])
    ivit_ref.save(graph, tmp_path / "long.onnx")
    np.save(tmp_path / "x.npy", np.array([5, -900], np.int32))
    options = ("--graph", tmp_path / "long.onnx", "--input", f"x={tmp_path / 'x.npy'}")
    assert command("golden", "make", tmp_path / "tree", *options) == 2
    told(capsys)
    assert list(tmp_path.rglob("case.json")) == []
