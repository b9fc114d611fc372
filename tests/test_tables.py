"""TFLite's GELU table: against the C library's erf, exp and erfc in float64, and the compiled source."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from ivit_ref.dyadic import float32
from ivit_ref.errors import ScaleError
from ivit_ref.ops import lookup
from ivit_ref.tables import tflite_gelu_table


def real_gelu(x: float, approximate: bool) -> float:
    """In float64, whose error is below 1e-15 of the result or so, by functions that the table does not use."""
    if approximate:
        return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * math.erfc(-x / math.sqrt(2))


def expected(scales: tuple[float, int, float, int], low: int, approximate: bool) -> list[int | None]:
    """Each entry; None where a quotient lies so near a half that float64 does not tell."""
    input_scale, input_zero_point, output_scale, output_zero_point = scales
    inverse = np.float32(1) / np.float32(output_scale)
    found: list[int | None] = []
    for v in range(low, low + 256):
        x = float(np.float32(input_scale) * np.float32(v - input_zero_point))
        gelu = real_gelu(x, approximate)
        steps = {float(np.float32(gelu * (1 + e)) * inverse) for e in (-1e-12, 0.0, 1e-12)}
        rounded = {math.floor(abs(s) + 0.5) * (1 if s > 0 else -1) for s in steps}
        held = {min(max(r + output_zero_point, low), low + 255) for r in rounded}
        found.append(held.pop() if len(held) == 1 else None)
    return found


def usual_scales() -> Iterator[tuple[float, int, float, int]]:
    rng = np.random.default_rng(0)
    for _ in range(16):
        input_scale = float32(rng.uniform(0.002, 0.2))
        output_scale = float32(input_scale * rng.uniform(0.2, 1.2))
        yield input_scale, int(rng.integers(-128, 128)), output_scale, int(rng.integers(-128, 128))
    for k in range(2, 10, 2):  # where quotients are ties: GELU(x) is x far from 0
        yield 2.0**-k, 0, 2.0 ** (1 - k), 0


@pytest.mark.parametrize("approximate", [False, True])
def test_tflite_gelu_table_equals_float64(approximate: bool) -> None:
    told = 0
    for scales in usual_scales():
        for dtype, low in (("int8", -128), ("uint8", 0)):
            moved = (scales[0], scales[1] - (-128 - low), scales[2], scales[3] - (-128 - low))
            table = tflite_gelu_table(*moved, dtype=dtype, approximate=approximate)  # type: ignore[arg-type]
            wanted = expected(moved, low, approximate)
            assert table.dtype == dtype
            assert all(w is None or w == t for w, t in zip(wanted, table.tolist(), strict=True))
            told += sum(w is not None for w in wanted)
    assert told > 0.999 * 20 * 2 * 256


def test_tflite_gelu_table_rounds_half_away_from_zero_and_clamps() -> None:
    """Steps of 1 to steps of 2 where GELU is x: 9/2 becomes 5; and 127 steps of 1/4 in steps of 1/8 are clamped."""
    coarse = tflite_gelu_table(1.0, 0, 2.0, 0, "int8", approximate=False)
    assert coarse[128 + 9 : 128 + 14].tolist() == [5, 5, 6, 6, 7]
    assert coarse[:100].tolist() == [0] * 100
    fine = tflite_gelu_table(0.25, 0, 0.125, 3, "int8", approximate=True)
    assert fine[128 + 60 :].tolist() == [min(2 * v + 3, 127) for v in range(60, 128)]


@pytest.mark.parametrize(("approximate", "steps"), [(False, -81), (True, -73)])
def test_tflite_gelu_table_has_both_forms(approximate: bool, steps: int) -> None:
    """GELU(-3) is -0.0040497, and -0.0036374 by tanh: 81 and 73 steps of 5e-5."""
    table = tflite_gelu_table(1.0, 0, 5e-5, 0, "int8", approximate=approximate)
    assert int(table[128 - 3]) == steps


@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize(("steps", "expected"), [(100.49, -100), (100.51, -101)])
def test_tflite_gelu_table_tells_a_ten_thousandth(approximate: bool, steps: float, expected: int) -> None:
    table = tflite_gelu_table(1.0, 0, -real_gelu(-3.0, approximate) / steps, 0, "int8", approximate=approximate)
    assert int(table[128 - 3]) == expected


def test_tflite_gelu_table_is_a_table_of_lookup() -> None:
    table = tflite_gelu_table(0.05, 3, 0.04, -100, "int8", approximate=False)
    x = np.array([3, -128, 127], np.int8)
    assert lookup(x, table, low=-128).tolist() == [-100, -100, table[-1]]


def test_tflite_gelu_table_of_enormous_steps_is_clamped() -> None:
    table = tflite_gelu_table(2.0**127, 0, 2.0**-126, 0, "uint8", approximate=False)
    assert table.tolist() == [0] + [255] * 255


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e-40])
def test_tflite_gelu_table_refuses_scales(scale: float) -> None:
    for name, scales in (("input_scale", (scale, 1.0)), ("output_scale", (1.0, scale))):
        with pytest.raises(ScaleError, match=rf"^tflite_gelu_table: {name} must be finite and at least 2\*\*-126, but found "):
            tflite_gelu_table(scales[0], 0, scales[1], 0, "int8", approximate=False)


def test_tflite_gelu_table_refuses_zero_points_and_dtypes() -> None:
    with pytest.raises(ScaleError, match=r"^tflite_gelu_table: input_zero_point must be a value of int8, but found 128$"):
        tflite_gelu_table(1.0, 128, 1.0, 0, "int8", approximate=False)
    with pytest.raises(ScaleError, match=r"^tflite_gelu_table: output_zero_point must be a value of uint8, but found -1$"):
        tflite_gelu_table(1.0, 0, 1.0, -1, "uint8", approximate=False)
    with pytest.raises(ScaleError, match=r"^tflite_gelu_table: dtype must be int8 or uint8, but found 'int16'$"):
        tflite_gelu_table(1.0, 0, 1.0, 0, "int16", approximate=False)  # type: ignore[arg-type]
