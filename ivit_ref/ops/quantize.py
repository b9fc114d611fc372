"""Quantize: real numbers to integers, at a graph's input.

Semantics, elementwise, in float32
    y = round(x * (1 / scale)) + zero_point  ``division`` reciprocal: 1 / scale is rounded to float32 first, as released
      = round(x / scale) + zero_point        ``division`` direct, as in ONNX
    y = saturate(y, dtype)

Ties go to even.

Properties
    (P1) y does not decrease with x
    (P2) what ``Dequantize`` makes of an integer of dtype with the same scale and zero point comes back as that integer

Sources
    zkkli/I-ViT models/quantization_utils/quant_utils.py, ``linear_quantize``; ONNX, operator QuantizeLinear

Constraints
    (C1) x is float32 and has no NaN and no infinity
    (C2) scale is a float32 from 2**-126 to 2**126
    (C3) zero_point is a value of dtype
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, from_float, narrow
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.requantize import check_zero_point
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

EdgeType = Literal["int8", "uint8", "int16", "uint16"]


def infer(x: TensorType, *, scale: float, zero_point: int, dtype: str, **_: Any) -> TensorType:
    """dtype, in the shape of x."""
    require_dtype("Quantize (C1)", "x", x, "float32")
    holds = 2.0**-126 <= scale <= 2.0**126 and dyadic.float32(scale) == scale
    require(holds, "Quantize (C2)", "scale must be a float32 from 2**-126 to 2**126", scale)
    check_zero_point("Quantize (C3)", zero_point, dtype)
    return TensorType(dtype, x.shape)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """The attribute ``scale``."""
    return Quant((attributes["scale"],), attributes["zero_point"])


def onnx_body(b: Body, x: Sym) -> Sym:
    one = b.emit("CastLike", b.ints(1), x)
    scale = b.attribute("scale")
    by_reciprocal = b.emit("Mul", x, b.emit("Div", one, scale))
    y = b.emit("Round", b.where(b.chosen("division", "direct"), b.emit("Div", x, scale), by_reciprocal))
    # Far beyond every dtype's bounds, and still exact as float32: the cast to int64 must not meet a huge float.
    y = b.emit("Clip", y, b.real(-(2.0**24)), b.real(2.0**24))
    return b.saturate_cast(b.widen(y) + b.attribute("zero_point"))


@op("Quantize", infer=infer, onnx_body=onnx_body, quant=quant)
def quantize(
    x: npt.NDArray[np.float32],
    /,
    *,
    scale: float,
    zero_point: int,
    dtype: EdgeType,
    division: Literal["reciprocal", "direct"],
    ctx: Context = STRICT,
) -> Ints:
    """``x / scale + zero_point``, rounded and saturated; dtype, in the shape of x."""
    finite = np.isfinite(x)
    require(finite.all(), "Quantize (C1)", "x must have no NaN and no infinity", str(x[~finite][:1]))
    step = np.float32(scale)
    with np.errstate(over="ignore"):  # an infinite quotient saturates like a large one
        rounded = np.rint(x / step if division == "direct" else x * (np.float32(1) / step))
    y = from_float(np.clip(rounded, -(2.0**24), 2.0**24)) + zero_point
    return narrow(ctx.saturate(y, dtype, "y"), dtype)
