"""IBertSoftmax: softmax along the last axis as I-BERT has it, with exp as a polynomial of degree two.

Semantics, for each row x of the last axis; a step of x is worth S
    d   = x - max(x)
    d   = max(d, n*x0)
    q   = d / x0                             floor; x0 stands for -ln(2)/S, so q is the whole halvings
    r   = d - q*x0                           the rest, in (x0, 0]
    z   = max(r*(r + b) + c, 0)              exp(S r), in steps of 0.35815147 * S**2
    e   = z * multiplier / 2**(shift + q)    half to even; then min(e, 32767); multiplier / 2**shift stands for 32767/c
    s   = sum of e
    F   = 2**32 / s                          the reciprocal; floor
    y   = (e * F) >> (32 - out_bits)         one step of y is worth 2**-out_bits; saturated to dtype

x0 = floor(-0.6931/S), b = floor((0.96963238/0.35815147)/S) and c = floor((1/0.35815147)/S**2), in float32, follow from S, and
so does the dyadic number of 32767/c. The published n is 30 and out_bits 8, with dtype uint8.

The release forms z * 2**(n - q), which is an integer because q is at most n, and brings it to 16 bits with the factor 32767 /
(c * 2**n), by which its largest value becomes 32767. The quotient is that of z * 32767 and c * 2**q: 2**n drops out. The
released factor is made of scales, so its dyadic number has another error, and a few e that lie on a tie differ by one.

Properties
    (P1) y is from 0 to 2**out_bits; where multiplier and shift are those of 32767/c it is at most 2**out_bits - 1, and a
         one-hot row is 255 at 8 bits
    (P2) a row adds up to at most 2**out_bits, and to less where floors take away: two equal numbers are 127 each, 256 are 0
    (P3) a number that all of a row have in common does not matter, and a permuted row gives a permuted result
    (P4) order is kept, x_i <= x_j gives y_i <= y_j, where b >= -2*x0 - 3 and 2*((x0 + 1)*(x0 + 1 + b) + c) >= c. Every
         float32 scale from 0.0015134 to 1.67 has both. Not all below: at 0.000756658730097115, (0, -916, -917) is
         (127, 63, 64)

Sources
    arXiv 2101.01321, i-exp and i-softmax; kssteven418/I-BERT fairseq/quantization/utils/quant_modules.py, ``IntSoftmax`` and
    ``QuantAct``, quant_utils.py, ``fixedpoint_mul``

Constraints
    (C1) x is int8, int16 or int32, and has an axis of at most 2**16 elements to go along
    (C2) x0 <= -1 and -x0 - 1 <= b <= 2**16: then r*(r + b) is in (-2**32, 0]
    (C3) 1 <= c <= 2**30 and 0 <= n <= 62
    (C4) 1 <= multiplier < 2**31, 0 <= shift <= 62 and 2**shift <= c * multiplier: then s is at least 1
    (C5) 1 <= out_bits <= 16, and dtype holds 2**out_bits - 1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import BOUNDS, Ints, Wide, narrow, shift_right, widen
from ivit_ref.ir import Attribute, Quant, TensorType
from ivit_ref.ops.int_div import QuotientType
from ivit_ref.ops.shiftmax import check_row
from ivit_ref.registry import op, require, require_dtype, require_one_scale

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

LARGEST_E = 2**15 - 1


def infer(
    x: TensorType, *, x0: int, b: int, c: int, n: int, multiplier: int, shift: int, out_bits: int, dtype: str
) -> TensorType:
    """dtype, in the shape of x."""
    require_dtype("IBertSoftmax (C1)", "x", x, "int8", "int16", "int32")
    check_row("IBertSoftmax (C1)", x)
    check_unit("IBertSoftmax (C2)", "IBertSoftmax (C3)", x0, b, c, n)
    holds = 1 <= multiplier < 2**31 and 0 <= shift <= dyadic.LARGEST_SHIFT and 1 << shift <= c * multiplier
    must = "multiplier must be from 1 to 2**31 - 1 and shift from 0 to 62, with 2**shift <= c * multiplier"
    require(holds, "IBertSoftmax (C4)", must, f"{multiplier} / 2**{shift}, c = {c}")
    holds = 1 <= out_bits <= 16 and 2**out_bits - 1 <= BOUNDS[dtype][1]
    must = "out_bits must be from 1 to 16 with 2**out_bits - 1 within dtype"
    require(holds, "IBertSoftmax (C5)", must, f"out_bits = {out_bits}, dtype = {dtype}")
    return TensorType(dtype, x.shape)


def check_unit(c2: str, c3: str, x0: int, b: int, c: int, n: int) -> None:
    """C2 and C3, which every operator with this exponential inside shares."""
    require(x0 <= -1 and -x0 - 1 <= b <= 2**16, c2, "x0 must be negative with -x0 - 1 <= b <= 2**16", f"x0 = {x0}, b = {b}")
    require(1 <= c <= 2**30 and 0 <= n <= 62, c3, "c must be from 1 to 2**30 and n from 0 to 62", f"c = {c}, n = {n}")


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """2**-out_bits, whatever x is worth."""
    return Quant(dyadic.power_of_two(-attributes["out_bits"]))


def follows(
    quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: Mapping[str, Attribute]
) -> dict[str, Attribute]:
    """x0, b and c, and the dyadic number that makes 16 bits of the exponential."""
    unit = exponential_unit("IBertSoftmax (scales)", quants[0])
    if not unit:
        return {}
    multiplier, shift = dyadic.between((LARGEST_E,), (unit["c"],), "32767/c")
    return {**unit, "multiplier": multiplier[0], "shift": shift[0]}


def exponential_unit(rule: str, x: Quant | None) -> dict[str, int]:
    """x0, b and c at the scale of x; none where it is not known."""
    if x is None:
        return {}
    require_one_scale(rule, x)
    x0, b, c = dyadic.exp_polynomial(x.scale[0])
    require(c >= 1, rule, "x must have a scale of at most 1.67, for c to be at least 1", x)
    return {"x0": x0, "b": b, "c": c}


def onnx_body(b: Body, x: Sym) -> Sym:
    x = b.widen(x)
    z, q = onnx_exponential(b, x - b.row_max(x))
    halvings = b.minimum(b.attribute("shift") + q, dyadic.LARGEST_SHIFT)
    e = b.minimum(onnx_half_even(b, z * b.attribute("multiplier"), b.power_of_two(halvings)), LARGEST_E)
    factor = b.floor_divide(b.ints(2**32), b.row_sum(e))
    return b.saturate_cast(b.floor_divide(e * factor, b.power_of_two(b.ints(32) - b.attribute("out_bits"))))


def onnx_exponential(b: Body, d: Sym) -> tuple[Sym, Sym]:
    """z and q of d <= 0, with the attributes of the operator that uses it."""
    x0 = b.attribute("x0")
    d = b.maximum(d, b.attribute("n") * x0)
    q = b.floor_divide(-d, -x0)
    r = d - q * x0
    return b.maximum(r * (r + b.attribute("b")) + b.attribute("c"), 0), q


def onnx_half_even(b: Body, x: Sym, d: Sym) -> Sym:
    """x / d for 1 <= d <= 2**62, half to even."""
    q = b.floor_divide(x, d)
    twice = (x - q * d) * 2
    return q + b.widen((twice > d) | (twice.equals(d) & b.emit("Mod", q, 2).equals(1)))


def exponential(d: Wide, ctx: Context, *, x0: int, b: int, c: int, n: int) -> tuple[Wide, Wide]:
    """z and q of d <= 0: exp(S d) is about ``z * 2**-q`` in steps of ``0.35815147 * S**2``."""
    d = ctx.at_least(d, n * x0, "d")
    q = d // x0
    r = d - q * x0
    return ctx.at_least(r * (r + b) + c, 0, "z"), q


@op("IBertSoftmax", infer=infer, onnx_body=onnx_body, quant=quant, follows=follows)
def i_bert_softmax(
    x: Ints,
    /,
    *,
    x0: int,
    b: int,
    c: int,
    n: int,
    multiplier: int,
    shift: int,
    out_bits: int,
    dtype: QuotientType,
    ctx: Context = STRICT,
) -> Ints:
    """Softmax of the last axis in units of ``2**-out_bits``; dtype, in the shape of x."""
    wide = widen(x)
    z, q = exponential(wide - wide.max(axis=-1, keepdims=True), ctx, x0=x0, b=b, c=c, n=n)
    # The product is below 2**61: a shift of 62 makes 0 of it, as every larger one does.
    e = shift_right(z * multiplier, np.minimum(shift + q, dyadic.LARGEST_SHIFT), "half_even")
    ctx.record("saturated", e > LARGEST_E, e, "e")
    e = np.minimum(e, LARGEST_E)
    factor = 2**32 // e.sum(axis=-1, keepdims=True)
    y = (e * factor) >> (32 - out_bits)
    return narrow(ctx.saturate(y, dtype, "y"), dtype)
