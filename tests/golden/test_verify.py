"""``golden verify``: a sound tree passes; every lie of suite.json, of the manifest and of a model's bodies is told."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from ivit_ref.errors import FileError
from ivit_ref.golden.verify import verify_tree
from ivit_ref.registry import REGISTRY
from tests.golden.building import (
    TINY,
    Edit,
    command,
    contents,
    copied,
    edited,
    full_tree,
    refused_by_verify,
    sealed,
    small_tree,
    tiny_tree,
)
from tests.onnx.runtimes import in_reference

Capture = pytest.CaptureFixture[str]
Document = dict[str, Any]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two suites without a manifest."""
    return copied(small_tree(), tmp_path / "tree")


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The case of the tiny graph, with its manifest."""
    return Path(shutil.copytree(tiny_tree(), tmp_path / "whole"))


def group(document: Document, id_: str) -> Any:
    return next(g for g in document["groups"] if g["id"] == id_)


# --- Sound


def test_a_whole_tree_is_as_it_was_made(capsys: Capture) -> None:
    tree = full_tree()
    capsys.readouterr()
    assert command("golden", "verify", tree, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    cases = list(full_tree().glob("*/*/case.json"))
    suites = [json.loads(p.read_text()) for p in full_tree().glob("*/suite.json")]
    assert facts["cases"] == len(cases)
    assert facts["tensors"] == sum(len(json.loads(p.read_text())["tensors"]) for p in cases)
    assert facts["suites"] == len(suites) == len(REGISTRY) + 1
    assert facts["vectors"] == sum(len(g["tests"]) for suite in suites for g in suite["groups"])
    assert facts["files"] == len(contents(full_tree())) - 1


def test_verifying_changes_nothing(tree: Path) -> None:
    sealed(tree)
    before = contents(tree)
    verify_tree(tree)
    assert contents(tree) == before


def test_a_case_a_suite_and_a_tree_are_places(tree: Path) -> None:
    assert verify_tree(tree / "ReduceSum" / "test_wraps_int32")["cases"] == 1
    assert verify_tree(tree / "ReduceSum")["cases"] == 3
    assert verify_tree(sealed(tree))["cases"] > 3


def test_a_case_is_found_from_inside_its_folder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree / "ReduceSum" / "test_wraps_int32" / "test_data_set_0")
    assert verify_tree("../../test_wraps_int32")["cases"] == 1
    assert verify_tree("..")["cases"] == 1


def test_a_tree_may_lie_below_a_folder_of_any_name(tmp_path: Path) -> None:
    """Also of one that is called as the tool calls its temporary folders."""
    place = tmp_path / ".ivit-ref-results" / "tree"
    place.parent.mkdir()
    assert verify_tree(sealed(copied(tiny_tree(), place)))["cases"] == 1


def test_what_an_interrupted_run_left_is_no_case(whole: Path) -> None:
    shutil.copytree(whole / TINY, whole / "models" / ".ivit-ref-abc")
    assert verify_tree(whole)["cases"] == 1


@pytest.mark.parametrize("place", ["nothing", "empty", "file", "x" * 300])
def test_a_place_without_cases_is_refused(place: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    refused_by_verify(tmp_path / place, capsys, str(tmp_path / place))


# --- suite.json

CASE = "test_two_axes_int16"
FIRST: tuple[Any, ...] = ("tests", 0)


def at(*path: Any, value: Any) -> Edit:
    def edit(document: Document) -> None:
        inner: Any = group(document, CASE)
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return edit


def twice_and_first_wrong(document: Document) -> None:
    """A reader that goes by the first group of that name gets wrong integers."""
    wrong = json.loads(json.dumps(group(document, CASE)))
    wrong["tests"][0]["expected"][0][0][0] += 1
    wrong["tests"][0]["id"] = 10_000
    document["groups"].insert(0, wrong)
    document["number_of_tests"] += 1


def first_number(value: Any) -> Any:
    return lambda d: group(d, CASE)["tests"][0]["expected"][0][0].__setitem__(0, value)


def refusal(field: str, value: Any) -> Edit:
    return lambda d: group(d, "refused")["tests"][0].__setitem__(field, value)


LIES: dict[str, Edit] = {
    "expected": lambda d: group(d, CASE)["tests"][0]["expected"][0][0].__setitem__(0, 1234),
    "expected has a point": lambda d: first_number(float(group(d, CASE)["tests"][0]["expected"][0][0][0]))(d),
    "an input": lambda d: group(d, CASE)["tests"][0]["inputs"]["x"][0][0].__setitem__(0, 1234),
    "attributes": at("attributes", value={"axes": [0, 1]}),
    "comment": at("comment", value="another"),
    "flags": at(*FIRST, "flags", value=["random"]),
    "valid is an overflow": at(*FIRST, "result", value="overflow"),
    "profile": at("profile", value="qat"),
    "output": at("output", value={"dtype": "int8", "shape": [1, 4, 1]}),
    "shared": at("shared", value={"x": [1]}),
    "id of a group": at("id", value="test_other"),
    "an id twice": lambda d: group(d, CASE)["tests"][0].__setitem__("id", 1 + (group(d, CASE)["tests"][0]["id"] == 1)),
    "count": lambda d: d.update(number_of_tests=d["number_of_tests"] + 1),
    "group missing": lambda d: (d["groups"].remove(group(d, CASE)), d.update(number_of_tests=d["number_of_tests"] - 1)),
    "group twice": twice_and_first_wrong,
    "note": lambda d: next(iter(d["notes"].values())).update(effect="none"),
    "note missing": lambda d: d["notes"].popitem(),
    "suite": lambda d: d.update(suite="Clip"),
    "overflow": lambda d: group(d, "test_wraps_int32")["tests"][0]["overflow"].__setitem__("value", 1),
    "constraint of a refusal": refusal("constraint", "ReduceSum (C9)"),
    "inputs of a refusal": refusal("inputs", {"x": [[5]]}),
    "refusal is valid": refusal("result", "valid"),
    "version": lambda d: d.update(version=2),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_in_suite_json_is_told(lie: str, tree: Path, capsys: Capture) -> None:
    edited(tree / "ReduceSum" / "suite.json", LIES[lie])
    refused_by_verify(tree, capsys, "suite.json")


def test_an_integer_that_is_written_as_true_is_told(tree: Path, capsys: Capture) -> None:
    """Python takes true for 1."""

    def edit(document: Document) -> None:
        for g in document["groups"]:
            for test in g["tests"]:
                text = json.dumps(test["inputs"])
                test["inputs"] = json.loads(text.replace("[1,", "[true,").replace(" 1,", " true,"))

    before = (tree / "ReduceSum" / "suite.json").read_text()
    edited(tree / "ReduceSum" / "suite.json", edit)
    assert (tree / "ReduceSum" / "suite.json").read_text().count("true") > before.count("true")
    refused_by_verify(tree, capsys, "suite.json")


def test_a_case_beside_suite_json_that_it_does_not_have_is_told(tree: Path, capsys: Capture) -> None:
    edited(tree / "ReduceSum" / "suite.json", LIES["group missing"])
    refused_by_verify(tree / "ReduceSum", capsys, "suite.json", CASE)


# --- case.json, in what only its suite shows


@pytest.mark.parametrize("field", ["flags", "rows"])
def test_a_flag_that_has_no_note_is_told(field: str, tree: Path, capsys: Capture) -> None:
    def edit(document: Document) -> None:
        holder = document if field == "flags" else document["rows"][0]
        holder["flags"] = ["no-such-flag"]

    edited(tree / "ReduceSum" / CASE / "case.json", edit)
    refused_by_verify(tree, capsys)


def test_rows_that_the_result_does_not_have_are_told(tree: Path, capsys: Capture) -> None:
    """The input has three indices along its leading axis, its sum over that axis has one."""
    rows = [{"comment": "", "flags": []}] * 3
    edited(tree / "ReduceSum" / CASE / "case.json", lambda d: d.update(stacked=["x"], rows=rows))
    refused_by_verify(tree, capsys)


# --- model.onnx


def test_a_body_that_computes_something_else_is_told_even_if_its_digest_is_true(tree: Path, capsys: Capture) -> None:
    """Whoever runs the model elsewhere runs this body."""
    case = tree / "ReduceMean" / "test_qat_pairs_int8"
    model = onnx.load(case / "model.onnx")
    changed = [node for f in model.functions for node in f.node if node.op_type == "Add"]
    changed[0].op_type = "Sub"
    x = onnx.numpy_helper.to_array(onnx.load_tensor(case / "test_data_set_0" / "input_0.pb"))
    answers = [in_reference(m, {"x": x})["result"].tolist() for m in (onnx.load(case / "model.onnx"), model)]
    assert answers[0] != answers[1]
    data = model.SerializeToString(deterministic=True)
    (case / "model.onnx").write_bytes(data)
    facts = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    edited(case / "case.json", lambda document: document.update(model=facts))
    refused_by_verify(case, capsys, str(case))


# --- manifest.json


def manifest(whole: Path, edit: Edit) -> None:
    edited(whole / "manifest.json", edit)


def also(name: str, data: bytes = b"") -> Edit:
    facts = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return lambda document: document["files"].__setitem__(name, facts)


@pytest.mark.parametrize("name", ["case.json", "model.onnx", "tensors.npz", "data.json", "test_data_set_0/output_0.pb"])
@pytest.mark.parametrize("field", ["sha256", "bytes"])
def test_a_file_that_is_not_what_the_manifest_says_is_named(name: str, field: str, whole: Path, capsys: Capture) -> None:
    path = (TINY / name).as_posix()
    manifest(whole, lambda d: d["files"][path].__setitem__(field, 5 if field == "bytes" else "0" * 64))
    refused_by_verify(whole, capsys, path, "manifest")


def test_a_file_of_10_gb_is_not_read(whole: Path, capsys: Capture) -> None:
    os.truncate(whole / TINY / "test_data_set_0" / "output_0.pb", 10**10)
    refused_by_verify(whole, capsys, "output_0.pb", str(10**10))


def test_a_missing_file_and_one_too_many_are_named(whole: Path, capsys: Capture) -> None:
    (whole / "more.txt").write_text("")
    refused_by_verify(whole, capsys, "more.txt")
    (whole / "more.txt").rename(whole / "models" / "more.txt")
    refused_by_verify(whole, capsys, "models/more.txt")
    (whole / "models" / "more.txt").unlink()
    (whole / TINY / "data.json").unlink()
    refused_by_verify(whole, capsys, "data.json")


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "models/../../outside", "models", "", "x" * 300, "a\0b"])
def test_a_manifest_that_names_no_file_of_the_tree_is_refused(name: str, whole: Path, capsys: Capture) -> None:
    (whole.parent / "outside").write_bytes(b"")
    manifest(whole, also(name))
    refused_by_verify(whole, capsys, "manifest.json: ")


def test_a_link_out_of_the_tree_is_refused_by_the_manifest(whole: Path, capsys: Capture) -> None:
    (whole.parent / "outside").write_bytes(b"")
    (whole / "more").symlink_to(whole.parent / "outside")
    manifest(whole, also("more"))
    refused_by_verify(whole, capsys, "more")


def test_a_manifest_of_another_version_is_refused(whole: Path) -> None:
    manifest(whole, lambda d: d.update(version=2))
    with pytest.raises(FileError, match=r"manifest\.json: version must be 1"):
        verify_tree(whole)
