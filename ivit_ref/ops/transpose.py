"""Transpose: the axes in another order.

Semantics
    y has axis perm[i] of x at place i

Sources
    ONNX, operator Transpose

Constraints
    (C1) x is any integer tensor
    (C2) perm has every place of the shape of x once
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


def infer(x: TensorType, *, perm: tuple[int, ...]) -> TensorType:
    """The dtype of x, its shape permuted."""
    require_integer("Transpose (C1)", "x", x)
    require(sorted(perm) == list(range(len(x.shape))), "Transpose (C2)", f"perm must order the axes of {x}", list(perm))
    return TensorType(x.dtype, tuple(x.shape[p] for p in perm))


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """That of x, its axis moved along."""
    x = quants[0]
    if x is None or x.axis is None:
        return x
    return Quant(x.scale, x.zero_point, attributes["perm"].index(x.axis))


def onnx_body(b: Body, x: Sym) -> Sym:
    return b.emit("Transpose", x, perm=Ref("perm"))


@op("Transpose", infer=infer, onnx_body=onnx_body, quant=quant)
def transpose(x: Ints, /, *, perm: tuple[int, ...], ctx: Context = STRICT) -> Ints:
    """x with its axes permuted."""
    return np.transpose(x, perm)
