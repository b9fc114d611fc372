from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Context, Event
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import matmul
from ivit_ref.oracle.matmul import matmul as oracle
from ivit_ref.oracle.rounding import float32
from ivit_ref.oracle.widths import Overflow
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

ROW = np.array([[1, 2]], np.int8)
COLUMN = np.array([[3], [4]], np.int8)
TYPES = [TensorType("int8", (1, 2)), TensorType("int8", (2, 1))]


@settings(deadline=None)
@given(CALLS["MatMul"])
def test_matmul_equals_the_oracle_or_both_raise(call: Call) -> None:
    (a, b), attributes = call
    try:
        expected = oracle(a.tolist(), b.tolist(), **attributes)
    except Overflow:
        with pytest.raises(IntegerOverflow, match="MatMul: accumulator"):
            matmul(a, b, **attributes)
        return
    np.testing.assert_array_equal(matmul(a, b, **attributes), np.array(expected, np.int32), strict=True)


@settings(deadline=None)
@given(CALLS["MatMul"])
def test_matmul_equals_the_oracle_when_it_wraps(call: Call) -> None:
    (a, b), attributes = call
    expected = np.array(oracle(a.tolist(), b.tolist(), **attributes, overflow="wrap"), np.int32)
    events: list[Event] = []
    np.testing.assert_array_equal(matmul(a, b, **attributes, ctx=Context("wrap", emit=events.append)), expected, strict=True)
    try:
        oracle(a.tolist(), b.tolist(), **attributes)
    except Overflow:
        assert [event.kind for event in events] == ["wrapped"]
    else:
        assert events == []


def test_matmul_by_hand() -> None:
    a = np.array([[1, 2], [3, 4]], np.uint8)
    b = np.array([[5, -6], [7, 8]], np.int8)
    np.testing.assert_array_equal(matmul(a, b, alpha=1.0), np.array([[19, 10], [43, 14]], np.int32), strict=True)


def test_matmul_wraps_and_says_where() -> None:
    a = np.array([[1, 1, 1], [-(2**15), -(2**15), 0], [-(2**15), -(2**15), -(2**15)]], np.int16)
    b = np.array([[-(2**15)], [-(2**15)], [-(2**15)]], np.int16)
    events: list[Event] = []
    y = matmul(a, b, alpha=1.0, ctx=Context("wrap", node="scores", emit=events.append))
    assert y.tolist() == [[-3 * 2**15], [-(2**31)], [3 * 2**30 - 2**32]]
    assert events == [Event("wrapped", "scores", "MatMul", "accumulator", 2, 3, (1, 0), 2**31)]


def test_matmul_raises_and_says_where() -> None:
    a = np.array([[0, 0], [-(2**15), -(2**15)]], np.int16)
    b = np.array([[1, -(2**15)], [1, -(2**15)]], np.int16)
    with pytest.raises(IntegerOverflow) as caught:
        matmul(a, b, alpha=1.0)
    error = caught.value
    assert (error.op, error.step, error.dtype, error.count, error.total) == ("MatMul", "accumulator", "int32", 1, 4)
    assert (error.index, error.value) == ((1, 1), 2**31)


@pytest.mark.parametrize(
    ("row", "column", "limit"),
    [
        ([-(2**15), 2**15 - 1, 2**15 - 1], [-(2**15), 2**15 - 1, 2], 2**31 - 1),
        ([-(2**15), -(2**15), -(2**15)], [2**15 - 1, 2**15 - 1, 2], -(2**31)),
    ],
)
def test_matmul_accumulates_up_to_the_limits_of_int32(row: list[int], column: list[int], limit: int) -> None:
    sign = 1 if limit > 0 else -1
    a = np.array([[*row, sign]], np.int16)
    b = np.array([[*column, 0]], np.int16).T
    assert matmul(a, b, alpha=1.0).tolist() == [[limit]]
    b[-1] = 1
    with pytest.raises(IntegerOverflow):
        matmul(a, b, alpha=1.0)


def test_matmul_c1_takes_integers_up_to_int32() -> None:
    for dtype in ("int8", "uint8", "int16", "int32"):
        assert matmul(ROW.astype(dtype), COLUMN.astype(np.int8), alpha=1.0).tolist() == [[11]]
        assert matmul(ROW.astype(np.int16), COLUMN.astype(dtype), alpha=1.0).tolist() == [[11]]
    for dtype in ("bool", "uint16", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"MatMul \(C1\): a "):
            matmul(ROW.astype(dtype), COLUMN, alpha=1.0)
        with pytest.raises(ConstraintError, match=r"MatMul \(C1\): b "):
            matmul(ROW, COLUMN.astype(dtype), alpha=1.0)


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [((2,), (2, 1)), ((1, 2), (2,)), ((1, 2), (3, 1)), ((2, 1, 2), (3, 2, 1)), ((3, 1, 1, 2), (2, 4, 2, 1))],
)
def test_matmul_c2_refuses_shapes_that_do_not_match(a_shape: tuple[int, ...], b_shape: tuple[int, ...]) -> None:
    with pytest.raises(ConstraintError, match=r"MatMul \(C2\)"):
        matmul(np.ones(a_shape, np.int8), np.ones(b_shape, np.int8), alpha=1.0)


@pytest.mark.parametrize(
    ("a_shape", "b_shape", "y_shape"),
    [((1, 1), (1, 1), (1, 1)), ((2, 1, 3, 2), (4, 2, 5), (2, 4, 3, 5)), ((3, 2), (2, 1, 2, 5), (2, 1, 3, 5))],
)
def test_matmul_c2_takes_shapes_that_broadcast(
    a_shape: tuple[int, ...], b_shape: tuple[int, ...], y_shape: tuple[int, ...]
) -> None:
    y = matmul(np.ones(a_shape, np.int8), np.ones(b_shape, np.int8), alpha=1.0)
    np.testing.assert_array_equal(y, np.full(y_shape, a_shape[-1], np.int32), strict=True)


def test_matmul_c3_takes_finite_positive_factors() -> None:
    for alpha in (2.0**-149, 1.0, 2.0**127):
        assert matmul(ROW, COLUMN, alpha=alpha).tolist() == [[11]]
    for alpha in (0.0, -0.0, -1.0, math.nan, math.inf, 0.1, 2.0**128, math.ulp(0.0)):
        with pytest.raises(ConstraintError, match=r"MatMul \(C3\)"):
            matmul(ROW, COLUMN, alpha=alpha)


def test_matmul_needs_its_attribute() -> None:
    with pytest.raises(ConstraintError, match=r"MatMul \(attributes\)"):
        matmul(ROW, COLUMN)
    with pytest.raises(ConstraintError, match=r"MatMul \(attributes\): alpha"):
        matmul(ROW, COLUMN, alpha=1)


@pytest.mark.parametrize(("a_shape", "b_shape"), [((0, 2), (2, 1)), ((1, 0), (0, 1)), ((1, 2), (2, 0))])
def test_matmul_refuses_empty_axes(a_shape: tuple[int, ...], b_shape: tuple[int, ...]) -> None:
    with pytest.raises(ConstraintError, match=r"MatMul \(no empty axes\)"):
        matmul(np.ones(a_shape, np.int8), np.ones(b_shape, np.int8), alpha=1.0)


def test_matmul_scale_is_the_product_of_three_rounded_to_float32_twice() -> None:
    first, second, alpha = float32(Fraction(1, 10)), float32(Fraction(3, 10)), 8**-0.5
    product = float32(Fraction(first) * Fraction(second))
    expected = float32(Fraction(product) * Fraction(float32(Fraction(alpha))))
    found = REGISTRY["MatMul"].result_quant([Quant((first,)), Quant((second,))], TYPES, {"alpha": alpha})
    assert found == Quant((expected,))


def test_matmul_scale_is_unknown_where_one_of_the_inputs_is() -> None:
    for quants in ([None, Quant((0.5,))], [Quant((0.5,)), None]):
        assert REGISTRY["MatMul"].result_quant(quants, TYPES, {"alpha": 1.0}) is None


@pytest.mark.parametrize("wrong", [Quant((0.5,), zero_point=1), Quant((0.5, 0.25), axis=1)])
def test_matmul_scales_must_be_per_tensor_and_symmetric(wrong: Quant) -> None:
    for quants in ([wrong, Quant((0.5,))], [Quant((0.5,)), wrong]):
        with pytest.raises(ConstraintError, match=r"MatMul \(scales\)"):
            REGISTRY["MatMul"].result_quant(quants, TYPES, {"alpha": 1.0})


def test_matmul_c4_takes_one_int32_with_a_short_k() -> None:
    narrow = TensorType("int16", (2**16, 1))
    attributes = {"alpha": 1.0}
    found = REGISTRY["MatMul"].result_type([TensorType("int32", (1, 2**16)), narrow], attributes)
    assert found == TensorType("int32", (1, 1))
    longer = [TensorType("int32", (1, 2**16 + 1)), TensorType("int16", (2**16 + 1, 1))]
    both = [TensorType("int32", (1, 1)), TensorType("int32", (1, 1))]
    named = [TensorType("int32", (1, "K")), TensorType("int16", ("K", 1))]
    for types in (longer, both, named):
        with pytest.raises(ConstraintError, match=r"^MatMul \(C4\): at most one input may be int32"):
            REGISTRY["MatMul"].result_type(types, attributes)
    assert REGISTRY["MatMul"].result_type([TensorType("int16", (1, "K")), named[1]], attributes).shape == (1, 1)
