"""Clip: integers held within two bounds.

Semantics, elementwise
    y = min(max(x, low), high)

Relu is the case where low is the zero point of x and high the largest value of its dtype. A step of y is worth what a step of
x is; this is what x means, and no saturation: it is no event.

Sources
    ONNX, operators Clip and Relu

Constraints
    (C1) x is int8, uint8, int16, uint16 or int32
    (C2) low and high are values of the dtype of x, and low <= high
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import BOUNDS, Ints, narrow, saturate, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, low: int, high: int) -> TensorType:
    """The type of x."""
    require_dtype("Clip (C1)", "x", x, "int8", "uint8", "int16", "uint16", "int32")
    smallest, largest = BOUNDS[x.dtype]
    holds = smallest <= low <= high <= largest
    require(holds, "Clip (C2)", f"low and high must be in this order and within {x.dtype}", f"{low} and {high}")
    return x


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """That of x."""
    return quants[0]


def onnx_body(b: Body, x: Sym) -> Sym:
    held = b.minimum(b.maximum(b.widen(x), b.attribute("low")), b.attribute("high"))
    return b.emit("CastLike", held, x)


@op("Clip", infer=infer, onnx_body=onnx_body, quant=quant)
def clip(x: Ints, /, *, low: int, high: int, ctx: Context = STRICT) -> Ints:
    """x within ``[low, high]``; the type of x."""
    return narrow(saturate(widen(x), low, high), str(x.dtype))
