"""One ``$readmemh`` file a tensor, for a testbench in Verilog or VHDL."""

from __future__ import annotations

from pathlib import Path

from ivit_ref.golden.case import Case
from ivit_ref.golden.export.layout import write_layout
from ivit_ref.golden.words import BITS, words
from ivit_ref.ir import Array

ENCODING = "text for $readmemh: one element a line, hexadecimal, as many digits as its bits fill"


def write_memh(folder: Path, case: Case) -> None:
    """Write ``NAME.memh`` for each tensor, and ``layout.json``."""
    write_layout(folder, case, ".memh", ENCODING, BITS.__getitem__, _lines)


def _lines(array: Array) -> bytes:
    return ("\n".join(words(array)) + "\n").encode()
