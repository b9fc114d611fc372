"""What ONNX says of its operators, in exact arithmetic: arrays of fractions, rounded half to even where it rounds."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Exact: TypeAlias = npt.NDArray[np.object_]
"""Fractions, or Python integers."""

BOUNDS = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int32": (-(2**31), 2**31 - 1),
}
HALF = Fraction(1, 2)


def exact(numbers: npt.ArrayLike) -> Exact:
    """Any numbers as fractions, without rounding."""
    array = np.asarray(numbers)
    result = np.empty(array.shape, object)
    for place in np.ndindex(array.shape):
        result[place] = Fraction(array[place].item())
    return result


def along(numbers: npt.ArrayLike, axis: int | None, rank: int) -> Exact:
    """Scales or zero points, in the shape that broadcasts along an axis."""
    array = exact(numbers)
    return array if axis is None else array.reshape([-1] + [1] * (rank - axis % rank - 1))


def dequantized(codes: Array, scale: npt.ArrayLike, zero_point: npt.ArrayLike = 0, axis: int | None = None) -> Exact:
    """DequantizeLinear: (x - zero_point) * scale."""
    zero = along(zero_point, axis if np.ndim(zero_point) else None, codes.ndim)
    real: Exact = (exact(codes) - zero) * along(scale, axis, codes.ndim)
    return real


def quantized(real: Exact, scale: npt.ArrayLike, zero_point: npt.ArrayLike, dtype: str, axis: int | None = None) -> Array:
    """QuantizeLinear: saturate(round(x / scale) + zero_point), ties to even."""
    steps = np.asarray(real / along(scale, axis, real.ndim))
    zero = np.broadcast_to(along(zero_point, axis if np.ndim(zero_point) else None, real.ndim), steps.shape)
    low, high = BOUNDS[dtype]
    result = np.empty(steps.shape, dtype)
    for place in np.ndindex(steps.shape):
        result[place] = min(max(round(steps[place]) + int(zero[place]), low), high)
    return result


def assert_quantized(
    got: Array, real: Exact, scale: float, zero_point: int, dtype: str, *, noise: float = 2.0**-20, extra: float = 0.0
) -> None:
    """Integers are those of QuantizeLinear; where steps lie that close to a tie, relatively, the other neighbour is right too.

    ``noise`` is what float32 scales lose, relative to the steps; ``extra`` is in steps. Both 0: ties count as well.
    """
    want = quantized(real, scale, zero_point, dtype)
    assert (str(got.dtype), got.shape) == (dtype, want.shape)
    ties = 0
    for place in zip(*np.nonzero(got != want), strict=True) if got.ndim else [()] * int(got != want):
        steps = real[place] / Fraction(float(scale))
        distance = abs(steps - (steps.__floor__() + HALF))
        close = distance <= (abs(steps) + 1) * Fraction(noise) + Fraction(extra)
        assert close, f"{place}: {float(steps)} steps are {want[place]}, but found {got[place]}"
        assert abs(int(got[place]) - int(want[place])) <= 1
        ties += 1
    assert ties <= 2 + got.size // 20


def matmul(a: Exact, b: Exact) -> Exact:
    """MatMul, which NumPy does on fractions too."""
    return np.asarray(np.matmul(a, b))


def conv(
    x: Exact,
    w: Exact,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
) -> Exact:
    """Conv of images: real zeros around them."""
    n, channels, *_ = x.shape
    outputs, inputs, *kernel = w.shape
    x = padded(x, pads, Fraction(0))
    size = windows(x.shape[2:], kernel, strides, dilations)
    y = np.full((n, outputs, *size), Fraction(0), object)
    for i, j in product(*map(range, kernel)):
        part = window(x, (i, j), size, strides, dilations)
        for m in range(outputs):
            first = m // (outputs // group) * inputs
            for c in range(inputs):
                y[:, m] += part[:, first + c] * w[m, c, i, j]
    assert channels == inputs * group
    return y


def max_pool(
    x: Exact,
    kernel: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    ceil_mode: int = 0,
) -> Exact:
    """MaxPool: what is padded never wins; with ceil_mode no window starts behind the image and its first pad."""
    shape = x.shape[2:]
    size = list(windows([d + pads[i] + pads[i + 2] for i, d in enumerate(shape)], kernel, strides, dilations))
    if ceil_mode:
        for i in (0, 1):
            rest = shape[i] + pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) - 1
            size[i] = -(-rest // strides[i]) + 1
            size[i] -= (size[i] - 1) * strides[i] >= shape[i] + pads[i]
    more = [max((size[i] - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 - shape[i] - pads[i], 0) for i in (0, 1)]
    x = padded(x, (*pads[:2], *more), Fraction(-(10**9)))
    y = np.full((*x.shape[:2], *size), Fraction(-(10**9)), object)
    for i, j in product(*map(range, kernel)):
        y = np.maximum(y, window(x, (i, j), size, strides, dilations))
    return y


def padded(x: Exact, pads: Sequence[int], value: Fraction) -> Exact:
    """An image with pads at top, left, bottom, right."""
    top, left, bottom, right = pads
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)  # type: ignore[call-overload, no-any-return]


def windows(shape: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
    """How many windows there are."""
    return tuple((shape[i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1 for i in (0, 1))


def window(x: Exact, at: Sequence[int], size: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Exact:
    """One place of every window."""
    rows, columns = (
        slice(at[i] * dilations[i], at[i] * dilations[i] + (size[i] - 1) * strides[i] + 1, strides[i]) for i in (0, 1)
    )
    return x[:, :, rows, columns]


def same_pads(
    shape: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], *, upper: bool
) -> tuple[int, ...]:
    """auto_pad: as many windows as strides fit into the image; an odd pad goes to the end, or to the beginning."""
    needed = [
        max(((shape[i] + strides[i] - 1) // strides[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - shape[i], 0)
        for i in (0, 1)
    ]
    small, large = [n // 2 for n in needed], [n - n // 2 for n in needed]
    return (*small, *large) if upper else (*large, *small)


def mean(x: Exact, axes: Sequence[int] | None, keepdims: int = 1) -> Exact:
    """ReduceMean."""
    over = tuple(range(x.ndim)) if axes is None else tuple(a % x.ndim for a in axes)
    return np.asarray(x.sum(axis=over, keepdims=bool(keepdims)) / Fraction(prod(x.shape[a] for a in over)), object)
