"""ShiftMatMul: the product of codes that stand for powers of two, and integers: attention times values by shifts alone.

Semantics, as MatMul; N = 2**bits - 1, and a code stands for 2**-code, but 2**bits for 0, as LogIntSoftmax has it
    y = sum over k of v[..., k, j] << (N - codes[..., i, k])     nothing where the code is 2**bits; must fit int32 (or wraps)

One step of y is worth ``S_v * 2**-N * alpha``. ``alpha`` is a real factor that takes no part in the arithmetic, as in MatMul.
No digit of v is lost, as it would be in a shift to the right by the code: the sum is exact.

Sources
    arXiv 2111.13824, Log-Int-Softmax and its BitShift; megvii-research/FQ-ViT models/ptq/layers.py, ``QIntSoftmax`` (whose
    product with v is one of floats)

Constraints
    (C1) codes is uint8; v is int8, uint8 or int16
    (C2) both have two axes or more; the last of codes is as long as the last but one of v; the others broadcast
    (C3) 1 <= bits <= 4: from 5 on, the shift of 31 that a code of 0 asks for leaves no room in int32
    (C4) alpha is a finite, positive float32
    (C5) no code is above 2**bits: such a one was made with other bits
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.log_int_softmax import check_bits
from ivit_ref.ops.matmul import accumulate, product_shape, require_symmetric
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(codes: TensorType, v: TensorType, *, bits: int, alpha: float) -> TensorType:
    """int32, in the shape of the product."""
    require_dtype("ShiftMatMul (C1)", "codes", codes, "uint8")
    require_dtype("ShiftMatMul (C1)", "v", v, "int8", "uint8", "int16")
    shape = product_shape("ShiftMatMul (C2)", codes, v)
    check_bits("ShiftMatMul (C3)", bits)
    holds = math.isfinite(alpha) and alpha > 0 and dyadic.float32(alpha) == alpha
    require(holds, "ShiftMatMul (C4)", "alpha must be a finite, positive float32", alpha)
    return TensorType("int32", shape)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """S_v * 2**-N * alpha; for a per-tensor scale and a zero point of 0."""
    codes, v = quants
    require(codes is None, "ShiftMatMul (scales)", "codes must have no scale, since they are logarithms", codes)
    if v is None:
        return None
    require_symmetric("ShiftMatMul", v)
    return Quant(dyadic.product(v.scale, dyadic.power_of_two(1 - 2 ** attributes["bits"]), [attributes["alpha"]]))


def onnx_body(b: Body, codes: Sym, v: Sym) -> Sym:
    left = b.power_of_two(b.attribute("bits")) - 1 - b.widen(codes)
    factors = b.where(left < 0, 0, b.power_of_two(b.maximum(left, 0)))
    return b.emit("MatMul", b.cast(factors, "int32"), b.cast(v, "int32"))


@op("ShiftMatMul", infer=infer, onnx_body=onnx_body, quant=quant)
def shift_mat_mul(codes: Ints, v: Ints, /, *, bits: int, alpha: float, ctx: Context = STRICT) -> Ints:
    """Probabilities ``2**-codes`` times v in steps of ``2**-N``, the int32 accumulators."""
    wide = widen(codes)
    largest = int(wide.max())
    require(largest <= 2**bits, "ShiftMatMul (C5)", f"no code must be above 2**bits = {2**bits}", largest)
    left = 2**bits - 1 - wide
    # A shift to the left is a product with a power of two.
    factors = np.where(left < 0, 0, np.left_shift(1, np.maximum(left, 0)))
    return accumulate(np.matmul(factors, widen(v)), ctx)
