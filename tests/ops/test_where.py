from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import where
from ivit_ref.oracle.where import where as oracle
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

MASK = np.array([[True, False, True]])
X = np.array([[1, 2, 3]], np.int16)
Y = np.array([[-4, -5, -6]], np.int16)
BOOL, INT = TensorType("bool", (2, 2)), TensorType("int16", (2, 2))


@settings(deadline=None)
@given(CALLS["Where"])
def test_where_equals_the_oracle(call: Call) -> None:
    arrays, _ = call
    expected = np.array(oracle(*(array.tolist() for array in arrays)), arrays[1].dtype)
    np.testing.assert_array_equal(where(*arrays), expected, strict=True)
    np.testing.assert_array_equal(where(*arrays, ctx=Context("wrap")), expected, strict=True)


def test_where_chooses_x_where_the_condition_holds() -> None:
    np.testing.assert_array_equal(where(MASK, X, Y), np.array([[1, -5, 3]], np.int16), strict=True)
    np.testing.assert_array_equal(where(~MASK, X, Y), np.array([[-4, 2, -6]], np.int16), strict=True)


def test_where_c1_the_condition_is_bool() -> None:
    for dtype in ("int8", "uint8", "int32", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"Where \(C1\): condition must be bool, but found "):
            where(MASK.astype(dtype), X, Y)


def test_where_c2_takes_integers_of_one_dtype() -> None:
    for dtype in ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64"):
        x, y = np.ones((1, 3), dtype), np.zeros((1, 3), dtype)
        np.testing.assert_array_equal(where(MASK, x, y), np.array([[1, 0, 1]], dtype), strict=True)
    with pytest.raises(ConstraintError, match=r"Where \(C2\): x must hold integers, but found float32"):
        where(MASK, X.astype(np.float32), Y.astype(np.float32))
    for dtype in ("bool", "int8", "uint16", "int32", "int64", "float32"):
        with pytest.raises(
            ConstraintError, match=r"Where \(C2\): y must have the dtype of x, which is int16\[1,3\], but found "
        ):
            where(MASK, X, Y.astype(dtype))


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64"])
def test_where_keeps_the_ends_of_its_dtype(dtype: str) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x, y = np.array([low, low, high], dtype), np.array([high, high, low], dtype)
    np.testing.assert_array_equal(where(MASK[0], x, y), np.array([low, high, high], dtype), strict=True)


def test_where_c3_all_three_broadcast() -> None:
    column = np.array([[True], [False]])
    np.testing.assert_array_equal(where(column, X, Y), np.array([[1, 2, 3], [-4, -5, -6]], np.int16), strict=True)
    zero = np.array(0, np.int16)
    np.testing.assert_array_equal(where(MASK, X, zero), np.array([[1, 0, 3]], np.int16), strict=True)
    np.testing.assert_array_equal(where(np.array(False), X, zero), np.array([[0, 0, 0]], np.int16), strict=True)
    both = where(np.array([True]), X, np.zeros((2, 1), np.int16))
    np.testing.assert_array_equal(both, np.array([[1, 2, 3]] * 2, np.int16), strict=True)
    for condition, x, y in (((2,), (1, 3), (1, 3)), ((1, 3), (2,), (1, 3)), ((1,), (1, 3), (1, 2)), ((3, 1), (2, 3), (2, 3))):
        with pytest.raises(ConstraintError, match=r"Where \(C3\): all three must broadcast, but found bool\["):
            where(np.ones(condition, bool), np.ones(x, np.int8), np.ones(y, np.int8))


def test_where_c3_a_name_is_equal_to_itself_only() -> None:
    named, condition = TensorType("int8", ("N", 3)), TensorType("bool", (1, 3))
    assert REGISTRY["Where"].result_type([condition, named, named], {}) == named
    assert REGISTRY["Where"].result_type([TensorType("bool", ("N", 1)), TensorType("int8", (3,)), named], {}) == named
    for other in (TensorType("bool", ("M", 3)), TensorType("bool", (2, 3))):
        with pytest.raises(ConstraintError, match=r"Where \(C3\)"):
            REGISTRY["Where"].result_type([other, named, named], {})


def test_where_refuses_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Where \(no empty axes\)"):
        where(np.ones((0, 3), bool), X, Y)


@pytest.mark.parametrize("quant", [Quant((0.5,)), Quant((-0.5,), zero_point=3)])
def test_where_scale_is_the_one_of_both(quant: Quant) -> None:
    types = [BOOL, INT, INT]
    assert REGISTRY["Where"].result_quant([None, quant, quant], types, {}) == quant
    assert REGISTRY["Where"].result_quant([Quant((9.0,)), quant, quant], types, {}) == quant
    assert REGISTRY["Where"].result_quant([None, None, quant], types, {}) is None
    assert REGISTRY["Where"].result_quant([None, quant, None], types, {}) is None


@pytest.mark.parametrize(
    ("x", "y", "must"),
    [
        (Quant((0.5,)), Quant((0.25,)), "x and y must have the same scale, x has scale=0.5, but found scale=0.25"),
        (Quant((0.5,)), Quant((0.5,), zero_point=1), "x and y must have the same scale"),
        (Quant((0.5, 0.5), axis=1), Quant((0.5,)), "x and y must have the same scale"),
        (Quant((0.5, 0.5), axis=1), Quant((0.5, 0.5), axis=1), "x and y must have one scale"),
    ],
)
def test_where_never_rescales(x: Quant, y: Quant, must: str) -> None:
    with pytest.raises(ConstraintError, match=rf"Where \(scales\): {must}"):
        REGISTRY["Where"].result_quant([None, x, y], [BOOL, INT, INT], {})
