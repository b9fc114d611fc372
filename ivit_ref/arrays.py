"""Reading and writing ``.npy`` and ``.npz`` files: never a pickle, sizes checked first, nothing left half-written."""

from __future__ import annotations

import hashlib
import lzma
import os
import sys
import tempfile
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from ivit_ref.errors import FileError
from ivit_ref.integers import Mask
from ivit_ref.ir import Array

T = TypeVar("T")

ALWAYS_ALLOWED = 2**28
LARGEST_RATIO = 100
"""A file may unpack to 256 MiB, or to a hundred times its own size, whichever is more."""

LONGEST_NAME = 2**16 - 1 - len(".npy")
"""Bytes that the name of an array in an ``.npz`` file may have."""

UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, OverflowError, MemoryError, RecursionError, RuntimeError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What zipfile, its decompressors and NumPy's header parser raise for damaged files."""

NOT_NUMBERS = "holds Python objects, which only a pickle can carry; save plain arrays with numpy.savez"


class LazyArrays(Mapping[str, Array]):
    """Arrays by name, each read (or made) when it is asked for, and not kept."""

    def __init__(self, names: Iterable[str], read: Callable[[str], Array]) -> None:
        self._names, self._read_named = dict.fromkeys(names), read

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._read_named(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class NpzArrays(LazyArrays):
    """The arrays of an ``.npz`` file by name: all headers are checked now, an array is read when asked for, and not kept.

    FileError says what is wrong with the file.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = existing(path)
        with self._telling():
            self._archive = zipfile.ZipFile(self._path)
            check_entries(self._path, self._archive.infolist())
            for entry in self._archive.infolist():
                self._read(entry, _check_header)
        self._entries = {entry.filename.removesuffix(".npy"): entry for entry in self._archive.infolist()}
        super().__init__(self._entries, self._array)

    def _array(self, name: str) -> Array:
        with self._telling():
            return self._read(self._entries[name], _read_array)

    def _telling(self) -> AbstractContextManager[None]:
        return telling(self._path, "an .npz archive that numpy.savez wrote")

    def _read(self, entry: zipfile.ZipInfo, read: Callable[[IO[bytes], int, str], T]) -> T:
        if not entry.filename.endswith(".npy"):
            raise FileError(f"{self._path}: every entry must be an .npy array, but found {entry.filename!r}")
        with self._archive.open(entry) as stream:
            return read(stream, entry.file_size, f"{self._path}: {entry.filename.removesuffix('.npy')!r}")


def read_npz(path: str | Path) -> dict[str, Array]:
    """Every array of an ``.npz`` file by name."""
    return dict(NpzArrays(path))


def read_npy(path: str | Path) -> Array:
    """The array of an ``.npy`` file."""
    path = existing(path)
    with telling(path, "an .npy file that numpy.save wrote"), path.open("rb") as stream:
        return _read_array(stream, path.stat().st_size, str(path))


@contextmanager
def telling(path: Path, what: str, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Everything that reading a damaged file can raise, and ``also`` these, as one FileError of one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of headers that Python 2 wrote; what is wrong with a file is one line
            yield
    except FileError:
        raise
    except (*UNREADABLE, *also) as error:
        raise FileError(f"{path}: must be {what}, but it cannot be read: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Of what an error says, which may quote half a file."""
    lines = ("".join(c for c in line if c.isprintable()).strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:200]


def write_npz(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """Write an ``.npz`` file whose bytes depend on names and arrays only."""
    replace_file(path, lambda stream: _write_archive(stream, arrays))


def replace_file(path: str | Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write to a temporary file beside ``path``, then replace ``path``: it is whole or untouched.

    A link is followed; what exists and is no regular file (a folder, a device) is refused.
    """
    try:
        path = Path(path).resolve()
        if not path.name or (path.exists() and not path.is_file()):
            raise FileError(f"{path}: must be a place that can be written, but it is no regular file")
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".ivit-ref-", delete=False) as stream:
            temporary = Path(stream.name)
            try:
                write(stream)
                stream.close()
                temporary.chmod(0o666 & ~_umask())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{path}: must be a place that can be written, but it cannot: {reason}") from error


def little_endian(array: Array) -> bytes:
    """The elements in row-major order, little-endian: what a digest is taken of, and what goes to machines without NumPy."""
    return (array if sys.byteorder == "little" else array.byteswap()).tobytes()


def digest(array: Array) -> str:
    """The SHA-256 of ``little_endian``."""
    return hashlib.sha256(little_endian(array)).hexdigest()


def file_digest(path: str | Path) -> str:
    """The SHA-256 of a file, read piece by piece."""
    total = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while piece := stream.read(2**20):
            total.update(piece)
    return total.hexdigest()


def identical(a: Array, b: Array) -> bool:
    """Whether two arrays are of one dtype and shape, and the same bit by bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def unequal(a: Array, b: Array) -> Mask:
    """Where two arrays of one dtype and shape differ: floats bit by bit, as a 0 has a sign and NaN is not equal to itself."""
    floats = a.dtype == np.float32 and b.dtype == np.float32
    bits = [np.ascontiguousarray(x).view(np.int32).reshape(x.shape) if floats else x for x in (a, b)]
    return np.not_equal(*bits)


def is_file(path: Path, *, folder: bool = False) -> bool:
    """Whether there is a file, or a folder; a path that no system call takes leads to none."""
    try:
        return path.is_dir() if folder else path.is_file()
    except (OSError, ValueError):
        return False


def same_file(first: str | Path, second: str | Path) -> bool:
    """Whether both paths are one existing file."""
    try:
        return Path(first).samefile(second)
    except (OSError, ValueError):
        return False


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_archive(stream: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """What ``numpy.savez`` writes, which cannot write arrays named like its own parameters."""
    with zipfile.ZipFile(stream, "w") as archive:
        for name in sorted(arrays):
            if len(name.encode()) > LONGEST_NAME:
                raise FileError(f"{name[:40]}...: a name must have at most {LONGEST_NAME} bytes, but has {len(name.encode())}")
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, arrays[name], allow_pickle=False)


def existing(path: str | Path) -> Path:
    """The path, if it is a file."""
    path = Path(path)
    try:
        if path.is_file():
            return path
        found = "a folder" if path.is_dir() else "none"
    except OSError as error:
        found = f"no such name: {error.strerror}"
    raise FileError(f"{path}: must be a file, but there is {found}")


def check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Each name once, and not more in all than the file's own size makes likely."""
    if len({entry.filename for entry in entries}) < len(entries):
        raise FileError(f"{path}: every array must have a name of its own, but found one twice")
    unpacked = sum(entry.file_size for entry in entries)
    limit = max(ALWAYS_ALLOWED, LARGEST_RATIO * path.stat().st_size)
    if unpacked > limit:
        raise FileError(f"{path}: must unpack to at most {limit} bytes, but says it holds {unpacked}")


def _read_array(stream: IO[bytes], size: int, what: str) -> Array:
    """One array, after its header has been held against the bytes that are there."""
    _check_header(stream, size, what)
    stream.seek(0)
    array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _check_header(stream: IO[bytes], size: int, what: str) -> None:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    if dtype.hasobject:
        raise FileError(f"{what}: {NOT_NUMBERS}")
    claimed = prod(shape) * dtype.itemsize
    if claimed != size - stream.tell():
        raise FileError(f"{what}: must hold {claimed} bytes of {dtype}{list(shape)}, but holds {size - stream.tell()}")
