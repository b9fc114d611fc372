"""Rescale: the same integers, worth something else.

Semantics, elementwise
    y = x

One step of y is worth ``S * alpha``, where a step of x is worth S: the product of a tensor and a real constant, without
arithmetic. Attention's 1/sqrt(d), the 1/n of a mean and a minus sign are such constants. ``alpha`` has one entry, or one for
each index along ``axis``.

Sources
    zkkli/I-ViT models/vit_quant.py, ``Attention.forward`` (the scale of q k^T is multiplied, the integers are not)

Constraints
    (C1) x is an integer tensor
    (C2) every alpha is a finite float32 other than zero
    (C3) there is one alpha, or as many as the axis is long; axis is a place in the shape of x, or 0 for one alpha
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints
from ivit_ref.ir import Quant, TensorType
from ivit_ref.registry import op, require, require_integer

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, alpha: tuple[float, ...], axis: int) -> TensorType:
    """The type of x."""
    require_integer("Rescale (C1)", "x", x)
    holds = all(math.isfinite(a) and a != 0 and dyadic.float32(a) == a for a in alpha)
    require(holds, "Rescale (C2)", "every alpha must be a finite float32 other than zero", alpha)
    one = len(alpha) == 1 and axis == 0
    holds = one or (0 <= axis < len(x.shape) and len(alpha) in (1, x.shape[axis]))
    require(holds, "Rescale (C3)", f"there must be one alpha, or one for each index of axis {axis} of {x}", len(alpha))
    return x


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """S * alpha in float32, with the zero point of x."""
    x, alpha = quants[0], attributes["alpha"]
    if x is None:
        return None
    axis = x.axis if len(alpha) == 1 else attributes["axis"]
    require(x.axis in (None, axis), "Rescale (scales)", f"the scales of x must go along axis {axis}", x)
    return Quant(dyadic.product(x.scale, alpha), x.zero_point, axis)


def onnx_body(b: Body, x: Sym) -> Sym:
    return b.emit("Identity", x)


@op("Rescale", infer=infer, onnx_body=onnx_body, quant=quant)
def rescale(x: Ints, /, *, alpha: tuple[float, ...], axis: int, ctx: Context = STRICT) -> Ints:
    """x."""
    return x
