"""Lookup: any element-wise function of an 8-bit integer, exactly, as its 256 results.

Semantics, elementwise
    y = table[x - low]                       low, the smallest x, has the first entry

What a step of y is worth is a choice of whoever made the table.

Sources
    this project's own; the form in which TFLite stores its int8 GELU and Tanh

Constraints
    (C1) x is int8 or uint8
    (C2) table has one axis of 256 integers
    (C3) low is -128 for int8 and 0 for uint8
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import BOUNDS, Ints, widen
from ivit_ref.ir import TensorType
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, table: TensorType, *, low: int) -> TensorType:
    """The dtype of the table, in the shape of x."""
    require_dtype("Lookup (C1)", "x", x, "int8", "uint8")
    require(
        table.shape == (256,) and table.dtype not in ("bool", "float32"), "Lookup (C2)", "table must be 256 integers", table
    )
    require(low == BOUNDS[x.dtype][0], "Lookup (C3)", f"low must be the smallest {x.dtype}", low)
    return TensorType(table.dtype, x.shape)


def onnx_body(b: Body, x: Sym, table: Sym) -> Sym:
    return b.emit("Gather", table, b.widen(x) - b.attribute("low"))


@op("Lookup", infer=infer, onnx_body=onnx_body)
def lookup(x: Ints, table: Ints, /, *, low: Literal[-128, 0], ctx: Context = STRICT) -> Ints:
    """``table[x - low]``, in the shape of x."""
    result: Ints = table[widen(x) - low]
    return result
