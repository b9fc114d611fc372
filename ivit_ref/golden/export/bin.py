"""One raw file a tensor: its elements, little-endian, with nothing before or behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ivit_ref.arrays import little_endian
from ivit_ref.golden.case import Case
from ivit_ref.golden.export.layout import write_layout

ENCODING = "raw elements, little-endian; a bool is one byte, 0 or 1"


def write_bin(folder: Path, case: Case) -> None:
    """Write ``NAME.bin`` for each tensor, and ``layout.json``."""
    write_layout(folder, case, ".bin", ENCODING, lambda dtype: 8 * np.dtype(dtype).itemsize, little_endian)
