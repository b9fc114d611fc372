"""Dequantize: integers to the real numbers they stand for, at a graph's output.

Semantics, elementwise, in float32; scale has one entry, or one for each index along ``axis``
    y = float32(x - zero_point) * scale      both steps round to float32

Sources
    zkkli/I-ViT models/quantization_utils/quant_modules.py, ``QuantLinear.forward`` (its last product)

Constraints
    (C1) x is int8, uint8, int16, uint16 or int32
    (C2) every scale is a float32 other than zero, below 2**90 in magnitude: no result is infinite
    (C3) there is one scale, or as many as the axis is long; axis is a place in the shape of x
    (C4) abs(zero_point) <= 2**16
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, to_float32, widen
from ivit_ref.ir import TensorType
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, scale: tuple[float, ...], axis: int, zero_point: int) -> TensorType:
    """float32, in the shape of x."""
    require_dtype("Dequantize (C1)", "x", x, "int8", "uint8", "int16", "uint16", "int32")
    holds = all(0 < abs(s) < 2.0**90 and dyadic.float32(s) == s for s in scale)
    require(holds, "Dequantize (C2)", "every scale must be a float32 other than zero and below 2**90", scale)
    require(0 <= axis < len(x.shape), "Dequantize (C3)", f"axis must be a place in the shape of {x}", axis)
    holds = len(scale) in (1, x.shape[axis])
    require(holds, "Dequantize (C3)", f"there must be one scale, or one for each index of axis {axis} of {x}", len(scale))
    require(abs(zero_point) <= 2**16, "Dequantize (C4)", "zero_point must be at most 2**16 in magnitude", zero_point)
    return TensorType("float32", x.shape)


def onnx_body(b: Body, x: Sym) -> Sym:
    centred = b.cast(b.widen(x) - b.attribute("zero_point"), "float32")
    return b.emit("Mul", centred, b.along_axis(b.attribute("scale"), "axis", x))


@op("Dequantize", infer=infer, onnx_body=onnx_body)
def dequantize(
    x: Ints, /, *, scale: tuple[float, ...], axis: int, zero_point: int, ctx: Context = STRICT
) -> npt.NDArray[np.float32]:
    """The real numbers, float32 in the shape of x."""
    scales = np.array(scale, np.float32).reshape([-1] + [1] * (x.ndim - axis - 1))
    return to_float32(widen(x) - zero_point) * scales
