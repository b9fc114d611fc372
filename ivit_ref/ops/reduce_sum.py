"""ReduceSum: the sum along axes, which stay with length one.

Semantics
    y = sum of x over ``axes``               must fit int32 (or wraps)

One step of y is worth what a step of x is. A mean is this sum with steps of 1/n (``Rescale``): dividing is left to the
requantization, which rounds once.

Sources
    ONNX, operators ReduceSum, ReduceMean and GlobalAveragePool

Constraints
    (C1) x is int8, uint8, int16 or int32
    (C2) axes are ascending places in the shape of x, one at least, of known lengths that multiply to at most 2**22
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, narrow, widen
from ivit_ref.ir import Quant, Shape, TensorType
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

MOST = 2**22
"""So many int32 numbers add up to at most 2**53 in magnitude, which a runtime that adds in doubles still has exactly."""


def infer(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    """int32, in the shape of x with length one along the axes."""
    require_dtype("ReduceSum (C1)", "x", x, "int8", "uint8", "int16", "int32")
    return TensorType("int32", reduced("ReduceSum (C2)", x, axes))


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """The scale of x, whose zero point must be 0, and whose scales must not go along the axes."""
    return reduced_quant("ReduceSum (scales)", quants[0], attributes["axes"])


def onnx_body(b: Body, x: Sym) -> Sym:
    total = b.emit("ReduceSum", b.widen(x), b.attribute("axes"), keepdims=1)
    return b.cast(b.wrap(total, "int32"), "int32")


@op("ReduceSum", infer=infer, onnx_body=onnx_body, quant=quant)
def reduce_sum(x: Ints, /, *, axes: tuple[int, ...], ctx: Context = STRICT) -> Ints:
    """The sums, int32, with length one along the axes."""
    return narrow(ctx.fit(widen(x).sum(axis=axes, keepdims=True), "int32", "sum"), "int32")


def reduced(rule: str, x: TensorType, axes: tuple[int, ...]) -> Shape:
    """The shape of x with length one along the axes; the constraint on these, for every operator that adds up along axes."""
    holds = bool(axes) and list(axes) == sorted(set(axes)) and axes[0] >= 0 and axes[-1] < len(x.shape)
    lengths = [x.shape[a] for a in axes] if holds else []
    known = [d for d in lengths if isinstance(d, int)]
    holds = holds and len(known) == len(axes) and prod(known) <= MOST
    must = f"axes must be ascending places of known lengths in {x}, at most 2**22 elements together"
    require(holds, rule, must, list(axes))
    return tuple(1 if i in axes else d for i, d in enumerate(x.shape))


def reduced_quant(rule: str, x: Quant | None, axes: tuple[int, ...]) -> Quant | None:
    """The scale of x, whose zero point must be 0, and whose scales must not go along the axes."""
    if x is None:
        return None
    require(x.zero_point == 0, rule, "the zero point of x must be 0", x.zero_point)
    require(x.axis not in axes, rule, "the scales must not go along the axes", x)
    return x
