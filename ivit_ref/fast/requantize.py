"""Requantize and RequantizeAdd in float64, which is exact where the product is below 2**52, and checked where it is not.

Let ``z = x * m`` and ``v = z / 2**s``. With |z| <= 2**52:

- ``m / 2**s`` and ``v`` are float64 numbers (at most 53 significant bits), so one multiplication gives v exactly, and
  floor, trunc and rint (half to even) round it by definition;
- ``v + 0.5`` is exact wherever it decides: for |v| >= 1/2 it has a numerator of at most 2**53, and for |v| < 1/2 near 1/2 the
  shift is at most 53, so it is a multiple of 2**-53 below 1. Hence floor(v + 0.5) is half up, and with |v| half away from zero.

Beyond that (I-LayerNorm's results reach 2**30, their z 2**61) the computed v is off by at most |v| * 2**-53: by at most 2**-33
where |v| <= 2**20. Rounding can go wrong only that near to a boundary, which is an integer for floor and truncate and a
half for the others. The elements within 2**-32 of one are done again in integers. Larger |v| run the spec body.
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
LARGEST_CHECKED = 2.0**20
MARGIN = 2.0**-32


def requantize(arrays: Sequence[Array], attributes: Mapping[str, Any], ctx: Context) -> Array:
    """``x * multiplier / 2**shift + zero_point``, rounded and saturated."""
    (x,) = arrays
    y = scaled(x, attributes["multiplier"], attributes["shift"], attributes["rounding"], attributes["axis"], x.ndim)
    if y is None:
        return REGISTRY["Requantize"].run(arrays, attributes, ctx)
    return _finish(y, attributes, ctx)


def requantize_add(arrays: Sequence[Array], attributes: Mapping[str, Any], ctx: Context) -> Array:
    """The sum of two rescaled branches, saturated; branches that are rounded once run the spec body."""
    branches = []
    rank = max(x.ndim for x in arrays)
    for name, x in zip("ab", arrays, strict=True):
        numbers = attributes[f"{name}_multiplier"], attributes[f"{name}_shift"]
        branches.append(scaled(x, *numbers, attributes["rounding"], attributes["axis"], rank))
    if attributes["rounds"] != "each" or branches[0] is None or branches[1] is None:
        return REGISTRY["RequantizeAdd"].run(arrays, attributes, ctx)
    return _finish(branches[0] + branches[1], attributes, ctx)


def scaled(x: Ints, multiplier: Numbers, shift: Numbers, rounding: Rounding, axis: int, rank: int) -> Reals | None:
    """``round(x * multiplier / 2**shift)`` as float64 integers; None where float64 does not prove it."""
    factor, largest = _factor(multiplier, shift, axis, rank)
    v: Reals = x.astype(np.float64)
    v = np.multiply(v, factor, out=v if np.broadcast_shapes(v.shape, factor.shape) == v.shape else None)
    if peak(x) * largest <= EXACT:
        return _round(v, rounding)
    if max(float(v.max()), -float(v.min())) > LARGEST_CHECKED:
        return None
    uncertain = _near_boundary(v, rounding)
    y = _round(v, rounding)
    if uncertain.any():
        numbers = (along(multiplier, axis, rank), along(shift, axis, rank))
        z, m, s = (np.broadcast_to(array, v.shape)[uncertain] for array in (widen(x), *numbers))
        y[uncertain] = shift_right(z * m, s, rounding)
    return y


@lru_cache(maxsize=1024)
def _factor(multiplier: Numbers, shift: Numbers, axis: int, rank: int) -> tuple[Reals, int]:
    """``m / 2**s`` along the axis, and the largest |m|; making them of long tuples takes longer than using them."""
    factor = np.ldexp(along(multiplier, axis, rank).astype(np.float64), -along(shift, axis, rank))
    factor.setflags(write=False)
    return factor, max(map(abs, multiplier))


def _round(v: Reals, rounding: Rounding) -> Reals:
    """``v`` rounded in place."""
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


def _near_boundary(v: Reals, rounding: Rounding) -> npt.NDArray[np.bool_]:
    distance = np.abs(v - np.rint(v))
    return distance < MARGIN if rounding in ("floor", "truncate") else distance > 0.5 - MARGIN


def _finish(y: Reals, attributes: Mapping[str, Any], ctx: Context) -> Ints:
    """Zero point and saturation, with the events of the spec body."""
    zero_point, dtype = attributes["zero_point"], str(attributes["dtype"])
    low, high = BOUNDS[dtype]
    if zero_point:
        y += zero_point
    if float(y.min()) < low or float(y.max()) > high:
        ctx.record("saturated", (y < low) | (y > high), y, "y")
        np.clip(y, low, high, out=y)
    return y.astype(dtype)
