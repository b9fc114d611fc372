"""Requantize and RequantizeAdd in float64, which rounds nothing, or rounds where it can be seen.

Let ``z = x * m`` and ``v = z / 2**s`` with |x| <= 2**31, |m| < 2**31 and 0 <= s <= 62. ``f = m / 2**s`` is a float64 number.

**|z| <= 2**52.** v is z with another exponent: a float64 number, so ``x * f`` is v, not rounded. Then

- floor, trunc and rint (half to even) of v are those rules by definition;
- floor(v + 0.5) is half up. v + 0.5 is (z + 2**(s-1)) / 2**s. For 1 <= s <= 53 its numerator is at most 2**52 + 2**52 in
  magnitude: a float64 number. For s >= 54, |v| is at most 1/4, and v + 0.5 stays between 1/4 and 3/4 however it is rounded:
  the result is 0, as it should be. For s = 0, v is an integer of at most 2**51, so v + 0.5 is a float64 number;
- half away from zero is half up of |v|, with the sign of v.

**|z| > 2**52** (results of ILayerNorm reach 2**30, their z 2**61). Now ``x * f`` is v rounded. Rounding is monotone, and the
integers and halves up to 2**52 are float64 numbers; so v rounded is never beyond one of them that v is not beyond: at worst it
is on it. Hence, unless v rounded *is* a half, its nearest integer is that of v, under each of the rules to nearest; and unless
it *is* an integer, its floor and trunc are those of v. The few elements that are on one are done again in integers, by the
spec's ``shift_right``.

**Branches that are rounded once** have one shift: their sum is a v of the first kind, with z the sum of both products.

Where |v| may exceed 2**51, or such a z 2**52, the spec body runs. Zero point, saturation and the sum of branches that are
rounded each are in integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ivit_ref.events import Context
from ivit_ref.integers import BOUNDS, Ints, Rounding, peak, shift_right, widen
from ivit_ref.ir import Array
from ivit_ref.ops.requantize import Numbers, along
from ivit_ref.registry import REGISTRY

Reals: TypeAlias = npt.NDArray[np.float64]

EXACT = 2**52
LARGEST = 2**51
SMALL = 2**29
"""Results below it are kept in int32, where two of them can be added."""


def requantize(arrays: Sequence[Array], attributes: Mapping[str, Any], ctx: Context) -> Array:
    """``x * multiplier / 2**shift + zero_point``, rounded and saturated."""
    (x,) = arrays
    y = scaled(x, attributes["multiplier"], attributes["shift"], attributes["rounding"], attributes["axis"], x.ndim)
    if y is None:
        return REGISTRY["Requantize"].run(arrays, attributes, ctx)
    return saturated(_shifted(y, attributes["zero_point"]), attributes["dtype"], ctx)


def requantize_add(arrays: Sequence[Array], attributes: Mapping[str, Any], ctx: Context) -> Array:
    """The sum of two rescaled branches, saturated."""
    a, b = arrays
    if a.shape != b.shape:
        a, b = np.broadcast_arrays(a, b)
    y = (_each if attributes["rounds"] == "each" else _once)(a, b, attributes)
    if y is None:
        return REGISTRY["RequantizeAdd"].run(arrays, attributes, ctx)
    return saturated(_shifted(y, attributes["zero_point"]), attributes["dtype"], ctx)


def _each(a: Ints, b: Ints, attributes: Mapping[str, Any]) -> Ints | None:
    """Two rounded branches, added; None where float64 does not prove them."""
    how = attributes["rounding"], attributes["axis"], a.ndim
    first = scaled(a, attributes["a_multiplier"], attributes["a_shift"], *how)
    second = scaled(b, attributes["b_multiplier"], attributes["b_shift"], *how)
    return None if first is None or second is None else first + second


def _once(a: Ints, b: Ints, attributes: Mapping[str, Any]) -> Ints | None:
    """Two branches on one shift, added and then rounded; None where their sum may leave 2**52."""
    axis, rank = attributes["axis"], a.ndim
    a_factor, a_largest, _ = _factors(attributes["a_multiplier"], attributes["a_shift"], axis, rank)
    b_factor, b_largest, _ = _factors(attributes["b_multiplier"], attributes["b_shift"], axis, rank)
    if peak(a) * a_largest + peak(b) * b_largest > EXACT:
        return None
    v: Reals = a * a_factor
    v += b * b_factor
    return _round_exact(v, attributes["rounding"]).astype(np.int64)


def scaled(x: Ints, multiplier: Numbers, shift: Numbers, rounding: Rounding, axis: int, rank: int) -> Ints | None:
    """``round(x * multiplier / 2**shift)``, in int32 where it is small; None where float64 does not prove it."""
    factor, largest_multiplier, largest_factor = _factors(multiplier, shift, axis, rank)
    highest = peak(x)
    if highest * largest_factor > LARGEST:
        return None
    dtype = np.int32 if highest * largest_factor < SMALL else np.int64
    v: Reals = x.astype(np.float64)
    v *= factor
    if highest * largest_multiplier <= EXACT:
        return _round_exact(v, rounding).astype(dtype)
    rounded = np.floor if rounding == "floor" else np.trunc if rounding == "truncate" else np.rint
    nearest = rounded(v)
    v -= nearest
    doubtful = np.abs(v, out=v) == (0.5 if rounded is np.rint else 0.0)
    y: Ints = nearest.astype(dtype)
    if doubtful.any():
        m, s = (np.broadcast_to(along(numbers, axis, rank), x.shape)[doubtful] for numbers in (multiplier, shift))
        y[doubtful] = shift_right(widen(x[doubtful]) * m, s, rounding)
    return y


def saturated(y: Ints, dtype: str, ctx: Context) -> Ints:
    """``y`` held within the dtype, with the event of ``ctx.saturate``, but in the width that y has; uses up ``y``."""
    low, high = BOUNDS[dtype]
    if int(y.min()) < low or int(y.max()) > high:
        if ctx.emit is not None:
            ctx.record("saturated", (y < low) | (y > high), widen(y), "y")
        np.clip(y, low, high, out=y)
    return y.astype(dtype)


def _shifted(y: Ints, zero_point: int) -> Ints:
    return np.add(y, zero_point, dtype=np.int64) if zero_point else y


@lru_cache(maxsize=512)
def _factors(multiplier: Numbers, shift: Numbers, axis: int, rank: int) -> tuple[Reals, int, float]:
    """``m / 2**s`` along the axis, and the largest |m| and |m / 2**s|.

    Kept by value: to make arrays of tuples takes a quarter of the whole time for 768 channels.
    """
    factor: Reals = np.ldexp(along(multiplier, axis, rank).astype(np.float64), -along(shift, axis, rank))
    factor.setflags(write=False)
    return factor, max(map(abs, multiplier)), float(np.abs(factor).max())


def _round_exact(v: Reals, rounding: Rounding) -> Reals:
    """``v`` rounded by the rule, in place; right where v is exact."""
    if rounding == "half_even":
        return np.rint(v, out=v)
    if rounding == "floor":
        return np.floor(v, out=v)
    if rounding == "truncate":
        return np.trunc(v, out=v)
    if rounding == "half_up":
        v += 0.5
        return np.floor(v, out=v)
    away = np.floor(np.abs(v) + 0.5)
    return np.copysign(away, v, out=v)
