from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context, Event
from ivit_ref.ops import requantize, tosa_rescale
from ivit_ref.testing.calls_runtimes import CALLS
from ivit_ref.testing.elements import Call, between
from tests.agreement import assert_agrees

QUARTER: dict[str, Any] = {"multiplier": (2**30,), "shift": (32,), "axis": 0, "zero_point": 0, "dtype": "int32"}


def apply_scale_32(value: int, multiplier: int, shift: int, double_round: bool) -> int:
    """The pseudo-code of the TOSA specification on Python integers."""
    rounding = 1 << (shift - 1)
    if double_round and shift > 31:
        rounding += (1 << 30) if value >= 0 else -(1 << 30)
    return (value * multiplier + rounding) >> shift


def scaled(*values: int, double_round: bool = True, **changed: Any) -> list[int]:
    result: list[int] = tosa_rescale(np.array(values, np.int32), **{**QUARTER, **changed}, double_round=double_round).tolist()
    return result


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(CALLS["TosaRescale"])
def test_tosa_rescale_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("TosaRescale", call)


@given(st.integers(0, 2**31 - 1), st.integers(2, 62), st.booleans(), st.data())
def test_tosa_rescale_is_apply_scale_32(multiplier: int, shift: int, double_round: bool, data: st.DataObject) -> None:
    half = min(2 ** (shift - 1), 2**31)
    x = data.draw(between(-half, half - 1))
    [y] = scaled(x, double_round=double_round, multiplier=(multiplier,), shift=(shift,))
    assert y == apply_scale_32(x, multiplier, shift, double_round)
    assert -(2**31) <= y < 2**31


def test_tosa_rescale_rounds_half_up_once_or_twice() -> None:
    assert scaled(1, -1, 2, -2, 3, -3, 6, -6, double_round=False) == [0, 0, 1, 0, 1, -1, 2, -1]
    assert scaled(1, -1, 2, -2, 3, -3, 6, -6) == [1, 0, 1, -1, 1, -1, 2, -2]


# --- Properties


@given(st.booleans(), st.integers(0, 2**31 - 1), st.integers(32, 62), between(-(2**31), 2**31 - 2))
def test_tosa_rescale_p1_p3_is_monotone_and_within_its_bound(double_round: bool, multiplier: int, shift: int, x: int) -> None:
    first, second = scaled(x, x + 1, double_round=double_round, multiplier=(multiplier,), shift=(shift,))
    assert first <= second
    bound = Fraction(1, 2) + (Fraction(2) ** (30 - shift) if double_round else 0)
    assert abs(first - Fraction(x * multiplier, 2**shift)) <= bound


@given(st.integers(0, 2**31 - 1), st.integers(32, 62), between(-(2**31), 2**31 - 1))
def test_tosa_rescale_p2_with_one_rounding_is_requantize_half_up(multiplier: int, shift: int, x: int) -> None:
    number = {**QUARTER, "multiplier": (multiplier,), "shift": (shift,)}
    array = np.array([x], np.int32)
    np.testing.assert_array_equal(
        tosa_rescale(array, **number, double_round=False), requantize(array, **number, rounding="half_up"), strict=True
    )


# --- Constraints


@pytest.mark.parametrize("dtype", ["uint16", "int64", "bool", "float32"])
def test_tosa_rescale_c1_refuses_other_dtypes(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"^TosaRescale \(C1\): "):
        tosa_rescale(np.zeros(1, dtype), **QUARTER, double_round=True)


@pytest.mark.parametrize("changed", [{"multiplier": (2**31,)}, {"multiplier": (-1,)}, {"shift": (63,)}, {"shift": (1,)}])
def test_tosa_rescale_c2_the_number_is_within_the_text_of_tosa(changed: dict[str, Any]) -> None:
    with pytest.raises(ConstraintError, match=r"^TosaRescale \(C2\): "):
        scaled(0, **changed)
    assert scaled(1, -1, multiplier=(2**31 - 1,), shift=(2,)) == [2**29, -(2**29)]
    assert scaled(2**31 - 1, multiplier=(0,), shift=(62,)) == [0]


@pytest.mark.parametrize("changed", [{"shift": (2, 2)}, {"axis": 1}, {"multiplier": (1, 1), "shift": (2, 2)}])
def test_tosa_rescale_c3_numbers_go_along_the_axis(changed: dict[str, Any]) -> None:
    with pytest.raises(ConstraintError, match=r"^TosaRescale \(C3\): "):
        scaled(1, 2, 3, **changed)


def test_tosa_rescale_c4_the_zero_point_is_a_value_of_the_dtype() -> None:
    with pytest.raises(ConstraintError, match=r"^TosaRescale \(C4\): "):
        scaled(0, dtype="int8", zero_point=-129)


@pytest.mark.parametrize(
    ("shift", "fits", "refused"), [(2, 1, 2), (2, -2, -3), (31, 2**30 - 1, 2**30), (31, -(2**30), -(2**30) - 1)]
)
def test_tosa_rescale_c5_x_is_below_half_of_two_to_the_shift(shift: int, fits: int, refused: int) -> None:
    assert scaled(fits, multiplier=(1,), shift=(shift,)) == [apply_scale_32(fits, 1, shift, True)]
    for overflow in ("raise", "wrap"):
        with pytest.raises(ConstraintError, match=rf"^TosaRescale \(C5\): .* at \[1\], but found {refused}$"):
            scaled(0, refused, multiplier=(1,), shift=(shift,), ctx=Context(overflow))  # type: ignore[arg-type]


# --- Events


def test_tosa_rescale_saturates_after_the_zero_point() -> None:
    events: list[Event] = []
    y = scaled(400, 100, -600, dtype="int8", zero_point=30, ctx=Context(emit=events.append))
    assert y == [127, 55, -120]
    assert events == [Event("saturated", "", "TosaRescale", "y", 1, 3, (0,), 130)]
