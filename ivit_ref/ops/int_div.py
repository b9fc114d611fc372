"""IntDiv: a quotient of two non-negative integers as a fixed-point number, by one reciprocal and one shift.

Semantics, elementwise; d is broadcast to x
    F = numerator / d                        the reciprocal; truncates towards zero
    y = (F * x) >> (31 - (out_bits - 1))     one step of y is worth 2**-(out_bits - 1)
    y = saturate(y, dtype)

Negative x and d arise only where a width was left and wrapped. ``numerator`` is 2**31 in the paper and 2**31 - 1 in the
released codes. ``product_bits`` is the width of F * x: it must always hold C5, and at 32 also fit int32 (or wraps). F has few
bits where d is near 2**31: that coarseness is the operator's.

Properties, for x >= 0 and d > 0, before saturation and where F * x fits ``product_bits``
    (P1) y <= t = numerator * x / d / 2**(32 - out_bits), the true quotient in steps of 2**-(out_bits - 1), or just below
    (P2) y > t - 1 - x / 2**(32 - out_bits)
    (P3) y does not decrease with x, and does not increase with d
    (P4) x <= d gives 0 <= y <= numerator / 2**(32 - out_bits): 2**31 - 1 neither saturates nor leaves int32, and 2**31 gives
         2**(out_bits - 1) only for x = d, a power of two

Sources
    arXiv 2207.01405, IntDiv with M = 31; zkkli/I-ViT models/quantization_utils/quant_modules.py, ``IntSoftmax.forward``;
    TVM_benchmark/models/layers.py, ``quantized_softmax``

Constraints
    (C1) x and d are int32 or int64, and d broadcasts to x
    (C2) d has no zero: a sum that wrapped to 0 stops the run, as it stops the machine it is run on
    (C3) 1 <= numerator <= 2**31
    (C4) 2 <= out_bits <= 31, and dtype has at least out_bits bits
    (C5) abs(F * x) < 2**63
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, Wide, multiply, narrow, truncating_divide, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.registry import op, require, require_dtype
from ivit_ref.shapes import broadcasts_to

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

QuotientType = Literal["int8", "uint8", "int16", "uint16", "int32"]


def infer(x: TensorType, d: TensorType, *, numerator: int, out_bits: int, dtype: str, **_: Any) -> TensorType:
    """dtype, in the shape of x."""
    require_dtype("IntDiv (C1)", "x", x, "int32", "int64")
    require_dtype("IntDiv (C1)", "d", d, "int32", "int64")
    require(broadcasts_to(d.shape, x.shape), "IntDiv (C1)", f"d must broadcast to x, which is {x}", d)
    check_division("IntDiv (C3)", "IntDiv (C4)", numerator, out_bits)
    check_result("IntDiv (C4)", out_bits, dtype)
    return TensorType(dtype, x.shape)


def check_division(c3: str, c4: str, numerator: int, out_bits: int) -> None:
    """C3 and the first half of C4, which every operator with a division inside shares."""
    require(1 <= numerator <= 2**31, c3, "numerator must be from 1 to 2**31", numerator)
    require(2 <= out_bits <= 31, c4, "out_bits must be from 2 to 31", out_bits)


def check_result(c4: str, out_bits: int, dtype: str) -> None:
    """The second half of C4."""
    width = int(dtype.removeprefix("u").removeprefix("int"))
    require(out_bits <= width, c4, f"dtype must have at least out_bits = {out_bits} bits", dtype)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """2**-(out_bits - 1), whatever the inputs are worth."""
    return Quant(dyadic.power_of_two(1 - attributes["out_bits"]))


def onnx_body(b: Body, x: Sym, d: Sym) -> Sym:
    y = onnx_divide(b, b.widen(x), b.widen(d))
    return b.saturate_cast(y)


def onnx_divide(b: Body, x: Sym, d: Sym) -> Sym:
    """The quotient before saturation, with the attributes of the operator that uses it."""
    factor = b.truncating_divide(b.attribute("numerator"), d)
    product = b.wrap_if(b.attribute("product_bits").equals(32), factor * x, "int32")
    return b.floor_divide(product, b.power_of_two(b.ints(32) - b.attribute("out_bits")))


def divide(x: Wide, d: Wide, ctx: Context, *, numerator: int, out_bits: int, product_bits: int) -> Wide:
    """The semantics on int64, before saturation."""
    require(d.all(), "IntDiv (C2)", "a denominator must not be zero", 0)
    factor = truncating_divide(numerator, d)
    product = multiply(x, factor, "IntDiv (C5)")
    if product_bits == 32:
        product = ctx.fit(product, "int32", "F * x")
    return product >> (31 - (out_bits - 1))


@op("IntDiv", infer=infer, onnx_body=onnx_body, quant=quant)
def int_div(
    x: Ints,
    d: Ints,
    /,
    *,
    numerator: int,
    out_bits: int,
    product_bits: Literal[32, 64],
    dtype: QuotientType,
    ctx: Context = STRICT,
) -> Ints:
    """``x / d`` in units of ``2**-(out_bits - 1)``; dtype, in the shape of x."""
    y = divide(widen(x), widen(d), ctx, numerator=numerator, out_bits=out_bits, product_bits=product_bits)
    return narrow(ctx.saturate(y, dtype, "y"), dtype)
