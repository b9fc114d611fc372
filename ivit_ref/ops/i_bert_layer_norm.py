"""IBertLayerNorm: LayerNorm along the last axis as I-BERT has it, with an exact root and a shift against overflow.

Semantics, for each row x of C elements; the scale of x drops out
    mu  = (sum of x) / C                     half to even
    y   = x - mu                             must fit int32 (or wraps)
    h   = floor(y / 2**shift)                h**2 must fit uint32 (or wraps)
    v   = sum of h**2                        must fit uint32 (or wraps); not divided by C
    k   = floor(sqrt(v)) * 2**shift
    F   = 2**31 / max(k, 1)                  floor
    o   = floor(F * y / 2)
    out = o + bias                           must fit int32 (or wraps)

One step of the result is worth ``gain * sqrt(C) / 2**30``, channel by channel, and the bias comes in the same steps, as in
ILayerNorm: ``bias = floor((beta / gain) / (sqrt(C) / 2**30))``.

``shift`` is chosen: the release finds the smallest one with which no v of its training reaches 2**32, and keeps it. Where v is
0 the release divides by zero: the result is NaN where y is 0, and infinite elsewhere. max(k, 1) is taken here, and a row of
equal numbers is its bias. With a shift, v is 0 also where no y is negative and all are below 2**shift; o is 2**30 * y then,
which leaves int32 from y = 2 on.

Properties
    (P1) if nothing wraps, order is kept where biases are equal; a permuted row and bias always give a permuted result
    (P2) with a shift of 0, if nothing wraps, o has the sign of y and |o| <= 2**30: no y is above the root of the sum of squares
    (P3) an even number that all of a row have in common does not matter; an odd one turns the rounding of a mean between two
         integers: (0, 1) has the mean 0, and (1, 2) has 2

Sources
    arXiv 2101.01321, i-sqrt and i-LayerNorm; kssteven418/I-BERT fairseq/quantization/utils/quant_modules.py, ``IntLayerNorm``

Constraints
    (C1) x is int8, uint8, int16 or int32, and has an axis of at most 2**16 elements to go along
    (C2) bias is int32[C]
    (C3) 0 <= shift <= 31
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, divide, isqrt, narrow, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.i_bert_softmax import onnx_half_even
from ivit_ref.ops.i_layer_norm import quant_of_bias
from ivit_ref.ops.int_sqrt import onnx_exact_root
from ivit_ref.ops.shiftmax import check_row
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, bias: TensorType, *, shift: int) -> TensorType:
    """int32, in the shape of x."""
    require_dtype("IBertLayerNorm (C1)", "x", x, "int8", "uint8", "int16", "int32")
    check_row("IBertLayerNorm (C1)", x)
    require(bias == TensorType("int32", x.shape[-1:]), "IBertLayerNorm (C2)", f"bias must be int32[{x.shape[-1]}]", bias)
    require(0 <= shift <= 31, "IBertLayerNorm (C3)", "shift must be from 0 to 31", shift)
    return TensorType("int32", x.shape)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """The scale of the bias, which holds the folded gain."""
    return quant_of_bias("IBertLayerNorm (scales)", quants, types)


def onnx_body(b: Body, x: Sym, bias: Sym) -> Sym:
    x = b.widen(x)
    length = b.emit("Gather", b.emit("Shape", x), -1)
    y = b.wrap(x - onnx_half_even(b, b.row_sum(x), length), "int32")
    unit = b.power_of_two(b.attribute("shift"))
    h = b.floor_divide(y, unit)
    v = b.wrap(b.row_sum(b.wrap(h * h, "uint32")), "uint32")
    k = onnx_exact_root(b, v) * unit
    factor = b.floor_divide(b.ints(2**31), b.maximum(k, 1))
    o = b.floor_divide(factor * y, 2)
    return b.cast(b.wrap(o + b.widen(bias), "int32"), "int32")


@op("IBertLayerNorm", infer=infer, onnx_body=onnx_body, quant=quant)
def i_bert_layer_norm(x: Ints, bias: Ints, /, *, shift: int, ctx: Context = STRICT) -> Ints:
    """``(x - mean) / sqrt(sum of squares)`` in units of 2**-30, plus bias; int32 in the shape of x."""
    wide = widen(x)
    mu = divide(wide.sum(axis=-1, keepdims=True), x.shape[-1], "half_even")
    y = ctx.fit(wide - mu, "int32", "x - mean")
    h = y >> shift
    squares = ctx.fit(h * h, "uint32", "square")
    v = ctx.fit(np.sum(squares, axis=-1, keepdims=True), "uint32", "sum of squares")
    k = isqrt(v) << shift
    factor = 2**31 // np.maximum(k, 1)
    o = (factor * y) >> 1
    return narrow(ctx.fit(o + widen(bias), "int32", "o + bias"), "int32")
