"""Dumps on disk: what is there is read as declared, and what cannot be meant is refused in one line that names it."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from ivit_ref.compare.dump import Layout, dumped
from ivit_ref.compare.report import Report, compare
from ivit_ref.errors import InputError, IvitError
from ivit_ref.golden.case import Case
from ivit_ref.golden.export import export
from ivit_ref.golden.read import read_case
from ivit_ref.ir import Array
from tests.compare.building import BIAS, FC, OUT, PAIR, RESULT, SUMS, WEIGHT, X, dump, pair_case
from tests.golden.samples import everything

FC_FILE, OUT_FILE = "block%2Ffc", "block%2Fout"


@pytest.fixture
def case() -> Case:
    return read_case(pair_case())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dump").mkdir()
    return tmp_path / "dump"


def verdicts(case: Case, place: Path, layout: Path | None = None) -> dict[str, str]:
    return {row.name: row.verdict for row in report(case, place, layout).rows}


def report(case: Case, place: Path, layout: Path | None = None) -> Report:
    return compare(case, dumped(case, place, Layout(None if layout is None else str(layout))), str(place))


def refused(case: Case, place: Path, *words: str, layout: Path | None = None) -> None:
    with pytest.raises(IvitError) as caught:
        report(case, place, layout)
    assert "\n" not in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


EQUAL = {FC: "equal", OUT: "equal"}


# --- Forms


def test_an_archive(case: Case, tmp_path: Path) -> None:
    assert verdicts(case, dump(tmp_path / "a.npz", block_fc=SUMS, block_out=RESULT)) == EQUAL


def test_a_compressed_archive(case: Case, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", **{OUT: RESULT})
    assert verdicts(case, tmp_path / "a.npz") == {FC: "not given", OUT: "equal"}


def test_a_folder_of_npy_files_in_any_order_of_memory_and_bytes(case: Case, folder: Path) -> None:
    np.save(folder / f"{FC_FILE}.npy", np.asfortranarray(SUMS.astype(">i8")))
    np.save(folder / f"{OUT_FILE}.npy", RESULT.astype(np.float32))
    assert verdicts(case, folder) == EQUAL


def test_a_folder_of_raw_files(case: Case, folder: Path) -> None:
    (folder / f"{FC_FILE}.bin").write_bytes(b"".join(int(v).to_bytes(4, "little", signed=True) for v in SUMS.flat))
    (folder / f"{OUT_FILE}.bin").write_bytes(bytes(int(v) % 256 for v in RESULT.flat))
    assert verdicts(case, folder) == EQUAL


def test_a_folder_of_both_with_other_files_and_folders_in_it(case: Case, folder: Path) -> None:
    np.save(folder / f"{FC_FILE}.npy", SUMS)
    (folder / f"{OUT_FILE}.bin").write_bytes(RESULT.tobytes())
    (folder / "layout.json").write_text("{}")
    (folder / "block").mkdir()
    np.save(folder / "block" / "fc.npy", SUMS + 1)  # what lies deeper is no part of the dump
    assert verdicts(case, folder) == EQUAL


def test_a_wrong_integer_is_found_in_every_form(case: Case, folder: Path) -> None:
    bad = RESULT.copy()
    bad[1, 2] = 127
    np.save(folder / f"{OUT_FILE}.npy", bad)
    archive = dump(folder.parent / "a.npz", block_out=bad)
    shutil.copytree(folder, folder.parent / "raw")
    (folder.parent / "raw" / f"{OUT_FILE}.npy").unlink()
    (folder.parent / "raw" / f"{OUT_FILE}.bin").write_bytes(bad.tobytes())
    for place in (folder, archive, folder.parent / "raw"):
        row = report(case, place).rows[1]
        assert (row.differing, row.index, row.got, row.want) == (1, (1, 2), 127, -4)


@pytest.mark.parametrize("to", ["npz", "bin"])
def test_what_is_exported_is_a_dump_of_all_tensors(to: str, tmp_path: Path) -> None:
    """Names that files cannot have, and names that differ in case only, are among them."""
    place = export(everything(), to, tmp_path / "out")
    found = dumped(everything(), place / "tensors.npz" if to == "npz" else place, Layout())
    assert sorted(found) == sorted(r.name for r in everything().records)
    assert {row.verdict for row in compare(everything(), found, "dump").rows} == {"equal"}


def test_the_case_s_own_tensors_are_a_dump(case: Case) -> None:
    assert verdicts(case, pair_case() / "tensors.npz") == EQUAL


# --- Inputs and constants


def test_inputs_and_constants_may_be_there(case: Case, tmp_path: Path) -> None:
    place = dump(tmp_path / "a.npz", x=X.astype(np.int64), weight=WEIGHT, bias=BIAS, block_out=RESULT)
    assert verdicts(case, place) == {FC: "not given", OUT: "equal"}


@pytest.mark.parametrize(
    ("name", "role", "array"), [("x", "input", X), ("weight", "constant", WEIGHT), ("bias", "constant", BIAS)]
)
def test_inputs_and_constants_must_be_those_of_the_case(name: str, role: str, array: Array, case: Case, tmp_path: Path) -> None:
    other = array.copy()
    other.flat[-1] ^= 1
    place = dump(tmp_path / "a.npz", block_out=RESULT, **{name: other})
    refused(case, place, str(place), f"{role} must be that of the case {PAIR}", f"{name}: 1 of {array.size} differ")


def test_inputs_alone_are_no_dump(case: Case, tmp_path: Path) -> None:
    refused(case, dump(tmp_path / "a.npz", x=X), "must hold tensors of the case", repr(FC), "but found x")


# --- Names


def test_an_empty_dump_is_refused(case: Case, folder: Path) -> None:
    np.savez(folder.parent / "a.npz")
    for place in (folder, folder.parent / "a.npz"):
        refused(case, place, str(place), "must hold tensors of the case, such as 'block/fc', but found none")


@pytest.mark.parametrize(
    ("name", "hint"), [("block/ou", OUT), ("block.out", OUT), ("block/FC", FC), ("weights", "weight"), ("zzz", None)]
)
def test_a_name_that_the_case_lacks_is_refused_with_the_nearest(
    name: str, hint: str | None, case: Case, tmp_path: Path
) -> None:
    place = dump(tmp_path / "a.npz", block_out=RESULT, **{name: RESULT})
    refused(case, place, str(place), PAIR, f"but found {name!r}", repr(hint) if hint else "")
    with pytest.raises(InputError) as caught:
        report(case, place)
    assert ("nearest" in str(caught.value)) == (hint is not None)


def test_a_raw_file_of_no_tensor_is_refused(case: Case, folder: Path) -> None:
    (folder / f"{OUT_FILE}.bin").write_bytes(RESULT.tobytes())
    (folder / "extra.bin").write_bytes(b"\0")
    refused(case, folder, "but found 'extra'")


def test_a_tensor_in_two_files_is_refused(case: Case, folder: Path) -> None:
    np.save(folder / f"{OUT_FILE}.npy", RESULT)
    (folder / f"{OUT_FILE}.bin").write_bytes(RESULT.tobytes())
    refused(case, folder, "a tensor must be there once", f"{OUT_FILE}.bin", f"{OUT_FILE}.npy")


def test_a_tensor_under_both_spellings_of_its_name_is_refused(tmp_path: Path) -> None:
    """A character that needs no encoding on this file system, and its code."""
    name = next(r.name for r in everything().made if r.name == "é☃" or "~" in r.name)
    np.save(tmp_path / f"{name}.npy", everything().tensors[name])
    (tmp_path / f"{''.join(f'%{b:02X}' for b in name.encode())}.npy").write_bytes((tmp_path / f"{name}.npy").read_bytes())
    refused(everything(), tmp_path, "a tensor must be there once")


# --- Files that are none


def claiming(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    """An .npy file whose header says so."""
    stream = io.BytesIO()
    header: dict[str, Any] = {"descr": "|i1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + data


def pickled() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{}], object), allow_pickle=True)
    return stream.getvalue()


BAD_NPY = {
    "a header that claims 10 GB": (claiming((10, 10**9)), "must hold 10000000000 bytes"),
    "a header that claims more than there is": (claiming((2, 4), bytes(7)), "must hold 8 bytes of int8[2, 4], but holds 7"),
    "a header that claims less": (claiming((2, 4), bytes(9)), "but holds 9"),
    "a header that claims what no machine has": (claiming((2**62, 2**62)), "must hold"),
    "a pickle": (pickled(), "holds Python objects"),
    "nothing": (b"", "must be"),
    "text": (b"1 2 3\n", "must be"),
    "half a header": (claiming((2, 4))[:40], "must be"),
    "the wrong shape": (
        claiming((8,), bytes(8)),
        "must be int8[2,4] (as many elements: reshape it",
    ),
}


@pytest.mark.parametrize("bad", BAD_NPY)
def test_a_damaged_array_is_refused_before_it_is_read(bad: str, case: Case, folder: Path) -> None:
    data, words = BAD_NPY[bad]
    (folder / f"{OUT_FILE}.npy").write_bytes(data)
    refused(case, folder, OUT_FILE if "shape" not in bad else OUT, words)
    with zipfile.ZipFile(folder.parent / "a.npz", "w") as archive:
        archive.writestr(f"{OUT}.npy", data)
    refused(case, folder.parent / "a.npz", "a.npz", words)


@pytest.mark.parametrize("size", [0, 31, 33, 10**6])
def test_a_raw_file_must_have_the_bytes_of_its_tensor(size: int, case: Case, folder: Path) -> None:
    (folder / f"{FC_FILE}.bin").write_bytes(bytes(size))
    refused(case, folder, f"{FC_FILE}.bin: must have the 32 bytes of int32[2,4], but has {size}")


def test_a_byte_that_is_no_truth_is_refused_or_told(tmp_path: Path) -> None:
    record = next(r for r in everything().made if r.dtype == "bool")
    data = bytearray(everything().tensors[record.name].tobytes())
    data[data.index(1)] = 2
    (tmp_path / f"{quote(record.name, safe='')}.bin").write_bytes(data)
    with suppress(IvitError):
        assert next(r for r in report(everything(), tmp_path).rows if r.name == record.name).verdict == "differs"


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06" + bytes(17), b"not an archive", bytes(100)])
def test_what_is_no_archive_is_refused(data: bytes, case: Case, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(data)
    refused(case, tmp_path / "a.npz", "a.npz: must be an .npz archive")


# --- Links


def link(path: Path, to: str) -> None:
    try:
        path.symlink_to(to)
    except OSError:
        pytest.skip("no links here")


def test_a_link_that_stays_in_the_folder_is_followed(case: Case, folder: Path) -> None:
    (folder / "data.raw").write_bytes(RESULT.tobytes())
    link(folder / f"{OUT_FILE}.bin", "data.raw")
    assert verdicts(case, folder)[OUT] == "equal"


@pytest.mark.parametrize("end", ["npy", "bin"])
def test_a_link_out_of_the_folder_is_refused(end: str, case: Case, folder: Path) -> None:
    (folder.parent / "outside").write_bytes(RESULT.tobytes())
    link(folder / f"{OUT_FILE}.{end}", "../outside")
    refused(case, folder, f"{OUT_FILE}.{end}: must stay in its folder, but leads to")


def test_a_link_to_itself_and_one_to_nothing_are_refused(case: Case, folder: Path) -> None:
    link(folder / f"{OUT_FILE}.npy", "nowhere")
    refused(case, folder, OUT_FILE, "must be a file, but there is none")
    (folder / f"{OUT_FILE}.npy").unlink()
    link(folder / f"{OUT_FILE}.npy", f"{OUT_FILE}.npy")
    refused(case, folder, OUT_FILE)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused(make: Callable[[Path], None], case: Case, folder: Path) -> None:
    make(folder / f"{OUT_FILE}.npy")
    refused(case, folder, OUT_FILE, "must be a file, but there is")
