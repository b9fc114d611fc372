"""ShiftGELU: GELU as x * sigmoid(1.702 x), with the sigmoid as a softmax of two.

Semantics, for each row x of the last axis; a step of x is worth S
    z     = x                                ``sigmoid`` folded: i0 stands for 1 / (1.702 S)
          = x + (x >> 1) + (x >> 3) + (x >> 4)   ``sigmoid`` shifts: 1.702 as 1.1011b = 1.6875, and i0 stands for 1 / S
    m     = max(z)
    e     = ShiftExp(z - m)                  attributes i0, n, clamp, half, quotient, exp_bits
    e_m   = ShiftExp(-m)                     -m is positive for a row of negative numbers: outside ShiftExp's derivation
    s     = e + e_m                          ``sum``: exact; clamped: min(sum, 2**31 - 1); int32: must fit int32 (or wraps)
    sigma = IntDiv(e, s)                     attributes numerator, out_bits, product_bits; not saturated, as released
    y     = x * sigma                        must fit int32 (or wraps); one step is worth S * 2**-(out_bits - 1)

A row whose maximum exceeds n * ln(2) / 1.702 (9.37 for n = 23) has both exponentials at the clamp for all small x: sigma is
one half there.

Properties, where nothing wraps or saturates and no sum is clamped; of a row whose maximum is not negative, i0 * 2**n < 2**30 is
enough. k is out_bits - 1
    (P1) elements in another order give the same results in that order; of the row, only its maximum matters to an element
    (P2) abs(y) <= abs(x) * 2**k, and y is 0 or has the sign of x
    (P3) y = 0 where e is k halvings or more below e_m: p(z - m) <= p(-m) - k * i0, with p(-m) >= (k - n) * i0 where ``clamp``
    (P4) with t = numerator * e / s / 2**(31 - k): t - 1 - i0 * 2**(n + k - 31) < sigma <= t. For large x = m, t is nearly 2**k
    (P5) in a row, sigma of a larger x is less by less than 1 + i0 * 2**(n + k - 31)
No property: y grows beyond its minimum; it may fall by what (P5) lets sigma fall.

Sources
    arXiv 2207.01405, Algorithm 2; zkkli/I-ViT models/quantization_utils/quant_modules.py, ``IntGELU``;
    TVM_benchmark/models/layers.py, ``quantized_gelu``

Constraints
    (C1) x is int8 or int16, and has an axis of at most 2**16 elements to go along
    (C2) 1 <= i0 <= 2**28
    (C3) 0 <= n <= 31 and i0 * 2**n <= 2**46
    (C4) 1 <= numerator <= 2**31
    (C5) 2 <= out_bits <= 31
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, Wide, multiply, narrow, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.int_div import check_division, divide, onnx_divide
from ivit_ref.ops.shift_exp import check_unit, exponential, onnx_exponential
from ivit_ref.ops.shiftmax import check_row, onnx_total, total
from ivit_ref.profiles import Half, Quotient, Sigmoid, Sum
from ivit_ref.registry import op, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, i0: int, n: int, numerator: int, out_bits: int, **_: Any) -> TensorType:
    """int32, in the shape of x."""
    require_dtype("ShiftGELU (C1)", "x", x, "int8", "int16")
    check_row("ShiftGELU (C1)", x)
    check_unit("ShiftGELU (C2)", "ShiftGELU (C3)", i0, n)
    check_division("ShiftGELU (C4)", "ShiftGELU (C5)", numerator, out_bits)
    return TensorType("int32", x.shape)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """S * 2**-(out_bits - 1)."""
    x = quants[0]
    return x and Quant(dyadic.product(x.scale, dyadic.power_of_two(1 - attributes["out_bits"])))


def onnx_body(b: Body, x: Sym) -> Sym:
    x = b.widen(x)
    by_shifts = x + b.shift_right(x, 1) + b.shift_right(x, 3) + b.shift_right(x, 4)
    z = b.where(b.chosen("sigmoid", "shifts"), by_shifts, x)
    m = b.row_max(z)
    e = onnx_exponential(b, z - m)
    s = onnx_total(b, e + onnx_exponential(b, -m))
    sigma = onnx_divide(b, e, s)
    return b.cast(b.wrap(x * sigma, "int32"), "int32")


def argument(x: Wide, sigmoid: Sigmoid) -> Wide:
    """``z``: what the sigmoid is taken of."""
    return x if sigmoid == "folded" else x + (x >> 1) + (x >> 3) + (x >> 4)


@op("ShiftGELU", infer=infer, onnx_body=onnx_body, quant=quant)
def shift_gelu(
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
    sigmoid: Sigmoid,
    ctx: Context = STRICT,
) -> Ints:
    """``x * sigmoid(1.702 x)``, int32 in the shape of x; sigma has a step of ``2**-(out_bits - 1)``."""
    wide = widen(x)
    z = argument(wide, sigmoid)
    m = z.max(axis=-1, keepdims=True)
    e = exponential(z - m, ctx, "e", i0=i0, n=n, clamp=clamp, half=half, quotient=quotient, exp_bits=exp_bits)
    e_m = exponential(-m, ctx, "e_m", i0=i0, n=n, clamp=clamp, half=half, quotient=quotient, exp_bits=exp_bits)
    s = total(e + e_m, ctx, sum)
    sigma = divide(e, s, ctx, numerator=numerator, out_bits=out_bits, product_bits=product_bits)
    return narrow(ctx.fit(multiply(wide, sigma, "x * sigma"), "int32", "x * sigma"), "int32")
