from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context, Event
from ivit_ref.ops import requantize_add
from ivit_ref.oracle.requantize_add import requantize_add as oracle
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

HALVES: dict[str, Any] = {
    "a_multiplier": (1,),
    "a_shift": (1,),
    "b_multiplier": (1,),
    "b_shift": (1,),
    "rounding": "half_up",
    "rounds": "each",
    "axis": 0,
    "zero_point": 0,
    "dtype": "int8",
}
A = np.array([[1, 2, 3]], np.int32)
B = np.array([[1], [3]], np.int32)


@settings(deadline=None, max_examples=2 * settings().max_examples)
@given(CALLS["RequantizeAdd"])
def test_requantize_add_equals_the_oracle(call: Call) -> None:
    (a, b), attributes = call
    expected = np.array(oracle(a.tolist(), b.tolist(), **attributes), attributes["dtype"])
    np.testing.assert_array_equal(requantize_add(a, b, **attributes), expected, strict=True)
    np.testing.assert_array_equal(requantize_add(a, b, **attributes, ctx=Context("wrap")), expected, strict=True)


@settings(deadline=None)
@given(CALLS["RequantizeAdd"])
def test_requantize_add_reports_what_it_saturates(call: Call) -> None:
    (a, b), attributes = call
    exact = np.array(oracle(a.tolist(), b.tolist(), **{**attributes, "dtype": "int64"}))
    bounds = np.iinfo(attributes["dtype"])
    places = np.argwhere((exact < bounds.min) | (exact > bounds.max)).tolist()
    events: list[Event] = []
    requantize_add(a, b, **attributes, ctx=Context(emit=events.append))
    if places:
        first = tuple(places[0])
        assert events == [Event("saturated", "", "RequantizeAdd", "y", len(places), exact.size, first, int(exact[first]))]
    else:
        assert events == []


def test_requantize_add_rounds_each_branch_or_the_sum() -> None:
    a, b = np.array([1, 3, -1], np.int8), np.array([1, -1, -1], np.int8)
    assert requantize_add(a, b, **HALVES).tolist() == [2, 2, 0]
    assert requantize_add(a, b, **{**HALVES, "rounds": "once"}).tolist() == [1, 1, -1]


def test_requantize_add_does_not_saturate_a_branch() -> None:
    a, b = np.array([2**31 - 1], np.int32), np.array([-(2**31 - 1)], np.int32)
    whole = {**HALVES, "a_shift": (0,), "b_shift": (0,)}
    for rounds in ("each", "once"):
        largest = {**whole, "a_multiplier": (2**31 - 1,), "b_multiplier": (2**31 - 1,), "rounds": rounds}
        assert requantize_add(a, b, **{**largest, "zero_point": 5}).tolist() == [5]


@pytest.mark.parametrize("rounds", ["each", "once"])
@pytest.mark.parametrize(("value", "zero_point"), [(-(2**31), 2**31 - 1), (2**31 - 1, -(2**31))])
def test_requantize_add_holds_the_largest_sums(rounds: str, value: int, zero_point: int) -> None:
    x = np.array([value], np.int32)
    largest = {"a_multiplier": (2**31 - 1,), "b_multiplier": (2**31 - 1,), "a_shift": (0,), "b_shift": (0,)}
    events: list[Event] = []
    attributes = {**HALVES, **largest, "rounds": rounds, "dtype": "int32", "zero_point": zero_point}
    y = requantize_add(x, x, **attributes, ctx=Context(emit=events.append))
    assert y.tolist() == [-(2**31) if value < 0 else 2**31 - 1]
    assert [event.value for event in events] == [2 * value * (2**31 - 1) + zero_point]


def test_requantize_add_saturates_and_says_where() -> None:
    a = np.array([[254, -256], [256, -258]], np.int16)
    events: list[Event] = []
    y = requantize_add(a, np.array([0], np.int8), **HALVES, ctx=Context(node="sum", emit=events.append))
    np.testing.assert_array_equal(y, np.array([[127, -128], [127, -128]], np.int8), strict=True)
    assert events == [Event("saturated", "sum", "RequantizeAdd", "y", 2, 4, (1, 0), 128)]


@pytest.mark.parametrize("rounds", ["each", "once"])
def test_requantize_add_numbers_go_along_the_axis_of_the_result(rounds: str) -> None:
    """Either operand has length one along that axis: the axis is one of y."""
    attributes = {**HALVES, "a_multiplier": (1, 2), "a_shift": (0, 0), "b_multiplier": (10, 100), "b_shift": (0, 0)}
    attributes |= {"rounds": rounds, "dtype": "int32"}
    y = requantize_add(A, B, **attributes)
    assert y.tolist() == [[11, 12, 13], [302, 304, 306]]
    y = requantize_add(A[0], B, **attributes)
    assert y.tolist() == [[11, 12, 13], [302, 304, 306]]


def test_requantize_add_one_branch_may_be_per_tensor() -> None:
    attributes = {**HALVES, "a_multiplier": (1, 2, 3), "a_shift": (0, 0, 0), "b_shift": (0,), "axis": 1}
    assert requantize_add(A, B, **attributes).tolist() == [[2, 5, 10], [4, 7, 12]]


def test_requantize_add_c1_takes_integers_up_to_int32() -> None:
    for dtype in ("int8", "uint8", "int16", "int32"):
        assert requantize_add(A.astype(dtype), A, **HALVES).tolist() == [[2, 2, 4]]
        assert requantize_add(A, A.astype(dtype), **HALVES).tolist() == [[2, 2, 4]]
    for dtype in ("bool", "uint16", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"RequantizeAdd \(C1\): a "):
            requantize_add(A.astype(dtype), A, **HALVES)
        with pytest.raises(ConstraintError, match=r"RequantizeAdd \(C1\): b "):
            requantize_add(A, A.astype(dtype), **HALVES)


def test_requantize_add_c1_operands_broadcast() -> None:
    assert requantize_add(np.ones((2, 1, 3), np.int8), np.ones((4, 1), np.int8), **HALVES).shape == (2, 4, 3)
    with pytest.raises(ConstraintError, match=r"RequantizeAdd \(C1\)"):
        requantize_add(np.ones((2, 3), np.int8), np.ones((2, 2), np.int8), **HALVES)


@pytest.mark.parametrize("branch", ["a", "b"])
def test_requantize_add_c2_numbers_are_in_range(branch: str) -> None:
    for multiplier in (2**31 - 1, -(2**31 - 1)):
        ends = {f"{branch}_multiplier": (multiplier,), f"{branch}_shift": (62,)}
        assert requantize_add(A, A, **{**HALVES, **ends}).tolist() == [[1, 1, 2]]
    assert requantize_add(A, A, **{**HALVES, f"{branch}_shift": (0,)}).tolist() == [[2, 3, 5]]
    for wrong in ({"multiplier": (2**31,)}, {"multiplier": (-(2**31),)}, {"shift": (-1,)}, {"shift": (63,)}):
        named = {f"{branch}_{name}": value for name, value in wrong.items()}
        with pytest.raises(ConstraintError, match=r"RequantizeAdd \(C2\)"):
            requantize_add(A, A, **{**HALVES, **named})


@pytest.mark.parametrize("branch", ["a", "b"])
def test_requantize_add_c3_numbers_are_equally_many(branch: str) -> None:
    attributes = {**HALVES, "axis": 1, f"{branch}_multiplier": (2, 2, 2), f"{branch}_shift": (1, 1, 1)}
    assert requantize_add(A, A, **attributes).tolist() == [[2, 3, 5]]
    for multiplier, shift in (((), ()), ((1, 1), (1, 1)), ((1,), (1, 1, 1)), ((1, 1, 1), (1,))):
        named = {f"{branch}_multiplier": multiplier, f"{branch}_shift": shift}
        with pytest.raises(ConstraintError, match=r"RequantizeAdd \(C3\)"):
            requantize_add(A, A, **{**attributes, **named})
    for axis in (-1, 2):
        with pytest.raises(ConstraintError, match=r"RequantizeAdd \(C3\)"):
            requantize_add(A, A, **{**HALVES, "axis": axis})


def test_requantize_add_c3_counts_along_the_result() -> None:
    """Two numbers for an axis that has length one in a and two in y."""
    attributes = {**HALVES, "a_multiplier": (2, 4), "a_shift": (1, 1)}
    assert requantize_add(A, B, **attributes).tolist() == [[2, 3, 4], [4, 6, 8]]
    with pytest.raises(ConstraintError, match=r"RequantizeAdd \(C3\)"):
        requantize_add(A, A, **attributes)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32"])
def test_requantize_add_c4_zero_point_is_a_value_of_the_dtype(dtype: str) -> None:
    zero = np.zeros(1, np.int32)
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    for zero_point in (low, high):
        y = requantize_add(zero, zero, **{**HALVES, "zero_point": zero_point, "dtype": dtype})
        np.testing.assert_array_equal(y, np.array([zero_point], dtype), strict=True)
    for zero_point in (low - 1, high + 1):
        with pytest.raises(ConstraintError, match=r"RequantizeAdd \(C4\)"):
            requantize_add(zero, zero, **{**HALVES, "zero_point": zero_point, "dtype": dtype})


def test_requantize_add_c5_one_rounding_needs_one_shift() -> None:
    different = {**HALVES, "b_shift": (2,)}
    assert requantize_add(A, A, **different).tolist() == [[1, 2, 3]]
    assert requantize_add(A, A, **{**HALVES, "rounds": "once"}).tolist() == [[1, 2, 3]]
    with pytest.raises(ConstraintError, match=r"RequantizeAdd \(C5\)"):
        requantize_add(A, A, **{**different, "rounds": "once"})
    channels = {"a_multiplier": (1, 1, 1), "a_shift": (1, 1, 1), "b_multiplier": (1, 1, 1), "b_shift": (1, 1, 2), "axis": 1}
    with pytest.raises(ConstraintError, match=r"RequantizeAdd \(C5\)"):
        requantize_add(A, A, **{**HALVES, **channels, "rounds": "once"})


@pytest.mark.parametrize(("name", "value"), [("rounds", "twice"), ("rounding", "nearest"), ("dtype", "int64")])
def test_requantize_add_refuses_other_attributes(name: str, value: str) -> None:
    with pytest.raises(ConstraintError, match=rf"RequantizeAdd \(attributes\): {name}"):
        requantize_add(A, A, **{**HALVES, name: value})


def test_requantize_add_refuses_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"RequantizeAdd \(no empty axes\)"):
        requantize_add(np.zeros((0, 3), np.int32), A, **HALVES)
    with pytest.raises(ConstraintError, match=r"RequantizeAdd \(no empty axes\)"):
        requantize_add(A, np.zeros((1, 0), np.int32), **HALVES)
