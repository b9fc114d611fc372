"""GemmlowpRequantize: an accumulator to a narrow integer by a dyadic number, rounded twice, as TFLite does it.

Semantics, elementwise; multiplier and shift have one entry, or one for each index along ``axis``; SRDHM and RDBP are those of
ivit_ref/fixed_point.py; left = max(31 - shift, 0), right = max(shift - 31, 0)
    w = x * 2**left                          must fit int32 (or wraps)
    y = SRDHM(w, multiplier)                 w * multiplier / 2**31, half up
    y = RDBP(y, right)                       y / 2**right, half away from zero
    y = saturate(y + zero_point, dtype)

``multiplier / 2**shift`` is the dyadic number of S_x / S_y, as in Requantize. In the source ``x * (1 << left)`` is an int32
product whose overflow C++ leaves undefined; machines wrap. Where the shift would be above 62, TFLite writes a multiplier of 0,
and here the number is 1 / 2**62: either makes 0 of every int32.

Properties
    (P1) never decreasing in x for a positive multiplier, never increasing for a negative one
    (P2) shift <= 31: rounded once, half up, so within 1/2 of the exact value
    (P3) shift > 31: within 1/2 + 2**(30 - shift), so 3/4 at worst: 1/4 becomes 1 (x = 1, multiplier = 2**30, shift = 32). At
         2**-k, from k = 2 on, 2**(k - 1) - 1 becomes 1: a tie of the first rounding makes it a tie of the second
    (P4) a negative multiplier is defined by the routine, though TFLite makes none; the first rounding takes ties up for either
         sign, so the result for -multiplier need not be the negated one: 1 by -1/4 gives 0
    (P5) for a multiplier from 0 on it equals TosaRescale with double_round, wherever that is defined

Sources
    tensorflow/tflite-micro at 90b983c, tensorflow/lite/kernels/internal/common.cc, ``MultiplyByQuantizedMultiplier`` without
    TFLITE_SINGLE_ROUNDING, and quantization_util.cc, ``QuantizeMultiplier``; google/gemmlowp fixedpoint/fixedpoint.h

Constraints
    (C1) x is int8, uint8, int16, int32
    (C2) abs(multiplier) < 2**31 and 0 <= shift <= 62
    (C3) multiplier and shift are equally many: one, or as many as the axis is long; axis is a place in the shape of x
    (C4) zero_point is a value of dtype
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.fixed_point import divide_by_power_of_two, high_mul, onnx_divide_by_power_of_two, onnx_high_mul
from ivit_ref.integers import Ints, narrow, widen
from ivit_ref.ir import TensorType
from ivit_ref.ops.requantize import Numbers, ResultType, along, check_dyadic, check_zero_point
from ivit_ref.registry import op, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, multiplier: Numbers, shift: Numbers, axis: int, zero_point: int, dtype: str) -> TensorType:
    """dtype, in the shape of x."""
    require_dtype("GemmlowpRequantize (C1)", "x", x, "int8", "uint8", "int16", "int32")
    check_dyadic("GemmlowpRequantize (C2)", "GemmlowpRequantize (C3)", multiplier, shift, axis, x)
    check_zero_point("GemmlowpRequantize (C4)", zero_point, dtype)
    return TensorType(dtype, x.shape)


def onnx_body(b: Body, x: Sym) -> Sym:
    shift = b.attribute("shift")
    left = b.power_of_two(b.maximum(b.ints(31) - shift, 0))
    right = b.power_of_two(b.maximum(shift - 31, 0))
    w = b.wrap(b.widen(x) * b.along_axis(left, "axis", x), "int32")
    y = onnx_high_mul(b, w, b.along_axis(b.attribute("multiplier"), "axis", x))
    y = onnx_divide_by_power_of_two(b, y, b.along_axis(right, "axis", x))
    return b.saturate_cast(y + b.attribute("zero_point"))


@op("GemmlowpRequantize", infer=infer, onnx_body=onnx_body)
def gemmlowp_requantize(
    x: Ints,
    /,
    *,
    multiplier: Numbers,
    shift: Numbers,
    axis: int,
    zero_point: int,
    dtype: ResultType,
    ctx: Context = STRICT,
) -> Ints:
    """``x * multiplier / 2**shift + zero_point``, rounded twice and saturated; dtype, in the shape of x."""
    shifts = along(shift, axis, x.ndim)
    w = ctx.fit(widen(x) << np.maximum(31 - shifts, 0), "int32", "x * 2**left")
    y = high_mul(w, along(multiplier, axis, x.ndim))
    y = divide_by_power_of_two(y, np.maximum(shifts - 31, 0))
    return narrow(ctx.saturate(y + zero_point, dtype, "y"), dtype)
