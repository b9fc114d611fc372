"""Center: integers with their zero point taken away.

Semantics, elementwise
    y = x - zero_point                       zero_point is the integer that stands for the real number 0

Products and non-linear operators are defined on integers whose zero is 0, as I-ViT has them; this operator is where an
asymmetric tensor becomes one of those. Nothing is rounded and nothing saturates: the difference of 8-bit integers has 9 bits,
and ``dtype`` has room for it. A step of y is worth what a step of x is.

Sources
    ONNX, operators MatMulInteger and ConvInteger (``a - a_zero_point`` before the product)

Constraints
    (C1) x is int8, uint8, int16 or uint16
    (C2) zero_point is a value of the dtype of x
    (C3) dtype holds ``x - zero_point`` for every x
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import BOUNDS, Ints, narrow, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.requantize import check_zero_point
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, zero_point: int, dtype: str) -> TensorType:
    """dtype, in the shape of x."""
    require_dtype("Center (C1)", "x", x, "int8", "uint8", "int16", "uint16")
    check_zero_point("Center (C2)", zero_point, x.dtype)
    low, high = BOUNDS[x.dtype]
    holds = BOUNDS[dtype][0] <= low - zero_point and high - zero_point <= BOUNDS[dtype][1]
    require(holds, "Center (C3)", f"dtype must hold {x.dtype} less {zero_point}", dtype)
    return TensorType(dtype, x.shape)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """The scale of x, with zero point 0."""
    x = quants[0]
    return x and Quant(x.scale, axis=x.axis)


def onnx_body(b: Body, x: Sym) -> Sym:
    return b.saturate_cast(b.widen(x) - b.attribute("zero_point"))


@op("Center", infer=infer, onnx_body=onnx_body, quant=quant)
def center(x: Ints, /, *, zero_point: int, dtype: Literal["int16", "int32"], ctx: Context = STRICT) -> Ints:
    """``x - zero_point``; dtype, in the shape of x."""
    return narrow(widen(x) - zero_point, dtype)
