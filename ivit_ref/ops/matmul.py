"""MatMul: the product of two integer tensors, either of which may be an activation.

Semantics, as ONNX and NumPy define matrix products: the last two axes multiply, the axes before them broadcast
    y = sum over k of a[..., i, k] * b[..., k, j]      the accumulator; must fit int32 (or wraps)

One step of y is worth ``S_a * S_b * alpha``. ``alpha`` is a real factor that the product stands for and the integers do not
show: attention's 1/sqrt(d) is folded into the scale this way. It takes no part in the arithmetic.

Properties, where nothing wraps; where something does, modulo 2**32
    (P1) the transposed of b times the transposed of a is the transposed of y
    (P2) y of a + c is y of a plus y of c; the same for b

Sources
    zkkli/I-ViT models/quantization_utils/quant_modules.py, ``QuantMatMul``, and models/vit_quant.py, ``Attention.forward``

Constraints
    (C1) a and b are int8, uint8, int16 or int32
    (C2) both have two axes or more; the last of a is as long as the last but one of b; the others broadcast
    (C3) alpha is a finite, positive float32
    (C4) at most one of a and b is int32, and then k is known and at most 2**16: no exact sum leaves int64
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.errors import ConstraintError
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, Wide, narrow, widen
from ivit_ref.ir import Dim, Quant, Shape, TensorType
from ivit_ref.registry import op, require, require_dtype
from ivit_ref.shapes import broadcast

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

FACTORS = ("int8", "uint8", "int16", "int32")


def infer(a: TensorType, b: TensorType, *, alpha: float) -> TensorType:
    """int32, in the shape of the product."""
    require_dtype("MatMul (C1)", "a", a, *FACTORS)
    require_dtype("MatMul (C1)", "b", b, *FACTORS)
    shape = product_shape("MatMul (C2)", a, b)
    holds = math.isfinite(alpha) and alpha > 0 and dyadic.float32(alpha) == alpha
    require(holds, "MatMul (C3)", "alpha must be a finite, positive float32", alpha)
    wide = [x for x in (a, b) if x.dtype == "int32"]
    holds = not wide or (len(wide) == 1 and is_short(a.shape[-1]))
    require(holds, "MatMul (C4)", "at most one input may be int32, and then k must be at most 2**16", f"{a} and {b}")
    return TensorType("int32", shape)


def product_shape(rule: str, a: TensorType, b: TensorType) -> Shape:
    """The shape of a matrix product, after the constraint on the shapes of its factors."""
    holds = len(a.shape) >= 2 and len(b.shape) >= 2 and a.shape[-1] == b.shape[-2]
    leading = broadcast(a.shape[:-2], b.shape[:-2]) if holds else None
    if leading is None:
        raise ConstraintError(f"{rule}: the shapes must match as [..., i, k] and [..., k, j], but found {a} and {b}")
    return (*leading, a.shape[-2], b.shape[-1])


def is_short(k: Dim) -> bool:
    """Whether so many products of an int32 and an int16 add up within int64."""
    return isinstance(k, int) and k <= 2**16


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """S_a * S_b * alpha, rounded to float32 after each factor; for per-tensor scales and zero points of 0."""
    a, b = quants
    if a is None or b is None:
        return None
    require_symmetric("MatMul", a, b)
    return Quant(dyadic.product(a.scale, b.scale, [attributes["alpha"]]))


def require_symmetric(name: str, *quants: Quant) -> None:
    """Per-tensor scales and zero points of 0, which the products of version 1 assume."""
    for q in quants:
        require(q.axis is None and q.zero_point == 0, f"{name} (scales)", "must be per tensor with zero point 0", q)


def onnx_body(b: Body, a: Sym, b_: Sym) -> Sym:
    # int32 products are exact modulo 2**32 in both runtimes; MatMulInteger may saturate on processors without VNNI.
    return b.emit("MatMul", b.cast(a, "int32"), b.cast(b_, "int32"))


def accumulate(y: Wide, ctx: Context) -> Ints:
    """An exact accumulator as int32."""
    return narrow(ctx.fit(y, "int32", "accumulator"), "int32")


@op("MatMul", infer=infer, onnx_body=onnx_body, quant=quant)
def matmul(a: Ints, b: Ints, /, *, alpha: float, ctx: Context = STRICT) -> Ints:
    """``a @ b``, the int32 accumulators."""
    return accumulate(np.matmul(widen(a), widen(b)), ctx)
