from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import expand
from ivit_ref.oracle.expand import expand as oracle
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

X = np.array([[[1], [2]]], np.int16)
LIKE = np.zeros((3, 5, 4), np.int8)
TYPES = [TensorType("int16", (1, 2, 1)), TensorType("int8", (3, 5, 4))]


@settings(deadline=None)
@given(CALLS["Expand"])
def test_expand_equals_the_oracle(call: Call) -> None:
    (x, like), attributes = call
    expected = np.array(oracle(x.tolist(), like.tolist(), **attributes), x.dtype)
    np.testing.assert_array_equal(expand(x, like, **attributes), expected, strict=True)
    np.testing.assert_array_equal(expand(x, like, **attributes, ctx=Context("wrap")), expected, strict=True)


def test_expand_takes_lengths_from_like_at_the_axes_only() -> None:
    np.testing.assert_array_equal(expand(X, LIKE, axes=(0,)), np.array([[[1], [2]]] * 3, np.int16), strict=True)
    np.testing.assert_array_equal(expand(X, LIKE, axes=(2,)), np.array([[[1] * 4, [2] * 4]], np.int16), strict=True)
    np.testing.assert_array_equal(expand(X, LIKE, axes=(0, 2)), np.array([[[1] * 4, [2] * 4]] * 3, np.int16), strict=True)
    np.testing.assert_array_equal(expand(X, LIKE, axes=()), X, strict=True)


def test_expand_keeps_a_named_axis() -> None:
    types = [TensorType("int16", (1, 1, 8)), TensorType("int16", ("N", 16, 8))]
    assert REGISTRY["Expand"].result_type(types, {"axes": (0,)}) == TensorType("int16", ("N", 1, 8))


def test_expand_c1_takes_integers_of_one_rank() -> None:
    for dtype in ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64"):
        x = np.ones((1, 2), dtype)
        for like_dtype in ("bool", "int8", "int64"):
            y = expand(x, np.zeros((2, 1), like_dtype), axes=(0,))
            np.testing.assert_array_equal(y, np.ones((2, 2), dtype), strict=True)
    with pytest.raises(ConstraintError, match=r"Expand \(C1\): x "):
        expand(X.astype(np.float32), LIKE, axes=(0,))
    with pytest.raises(ConstraintError, match=r"Expand \(C1\): like "):
        expand(X, LIKE.astype(np.float32), axes=(0,))
    for like in (LIKE[0], LIKE[None]):
        with pytest.raises(ConstraintError, match=r"Expand \(C1\): like "):
            expand(X, like, axes=(0,))


def test_expand_c2_axes_are_ascending_places_of_length_one() -> None:
    assert expand(X, LIKE, axes=(0, 2)).shape == (3, 2, 4)
    for axes in ((1,), (0, 1), (2, 0), (0, 0), (-1,), (3,)):
        with pytest.raises(ConstraintError, match=r"Expand \(C2\)"):
            expand(X, LIKE, axes=axes)


def test_expand_refuses_other_attributes_and_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Expand \(attributes\): axes"):
        expand(X, LIKE, axes=0)
    for arrays in ((X[:, :0], LIKE), (X, LIKE[:0])):
        with pytest.raises(ConstraintError, match=r"Expand \(no empty axes\)"):
            expand(*arrays, axes=(0,))


@pytest.mark.parametrize("quant", [None, Quant((0.5,), zero_point=3), Quant((0.5, 0.25), axis=1)])
def test_expand_scale_stays(quant: Quant | None) -> None:
    assert REGISTRY["Expand"].result_quant([quant, None], TYPES, {"axes": (0, 2)}) == quant


def test_expand_scales_along_a_repeated_axis_are_refused() -> None:
    with pytest.raises(ConstraintError, match=r"Expand \(scales\)"):
        REGISTRY["Expand"].result_quant([Quant((0.5,), axis=0), None], TYPES, {"axes": (0,)})
