"""TosaRescale: an accumulator to a narrow integer by a dyadic number, as TOSA's RESCALE does it with 32-bit multipliers.

Semantics, elementwise; multiplier and shift have one entry, or one for each index along ``axis``
    round = 2**(shift - 1)
    round = round + 2**30 where x >= 0, and round - 2**30 where x < 0    ``double_round`` only, and where shift > 31
    y = (x * multiplier + round) >> shift                                fits int32, by C5
    y = saturate(y + zero_point, dtype)

``multiplier / 2**shift`` is the dyadic number of S_x / S_y, as in Requantize. A negative gain has no number here: its sign must
go elsewhere, into the columns of the next weight. The input's zero point is taken away before (``Center``).

Properties
    (P1) never decreasing in x, with either rounding
    (P2) ``double_round`` off: Requantize with rounding half_up, so within 1/2 of the exact value
    (P3) ``double_round`` on: GemmlowpRequantize, to the last integer; with shift > 31 within 1/2 + 2**(30 - shift), so 3/4 at
         worst: 1/4 becomes 1 (x = 1, multiplier = 2**30, shift = 32)

Sources
    TOSA 1.0, RESCALE and apply_scale_32 (scale32; rounding modes SINGLE_ROUND and DOUBLE_ROUND); Arm TOSA reference_model,
    src/quant_util.h, ``apply_scale_32``, which stops the program where C2 or C5 is broken

Constraints
    (C1) x is int8, uint8, int16, int32
    (C2) 0 <= multiplier < 2**31 and 2 <= shift <= 62
    (C3) multiplier and shift are equally many: one, or as many as the axis is long; axis is a place in the shape of x
    (C4) zero_point is a value of dtype
    (C5) -2**(shift - 1) <= x < 2**(shift - 1): every int32 from a shift of 32 on, so for every factor below 1/2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, Mask, Wide, first_where, narrow, widen
from ivit_ref.ir import TensorType
from ivit_ref.ops.requantize import Numbers, ResultType, along, check_dyadic, check_zero_point
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

SECOND = 2**30
"""Half of what the first of two roundings, by 2**31, rounds to."""


def infer(
    x: TensorType, *, multiplier: Numbers, shift: Numbers, axis: int, zero_point: int, dtype: str, **_: Any
) -> TensorType:
    """dtype, in the shape of x."""
    require_dtype("TosaRescale (C1)", "x", x, "int8", "uint8", "int16", "int32")
    check_dyadic("TosaRescale (C2)", "TosaRescale (C3)", multiplier, shift, axis, x)
    require(min(multiplier) >= 0, "TosaRescale (C2)", "a multiplier must not be negative", multiplier)
    require(min(shift) >= 2, "TosaRescale (C2)", "a shift must be from 2 to 62", shift)
    check_zero_point("TosaRescale (C4)", zero_point, dtype)
    return TensorType(dtype, x.shape)


def onnx_body(b: Body, x: Sym) -> Sym:
    shift = b.attribute("shift")
    divisor = b.along_axis(b.power_of_two(shift), "axis", x)
    doubles = b.attribute("double_round").equals(1)
    second = b.along_axis(b.where((shift > 31) & doubles, SECOND, 0), "axis", x)
    wide = b.widen(x)
    half = b.floor_divide(divisor, 2) + b.where(wide < 0, -second, second)
    y = b.floor_divide(wide * b.along_axis(b.attribute("multiplier"), "axis", x) + half, divisor)
    return b.saturate_cast(y + b.attribute("zero_point"))


@op("TosaRescale", infer=infer, onnx_body=onnx_body)
def tosa_rescale(
    x: Ints,
    /,
    *,
    multiplier: Numbers,
    shift: Numbers,
    double_round: bool,
    axis: int,
    zero_point: int,
    dtype: ResultType,
    ctx: Context = STRICT,
) -> Ints:
    """``x * multiplier / 2**shift + zero_point``, rounded once or twice and saturated; dtype, in the shape of x."""
    wide, shifts = widen(x), along(shift, axis, x.ndim)
    half = np.int64(1) << (shifts - 1)
    _check_range(wide, half)
    second = np.where(shifts > 31, SECOND, 0) if double_round else np.int64(0)
    half = half + np.where(wide < 0, -second, second)
    y = (wide * along(multiplier, axis, x.ndim) + half) >> shifts
    return narrow(ctx.saturate(y + zero_point, dtype, "y"), dtype)


def _check_range(x: Wide, half: Wide) -> None:
    """C5."""
    beyond: Mask = (x < -half) | (x >= half)
    if beyond.any():
        _, index, value = first_where(beyond, x)
        must = f"x must be below 2**(shift - 1) in magnitude, at {list(index)}"
        require(False, "TosaRescale (C5)", must, value)
