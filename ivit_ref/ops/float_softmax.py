"""FloatSoftmax: softmax along the last axis in floating point, rounded to integers.

Semantics, for each row x of the last axis; a step of x is worth ``scale``
    p = exp(scale * x) / sum of exp(scale * x)       real numbers
    y = p * 2**(out_bits - 1)                        half to even; saturated to dtype

One step of y is worth 2**-(out_bits - 1), as in Shiftmax. This is the baseline that integer methods are measured against:
float functions between integer linear layers. It computes in floats, so a graph must allow it (V7), and it is no part of an
integer-only model.

Float64 is enough. ``scale * (x - max)`` is exact for int8 and int16, and for int32 off by 2**-53 of less than 746, beyond
which the exponential is 0. So an exponential is off by less than 2**-43 of itself, a sum of 2**16 of them, in any order, by
less than 2**-36, and y, which is at most 2**15, by less than 2**-20 of a step. That changes no rounding unless the exact
value lies as near as that to a tie. By the theorem of Lindemann and Weierstrass there is one exact tie: 2**out_bits equal
numbers, each 1/2, where float64 is exact too, and y is 0.

Properties
    (P1) y is from 0 to 2**(out_bits - 1), and a row that has that number saturates a signed dtype of out_bits bits
    (P2) a number added to the whole row changes nothing; of two elements the larger one has at least the same y
    (P3) elements in another order give the results in that order (but where float64 rounds otherwise: within 2**-20 of a tie)
    (P4) a row of C adds up to 2**(out_bits - 1) within C / 2, but for saturation

Sources
    NVIDIA/FasterTransformer, INT8 modes of BERT and ViT: kernels that dequantize, compute in floats and quantize;
    the grid is Shiftmax's

Constraints
    (C1) x is int8, uint8, int16 or int32, and has an axis of at most 2**16 elements to go along
    (C2) scale is a float32, and 2**-126 <= scale <= 2**126
    (C3) 2 <= out_bits <= 16, and dtype has at least out_bits bits
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, from_float, narrow, widen
from ivit_ref.ir import Attribute, Quant, TensorType
from ivit_ref.ops.int_div import QuotientType, check_result
from ivit_ref.ops.shiftmax import check_row
from ivit_ref.registry import op, require, require_dtype, require_one_scale

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, scale: float, out_bits: int, dtype: str) -> TensorType:
    """dtype, in the shape of x."""
    require_dtype("FloatSoftmax (C1)", "x", x, "int8", "uint8", "int16", "int32")
    check_row("FloatSoftmax (C1)", x)
    check_grid("FloatSoftmax (C2)", "FloatSoftmax (C3)", scale, out_bits)
    check_result("FloatSoftmax (C3)", out_bits, dtype)
    return TensorType(dtype, x.shape)


def check_grid(c2: str, c3: str, scale: float, out_bits: int) -> None:
    """C2 and the first half of C3, which FloatGELU shares."""
    holds = 2.0**-126 <= scale <= 2.0**126 and dyadic.float32(scale) == scale
    require(holds, c2, "scale must be a float32 from 2**-126 to 2**126", scale)
    require(2 <= out_bits <= 16, c3, "out_bits must be from 2 to 16", out_bits)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """2**-(out_bits - 1), whatever x is worth."""
    return Quant(dyadic.power_of_two(1 - attributes["out_bits"]))


def follows(
    quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: Mapping[str, Attribute]
) -> dict[str, Attribute]:
    """``scale``: what a step of x is worth. A zero point drops out of the softmax."""
    return scale_of("FloatSoftmax (scales)", quants[0])


def scale_of(rule: str, x: Quant | None) -> dict[str, Attribute]:
    """The attribute ``scale``, for every operator that takes one scale of its input."""
    if x is None:
        return {}
    require_one_scale(rule, x)
    return {"scale": x.scale[0]}


def onnx_body(b: Body, x: Sym) -> Sym:
    x = b.widen(x)
    e = b.emit("Exp", onnx_reals(b, x - b.row_max(x)))
    p = b.emit("Div", e, b.emit("ReduceSum", e, b.ints([-1]), keepdims=1))
    return b.saturate_cast(onnx_steps(b, p))


def onnx_reals(b: Body, x: Sym) -> Sym:
    """``scale * x`` in float64."""
    return b.to_float64(x) * b.to_float64(b.attribute("scale"))


def onnx_steps(b: Body, y: Sym) -> Sym:
    """``y * 2**(out_bits - 1)``, half to even, as int64."""
    unit = b.to_float64(b.power_of_two(b.attribute("out_bits") - 1))
    return b.widen(b.emit("Round", y * unit))


@op("FloatSoftmax", infer=infer, onnx_body=onnx_body, quant=quant, follows=follows, floats=True)
def float_softmax(x: Ints, /, *, scale: float, out_bits: int, dtype: QuotientType, ctx: Context = STRICT) -> Ints:
    """Softmax of the last axis in units of ``2**-(out_bits - 1)``; dtype, in the shape of x."""
    wide = widen(x)
    e = np.exp(scale * (wide - wide.max(axis=-1, keepdims=True)))
    p = e / e.sum(axis=-1, keepdims=True)
    y = from_float(np.rint(p * 2 ** (out_bits - 1)))
    return narrow(ctx.saturate(y, dtype, "y"), dtype)
