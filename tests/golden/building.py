"""Trees of golden cases made by the command itself, once a process, and copies of them to spoil."""

from __future__ import annotations

import atexit
import copy
import json
import shutil
import tempfile
import unittest
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test.case.test_case import TestCase as BackendCase
from onnx.backend.test.runner import Runner

import ivit_ref
from ivit_ref import Graph, GraphBuilder, Quant
from ivit_ref.cli import main
from ivit_ref.errors import FileError, IvitError
from ivit_ref.golden.manifest import write_manifest
from ivit_ref.golden.read import read_case
from ivit_ref.ir import Array
from tests.onnx.runtimes import in_reference

GRAPHS = Path(ivit_ref.__file__).parent.parent / "graphs"
DIGITS, DIGITS_IMAGES = GRAPHS / "digits_vit.onnx", GRAPHS / "digits_test.npz"
SWIN, SWIN_IMAGES = GRAPHS / "digits_swin.onnx", GRAPHS / "digits_swin_test.npz"

TINY_X = np.array([[127, -128, 100], [1, 2, 3]], np.int8)
TINY_WEIGHT = np.array([[1, 2, 3], [-4, 5, -6]], np.int8)
TINY_BIAS = np.array([7, -9], np.int32)

Edit = Callable[[dict[str, Any]], object]


def command(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@cache
def _scratch() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="golden-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _make(name: str, *arguments: object) -> Path:
    root = _scratch() / name
    assert command("golden", "make", root, *arguments) == 0
    return root


@cache
def full_tree() -> Path:
    """Every suite, and the digits ViT. Read only: copy what is to be changed."""
    root = _make("full")
    return _make("full", "--graph", DIGITS, "--images", DIGITS_IMAGES) and root


@cache
def small_tree() -> Path:
    """Two suites: one in which profiles have a say and one in which they have none."""
    return _make("small", "--suite", "ReduceMean", "ReduceSum", "--random", 3)


@cache
def digests_tree() -> Path:
    """Two suites of which the random vectors are kept as seeds and digests."""
    return _make("digests", "--suite", "IntDiv", "ReduceMean", "--random", 3, "--digests")


def tiny_graph() -> Graph:
    """Three inputs, a product of which some results saturate at eight bits, two outputs."""
    b = GraphBuilder("tiny", profile="qat")
    x = b.input("x", "int8", ("N", 3), Quant((0.5,)))
    weight = b.constant("weight", TINY_WEIGHT, Quant((0.25,)))
    bias = b.constant("bias", TINY_BIAS, Quant((0.125,)))
    y = b.node("Linear", x, weight, bias, name="fc")
    return b.finish([b.node("Requantize", y, name="fc.out", dtype="int8", quant=Quant((0.5,)))])


def tiny_files(folder: Path, x: Array = TINY_X) -> tuple[object, ...]:
    """The options that make a case of the tiny graph."""
    folder.mkdir(parents=True, exist_ok=True)
    ivit_ref.save(tiny_graph(), folder / "tiny.onnx")
    np.save(folder / "x.npy", x)
    return ("--graph", folder / "tiny.onnx", "--input", f"x={folder / 'x.npy'}")


@cache
def tiny_tree() -> Path:
    """One case of two nodes: an input, two constants, an inner tensor, an output, an event."""
    return _make("tiny", *tiny_files(_scratch() / "files"))


TINY = Path("models", "test_tiny_qat")


def copied(tree: Path, to: Path) -> Path:
    shutil.copytree(tree, to)
    (to / "manifest.json").unlink()  # so that what is told is told by what comes after it
    return to


def sealed(place: Path) -> Path:
    """A tree with a manifest of what is there now; a case or a suite has none."""
    with suppress(IvitError, OSError):
        is_tree = any((*place.glob("*/*/case.json"), *place.glob("*/*.case.json")))
        if is_tree and not (place / "manifest.json").exists():
            write_manifest(place)
    return place


def edited(file: Path, edit: Edit) -> None:
    """The JSON file with a change."""
    document = json.loads(file.read_text(encoding="utf-8"))
    edit(document)
    file.write_text(json.dumps(document), encoding="utf-8")


def contents(tree: Path) -> dict[str, bytes]:
    """Every file below a folder by path, links apart."""
    return {p.relative_to(tree).as_posix(): p.read_bytes() for p in sorted(tree.rglob("*")) if p.is_file()}


def told(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """One line on stderr with these words in it, and nothing on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ivit-ref: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "the report must be written" not in err
    assert [word for word in words if word not in err] == [], err


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """Reading a case and all of its tensors tells these words in one line, and so does the command."""
    with pytest.raises(FileError) as caught:
        dict(read_case(folder).tensors)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
    refused_by_verify(folder, capsys, *words)


def refused_by_verify(place: Path, capsys: pytest.CaptureFixture[str], *words: str) -> None:
    capsys.readouterr()
    assert command("golden", "verify", sealed(place)) == 2
    told(capsys, *words)


# --- Spoiled documents


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, element in inner for place in places(element, (*path, key)))]


ANY = st.one_of(
    *(st.none(), st.booleans(), st.integers(-2, 2**40), st.just(0.5), st.just(-1e300)),
    st.sampled_from(
        ["", "x", "valid", "overflow", "int8", "no flag", "wrap", "0" * 64, "0" * 65, "é", "a" * 121, "tensors.npz"]
    ),
    st.just([]),
    st.just({}),
    st.just([[1]]),
    st.just({"x": 1}),
    st.just({"dtype": "int8", "shape": [2]}),
)


def spoiled(data: st.DataObject, document: Any) -> Any:
    """The document with one value dropped, added, replaced, wrapped, repeated or moved."""
    document = copy.deepcopy(document)
    path = data.draw(st.sampled_from(places(document)[1:]))
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    key, value = path[-1], parent[path[-1]]
    how = data.draw(st.sampled_from(["drop", "add", "replace", "wrap", "repeat", "move"]))
    if how == "drop":
        del parent[key]
    elif how == "replace":
        parent[key] = data.draw(ANY)
    elif how == "wrap":
        parent[key] = data.draw(st.sampled_from([[value], {"value": value}, {str(key): value}]))
    elif how == "add" and isinstance(value, dict):
        value[data.draw(st.sampled_from(["more", "", "id", "name", "x"]))] = data.draw(ANY)
    elif isinstance(value, list):
        value.append(copy.deepcopy(value[0]) if value and how == "repeat" else data.draw(ANY))
    else:
        there = document
        for step in data.draw(st.sampled_from([p for p in places(document)[1:] if p != path]))[:-1]:
            there = there[step]
        if isinstance(there, dict):
            there[str(key)] = copy.deepcopy(value)
    return document


# --- onnx's own runner


class Reference(Backend):
    """onnx's own evaluator as a backend under test."""

    @classmethod
    def answers(cls, model: Any, inputs: Sequence[Array]) -> list[Array]:
        return list(in_reference(model, dict(zip((v.name for v in model.graph.input), inputs, strict=True))).values())

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **_: Any) -> BackendRep:
        answers = cls.answers

        class Prepared(BackendRep):
            def run(self, inputs: Sequence[Array], **_: Any) -> list[Array]:
                return answers(model, inputs)

        return Prepared()

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


class OneOff(Reference):
    """The same, with the lowest bit of the last element of the first output turned over."""

    @classmethod
    def answers(cls, model: Any, inputs: Sequence[Array]) -> list[Array]:
        first, *others = super().answers(model, inputs)
        data = bytearray(first.tobytes())
        data[-first.itemsize] ^= 1
        return [np.frombuffer(bytes(data), first.dtype).reshape(first.shape), *others]


def run_as_onnx_does(backend: type[Backend], cases: list[BackendCase]) -> tuple[int, list[str]]:
    """How many cases onnx's runner ran, with the tolerances of each, and those that failed."""
    with pytest.MonkeyPatch.context() as patch:
        given = {"real": cases}
        patch.setattr("onnx.backend.test.runner.load_model_tests", lambda kind: given.get(kind, []))
        suite = Runner(backend, __name__).include("_cpu$").test_suite
    result = unittest.TestResult()
    suite.run(result)
    assert result.errors == []
    return result.testsRun - len(result.skipped), [test.id() for test, _ in result.failures]
