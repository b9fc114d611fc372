from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import roll
from ivit_ref.oracle.roll import roll as oracle
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

X = np.arange(6, dtype=np.int16).reshape(2, 3)
TYPES = [TensorType("int16", (2, 3))]


@settings(deadline=None)
@given(CALLS["Roll"])
def test_roll_equals_the_oracle(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), x.dtype)
    np.testing.assert_array_equal(roll(x, **attributes), expected, strict=True)
    np.testing.assert_array_equal(roll(x, **attributes, ctx=Context("wrap")), expected, strict=True)


@pytest.mark.parametrize(
    ("axis", "shift", "expected"),
    [
        (1, 0, [[0, 1, 2], [3, 4, 5]]),
        (1, 1, [[2, 0, 1], [5, 3, 4]]),
        (1, 2, [[1, 2, 0], [4, 5, 3]]),
        (0, 0, [[0, 1, 2], [3, 4, 5]]),
        (0, 1, [[3, 4, 5], [0, 1, 2]]),
    ],
)
def test_roll_moves_elements_on_and_around_the_end(axis: int, shift: int, expected: list[list[int]]) -> None:
    np.testing.assert_array_equal(roll(X, axis=axis, shift=shift), np.array(expected, np.int16), strict=True)


def test_roll_on_and_back_as_swin_does() -> None:
    """A window of 4 moves by 2 along both axes of an image of 8 by 8: its corner comes from place (2, 2), and goes back."""
    image = np.arange(64, dtype=np.int8).reshape(1, 8, 8, 1)
    shifted = roll(roll(image, axis=1, shift=6), axis=2, shift=6)
    assert shifted[0, :, :, 0].tolist() == [[(i + 2) % 8 * 8 + (j + 2) % 8 for j in range(8)] for i in range(8)]
    np.testing.assert_array_equal(roll(roll(shifted, axis=1, shift=2), axis=2, shift=2), image, strict=True)


def test_roll_c1_takes_any_integers() -> None:
    for dtype in ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64"):
        y = roll(np.array([0, 0, 1], dtype), axis=0, shift=1)
        np.testing.assert_array_equal(y, np.array([1, 0, 0], dtype), strict=True)
    with pytest.raises(ConstraintError, match=r"Roll \(C1\): x must hold integers, but found float32"):
        roll(X.astype(np.float32), axis=0, shift=1)


def test_roll_c2_the_axis_is_a_place_in_the_shape() -> None:
    for axis in (-1, 2):
        with pytest.raises(ConstraintError, match=rf"Roll \(C2\): axis must be a place of known length in .*found {axis}$"):
            roll(X, axis=axis, shift=0)
    with pytest.raises(ConstraintError, match=r"Roll \(C2\)"):
        roll(np.array(1, np.int8), axis=0, shift=0)


def test_roll_c2_the_length_is_known() -> None:
    named = [TensorType("int8", ("N", 3))]
    assert REGISTRY["Roll"].result_type(named, {"axis": 1, "shift": 2}) == TensorType("int8", ("N", 3))
    with pytest.raises(ConstraintError, match=r"Roll \(C2\)"):
        REGISTRY["Roll"].result_type(named, {"axis": 0, "shift": 0})


def test_roll_c3_the_shift_is_within_the_length() -> None:
    for axis, length in ((0, 2), (1, 3)):
        for shift in (-1, length, length + 1):
            with pytest.raises(
                ConstraintError, match=rf"Roll \(C3\): shift must be from 0 to {length - 1}, but found {shift}$"
            ):
                roll(X, axis=axis, shift=shift)


def test_roll_refuses_other_attributes_and_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Roll \(attributes\): shift"):
        roll(X, axis=0, shift=True)
    with pytest.raises(ConstraintError, match=r"Roll \(attributes\): axis"):
        roll(X, axis=None, shift=0)  # type: ignore[arg-type]
    with pytest.raises(ConstraintError, match=r"Roll \(no empty axes\)"):
        roll(np.ones((2, 0), np.int8), axis=0, shift=0)


@pytest.mark.parametrize(
    ("before", "axis", "shift", "after"),
    [
        (Quant((0.5,)), 1, 2, Quant((0.5,))),
        (Quant((0.5,), zero_point=3), 0, 1, Quant((0.5,), zero_point=3)),
        (Quant((0.5, 0.25, 0.125), axis=1), 0, 1, Quant((0.5, 0.25, 0.125), axis=1)),
        (Quant((0.5, 0.25, -0.125), zero_point=3, axis=1), 1, 0, Quant((0.5, 0.25, -0.125), zero_point=3, axis=1)),
        (Quant((0.5, 0.25, -0.125), zero_point=3, axis=1), 1, 1, Quant((-0.125, 0.5, 0.25), zero_point=3, axis=1)),
        (Quant((0.5, 0.25, -0.125), axis=1), 1, 2, Quant((0.25, -0.125, 0.5), axis=1)),
        (None, 1, 2, None),
    ],
)
def test_roll_scales_go_with_their_elements(before: Quant | None, axis: int, shift: int, after: Quant | None) -> None:
    assert REGISTRY["Roll"].result_quant([before], TYPES, {"axis": axis, "shift": shift}) == after
