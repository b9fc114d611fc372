"""Shiftmax: softmax along the last axis.

Semantics, for each row x of the last axis; a step of x is worth S, i0 stands for 1/S
    d = x - max(x)
    e = ShiftExp(d)                          attributes i0, n, clamp, half, quotient, exp_bits
    s = sum of e                             ``sum``: exact; clamped: min(sum, 2**31 - 1); int32: must fit int32 (or wraps)
    y = IntDiv(e, s)                         attributes numerator, out_bits, product_bits; saturated to dtype

One step of y is worth 2**-(out_bits - 1): with an exact sum, 8 bits make a row add up to at most 128 and 16 to at most 32768;
a sum that is clamped or wraps makes it more. The released
models use 16 bits for ViT and 8 for Swin; the released deployment always emits 8 (a scale of 2**-7, not 2**-15).
With the paper's numerator 2**31 the result for a one-hot row is 2**(out_bits - 1), one too many for a signed dtype: it
saturates.

Properties; (P3) to (P6) where nothing wraps and no sum is clamped: a row of L logits with L * i0 * 2**n < 2**31 is safe
    (P1) a number added to all logits of a row changes nothing, as long as dtype holds them
    (P2) logits in another order give the same results in that order
    (P3) a logit that is not less than another does not get less: x_i <= x_j gives y_i <= y_j
    (P4) 0 <= y <= 2**(out_bits - 1) - 1; before saturation it is one more only with the numerator 2**31 for a one-hot row
    (P5) a row adds up to at most 2**(out_bits - 1)
    (P6) with t = numerator * e / s / 2**(32 - out_bits): t - 1 - e / 2**(32 - out_bits) < y <= t before saturation. A one-hot
         row, with e = i0 * 2**n, may fall short of 2**(out_bits - 1) by that much
No property: a larger logit, the others the same, may get less, since F falls in steps.

Sources
    arXiv 2207.01405, Algorithm 1; zkkli/I-ViT models/quantization_utils/quant_modules.py, ``IntSoftmax``;
    TVM_benchmark/models/layers.py, ``quantized_softmax``

Constraints
    (C1) x is int8, int16 or int32, and has an axis of at most 2**16 elements to go along
    (C2) 1 <= i0 <= 2**28
    (C3) 0 <= n <= 31 and i0 * 2**n <= 2**46
    (C4) 1 <= numerator <= 2**31
    (C5) 2 <= out_bits <= 31, and dtype has at least out_bits bits
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, Wide, narrow, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.int_div import QuotientType, check_division, check_result, divide, onnx_divide
from ivit_ref.ops.shift_exp import check_unit, exponential, onnx_exponential
from ivit_ref.profiles import Half, Quotient, Sum
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

LONGEST_ROW = 2**16


def infer(x: TensorType, *, i0: int, n: int, numerator: int, out_bits: int, dtype: str, **_: Any) -> TensorType:
    """dtype, in the shape of x."""
    require_dtype("Shiftmax (C1)", "x", x, "int8", "int16", "int32")
    check_row("Shiftmax (C1)", x)
    check_unit("Shiftmax (C2)", "Shiftmax (C3)", i0, n)
    check_division("Shiftmax (C4)", "Shiftmax (C5)", numerator, out_bits)
    check_result("Shiftmax (C5)", out_bits, dtype)
    return TensorType(dtype, x.shape)


def check_row(rule: str, x: TensorType) -> None:
    """The constraint on the axis that a row operator goes along."""
    holds = x.shape and isinstance(x.shape[-1], int) and x.shape[-1] <= LONGEST_ROW
    require(holds, rule, "the last axis of x must have a known length of at most 2**16", x)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """2**-(out_bits - 1), whatever x is worth."""
    return Quant(dyadic.power_of_two(1 - attributes["out_bits"]))


def onnx_body(b: Body, x: Sym) -> Sym:
    x = b.widen(x)
    e = onnx_exponential(b, x - b.row_max(x))
    s = onnx_total(b, b.row_sum(e))
    return b.saturate_cast(onnx_divide(b, e, s))


def onnx_total(b: Body, s: Sym) -> Sym:
    """The sum under the attribute ``sum``."""
    clamped = b.where(b.chosen("sum", "clamped"), b.minimum(s, 2**31 - 1), s)
    return b.wrap_if(b.chosen("sum", "int32"), clamped, "int32")


def total(s: Wide, ctx: Context, sum: Sum) -> Wide:
    """The sum under the attribute ``sum``."""
    if sum == "clamped":
        return ctx.at_most(s, 2**31 - 1, "sum of exponentials")
    return ctx.fit(s, "int32", "sum of exponentials") if sum == "int32" else s


@op("Shiftmax", infer=infer, onnx_body=onnx_body, quant=quant)
def shiftmax(
    x: Ints,
    /,
    *,
    i0: int,
    n: int,
    clamp: bool,
    half: Half,
    quotient: Quotient,
    exp_bits: Literal[32, 64],
    sum: Sum,
    numerator: int,
    out_bits: int,
    product_bits: Literal[32, 64],
    dtype: QuotientType,
    ctx: Context = STRICT,
) -> Ints:
    """Softmax of the last axis in units of ``2**-(out_bits - 1)``; dtype, in the shape of x."""
    wide = widen(x)
    d = wide - wide.max(axis=-1, keepdims=True)
    e = exponential(d, ctx, "e", i0=i0, n=n, clamp=clamp, half=half, quotient=quotient, exp_bits=exp_bits)
    s = total(e.sum(axis=-1, keepdims=True), ctx, sum)
    y = divide(e, s, ctx, numerator=numerator, out_bits=out_bits, product_bits=product_bits)
    return narrow(ctx.saturate(y, dtype, "y"), dtype)
