"""The code of I-BERT and FQ-ViT as published: constants as torch's float32 makes them, all else in float64; and its inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Reals = npt.NDArray[np.float64]


def over(number: float, tensor: np.float32) -> int:
    """floor(number / tensor), as torch divides: by the reciprocal."""
    return math.floor(np.float32(1) / tensor * np.float32(number))


def i_exp(x: Array, scale: float, n: int = 30) -> tuple[Reals, int]:
    """I-BERT's exponentials of the rows of x, in float64, and the one of 0 without its 2**n."""
    step = np.float32(scale)
    x0, b = over(-0.6931, step), over(0.96963238 / 0.35815147, step)
    c = over(1 / 0.35815147, step * step)
    d = np.maximum(np.float64(x) - x.max(axis=-1, keepdims=True), n * x0)
    q = np.floor(d / x0)
    r = d - x0 * q
    return np.maximum(np.floor((r * (r + b) + c) * 2.0 ** (n - q)), 0), c


def softmax(x: Array, scale: float) -> Reals:
    """The real function."""
    e = np.exp((np.float64(x) - x.max(axis=-1, keepdims=True)) * scale)
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def normal_rows(rows: int, length: int, deviation: float, seed: int = 0) -> Array:
    """int8 logits of a normal distribution."""
    drawn = np.random.default_rng(seed).normal(0, deviation, (rows, length))
    return np.clip(np.rint(drawn), -128, 127).astype("int8")


def float32(scale: float) -> float:
    return float(np.float32(scale))
