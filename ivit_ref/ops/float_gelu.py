"""FloatGELU: GELU in floating point, element by element, rounded to integers.

Semantics, for each element x; a step of x is worth ``scale``
    phi = (1 + erf(scale * x / sqrt(2))) / 2         a real number: the normal distribution function
    y   = x * phi * 2**(out_bits - 1)                half to even

One step of y is worth ``scale * 2**-(out_bits - 1)``, as in ShiftGELU. This is the baseline that integer methods are
measured against: float functions between integer linear layers. It computes in floats, so a graph must allow it (V7), and
it is no part of an integer-only model.

Float64 is enough. x and the power of two are exact, phi is at most 1 and off by less than 2**-46 (the series of the ONNX
body; the error function of a C library by less than 2**-51), so y, which is at most 2**30, is off by less than 2**-16 of a
step, and for int8 and out_bits = 8 by less than 2**-32. That changes no rounding unless the exact value lies as near as
that to a tie. No exact value but that of x = 0 is one: the error function is transcendental at every other algebraic number
(Siegel, Shidlovskii).

The ONNX body has erf(u) = 2 / sqrt(pi) * exp(-u**2) * sum of 2**k * u**(2k + 1) / (2k + 1)!!, of which no term is negative,
for u up to 6, and 1 beyond, where 1 - erf(u) is below 2**-55; it computes each code between the least and the greatest x
once.

Properties
    (P1) y lies between 0 and x * 2**(out_bits - 1)
    (P2) from x = 0 on y does not fall; below, it falls and then rises again, once
    (P3) y(x) - y(-x) is x * 2**(out_bits - 1) exactly: what the one loses in rounding, the other gains

Sources
    NVIDIA/FasterTransformer, INT8 modes of BERT and ViT: kernels that dequantize, compute in floats and quantize;
    arXiv 1606.08415 (GELU); the grid is ShiftGELU's

Constraints
    (C1) x is int8 or int16
    (C2) scale is a float32, and 2**-126 <= scale <= 2**126
    (C3) 2 <= out_bits <= 16
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, from_float, narrow, widen
from ivit_ref.ir import Attribute, Quant, TensorType
from ivit_ref.ops.float_softmax import check_grid, onnx_reals, onnx_steps, scale_of
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

ENDS_AT = 6.0
TERMS = 120
"""Of the series: at u = 6 the next one is below 2**-80 of the sum."""


def infer(x: TensorType, *, scale: float, out_bits: int) -> TensorType:
    """int32, in the shape of x."""
    require_dtype("FloatGELU (C1)", "x", x, "int8", "int16")
    check_grid("FloatGELU (C2)", "FloatGELU (C3)", scale, out_bits)
    return TensorType("int32", x.shape)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """S * 2**-(out_bits - 1)."""
    x = quants[0]
    require(x is None or x.zero_point == 0, "FloatGELU (scales)", "x must have zero point 0", x)
    return x and Quant(dyadic.product(x.scale, dyadic.power_of_two(1 - attributes["out_bits"])))


def follows(
    quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: Mapping[str, Attribute]
) -> dict[str, Attribute]:
    """``scale``: what a step of x is worth."""
    return scale_of("FloatGELU (scales)", quants[0])


def onnx_body(b: Body, x: Sym) -> Sym:
    x = b.widen(x)
    flat = b.cast(b.emit("Reshape", x, b.ints([-1])), "int32")
    low, high = (b.widen(b.emit(name, flat, keepdims=0)) for name in ("ReduceMin", "ReduceMax"))
    codes = b.emit("Range", low, high + 1, 1)
    erf = _onnx_erf(b, b.emit("Div", onnx_reals(b, codes), b.float64(math.sqrt(2))))
    phi = b.emit("Div", erf + b.float64(1.0), b.float64(2.0))
    y = onnx_steps(b, b.to_float64(codes) * phi)
    return b.cast(b.emit("Gather", y, x - low), "int32")


def _onnx_erf(b: Body, u: Sym) -> Sym:
    size, end = b.emit("Abs", u), b.float64(ENDS_AT)
    inside = b.where(size < end, size, end)
    odd = range(1, 2 * TERMS, 2)
    powers = b.emit("Pow", b.emit("Unsqueeze", inside, b.ints([-1])), b.float64([float(n) for n in odd]))
    double_factorials = [math.prod(range(1, n + 1, 2)) for n in odd]
    terms = powers * b.float64([2**k / f for k, f in enumerate(double_factorials)])
    total = b.emit("ReduceSum", terms, b.ints([-1]), keepdims=0)
    series = b.float64(2 / math.sqrt(math.pi)) * b.emit("Exp", -(inside * inside)) * total
    return b.emit("Sign", u) * b.where(size < end, series, b.float64(1.0))


@op("FloatGELU", infer=infer, onnx_body=onnx_body, quant=quant, follows=follows, floats=True)
def float_gelu(x: Ints, /, *, scale: float, out_bits: int, ctx: Context = STRICT) -> Ints:
    """``x * phi(scale * x)``, int32 in the shape of x; phi has a step of ``2**-(out_bits - 1)``."""
    codes, places = np.unique(widen(x), return_inverse=True)
    phi = np.array([(1 + math.erf(scale * code / math.sqrt(2))) / 2 for code in codes.tolist()])
    y = from_float(np.rint(codes * phi * 2 ** (out_bits - 1)))
    return narrow(y[places].reshape(x.shape), "int32")
