"""IBertGELU: GELU as I-BERT has it, x/2 * (1 + erf(x/1.4142)), with erf as a polynomial of degree two.

Semantics, elementwise; a step of x is worth S, and S' is S/1.4142
    t   = min(|x|, -b)                       b stands for -1.769/S': erf is 1 from there on
    y   = sgn(x) * ((t + b)**2 + c)          erf in steps of a*S'**2, with a = -0.2888; c stands for 1/(a*S'**2)
    y   = floor(y / 2**shift)                erf in steps of a*S'**2 * 2**shift, a negative number
    out = x * (y + one)                      one stands for 1 in these steps; must fit int32 (or wraps)

One step of the result is worth S * (a*S'**2 * 2**shift) / 2, a negative number. b = floor(-1.769/S'), c = floor((1/a)/S'**2)
and one = floor(1/(a*S'**2 * 2**shift)), in float32, follow from S and ``shift``; all three are negative.

``shift`` is chosen. The release has 14, for the int32 accumulators that it takes GELU of, whose steps are about 1e-5, and no
width: at that step the 1e5 that stands for 1 gives 7e11, which a shift of 25 brings into int32. On int8 a shift of 14 leaves
nothing of erf: at S = 0.05, one is -1 and y is -1 or 0, and the result is off by up to 31 (at 0.1 by 288, at 0.03 by 4.3).
With a shift of 0 it is off by up to 0.021 (0.033, 0.017). The release has an S for each channel; here one serves all.

Properties
    (P1) out is 0 at 0; with a shift of 0, out(x) - out(-x) = 2*x*one, as GELU(x) - GELU(-x) = x; with another it may be x less
    (P2) with a shift of 0, out is x*(one + c) from x = -b on, and x*(one - c) up to x = b: the tail of the negative numbers is
         0 where one = c, as mostly, and a line where the two floors part: at S = 0.02947328612208366, where one = c + 1, -128
         gives -128 steps, which are worth 0.00024

Sources
    arXiv 2101.01321, i-erf and i-GELU; kssteven418/I-BERT fairseq/quantization/utils/quant_modules.py, ``IntGELU``

Constraints
    (C1) x is int8, int16 or int32
    (C2) 0 <= shift <= 30
    (C3) -2**((30 + shift) / 2) <= b <= -1 and -2**(30 + shift) <= c <= -1: then |y| <= 2**30 after its shift
    (C4) -2**30 <= one <= -1: then |out| <= 2**62 before it wraps
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, narrow, widen
from ivit_ref.ir import Attribute, Quant, TensorType
from ivit_ref.registry import op, require, require_dtype, require_one_scale

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, b: int, c: int, one: int, shift: int) -> TensorType:
    """int32, in the shape of x."""
    require_dtype("IBertGELU (C1)", "x", x, "int8", "int16", "int32")
    require(0 <= shift <= 30, "IBertGELU (C2)", "shift must be from 0 to 30", shift)
    holds = b <= -1 and b * b <= 2 ** (30 + shift) and -(2 ** (30 + shift)) <= c <= -1
    must = "b must be from -2**((30 + shift) / 2) to -1, and c from -2**(30 + shift) to -1"
    require(holds, "IBertGELU (C3)", must, f"b = {b}, c = {c}, shift = {shift}")
    require(-(2**30) <= one <= -1, "IBertGELU (C4)", "one must be from -2**30 to -1", one)
    return TensorType("int32", x.shape)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """S * (a*S'**2 * 2**shift) / 2, rounded to float32 after each factor: a negative scale."""
    x = quants[0]
    if x is None:
        return None
    _require_symmetric(x)
    return Quant(dyadic.product(x.scale, (dyadic.erf_scale(x.scale[0], attributes["shift"]),), dyadic.power_of_two(-1)))


def follows(
    quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: Mapping[str, Attribute]
) -> dict[str, Attribute]:
    """b, c and one."""
    x, shift = quants[0], attributes.get("shift")
    if x is None or not isinstance(shift, int):
        return {}
    _require_symmetric(x)
    return dict(zip(("b", "c", "one"), dyadic.erf_polynomial(x.scale[0], shift), strict=True))


def _require_symmetric(x: Quant) -> None:
    require_one_scale("IBertGELU (scales)", x)
    require(x.zero_point == 0, "IBertGELU (scales)", "x must have zero point 0", x)


def onnx_body(b: Body, x: Sym) -> Sym:
    x = b.widen(x)
    b_ = b.attribute("b")
    from_end = b.minimum(b.emit("Abs", x), -b_) + b_
    y = b.emit("Sign", x) * (from_end * from_end + b.attribute("c"))
    y = b.floor_divide(y, b.power_of_two(b.attribute("shift")))
    return b.cast(b.wrap(x * (y + b.attribute("one")), "int32"), "int32")


@op("IBertGELU", infer=infer, onnx_body=onnx_body, quant=quant, follows=follows)
def i_bert_gelu(x: Ints, /, *, b: int, c: int, one: int, shift: int, ctx: Context = STRICT) -> Ints:
    """``x/2 * (1 + erf(x/1.4142))``, int32 in the shape of x; a step of the result is worth a negative number."""
    wide = widen(x)
    t = np.minimum(np.abs(wide), -b)
    y = np.sign(wide) * ((t + b) ** 2 + c)
    y = y >> shift
    return narrow(ctx.fit(wide * (y + one), "int32", "x * (y + one)"), "int32")
