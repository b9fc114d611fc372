"""ReduceMean: the mean along axes, rounded to an integer; they stay with length one.

Semantics, for n elements along ``axes``
    s = sum of x over ``axes``               exact
    y = s / n                                ``rounding``: half_even, half_away or truncate

One step of y is worth what a step of x is, and y has the dtype of x: it lies between the least element and the largest. No rule
of rounding gives the same for x and for x less a zero point, so that of x must be 0. A mean that rounds once, together with the
step to another scale, is ``ReduceSum`` instead.

Properties
    (P1) the least element <= y <= the largest
    (P2) a number added to all of x, as long as dtype holds it, moves y by that number or one beside it; by just that number for
         half_even and half_away unless s / n is a tie, for truncate unless s / n is no integer and changes its sign
    (P3) -x gives -y

Sources
    zkkli/I-ViT models/swin_quant.py, ``SwinTransformer.forward_features``: AdaptiveAvgPool1d, whose mean quant_utils.py,
    ``fixedpoint_mul``, rounds half to even before it multiplies; the other rules are those of the mean of ``ILayerNorm``

Constraints
    (C1) x is int8, uint8, int16 or int32
    (C2) axes are ascending places in the shape of x, one at least, of known lengths that multiply to at most 2**22
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, divide, narrow, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.reduce_sum import reduced, reduced_quant
from ivit_ref.profiles import MeanRounding
from ivit_ref.registry import op, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, axes: tuple[int, ...], **_: Any) -> TensorType:
    """The dtype of x, in its shape with length one along the axes."""
    require_dtype("ReduceMean (C1)", "x", x, "int8", "uint8", "int16", "int32")
    return TensorType(x.dtype, reduced("ReduceMean (C2)", x, axes))


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """The scale of x, whose zero point must be 0, and whose scales must not go along the axes."""
    return reduced_quant("ReduceMean (scales)", quants[0], attributes["axes"])


def onnx_body(b: Body, x: Sym) -> Sym:
    axes = b.attribute("axes")
    s = b.emit("ReduceSum", b.widen(x), axes, keepdims=1)
    n = b.emit("ReduceProd", b.emit("Gather", b.emit("Shape", x), axes), keepdims=1)
    return b.emit("CastLike", b.divide(s, n, "rounding"), x)


@op("ReduceMean", infer=infer, onnx_body=onnx_body, quant=quant)
def reduce_mean(x: Ints, /, *, axes: tuple[int, ...], rounding: MeanRounding, ctx: Context = STRICT) -> Ints:
    """The rounded means, in the dtype of x, with length one along the axes."""
    s = widen(x).sum(axis=axes, keepdims=True)
    return narrow(divide(s, x.size // s.size, rounding), str(x.dtype))
