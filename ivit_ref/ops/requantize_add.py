"""RequantizeAdd: the residual connection, two integer tensors of different scales added at a third.

Semantics, elementwise; a and b broadcast, multipliers and shifts have one entry, or one for each index along ``axis`` of y
    y = round(a * a_multiplier / 2**a_shift) + round(b * b_multiplier / 2**b_shift)       ``rounds`` each, as in I-ViT
      = round((a * a_multiplier + b * b_multiplier) / 2**a_shift)                         ``rounds`` once, as in ONNX
    y = saturate(y + zero_point, dtype)

Properties, before zero_point and saturation
    (P1) b and a, their numbers exchanged too, give the same y
    (P2) y does not decrease with a, nor increase where its multiplier is negative; the same for b
    (P3) where ``rounding`` is to nearest, y is within 1 of the exact sum, and within 1/2 where it ``rounds`` once: they differ
         by at most 1

Sources
    zkkli/I-ViT models/quantization_utils/quant_utils.py, ``fixedpoint_mul`` with ``identity`` (each branch rounded half to
    even, then added); TVM 0.9 qnn.add (each branch half up)

Constraints
    (C1) a and b are int8, uint8, int16 or int32, and broadcast
    (C2) abs(multiplier) < 2**31 and 0 <= shift <= 62, of either branch
    (C3) multiplier and shift are equally many: one, or as many as the axis of y is long; axis is a place in the shape of y
    (C4) zero_point is a value of dtype
    (C5) with ``rounds`` once, both branches have the same tuple of shifts
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, Rounding, narrow, shift_right, widen
from ivit_ref.ir import TensorType
from ivit_ref.ops.requantize import Numbers, ResultType, along, check_dyadic, check_zero_point, scaled
from ivit_ref.registry import op, require, require_dtype
from ivit_ref.shapes import broadcast

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(
    a: TensorType,
    b: TensorType,
    *,
    a_multiplier: Numbers,
    a_shift: Numbers,
    b_multiplier: Numbers,
    b_shift: Numbers,
    rounds: str,
    axis: int,
    zero_point: int,
    dtype: str,
    **_: Any,
) -> TensorType:
    """dtype, in the shape that a and b broadcast to."""
    for name, x in (("a", a), ("b", b)):
        require_dtype("RequantizeAdd (C1)", name, x, "int8", "uint8", "int16", "int32")
    shape = broadcast(a.shape, b.shape)
    require(shape is not None, "RequantizeAdd (C1)", "a and b must broadcast", f"{a} and {b}")
    y = TensorType(dtype, shape or ())
    check_dyadic("RequantizeAdd (C2)", "RequantizeAdd (C3)", a_multiplier, a_shift, axis, y)
    check_dyadic("RequantizeAdd (C2)", "RequantizeAdd (C3)", b_multiplier, b_shift, axis, y)
    check_zero_point("RequantizeAdd (C4)", zero_point, dtype)
    must = "with rounds 'once' both branches must have the same shifts"
    require(rounds == "each" or a_shift == b_shift, "RequantizeAdd (C5)", must, f"{a_shift} and {b_shift}")
    return y


def onnx_body(b: Body, x: Sym, y: Sym) -> Sym:
    like = b.emit("Add", b.widen(x), b.widen(y))
    products, divisors = [], []
    for name, branch in (("a", x), ("b", y)):
        products.append(b.widen(branch) * b.along_axis(b.attribute(f"{name}_multiplier"), "axis", like))
        divisors.append(b.along_axis(b.power_of_two(b.attribute(f"{name}_shift")), "axis", like))
    each = b.divide(products[0], divisors[0], "rounding") + b.divide(products[1], divisors[1], "rounding")
    once = b.divide(products[0] + products[1], divisors[0], "rounding")
    return b.saturate_cast(b.where(b.chosen("rounds", "each"), each, once) + b.attribute("zero_point"))


@op("RequantizeAdd", infer=infer, onnx_body=onnx_body)
def requantize_add(
    a: Ints,
    b: Ints,
    /,
    *,
    a_multiplier: Numbers,
    a_shift: Numbers,
    b_multiplier: Numbers,
    b_shift: Numbers,
    rounding: Rounding,
    rounds: Literal["each", "once"],
    axis: int,
    zero_point: int,
    dtype: ResultType,
    ctx: Context = STRICT,
) -> Ints:
    """The sum of both branches at the scale of the result; dtype, in the shape that a and b broadcast to."""
    wide_a, wide_b = widen(a), widen(b)
    rank = max(a.ndim, b.ndim)
    if rounds == "each":
        first = scaled(wide_a, a_multiplier, a_shift, rounding, axis, rank)
        y = first + scaled(wide_b, b_multiplier, b_shift, rounding, axis, rank)
    else:
        exact = wide_a * along(a_multiplier, axis, rank) + wide_b * along(b_multiplier, axis, rank)
        y = shift_right(exact, along(a_shift, axis, rank), rounding)
    return narrow(ctx.saturate(y + zero_point, dtype, "y"), dtype)
