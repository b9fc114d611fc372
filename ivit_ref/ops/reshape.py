"""Reshape: the same elements in the same order, in another shape.

Semantics
    y = x in ``shape``, where 0 keeps the dimension of x at that place and one -1 takes what is left

What a step is worth stays; scales along an axis stay when the axis and all before it, or all behind it, do.

Sources
    ONNX, operator Reshape (allowzero = 0)

Constraints
    (C1) x is any integer tensor
    (C2) shape keeps the number of elements, has at most one -1, and no 0 beyond the rank of x
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints
from ivit_ref.ir import Quant, TensorType
from ivit_ref.registry import Ref, op, require, require_integer
from ivit_ref.shapes import reshaped

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, shape: tuple[int, ...]) -> TensorType:
    """The dtype of x, in the new shape."""
    require_integer("Reshape (C1)", "x", x)
    target = reshaped(x.shape, shape)
    require(target is not None, "Reshape (C2)", f"shape must keep the elements of {x}", list(shape))
    return TensorType(x.dtype, target or ())


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """That of x."""
    x = quants[0]
    if x is None or x.axis is None:
        return x
    before, after = types[0].shape, infer(types[0], **attributes).shape
    if before[: x.axis + 1] == after[: x.axis + 1]:
        return x
    tail = len(before) - x.axis
    require(before[-tail:] == after[-tail:], "Reshape (scales)", f"must keep axis {x.axis} of {types[0]}", list(after))
    return Quant(x.scale, x.zero_point, len(after) - tail)


def onnx_body(b: Body, x: Sym) -> Sym:
    return b.emit("Reshape", x, b.emit("Constant", value_ints=Ref("shape")))


@op("Reshape", infer=infer, onnx_body=onnx_body, quant=quant)
def reshape(x: Ints, /, *, shape: tuple[int, ...], ctx: Context = STRICT) -> Ints:
    """x in another shape."""
    return x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(shape)])
