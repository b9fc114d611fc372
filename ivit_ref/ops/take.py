"""Take: elements of one axis, by a list of their places.

Semantics
    y[..., i, ...] = x[..., indices[i], ...]   along ``axis``; a place may come again

Sources
    ONNX, operator Gather, for a constant list of places. It has another name here, since ONNX Runtime 1.31 ends the process at
    a function of that name with one input

Constraints
    (C1) x is any integer tensor
    (C2) axis is a place in the shape of x with a known length
    (C3) there is an index, and every one is from 0 to length - 1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints
from ivit_ref.ir import Quant, TensorType
from ivit_ref.registry import Ref, op, require, require_integer

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, axis: int, indices: tuple[int, ...]) -> TensorType:
    """The dtype of x, as long as indices along the axis."""
    require_integer("Take (C1)", "x", x)
    length = x.shape[axis] if 0 <= axis < len(x.shape) else None
    require(isinstance(length, int), "Take (C2)", f"axis must be a place of known length in {x}", axis)
    assert isinstance(length, int)
    holds = indices and all(0 <= i < length for i in indices)
    require(holds, "Take (C3)", f"indices must be one or more places from 0 to {length - 1}", list(indices)[:20])
    return TensorType(x.dtype, (*x.shape[:axis], len(indices), *x.shape[axis + 1 :]))


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """That of x, its scales taken along when they go along the axis."""
    x = quants[0]
    if x is None or x.axis != attributes["axis"]:
        return x
    return Quant(tuple(x.scale[i] for i in attributes["indices"]), x.zero_point, x.axis)


def onnx_body(b: Body, x: Sym) -> Sym:
    return b.emit("Gather", x, b.attribute("indices"), axis=Ref("axis"))


@op("Take", infer=infer, onnx_body=onnx_body, quant=quant)
def take(x: Ints, /, *, axis: int, indices: tuple[int, ...], ctx: Context = STRICT) -> Ints:
    """The elements of x at the places, along the axis."""
    return np.take(x, indices, axis=axis)
