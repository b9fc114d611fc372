"""Integer arithmetic with explicit widths: the only module that changes a width.

NumPy wraps silently when an array operation overflows. Here every value is computed in int64 (``Wide``), and one of
three words says what happens at a narrower width: ``narrow`` (it must fit), ``wrap`` (two's complement) or ``saturate``.

Rounding rules, for a quotient ``x / d`` with ``d > 0``:

===========  ============================================================
``floor``      towards minus infinity (an arithmetic shift right)
``truncate``   towards zero (integer division in C)
``half_up``    to nearest, ties towards plus infinity
``half_away``  to nearest, ties away from zero
``half_even``  to nearest, ties to the even neighbour
===========  ============================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from ivit_ref.errors import ConstraintError, IntegerOverflow

Ints: TypeAlias = npt.NDArray[np.integer[Any]]
"""An integer array of any width."""

Wide: TypeAlias = npt.NDArray[np.int64]
"""An int64 array: what all arithmetic is done in."""

Mask: TypeAlias = npt.NDArray[np.bool_]

Rounding = Literal["floor", "truncate", "half_up", "half_away", "half_even"]
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)

BOUNDS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "bool": (0, 1),
        "int8": (-(2**7), 2**7 - 1),
        "uint8": (0, 2**8 - 1),
        "int16": (-(2**15), 2**15 - 1),
        "uint16": (0, 2**16 - 1),
        "int32": (-(2**31), 2**31 - 1),
        "uint32": (0, 2**32 - 1),
        "int64": (-(2**63), 2**63 - 1),
    }
)
"""Smallest and largest value of each width."""


def widen(x: npt.ArrayLike) -> Wide:
    """Any integer array as int64. Floats are refused: they are never integers in disguise."""
    array = np.asanyarray(x)
    if array.dtype.kind not in "iub" or array.dtype == np.uint64:
        raise ConstraintError(f"widen: the array must hold integers that int64 holds, but its dtype is {array.dtype}")
    return array.astype(np.int64)


def from_float(x: npt.NDArray[np.floating[Any]]) -> Wide:
    """Floats that hold integers, as int64; for the edge of a graph."""
    return x.astype(np.int64)


def to_float32(x: Wide) -> npt.NDArray[np.float32]:
    """Integers as the nearest float32; for the edge of a graph."""
    return x.astype(np.float32)


def outside(x: Wide, dtype: str) -> Mask | None:
    """Where ``x`` leaves the bounds of ``dtype``; None when it does nowhere."""
    low, high = BOUNDS[dtype]
    if x.size == 0 or (int(x.min()) >= low and int(x.max()) <= high):
        return None
    return (x < low) | (x > high)


def narrow(x: Wide, dtype: str, step: str = "narrow") -> Ints:
    """``x`` in ``dtype``; every element must fit, or IntegerOverflow names the first that does not."""
    mask = outside(x, dtype)
    if mask is not None:
        count, index, value = first_where(mask, x)
        raise IntegerOverflow(step=step, dtype=dtype, count=count, total=x.size, index=index, value=value)
    return x.astype(dtype)


def wrap(x: Wide, dtype: str) -> Wide:
    """The low bits of ``x`` read as two's complement of ``dtype``; still an int64 array."""
    if dtype == "int64":
        return x
    low, high = BOUNDS[dtype]
    modulus_mask = high - low
    return ((x & modulus_mask) ^ -low) + low


def saturate(x: Wide, low: int, high: int) -> Wide:
    """``x`` held within ``[low, high]``."""
    return np.minimum(np.maximum(x, low), high)


def first_where(mask: Mask, x: Wide | npt.NDArray[np.float64]) -> tuple[int, tuple[int, ...], int]:
    """How many elements the mask holds, the first one's index, and its value in ``x``."""
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))
    return int(np.count_nonzero(mask)), index, int(x[index])


def peak(x: Ints) -> int:
    """The largest magnitude."""
    return max(int(x.max()), -int(x.min()))


def multiply(x: Wide, y: Wide | int, step: str = "product") -> Wide:
    """``x * y`` for ``abs(y) < 2**63``: a product of 2**63 or more in magnitude raises, it never wraps."""
    if peak(x) * peak(np.asarray(y)) < 2**63:
        return x * y
    limit = (2**63 - 1) // np.maximum(np.abs(y), 1)
    mask: Mask = (np.not_equal(y, 0)) & ((x > limit) | (x < -limit))
    if mask.any():
        count, index, value = first_where(mask, np.broadcast_to(x, mask.shape))
        exact = value * int(np.broadcast_to(y, mask.shape)[index])
        raise IntegerOverflow(step=step, dtype="int64", count=count, total=mask.size, index=index, value=exact)
    return x * y


def shift_right(x: Wide, k: Wide | int, rounding: Rounding = "floor") -> Wide:
    """``x / 2**k`` for ``0 <= k <= 62``, rounded by the named rule."""
    q = x >> k
    return _round(x, q, x - (q << k), np.int64(1) << k, rounding)


def divide(x: Wide, d: Wide | int, rounding: Rounding = "floor") -> Wide:
    """``x / d`` for ``1 <= d <= 2**62``, rounded by the named rule."""
    q = x // d
    return _round(x, q, x - q * d, d, rounding)


def truncating_divide(x: Wide | int, d: Wide) -> Wide:
    """``x / d`` towards zero for ``d != 0`` of either sign: integer division in C."""
    q: Wide = x // d
    inexact: Mask = q * d != x
    return q + (inexact & ((x < 0) ^ (d < 0)))


def floor_scale(x: Wide, e: Wide, largest_exponent: int = 62) -> Wide:
    """``floor(x * 2**e)`` for ``0 <= x < 2**62`` and ``e > -2**63``, but at most 2**62.

    An ``e`` above ``largest_exponent`` counts as that.
    """
    left = saturate(e, 0, largest_exponent)
    right = saturate(-e, 0, 62)
    ceiling = np.int64(2**62)
    return np.where(x > (ceiling >> left), ceiling, (x << left) >> right)


def isqrt(v: Wide) -> Wide:
    """``floor(sqrt(v))`` for ``0 <= v < 2**62``, one result bit at a time."""
    root = v * 0
    for bit in range(30, -1, -1):
        trial = root + (1 << bit)
        root = np.where(trial * trial <= v, trial, root)
    return root


def _round(x: Wide, q: Wide, remainder: Wide, d: Wide | np.int64 | int, rounding: Rounding) -> Wide:
    """Corrects the floor ``q`` of ``x / d``, given ``remainder = x - q*d`` in ``[0, d)``, to the named rule."""
    twice: Wide = 2 * remainder
    if rounding == "floor":
        return q
    if rounding == "truncate":
        return q + ((x < 0) & (remainder > 0))
    if rounding == "half_up":
        return q + (twice >= d)
    if rounding == "half_away":
        up: Mask = (twice > d) | ((twice == d) & (x > 0))
        return q + up
    if rounding == "half_even":
        up = (twice > d) | ((twice == d) & (q & 1 == 1))
        return q + up
    raise ConstraintError(f"rounding: must be one of {', '.join(ROUNDINGS)}, but found {rounding!r}")
