"""Tensors that a backend wrote to disk: an ``.npz`` file, or a folder of ``.npy`` and ``.bin`` files.

A dump may be partial. What it holds must be named as in the case, or be mapped (``--map``): a tensor that the case does not
have is refused, since it is most often one that was misnamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ivit_ref.arrays import LazyArrays, NpzArrays, existing, is_file, read_npy
from ivit_ref.errors import FileError, InputError
from ivit_ref.golden.case import Case, TensorRecord
from ivit_ref.golden.names import file_names
from ivit_ref.golden.read import inside
from ivit_ref.golden.schema import read_json
from ivit_ref.ir import Array


class Layout:
    """How a dump names and lays out what a case has; see ``map.schema.json``."""

    def __init__(self, path: str | None = None) -> None:
        facts = read_json(path, "map") if path is not None else {}
        self.source = path or "no map"
        self.tensors: Mapping[str, Mapping[str, Any]] = facts.get("tensors", {})
        self.ignored = frozenset(facts.get("ignore", ()))

    def name(self, tensor: str) -> str:
        """What the dump calls a tensor."""
        name: str = self.tensors.get(tensor, {}).get("name", tensor)
        return name

    def axes(self, tensor: str) -> list[int] | None:
        """The declared transpose of a tensor."""
        axes: list[int] | None = self.tensors.get(tensor, {}).get("transpose")
        return axes

    def arranged(self, tensor: str, array: Array) -> Array:
        """The array with the axes of the case."""
        axes = self.axes(tensor)
        if axes is None:
            return array
        if sorted(axes) != list(range(array.ndim)):
            must = f"the transpose of {tensor!r} must have each axis of {array.dtype}{list(array.shape)} once"
            raise InputError(f"{self.source}: {must}, but found {axes}")
        return np.transpose(array, axes)


def dumped(case: Case, place: str | Path, layout: Layout) -> LazyArrays:
    """The tensors of the case that a dump holds, under the names of the case; each is read when it is asked for."""
    place = Path(place)
    records = {record.name: record for record in case.records}
    names = _names(case, layout, records)
    found = _folder(place, layout, names, records) if is_file(place, folder=True) else NpzArrays(place)
    for tensor in layout.tensors:
        if layout.name(tensor) not in found:
            raise InputError(f"{place}: must hold {layout.name(tensor)!r}, as {layout.source} says, but does not")
    for name in found:
        if name not in names and name not in layout.ignored:
            near = get_close_matches(name, names, 1)
            hint = f" (the nearest name is {near[0]!r})" if near else ""
            raise InputError(f"{place}: a tensor must be one of the case {case.name}{hint}, but found {name!r}")
    given = [name for theirs, name in names.items() if theirs in found and theirs not in layout.ignored]
    if not any(records[name].node for name in given):
        wanted = case.made[0].name
        raise InputError(f"{place}: must hold tensors of the case, such as {wanted!r}, but found {', '.join(given) or 'none'}")
    return LazyArrays(given, lambda name: layout.arranged(name, found[layout.name(name)]))


def _names(case: Case, layout: Layout, records: Mapping[str, TensorRecord]) -> dict[str, str]:
    """The names of the case by those of the dump; a name that the map gives to another tensor is that one's."""
    for tensor in layout.tensors:
        if tensor not in records:
            raise InputError(f"{layout.source}: a tensor must be one of the case {case.name}, but found {tensor!r}")
    names: dict[str, str] = {}
    for tensor in layout.tensors:
        if layout.name(tensor) in names:
            raise InputError(f"{layout.source}: a dumped tensor must be mapped once, but found {layout.name(tensor)!r} again")
        names[layout.name(tensor)] = tensor
    return {name: name for name in records if name not in names and name not in layout.tensors} | names


def _folder(place: Path, layout: Layout, names: Mapping[str, str], records: Mapping[str, TensorRecord]) -> Mapping[str, Array]:
    """The arrays of a folder, by the names that their files stand for."""
    files: dict[str, Path] = {}
    by_file = {file: name for name, file in file_names(names).items()}
    for path in sorted(p for p in place.iterdir() if p.suffix in (".npy", ".bin")):
        name = by_file.get(path.stem, path.stem)
        if name in files:
            raise InputError(f"{place}: a tensor must be there once, but found {files[name].name} and {path.name}")
        files[name] = inside(place, path)
    known = {theirs: (records[ours], layout.axes(ours)) for theirs, ours in names.items()}
    return LazyArrays(files, lambda name: _read(files[name], *known.get(name, (None, None))))


def _read(path: Path, record: TensorRecord | None, axes: list[int] | None) -> Array:
    """An array of a file; a ``.bin`` file has the dtype of the case, and its shape before it is transposed."""
    if path.suffix == ".npy" or record is None:
        return read_npy(path)
    dtype = np.dtype(record.dtype).newbyteorder("<")
    wanted, found = prod(record.shape) * dtype.itemsize, existing(path).stat().st_size
    if found != wanted:
        raise FileError(f"{path}: must have the {wanted} bytes of {record.type}, but has {found}")
    raw = np.fromfile(path, np.uint8)
    if record.dtype == "bool" and (raw > 1).any():
        raise FileError(f"{path}: a bool must be a byte of 0 or 1, but found {raw.max()}")
    shape = record.shape
    if axes is not None and sorted(axes) == list(range(len(shape))):
        shape = tuple(shape[axes.index(axis)] for axis in range(len(shape)))
    array: Array = np.asarray(raw.view(dtype), record.dtype)
    return array.reshape(shape)
