"""Where: elements of one tensor or another, as a condition says.

Semantics, elementwise; condition, x and y broadcast
    z = x where condition, else y

Both must mean the same by a step: a choice never rescales.

Sources
    ONNX, operator Where

Constraints
    (C1) condition is bool
    (C2) x and y are integer tensors of one dtype
    (C3) condition, x and y broadcast
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, Mask
from ivit_ref.ir import Quant, TensorType
from ivit_ref.registry import op, require, require_dtype, require_integer
from ivit_ref.shapes import broadcast

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
    """The dtype of x and y, in the shape that all three broadcast to."""
    require_dtype("Where (C1)", "condition", condition, "bool")
    require_integer("Where (C2)", "x", x)
    require(x.dtype == y.dtype, "Where (C2)", f"y must have the dtype of x, which is {x}", y)
    both = broadcast(x.shape, y.shape)
    shape = None if both is None else broadcast(condition.shape, both)
    require(shape is not None, "Where (C3)", "all three must broadcast", f"{condition}, {x} and {y}")
    return TensorType(x.dtype, shape or ())


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """That of x and y, which must be one scale and zero point."""
    _, x, y = quants
    if x is None or y is None:
        return None
    require(x == y, "Where (scales)", f"x and y must have the same scale, x has {x}", y)
    require(x.axis is None, "Where (scales)", "x and y must have one scale", x)
    return x


def onnx_body(b: Body, condition: Sym, x: Sym, y: Sym) -> Sym:
    # Not every runtime chooses among integers of every width, but among int64 all do.
    return b.emit("CastLike", b.where(condition, b.widen(x), b.widen(y)), x)


@op("Where", infer=infer, onnx_body=onnx_body, quant=quant)
def where(condition: Mask, x: Ints, y: Ints, /, *, ctx: Context = STRICT) -> Ints:
    """x where the condition holds, else y."""
    return np.where(condition, x, y)
