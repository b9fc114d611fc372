"""A case whose files are not what ``case.json`` says: damaged, swapped, missing, too large, or links out of the folder."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.golden.building import TINY, copied, edited, refused, refused_by_verify, small_tree, tiny_tree

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return copied(tiny_tree(), tmp_path / "tree") / TINY


# --- case.json as a file

TEXTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "JSON"),
    "cut off": (b'{"format": "ivit_ref.case", ', "JSON"),
    "invalid UTF-8": (b'{"format": "\xff\xfe"}', "JSON"),
    "a list": (b"[]", "format"),
    "a number": (b"1", "format"),
    "nested 100000 deep": (b"[" * 100_000 + b"]" * 100_000, "JSON"),
    "nested objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "JSON"),
    "a number of 10000 digits": (b'{"version": ' + b"9" * 10_000 + b"}", "JSON"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_what_is_no_json_document_is_refused(kind: str, case: Path, capsys: Capture) -> None:
    text, word = TEXTS[kind]
    (case / "case.json").write_bytes(text)
    refused(case, capsys, "case.json", word)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_json_lacks_are_refused(constant: str, case: Path, capsys: Capture) -> None:
    text = (case / "case.json").read_text().replace('"version": 1', f'"version": {constant}', 1)
    (case / "case.json").write_text(text)
    refused(case, capsys, "case.json", constant.lstrip("-"))


@pytest.mark.parametrize("field", ['"version": 1', '"role": "input"'])
def test_a_field_that_occurs_twice_is_refused(field: str, case: Path, capsys: Capture) -> None:
    text = (case / "case.json").read_text()
    assert field in text
    (case / "case.json").write_text(text.replace(field, f"{field}, {field}", 1))
    refused(case, capsys, "case.json", "twice")


def test_a_file_of_100_mb_is_not_even_read(case: Path, capsys: Capture) -> None:
    os.truncate(case / "case.json", 100 * 2**20)
    refused(case, capsys, "case.json", str(2**24), str(100 * 2**20))


@pytest.mark.parametrize("name", ["model.onnx", "tensors.npz"])
def test_a_folder_where_a_file_should_be_is_refused(name: str, case: Path, capsys: Capture) -> None:
    (case / name).unlink()
    (case / name).mkdir()
    refused(case, capsys, name, "folder")


def test_a_folder_called_case_json_is_refused(case: Path, capsys: Capture) -> None:
    (case / "case.json").unlink()
    (case / "case.json").mkdir()
    refused_by_verify(case, capsys, str(case))


@pytest.mark.parametrize("name", ["model.onnx", "tensors.npz"])
def test_a_missing_file_is_named(name: str, case: Path, capsys: Capture) -> None:
    (case / name).unlink()
    refused(case, capsys, name)


@pytest.mark.parametrize("name", ["data.json", "test_data_set_0/input_0.pb", "test_data_set_0/output_0.pb"])
@pytest.mark.parametrize("how", ["missing", "other", "cut"])
def test_verify_tells_what_onnx_would_read_wrongly(name: str, how: str, case: Path, capsys: Capture) -> None:
    before = (case / name).read_bytes()
    (case / name).unlink()
    if how != "missing":
        (case / name).write_bytes(before[:-1] + (b"\x07" if how == "other" else b""))
    refused_by_verify(case, capsys, str(case / name))


def test_verify_does_not_read_a_file_of_10_gb(case: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    read_bytes = Path.read_bytes

    def careful(path: Path) -> bytes:
        if path.stat().st_size > 2**30:
            pytest.fail(f"all of {path} was about to be read into memory")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", careful)
    os.truncate(case / "test_data_set_0" / "output_0.pb", 10**10)
    refused_by_verify(case, capsys, "output_0.pb")


def test_verify_tells_a_file_that_no_case_has(case: Path, capsys: Capture) -> None:
    (case / "test_data_set_0" / "input_1.pb").write_bytes(b"")
    refused_by_verify(case, capsys, "input_1.pb")


@pytest.mark.parametrize("name", ["case.json", "model.onnx", "tensors.npz", "data.json", "test_data_set_0/input_0.pb"])
def test_a_link_that_leaves_the_folder_is_refused(name: str, case: Path, tmp_path: Path, capsys: Capture) -> None:
    (case / name).rename(tmp_path / "outside")
    (case / name).symlink_to(tmp_path / "outside")
    refused_by_verify(case, capsys, name)


def test_a_suite_file_that_is_a_link_out_of_the_tree_is_refused(case: Path, tmp_path: Path, capsys: Capture) -> None:
    suite = case.parent / "suite.json"
    suite.rename(tmp_path / "outside")
    suite.symlink_to(tmp_path / "outside")
    refused_by_verify(case.parent, capsys, "suite.json")


# --- model.onnx


def test_another_model_is_refused_by_its_digest(case: Path, capsys: Capture) -> None:
    model = bytearray((case / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (case / "model.onnx").write_bytes(bytes(model))
    refused(case, capsys, "model.onnx", "SHA-256")


def test_a_model_that_is_cut_is_refused_by_its_size(case: Path, capsys: Capture) -> None:
    os.truncate(case / "model.onnx", 100)
    refused(case, capsys, "model.onnx", "100")


def test_the_model_of_another_case_is_refused_even_if_its_digest_is_true(case: Path, capsys: Capture) -> None:
    other = next((small_tree() / "ReduceSum").glob("test_*"))
    shutil.copy(other / "model.onnx", case)
    model = json.loads((other / "case.json").read_text())["model"]
    edited(case / "case.json", lambda document: document.update(model=model))
    refused(case, capsys, "outputs must be those of the graph")


# --- tensors.npz


def rewritten(case: Path, **changes: Any) -> None:
    """The archive with other arrays; None takes one away."""
    with np.load(case / "tensors.npz") as archive:
        arrays = {**archive, **changes}
    np.savez(case / "tensors.npz", **{name: array for name, array in arrays.items() if array is not None})


ARCHIVES: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"fc": None}, "'fc'"),
    "more": ({"more": np.zeros(2, np.int8)}, "'more'"),
    "renamed": ({"fc": None, "fd": np.zeros((2, 2), np.int32)}, "'fc'"),
    "dtype": ({"fc": np.zeros((2, 2), np.int64)}, "int64"),
    "byte order": ({"fc": np.zeros((2, 2), ">i4")}, ">i4"),
    "shape": ({"fc": np.zeros((4, 1), np.int32)}, "[4, 1]"),
    "values": ({"fc": np.zeros((2, 2), np.int32)}, "SHA-256"),
    "pickle": ({"fc": np.array([[{}, 1], [2, 3]], object)}, "pickle"),
    "text": ({"fc": np.array([["a", "b"], ["c", "d"]])}, "<U1"),
}


@pytest.mark.parametrize("lie", ARCHIVES)
def test_an_archive_that_is_not_what_the_case_says_is_refused(lie: str, case: Path, capsys: Capture) -> None:
    changes, word = ARCHIVES[lie]
    rewritten(case, **changes)
    refused(case, capsys, str(case), "fc" if lie != "more" else "more", word)


def test_an_array_that_claims_10_gb_is_refused(case: Path, capsys: Capture) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i4", "fortran_order": False, "shape": (50_000, 50_000)})
    with zipfile.ZipFile(case / "tensors.npz", "w") as archive:
        archive.writestr("fc.npy", header.getvalue() + bytes(16))
    refused(case, capsys, "tensors.npz", "10000000000")


def test_an_archive_that_is_none_is_refused(case: Path, capsys: Capture) -> None:
    (case / "tensors.npz").write_bytes(b"PK nothing")
    refused(case, capsys, "tensors.npz")
