from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ivit_ref import dyadic, scales
from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Context, Event
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import gemmlowp_requantize, requantize, tosa_rescale
from ivit_ref.testing.calls_runtimes import CALLS
from ivit_ref.testing.elements import Call, between
from tests.agreement import assert_agrees

QUARTER: dict[str, Any] = {"multiplier": (2**30,), "shift": (32,), "axis": 0, "zero_point": 0, "dtype": "int32"}
COLUMN = [1, -1, 2, -2, 3, -3, 5, -5, 7, -7, 1000, -1000, 2**31 - 1, -(2**31)]


def scaled(*values: int, multiplier: int, shift: int) -> list[int]:
    x = np.array(values, np.int32)
    result: list[int] = gemmlowp_requantize(x, **{**QUARTER, "multiplier": (multiplier,), "shift": (shift,)}).tolist()
    return result


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(CALLS["GemmlowpRequantize"])
def test_gemmlowp_requantize_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("GemmlowpRequantize", call)


@pytest.mark.parametrize(
    ("multiplier", "shift", "expected"),
    [
        (2**30, 32, [1, 0, 1, -1, 1, -1, 2, -1, 2, -2, 250, -250, 2**29, -(2**29)]),
        (-(2**30), 32, [0, 1, -1, 1, -1, 1, -1, 2, -2, 2, -250, 250, -(2**29), 2**29]),
        (2**30, 34, [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 63, -63, 2**27, -(2**27)]),
        (-(2**30), 34, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, -63, 63, -(2**27), 2**27]),
        (1431655765, 33, [0, 0, 0, 0, 1, -1, 1, -1, 1, -1, 167, -167, 357913941, -357913941]),
        (-1431655765, 62, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, 1]),
        (2**31 - 1, 31, [1, -1, 2, -2, 3, -3, 5, -5, 7, -7, 1000, -1000, 2**31 - 2, -(2**31) + 1]),
    ],
)
def test_gemmlowp_requantize_gives_what_the_compiled_source_gives(multiplier: int, shift: int, expected: list[int]) -> None:
    """tensorflow/tflite-micro at 90b983c, ``MultiplyByQuantizedMultiplier(x, multiplier, 31 - shift)``, built with g++."""
    assert scaled(*COLUMN, multiplier=multiplier, shift=shift) == expected


def test_gemmlowp_requantize_shifts_left_for_a_factor_of_one_and_more() -> None:
    assert scaled(1, -1, 1000, -(2**30), multiplier=2**30, shift=30) == [1, -1, 1000, -(2**30)]
    assert scaled(3, -3, multiplier=3, shift=2) == [2, -2]  # 9/4
    assert scaled(0, -1, multiplier=3, shift=0) == [0, -3]  # -2**31 is the only number that such a shift leaves beside 0


# --- Properties


@given(st.integers(-(2**31) + 1, 2**31 - 1), st.integers(31, 62), between(-(2**31), 2**31 - 2))
def test_gemmlowp_requantize_p1_p3_is_monotone_and_within_its_bound(multiplier: int, shift: int, x: int) -> None:
    first, second = scaled(x, x + 1, multiplier=multiplier, shift=shift)
    assert first <= second if multiplier >= 0 else first >= second
    bound = Fraction(1, 2) + (Fraction(2) ** (30 - shift) if shift > 31 else 0)
    assert abs(first - Fraction(x * multiplier, 2**shift)) <= bound


@pytest.mark.parametrize("k", range(2, 32))
def test_gemmlowp_requantize_p3_by_a_power_of_two_takes_the_number_below_the_tie_up(k: int) -> None:
    below = 2 ** (k - 1) - 1
    multiplier, shift = dyadic.from_real(2.0**-k)
    assert scaled(below, -below, multiplier=multiplier, shift=shift) == [1, 0]
    if k > 2:
        assert scaled(below - 1, multiplier=multiplier, shift=shift) == [0]


def test_gemmlowp_requantize_p3_reaches_its_bound_of_three_quarters() -> None:
    """1 * 1/4 gives 1; there is no smaller x, and no factor from 1/2 to 1 is rounded twice."""
    assert scaled(1, multiplier=2**30, shift=32) == [1]
    assert scaled(1, multiplier=1288490189, shift=32) == [1]  # 0.3


def test_gemmlowp_requantize_p4_by_the_negative_is_not_the_negative() -> None:
    """1/2 rounds up to 1, and 1/2 away from zero to 1; -1/2 rounds up to 0."""
    assert [scaled(1, multiplier=m, shift=32) for m in (2**30, -(2**30))] == [[1], [0]]


@given(st.integers(0, 2**31 - 1), st.integers(2, 62), st.data())
def test_gemmlowp_requantize_p5_equals_tosa_with_two_roundings(multiplier: int, shift: int, data: st.DataObject) -> None:
    half = min(2 ** (shift - 1), 2**31)
    x = np.array(data.draw(st.lists(between(-half, half - 1), min_size=1, max_size=8)), np.int32)
    number = {**QUARTER, "multiplier": (multiplier,), "shift": (shift,)}
    np.testing.assert_array_equal(gemmlowp_requantize(x, **number), tosa_rescale(x, **number, double_round=True))


@given(st.integers(-(2**31) + 1, 2**31 - 1), st.integers(0, 31), between(-(2**31), 2**31 - 1))
def test_gemmlowp_requantize_p2_rounds_once_up_to_a_shift_of_31(multiplier: int, shift: int, x: int) -> None:
    assume(-(2**31) <= x << (31 - shift) < 2**31)
    number = {**QUARTER, "multiplier": (multiplier,), "shift": (shift,)}
    array = np.array([x], np.int32)
    np.testing.assert_array_equal(gemmlowp_requantize(array, **number), requantize(array, **number, rounding="half_up"))


@given(between(-(2**31), 2**31 - 1))
def test_gemmlowp_requantize_by_the_smallest_number_gives_0(x: int) -> None:
    """As TFLite's multiplier of 0, for a ratio below 2**-32."""
    multiplier, shift = dyadic.from_real(2.0**-40)
    assert scaled(x, multiplier=multiplier, shift=shift) == [0]


# --- What follows from scales


@pytest.mark.parametrize("op", ["GemmlowpRequantize", "TosaRescale"])
def test_gemmlowp_requantize_follows_from_scales_as_requantize_does(op: str) -> None:
    types = [TensorType("int32", (1, 2))]
    inputs, output = [Quant((0.5, 0.75), axis=1)], Quant((0.25,), zero_point=7)
    followed = scales.follow_from_scales(op, {}, inputs, types, output)
    assert followed == scales.follow_from_scales("Requantize", {}, inputs, types, output)
    assert followed["zero_point"] == 7
    assert followed["axis"] == 1
    assert scales.follow_from_scales(op, {}, inputs, types, None) == {}


# --- Constraints


@pytest.mark.parametrize("dtype", ["uint16", "int64", "bool", "float32"])
def test_gemmlowp_requantize_c1_refuses_other_dtypes(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"^GemmlowpRequantize \(C1\): "):
        gemmlowp_requantize(np.zeros(1, dtype), **QUARTER)


@pytest.mark.parametrize("changed", [{"multiplier": (2**31,)}, {"multiplier": (-(2**31),)}, {"shift": (63,)}, {"shift": (-1,)}])
def test_gemmlowp_requantize_c2_the_number_is_dyadic(changed: dict[str, Any]) -> None:
    with pytest.raises(ConstraintError, match=r"^GemmlowpRequantize \(C2\): "):
        gemmlowp_requantize(np.zeros(1, np.int32), **{**QUARTER, **changed})


@pytest.mark.parametrize("changed", [{"shift": (1, 1)}, {"axis": 1}, {"multiplier": (1, 1), "shift": (1, 1)}])
def test_gemmlowp_requantize_c3_numbers_go_along_the_axis(changed: dict[str, Any]) -> None:
    with pytest.raises(ConstraintError, match=r"^GemmlowpRequantize \(C3\): "):
        gemmlowp_requantize(np.zeros(3, np.int32), **{**QUARTER, **changed})


def test_gemmlowp_requantize_c4_the_zero_point_is_a_value_of_the_dtype() -> None:
    with pytest.raises(ConstraintError, match=r"^GemmlowpRequantize \(C4\): "):
        gemmlowp_requantize(np.zeros(1, np.int32), **{**QUARTER, "dtype": "int8", "zero_point": 128})


# --- Events


def test_gemmlowp_requantize_records_what_wraps_and_saturates() -> None:
    x = np.array([[2**29, 2**30, 5]], np.int32)
    doubled = {**QUARTER, "shift": (29,), "dtype": "int8"}  # 2**30 / 2**29, by a shift of two to the left
    with pytest.raises(IntegerOverflow, match=r"x \* 2\*\*left: 2 of 3 elements do not fit int32"):
        gemmlowp_requantize(x, **doubled)
    events: list[Event] = []
    y = gemmlowp_requantize(x, **doubled, ctx=Context("wrap", emit=events.append))
    # 2**31 wraps to -2**31, and 2**32 to 0
    assert y.tolist() == [[-128, 0, 10]]
    assert events == [
        Event("wrapped", "", "GemmlowpRequantize", "x * 2**left", 2, 3, (0, 0), 2**31),
        Event("saturated", "", "GemmlowpRequantize", "y", 1, 3, (0, 0), -(2**30)),
    ]
    events.clear()
    assert gemmlowp_requantize(x[:, 2:] * 100, **doubled, ctx=Context(emit=events.append)).tolist() == [[127]]
    assert events == [Event("saturated", "", "GemmlowpRequantize", "y", 1, 1, (0, 0), 1000)]
