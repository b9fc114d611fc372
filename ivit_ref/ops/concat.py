"""Concat: one tensor behind another along an axis.

Semantics
    z = x, then y, along ``axis``

Both must mean the same by a step: concatenation never rescales.

Sources
    ONNX, operator Concat, for two tensors

Constraints
    (C1) x and y are integer tensors of one dtype
    (C2) axis is a place in their shapes, which agree elsewhere and are known there
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


def infer(x: TensorType, y: TensorType, *, axis: int) -> TensorType:
    """The dtype of both, their lengths added along the axis."""
    require_integer("Concat (C1)", "x", x)
    require(x.dtype == y.dtype, "Concat (C1)", f"y must have the dtype of x, which is {x}", y)
    must = f"x and y must have an axis {axis} of known length and agree elsewhere"
    holds = len(x.shape) == len(y.shape) and 0 <= axis < len(x.shape)
    holds = holds and all(a == b for i, (a, b) in enumerate(zip(x.shape, y.shape, strict=True)) if i != axis)
    lengths = [s[axis] for s in (x.shape, y.shape)] if holds else []
    known = [n for n in lengths if isinstance(n, int)]
    require(len(known) == 2, "Concat (C2)", must, f"{x} and {y}")
    return TensorType(x.dtype, (*x.shape[:axis], sum(known), *x.shape[axis + 1 :]))


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """That of both."""
    x, y = quants
    if x is None or y is None:
        return None
    require(x == y, "Concat (scales)", f"x and y must have the same scale, x has {x}", y)
    require(x.axis != attributes["axis"], "Concat (scales)", "the scales must not go along the axis", attributes["axis"])
    return x


def onnx_body(b: Body, x: Sym, y: Sym) -> Sym:
    return b.emit("Concat", x, y, axis=Ref("axis"))


@op("Concat", infer=infer, onnx_body=onnx_body, quant=quant)
def concat(x: Ints, y: Ints, /, *, axis: int, ctx: Context = STRICT) -> Ints:
    """x and y along the axis."""
    return np.concatenate([x, y], axis=axis)
