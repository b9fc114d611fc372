from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.build import GraphBuilder
from ivit_ref.errors import ConstraintError, IntegerOverflow, ScaleError
from ivit_ref.events import Context, Event
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import mul
from ivit_ref.oracle.mul import mul as oracle
from ivit_ref.oracle.rounding import float32
from ivit_ref.oracle.widths import Overflow
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

ROW = np.array([[1, 2, 3]], np.int8)
COLUMN = np.array([[4], [5]], np.int8)
TYPES = [TensorType("int8", (1, 2, 3)), TensorType("int8", (2, 3))]


@settings(deadline=None)
@given(CALLS["Mul"])
def test_mul_equals_the_oracle_or_both_raise(call: Call) -> None:
    (a, b), _ = call
    try:
        expected = oracle(a.tolist(), b.tolist())
    except Overflow:
        with pytest.raises(IntegerOverflow, match="Mul: product"):
            mul(a, b)
        return
    np.testing.assert_array_equal(mul(a, b), np.array(expected, np.int32), strict=True)


@settings(deadline=None)
@given(CALLS["Mul"])
def test_mul_equals_the_oracle_when_it_wraps(call: Call) -> None:
    (a, b), _ = call
    expected = np.array(oracle(a.tolist(), b.tolist(), overflow="wrap"), np.int32)
    events: list[Event] = []
    np.testing.assert_array_equal(mul(a, b, ctx=Context("wrap", emit=events.append)), expected, strict=True)
    try:
        oracle(a.tolist(), b.tolist())
    except Overflow:
        assert [event.kind for event in events] == ["wrapped"]
    else:
        assert events == []


def test_mul_by_hand() -> None:
    expected = np.array([[-5, 0, 63]], np.int32)
    np.testing.assert_array_equal(mul(np.array([[-1, 0, 7]], np.int8), np.array([5, 6, 9], np.uint8)), expected, strict=True)


def test_mul_of_bytes_leaves_16_bits() -> None:
    assert mul(np.array([255], np.uint8), np.array([-128], np.int8)).tolist() == [-32640]
    assert mul(np.array([-(2**15)], np.int16), np.array([-(2**15)], np.int16)).tolist() == [2**30]


def test_mul_wraps_and_says_where() -> None:
    a = np.array([[2**16, 46340, 2**31 - 1, -(2**31)]], np.int32)
    b = np.array([[2**15], [46340], [-(2**31)]], np.int32)
    events: list[Event] = []
    y = mul(a, b, ctx=Context("wrap", node="gate", emit=events.append))
    # 46340 * 2**15 and 46340**2 fit; (2**31 - 1) * 2**15 = 2**46 - 2**15; 2**31 * 46340 is a multiple of 2**32.
    assert y.tolist() == [
        [-(2**31), 1518469120, -(2**15), 0],
        [46340 * 2**16 - 2**32, 46340**2, -46340, 0],
        [0, 0, -(2**31), 0],
    ]
    assert events == [Event("wrapped", "gate", "Mul", "product", 10, 12, (0, 0), 2**31)]


def test_mul_raises_and_says_where() -> None:
    with pytest.raises(IntegerOverflow) as caught:
        mul(np.array([0, 2, -3], np.int8), np.array([2**31 - 1], np.int32))
    error = caught.value
    assert (error.op, error.step, error.dtype, error.count, error.total) == ("Mul", "product", "int32", 2, 3)
    assert (error.index, error.value) == ((1,), 2**32 - 2)


@pytest.mark.parametrize(
    ("a", "b", "beyond"), [(2**31 - 1, 1, None), (-(2**31), 1, -1), (2**16, -(2**15), 2**15), (46340, 46340, 46342)]
)
def test_mul_goes_up_to_the_limits_of_int32(a: int, b: int, beyond: int | None) -> None:
    x = np.array([a], np.int32)
    assert mul(x, np.array([b], np.int32)).tolist() == [a * b]
    if beyond is not None:
        with pytest.raises(IntegerOverflow, match="Mul: product: 1 of 1 elements do not fit int32"):
            mul(x, np.array([beyond], np.int32))


def test_mul_c1_takes_integers_up_to_int32() -> None:
    for dtype in ("int8", "uint8", "int16", "int32"):
        for other in ("int8", "uint8", "int16", "int32"):
            y = mul(ROW.astype(dtype), ROW.astype(other))
            np.testing.assert_array_equal(y, np.array([[1, 4, 9]], np.int32), strict=True)
    for dtype in ("bool", "uint16", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"Mul \(C1\): a must be int8 or uint8 or int16 or int32, but found "):
            mul(ROW.astype(dtype), ROW)
        with pytest.raises(ConstraintError, match=r"Mul \(C1\): b must be int8 or uint8 or int16 or int32, but found "):
            mul(ROW, ROW.astype(dtype))


def test_mul_c2_inputs_broadcast() -> None:
    expected = np.array([[4, 8, 12], [5, 10, 15]], np.int32)
    np.testing.assert_array_equal(mul(ROW, COLUMN), expected, strict=True)
    np.testing.assert_array_equal(mul(COLUMN, ROW[0]), expected, strict=True)
    np.testing.assert_array_equal(mul(np.array(2, np.int8), ROW), np.array([[2, 4, 6]], np.int32), strict=True)
    for shape in ((2,), (1, 2), (3, 2), (4, 1, 2)):
        with pytest.raises(ConstraintError, match=r"Mul \(C2\): a and b must broadcast, but found int8\[1,3\] and int8\["):
            mul(ROW, np.ones(shape, np.int8))


def test_mul_c2_a_name_is_equal_to_itself_only() -> None:
    named = TensorType("int8", ("N", 3))
    assert REGISTRY["Mul"].result_type([named, named], {}) == TensorType("int32", ("N", 3))
    assert REGISTRY["Mul"].result_type([named, TensorType("int8", (1, 1))], {}) == TensorType("int32", ("N", 3))
    for other in (("M", 3), (2, 3), ("N", 2)):
        with pytest.raises(ConstraintError, match=r"Mul \(C2\)"):
            REGISTRY["Mul"].result_type([named, TensorType("int8", other)], {})


def test_mul_refuses_empty_axes() -> None:
    for arrays in ((ROW, np.ones((0, 3), np.int8)), (np.ones((0, 3), np.int8), ROW)):
        with pytest.raises(ConstraintError, match=r"Mul \(no empty axes\)"):
            mul(*arrays)


def test_mul_scale_is_the_product_in_float32() -> None:
    tenth, third = float32(Fraction(1, 10)), float32(Fraction(1, 3))
    expected = Quant((float32(Fraction(tenth) * Fraction(third)),))
    assert REGISTRY["Mul"].result_quant([Quant((tenth,)), Quant((third,))], TYPES, {}) == expected
    assert REGISTRY["Mul"].result_quant([Quant((-0.5,)), Quant((0.25,))], TYPES, {}) == Quant((-0.125,))


def test_mul_scale_is_unknown_where_one_of_the_inputs_is() -> None:
    for quants in ([None, Quant((0.5,))], [Quant((0.5,), zero_point=3), None], [None, None]):
        assert REGISTRY["Mul"].result_quant(quants, TYPES, {}) is None


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (Quant((0.5, 0.25, 0.125), axis=2), Quant((0.5,)), Quant((0.25, 0.125, 0.0625), axis=2)),
        (Quant((0.5,)), Quant((0.5, -0.25), axis=0), Quant((0.25, -0.125), axis=1)),
        (Quant((0.5, 0.25, 1.0), axis=2), Quant((2.0, 4.0, 8.0), axis=1), Quant((1.0, 1.0, 8.0), axis=2)),
        (Quant((0.5, 0.25, 1.0), axis=2), Quant((2.0,), axis=1), Quant((1.0, 0.5, 2.0), axis=2)),
    ],
)
def test_mul_scales_go_along_the_axis_of_the_result(a: Quant, b: Quant, expected: Quant) -> None:
    assert REGISTRY["Mul"].result_quant([a, b], TYPES, {}) == expected


def test_mul_one_scale_along_an_axis_serves_the_axis_that_it_is_repeated_to() -> None:
    b = GraphBuilder("repeated")
    x, y = b.input("x", "int8", (1, 3), Quant((0.5,), axis=0)), b.input("y", "int8", (4, 3), Quant((0.25,)))
    graph = b.finish([b.node("Mul", x, y, name="product")])
    assert graph.values["product"].quant == Quant((0.125,))


def test_mul_scales_along_two_axes_are_refused() -> None:
    for a, b, found in (
        (Quant((0.5, 0.5), axis=1), Quant((0.5,) * 3, axis=1), r"\[1, 2\]"),
        (Quant((0.5,), axis=0), Quant((0.5, 0.5), axis=0), r"\[0, 1\]"),
    ):
        with pytest.raises(ConstraintError, match=rf"Mul \(scales\): scales must go along one axis, but found {found}"):
            REGISTRY["Mul"].result_quant([a, b], TYPES, {})


def test_mul_zero_points_are_refused() -> None:
    plain, shifted = Quant((0.5,)), Quant((0.5,), zero_point=-3)
    for quants in ([plain, shifted], [shifted, plain]):
        with pytest.raises(ConstraintError, match=r"Mul \(scales\): the zero point of an input must be 0, but found -3"):
            REGISTRY["Mul"].result_quant(quants, TYPES, {})


def test_mul_products_of_scales_beyond_float32_are_refused() -> None:
    with pytest.raises(ScaleError, match="product: scales must have a product within float32"):
        REGISTRY["Mul"].result_quant([Quant((2.0**-100,)), Quant((2.0**-100,))], TYPES, {})
