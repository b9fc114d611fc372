"""``tensors.npz``: every tensor of a case by name, constants included."""

from __future__ import annotations

from pathlib import Path

from ivit_ref.arrays import write_npz
from ivit_ref.golden.case import TENSORS, Case


def write_tensors(folder: Path, case: Case) -> None:
    """Write the archive into the folder."""
    write_npz(folder / TENSORS, case.tensors)
