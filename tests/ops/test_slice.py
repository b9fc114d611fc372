from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import slice_
from ivit_ref.oracle.slice import slice_ as oracle
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

X = np.arange(6, dtype=np.int16).reshape(2, 3)
TYPES = [TensorType("int16", (2, 3))]


@settings(deadline=None)
@given(CALLS["Slice"])
def test_slice_equals_the_oracle(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), x.dtype)
    np.testing.assert_array_equal(slice_(x, **attributes), expected, strict=True)
    np.testing.assert_array_equal(slice_(x, **attributes, ctx=Context("wrap")), expected, strict=True)


def test_slice_keeps_the_axis() -> None:
    np.testing.assert_array_equal(slice_(X, axis=0, start=1, stop=2), np.array([[3, 4, 5]], np.int16), strict=True)
    np.testing.assert_array_equal(slice_(X, axis=1, start=1, stop=3), np.array([[1, 2], [4, 5]], np.int16), strict=True)


def test_slice_c1_takes_any_integers() -> None:
    for dtype in ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64"):
        y = slice_(np.ones((2, 1), dtype), axis=0, start=0, stop=1)
        np.testing.assert_array_equal(y, np.ones((1, 1), dtype), strict=True)
    with pytest.raises(ConstraintError, match=r"Slice \(C1\)"):
        slice_(X.astype(np.float32), axis=0, start=0, stop=1)


def test_slice_c2_the_axis_is_a_place_in_the_shape() -> None:
    assert slice_(X, axis=1, start=0, stop=1).shape == (2, 1)
    for axis in (-1, 2):
        with pytest.raises(ConstraintError, match=r"Slice \(C2\)"):
            slice_(X, axis=axis, start=0, stop=1)
    with pytest.raises(ConstraintError, match=r"Slice \(C2\)"):
        slice_(np.array(1, np.int8), axis=0, start=0, stop=1)


def test_slice_c2_the_length_is_known() -> None:
    named = [TensorType("int8", ("N", 3))]
    found = REGISTRY["Slice"].result_type(named, {"axis": 1, "start": 1, "stop": 3})
    assert found == TensorType("int8", ("N", 2))
    with pytest.raises(ConstraintError, match=r"Slice \(C2\)"):
        REGISTRY["Slice"].result_type(named, {"axis": 0, "start": 0, "stop": 1})


def test_slice_c3_start_is_before_stop_within_the_length() -> None:
    for start, stop in ((0, 1), (0, 3), (2, 3)):
        assert slice_(X, axis=1, start=start, stop=stop).tolist() == [
            list(range(start, stop)),
            list(range(start + 3, stop + 3)),
        ]
    for start, stop in ((-1, 1), (0, 0), (1, 1), (2, 1), (0, 4), (3, 4), (3, 3), (0, -1)):
        with pytest.raises(ConstraintError, match=r"Slice \(C3\)"):
            slice_(X, axis=1, start=start, stop=stop)


def test_slice_refuses_other_attributes_and_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Slice \(attributes\): stop"):
        slice_(X, axis=0, start=0, stop=None)
    with pytest.raises(ConstraintError, match=r"Slice \(no empty axes\)"):
        slice_(np.ones((2, 0), np.int8), axis=0, start=0, stop=1)


def test_slice_scales_along_the_axis_are_cut_along() -> None:
    x = Quant((0.5, 0.25, 0.125), 5, axis=1)
    found = REGISTRY["Slice"].result_quant([x], TYPES, {"axis": 1, "start": 1, "stop": 3})
    assert found == Quant((0.25, 0.125), 5, axis=1)


@pytest.mark.parametrize("quant", [None, Quant((0.5,), zero_point=3), Quant((0.5, 0.25, 0.125), axis=1)])
def test_slice_other_scales_stay(quant: Quant | None) -> None:
    assert REGISTRY["Slice"].result_quant([quant], TYPES, {"axis": 0, "start": 1, "stop": 2}) == quant
