from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import reshape
from ivit_ref.oracle.reshape import reshape as oracle
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

X = np.arange(12, dtype=np.int16).reshape(2, 3, 2)


@settings(deadline=None)
@given(CALLS["Reshape"])
def test_reshape_equals_the_oracle(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), x.dtype)
    np.testing.assert_array_equal(reshape(x, **attributes), expected, strict=True)
    np.testing.assert_array_equal(reshape(x, **attributes, ctx=Context("wrap")), expected, strict=True)


@pytest.mark.parametrize(
    ("shape", "expected"), [((12,), (12,)), ((-1,), (12,)), ((0, -1), (2, 6)), ((0, 0, 0), (2, 3, 2)), ((1, -1, 6), (1, 2, 6))]
)
def test_reshape_keeps_the_order(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    y = reshape(X, shape=shape)
    assert (y.shape, y.dtype.name, y.reshape(-1).tolist()) == (expected, "int16", list(range(12)))


def test_reshape_reads_transposed_memory_in_the_order_of_indices() -> None:
    assert reshape(np.array([[1, 2], [3, 4]], np.int8).T, shape=(4,)).tolist() == [1, 3, 2, 4]


def test_reshape_c1_takes_any_integers() -> None:
    for dtype in ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64"):
        y = reshape(np.ones((2, 1), dtype), shape=(2,))
        np.testing.assert_array_equal(y, np.ones(2, dtype), strict=True)
    with pytest.raises(ConstraintError, match=r"Reshape \(C1\)"):
        reshape(X.astype(np.float32), shape=(12,))


@pytest.mark.parametrize(
    "shape",
    [(11,), (13,), (), (2, 3), (-1, 5), (-1, -1, 3), (2, 3, 2, 0), (0, 0, 0, 0), (-2, -6), (12, -1, 2), (-12, -1), (3, 0, -1)],
)
def test_reshape_c2_refuses_shapes_that_do_not_keep_the_elements(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConstraintError, match=r"Reshape \(C2\)"):
        reshape(X, shape=shape)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((0, 0, 2), (2, 3, 2)), ((12, -1), (12, 1)), ((1, 1, 0, 6), (1, 1, 2, 6)), ((0, 3, 0, 1), (2, 3, 2, 1))],
)
def test_reshape_c2_takes_shapes_that_do(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert reshape(X, shape=shape).shape == expected


def test_reshape_c2_of_one_element_may_have_no_axes() -> None:
    np.testing.assert_array_equal(reshape(np.ones((1, 1), np.int8), shape=()), np.array(1, np.int8), strict=True)
    np.testing.assert_array_equal(reshape(np.array(1, np.int8), shape=(1, -1)), np.array([[1]], np.int8), strict=True)


def test_reshape_refuses_other_attributes_and_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Reshape \(attributes\): shape"):
        reshape(X, shape=12)
    with pytest.raises(ConstraintError, match=r"Reshape \(no empty axes\)"):
        reshape(np.ones((0, 2), np.int8), shape=(0, 2))


PER_TENSOR = Quant((0.5,), zero_point=3)


@pytest.mark.parametrize(
    ("before", "axis", "shape", "moved"),
    [
        ((2, 3, 4), 0, (2, 12), 0),
        ((2, 3, 4), 1, (2, 3, 2, 2), 1),
        ((2, 3, 4), 1, (0, 0, -1), 1),
        ((2, 3, 4), 1, (1, 2, 3, 4), 2),
        ((2, 3, 4), 2, (6, 4), 1),
        ((6, 3), 1, (2, 3, 3), 2),
        ((2, 3, 4), 2, (-1, 4), 1),
        ((3, 3), 1, (3, 3, 1), 1),
    ],
)
def test_reshape_scales_move_with_their_axis(before: tuple[int, ...], axis: int, shape: tuple[int, ...], moved: int) -> None:
    scales = tuple(2.0**-i for i in range(before[axis]))
    types = [TensorType("int8", before)]
    found = REGISTRY["Reshape"].result_quant([Quant(scales, 5, axis)], types, {"shape": shape})
    assert found == Quant(scales, 5, moved)


def test_reshape_scale_of_a_tensor_stays() -> None:
    types = [TensorType("int8", (2, 3))]
    assert REGISTRY["Reshape"].result_quant([PER_TENSOR], types, {"shape": (6,)}) == PER_TENSOR
    assert REGISTRY["Reshape"].result_quant([None], types, {"shape": (6,)}) is None


@pytest.mark.parametrize(
    ("before", "axis", "shape"),
    [
        ((2, 3, 4), 0, (24,)),
        ((2, 3, 4), 0, (3, 2, 4)),
        ((2, 3, 4), 1, (6, 4)),
        ((2, 3, 4), 2, (2, 12)),
        ((2, 3, 4), 1, (1, 6, 4)),
    ],
)
def test_reshape_scales_whose_axis_is_lost_are_refused(before: tuple[int, ...], axis: int, shape: tuple[int, ...]) -> None:
    scales = tuple(2.0**-i for i in range(before[axis]))
    with pytest.raises(ConstraintError, match=r"Reshape \(scales\)"):
        REGISTRY["Reshape"].result_quant([Quant(scales, axis=axis)], [TensorType("int8", before)], {"shape": shape})
