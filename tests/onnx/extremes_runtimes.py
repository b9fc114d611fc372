"""Calls at the ends of every width and shift, of the operators of deployed runtimes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.testing.elements import Call

LOW, HIGH = -(2**31), 2**31 - 1
RESULTS = (("int8", 127), ("uint16", 0), ("int32", LOW))


def columns(values: list[int], multipliers: tuple[int, ...], shift: int, dtype: str, zero_point: int) -> Call:
    """The values in a column for each multiplier."""
    x = np.repeat(np.array(values, np.int32)[:, None], len(multipliers), axis=1)
    numbers = {"multiplier": multipliers, "shift": (shift,) * len(multipliers), "axis": 1}
    return (x,), {**numbers, "zero_point": zero_point, "dtype": dtype}


def gemmlowp_requantize_extremes() -> Iterator[Call]:
    multipliers = (-HIGH, -(2**30), -1, 0, 1, 2**30, HIGH)
    for shift in (0, 1, 30, 31, 32, 33, 62):
        for dtype, zero_point in RESULTS:
            yield columns([LOW, LOW + 1, LOW // 2, *range(-5, 6), HIGH // 2, HIGH], multipliers, shift, dtype, zero_point)


def tosa_rescale_extremes() -> Iterator[Call]:
    for shift in (2, 3, 31, 32, 33, 62):
        half = min(2 ** (shift - 1), 2**31)
        near = [v for v in range(-5, 6) if -half <= v < half]
        for dtype, zero_point in RESULTS:
            for double_round in (False, True):
                arrays, attributes = columns([-half, *near, half - 1], (0, 1, 2**30, HIGH), shift, dtype, zero_point)
                yield arrays, {**attributes, "double_round": double_round}


def tflite_softmax_extremes() -> Iterator[Call]:
    rows = np.array([[-128] * 511, [127] + [-128] * 510, list(range(-128, 127)) + [-128] * 256, [127] * 510 + [126]], np.int8)
    for dtype in ("int8", "int16"):
        for scale in (2.0**-25, 2.0**-10, 0.0625, 0.25, 31.0, 2.0**20):
            multiplier, left_shift, diff_min = dyadic.softmax_multiplier(scale)
            attributes: dict[str, Any] = {"multiplier": multiplier, "left_shift": left_shift, "diff_min": diff_min}
            yield (rows,), {**attributes, "dtype": dtype}
        for left_shift, diff_min in ((0, -31 * 2**26), (31, 0), (23, -248)):
            yield (rows[:, :7],), {"multiplier": HIGH, "left_shift": left_shift, "diff_min": diff_min, "dtype": dtype}
    yield (np.zeros(4095, np.int8),), {"multiplier": 0, "left_shift": 0, "diff_min": 0, "dtype": "int16"}


EXTREMES: dict[str, Callable[[], Iterator[Call]]] = {
    "GemmlowpRequantize": gemmlowp_requantize_extremes,
    "TosaRescale": tosa_rescale_extremes,
    "TFLiteSoftmax": tflite_softmax_extremes,
}
