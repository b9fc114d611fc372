"""TFLiteSoftmax: softmax along the last axis as TFLite's int8 kernel computes it, in gemmlowp's fixed point.

Semantics, for each row x of the last axis; SRDHM, RDBP, exp and reciprocal are those of ivit_ref/fixed_point.py
    d = x - max(x)
    e = exp(SRDHM(d * 2**left_shift, multiplier))     Q5.26 to Q0.31; 0 where d < diff_min
    s = sum of RDBP(e, 12)                            Q12.19
    z = the number of leading zero bits of s in 32; 2**(12 - z) <= s < 2**(13 - z) as a real number
    r = 1 / (1 + a)  for 1 + a = s / 2**(12 - z)      a = s * 2**z - 2**31 in Q0.31
    p = RDBP(SRDHM(r, e), 43 - z - bits)              bits: 8 for int8, 16 for int16
    y = saturate(p - 2**(bits - 1), dtype)

One step of y is worth 2**-bits, and its zero point is the smallest value of dtype: int8 stands for 0 to 255/256. A one-hot row
saturates: its 1 is 255/256, or 65535/65536.

What follows from the scale S of x (``follows``): multiplier * 2**(left_shift - 31) = min(S * 2**26, 2**31 - 1), and diff_min is
-floor(31 * 2**26 / 2**left_shift): what is further below the maximum would leave Q5.26. A zero point of x drops out.

Properties
    (P1) the same for x + c, and permuted for a permuted row; equal logits get equal results, a larger one none smaller
    (P2) the maximum never gives p = 0
    (P3) 8 bits: p is within 0.501 of 256 times the real softmax, before 256 saturates to 255; rows of n add up to 256 to within
         n/2 or 1, and not better: 171 equal logits to 171, 511 to 511. 16 bits: within 25 of 65536, since each exponential is
         rounded to 2**-19 before they are added (measured: 20,800 rows of up to 400, S from 0.0005 to 4)

Sources
    tensorflow/tflite-micro at 90b983c, tensorflow/lite/kernels/internal: reference/softmax.h (``Softmax``), common.h
    (``GetReciprocal``), quantization_util.cc (``PreprocessSoftmaxScaling``, ``CalculateInputRadius``; beta is 1). C4 is its
    ``TFLITE_CHECK`` on the last exponent, at which a row of 512 equal logits ends the program, and, for int16, the overflow of
    an int32 sum, which C++ leaves undefined.

Constraints
    (C1) x is int8, and has an axis of at most 2**16 elements to go along
    (C2) 0 <= multiplier < 2**31 and 0 <= left_shift <= 31
    (C3) -31 * 2**26 <= diff_min * 2**left_shift <= 0
    (C4) s < 2**28 for int8, so that the last exponent is at most 31; s < 2**31 for int16
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.fixed_point import (
    divide_by_power_of_two,
    exp_on_negative_values,
    high_mul,
    one_over_one_plus_x,
    onnx_divide_by_power_of_two,
    onnx_exp_on_negative_values,
    onnx_high_mul,
    onnx_one_over_one_plus_x,
)
from ivit_ref.integers import Ints, narrow, widen
from ivit_ref.ir import Attribute, Quant, TensorType
from ivit_ref.ops.shiftmax import check_row
from ivit_ref.registry import op, require, require_dtype, require_one_scale

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

BITS = {"int8": 8, "int16": 16}
LARGEST_SUM = {"int8": 2**28, "int16": 2**31}
POWERS = [2**k for k in range(32)]
"""As many of them as a number is below, so many leading zeros it has in 32 bits."""


def infer(x: TensorType, *, multiplier: int, left_shift: int, diff_min: int, dtype: str) -> TensorType:
    """dtype, in the shape of x."""
    require_dtype("TFLiteSoftmax (C1)", "x", x, "int8")
    check_row("TFLiteSoftmax (C1)", x)
    require(0 <= multiplier < 2**31, "TFLiteSoftmax (C2)", "multiplier must be from 0 to 2**31 - 1", multiplier)
    require(0 <= left_shift <= 31, "TFLiteSoftmax (C2)", "left_shift must be from 0 to 31", left_shift)
    lowest = -(31 * 2**26 >> left_shift)
    require(lowest <= diff_min <= 0, "TFLiteSoftmax (C3)", f"diff_min must be from {lowest} to 0", diff_min)
    return TensorType(dtype, x.shape)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """2**-bits from the smallest value of dtype on, whatever x is worth."""
    bits = BITS[attributes["dtype"]]
    return Quant(dyadic.power_of_two(-bits), zero_point=-(2 ** (bits - 1)))


def follows(
    quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: Mapping[str, Attribute]
) -> dict[str, Attribute]:
    """multiplier, left_shift and diff_min, from the scale of x."""
    [q] = quants
    if q is None:
        return {}
    require_one_scale("TFLiteSoftmax (scales)", q)
    multiplier, left_shift, diff_min = dyadic.softmax_multiplier(q.scale[0])
    return {"multiplier": multiplier, "left_shift": left_shift, "diff_min": diff_min}


def onnx_body(b: Body, x: Sym) -> Sym:
    x = b.widen(x)
    d = x - b.row_max(x)
    near = d >= b.attribute("diff_min")
    shifted = b.where(near, d, 0) * b.power_of_two(b.attribute("left_shift"))
    scaled = onnx_high_mul(b, shifted, b.attribute("multiplier"))
    e = b.where(near, onnx_exp_on_negative_values(b, scaled), 0)
    s = b.row_sum(onnx_divide_by_power_of_two(b, e, b.ints(2**12)))
    zeros = b.emit("ReduceSum", b.widen(s < b.ints(POWERS)), b.ints([-1]), keepdims=1)
    r = onnx_one_over_one_plus_x(b, s * b.power_of_two(zeros) - 2**31)
    bits = b.result_bits()
    exponent = b.minimum(b.ints(43) - zeros - bits, 31)
    p = onnx_divide_by_power_of_two(b, onnx_high_mul(b, r, e), b.power_of_two(exponent))
    return b.saturate_cast(p - b.power_of_two(bits - 1))


@op("TFLiteSoftmax", infer=infer, onnx_body=onnx_body, quant=quant, follows=follows)
def tflite_softmax(
    x: Ints,
    /,
    *,
    multiplier: int,
    left_shift: int,
    diff_min: int,
    dtype: Literal["int8", "int16"],
    ctx: Context = STRICT,
) -> Ints:
    """Softmax of the last axis in units of ``2**-bits``, from the smallest value of dtype on; dtype, in the shape of x."""
    wide = widen(x)
    d = wide - wide.max(axis=-1, keepdims=True)
    near = d >= diff_min
    e = np.where(near, exp_on_negative_values(high_mul(np.where(near, d, 0) << left_shift, multiplier)), 0)
    s = divide_by_power_of_two(e, 12).sum(axis=-1, keepdims=True)
    most = LARGEST_SUM[dtype]
    require((s < most).all(), "TFLiteSoftmax (C4)", f"a sum of exponentials must be below {most} for {dtype}", int(s.max()))
    z = (s < np.array(POWERS)).sum(axis=-1, keepdims=True)
    r = one_over_one_plus_x((s << z) - 2**31)
    bits = BITS[dtype]
    p = divide_by_power_of_two(high_mul(r, e), 43 - z - bits)
    return narrow(ctx.saturate(p - 2 ** (bits - 1), dtype, "y"), dtype)
