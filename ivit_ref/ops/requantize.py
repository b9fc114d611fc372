"""Requantize: an accumulator to a narrow integer by a dyadic number.

Semantics, elementwise; multiplier and shift have one entry, or one for each index along ``axis``
    y = round(x * multiplier / 2**shift)     ``rounding``: floor, truncate, half_up, half_away or half_even
    y = saturate(y + zero_point, dtype)

``multiplier / 2**shift`` is the dyadic number of S_x / S_y (module ``dyadic``): its multiplier is signed, since a folded
LayerNorm gain may be negative.

Properties, before zero_point and saturation; t is the exact x * multiplier / 2**shift
    (P1) y does not decrease with x, nor increase where the multiplier is negative
    (P2) half_up, half_away, half_even: abs(y - t) <= 1/2; floor: t - 1 < y <= t; truncate: abs(y - t) < 1, towards 0
    (P3) t is within abs(x * ratio) / 2**31 of x times the real ratio that ``dyadic.from_real`` was given, of 2**-32 or more
    (P4) -x gives -y with truncate, half_away and half_even; half_up and floor are no odd functions

Sources
    arXiv 2207.01405, dyadic arithmetic (b * x >> c: floor); zkkli/I-ViT models/quantization_utils/quant_utils.py,
    ``fixedpoint_mul`` (half to even); TVM 0.9 qnn.requantize, UPWARD (half up); HAWQ-V3, Zhen-Dong/HAWQ at 1616df6,
    utils/quantization_utils/quant_utils.py, ``fixedpoint_fn`` (half to even; its float64 is exact while x * multiplier < 2**53)

Constraints
    (C1) x is int8, uint8, int16, int32
    (C2) abs(multiplier) < 2**31 and 0 <= shift <= 62
    (C3) multiplier and shift are equally many: one, or as many as the axis is long; axis is a place in the shape of x
    (C4) zero_point is a value of dtype
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import BOUNDS, Ints, Rounding, Wide, narrow, shift_right, widen
from ivit_ref.ir import TensorType
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

ResultType = Literal["int8", "uint8", "int16", "uint16", "int32"]
Numbers = tuple[int, ...]


def infer(
    x: TensorType, *, multiplier: Numbers, shift: Numbers, axis: int, zero_point: int, dtype: str, **_: Any
) -> TensorType:
    """dtype, in the shape of x."""
    require_dtype("Requantize (C1)", "x", x, "int8", "uint8", "int16", "int32")
    check_dyadic("Requantize (C2)", "Requantize (C3)", multiplier, shift, axis, x)
    check_zero_point("Requantize (C4)", zero_point, dtype)
    return TensorType(dtype, x.shape)


def check_dyadic(c2: str, c3: str, multiplier: Numbers, shift: Numbers, axis: int, x: TensorType) -> None:
    """C2 and C3, which every operator that scales shares."""
    require(all(abs(m) < 2**31 for m in multiplier), c2, "a multiplier must be below 2**31 in magnitude", multiplier)
    require(all(0 <= s <= dyadic.LARGEST_SHIFT for s in shift), c2, "a shift must be from 0 to 62", shift)
    require(0 <= axis < len(x.shape), c3, f"axis must be a place in the shape of {x}", axis)
    holds = len(multiplier) == len(shift) and len(shift) in (1, *x.shape[axis : axis + 1])
    require(holds, c3, f"there must be one dyadic number, or one for each index of axis {axis} of {x}", len(shift))


def check_zero_point(rule: str, zero_point: int, dtype: str) -> None:
    """C4."""
    low, high = BOUNDS[dtype]
    require(low <= zero_point <= high, rule, f"zero_point must be a value of {dtype}", zero_point)


def onnx_body(b: Body, x: Sym) -> Sym:
    product = b.widen(x) * b.along_axis(b.attribute("multiplier"), "axis", x)
    divisor = b.along_axis(b.power_of_two(b.attribute("shift")), "axis", x)
    return b.saturate_cast(b.divide(product, divisor, "rounding") + b.attribute("zero_point"))


def along(numbers: Numbers, axis: int, rank: int) -> Wide:
    """One number per channel, in the shape that broadcasts along ``axis`` of a tensor with ``rank`` axes."""
    return np.array(numbers, np.int64).reshape([-1] + [1] * (rank - axis - 1))


def scaled(x: Wide, multiplier: Numbers, shift: Numbers, rounding: Rounding, axis: int, rank: int) -> Wide:
    """``round(x * multiplier / 2**shift)``, with the numbers along ``axis`` of a result with ``rank`` axes."""
    return shift_right(x * along(multiplier, axis, rank), along(shift, axis, rank), rounding)


@op("Requantize", infer=infer, onnx_body=onnx_body)
def requantize(
    x: Ints,
    /,
    *,
    multiplier: Numbers,
    shift: Numbers,
    rounding: Rounding,
    axis: int,
    zero_point: int,
    dtype: ResultType,
    ctx: Context = STRICT,
) -> Ints:
    """``x * multiplier / 2**shift + zero_point``, rounded and saturated; dtype, in the shape of x."""
    y = scaled(widen(x), multiplier, shift, rounding, axis, x.ndim) + zero_point
    return narrow(ctx.saturate(y, dtype, "y"), dtype)
