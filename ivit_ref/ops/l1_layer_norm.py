"""L1LayerNorm: LayerNorm along the last axis with the mean magnitude in the place of the standard deviation.

Semantics, for each row x of C elements; the scale of x drops out
    mu  = sum of x / C                       half to even
    y   = x - mu
    a   = sum of |y|
    k   = a * multiplier / 2**shift          half up; the dyadic number stands for C_L1 / sqrt(C)
    F   = (2**31 - 1) / max(k, 1)            floor
    o   = (F * y) / 2                        floor
    out = o + bias                           must fit int32 (or wraps)

This is ILayerNorm with another statistic: k is the root of the sum of squares where the mean magnitude times C_L1 is the
standard deviation, as it is for a normal distribution with C_L1 = sqrt(pi / 2), the default of ``dyadic.l1_constant``. One
step of the result is worth ``gain * sqrt(C) / 2**30``, channel by channel, and the bias comes in the same steps, as in
ILayerNorm.

An outlier counts by its magnitude and not by its square, so k falls behind: among normal numbers one of 20 standard
deviations makes the true root 1.56 times k for C = 192 and 1.20 times k for C = 768, and the whole row comes out that much
too large. For a single outlier in an otherwise constant row it is ``sqrt(C) / (2 * C_L1)`` times: 5.5 for C = 192, where o
alone leaves int32.

a is at most ``2**31 + 2**15``: half of the row at either end, and half a step of rounding each. Nothing leaves int64.

Properties
    (P1) an even number added to the whole row changes nothing, and an odd one only where the mean is a tie
    (P2) o has the sign of y, or is 0; of two elements the larger one has at least the same o
    (P3) a row that is a whole number of times as large has the same o but for the rounding of the mean, of k and of F

Sources
    arXiv 2009.08034 (Fully-8bit), L1 LayerNorm: no code was released. The frame is ILayerNorm's, so that only the
    statistic differs; the constant is that of arXiv 1803.01814, L1 batch normalization

Constraints
    (C1) x is int8, uint8 or int16, and has an axis of at most 2**16 elements to go along
    (C2) bias is int32[C]
    (C3) 1 <= multiplier < 2**31
    (C4) 0 <= shift <= 62
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, divide, narrow, shift_right, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.i_layer_norm import NUMERATOR, check_tensors, deviation, quant_of_bias
from ivit_ref.registry import op, require

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, bias: TensorType, *, multiplier: int, shift: int) -> TensorType:
    """int32, in the shape of x."""
    check_tensors("L1LayerNorm (C1)", "L1LayerNorm (C2)", x, bias)
    require(1 <= multiplier < 2**31, "L1LayerNorm (C3)", "multiplier must be from 1 to 2**31 - 1", multiplier)
    require(0 <= shift <= 62, "L1LayerNorm (C4)", "shift must be from 0 to 62", shift)
    return TensorType("int32", x.shape)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """The scale of the bias, which holds the folded gain; one scale must serve the whole row of x."""
    return quant_of_bias("L1LayerNorm (scales)", quants, types)


def onnx_body(b: Body, x: Sym, bias: Sym) -> Sym:
    x = b.widen(x)
    y = x - _onnx_mean(b, x)
    a = b.row_sum(b.emit("Abs", y))
    unit = b.power_of_two(b.attribute("shift"))
    k = b.floor_divide(a * b.attribute("multiplier") + b.floor_divide(unit, 2), unit)
    factor = b.floor_divide(b.ints(NUMERATOR), b.maximum(k, 1))
    o = b.floor_divide(factor * y, 2)
    return b.cast(b.wrap(o + b.widen(bias), "int32"), "int32")


def _onnx_mean(b: Body, x: Sym) -> Sym:
    s, length = b.row_sum(x), b.emit("Gather", b.emit("Shape", x), -1)
    q = b.floor_divide(s, length)
    twice = (s - q * length) * 2
    odd = b.emit("Mod", q, 2).equals(1)
    return q + b.widen((twice > length) | (twice.equals(length) & odd))


@op("L1LayerNorm", infer=infer, onnx_body=onnx_body, quant=quant)
def l1_layer_norm(x: Ints, bias: Ints, /, *, multiplier: int, shift: int, ctx: Context = STRICT) -> Ints:
    """``(x - mean) / (sum of magnitudes * C_L1 / sqrt(C))`` in units of 2**-30, plus bias; int32 in the shape of x."""
    y = deviation(widen(x), ctx, "half_even", 64)
    a = np.abs(y).sum(axis=-1, keepdims=True)
    k = shift_right(a * multiplier, shift, "half_up")
    factor = NUMERATOR // np.maximum(k, 1)
    o = divide(y * factor, 2, "floor")
    return narrow(ctx.fit(o + widen(bias), "int32", "o + bias"), "int32")
