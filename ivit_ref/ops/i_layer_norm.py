"""ILayerNorm: LayerNorm along the last axis, with the gain folded into the scale and the bias into integers.

Semantics, for each row x of C elements; the scale of x drops out
    s   = sum of x                           must fit ``mean_bits`` (or wraps)
    mu  = s / C                              ``mean_rounding``: half_even, half_away or truncate
    y   = x - mu                             must fit ``mean_bits`` (or wraps)
    v   = sum of y**2                        must fit ``variance_bits``, unsigned at 32 (or wraps); not divided by C
    k   = IntSqrt(v)                         attributes sqrt_start, sqrt_steps
    F   = (2**31 - 1) / max(k, 1)            floor
    o   = (F * y) / 2                        F * y must fit ``product_bits`` (or wraps); ``halving``
    out = o + bias                           must fit int32 (or wraps)

One step of the result is worth ``gain * sqrt(C) / 2**30``, channel by channel (it may be negative), and the bias comes in the
same steps: ``bias = floor((beta / gain) / (sqrt(C) / 2**30))``. max(k, 1) matters where v is 0 and the start comes from the bit
length: for a row of equal numbers, where y is 0 throughout, and for a v that wrapped to 0.
With 17 bits of y and 31 of F, nothing on the way leaves int64.

Properties, without bias and where nothing wraps
    (P1) a number added to all of x, as long as dtype holds it, changes nothing where mu moves by that number: with half_even
         and half_away unless s / C is a tie, with truncate unless s / C is no integer and changes its sign. Elsewhere y
         moves by 1
    (P2) elements in another order give the same results in that order; x_i <= x_j gives o_i <= o_j; and o is 0 or has the
         sign of y
    (P3) abs(o) <= 2**30
    (P4) -x gives -o with ``halving`` truncate, and -o or -o - 1 with floor
    (P5) where k is within 1 of sqrt(v) > 0, o is within 1 + abs(y) / 2 + 2**30 / k of 2**30 * y / sqrt(v): a multiple of a row
         with an exact mean gives the same within both bounds

Sources
    arXiv 2207.01405, I-LayerNorm; zkkli/I-ViT models/quantization_utils/quant_modules.py, ``IntLayerNorm`` (half to even, wide,
    floor); TVM_benchmark/models/layers.py, ``quantized_layernorm`` (mean and subtraction in int16, squares summed in uint32,
    truncating)

Constraints
    (C1) x is int8, uint8 or int16, and has an axis of at most 2**16 elements to go along
    (C2) bias is int32[C]
    (C3) 0 <= sqrt_start <= 2**31
    (C4) 0 <= sqrt_steps <= 64, and sqrt_steps = 0 goes with sqrt_start = 0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, Wide, divide, narrow, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.int_sqrt import check_iteration, onnx_square_root, square_root
from ivit_ref.ops.shiftmax import check_row
from ivit_ref.profiles import MeanRounding
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

NUMERATOR = 2**31 - 1


def infer(x: TensorType, bias: TensorType, *, sqrt_start: int, sqrt_steps: int, **_: Any) -> TensorType:
    """int32, in the shape of x."""
    check_tensors("ILayerNorm (C1)", "ILayerNorm (C2)", x, bias)
    check_iteration("ILayerNorm (C3)", "ILayerNorm (C4)", sqrt_start, sqrt_steps)
    return TensorType("int32", x.shape)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """The scale of the bias, which holds the folded gain; one scale must serve the whole row of x."""
    return quant_of_bias("ILayerNorm (scales)", quants, types)


def quant_of_bias(rule: str, quants: Sequence[Quant | None], types: Sequence[TensorType]) -> Quant | None:
    """``quant``, for every LayerNorm with the gain folded into the scale of its bias."""
    x, bias = quants
    require(x is None or x.axis is None, rule, "x must have one scale", x)
    require(bias is None or bias.zero_point == 0, rule, "the bias must have zero point 0", bias)
    return bias and Quant(bias.scale, axis=None if bias.axis is None else len(types[0].shape) - 1)


def check_tensors(c1: str, c2: str, x: TensorType, bias: TensorType) -> None:
    """C1 and C2, which every LayerNorm with a folded gain shares."""
    require_dtype(c1, "x", x, "int8", "uint8", "int16")
    check_row(c1, x)
    require(bias == TensorType("int32", x.shape[-1:]), c2, f"bias must be int32[{x.shape[-1]}]", bias)


def onnx_body(b: Body, x: Sym, bias: Sym) -> Sym:
    x = b.widen(x)
    length = b.emit("Gather", b.emit("Shape", x), -1)
    narrow_mean = b.attribute("mean_bits").equals(16)
    s = b.wrap_if(narrow_mean, b.row_sum(x), "int16")
    y = b.wrap_if(narrow_mean, x - b.divide(s, length, "mean_rounding"), "int16")
    v = b.wrap_if(b.attribute("variance_bits").equals(32), b.row_sum(y * y), "uint32")
    k = onnx_square_root(b, v, "sqrt_start", "sqrt_steps")
    factor = b.floor_divide(b.ints(NUMERATOR), b.maximum(k, 1))
    product = b.wrap_if(b.attribute("product_bits").equals(32), factor * y, "int32")
    o = b.divide(product, 2, "halving")
    return b.cast(b.wrap(o + b.widen(bias), "int32"), "int32")


@op("ILayerNorm", infer=infer, onnx_body=onnx_body, quant=quant)
def i_layer_norm(
    x: Ints,
    bias: Ints,
    /,
    *,
    mean_rounding: MeanRounding,
    mean_bits: Literal[16, 64],
    variance_bits: Literal[32, 64],
    sqrt_start: int,
    sqrt_steps: int,
    product_bits: Literal[32, 64],
    halving: Literal["floor", "truncate"],
    ctx: Context = STRICT,
) -> Ints:
    """``(x - mean) / sqrt(sum of squares)`` in units of 2**-30, plus bias; int32 in the shape of x."""
    y = deviation(widen(x), ctx, mean_rounding, mean_bits)
    v = np.sum(y * y, axis=-1, keepdims=True)
    if variance_bits == 32:
        v = ctx.fit(v, "uint32", "sum of squares")
    k = square_root(v, ctx, "root", start=sqrt_start, steps=sqrt_steps)
    factor = NUMERATOR // np.maximum(k, 1)
    product = y * factor
    if product_bits == 32:
        product = ctx.fit(product, "int32", "F * y")
    o = divide(product, 2, halving)
    return narrow(ctx.fit(o + widen(bias), "int32", "o + bias"), "int32")


def deviation(x: Wide, ctx: Context, mean_rounding: MeanRounding, mean_bits: int) -> Wide:
    """``y``: x less the rounded mean of its row."""
    s = ctx.fit(x.sum(axis=-1, keepdims=True), f"int{mean_bits}", "sum of x")
    mu = divide(s, x.shape[-1], mean_rounding)
    return ctx.fit(x - mu, f"int{mean_bits}", "x - mean")
