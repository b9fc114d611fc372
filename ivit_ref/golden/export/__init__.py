"""A golden case for tools that read neither ``case.json`` nor ``.npz`` files: one case, the same bits in five formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from ivit_ref.errors import InputError
from ivit_ref.golden.case import Case
from ivit_ref.golden.export.bin import write_bin
from ivit_ref.golden.export.c import write_c
from ivit_ref.golden.export.memh import write_memh
from ivit_ref.golden.export.npz import write_tensors
from ivit_ref.golden.export.onnx import write_onnx
from ivit_ref.golden.write import write_folder

_WRITERS: Mapping[str, Callable[[Path, Case], None]] = MappingProxyType(
    {"npz": write_tensors, "onnx": write_onnx, "c": write_c, "memh": write_memh, "bin": write_bin}
)

FORMATS = tuple(_WRITERS)


def export(case: Case, to: str, out: Path) -> Path:
    """Write the case into a new folder ``out`` in one of ``FORMATS``, whole or not at all, and return the folder."""
    if to not in _WRITERS:
        raise InputError(f"export: the format must be one of {', '.join(FORMATS)}, but found {to!r}")
    return write_folder(out, lambda folder: _WRITERS[to](folder, case))
