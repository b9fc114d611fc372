from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import i_bert_layer_norm
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls_ibert import i_bert_layer_norm_calls
from ivit_ref.testing.elements import Call
from tests.agreement import Array, assert_agrees, run
from tests.ops.peers import Reals

ROW = (120, -40, 7, 0, -3, 55, -90, 33)


def row(*values: int, dtype: str = "int16") -> Array:
    return np.array(values, dtype)


def normalised(*x: int, shift: int = 0, dtype: str = "int16") -> list[int]:
    """The result of a row without a bias."""
    return [int(v) for v in i_bert_layer_norm(row(*x, dtype=dtype), np.zeros(len(x), "int32"), shift=shift)]


def released(x: Array, shift: int) -> Reals:
    """IntLayerNorm as released, in float64, without its bias."""
    y = np.float64(x) - np.rint(np.float64(x).mean(axis=-1, keepdims=True))
    v = (np.floor(y / 2.0**shift) ** 2).sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.floor(2.0**31 / (np.floor(np.sqrt(v)) * 2.0**shift))
        return np.asarray(np.floor(y * factor / 2))


@given(call=i_bert_layer_norm_calls())
def test_i_bert_layer_norm_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("IBertLayerNorm", call)


@pytest.mark.parametrize(
    ("deviation", "length", "dtype", "shift"), [(30, 192, "int8", 0), (300, 768, "int16", 0), (2**19, 768, "int32", 8)]
)
def test_i_bert_layer_norm_is_the_released_one(deviation: int, length: int, dtype: str, shift: int) -> None:
    drawn = np.random.default_rng(0).normal(5, deviation, (500, length))
    x = np.clip(np.rint(drawn), np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)
    y = i_bert_layer_norm(x, np.zeros(length, "int32"), shift=shift)
    np.testing.assert_array_equal(y, released(x, shift))
    exact = (x - np.float64(x).mean(axis=-1, keepdims=True)) / np.float64(x).std(axis=-1, keepdims=True)
    assert abs(y * (math.sqrt(length) / 2**30) - exact).max() < 0.03


# --- Facts


def test_i_bert_layer_norm_golden_vector() -> None:
    # The mean is 10 and v = 27432: 165**2 = 27225, F = 2**31 // 165 = 13015052.
    assert 2**31 // 165 == 13015052
    expected = [13015052 * (x - 10) // 2 for x in ROW]
    np.testing.assert_array_equal(
        i_bert_layer_norm(row(*ROW, dtype="int8"), np.zeros(8, "int32"), shift=0), row(*expected, dtype="int32"), strict=True
    )


def test_i_bert_layer_norm_shifts_before_it_squares() -> None:
    # y = 110, -50, -3, -10, -13, 45, -100, 23; a quarter of them, floored: v = 1727 and k = 4 * 41.
    quarters = [27, -13, -1, -3, -4, 11, -25, 5]
    assert sum(h * h for h in quarters) == 1695
    assert normalised(*ROW, shift=2) == [2**31 // (4 * 41) * (x - 10) // 2 for x in ROW]


def test_i_bert_layer_norm_has_one_more_in_its_numerator_than_i_vit() -> None:
    assert normalised(-1, 0, 1, 0) == [-(2**30), 0, 2**30, 0]


def test_i_bert_layer_norm_of_equal_numbers_is_its_bias_and_not_one_in_the_release() -> None:
    assert normalised(7, 7, 7) == [0, 0, 0]
    assert np.isnan(released(row(7, 7, 7), 0)).all()
    y = i_bert_layer_norm(row(7, 7), row(-5, 2**31 - 1, dtype="int32"), shift=3)
    assert y.tolist() == [-5, 2**31 - 1]


def test_i_bert_layer_norm_with_a_shift_loses_small_deviations() -> None:
    # The mean of 3/8 is 0, and a quarter of 3 is 0: o = 3 * 2**30.
    x, bias = row(3, 0, 0, 0, 0, 0, 0, 0), np.zeros(8, "int32")
    assert released(x, 2)[0] == math.inf
    with pytest.raises(IntegerOverflow, match=r"^IBertLayerNorm: o \+ bias: 1 of 8 elements do not fit int32; .*: 3221225472$"):
        run("IBertLayerNorm", ((x, bias), {"shift": 2}), "raise")
    assert normalised(1, 0, 0, 0, shift=2) == [2**30, 0, 0, 0]


@pytest.mark.parametrize(
    ("x", "step", "value"),
    [
        ((2**31 - 1, *[-(2**31)] * 3), "x - mean", 2**31 - 1 + 2**30),
        ((2**20, -(2**20)), "square", 2**40),
        ((60000, -60000), "sum of squares", 2 * 60000**2),
    ],
)
def test_i_bert_layer_norm_has_32_bits(x: tuple[int, ...], step: str, value: int) -> None:
    call: Call = ((row(*x, dtype="int32"), np.zeros(len(x), "int32")), {"shift": 0})
    with pytest.raises(IntegerOverflow, match=rf"^IBertLayerNorm: {step}: .*: {value}$"):
        run("IBertLayerNorm", call, "raise")
    _, events = run("IBertLayerNorm", call)
    assert ("wrapped", step, value) in [(e.kind, e.step, e.value) for e in events]


def test_i_bert_layer_norm_has_the_scale_of_its_bias() -> None:
    rule: Any = REGISTRY["IBertLayerNorm"].quant
    types = [TensorType("int8", (5, 2)), TensorType("int32", (2,))]
    bias = Quant((0.5, -0.25), axis=0)
    assert rule([Quant((1.0,)), bias], types, {"shift": 0}) == Quant((0.5, -0.25), axis=1)
    with pytest.raises(ConstraintError, match=r"^IBertLayerNorm \(scales\): x must have one scale, but found"):
        rule([Quant((1.0, 2.0), axis=1), bias], types, {"shift": 0})
    with pytest.raises(ConstraintError, match=r"^IBertLayerNorm \(scales\): the bias must have zero point 0, but found"):
        rule([None, Quant((1.0,), zero_point=1)], types, {"shift": 0})


# --- Properties


@given(st.lists(st.integers(-(2**13), 2**13), min_size=1, max_size=24), st.integers(0, 12), st.data())
def test_i_bert_layer_norm_p1_p2_p3_of_any_row(values: list[int], shift: int, data: st.DataObject) -> None:
    x, zero = np.array(values, "int32"), np.zeros(len(values), "int32")
    y, _ = run("IBertLayerNorm", ((x, zero), {"shift": 0}))
    assert np.abs(np.int64(y)).max() <= 2**30
    mean = round(math.fsum(values) / len(values))
    assert (np.sign(y) == np.sign(x - mean)).all()
    assert (np.diff(np.int64(y)[np.argsort(x, kind="stable")]) >= 0).all()
    order = np.array(data.draw(st.permutations(range(x.size))))
    bias = np.arange(x.size, dtype="int32")
    whole, _ = run("IBertLayerNorm", ((x, bias), {"shift": shift}))
    np.testing.assert_array_equal(run("IBertLayerNorm", ((x[order], bias[order]), {"shift": shift}))[0], whole[order])
    shared = 2 * data.draw(st.integers(-(2**13), 2**13))
    np.testing.assert_array_equal(run("IBertLayerNorm", ((x + np.int32(shared), bias), {"shift": shift}))[0], whole)


def test_i_bert_layer_norm_p3_is_not_the_same_one_higher() -> None:
    assert normalised(0, 1) == [0, 2**30]
    assert normalised(1, 2) == [-(2**30), 0]


# --- Constraints


@pytest.mark.parametrize("dtype", ["int64", "uint16", "bool", "float32"])
def test_i_bert_layer_norm_c1_x_is_int8_uint8_int16_or_int32(dtype: str) -> None:
    for accepted in ("int8", "uint8", "int16", "int32"):
        assert normalised(1, 3, dtype=accepted) == [-(2**31) // 2, 2**31 // 2]
    with pytest.raises(ConstraintError, match=r"^IBertLayerNorm \(C1\): x must be int8 or uint8 or int16 or int32, but found"):
        normalised(1, 0, dtype=dtype)


def test_i_bert_layer_norm_c1_the_last_axis_has_at_most_2_16_elements() -> None:
    longest = np.zeros(2**16 + 1, "int8")
    i_bert_layer_norm(longest[1:], np.zeros(2**16, "int32"), shift=0)
    with pytest.raises(ConstraintError, match=r"^IBertLayerNorm \(C1\): the last axis"):
        i_bert_layer_norm(longest, np.zeros(2**16 + 1, "int32"), shift=0)


@pytest.mark.parametrize("bias", [np.zeros(2, "int32"), np.zeros((1, 3), "int32"), np.zeros(3, "int64")])
def test_i_bert_layer_norm_c2_bias_is_int32_of_the_last_axis(bias: Array) -> None:
    with pytest.raises(ConstraintError, match=r"^IBertLayerNorm \(C2\): bias must be int32\[3\], but found"):
        i_bert_layer_norm(row(1, 2, 3), bias, shift=0)


@pytest.mark.parametrize("shift", [-1, 32])
def test_i_bert_layer_norm_c3_shift_is_from_0_to_31(shift: int) -> None:
    assert normalised(-5, 5, shift=31)  # h = -1 and 0: the root is 1 and k = 2**31
    with pytest.raises(ConstraintError, match=rf"^IBertLayerNorm \(C3\): shift must be from 0 to 31, but found {shift}$"):
        normalised(1, 2, shift=shift)
