"""Slice: a range of one axis.

Semantics
    y = the elements start, start + 1, ..., stop - 1 of x along ``axis``

Sources
    ONNX, operator Slice, for one axis and steps of one

Constraints
    (C1) x is any integer tensor
    (C2) axis is a place in the shape of x with a known length
    (C3) 0 <= start < stop <= length
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints
from ivit_ref.ir import Quant, TensorType
from ivit_ref.registry import op, require, require_integer

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, axis: int, start: int, stop: int) -> TensorType:
    """The dtype of x, stop - start long along the axis."""
    require_integer("Slice (C1)", "x", x)
    length = x.shape[axis] if 0 <= axis < len(x.shape) else None
    require(isinstance(length, int), "Slice (C2)", f"axis must be a place of known length in {x}", axis)
    assert isinstance(length, int)
    must = f"start and stop must be 0 <= start < stop <= {length}"
    require(0 <= start < stop <= length, "Slice (C3)", must, f"{start} and {stop}")
    return TensorType(x.dtype, (*x.shape[:axis], stop - start, *x.shape[axis + 1 :]))


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """That of x, its scales cut along when they go along the axis."""
    x = quants[0]
    if x is None or x.axis != attributes["axis"]:
        return x
    return Quant(x.scale[attributes["start"] : attributes["stop"]], x.zero_point, x.axis)


def onnx_body(b: Body, x: Sym) -> Sym:
    bounds = [b.emit("Unsqueeze", b.attribute(name), b.ints([0])) for name in ("start", "stop", "axis")]
    return b.emit("Slice", x, *bounds)


@op("Slice", infer=infer, onnx_body=onnx_body, quant=quant)
def slice_(x: Ints, /, *, axis: int, start: int, stop: int, ctx: Context = STRICT) -> Ints:
    """x[start:stop] along the axis."""
    everything = slice(None)
    return x[(everything,) * axis + (slice(start, stop),)]
