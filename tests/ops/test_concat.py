from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import concat
from ivit_ref.oracle.concat import concat as oracle
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

X = np.array([[1, 2]], np.int16)
TYPES = [TensorType("int16", (1, 2)), TensorType("int16", (1, 2))]


@settings(deadline=None)
@given(CALLS["Concat"])
def test_concat_equals_the_oracle(call: Call) -> None:
    (x, y), attributes = call
    expected = np.array(oracle(x.tolist(), y.tolist(), **attributes), x.dtype)
    np.testing.assert_array_equal(concat(x, y, **attributes), expected, strict=True)
    np.testing.assert_array_equal(concat(x, y, **attributes, ctx=Context("wrap")), expected, strict=True)


def test_concat_puts_y_behind_x() -> None:
    np.testing.assert_array_equal(concat(X, X + 2, axis=0), np.array([[1, 2], [3, 4]], np.int16), strict=True)
    np.testing.assert_array_equal(concat(X, X[:, :1] + 2, axis=1), np.array([[1, 2, 3]], np.int16), strict=True)


def test_concat_c1_takes_integers_of_one_dtype() -> None:
    for dtype in ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64"):
        x = np.ones((1, 2), dtype)
        np.testing.assert_array_equal(concat(x, x, axis=0), np.ones((2, 2), dtype), strict=True)
    for x_dtype, y_dtype in (
        ("float32", "float32"),
        ("int8", "uint8"),
        ("int16", "int32"),
        ("int8", "float32"),
        ("bool", "int8"),
    ):
        with pytest.raises(ConstraintError, match=r"Concat \(C1\)"):
            concat(X.astype(x_dtype), X.astype(y_dtype), axis=0)


@pytest.mark.parametrize(
    ("x_shape", "y_shape", "axis"),
    [((1, 2), (1, 2), 2), ((1, 2), (1, 2), -1), ((1, 2), (2,), 0), ((2, 3), (2, 4), 0), ((1, 2, 3), (2, 2, 3), 1), ((), (), 0)],
)
def test_concat_c2_refuses_shapes_that_differ_elsewhere(x_shape: tuple[int, ...], y_shape: tuple[int, ...], axis: int) -> None:
    with pytest.raises(ConstraintError, match=r"Concat \(C2\)"):
        concat(np.ones(x_shape, np.int8), np.ones(y_shape, np.int8), axis=axis)


@pytest.mark.parametrize(("axis", "shape"), [(0, (3, 2, 3)), (1, (1, 4, 3)), (2, (1, 2, 5))])
def test_concat_c2_lengths_along_the_axis_may_differ(axis: int, shape: tuple[int, ...]) -> None:
    y_shape = [1, 2, 3]
    y_shape[axis] = 2
    assert concat(np.ones((1, 2, 3), np.int8), np.ones(y_shape, np.int8), axis=axis).shape == shape


def test_concat_c2_needs_a_known_length_along_the_axis_only() -> None:
    named = TensorType("int8", ("N", 2))
    assert REGISTRY["Concat"].result_type([named, named], {"axis": 1}) == TensorType("int8", ("N", 4))
    with pytest.raises(ConstraintError, match=r"Concat \(C2\)"):
        REGISTRY["Concat"].result_type([named, named], {"axis": 0})
    with pytest.raises(ConstraintError, match=r"Concat \(C2\)"):
        REGISTRY["Concat"].result_type([named, TensorType("int8", (1, 2))], {"axis": 1})


def test_concat_refuses_other_attributes_and_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Concat \(attributes\): axis"):
        concat(X, X, axis=0.0)
    for arrays in ((np.ones((0, 2), np.int16), X), (X, np.ones((0, 2), np.int16))):
        with pytest.raises(ConstraintError, match=r"Concat \(no empty axes\)"):
            concat(*arrays, axis=0)


@pytest.mark.parametrize("quant", [Quant((0.5,)), Quant((0.5,), zero_point=3), Quant((0.5, 0.25), axis=1)])
def test_concat_scale_is_the_one_of_both(quant: Quant) -> None:
    assert REGISTRY["Concat"].result_quant([quant, quant], TYPES, {"axis": 0}) == quant
    assert REGISTRY["Concat"].result_quant([None, quant], TYPES, {"axis": 0}) is None
    assert REGISTRY["Concat"].result_quant([quant, None], TYPES, {"axis": 0}) is None


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (Quant((0.5,)), Quant((0.25,))),
        (Quant((0.5,)), Quant((0.5,), zero_point=1)),
        (Quant((0.5, 0.5), axis=1), Quant((0.5,))),
        (Quant((0.5, 0.25), axis=0), Quant((0.5, 0.25), axis=0)),
    ],
)
def test_concat_never_rescales(x: Quant, y: Quant) -> None:
    with pytest.raises(ConstraintError, match=r"Concat \(scales\)"):
        REGISTRY["Concat"].result_quant([x, y], TYPES, {"axis": 0})
