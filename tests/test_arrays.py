"""Array files: plain arrays come through, and nothing else does; what is written is whole or not there."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ivit_ref import arrays as arrays_module
from ivit_ref.arrays import read_npy, read_npz, replace_file, write_npz
from ivit_ref.errors import FileError

Array = npt.NDArray[Any]
Read = Callable[[str | Path], Any]

SOME: dict[str, Array] = {"a": np.arange(6, dtype=np.int8).reshape(2, 3), "b.c": np.array(1.5, np.float32)}

DTYPES = ("bool", "int8", "uint8", "int16", "int32", "int64", "float32", "float64", ">i4")


def npz_of(arrays: dict[str, Array] = SOME, save: Callable[..., None] = np.savez) -> bytes:
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def npy_of(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_with_header(header: str, data: bytes = b"") -> bytes:
    """An .npy file of version 2.0 with any text for its header."""
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + data


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return stream.getvalue()


def refusal(read: Read, path: Path) -> str:
    """The one line, which starts with the path, in which a file is refused."""
    with pytest.raises(FileError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def refused_bytes(read: Read, data: bytes, folder: Path) -> str:
    path = folder / "given"
    path.write_bytes(data)
    return refusal(read, path)


# --- What comes through


def same(got: Array, want: Array) -> None:
    assert got.flags["C_CONTIGUOUS"] or got.flags["F_CONTIGUOUS"]
    np.testing.assert_array_equal(got, want, strict=True)


names = st.text("abcdef.0/_ é", min_size=1, max_size=8) | st.sampled_from(
    ["file", "args", "kwds", "allow_pickle", "self", "a.npy"]
)
any_arrays = hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))


@given(arrays=st.dictionaries(names, any_arrays, max_size=4))
def test_write_npz_then_read_npz(arrays: dict[str, Array], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "there_and_back.npz"
    write_npz(path, arrays)
    again = read_npz(str(path))
    assert set(again) == set(arrays)
    for name, array in arrays.items():
        same(again[name], array)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_read_npz_reads_what_numpy_writes(save: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "some.npz").write_bytes(npz_of(SOME, save))
    again = read_npz(tmp_path / "some.npz")
    assert list(again) == list(SOME)
    for name, array in SOME.items():
        same(again[name], array)


def test_numpy_reads_what_write_npz_writes(tmp_path: Path) -> None:
    write_npz(tmp_path / "some.npz", SOME)
    with np.load(tmp_path / "some.npz") as archive:
        for name, array in SOME.items():
            same(archive[name], array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_read_npy(dtype: str, tmp_path: Path) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    (tmp_path / "x.npy").write_bytes(npy_of(array))
    same(read_npy(str(tmp_path / "x.npy")), array)


def test_arrays_in_the_order_of_fortran(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    (tmp_path / "x.npy").write_bytes(npy_of(array))
    np.testing.assert_array_equal(read_npy(tmp_path / "x.npy"), array, strict=True)
    write_npz(tmp_path / "x.npz", {"x": array[:, ::2]})
    np.testing.assert_array_equal(read_npz(tmp_path / "x.npz")["x"], array[:, ::2], strict=True)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions_of_the_format(version: tuple[int, int], tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, SOME["a"], version=version)
    (tmp_path / "x.npy").write_bytes(stream.getvalue())
    same(read_npy(tmp_path / "x.npy"), SOME["a"])


def test_an_archive_may_be_empty(tmp_path: Path) -> None:
    write_npz(tmp_path / "none.npz", {})
    assert read_npz(tmp_path / "none.npz") == {}


def test_bytes_depend_on_names_and_arrays_only(tmp_path: Path) -> None:
    write_npz(tmp_path / "one.npz", SOME)
    write_npz(tmp_path / "two.npz", dict(reversed(SOME.items())))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


# --- Pickles


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def objects(path: Path) -> Array:
    array = np.empty(1, object)
    array[0] = Evil(path)
    return array


def test_pickle_in_an_archive_is_refused_and_not_run(tmp_path: Path) -> None:
    data = npz_of({"fine": np.zeros(2), "evil": objects(tmp_path / "made")})
    message = refused_bytes(read_npz, data, tmp_path)
    assert "'evil'" in message
    assert "pickle" in message
    assert not (tmp_path / "made").exists()
    with np.load(io.BytesIO(data), allow_pickle=True) as archive:
        archive["evil"]
    assert (tmp_path / "made").exists()


def test_pickle_in_a_single_array_is_refused_and_not_run(tmp_path: Path) -> None:
    assert "pickle" in refused_bytes(read_npy, npy_of(objects(tmp_path / "made")), tmp_path)
    assert not (tmp_path / "made").exists()


def test_objects_inside_records_are_refused(tmp_path: Path) -> None:
    records = np.empty(1, [("number", "i4"), ("evil", "O")])
    records["evil"][0] = Evil(tmp_path / "made")
    assert "pickle" in refused_bytes(read_npy, npy_of(records), tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("read", [read_npy, read_npz])
def test_bare_pickle(read: Read, tmp_path: Path) -> None:
    import pickle

    refused_bytes(read, pickle.dumps(Evil(tmp_path / "made")), tmp_path)
    assert not (tmp_path / "made").exists()


# --- Sizes


def test_an_archive_that_claims_too_much(tmp_path: Path) -> None:
    """Both headers of a tiny entry say that it unpacks to 3 GiB."""
    data = bytearray(zipped({"a.npy": npy_of(SOME["a"])}, zipfile.ZIP_DEFLATED))
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    data[local + 22 : local + 26] = data[central + 24 : central + 28] = struct.pack("<I", 3 * 2**30)
    message = refused_bytes(read_npz, bytes(data), tmp_path)
    assert "must unpack to at most" in message
    assert str(3 * 2**30) in message


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays_module, "ALWAYS_ALLOWED", 1000)
    data = npz_of({"zeros": np.zeros(10**6, np.int8)}, np.savez_compressed)
    assert "must unpack to at most" in refused_bytes(read_npz, data, tmp_path)
    (tmp_path / "noise.npz").write_bytes(npz_of({"noise": np.random.default_rng(0).bytes(10**5)}))
    assert set(read_npz(tmp_path / "noise.npz")) == {"noise"}


def test_many_entries_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays_module, "ALWAYS_ALLOWED", 3000)
    monkeypatch.setattr(arrays_module, "LARGEST_RATIO", 1)
    entries = {str(i): np.zeros(1000, np.int8) for i in range(4)}
    assert "must unpack to at most" in refused_bytes(read_npz, npz_of(entries, np.savez_compressed), tmp_path)


CLAIMS = {
    "more": ("(100,)", b"\0" * 12),
    "less": ("(2,)", b"\0" * 12),
    "far more": (f"({2**40},)", b"\0" * 12),
    "more than there can be": (f"({2**70}, {2**70})", b"\0" * 12),
    "a huge axis beside an empty one": (f"({2**70}, 0)", b""),
    "a negative axis": ("(-1,)", b""),
    "two negative axes": ("(-1, -3)", b"\0" * 12),
}


@pytest.mark.parametrize(("shape", "data"), CLAIMS.values(), ids=CLAIMS)
@pytest.mark.parametrize("read", [read_npy, read_npz])
def test_header_that_claims_what_is_not_there(read: Read, shape: str, data: bytes, tmp_path: Path) -> None:
    array = npy_with_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}", data)
    refused_bytes(read, array if read is read_npy else zipped({"x.npy": array}), tmp_path)


# --- Files that are something else


HEADERS = {
    "nothing": "",
    "half a dictionary": "{",
    "no dictionary": "1",
    "no shape": "{'descr': '<f4', 'fortran_order': False}",
    "another dtype": "{'descr': 'zz', 'fortran_order': False, 'shape': (1,)}",
    "a truth as length": "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
    "a float as length": "{'descr': '<f4', 'fortran_order': False, 'shape': (1.0,)}",
    "a call": "{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').getpid(),)}",
    "nested": f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'-' * 8000}1,)}}",
    "too long": f"{{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}}{' ' * 20000}",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("read", [read_npy, read_npz])
def test_header_that_is_none(read: Read, header: str, tmp_path: Path) -> None:
    array = npy_with_header(header, b"\0" * 4)
    refused_bytes(read, array if read is read_npy else zipped({"x.npy": array}), tmp_path)


@pytest.mark.parametrize("read", [read_npy, read_npz])
def test_missing_file(read: Read, tmp_path: Path) -> None:
    assert "none" in refusal(read, tmp_path / "none.npz")


@pytest.mark.parametrize("read", [read_npy, read_npz])
def test_folder(read: Read, tmp_path: Path) -> None:
    assert "a folder" in refusal(read, tmp_path)


@pytest.mark.parametrize("data", [b"", b"images\nlabels\n", b"PK", b"\x93NUMPY", b"\x93NUMPY\x09\x09", bytes(100)])
@pytest.mark.parametrize("read", [read_npy, read_npz])
def test_file_of_another_kind(read: Read, data: bytes, tmp_path: Path) -> None:
    refused_bytes(read, data, tmp_path)


def test_one_for_the_other(tmp_path: Path) -> None:
    assert "must be an .npz archive" in refused_bytes(read_npz, npy_of(SOME["a"]), tmp_path)
    assert "must be an .npy file" in refused_bytes(read_npy, npz_of(), tmp_path)


def test_archive_of_other_files(tmp_path: Path) -> None:
    assert "'README.md'" in refused_bytes(read_npz, zipped({"README.md": b"# Read me"}), tmp_path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_truncated_archives(save: Callable[..., None], tmp_path: Path) -> None:
    data = npz_of(SOME, save)
    for end in range(0, len(data), 3):
        refused_bytes(read_npz, data[:end], tmp_path)


def test_truncated_arrays(tmp_path: Path) -> None:
    data = npy_of(SOME["a"])
    for end in range(len(data)):
        refused_bytes(read_npy, data[:end], tmp_path)


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("method", METHODS)
def test_damaged_archives(method: int, tmp_path: Path) -> None:
    """A changed byte is refused, or is in what no reader looks at: then the arrays are as they were."""
    array = np.arange(300, dtype=np.int16)
    data = zipped({"a.npy": npy_of(array)}, method)
    path, refused = tmp_path / "damaged.npz", 0
    for place in range(0, len(data), 1 + len(data) // 150):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x5A]) + data[place + 1 :])
        again = arrays_or_none(read_npz, path)
        refused += again is None
        for found in (again or {}).values():
            same(found, array)
    assert refused > 50


def arrays_or_none(read: Read, path: Path) -> Any:
    try:
        return read(path)
    except FileError:
        return None


def test_damaged_headers(tmp_path: Path) -> None:
    data, path = npy_of(SOME["a"]), tmp_path / "damaged.npy"
    for place in range(len(data) - 6):
        for change in (1, 0x20, 0x80, 0xFF):
            path.write_bytes(data[:place] + bytes([data[place] ^ change]) + data[place + 1 :])
            again = arrays_or_none(read_npy, path)
            assert again is None or again.nbytes == 6


def test_one_name_twice(tmp_path: Path) -> None:
    data = zipped({"a.npy": npy_of(SOME["a"]), "b.npy": npy_of(SOME["a"])}).replace(b"b.npy", b"a.npy")
    assert "twice" in refused_bytes(read_npz, data, tmp_path)


def test_encrypted_archive(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.npy": npy_of(SOME["a"])}))
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert "cannot be read" in refused_bytes(read_npz, bytes(data), tmp_path)


# --- Writing


def half_written(stream: Any) -> None:
    stream.write(b"half")
    raise OSError(28, "No space left on device")


def test_failed_write_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"before")
    with pytest.raises(FileError, match=r"target: must be a place that can be written, but it cannot: No space left on device"):
        replace_file(target, half_written)
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        replace_file(tmp_path / "target", half_written)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
def test_stopped_write_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    def stopped(stream: Any) -> None:
        stream.write(b"half")
        raise error

    with pytest.raises(error):
        replace_file(tmp_path / "target", stopped)
    assert not list(tmp_path.iterdir())


def test_write_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        write_npz(tmp_path / "none" / "x.npz", SOME)
    assert str(caught.value).startswith(f"{tmp_path / 'none' / 'x.npz'}: must be a place that can be written")
    assert not list(tmp_path.iterdir())


def test_write_onto_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError):
        write_npz(tmp_path / "folder", SOME)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


@pytest.mark.parametrize("path", ["", ".", "/", "/dev/null"])
def test_write_onto_what_is_no_file(path: str) -> None:
    with pytest.raises(FileError, match="must be a place that can be written"):
        write_npz(path, SOME)


def test_write_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_npz(tmp_path / "link", SOME)
    assert (tmp_path / "link").is_symlink()
    assert set(read_npz(tmp_path / "target")) == set(SOME)


def test_write_replaces_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "x.npz"
    target.write_bytes(b"before")
    write_npz(target, SOME)
    assert set(read_npz(target)) == set(SOME)
    assert list(tmp_path.iterdir()) == [target]


def test_written_files_have_the_rights_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_npz(tmp_path / "x.npz", SOME)
    assert (tmp_path / "x.npz").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("descr", ["('<f4',)", "()", "[('a',)]"])
def test_a_header_that_numpy_stumbles_over(descr: str, tmp_path: Path) -> None:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}".encode().ljust(117) + b"\n"
    (tmp_path / "odd.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4))
    with pytest.raises(FileError, match="it cannot be read"):
        read_npy(tmp_path / "odd.npy")


def test_a_link_to_itself_is_no_place_to_write(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(FileError, match="can be written"):
        write_npz(tmp_path / "a", {"x": np.zeros(1)})


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(FileError, match="must be a file, but there is"):
        read_npz("x" * 300)
