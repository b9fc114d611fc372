from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref import Quant, TensorType
from ivit_ref.errors import ConstraintError
from ivit_ref.events import Event
from ivit_ref.ops import float_layer_norm
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls_baselines import float_layer_norm_calls
from tests.agreement import Array, Call, assert_agrees, run

rows = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=30)


def normalised(*values: int, dtype: str = "int16") -> list[int]:
    result: list[int] = float_layer_norm(np.array(values, dtype), np.zeros(len(values), "int32")).tolist()
    return result


def nearest(deviation: int, squares: int) -> int:
    """``2**30 * deviation / sqrt(squares)``, to nearest, in integers alone: an independent derivation."""
    magnitude = math.isqrt(2**62 * deviation**2 // squares)  # of twice as many steps, rounded down
    return (1 if deviation > 0 else -1) * ((magnitude + 1) // 2)


@given(call=float_layer_norm_calls())
def test_float_layer_norm_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("FloatLayerNorm", call)


@given(values=rows)
def test_float_layer_norm_is_correctly_rounded(values: list[int]) -> None:
    n = [len(values) * v - sum(values) for v in values]
    squares = sum(v * v for v in n)
    if squares:
        assert normalised(*values) == [nearest(v, squares) for v in n]


def test_float_layer_norm_of_long_and_loud_rows() -> None:
    ends = np.tile(np.array([2**15 - 1, -(2**15)], "int16"), 2**15)
    assert set(float_layer_norm(ends, np.zeros(2**16, "int32")).tolist()) == {2**22, -(2**22)}
    x = np.random.default_rng(3).integers(-(2**15), 2**15, 4096).astype("int16")
    n = [4096 * int(v) - int(x.sum(dtype="int64")) for v in x]
    squares = sum(v * v for v in n)
    assert float_layer_norm(x, np.zeros(4096, "int32")).tolist() == [nearest(v, squares) for v in n]


# --- Facts


def test_float_layer_norm_golden_vector() -> None:
    # (3, -4) are 3.5 off their mean; of (0, 0, 0, 0, 5) the mean is 1, and the squares 1 1 1 1 16 add up to 20.
    assert normalised(3, -4) == [round(2**30 / math.sqrt(2)), -round(2**30 / math.sqrt(2))]
    assert normalised(0, 0, 0, 0, 5) == [-round(2**30 / math.sqrt(20))] * 4 + [round(2**32 / math.sqrt(20))]
    assert normalised(2, 0, 0, 2) == [2**29, -(2**29), -(2**29), 2**29]


def test_float_layer_norm_of_a_constant_row_is_its_bias() -> None:
    bias = np.array([-(2**31), -1, 2**31 - 1], "int32")
    for x in (np.full(3, 255, "uint8"), np.full(3, -(2**15), "int16")):
        np.testing.assert_array_equal(float_layer_norm(x, bias), bias, strict=True)


def test_float_layer_norm_is_exact_where_the_root_is_an_integer() -> None:
    for pairs in (2, 8, 2**13, 2**15):
        x = np.array([1, -1] * pairs + [0] * (2**16 - 2 * pairs), "int8")
        exact = Fraction(2**30, math.isqrt(2 * pairs))
        assert float_layer_norm(x, np.zeros(2**16, "int32"))[:2].tolist() == [round(exact), -round(exact)]


# --- Properties


@given(values=rows, by=st.integers(-100, 100), factor=st.integers(1, 9))
def test_float_layer_norm_p1_does_not_see_shift_nor_factor(values: list[int], by: int, factor: int) -> None:
    held = [v // 10 for v in values]
    assert normalised(*held) == normalised(*(v + by for v in held)) == normalised(*(v * factor for v in held))


@given(values=rows)
def test_float_layer_norm_p1_p2_keeps_sign_and_order(values: list[int]) -> None:
    held = [max(v, -(2**15) + 1) for v in values]
    y = normalised(*held)
    assert normalised(*(-v for v in held)) == [-v for v in y]
    for v, result in zip(held, y, strict=True):
        assert result == 0 or (result > 0) == (len(held) * v > sum(held))
    assert [r for _, r in sorted(zip(held, y, strict=True))] == sorted(y)


# --- Constraints


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16", "bool", "float32"])
def test_float_layer_norm_c1_x_is_int8_uint8_or_int16(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"^FloatLayerNorm \(C1\): x must be int8 or uint8 or int16, but found"):
        normalised(1, 1, dtype=dtype)
    for accepted in ("int8", "uint8", "int16"):
        assert normalised(0, 0, 2, 2, dtype=accepted) == [-(2**29)] * 2 + [2**29] * 2


def test_float_layer_norm_c1_the_last_axis_has_at_most_2_16_elements() -> None:
    for shape in ((2**16 + 1,), ()):
        with pytest.raises(ConstraintError, match=r"FloatLayerNorm \(C1\)"):
            float_layer_norm(np.zeros(shape, "int8"), np.zeros(shape[-1:], "int32"))


@pytest.mark.parametrize("bias", [np.zeros(2, "int32"), np.zeros((1, 3), "int32"), np.zeros(3, "int64")])
def test_float_layer_norm_c2_bias_is_int32_with_c_elements(bias: Array) -> None:
    with pytest.raises(ConstraintError, match=r"FloatLayerNorm \(C2\): bias must be int32\[3\]"):
        float_layer_norm(np.zeros(3, "int8"), bias)


# --- Scales and events


def test_float_layer_norm_has_the_scale_of_its_bias() -> None:
    types = [TensorType("int8", (2, 3)), TensorType("int32", (3,))]
    definition = REGISTRY["FloatLayerNorm"]
    meaning = definition.result_quant([Quant((0.5,)), Quant((0.25, 0.5, -1.0), axis=0)], types, {})
    assert meaning == Quant((0.25, 0.5, -1.0), axis=1)
    with pytest.raises(ConstraintError, match=r"^FloatLayerNorm \(scales\): the bias must have zero point 0"):
        definition.result_quant([None, Quant((0.5,), zero_point=3)], types, {})


def test_float_layer_norm_records_results_that_wrap() -> None:
    x, bias = np.array([0, 0, 2, 2], "int8"), np.array([-(2**31), 0, 0, 2**31 - 1], "int32")
    y, events = run("FloatLayerNorm", ((x, bias), {}))
    assert y.tolist() == [2**31 - 2**29, -(2**29), 2**29, -(2**31) + 2**29 - 1]
    exact = -(2**31) - 2**29
    assert events == [Event("wrapped", "", "FloatLayerNorm", "o + bias", count=2, total=4, index=(0,), value=exact)]
