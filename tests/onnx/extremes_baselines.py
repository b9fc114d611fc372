"""Extremes of L1LayerNorm, ITASoftmax and of softmax, GELU and LayerNorm in floats, for the two runtimes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Call = tuple[tuple[npt.NDArray[Any], ...], dict[str, Any]]


def rows(dtype: str) -> Iterator[npt.NDArray[Any]]:
    """Rows at the ends of a dtype: equal, alternating, one alone, and a mean at a tie."""
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    for row in (
        [low] * 8,
        [high] * 8,
        [low, high] * 4,
        [high] + [low] * 7,
        [0, 1] * 4,
        [0] * 7 + [1],
        [low],
        [0] * 40 + [high],
    ):
        yield np.array(row, dtype)


def layer_norms(*attributes: dict[str, Any]) -> Iterator[Call]:
    """With biases at the ends of int32, where o + bias wraps."""
    for dtype, bias in product(("int8", "uint8", "int16"), (0, -(2**31), 2**31 - 1)):
        for x in rows(dtype):
            for chosen in attributes:
                yield (x, np.full(x.shape, bias, np.int32)), chosen


def l1_layer_norm_extremes() -> Iterator[Call]:
    numbers = [(1, 0), (1, 62), (2**31 - 1, 0), (2**31 - 1, 62), (2**31 - 1, 33), (3, 2)]
    yield from layer_norms(*({"multiplier": m, "shift": s} for m, s in numbers))
    longest = np.tile(np.array([2**15 - 1, -(2**15)], np.int16), 2**15)
    yield (longest, np.zeros(2**16, np.int32)), {"multiplier": 2**31 - 1, "shift": 38}


def ita_softmax_extremes() -> Iterator[Call]:
    for block, shift in ((1, 0), (3, 0), (16, 0), (16, 5), (2**16, 7)):
        for x in rows("int8"):
            yield (np.stack([x, x[::-1]]),), {"block": block, "shift": shift}
        yield (np.arange(-128, 128, dtype=np.int8),), {"block": block, "shift": shift}
        yield (np.zeros(257, np.int8),), {"block": block, "shift": shift}


def float_softmax_extremes() -> Iterator[Call]:
    for dtype, scale in product(("int8", "uint8", "int16", "int32"), (2.0**-126, 2.0**-7, 1.0, 2.0**126)):
        for x in rows(dtype):
            yield (x,), {"scale": scale, "out_bits": 8, "dtype": "int8"}
            yield (x,), {"scale": scale, "out_bits": 16, "dtype": "int32"}
    yield (np.zeros(256, np.int8),), {"scale": 1.0, "out_bits": 8, "dtype": "uint8"}


def float_gelu_extremes() -> Iterator[Call]:
    for scale in (2.0**-126, 2.0**-7, 1.0, 2.0**126):
        for x in rows("int8"):
            yield (x,), {"scale": scale, "out_bits": 2}
            yield (x,), {"scale": scale, "out_bits": 16}
        yield (np.array([-(2**15), 2**15 - 1], np.int16),), {"scale": scale, "out_bits": 16}
    # Arguments just below 6, where the series has most terms that count, and where it ends.
    yield (np.arange(8400, 8560, dtype=np.int16),), {"scale": 2.0**-10, "out_bits": 16}


def float_layer_norm_extremes() -> Iterator[Call]:
    yield from layer_norms({})


BASELINES: dict[str, Callable[[], Iterator[Call]]] = {
    "L1LayerNorm": l1_layer_norm_extremes,
    "ITASoftmax": ita_softmax_extremes,
    "FloatSoftmax": float_softmax_extremes,
    "FloatGELU": float_gelu_extremes,
    "FloatLayerNorm": float_layer_norm_extremes,
}
