"""Mul: the elementwise product of two integer tensors.

Semantics, elementwise; a and b broadcast
    y = a * b                                must fit int32 (or wraps)

One step of y is worth ``S_a * S_b``.

Sources
    ONNX, operator Mul

Constraints
    (C1) a and b are int8, uint8, int16 or int32
    (C2) a and b broadcast
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, narrow, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.registry import op, require, require_dtype
from ivit_ref.shapes import broadcast

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(a: TensorType, b: TensorType) -> TensorType:
    """int32, in the shape that a and b broadcast to."""
    for name, x in (("a", a), ("b", b)):
        require_dtype("Mul (C1)", name, x, "int8", "uint8", "int16", "int32")
    shape = broadcast(a.shape, b.shape)
    require(shape is not None, "Mul (C2)", "a and b must broadcast", f"{a} and {b}")
    return TensorType("int32", shape or ())


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """S_a * S_b in float32; scales along an axis must go along the same axis of the result."""
    a, b = quants
    if a is None or b is None:
        return None
    rank = max(len(t.shape) for t in types)
    axes = {q.axis + rank - len(t.shape) for q, t in zip((a, b), types, strict=True) if q.axis is not None}
    require(len(axes) <= 1, "Mul (scales)", "scales must go along one axis", sorted(axes))
    for q in (a, b):
        require(q.zero_point == 0, "Mul (scales)", "the zero point of an input must be 0", q.zero_point)
    scale = dyadic.product(a.scale, b.scale)
    return Quant(scale, axis=axes.pop() if len(scale) > 1 else None)


def onnx_body(b: Body, x: Sym, y: Sym) -> Sym:
    return b.cast(b.wrap(b.widen(x) * b.widen(y), "int32"), "int32")


@op("Mul", infer=infer, onnx_body=onnx_body, quant=quant)
def mul(a: Ints, b: Ints, /, *, ctx: Context = STRICT) -> Ints:
    """``a * b``, int32."""
    return narrow(ctx.fit(widen(a) * widen(b), "int32", "product"), "int32")
