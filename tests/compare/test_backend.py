"""Backends by name, and maps, which say how a dump names and lays out what a case has."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ivit_ref.compare.backend import Backend, backend_named, onnxruntime
from ivit_ref.compare.dump import Layout, dumped
from ivit_ref.compare.report import compare, compare_alone
from ivit_ref.errors import IvitError
from ivit_ref.golden.case import Case
from ivit_ref.golden.read import read_case
from tests.compare import building
from tests.compare.building import FC, HERE, OUT, PAIR, RESULT, SUMS, X, command, dump, mapped, pair_case, scratch, told
from tests.golden.samples import digits

EQUAL = {FC: "equal", OUT: "equal"}


@pytest.fixture
def case() -> Case:
    return read_case(pair_case())


def verdicts(case: Case, place: Path, layout: Path) -> dict[str, str]:
    return {row.name: row.verdict for row in compare(case, dumped(case, place, Layout(str(layout))), "dump").rows}


def refused(case: Case, place: Path, layout: Path, *words: str) -> None:
    with pytest.raises(IvitError) as caught:
        verdicts(case, place, layout)
    assert "\n" not in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


# --- Maps: names


@pytest.mark.parametrize("name", ["encoder/layer0/ln", "../fc", "/etc/passwd", "..", "C:\\fc", "é☃", "a b", "x"])
def test_a_tensor_has_its_mapped_name_in_an_archive_and_in_a_folder(name: str, case: Case, tmp_path: Path) -> None:
    """A name is never a path: in a folder every character of it that a file name could not have is encoded."""
    rules = {FC: {"name": name}} | ({"x": {"name": "input"}} if name == "x" else {})
    layout = mapped(tmp_path / "map.json", tensors=rules)
    (tmp_path / "dump").mkdir()
    plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
    file = "".join(c if c in plain else "".join(f"%{b:02X}" for b in c.encode()) for c in name)
    file = "%2E" + file[1:] if file.startswith(".") else file
    for folder in (tmp_path / "dump", tmp_path):
        np.savez(folder / "a.npz", **{name: SUMS, OUT: RESULT} | ({"input": X} if name == "x" else {}))
    assert verdicts(case, tmp_path / "a.npz", layout) == EQUAL
    np.save(tmp_path / "dump" / f"{file}.npy", SUMS)
    np.save(tmp_path / "dump" / "block%2Fout.npy", RESULT)
    if name == "x":
        np.save(tmp_path / "dump" / "input.npy", X)
    assert verdicts(case, tmp_path / "dump", layout) == EQUAL


def test_a_raw_file_under_a_mapped_name_has_the_bytes_of_its_tensor(case: Case, tmp_path: Path) -> None:
    (tmp_path / "ln.bin").write_bytes(SUMS.tobytes())
    layout = mapped(tmp_path / "map.json", tensors={FC: {"name": "ln"}})
    assert verdicts(case, tmp_path, layout) == {FC: "equal", OUT: "not given"}
    (tmp_path / "ln.bin").write_bytes(SUMS.tobytes()[:-1])
    refused(case, tmp_path, layout, "ln.bin: must have the 32 bytes of int32[2,4], but has 31")


def test_what_the_map_names_must_be_there(case: Case, tmp_path: Path) -> None:
    place = dump(tmp_path / "a.npz", block_out=RESULT)
    for rule, name in (({"name": "ln"}, "ln"), ({"transpose": [0, 1]}, FC), ({}, FC)):
        refused(case, place, mapped(tmp_path / "map.json", tensors={FC: rule}), f"must hold {name!r}, as", "map.json says")


def test_a_map_of_a_tensor_that_the_case_lacks_is_refused(case: Case, tmp_path: Path) -> None:
    layout = mapped(tmp_path / "map.json", tensors={"block/fcc": {"name": "a"}})
    refused(case, dump(tmp_path / "a.npz", block_out=RESULT), layout, f"one of the case {PAIR}, but found 'block/fcc'")


def test_a_tensor_under_its_own_name_where_the_map_has_another_is_refused(case: Case, tmp_path: Path) -> None:
    layout = mapped(tmp_path / "map.json", tensors={FC: {"name": "ln"}})
    refused(case, dump(tmp_path / "a.npz", ln=SUMS, block_fc=SUMS), layout, f"but found {FC!r}")


def test_names_may_be_exchanged(case: Case, tmp_path: Path) -> None:
    layout = mapped(tmp_path / "map.json", tensors={FC: {"name": OUT}, OUT: {"name": FC}})
    assert verdicts(case, dump(tmp_path / "a.npz", block_out=SUMS, block_fc=RESULT), layout) == EQUAL


@pytest.mark.parametrize(("tensor", "name", "array"), [(FC, OUT, SUMS), (OUT, FC, RESULT)])
def test_a_mapped_name_that_another_tensor_has_is_never_taken_for_that_one(
    tensor: str, name: str, array: Any, case: Case, tmp_path: Path
) -> None:
    place = dump(tmp_path / "a.npz", **{name: array})
    try:
        found = verdicts(case, place, mapped(tmp_path / "map.json", tensors={tensor: {"name": name}}))
    except IvitError:
        return
    assert found == {FC: "not given", OUT: "not given", tensor: "equal"}


def test_two_tensors_of_one_name_are_refused_or_both_compared(case: Case, tmp_path: Path) -> None:
    layout = mapped(tmp_path / "map.json", tensors={FC: {"name": "y"}, OUT: {"name": "y"}})
    try:
        found = verdicts(case, dump(tmp_path / "a.npz", y=SUMS), layout)
    except IvitError:
        return
    assert found == {FC: "equal", OUT: "differs"}


def test_what_is_ignored_may_be_there_and_need_not_be(case: Case, tmp_path: Path) -> None:
    layout = mapped(tmp_path / "map.json", ignore=["debug", "never"])
    assert verdicts(case, dump(tmp_path / "a.npz", block_fc=SUMS, block_out=RESULT, debug=np.zeros(3)), layout) == EQUAL
    refused(case, dump(tmp_path / "a.npz", block_out=RESULT, debug2=X), layout, "but found 'debug2'")
    refused(case, dump(tmp_path / "a.npz", debug=X), layout, "must hold tensors of the case")


def test_what_is_ignored_is_not_read(case: Case, tmp_path: Path) -> None:
    (tmp_path / "debug.npy").write_bytes(b"no array")
    (tmp_path / "block%2Fout.bin").write_bytes(RESULT.tobytes())
    layout = mapped(tmp_path / "map.json", ignore=["debug"])
    assert verdicts(case, tmp_path, layout) == {FC: "not given", OUT: "equal"}


# --- Maps: layouts


def test_a_transpose_gives_the_axes_of_the_case(case: Case, tmp_path: Path) -> None:
    layout = mapped(tmp_path / "map.json", tensors={FC: {"transpose": [1, 0]}})
    assert verdicts(case, dump(tmp_path / "a.npz", block_fc=SUMS.T, block_out=RESULT), layout) == EQUAL
    refused(case, dump(tmp_path / "a.npz", block_fc=SUMS), layout, "must be int32[2,4]", "but found int32[4, 2]")


def test_a_transpose_is_what_numpy_makes_of_the_dumped_array() -> None:
    name = "blocks.0.attn.q.split"  # [1, 17, 4, 16] in the case
    golden = digits().tensors[name]
    layout = Layout()
    layout.tensors = {name: {"transpose": [3, 0, 1, 2]}}
    dumped_as = np.zeros((17, 4, 16, 1), golden.dtype)
    for i, j, k in np.ndindex(17, 4, 16):
        dumped_as[i, j, k, 0] = golden[0, i, j, k]
    assert np.array_equal(layout.arranged(name, dumped_as), golden)


def test_a_raw_file_is_laid_out_as_the_map_says(case: Case, tmp_path: Path) -> None:
    """It has the same bytes as the .npy file of the same array."""
    layout = mapped(tmp_path / "map.json", tensors={FC: {"transpose": [1, 0]}})
    np.save(tmp_path / "block%2Ffc.npy", np.ascontiguousarray(SUMS.T))
    assert verdicts(case, tmp_path, layout)[FC] == "equal"
    (tmp_path / "block%2Ffc.npy").unlink()
    (tmp_path / "block%2Ffc.bin").write_bytes(np.ascontiguousarray(SUMS.T).tobytes())
    assert verdicts(case, tmp_path, layout)[FC] == "equal"


@pytest.mark.parametrize("axes", [[], [0], [0, 0], [1, 1], [0, 1, 2], [1, 2], [15, 0]])
def test_a_transpose_has_each_axis_once(axes: list[int], case: Case, tmp_path: Path) -> None:
    layout = mapped(tmp_path / "map.json", tensors={FC: {"transpose": axes}})
    place = dump(tmp_path / "a.npz", block_fc=SUMS.T)
    refused(case, place, layout, "map.json", f"{FC!r} must have each axis of int32[4, 2] once, but found {axes}")


GOOD = {"format": "ivit_ref.map", "version": 1}
BAD_MAPS = {
    "an unknown field": ({**GOOD, "tensor": {}}, "but found 'tensor'"),
    "an unknown field of a tensor": ({**GOOD, "tensors": {FC: {"axes": [0, 1]}}}, "but found 'axes'"),
    "version 2": ({**GOOD, "version": 2}, "version must be 1"),
    "version true": ({**GOOD, "version": True}, "version must be 1"),
    "no version": ({"format": "ivit_ref.map"}, "version must be 1"),
    "another format": ({**GOOD, "format": "ivit_ref.case"}, "format must be 'ivit_ref.map'"),
    "a list": ([GOOD], "format must be 'ivit_ref.map', but found 'list'"),
    "a name that is a number": ({**GOOD, "tensors": {FC: {"name": 3}}}, "'tensors.block/fc.name' must have type string"),
    "a list of tensors": ({**GOOD, "tensors": [FC]}, "'tensors' must have type object"),
    "an axis from the end": ({**GOOD, "tensors": {FC: {"transpose": [-1, 0]}}}, "minimum 0"),
    "an axis that is a truth": ({**GOOD, "tensors": {FC: {"transpose": [True, 0]}}}, "type integer"),
    "an axis that is a fraction": ({**GOOD, "tensors": {FC: {"transpose": [1.0, 0]}}}, "type integer"),
    "a word to ignore": ({**GOOD, "ignore": "debug"}, "'ignore' must have type array"),
    "not JSON": ("{format: 1}", "must be a JSON file"),
    "NaN": ('{"format": "ivit_ref.map", "version": NaN}', "must be a JSON file"),
    "a field twice": ('{"format": "ivit_ref.map", "version": 1, "version": 1}', "occurs twice"),
    "nothing": ("", "must be a JSON file"),
    "brackets without end": ("[" * 10**5, "must be a JSON file"),
}


@pytest.mark.parametrize("bad", BAD_MAPS)
def test_a_hostile_map_is_refused(bad: str, case: Case, tmp_path: Path) -> None:
    document, words = BAD_MAPS[bad]
    (tmp_path / "map.json").write_text(document if isinstance(document, str) else json.dumps(document))
    refused(case, dump(tmp_path / "a.npz", block_fc=SUMS), tmp_path / "map.json", "map.json", words)


# --- Functions by name


def test_a_function_of_a_module_is_found_and_run(case: Case) -> None:
    backend = backend_named(f"{HERE}:exact")
    assert backend is not None
    assert (backend.name, backend.function) == (f"{HERE}:exact", building.exact)
    assert [row.verdict for row in compare(case, backend(case.inputs, case.graph), "backend").rows] == ["equal", "equal"]


def test_a_function_of_a_file_is_found_and_run(case: Case, tmp_path: Path) -> None:
    (tmp_path / "engine_for_test.py").write_text(
        f"from {HERE} import exact as imported\ndef run(i, g): return imported(i, g)\n"
    )
    backend = backend_named(f"{tmp_path / 'engine_for_test.py'}:run")
    assert backend is not None
    assert np.array_equal(backend(case.inputs, case.graph)[OUT], RESULT)


@pytest.mark.parametrize("actual", ["dump.npz", "a/b", "module:", "module:not a name", "x:y/z", "C:\\dumps"])
def test_what_names_no_function_is_a_path(actual: str) -> None:
    assert backend_named(actual) is None


def test_a_path_that_exists_is_a_path_whatever_it_looks_like(tmp_path: Path) -> None:
    (tmp_path / "json:loads").mkdir()
    assert backend_named(str(tmp_path / "json:loads")) is None


@pytest.mark.parametrize(("function", "takes"), [("exact", True), ("inputs_alone", False)])
def test_a_function_that_takes_inputs_alone_is_known(function: str, takes: bool) -> None:
    assert Backend(getattr(building, function), function).takes_graphs == takes


@pytest.mark.parametrize("make", [digits, lambda: read_case(pair_case())])
def test_onnxruntime_is_equal_in_both_modes(make: Callable[[], Case]) -> None:
    made, backend = make(), Backend(onnxruntime, "onnxruntime")
    whole = compare(made, backend(made.inputs, made.graph), "backend onnxruntime")
    alone = compare_alone(made, backend)
    for report in (whole, alone):
        assert [row.name for row in report.rows] == [node.output.name for node in made.graph.nodes]
        assert report.count("equal") == len(made.graph.nodes)


# --- What is no backend, by the command


@cache
def files() -> Path:
    """Python files that are no backend."""
    sources = {"syntax": "def f(:\n", "raising": "raise RuntimeError('two\\nlines')\n", "leaving": "import sys\nsys.exit(0)\n"}
    for name, source in {**sources, "other": "f = 3\n"}.items():
        (scratch() / f"no_backend_{name}.py").write_text(source)
    return scratch()


BACKENDS = {
    "no such path": ("nowhere.npz", "nowhere.npz: must be a file, but there is none"),
    "a path that is too long": ("x" * 5000, "x: must be a file, but"),
    "no such module": ("no_such_module_here:f", "no_such_module_here must be importable"),
    "no such function": (f"{HERE}:no_such", f"{HERE} must have a function of that name, but found no 'no_such'"),
    "no function": (f"{HERE}:RESULT", "found no 'RESULT'"),
    "no such file": ("nowhere.py:f", "there is no file nowhere.py"),
    "a file with an error": ("{files}/no_backend_syntax.py:f", "SyntaxError"),
    "a file that raises": ("{files}/no_backend_raising.py:f", "RuntimeError: two lines"),
    "a file that leaves": ("{files}/no_backend_leaving.py:f", "no_backend_leaving.py"),
    "a file without it": ("{files}/no_backend_other.py:f", "found no 'f'"),
    "one that raises": (f"{HERE}:raising", "must answer, but raised RuntimeError: out of memory"),
    "one that leaves": (f"{HERE}:leaving", f"{HERE}:leaving"),
    "one that answers nothing": (f"{HERE}:nothing", "a tensor must be given for the cases, but none was"),
}


@pytest.mark.parametrize("bad", BACKENDS)
def test_a_bad_backend_is_refused(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    actual, words = BACKENDS[bad]
    pair_case()
    capsys.readouterr()
    try:
        status = command("compare", pair_case(), actual.replace("{files}", str(files())))
    except SystemExit as left:
        status = -1 if left.code == 0 else -2  # the program would end with the backend's own status
    assert status == 2
    told(capsys, words)
