"""ShiftExp: exp of a fixed-point tensor by shifts, one division and a straight line.

Semantics, elementwise; ``S`` is what one step of x is worth, ``i0`` stands for 1/S
    p   = x + (x >> 1) - (x >> 4)        x * log2(e), as 1.0111b = 1.4375
    p   = max(p, -n*i0)                  only where ``clamp``
    q   = p / -i0                        whole halvings; ``quotient``: floor, or truncate towards zero
    r   = p + q*i0                       the rest, in (-i0, 0] for x <= 0
    i_b = r/2 + i0                       2**(S r) ~ 1 + S r / 2; ``half``: keep the half of an odd r, or drop it (r >> 1)
    y   = floor(i_b * 2**(n - q))        one step of y is worth S / 2**n

``exp_bits`` is the width that y has: at 32, y must fit int32 (or wraps); at 64, y stops at 2**62 (an event, ``saturated``),
which no operator of this project can tell from a larger value: IntDiv's quotient is 0 for both. The result is int64.

Only x > 0 gets as far as 2**62: ShiftExp is derived for x <= 0, but ShiftGELU applies it to the negated maximum of a row,
which is positive for a row of negative numbers.

Properties, where y fits ``exp_bits``
    (P1) y does not decrease with x, of either sign
    (P2) for x <= 0, 0 <= y <= i0 * 2**n, and x = 0 gives i0 * 2**n; with ``clamp``, y >= i0
    (P3) for x <= 0, where p is less by exactly i0 (and not clamped), y is y >> 1
    (P4) for x <= 0 and t = i0 * 2**n * 2**(p / i0), not clamped: t - 1 < y <= 1.0615 * t, and where an odd r loses its half
         t - 1 - 2**(n - q - 1) < y
    (P5) p lies from 7/16 below 1.4375 * x to 7/8 above

Sources
    arXiv 2207.01405, Algorithm 1 (no clamp printed; ``-r >> 1`` there is r >> 1 here); zkkli/I-ViT
    models/quantization_utils/quant_modules.py, ``int_exp_shift`` (clamp, keep, floor); TVM_benchmark/models/layers.py,
    ``shift_exp`` (clamp, drop, truncate, int32)

Constraints
    (C1) x is int8, int16 or int32
    (C2) 1 <= i0 <= 2**28
    (C3) 0 <= n <= 31 and i0 * 2**n <= 2**46
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, Wide, floor_scale, truncating_divide, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.profiles import Half, Quotient
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, i0: int, n: int, **_: Any) -> TensorType:
    """int64, in the shape of x."""
    require_dtype("ShiftExp (C1)", "x", x, "int8", "int16", "int32")
    check_unit("ShiftExp (C2)", "ShiftExp (C3)", i0, n)
    return TensorType("int64", x.shape)


def check_unit(c2: str, c3: str, i0: int, n: int) -> None:
    """C2 and C3, which every operator with an exponential inside shares."""
    require(1 <= i0 <= 2**28, c2, "i0 must be from 1 to 2**28", i0)
    require(0 <= n <= 31 and i0 << n <= 2**46, c3, "n must be from 0 to 31 with i0 * 2**n <= 2**46", f"n = {n}, i0 = {i0}")


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """S / 2**n."""
    x = quants[0]
    return x and Quant(dyadic.product(x.scale, dyadic.power_of_two(-attributes["n"])))


def onnx_body(b: Body, x: Sym) -> Sym:
    return onnx_exponential(b, b.widen(x))


def onnx_exponential(b: Body, x: Sym) -> Sym:
    """The semantics on an int64 symbol, with the attributes of the operator that uses it."""
    i0, n, is_int32 = b.attribute("i0"), b.attribute("n"), b.attribute("exp_bits").equals(32)
    p = x + b.shift_right(x, 1) - b.shift_right(x, 4)
    p = b.where(b.attribute("clamp").equals(1), b.maximum(p, -(n * i0)), p)
    q = b.where(b.chosen("quotient", "floor"), b.floor_divide(-p, i0), b.truncating_divide(-p, i0))
    r = p + q * i0
    twice_i_b = b.where(b.chosen("half", "keep"), r + i0 * 2, (b.shift_right(r, 1) + i0) * 2)
    y = b.floor_scale(twice_i_b, n - q - 1, b.where(is_int32, 32, 62))
    return b.wrap_if(is_int32, y, "int32")


def base_two(x: Wide) -> Wide:
    """``p``: the exponent of two."""
    p: Wide = x + (x >> 1) - (x >> 4)
    return p


def exponential(
    x: Wide, ctx: Context, step: str, *, i0: int, n: int, clamp: bool, half: Half, quotient: Quotient, exp_bits: int
) -> Wide:
    """The semantics on int64; ``step`` names the place in the operator that uses it."""
    p = base_two(x)
    if clamp:
        p = ctx.at_least(p, -n * i0, f"{step}: p")
    q = -truncating_divide(p, np.int64(i0)) if quotient == "truncate" else p // -i0
    r = p + q * i0
    twice_i_b = r + 2 * i0 if half == "keep" else 2 * ((r >> 1) + i0)
    e = n - q - 1
    if exp_bits == 32:
        return ctx.fit(floor_scale(twice_i_b, e, largest_exponent=32), "int32", step)
    y = floor_scale(twice_i_b, e)
    ctx.record("saturated", y == 2**62, y, step)
    return y


@op("ShiftExp", infer=infer, onnx_body=onnx_body, quant=quant)
def shift_exp(
    x: Ints,
    /,
    *,
    i0: int,
    n: int,
    clamp: bool,
    half: Half,
    quotient: Quotient,
    exp_bits: Literal[32, 64],
    ctx: Context = STRICT,
) -> Ints:
    """About ``i0 * 2**n * exp(x / i0)``, int64 in the shape of x."""
    return exponential(widen(x), ctx, "y", i0=i0, n=n, clamp=clamp, half=half, quotient=quotient, exp_bits=exp_bits)
