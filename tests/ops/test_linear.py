from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Context, Event
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import linear
from ivit_ref.oracle.linear import linear as oracle
from ivit_ref.oracle.rounding import float32
from ivit_ref.oracle.widths import Overflow
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

X = np.array([[1, 2]], np.int8)
WEIGHT = np.array([[1, 0], [0, 1], [3, -4]], np.int8)
BIAS = np.array([10, 20, 30], np.int32)
TYPES = [TensorType("int8", (1, 5, 2)), TensorType("int8", (3, 2)), TensorType("int32", (3,))]


@settings(deadline=None)
@given(CALLS["Linear"])
def test_linear_equals_the_oracle_or_both_raise(call: Call) -> None:
    arrays, _ = call
    lists = [array.tolist() for array in arrays]
    try:
        expected = oracle(*lists)
    except Overflow:
        with pytest.raises(IntegerOverflow, match="Linear: accumulator"):
            linear(*arrays)
        return
    np.testing.assert_array_equal(linear(*arrays), np.array(expected, np.int32), strict=True)


@settings(deadline=None)
@given(CALLS["Linear"])
def test_linear_equals_the_oracle_when_it_wraps(call: Call) -> None:
    arrays, _ = call
    lists = [array.tolist() for array in arrays]
    expected = np.array(oracle(*lists, overflow="wrap"), np.int32)
    events: list[Event] = []
    np.testing.assert_array_equal(linear(*arrays, ctx=Context("wrap", emit=events.append)), expected, strict=True)
    try:
        oracle(*lists)
    except Overflow:
        assert [event.kind for event in events] == ["wrapped"]
    else:
        assert events == []


def test_linear_by_hand() -> None:
    np.testing.assert_array_equal(linear(X, WEIGHT, BIAS), np.array([[11, 22, 25]], np.int32), strict=True)


def test_linear_wraps_and_says_where() -> None:
    x = np.array([[[0, 0], [1, 0]], [[1, 1], [0, -1]]], np.int8)
    bias = np.array([2**31 - 1, 0, -(2**31)], np.int32)
    events: list[Event] = []
    y = linear(x, WEIGHT, bias, ctx=Context("wrap", node="head", emit=events.append))
    expected = [[[2**31 - 1, 0, -(2**31)], [-(2**31), 0, 3 - 2**31]], [[-(2**31), 1, 2**31 - 1], [2**31 - 1, -1, 4 - 2**31]]]
    assert y.tolist() == expected
    assert events == [Event("wrapped", "head", "Linear", "accumulator", 3, 12, (0, 1, 0), 2**31)]


def test_linear_raises_one_beyond_the_limits_of_int32() -> None:
    weight = np.array([[1]], np.int8)
    for limit, step in ((2**31 - 1, 1), (-(2**31), -1)):
        bias = np.array([limit], np.int32)
        assert linear(np.array([0], np.int8), weight, bias).tolist() == [limit]
        with pytest.raises(IntegerOverflow) as caught:
            linear(np.array([step], np.int8), weight, bias)
        assert (caught.value.op, caught.value.index, caught.value.value) == ("Linear", (0,), limit + step)


def test_linear_of_int16_weights() -> None:
    """Each product of the least int16 with itself is 2**30: two of them fit where the bias is -1."""
    weight = np.array([[2**14, 2**14], [-(2**15), -(2**15)], [2**15 - 1, 300]], np.int16)
    bias = np.array([1, -1, 0], np.int32)
    assert linear(np.array([2**15 - 1, 1], np.int16), weight, bias).tolist() == [
        2**29 + 1,
        -(2**30) - 1,
        (2**15 - 1) ** 2 + 300,
    ]
    low = np.array([-(2**15), -(2**15)], np.int16)
    assert linear(low, weight, bias).tolist() == [1 - 2**30, 2**31 - 1, -(2**15) * (2**15 + 299)]
    with pytest.raises(IntegerOverflow, match=r"Linear: accumulator: 1 of 3 elements do not fit int32; .*: 2147483648$"):
        linear(low, weight, np.zeros(3, np.int32))


def test_linear_c1_takes_x_up_to_int32_narrow_signed_weights_and_an_int32_bias() -> None:
    for dtype in ("int8", "uint8", "int16", "int32"):
        for weight in ("int8", "int16"):
            assert linear(X.astype(dtype), WEIGHT.astype(weight), BIAS).tolist() == [[11, 22, 25]]
    for dtype in ("bool", "uint16", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"Linear \(C1\): x "):
            linear(X.astype(dtype), WEIGHT, BIAS)
    for dtype in ("bool", "uint8", "uint16", "int32", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"Linear \(C1\): weight must be int8 or int16, but found "):
            linear(X, WEIGHT.astype(dtype), BIAS)
    for dtype in ("int8", "int16", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"Linear \(C1\): bias "):
            linear(X, WEIGHT, BIAS.astype(dtype))


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "bias_shape"),
    [
        ((), (3, 2), (3,)),
        ((4, 3), (3, 2), (3,)),
        ((4, 2), (2,), (2,)),
        ((4, 2), (1, 3, 2), (1,)),
        ((4, 2), (3, 2), (2,)),
        ((4, 2), (3, 2), (1,)),
        ((4, 2), (3, 2), (1, 3)),
        ((4, 2), (3, 2), ()),
    ],
)
def test_linear_c2_refuses_shapes_that_do_not_match(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], bias_shape: tuple[int, ...]
) -> None:
    with pytest.raises(ConstraintError, match=r"Linear \(C2\)"):
        linear(np.ones(x_shape, np.int8), np.ones(weight_shape, np.int8), np.ones(bias_shape, np.int32))


@pytest.mark.parametrize("leading", [(), (1,), (4,), (2, 3, 1)])
def test_linear_c2_takes_any_leading_axes(leading: tuple[int, ...]) -> None:
    y = linear(np.ones((*leading, 2), np.int8), WEIGHT, BIAS)
    expected = np.broadcast_to(np.array([11, 21, 29], np.int32), (*leading, 3))
    np.testing.assert_array_equal(y, expected, strict=True)


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "bias_shape"), [((0, 2), (3, 2), (3,)), ((4, 0), (3, 0), (3,)), ((4, 2), (0, 2), (0,))]
)
def test_linear_refuses_empty_axes(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], bias_shape: tuple[int, ...]
) -> None:
    with pytest.raises(ConstraintError, match=r"Linear \(no empty axes\)"):
        linear(np.ones(x_shape, np.int8), np.ones(weight_shape, np.int8), np.ones(bias_shape, np.int32))


def tenth(weight: float) -> float:
    """``0.1 * weight`` as float32 forms it."""
    return float32(Fraction(float32(Fraction(1, 10))) * Fraction(weight))


X_QUANT = Quant((float32(Fraction(1, 10)),))
WEIGHTS = tuple(float32(Fraction(n, 30)) for n in (1, 2, 4))


def test_linear_scales_go_along_the_last_axis() -> None:
    scales = tuple(tenth(w) for w in WEIGHTS)
    for bias in (None, Quant(scales, axis=0)):
        found = REGISTRY["Linear"].result_quant([X_QUANT, Quant(WEIGHTS, axis=0), bias], TYPES, {})
        assert found == Quant(scales, axis=2)


def test_linear_scale_is_one_where_the_weight_has_one() -> None:
    weight = WEIGHTS[0]
    found = REGISTRY["Linear"].result_quant([X_QUANT, Quant((weight,)), Quant((tenth(weight),))], TYPES, {})
    assert found == Quant((tenth(weight),))


def test_linear_scale_is_unknown_where_one_of_the_inputs_is() -> None:
    bias = Quant((0.5,))
    for quants in ([None, Quant((0.5,)), bias], [X_QUANT, None, bias]):
        assert REGISTRY["Linear"].result_quant(quants, TYPES, {}) is None


@pytest.mark.parametrize(
    ("x", "weight", "bias"),
    [
        (Quant((0.5,), zero_point=1), Quant((0.5,)), None),
        (Quant((0.5, 0.5), axis=2), Quant((0.5,)), None),
        (Quant((0.5,)), Quant((0.5, 0.5), axis=1), None),
        (Quant((0.5,)), Quant((0.5,)), Quant((0.5,))),
        (Quant((0.5,)), Quant((0.5, 0.25, 0.5), axis=0), Quant((0.25, 0.25, 0.25), axis=0)),
        (Quant((0.5,)), Quant((0.5, 0.25, 0.5), axis=0), Quant((0.25,))),
    ],
)
def test_linear_scales_that_do_not_match_are_refused(x: Quant, weight: Quant, bias: Quant | None) -> None:
    with pytest.raises(ConstraintError, match=r"Linear \(scales\)"):
        REGISTRY["Linear"].result_quant([x, weight, bias], TYPES, {})


@pytest.mark.parametrize(
    ("weight", "bias"), [(Quant((0.5,), zero_point=3), None), (Quant((0.5,)), Quant((0.25,), zero_point=7))]
)
def test_linear_zero_points_of_weight_and_bias_are_refused(weight: Quant, bias: Quant | None) -> None:
    with pytest.raises(ConstraintError, match=r"Linear \(scales\)"):
        REGISTRY["Linear"].result_quant([Quant((0.5,)), weight, bias], TYPES, {})


def test_linear_c3_takes_int32_with_a_short_k() -> None:
    for dtype, k, fits in (("int32", 2**16, True), ("int32", 2**16 + 1, False), ("int16", 2**16 + 1, True)):
        types = [TensorType(dtype, (1, k)), TensorType("int16", (1, k)), TensorType("int32", (1,))]
        if fits:
            assert REGISTRY["Linear"].result_type(types, {}) == TensorType("int32", (1, 1))
        else:
            with pytest.raises(ConstraintError, match=r"^Linear \(C3\): k must be at most .* but found int32"):
                REGISTRY["Linear"].result_type(types, {})
