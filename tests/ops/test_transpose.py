from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import transpose
from ivit_ref.oracle.transpose import transpose as oracle
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

X = np.arange(6, dtype=np.int16).reshape(1, 2, 3)


@settings(deadline=None)
@given(CALLS["Transpose"])
def test_transpose_equals_the_oracle(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), x.dtype)
    np.testing.assert_array_equal(transpose(x, **attributes), expected, strict=True)
    np.testing.assert_array_equal(transpose(x, **attributes, ctx=Context("wrap")), expected, strict=True)


def test_transpose_names_where_each_axis_comes_from() -> None:
    """Not where it goes: of a cycle of three axes the two differ."""
    y = transpose(X, perm=(1, 2, 0))
    np.testing.assert_array_equal(y, np.array([[[0], [1], [2]], [[3], [4], [5]]], np.int16), strict=True)


def test_transpose_c1_takes_any_integers() -> None:
    for dtype in ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64"):
        np.testing.assert_array_equal(transpose(np.ones((2, 1), dtype), perm=(1, 0)), np.ones((1, 2), dtype), strict=True)
    with pytest.raises(ConstraintError, match=r"Transpose \(C1\)"):
        transpose(X.astype(np.float32), perm=(0, 1, 2))


def test_transpose_c2_perm_has_every_axis_once() -> None:
    assert transpose(X, perm=(2, 1, 0)).shape == (3, 2, 1)
    assert transpose(np.array(7, np.int8), perm=()).tolist() == 7
    for perm in ((0, 1), (0, 1, 1), (0, 1, 3), (1, 2, 3), (0, 1, -1), (0, 1, 2, 3), ()):
        with pytest.raises(ConstraintError, match=r"Transpose \(C2\)"):
            transpose(X, perm=perm)


def test_transpose_refuses_other_attributes_and_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Transpose \(attributes\): perm"):
        transpose(X, perm=(0.0, 1.0, 2.0))
    with pytest.raises(ConstraintError, match=r"Transpose \(no empty axes\)"):
        transpose(np.ones((0, 2), np.int8), perm=(1, 0))


@pytest.mark.parametrize(("axis", "moved"), [(0, 2), (1, 0), (2, 1)])
def test_transpose_scales_move_with_their_axis(axis: int, moved: int) -> None:
    types = [TensorType("int8", (2, 2, 2))]
    found = REGISTRY["Transpose"].result_quant([Quant((0.5, 0.25), 5, axis)], types, {"perm": (1, 2, 0)})
    assert found == Quant((0.5, 0.25), 5, moved)


def test_transpose_scale_of_a_tensor_stays() -> None:
    types = [TensorType("int8", (2, 2))]
    for quant in (None, Quant((0.5,), zero_point=3)):
        assert REGISTRY["Transpose"].result_quant([quant], types, {"perm": (1, 0)}) == quant
