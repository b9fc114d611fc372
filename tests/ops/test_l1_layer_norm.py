from __future__ import annotations

import math
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref import Quant, TensorType, dyadic
from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Event
from ivit_ref.ops import l1_layer_norm
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls_baselines import l1_layer_norm_calls
from tests.agreement import Array, Call, assert_agrees, run

LARGEST = 2**31 - 1


def published(length: int) -> dict[str, int]:
    multiplier, shift = dyadic.l1_constant(length)
    return {"multiplier": multiplier, "shift": shift}


def normalised(*values: int, dtype: str = "int16", multiplier: int = 1, shift: int = 0) -> list[int]:
    """The result without a bias; k is the sum of magnitudes unless a constant is given."""
    x = np.array(values, dtype)
    result: list[int] = l1_layer_norm(x, np.zeros(len(values), "int32"), multiplier=multiplier, shift=shift).tolist()
    return result


@given(call=l1_layer_norm_calls())
def test_l1_layer_norm_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("L1LayerNorm", call)


# --- Facts


def ratio(x: Array) -> float:
    """The largest result over what LayerNorm has there, in float64 from the definition."""
    length = x.shape[-1]
    y, _ = run("L1LayerNorm", ((x, np.zeros(length, "int32")), published(length)), "raise")
    largest = np.argmax(np.abs(y))
    deviation = x - round(float(x.mean()))
    return float(y[largest] / 2**30 / (deviation[largest] / math.sqrt(float(np.sum(deviation.astype(float) ** 2)))))


def normal_quantiles(length: int) -> Array:
    """The quantiles of a normal distribution at the middles of so many equal parts, in steps of 1/1000."""
    return np.array([round(1000 * NormalDist().inv_cdf((i + 0.5) / length)) for i in range(length)], "int16")


@pytest.mark.parametrize("length", [192, 768])
def test_l1_layer_norm_of_normal_rows_is_layer_norm(length: int) -> None:
    assert ratio(normal_quantiles(length)) == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize(("length", "expected"), [(192, 1.56), (768, 1.20)])
def test_l1_layer_norm_is_too_large_beside_an_outlier(length: int, expected: float) -> None:
    """Measured on random rows, one channel of which is at 20 standard deviations (arithmetic of float64)."""
    x = normal_quantiles(length)
    x[0] = 20_000
    assert ratio(x) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("length", "fits"), [(16, True), (24, True), (32, False), (192, False)])
def test_l1_layer_norm_of_one_outlier_leaves_int32_in_a_long_row(length: int, fits: bool) -> None:
    """Its o is sqrt(C) / (2 * C_L1) in units of 2**30: 2 at C = 25."""
    x = np.zeros(length, "int8")
    x[3] = 100
    call: Call = ((x, np.zeros(length, "int32")), published(length))
    assert (math.sqrt(length) / (2 * math.sqrt(math.pi / 2)) < 2) == fits
    if fits:
        run("L1LayerNorm", call, "raise")
        return
    with pytest.raises(IntegerOverflow, match=rf"^L1LayerNorm: o \+ bias: 1 of {length} elements do not fit int32"):
        run("L1LayerNorm", call, "raise")


def test_l1_layer_norm_golden_vector() -> None:
    # The mean of 82 / 8 is 10, the magnitudes of 110 -50 -3 -10 -13 45 -100 23 add up to 354, and 354 / 2 = 177.
    x = [120, -40, 7, 0, -3, 55, -90, 33]
    factor = LARGEST // 177
    assert normalised(*x, multiplier=1, shift=1) == [factor * (v - 10) // 2 for v in x]


@pytest.mark.parametrize(("magnitude", "shift", "k"), [(2, 2, 1), (4, 3, 1), (6, 2, 2), (10, 2, 3), (2, 3, 1), (0, 0, 1)])
def test_l1_layer_norm_rounds_k_half_up_and_divides_by_one_at_least(magnitude: int, shift: int, k: int) -> None:
    half = magnitude // 2
    assert normalised(half, -half, shift=shift) == [LARGEST // k * half // 2, -(LARGEST // k) * half // 2]


@pytest.mark.parametrize(
    ("x", "mean"), [((0, 1), 0), ((1, 2), 2), ((-1, 0), 0), ((-2, -1), -2), ((0, 0, 1), 0), ((0, 1, 1), 1)]
)
def test_l1_layer_norm_rounds_the_mean_half_to_even(x: tuple[int, ...], mean: int) -> None:
    y = [v - mean for v in x]
    assert normalised(*x) == [LARGEST // sum(map(abs, y)) * v // 2 for v in y]


def test_l1_layer_norm_floors_the_halves() -> None:
    assert normalised(-1, 0, 0, 1, shift=1) == [-(2**30), 0, 0, 2**30 - 1]


def test_l1_layer_norm_of_a_constant_row_is_its_bias() -> None:
    bias = np.array([-(2**31), -1, 2**31 - 1], "int32")
    np.testing.assert_array_equal(l1_layer_norm(np.full(3, 99, "uint8"), bias, **published(3)), bias, strict=True)


def test_l1_layer_norm_keeps_the_longest_and_loudest_row_within_int64() -> None:
    """The mean is -1/2, so mu is 0, and a is 2**15 * (32767 + 32768); times 2**31 - 1 it is just below 2**62."""
    x = np.tile(np.array([2**15 - 1, -(2**15)], "int16"), 2**15)
    y = l1_layer_norm(x, np.zeros(2**16, "int32"), multiplier=2**31 - 1, shift=38)
    factor = LARGEST // math.floor(Fraction(2**15 * 65535 * LARGEST, 2**38) + Fraction(1, 2))
    assert y[:2].tolist() == [factor * (2**15 - 1) // 2, -factor * 2**15 // 2]


# --- Properties


@given(call=l1_layer_norm_calls(), by=st.integers(-100, 100))
def test_l1_layer_norm_p1_does_not_see_an_even_shift(call: Call, by: int) -> None:
    (x, bias), attributes = call
    wide = np.clip(x, -3000, 3000).astype("int16")
    tie = any(Fraction(int(s), x.shape[-1]).denominator == 2 for s in wide.sum(axis=-1, dtype="int64").ravel())
    by *= 2 if tie else 1
    shifted = (wide + by).astype("int16")
    found = [run("L1LayerNorm", ((v, bias), attributes))[0] for v in (wide, shifted)]
    np.testing.assert_array_equal(*found)


def test_l1_layer_norm_p1_sees_an_odd_shift_at_a_tie() -> None:
    assert normalised(0, 1) == [0, 2**30 - 1]
    assert normalised(1, 2) == [-(2**30), 0]


@given(values=st.lists(st.integers(-128, 127), min_size=1, max_size=24))
def test_l1_layer_norm_p2_keeps_sign_and_order(values: list[int]) -> None:
    mean = round(Fraction(sum(values), len(values)))
    y = normalised(*values, dtype="int8", **published(len(values)))
    for a, result in zip(values, y, strict=True):
        assert result == 0 or (result > 0) == (a > mean)
    pairs = sorted(zip(values, y, strict=True))
    assert [r for _, r in pairs] == sorted(r for _, r in pairs)


@pytest.mark.parametrize("factor", [2, 7, 200])
def test_l1_layer_norm_p3_of_a_scaled_row_is_nearly_the_same(factor: int) -> None:
    x = [120, -40, 7, 0, -3, 55, -90, -49]
    small, large = (normalised(*(k * v for v in x), **published(8)) for k in (1, factor))
    k = math.sqrt(math.pi / 2 / 8) * sum(map(abs, x))
    # k and F are each rounded by at most one half and one.
    assert max(abs(a - b) for a, b in zip(small, large, strict=True)) <= 2**31 / k


# --- Constraints


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16", "bool", "float32"])
def test_l1_layer_norm_c1_x_is_int8_uint8_or_int16(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"^L1LayerNorm \(C1\): x must be int8 or uint8 or int16, but found"):
        normalised(1, 1, dtype=dtype)
    for accepted in ("int8", "uint8", "int16"):
        assert normalised(0, 2, dtype=accepted, shift=1) == [-(2**30), 2**30 - 1]


def test_l1_layer_norm_c1_the_last_axis_has_at_most_2_16_elements() -> None:
    for shape in ((2**16 + 1,), ()):
        with pytest.raises(ConstraintError, match=r"L1LayerNorm \(C1\)"):
            l1_layer_norm(np.zeros(shape, "int8"), np.zeros(shape[-1:], "int32"), multiplier=1, shift=0)


@pytest.mark.parametrize("bias", [np.zeros(2, "int32"), np.zeros((1, 3), "int32"), np.zeros(3, "int64")])
def test_l1_layer_norm_c2_bias_is_int32_with_c_elements(bias: Array) -> None:
    with pytest.raises(ConstraintError, match=r"L1LayerNorm \(C2\): bias must be int32\[3\]"):
        l1_layer_norm(np.zeros(3, "int8"), bias, multiplier=1, shift=0)


@pytest.mark.parametrize(("accepted", "refused", "expected"), [(1, 0, [2**29 - 1, -(2**29)]), (LARGEST, 2**31, [0, 0])])
def test_l1_layer_norm_c3_multiplier_is_from_1_to_2_31(accepted: int, refused: int, expected: list[int]) -> None:
    with pytest.raises(ConstraintError, match=rf"L1LayerNorm \(C3\): .*, but found {refused}$"):
        normalised(1, -1, multiplier=refused)
    assert normalised(1, -1, multiplier=accepted) == expected


@pytest.mark.parametrize(("accepted", "refused", "expected"), [(0, -1, [0, 0]), (62, 63, [2**30 - 1, -(2**30)])])
def test_l1_layer_norm_c4_shift_is_from_0_to_62(accepted: int, refused: int, expected: list[int]) -> None:
    with pytest.raises(ConstraintError, match=rf"L1LayerNorm \(C4\): .*, but found {refused}$"):
        normalised(1, -1, multiplier=2**30, shift=refused)
    assert normalised(1, -1, multiplier=2**30, shift=accepted) == expected


# --- Scales and events


def test_l1_layer_norm_has_the_scale_of_its_bias() -> None:
    types = [TensorType("int8", (2, 3)), TensorType("int32", (3,))]

    def meaning(*quants: Quant | None) -> Quant | None:
        return REGISTRY["L1LayerNorm"].result_quant(quants, types, published(3))

    assert meaning(Quant((0.5,)), Quant((0.25, 0.5, -1.0), axis=0)) == Quant((0.25, 0.5, -1.0), axis=1)
    for wrong in ((Quant((0.5, 0.25, 1.0), axis=1), Quant((0.5,))), (None, Quant((0.5,), zero_point=3))):
        with pytest.raises(ConstraintError, match=r"^L1LayerNorm \(scales\): "):
            meaning(*wrong)


def test_l1_layer_norm_records_results_that_wrap() -> None:
    x, bias = np.array([1, -1], "int8"), np.array([2**31 - 1, 0], "int32")
    attributes: dict[str, Any] = {"multiplier": 1, "shift": 1}
    y, events = run("L1LayerNorm", ((x, bias), attributes))
    # k is 1, so o is 2**30 - 1 and -2**30.
    exact = 2**31 - 1 + 2**30 - 1
    assert y.tolist() == [exact - 2**32, -(2**30)]
    assert events == [Event("wrapped", "", "L1LayerNorm", "o + bias", count=1, total=2, index=(0,), value=exact)]
