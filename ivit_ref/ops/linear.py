"""Linear: a fully connected layer with an int32 bias.

Semantics
    y[..., o] = bias[o] + sum over k of x[..., k] * weight[o, k]      the accumulator; must fit int32 (or wraps)

One step of y[..., o] is worth ``S_x * S_weight[o]``, and the bias comes in the same steps.

Sources
    zkkli/I-ViT models/quantization_utils/quant_modules.py, ``QuantLinear``

Constraints
    (C1) x is int8, uint8, int16 or int32, weight is int8 or int16, bias is int32
    (C2) weight is [o, k], where k is the length of the last axis of x; bias is [o]
    (C3) where x is int32, k is at most 2**16: no exact sum leaves int64
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.matmul import FACTORS, accumulate, is_short, require_symmetric
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, weight: TensorType, bias: TensorType) -> TensorType:
    """int32, in the shape of x with o for its last axis."""
    require_dtype("Linear (C1)", "x", x, *FACTORS)
    require_dtype("Linear (C1)", "weight", weight, "int8", "int16")
    require_dtype("Linear (C1)", "bias", bias, "int32")
    holds = x.shape and len(weight.shape) == 2 and weight.shape[1] == x.shape[-1] and bias.shape == weight.shape[:1]
    require(holds, "Linear (C2)", "weight must be [o, k] and bias [o] for x of [..., k]", f"{x}, {weight}, {bias}")
    holds = x.dtype != "int32" or is_short(x.shape[-1])
    require(holds, "Linear (C3)", "k must be at most 2**16 for an int32 x", x)
    return TensorType("int32", (*x.shape[:-1], weight.shape[0]))


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """S_x * S_weight in float32, along the last axis."""
    return product_quant("Linear", quants, len(types[0].shape) - 1)


def product_quant(name: str, quants: Sequence[Quant | None], axis: int) -> Quant | None:
    """The scale of accumulators of x with weights that are quantized per output channel; the bias must have the same."""
    x, weight, bias = quants
    if x is None or weight is None:
        return None
    require_symmetric(name, x)
    holds = weight.axis in (None, 0) and weight.zero_point == 0
    require(holds, f"{name} (scales)", "the weight's scales must go along axis 0 with zero point 0", weight)
    scale = dyadic.product(weight.scale, x.scale)
    if bias is not None:
        holds = bias.scale == scale and bias.zero_point == 0
        require(holds, f"{name} (scales)", "the bias must come in steps of S_x * S_weight with zero point 0", bias)
    return Quant(scale, axis=None if len(scale) == 1 else axis)


def onnx_body(b: Body, x: Sym, weight: Sym, bias: Sym) -> Sym:
    transposed = b.emit("Transpose", b.cast(weight, "int32"), perm=[1, 0])
    return b.emit("MatMul", b.cast(x, "int32"), transposed) + bias


@op("Linear", infer=infer, onnx_body=onnx_body, quant=quant)
def linear(x: Ints, weight: Ints, bias: Ints, /, *, ctx: Context = STRICT) -> Ints:
    """``x @ weight.T + bias``, the int32 accumulators."""
    return accumulate(np.matmul(widen(x), widen(weight).T) + widen(bias), ctx)
