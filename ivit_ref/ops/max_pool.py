"""MaxPool: the largest element under a window that moves over an image.

Semantics, as ONNX defines MaxPool; places outside the image take no part
    y[n, c, i, j] = max over u, v of x[n, c, i*strides[0] + u*dilations[0] - pads[0], j*strides[1] + v*dilations[1] - pads[1]]

for u below kernel_shape[0] and v below kernel_shape[1]. A step of y is worth what a step of x is.

Sources
    ONNX, operator MaxPool

Constraints
    (C1) x is int8 or uint8, [N, C, H, W] with known C, H and W
    (C2) kernel_shape, strides and dilations are two positive integers, pads four non-negative ones (top, left, bottom, right)
    (C3) no pad is as long as the dilated kernel, which fits into the padded image
    (C4) no dilation is longer than the image, which a window would step over
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import BOUNDS, Ints
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.conv import Pair, output_size
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym


def infer(x: TensorType, *, kernel_shape: Pair, strides: Pair, pads: Pair, dilations: Pair) -> TensorType:
    """[N, C, H', W'] of the dtype of x."""
    require_dtype("MaxPool (C1)", "x", x, "int8", "uint8")
    known = [d for d in x.shape[1:] if isinstance(d, int)]
    require(len(x.shape) == 4 and len(known) == 3, "MaxPool (C1)", "x must be [N, C, H, W] with known C, H and W", x)
    counts = (len(kernel_shape), len(strides), len(dilations), len(pads)) == (2, 2, 2, 4)
    holds = counts and min(*kernel_shape, *strides, *dilations) >= 1 and min(pads) >= 0
    must = "kernel_shape, strides and dilations must be two positive integers, pads four from 0 on"
    require(holds, "MaxPool (C2)", must, f"{kernel_shape}, {strides}, {dilations}, {pads}")
    spans = [dilations[i] * (kernel_shape[i] - 1) + 1 for i in (0, 1)]
    size = output_size(known[1:], kernel_shape, strides, pads, dilations)
    holds = min(size) >= 1 and all(pads[i] < spans[i % 2] for i in range(4))
    must = f"pads must be below the dilated kernel {spans}, which must fit into the padded image"
    require(holds, "MaxPool (C3)", must, f"pads {pads} on {x}")
    holds = all(dilations[i] <= known[i + 1] for i in (0, 1))
    require(holds, "MaxPool (C4)", "no dilation may be longer than the image", f"dilations {dilations} on {x}")
    return TensorType(x.dtype, (*x.shape[:2], *size))


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """That of x, whose scale must be one, or go along the channels, and be positive."""
    x = quants[0]
    holds = x is None or (x.axis in (None, 0, 1) and min(x.scale) > 0)
    require(holds, "MaxPool (scales)", "the scales must be positive and not go along the image", x)
    return x


def onnx_body(b: Body, x: Sym) -> Sym:
    # Not by MaxPool: onnx's evaluator pads integers with NaN, and ONNX Runtime measures pads by the kernel without dilation.
    return b.emit("CastLike", _onnx_along(b, _onnx_along(b, b.widen(x), 0), 1), x)


def _onnx_along(b: Body, x: Sym, i: int) -> Sym:
    """The largest under the windows along one axis of the image: taken by their places, then reduced."""
    kernel, stride, dilation = (b.emit("Gather", b.attribute(name), i) for name in ("kernel_shape", "strides", "dilations"))
    before, after = (b.emit("Gather", b.attribute("pads"), k) for k in (i, i + 2))
    length = b.emit("Gather", b.emit("Shape", x), i + 2)
    count = b.emit("Div", length + before + after - dilation * (kernel - 1) - 1, stride) + 1
    starts = b.emit("Range", 0, count, 1) * stride - before
    places = b.emit("Unsqueeze", starts, b.ints([1])) + b.emit("Range", 0, kernel, 1) * dilation
    inside = (places >= 0) & (places < length)
    taken = b.emit("Gather", x, b.where(inside, places, 0), axis=i + 2)
    inside = b.emit("Unsqueeze", inside, b.ints([2])) if i == 0 else inside
    return b.emit("ReduceMax", b.where(inside, taken, BOUNDS["int8"][0]), b.ints([i + 3]), keepdims=0)


@op("MaxPool", infer=infer, onnx_body=onnx_body, quant=quant)
def max_pool(x: Ints, /, *, kernel_shape: Pair, strides: Pair, pads: Pair, dilations: Pair, ctx: Context = STRICT) -> Ints:
    """The largest elements, [N, C, H', W'] of the dtype of x."""
    lowest = BOUNDS[str(x.dtype)][0]
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])), constant_values=lowest)
    span = tuple(dilations[i] * (kernel_shape[i] - 1) + 1 for i in (0, 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(2, 3), subok=True)
    windows = windows[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    y: Ints = windows.max(axis=(4, 5))
    return y
