"""FloatLayerNorm: LayerNorm along the last axis in floating point, rounded to integers.

Semantics, for each row x of C elements; the scale of x drops out
    s   = sum of x
    n   = C * x - s                                  C times what x is off its mean, exact
    v   = C * (sum of x**2) - s**2                   exact; the sum of n**2 is C * v
    y   = n / sqrt(C * v)                            a real number from -1 to 1; 0 where v is 0
    o   = y * 2**30                                  half to even
    out = o + bias                                   must fit int32 (or wraps)

y is ``(x - mean) / sqrt(sum of (x - mean)**2)``, without an epsilon: a constant row gives the bias. One step of the result
is worth ``gain * sqrt(C) / 2**30``, channel by channel, and the bias comes in the same steps, as in ILayerNorm. This is the
baseline that integer methods are measured against: float functions between integer linear layers. It computes in floats, so
a graph must allow it (V7), and it is no part of an integer-only model.

Float64 is enough. n and v are integers within int64, n within 2**33; v becomes a float, is multiplied by C, the root taken
and n divided: four roundings of at most 2**-53 each, so o, which is at most 2**30, is off by less than 2**-21 of a step.
That changes no rounding unless the exact value lies as near as that to a tie. An exact tie needs a root that is a multiple of
2**31, so a row of more than 1,600 elements; and float64 is exact for such a root, which is at most 2**39.

Properties
    (P1) a number added to the whole row changes nothing, nor does a whole factor above 0 (but where float64 rounds otherwise:
         within 2**-21 of a tie); a row of the opposite sign has the opposite o
    (P2) o has the sign of x - mean, or is 0; of two elements the larger one has at least the same o

Sources
    NVIDIA/FasterTransformer, INT8 modes of BERT and ViT: kernels that dequantize, compute in floats and quantize;
    arXiv 1607.06450 (LayerNorm); the grid and the folded bias are ILayerNorm's

Constraints
    (C1) x is int8, uint8 or int16, and has an axis of at most 2**16 elements to go along
    (C2) bias is int32[C]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, from_float, narrow, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.i_layer_norm import check_tensors, quant_of_bias
from ivit_ref.registry import op

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

UNIT = 2**30


def infer(x: TensorType, bias: TensorType) -> TensorType:
    """int32, in the shape of x."""
    check_tensors("FloatLayerNorm (C1)", "FloatLayerNorm (C2)", x, bias)
    return TensorType("int32", x.shape)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """The scale of the bias, which holds the folded gain; one scale must serve the whole row of x."""
    return quant_of_bias("FloatLayerNorm (scales)", quants, types)


def onnx_body(b: Body, x: Sym, bias: Sym) -> Sym:
    x = b.widen(x)
    length = b.emit("Gather", b.emit("Shape", x), -1)
    s = b.row_sum(x)
    v = length * b.row_sum(x * x) - s * s
    root = b.emit("Sqrt", b.to_float64(length) * b.to_float64(b.maximum(v, 1)))
    y = b.emit("Div", b.to_float64(length * x - s), root)
    o = b.widen(b.emit("Round", y * b.float64(float(UNIT))))
    return b.cast(b.wrap(o + b.widen(bias), "int32"), "int32")


@op("FloatLayerNorm", infer=infer, onnx_body=onnx_body, quant=quant, floats=True)
def float_layer_norm(x: Ints, bias: Ints, /, *, ctx: Context = STRICT) -> Ints:
    """``(x - mean) / sqrt(sum of squares)`` in units of 2**-30, plus bias; int32 in the shape of x."""
    wide, length = widen(x), x.shape[-1]
    s = wide.sum(axis=-1, keepdims=True)
    n = length * wide - s
    v = length * np.sum(wide * wide, axis=-1, keepdims=True) - s * s
    y = n / np.sqrt(float(length) * np.maximum(v, 1))
    o = from_float(np.rint(y * UNIT))
    return narrow(ctx.fit(o + widen(bias), "int32", "o + bias"), "int32")
