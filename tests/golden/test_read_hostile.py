"""A case that lies: each single lie is one line that names it, from the library and, with exit status 2, from the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from ivit_ref.golden.random_groups import Stream
from tests.golden.building import (
    TINY,
    Edit,
    command,
    copied,
    digests_tree,
    edited,
    refused,
    refused_by_verify,
    sealed,
    small_tree,
    spoiled,
    tiny_tree,
)

Capture = pytest.CaptureFixture[str]
Document = dict[str, Any]
X, WEIGHT, BIAS, ACC, OUT = range(5)
OTHER = "0" * 64


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return copied(tiny_tree(), tmp_path / "tree") / TINY


@pytest.fixture
def on_demand(tmp_path: Path) -> Path:
    """A case that is kept as its seed and digests."""
    return copied(digests_tree(), tmp_path / "tree") / "IntDiv" / "test_qat_random_int16_of_int64.case.json"


def put(value: Any, *path: Any) -> Edit:
    """The change of one field."""

    def edit(document: Document) -> None:
        at: Any = document
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return edit


def tensor(k: int, field: str, value: Any) -> Edit:
    return put(value, "tensors", k, field)


def swap(document: Document) -> None:
    tensors = document["tensors"]
    tensors[WEIGHT], tensors[BIAS] = tensors[BIAS], tensors[WEIGHT]


LIES: dict[str, tuple[Edit, str]] = {
    "format of another": (put("ivit_ref.suite", "format"), "format"),
    "format of no type": (put(["ivit_ref.case"], "format"), "format"),
    "no format": (lambda d: d.pop("format"), "format"),
    **{f"version {v!r}": (put(v, "version"), "version") for v in (0, 2, "1", True, 1.0, None)},
    "no version": (lambda d: d.pop("version"), "version"),
    "another id": (put("test_other", "id"), "id"),
    "id that leaves": (put("../test_tiny_qat", "id"), "id"),
    "another suite": (put("Linear", "suite"), "suite"),
    "suite that leaves": (put("..", "suite"), "suite"),
    "comment is a number": (put(3, "comment"), "comment"),
    "flags with a space": (put(["no flag"], "flags"), "flags"),
    "another profile than the graph's": (put("paper", "profile"), "profile"),
    "profile is null": (put(None, "profile"), "profile"),
    "overflow raise": (put("raise", "overflow"), "overflow"),
    "verdict overflow": (put("overflow", "verdict"), "verdict"),
    "verdict refused": (put("refused", "verdict"), "verdict"),
    "generator of no kind": (lambda d: d["generator"].pop("kind"), "kind"),
    "generator of another kind": (put("guess", "generator", "kind"), "kind"),
    "generator says more": (put(1, "generator", "rows"), "rows"),
    "negative seed": (put(-1, "generator", "seed"), "seed"),
    "confirmed by nobody": (put("", "confirmed_by"), "confirmed_by"),
    "no model": (put(None, "model"), "model"),
    "digest of the model": (put(OTHER, "model", "sha256"), "SHA-256"),
    "size of the model": (put(1, "model", "bytes"), "bytes"),
    "no size of the model": (lambda d: d["model"].pop("bytes"), "bytes"),
    "another input": (put(["fc"], "inputs"), "inputs"),
    "two inputs": (put(["x", "x"], "inputs"), "inputs"),
    "no input": (put([], "inputs"), "inputs"),
    "another output": (put(["x"], "outputs"), "outputs"),
    "stacked, but no such input": (put(["nothing"], "stacked"), "stacked"),
    "stacked without rows": (put(["x"], "stacked"), "stacked"),
    "row without flags": (put([{"comment": ""}], "rows"), "flags"),
    "row too many": (lambda d: d.update(stacked=["x"], rows=[{"comment": "", "flags": []}] * 3), "stacked"),
    "no tensors": (put([], "tensors"), "tensors"),
    "tensor missing": (lambda d: d["tensors"].pop(WEIGHT), "tensors"),
    "tensor twice": (lambda d: d["tensors"].append(d["tensors"][OUT]), "tensors"),
    "another order": (swap, "'weight'"),
    "name": (tensor(ACC, "name", "fc.acc"), "name"),
    "role": (tensor(ACC, "role", "output"), "role"),
    "role of an input": (tensor(X, "role", "constant"), "role"),
    "node": (tensor(ACC, "node", "fc2"), "node"),
    "op": (tensor(ACC, "op", "MatMul"), "op"),
    "op of an input": (tensor(X, "op", "Linear"), "op"),
    "dtype": (tensor(ACC, "dtype", "int64"), "dtype"),
    "dtype of no such kind": (tensor(ACC, "dtype", "float64"), "dtype"),
    "shape": (tensor(X, "shape", [3, 2]), "shape"),
    "shape of 10 GB": (tensor(X, "shape", [10**5, 10**5]), "shape"),
    "negative shape": (tensor(X, "shape", [-2, -3]), "shape"),
    "shape by name": (tensor(X, "shape", ["N", 3]), "shape"),
    **{f"digest of {k}": (tensor(k, "sha256", OTHER), "SHA-256") for k in range(5)},
    "digest in upper case": (tensor(X, "sha256", "A" * 64), "sha256"),
    "where is a path": (tensor(X, "where", "../tensors.npz"), "where"),
    "input not kept": (tensor(X, "where", "on demand"), "'x'"),
    "input in the model": (tensor(X, "where", "model.onnx"), "'x'"),
    "constant in the archive": (tensor(WEIGHT, "where", "tensors.npz"), "'weight'"),
    "constant on demand": (tensor(WEIGHT, "where", "on demand"), "'weight'"),
    "inner in the model": (tensor(ACC, "where", "model.onnx"), "'fc'"),
    "inner on demand": (tensor(ACC, "where", "on demand"), "'fc'"),
    "event of a wrap": (put("wrapped", "events", 0, "kind"), "verdict"),
    "event of no kind": (put("lost", "events", 0, "kind"), "kind"),
    "event never": (put(0, "events", 0, "count"), "count"),
    "event at a negative place": (put([-1], "events", 0, "index"), "index"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_single_lie_is_named(lie: str, case: Path, capsys: Capture) -> None:
    edit, word = LIES[lie]
    edited(case / "case.json", edit)
    refused(case, capsys, str(case), word)


EVENTS: dict[str, Edit] = {
    "count": put(2, "events", 0, "count"),
    "total": put(3, "events", 0, "total"),
    "index": put([1, 1], "events", 0, "index"),
    "value": put(438, "events", 0, "value"),
    "step": put("product", "events", 0, "step"),
    "node": put("fc", "events", 0, "node"),
    "kind": put("clamped", "events", 0, "kind"),
    "none": put([], "events"),
    "twice": lambda d: d["events"].append(d["events"][0]),
}


@pytest.mark.parametrize("lie", EVENTS)
def test_verify_tells_events_that_did_not_happen(lie: str, case: Path, capsys: Capture) -> None:
    edited(case / "case.json", EVENTS[lie])
    refused_by_verify(case, capsys, str(case), "events")


def test_verify_tells_another_confirmation(case: Path, capsys: Capture) -> None:
    edited(case / "case.json", put("onnx", "confirmed_by"))
    refused_by_verify(case, capsys, str(case), "confirmed_by")


def test_verify_tells_a_seed_that_does_not_make_the_vectors(tmp_path: Path, capsys: Capture) -> None:
    """Who makes the stored vectors again by their generator must get them."""
    case = copied(small_tree(), tmp_path / "tree") / "ReduceSum" / "test_random_int32"
    edited(case / "case.json", put(1, "generator", "seed"))
    refused_by_verify(case, capsys, str(case))


# --- Cases on demand

GENERATORS: dict[str, tuple[Edit, str]] = {
    "no seed": (lambda d: d["generator"].pop("seed"), "seed"),
    "no count": (lambda d: d["generator"].pop("count"), "count"),
    "no name": (lambda d: d["generator"].pop("name"), "name"),
    "unknown name": (put("random_int99", "generator", "name"), "random_int99"),
    "another seed": (put(1, "generator", "seed"), "SHA-256"),
    "another count": (put(9, "generator", "count"), "shape"),
    "a count beyond the schema": (put(10**9, "generator", "count"), "count"),
    "directed": (put("directed", "generator", "kind"), "generator"),
    "unknown profile": (put("nobody", "profile"), "nobody"),
    "unknown model": (lambda d: d["generator"].update(kind="model", name="deit_huge"), "deit_huge"),
    "too many images": (lambda d: d["generator"].update(kind="model", name="deit_tiny_patch16_224", count=65), "64"),
    "digest": (tensor(1, "sha256", OTHER), "SHA-256"),
    "kept": (tensor(0, "where", "tensors.npz"), "tensors.npz"),
    "in the model": (tensor(0, "where", "model.onnx"), "'x'"),
}


@pytest.mark.parametrize("lie", GENERATORS)
def test_a_generator_that_lies_is_named(lie: str, on_demand: Path, capsys: Capture) -> None:
    edit, word = GENERATORS[lie]
    edited(on_demand, edit)
    refused(on_demand, capsys, on_demand.name, word)


def test_a_count_that_would_take_gigabytes_is_refused_before_anything_is_drawn(
    on_demand: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def integers(self: Stream, low: int, high: int, *shape: int) -> Any:
        pytest.fail(f"asked for {shape} numbers, where case.json says that the tensors have {3 * 12}")

    monkeypatch.setattr(Stream, "integers", integers)
    edited(on_demand, put(10**6, "generator", "count"))
    refused(on_demand, capsys, on_demand.name)


def test_random_vectors_of_no_operator_are_refused(on_demand: Path, capsys: Capture) -> None:
    moved = on_demand.parent.parent / "models" / on_demand.name
    moved.parent.mkdir(exist_ok=True)
    shutil.copy(on_demand, moved)
    edited(moved, put("models", "suite"))
    refused(moved, capsys, on_demand.name, "models")


def test_a_case_on_demand_has_no_folder(on_demand: Path, capsys: Capture) -> None:
    folder = on_demand.parent / on_demand.name.removesuffix(".case.json")
    folder.mkdir()
    shutil.copy(on_demand, folder / "case.json")
    refused_by_verify(folder, capsys, "folder")


def test_the_copies_themselves_are_sound(tmp_path: Path) -> None:
    """Whatever is refused above is refused for the one thing that was changed."""
    assert command("golden", "verify", sealed(copied(tiny_tree(), tmp_path / "tiny"))) == 0
    assert command("golden", "verify", sealed(copied(digests_tree(), tmp_path / "digests"))) == 0


# --- Any lie


@pytest.fixture(scope="module")
def spoilable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree whose case.json files are changed over and over."""
    tree = tmp_path_factory.mktemp("spoilable")
    for source, name in ((small_tree(), "ReduceSum"), (small_tree(), "ReduceMean"), (tiny_tree(), "models")):
        shutil.copytree(source / name, tree / name)
    return tree


FILES = (
    "models/test_tiny_qat/case.json",
    "ReduceMean/test_qat_pairs_int8/case.json",
    "ReduceSum/test_two_axes_int16/case.json",
    "ReduceSum/test_wraps_int32/case.json",
    "ReduceSum/suite.json",
)


@pytest.mark.parametrize("file", FILES)
@given(data=st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_change_of_a_file_ends_in_anything_but_an_answer_or_one_line(
    file: str, spoilable: Path, capsys: Capture, data: st.DataObject
) -> None:
    path = spoilable / file
    before = path.read_text(encoding="utf-8")
    try:
        path.write_text(json.dumps(spoiled(data, json.loads(before))), encoding="utf-8")
        for words in (("verify", path.parent), ("verify", spoilable / file.partition("/")[0]), ("lint", path.parent)):
            status = command("golden", *words)
            err = capsys.readouterr().err
            assert (status in (0, 1), err.count("\n")) in ((True, 0), (False, 1))
    finally:
        path.write_text(before, encoding="utf-8")
