"""Roll: the elements of one axis moved on, around its end.

Semantics, for an axis of n elements
    y[..., i, ...] = x[..., (i - shift) mod n, ...]   along ``axis``

Back by k is on by n - k.

Sources
    arXiv 2103.14030, the cyclic shift of shifted windows; zkkli/I-ViT models/swin_quant.py, ``SwinTransformerBlock.forward``
    (torch.roll, one axis at a time here)

Constraints
    (C1) x is any integer tensor
    (C2) axis is a place in the shape of x with a known length
    (C3) 0 <= shift < length: there is one way to write a roll
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


def infer(x: TensorType, *, axis: int, shift: int) -> TensorType:
    """The type of x."""
    require_integer("Roll (C1)", "x", x)
    length = x.shape[axis] if 0 <= axis < len(x.shape) else None
    require(isinstance(length, int), "Roll (C2)", f"axis must be a place of known length in {x}", axis)
    assert isinstance(length, int)
    require(0 <= shift < length, "Roll (C3)", f"shift must be from 0 to {length - 1}", shift)
    return x


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """That of x, its scales moved along when they go along the axis."""
    x = quants[0]
    if x is None or x.axis != attributes["axis"]:
        return x
    first = len(x.scale) - attributes["shift"]
    return Quant(x.scale[first:] + x.scale[:first], x.zero_point, x.axis)


def onnx_body(b: Body, x: Sym) -> Sym:
    n = b.emit("Gather", b.emit("Shape", x), b.attribute("axis"))
    places = b.emit("Mod", b.emit("Range", 0, n, 1) - b.attribute("shift"), n)
    return b.emit("Gather", x, places, axis=Ref("axis"))


@op("Roll", infer=infer, onnx_body=onnx_body, quant=quant)
def roll(x: Ints, /, *, axis: int, shift: int, ctx: Context = STRICT) -> Ints:
    """The elements of x moved on along the axis."""
    return np.roll(x, shift, axis=axis)
