"""Elements as hexadecimal words: two's complement in the dtype's width, a float32 as its bits, a bool as ``0`` or ``1``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ivit_ref.ir import Array

BITS = {"bool": 1, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "int64": 64, "float32": 32}
"""How many bits a word of each dtype has."""

SIGNED = frozenset({"int8", "int16", "int32", "int64"})


def digits(dtype: str) -> int:
    """How many hexadecimal digits a word of that dtype has."""
    return -(-BITS[dtype] // 4)


def words(array: Array) -> list[str]:
    """Each element of an array, the last axis fastest, in lower case and with leading zeros."""
    flat = np.ascontiguousarray(array).reshape(-1)
    width = digits(str(array.dtype))
    return [f"{bits:0{width}x}" for bits in flat.view(f"u{array.itemsize}").tolist()]


def from_bits(bits: Sequence[int], dtype: str, shape: tuple[int, ...]) -> Array:
    """The array whose elements have these bits; each is below ``2**BITS[dtype]``."""
    unsigned = np.array(bits, f"u{np.dtype(dtype).itemsize}")
    return unsigned.view(dtype).reshape(shape)
