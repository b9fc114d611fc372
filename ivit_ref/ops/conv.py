"""Conv: a 2-D convolution with an int32 bias.

Semantics, as ONNX defines Conv; x is padded with zeros
    y[n, o, i, j] = bias[o] + sum over c, u, v of
                    x[n, g*C/G + c, i*strides[0] + u*dilations[0], j*strides[1] + v*dilations[1]] * weight[o, c, u, v]

for the group g = o / (O/G) of G = ``group``. The accumulator must fit int32 (or wraps). One step of y[:, o] is worth
``S_x * S_weight[o]``, and the bias comes in the same steps. A patch embedding is the case of strides equal to the kernel.

Sources
    ONNX, operator Conv; zkkli/I-ViT models/quantization_utils/quant_modules.py, ``QuantConv2d``

Constraints
    (C1) x is int8, uint8, int16 or int32, weight is int8 or int16, bias is int32
    (C2) x is [N, C, H, W] with known C, H and W; weight is [O, C/group, u, v]; bias is [O]; group divides C and O
    (C3) strides and dilations are two positive integers, pads four non-negative ones (top, left, bottom, right)
    (C4) the dilated kernel fits into the padded image
    (C5) where x is int32, C/group * u * v is at most 2**16: no exact sum leaves int64
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, Wide, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.linear import product_quant
from ivit_ref.ops.matmul import FACTORS, accumulate, is_short
from ivit_ref.registry import Ref, op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

Pair = tuple[int, ...]

SIGN = 8
"""What keeps the third digit of a 16-bit weight positive: in its place 2**12 it is worth 2**15."""


def infer(
    x: TensorType, weight: TensorType, bias: TensorType, *, strides: Pair, pads: Pair, dilations: Pair, group: int
) -> TensorType:
    """int32[N, O, H', W']."""
    require_dtype("Conv (C1)", "x", x, *FACTORS)
    require_dtype("Conv (C1)", "weight", weight, "int8", "int16")
    require_dtype("Conv (C1)", "bias", bias, "int32")
    must = "the shapes must be [N, C, H, W], [O, C/group, u, v] and [O]"
    require(_shapes_match(x, weight, bias, group), "Conv (C2)", must, f"{x}, {weight}, {bias}, group {group}")
    counts = (len(strides), len(dilations), len(pads)) == (2, 2, 4)
    holds = counts and min(strides) >= 1 and min(dilations) >= 1 and min(pads) >= 0
    must = "strides and dilations must be two positive integers, pads four from 0 on"
    require(holds, "Conv (C3)", must, f"{strides}, {dilations}, {pads}")
    size = output_size(x.shape[2:], weight.shape[2:], strides, pads, dilations)
    require(min(size) >= 1, "Conv (C4)", "the dilated kernel must fit into the padded image", f"{weight} on {x}")
    holds = x.dtype != "int32" or is_short(prod(d for d in weight.shape[1:] if isinstance(d, int)))
    require(holds, "Conv (C5)", "C/group * u * v must be at most 2**16 for an int32 x", weight)
    return TensorType("int32", (x.shape[0], weight.shape[0], *size))


def output_size(image: Sequence[Any], kernel: Sequence[Any], strides: Pair, pads: Pair, dilations: Pair) -> tuple[int, int]:
    """H' and W'."""
    sizes = [(image[i] + pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1 for i in (0, 1)]
    return sizes[0], sizes[1]


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """S_x * S_weight in float32, along axis 1."""
    return product_quant("Conv", quants, 1)


def onnx_body(b: Body, x: Sym, weight: Sym, bias: Sym) -> Sym:
    # ConvInteger takes 8 bits, in some runtimes unsigned ones only, and may saturate sums of two products on processors without
    # VNNI. So x goes in as four digits of 8 bits (products count modulo 2**32), the weight as three of 6, the last of which
    # has the sign and is kept positive by a zero point. The digits of 0 are 0, which pads.
    geometry = {name: Ref(name) for name in ("strides", "pads", "dilations", "group")}
    zeros = [b.cast(b.ints(n), "uint8") for n in (0, 0, SIGN)]
    y = b.cast(b.ints(0), "int32")
    for x_digit, x_place in b.digits(x, 8, ("uint8",) * 4):
        for (w_digit, w_place), zero in zip(b.digits(b.widen(weight) + (SIGN << 12), 6, ("uint8",) * 3), zeros, strict=True):
            product = b.emit("ConvInteger", x_digit, w_digit, zeros[0], zero, **geometry)
            y = y + product * b.cast(b.ints(x_place * w_place), "int32")
    return y + b.emit("Unsqueeze", bias, b.ints([1, 2]))


@op("Conv", infer=infer, onnx_body=onnx_body, quant=quant)
def conv(
    x: Ints, weight: Ints, bias: Ints, /, *, strides: Pair, pads: Pair, dilations: Pair, group: int, ctx: Context = STRICT
) -> Ints:
    """The int32 accumulators [N, O, H', W']."""
    patches = unfold(widen(x), weight.shape[2:], strides, pads, dilations, group)
    kernels = widen(weight).reshape(group, weight.shape[0] // group, -1)
    y = np.matmul(kernels, patches)
    size = output_size(x.shape[2:], weight.shape[2:], strides, pads, dilations)
    return accumulate(y.reshape(x.shape[0], weight.shape[0], *size) + widen(bias)[:, None, None], ctx)


def unfold(x: Wide, kernel: Sequence[int], strides: Pair, pads: Pair, dilations: Pair, group: int) -> Wide:
    """The patches of x that the kernel meets: [N, group, C/group * u * v, H' * W']."""
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    span = tuple(dilations[i] * (kernel[i] - 1) + 1 for i in (0, 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(2, 3), subok=True)
    windows = windows[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    ordered = windows.transpose(0, 1, 4, 5, 2, 3)
    n, channels, u, v, height, width = ordered.shape
    patches: Wide = ordered.reshape(n, group, channels // group * u * v, height * width)
    return patches


def _shapes_match(x: TensorType, weight: TensorType, bias: TensorType, group: int) -> bool:
    if len(x.shape) != 4 or len(weight.shape) != 4 or bias.shape != weight.shape[:1] or group < 1:
        return False
    known = [d for d in (*x.shape[1:], *weight.shape) if isinstance(d, int)]
    if len(known) != 7:
        return False
    channels, _, _, outputs, per_group, _, _ = known
    return channels == per_group * group and outputs % group == 0
