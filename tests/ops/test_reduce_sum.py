from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Context, Event
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import reduce_sum
from ivit_ref.oracle.reduce_sum import reduce_sum as oracle
from ivit_ref.oracle.widths import Overflow
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

X = np.array([[[1, 2, 3], [4, 5, 6]]], np.int8)
TYPES = [TensorType("int8", (1, 2, 3))]


@settings(deadline=None)
@given(CALLS["ReduceSum"])
def test_reduce_sum_equals_the_oracle_or_both_raise(call: Call) -> None:
    (x,), attributes = call
    try:
        expected = oracle(x.tolist(), **attributes)
    except Overflow:
        with pytest.raises(IntegerOverflow, match="ReduceSum: sum"):
            reduce_sum(x, **attributes)
        return
    np.testing.assert_array_equal(reduce_sum(x, **attributes), np.array(expected, np.int32), strict=True)


@settings(deadline=None)
@given(CALLS["ReduceSum"])
def test_reduce_sum_equals_the_oracle_when_it_wraps(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes, overflow="wrap"), np.int32)
    events: list[Event] = []
    y = reduce_sum(x, **attributes, ctx=Context("wrap", emit=events.append))
    np.testing.assert_array_equal(y, expected, strict=True)
    try:
        oracle(x.tolist(), **attributes)
    except Overflow:
        assert [event.kind for event in events] == ["wrapped"]
    else:
        assert events == []


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ((0,), [[[1, 2, 3], [4, 5, 6]]]),
        ((1,), [[[5, 7, 9]]]),
        ((2,), [[[6], [15]]]),
        ((1, 2), [[[21]]]),
        ((0, 2), [[[6], [15]]]),
        ((0, 1, 2), [[[21]]]),
    ],
)
def test_reduce_sum_keeps_the_axes(axes: tuple[int, ...], expected: list[list[list[int]]]) -> None:
    np.testing.assert_array_equal(reduce_sum(X, axes=axes), np.array(expected, np.int32), strict=True)


def test_reduce_sum_of_bytes_goes_beyond_them() -> None:
    assert reduce_sum(np.full(300, 255, np.uint8), axes=(0,)).tolist() == [76500]
    assert reduce_sum(np.full((2, 300), -128, np.int8), axes=(0, 1)).tolist() == [[-76800]]


def test_reduce_sum_wraps_and_says_where() -> None:
    x = np.array([[2**31 - 1, 0], [2**30, 2**30], [-(2**31), -1], [-(2**31), -(2**31)]], np.int32)
    events: list[Event] = []
    y = reduce_sum(x, axes=(1,), ctx=Context("wrap", node="pool", emit=events.append))
    np.testing.assert_array_equal(y, np.array([[2**31 - 1], [-(2**31)], [2**31 - 1], [0]], np.int32), strict=True)
    assert events == [Event("wrapped", "pool", "ReduceSum", "sum", 3, 4, (1, 0), 2**31)]


@pytest.mark.parametrize(("limit", "step"), [(2**31 - 1, 1), (-(2**31), -1)])
def test_reduce_sum_raises_one_beyond_the_limits_of_int32(limit: int, step: int) -> None:
    x = np.array([[0, 0], [limit, 0]], np.int32)
    assert reduce_sum(x, axes=(1,)).tolist() == [[0], [limit]]
    x[1, 1] = step
    with pytest.raises(IntegerOverflow) as caught:
        reduce_sum(x, axes=(1,))
    error = caught.value
    assert (error.op, error.step, error.dtype, error.count, error.total) == ("ReduceSum", "sum", "int32", 1, 2)
    assert (error.index, error.value) == ((1, 0), limit + step)


def test_reduce_sum_only_the_whole_sum_must_fit() -> None:
    x = np.array([2**31 - 1, 2**31 - 1, -(2**31), -(2**31), 7], np.int32)
    assert reduce_sum(x, axes=(0,)).tolist() == [5]


def test_reduce_sum_c1_takes_integers_up_to_int32() -> None:
    for dtype in ("int8", "uint8", "int16", "int32"):
        np.testing.assert_array_equal(reduce_sum(X.astype(dtype), axes=(1,)), np.array([[[5, 7, 9]]], np.int32), strict=True)
    for dtype in ("bool", "uint16", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"ReduceSum \(C1\): x must be int8 or uint8 or int16 or int32, but found "):
            reduce_sum(X.astype(dtype), axes=(1,))


@pytest.mark.parametrize("axes", [(), (3,), (-1,), (0, 3), (-1, 0), (1, 0), (1, 1), (0, 2, 1)])
def test_reduce_sum_c2_refuses_axes_that_are_not_ascending_places(axes: tuple[int, ...]) -> None:
    with pytest.raises(ConstraintError, match=r"ReduceSum \(C2\): axes must be ascending places of known lengths in "):
        reduce_sum(X, axes=axes)


def test_reduce_sum_c2_a_number_has_no_axes() -> None:
    for axes in ((), (0,)):
        with pytest.raises(ConstraintError, match=r"ReduceSum \(C2\)"):
            reduce_sum(np.array(1, np.int8), axes=axes)


def test_reduce_sum_c2_lengths_are_known() -> None:
    named = [TensorType("int8", ("N", 3, 4))]
    assert REGISTRY["ReduceSum"].result_type(named, {"axes": (1, 2)}) == TensorType("int32", ("N", 1, 1))
    for axes in ((0,), (0, 1), (0, 1, 2)):
        with pytest.raises(ConstraintError, match=r"ReduceSum \(C2\)"):
            REGISTRY["ReduceSum"].result_type(named, {"axes": axes})


def test_reduce_sum_c2_adds_up_to_2_to_the_22_elements() -> None:
    most = TensorType("int32", ("N", 2**11, 3, 2**11))
    assert REGISTRY["ReduceSum"].result_type([most], {"axes": (1, 3)}) == TensorType("int32", ("N", 1, 3, 1))
    must = r"ReduceSum \(C2\): .*, at most 2\*\*22 elements together, but found \[1, 2\]"
    for longer in ((2**11, 2**11 + 1), (2**22 + 1, 1), (2, 2**22)):
        with pytest.raises(ConstraintError, match=must):
            REGISTRY["ReduceSum"].result_type([TensorType("int32", ("N", *longer))], {"axes": (1, 2)})


def test_reduce_sum_of_the_most_elements_is_exact() -> None:
    """An odd sum next to -(2**53), whose low 32 bits are left."""
    x = np.full((2, 2**21), -(2**31), np.int32)
    x[1, 7] += 3
    assert reduce_sum(x, axes=(0, 1), ctx=Context("wrap")).tolist() == [[3]]


def test_reduce_sum_refuses_other_attributes_and_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"ReduceSum \(attributes\): axes"):
        reduce_sum(X, axes=1)  # type: ignore[arg-type]
    with pytest.raises(ConstraintError, match=r"ReduceSum \(no empty axes\)"):
        reduce_sum(np.ones((0, 2), np.int8), axes=(1,))


@pytest.mark.parametrize(
    ("quant", "axes"),
    [
        (Quant((-0.5,)), (0, 1, 2)),
        (Quant((0.5, 0.25), axis=1), (0, 2)),
        (Quant((0.5, 0.25, -0.5), axis=2), (1,)),
        (None, (1,)),
    ],
)
def test_reduce_sum_scale_is_that_of_x(quant: Quant | None, axes: tuple[int, ...]) -> None:
    assert REGISTRY["ReduceSum"].result_quant([quant], TYPES, {"axes": axes}) == quant


def test_reduce_sum_zero_points_are_refused() -> None:
    with pytest.raises(ConstraintError, match=r"ReduceSum \(scales\): the zero point of x must be 0, but found 3"):
        REGISTRY["ReduceSum"].result_quant([Quant((0.5,), zero_point=3)], TYPES, {"axes": (1,)})


@pytest.mark.parametrize("axes", [(1,), (0, 1), (1, 2)])
def test_reduce_sum_scales_along_an_axis_of_the_sum_are_refused(axes: tuple[int, ...]) -> None:
    with pytest.raises(ConstraintError, match=r"ReduceSum \(scales\): the scales must not go along the axes"):
        REGISTRY["ReduceSum"].result_quant([Quant((0.5, 0.5), axis=1)], TYPES, {"axes": axes})
