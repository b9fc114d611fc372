from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context, Event
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import requantize
from ivit_ref.oracle.requantize import requantize as oracle
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

HALF: dict[str, Any] = {
    "multiplier": (1,),
    "shift": (1,),
    "rounding": "half_even",
    "axis": 0,
    "zero_point": 0,
    "dtype": "int8",
}
ROW = np.array([[1, 2, 3]], np.int32)


@settings(deadline=None, max_examples=2 * settings().max_examples)
@given(CALLS["Requantize"])
def test_requantize_equals_the_oracle(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), attributes["dtype"])
    np.testing.assert_array_equal(requantize(x, **attributes), expected, strict=True)
    np.testing.assert_array_equal(requantize(x, **attributes, ctx=Context("wrap")), expected, strict=True)


@settings(deadline=None)
@given(CALLS["Requantize"])
def test_requantize_reports_what_it_saturates(call: Call) -> None:
    (x,), attributes = call
    exact = np.array(oracle(x.tolist(), **{**attributes, "dtype": "int64"}))
    bounds = np.iinfo(attributes["dtype"])
    places = np.argwhere((exact < bounds.min) | (exact > bounds.max)).tolist()
    events: list[Event] = []
    requantize(x, **attributes, ctx=Context(emit=events.append))
    if places:
        first = tuple(places[0])
        assert events == [Event("saturated", "", "Requantize", "y", len(places), x.size, first, int(exact[first]))]
    else:
        assert events == []


VECTORS = {
    "half_even": [62, -62, 0, 0, 2, -2],
    "half_up": [63, -62, 1, 0, 2, -1],
    "half_away": [63, -63, 1, -1, 2, -2],
    "floor": [62, -63, 0, -1, 1, -2],
    "truncate": [62, -62, 0, 0, 1, -1],
}


@pytest.mark.parametrize("rounding", VECTORS)
@pytest.mark.parametrize(("multiplier", "shift"), [(1, 4), (2**30, 34)])
def test_requantize_by_a_sixteenth_as_measured(rounding: str, multiplier: int, shift: int) -> None:
    """The golden vectors: rne, UPWARD, TONEAREST, ``b * x >> c``, and truncation from the C language."""
    z = np.array([1000, -1000, 8, -8, 24, -24], np.int32)
    y = requantize(z, **{**HALF, "multiplier": (multiplier,), "shift": (shift,), "rounding": rounding})
    np.testing.assert_array_equal(y, np.array(VECTORS[rounding], np.int8), strict=True)


def test_requantize_saturates_at_both_ends_and_says_where() -> None:
    x = np.array([[253, 254, 257], [-256, -257, -400]], np.int16)
    events: list[Event] = []
    y = requantize(x, **HALF, ctx=Context(node="out", emit=events.append))
    np.testing.assert_array_equal(y, np.array([[126, 127, 127], [-128, -128, -128]], np.int8), strict=True)
    assert events == [Event("saturated", "out", "Requantize", "y", 2, 6, (0, 2), 128)]


def test_requantize_adds_the_zero_point_after_rounding_and_before_saturating() -> None:
    x = np.array([1, 3, -1, 300], np.int32)
    y = requantize(x, **{**HALF, "zero_point": 100, "dtype": "uint8", "rounding": "half_away"})
    np.testing.assert_array_equal(y, np.array([101, 102, 99, 250], np.uint8), strict=True)


def test_requantize_scales_each_channel_by_its_own_number() -> None:
    x = np.array([[[8, 8], [8, 8]], [[8, 8], [8, 8]]], np.int32)
    numbers = {**HALF, "multiplier": (1, -3), "shift": (2, 1)}
    assert requantize(x, **{**numbers, "axis": 0}).tolist() == [[[2, 2], [2, 2]], [[-12, -12], [-12, -12]]]
    assert requantize(x, **{**numbers, "axis": 1}).tolist() == [[[2, 2], [-12, -12]], [[2, 2], [-12, -12]]]
    assert requantize(x, **{**numbers, "axis": 2}).tolist() == [[[2, -12], [2, -12]], [[2, -12], [2, -12]]]


def test_requantize_c1_takes_integers_up_to_int32() -> None:
    for dtype in ("int8", "uint8", "int16", "int32"):
        assert requantize(ROW.astype(dtype), **HALF).tolist() == [[0, 1, 2]]
    for dtype in ("bool", "uint16", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"Requantize \(C1\): x "):
            requantize(ROW.astype(dtype), **HALF)


@pytest.mark.parametrize("dtype", ["float64", "uint32", "uint64", "float16"])
def test_requantize_c1_refuses_dtypes_that_no_graph_has(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=rf"Requantize: .* found '{dtype}'"):
        requantize(ROW.astype(dtype), **HALF)


def test_requantize_c2_multipliers_are_below_2_to_the_31() -> None:
    ends = np.array([-(2**31), 2**31 - 1], np.int32)
    for multiplier in (2**31 - 1, -(2**31 - 1)):
        y = requantize(ends, **{**HALF, "multiplier": (multiplier,), "shift": (62,), "rounding": "half_away"})
        assert y.tolist() == ([-1, 1] if multiplier > 0 else [1, -1])
    for multiplier in (2**31, -(2**31)):
        with pytest.raises(ConstraintError, match=r"Requantize \(C2\)"):
            requantize(ends, **{**HALF, "multiplier": (multiplier,)})
    with pytest.raises(ConstraintError, match=r"Requantize \(C2\)"):
        requantize(ROW, **{**HALF, "multiplier": (1, 2**31, 1), "shift": (1, 1, 1), "axis": 1})


def test_requantize_c2_shifts_are_from_0_to_62() -> None:
    assert requantize(ROW, **{**HALF, "shift": (0,)}).tolist() == [[1, 2, 3]]
    assert requantize(-ROW, **{**HALF, "shift": (62,), "rounding": "floor"}).tolist() == [[-1, -1, -1]]
    for shift in (-1, 63):
        with pytest.raises(ConstraintError, match=r"Requantize \(C2\)"):
            requantize(ROW, **{**HALF, "shift": (shift,)})


def test_requantize_c3_there_are_as_many_multipliers_as_shifts() -> None:
    three = {**HALF, "multiplier": (2, 4, 6), "shift": (1, 1, 1)}
    assert requantize(ROW, **{**three, "axis": 1}).tolist() == [[1, 4, 9]]
    for multiplier, shift in (((), ()), ((1, 1), (1, 1)), ((1, 1, 1), (1,)), ((1,), (1, 1, 1)), ((1,) * 4, (1,) * 4)):
        with pytest.raises(ConstraintError, match=r"Requantize \(C3\)"):
            requantize(ROW, **{**HALF, "multiplier": multiplier, "shift": shift, "axis": 1})
    with pytest.raises(ConstraintError, match=r"Requantize \(C3\)"):
        requantize(ROW, **{**three, "axis": 0})


def test_requantize_c3_the_axis_is_a_place_in_the_shape() -> None:
    assert requantize(ROW, **{**HALF, "axis": 1}).tolist() == [[0, 1, 2]]
    for axis in (-1, 2):
        with pytest.raises(ConstraintError, match=r"Requantize \(C3\)"):
            requantize(ROW, **{**HALF, "axis": axis})
    with pytest.raises(ConstraintError, match=r"Requantize \(C3\)"):
        requantize(np.array(1, np.int32), **HALF)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32"])
def test_requantize_c4_zero_point_is_a_value_of_the_dtype(dtype: str) -> None:
    zero = np.zeros(1, np.int32)
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    for zero_point in (low, high):
        y = requantize(zero, **{**HALF, "zero_point": zero_point, "dtype": dtype})
        np.testing.assert_array_equal(y, np.array([zero_point], dtype), strict=True)
    for zero_point in (low - 1, high + 1):
        with pytest.raises(ConstraintError, match=r"Requantize \(C4\)"):
            requantize(zero, **{**HALF, "zero_point": zero_point, "dtype": dtype})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rounding", "nearest"),
        ("dtype", "int64"),
        ("dtype", "float32"),
        ("axis", 1.0),
        ("axis", True),
        ("multiplier", 1),
        ("multiplier", (0.5,)),
        ("zero_point", 0.0),
    ],
)
def test_requantize_refuses_other_attributes(name: str, value: object) -> None:
    with pytest.raises(ConstraintError, match=rf"Requantize \(attributes\): {name}"):
        requantize(ROW, **{**HALF, name: value})
    with pytest.raises(ConstraintError, match=r"Requantize \(attributes\)"):
        requantize(ROW, **{key: given for key, given in HALF.items() if key != name})


def test_requantize_takes_numpy_attributes() -> None:
    given = {"multiplier": np.array([2, 4, 6], np.int64), "shift": [1, 1, 1], "axis": np.int64(1)}
    assert requantize(ROW, **{**HALF, **given}).tolist() == [[1, 4, 9]]


def test_requantize_refuses_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Requantize \(no empty axes\)"):
        requantize(np.zeros((2, 0), np.int32), **HALF)


def test_requantize_refuses_rows_of_different_lengths() -> None:
    with pytest.raises(ConstraintError, match=r"^Requantize: an input must be an array, but found list \(.*\)$"):
        requantize([[1], [1, 2]], **HALF)


def test_requantize_scale_of_the_result_is_a_choice() -> None:
    types = [TensorType("int32", (1, 3))]
    assert REGISTRY["Requantize"].result_quant([Quant((0.5,))], types, HALF) is None
