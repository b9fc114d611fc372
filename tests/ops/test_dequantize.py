from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context, Event
from ivit_ref.ir import LARGEST_FLOAT32
from ivit_ref.ops import dequantize
from ivit_ref.oracle.dequantize import dequantize as oracle
from ivit_ref.oracle.rounding import float32
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

HALF: dict[str, Any] = {"scale": (0.5,), "axis": 0, "zero_point": 0}
ROW = np.array([[1, 2, 3]], np.int32)
LARGEST_SCALE = (2 - 2.0**-23) * 2.0**89


def bits(x: Any) -> Any:
    """Equal bits are equal numbers and equal zeros."""
    return np.asarray(x, np.float32).view(np.uint32)


@settings(deadline=None, max_examples=2 * settings().max_examples)
@given(CALLS["Dequantize"])
def test_dequantize_equals_the_oracle_to_the_bit(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), np.float32)
    events: list[Event] = []
    for ctx in (Context(emit=events.append), Context("wrap", emit=events.append)):
        y = dequantize(x, **attributes, ctx=ctx)
        np.testing.assert_array_equal(y, expected, strict=True)
        np.testing.assert_array_equal(bits(y), bits(expected), strict=True)
    assert events == []


def test_dequantize_rounds_the_difference_and_then_the_product() -> None:
    """2**24 + 1 is a tie of float32: to the even 2**24. Only then it is multiplied with 3."""
    x = np.array([2**24 + 1, 2**24 + 3], np.int32)
    expected = np.array([3 * 2**24, 3 * 2**24 + 12], np.float32)
    np.testing.assert_array_equal(dequantize(x, **{**HALF, "scale": (3.0,)}), expected, strict=True)


def test_dequantize_subtracts_the_zero_point_before_it_rounds() -> None:
    """Rounded before, the first is 2**24 - 1 and the second 2**25 + 4; the tie 2**25 + 2 goes to the even 2**25."""
    x = np.array([2**24 + 1, 2**25 + 3, -(2**24) + 2, -(2**31)], np.int32)
    y = dequantize(x, **{**HALF, "scale": (1.0,), "zero_point": 1})
    np.testing.assert_array_equal(y, np.array([2**24, 2**25, 1 - 2**24, -(2**31)], np.float32), strict=True)


def test_dequantize_scales_each_channel_by_its_own_number() -> None:
    x = np.array([[[1, 2], [3, 4]]], np.int8)
    for axis, expected in ((1, [[[0.5, 1.0], [-6.0, -8.0]]]), (2, [[[0.5, -4.0], [1.5, -8.0]]])):
        y = dequantize(x, scale=(0.5, -2.0), axis=axis, zero_point=0)
        np.testing.assert_array_equal(y, np.array(expected, np.float32), strict=True)


def test_dequantize_c1_takes_integers_up_to_int32() -> None:
    for dtype in ("int8", "uint8", "int16", "uint16", "int32"):
        np.testing.assert_array_equal(dequantize(ROW.astype(dtype), **HALF), np.array([[0.5, 1, 1.5]], np.float32), strict=True)
    for dtype in ("bool", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"Dequantize \(C1\): x "):
            dequantize(ROW.astype(dtype), **HALF)


def test_dequantize_c2_scales_are_float32_other_than_zero_below_2_to_the_90() -> None:
    one = np.array([1, -1], np.int8)
    for scale in (2.0**-149, -(2.0**-149), LARGEST_SCALE, -LARGEST_SCALE, float32(Fraction(1, 10))):
        assert dequantize(one, **{**HALF, "scale": (scale,)}).tolist() == [scale, -scale]
    for scale in (0.0, -0.0, 0.1, math.nan, math.inf, -math.inf, 2.0**-150, 2.0**90, -(2.0**90), LARGEST_FLOAT32, 1e300):
        with pytest.raises(ConstraintError, match=r"Dequantize \(C2\)"):
            dequantize(one, **{**HALF, "scale": (scale,)})
        with pytest.raises(ConstraintError, match=r"Dequantize \(C2\)"):
            dequantize(one, **{**HALF, "scale": (1.0, scale)})


def test_dequantize_c2_and_c4_keep_the_result_finite() -> None:
    x = np.array([-(2**31)], np.int32)
    y = dequantize(x, **{**HALF, "scale": (LARGEST_SCALE,), "zero_point": 2**16})
    assert y.tolist() == [float32(-(2**31 + 2**16) * Fraction(LARGEST_SCALE))]


def test_dequantize_c3_there_is_one_scale_or_one_for_each_index() -> None:
    three = {**HALF, "scale": (1.0, 2.0, 3.0), "axis": 1}
    assert dequantize(ROW, **three).tolist() == [[1.0, 4.0, 9.0]]
    for scale in ((), (1.0, 1.0), (1.0,) * 4):
        with pytest.raises(ConstraintError, match=r"Dequantize \(C3\)"):
            dequantize(ROW, **{**three, "scale": scale})
    with pytest.raises(ConstraintError, match=r"Dequantize \(C3\)"):
        dequantize(ROW, **{**three, "axis": 0})


def test_dequantize_c3_the_axis_is_a_place_in_the_shape() -> None:
    assert dequantize(ROW, **{**HALF, "axis": 1}).tolist() == [[0.5, 1.0, 1.5]]
    for axis in (-1, 2):
        with pytest.raises(ConstraintError, match=r"Dequantize \(C3\)"):
            dequantize(ROW, **{**HALF, "axis": axis})
    with pytest.raises(ConstraintError, match=r"Dequantize \(C3\)"):
        dequantize(np.array(1, np.int8), **HALF)


def test_dequantize_c4_zero_point_is_at_most_2_to_the_16() -> None:
    zero = np.zeros(1, np.int8)
    for zero_point in (2**16, -(2**16)):
        assert dequantize(zero, **{**HALF, "zero_point": zero_point}).tolist() == [-zero_point / 2]
    for zero_point in (2**16 + 1, -(2**16) - 1):
        with pytest.raises(ConstraintError, match=r"Dequantize \(C4\)"):
            dequantize(zero, **{**HALF, "zero_point": zero_point})


@pytest.mark.parametrize(("name", "value"), [("scale", 0.5), ("scale", (1,)), ("axis", 0.0), ("zero_point", 0.0)])
def test_dequantize_refuses_other_attributes(name: str, value: object) -> None:
    with pytest.raises(ConstraintError, match=rf"Dequantize \(attributes\): {name}"):
        dequantize(ROW, **{**HALF, name: value})


def test_dequantize_refuses_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Dequantize \(no empty axes\)"):
        dequantize(np.zeros((0, 3), np.int32), **HALF)
