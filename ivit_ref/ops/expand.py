"""Expand: a tensor repeated along axes of length one.

Semantics
    y = x, repeated along each of ``axes`` to the length that ``like`` has there; of ``like`` only the shape is read

Taking lengths from a tensor, and not from an attribute, lets a graph keep a named batch axis.

Sources
    ONNX, operator Expand; zkkli/I-ViT models/vit_quant.py, ``cls_token.expand``

Constraints
    (C1) x and like are integer tensors of one rank
    (C2) axes are ascending places in their shapes, where x has length one
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints
from ivit_ref.ir import Quant, TensorType
from ivit_ref.registry import op, require, require_integer

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, like: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    """The dtype of x, as long as ``like`` along the axes."""
    require_integer("Expand (C1)", "x", x)
    require_integer("Expand (C1)", "like", like)
    require(len(x.shape) == len(like.shape), "Expand (C1)", f"like must have the rank of x, which is {x}", like)
    holds = list(axes) == sorted(set(axes)) and all(0 <= a < len(x.shape) and x.shape[a] == 1 for a in axes)
    require(holds, "Expand (C2)", f"axes must be ascending places of length one in {x}", list(axes))
    return TensorType(x.dtype, tuple(like.shape[i] if i in axes else d for i, d in enumerate(x.shape)))


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """That of x."""
    x = quants[0]
    require(x is None or x.axis not in attributes["axes"], "Expand (scales)", "must not repeat the scales' axis", x)
    return x


def onnx_body(b: Body, x: Sym, like: Sym) -> Sym:
    axes = b.attribute("axes")
    lengths = b.emit("Gather", b.emit("Shape", like), axes)
    shape = b.emit("ScatterElements", b.emit("Shape", x), axes, lengths)
    return b.emit("Expand", x, shape)


@op("Expand", infer=infer, onnx_body=onnx_body, quant=quant)
def expand(x: Ints, like: Ints, /, *, axes: tuple[int, ...], ctx: Context = STRICT) -> Ints:
    """x, repeated along the axes."""
    return np.broadcast_to(x, [like.shape[i] if i in axes else d for i, d in enumerate(x.shape)], subok=True)
