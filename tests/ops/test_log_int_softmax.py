from __future__ import annotations

from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ivit_ref.errors import ConstraintError
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import log_int_softmax
from ivit_ref.oracle.log_int_softmax import code
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls_ibert import following, log_int_softmax_calls
from ivit_ref.testing.elements import Call
from tests.agreement import Array, assert_agrees, run
from tests.ops.peers import Reals, float32, i_exp, normal_rows, softmax


def published(scale: float, bits: int = 4) -> dict[str, Any]:
    return following("LogIntSoftmax", float32(scale), n=30, bits=bits)


def row(*values: int, dtype: str = "int8") -> Array:
    return np.array(values, dtype)


def values_of(codes: Array, bits: int = 4) -> Reals:
    return np.asarray(np.where(codes == 2**bits, 0.0, 2.0 ** -np.float64(codes)))


def log_round(ratio: Reals) -> Reals:
    """As released: the floor of the logarithm, and one more from halfway on."""
    big = np.floor(np.log2(ratio))
    return np.asarray(big + (ratio - 2**big >= 2 ** (big - 1)))


@given(call=log_int_softmax_calls())
def test_log_int_softmax_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("LogIntSoftmax", call)


# --- The published code


@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize("scale", [0.2, 0.1, 0.05, 0.02])
def test_log_int_softmax_is_the_released_one(scale: float, bits: int) -> None:
    x = normal_rows(1000, 197, 12)
    e, _ = i_exp(x, float32(scale))
    rounds = log_round(np.rint(e.sum(axis=-1, keepdims=True) / e))
    released = np.where(rounds >= 2**bits, 0.0, 2.0 ** -np.clip(rounds, 0, 2**bits - 1))
    np.testing.assert_array_equal(values_of(log_int_softmax(x, **published(scale, bits)), bits), released)


def test_log_int_softmax_counts_what_the_release_rounds() -> None:
    ratios = list(range(1, 2**16 + 2)) + [3 << k for k in range(14)]
    assert [code(Fraction(r), 4) for r in ratios] == np.minimum(log_round(np.float64(ratios)), 16).tolist()
    assert [code(Fraction(r), 4) for r in (1, 2, 3, 5, 6, 11, 12)] == [0, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize(("scale", "largest"), [(0.2, 0.3), (0.1, 0.27), (0.05, 0.036), (0.02, 0.01)])
def test_log_int_softmax_is_near_softmax(scale: float, largest: float) -> None:
    # The maxima that were measured over rows of 197.
    x = normal_rows(1000, 197, 12)
    error = abs(values_of(log_int_softmax(x, **published(scale))) - softmax(x, float32(scale))).max()
    assert largest / 4 < error <= largest


# --- Facts


def equal_numbers(count: int) -> list[int]:
    """The codes of so many equal numbers, and of one that is far away."""
    return [int(v) for v in log_int_softmax(row(*[100] * count, -128), **published(0.25))]


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (2, 1), (3, 2), (5, 2), (6, 3), (11, 3), (12, 4), (23, 4), (24, 5)])
def test_log_int_softmax_of_equal_numbers(count: int, expected: int) -> None:
    assert equal_numbers(count) == [expected] * count + [16]


def test_log_int_softmax_of_the_longest_row_is_nothing() -> None:
    x = np.zeros(2**16, "int8")
    assert set(log_int_softmax(x, **published(0.25)).tolist()) == {16}
    assert set(log_int_softmax(x[: 3 * 2**14 - 1], **published(0.25)).tolist()) == {15}


def test_log_int_softmax_by_hand() -> None:
    # x0 = -14, b = 54, c = 1116 at 0.05: e is 1116, 558 and 583/2 in units of 2**30, and s = 1965.5.
    assert log_int_softmax(row(100, 86, 73), **published(0.05)).tolist() == [1, 2, 3]


def test_log_int_softmax_rounds_its_ratio_half_to_even() -> None:
    # 1, 1 and 1/2: 2.5 is 2, and 5 is 5.
    assert log_int_softmax(row(14, 14, 0), **published(0.05)).tolist() == [1, 1, 2]


def test_log_int_softmax_p4_adds_up_to_three_quarters_or_five() -> None:
    assert values_of(log_int_softmax(row(9, 9, 9), **published(0.05))).sum() == 0.75
    assert values_of(log_int_softmax(row(9, 9, 9, 9, 9), **published(0.05))).sum() == 1.25
    # A little more than twice: e = 1116 and 546.
    assert log_int_softmax(row(15, 0), **published(0.05)).tolist() == [0, 2]


def test_log_int_softmax_of_a_vanishing_exponential_is_nothing() -> None:
    a = {"x0": -30, "b": 40, "c": 300, "n": 4, "bits": 4}
    codes, events = run("LogIntSoftmax", ((row(0, -20, -10),), a))  # z is 300, -100 and 0
    assert codes.tolist() == [0, 16, 16]
    assert [(e.kind, e.step, e.value) for e in events] == [("clamped", "z", -100)]


def test_log_int_softmax_tells_of_its_clamp() -> None:
    _, events = run("LogIntSoftmax", ((row(127, -128),), {**published(0.05), "n": 3}))
    assert [(e.kind, e.step, e.value) for e in events] == [("clamped", "d", -255)]


def test_log_int_softmax_has_constants_of_its_scale_and_no_step() -> None:
    definition: Any = REGISTRY["LogIntSoftmax"]
    types = [TensorType("int8", (2,))]
    assert definition.follows([Quant((float32(0.05),))], types, {}) == {"x0": -14, "b": 54, "c": 1116}
    assert definition.follows([None], types, {}) == {}
    with pytest.raises(ConstraintError, match=r"^LogIntSoftmax \(scales\): x must have one positive scale, but found"):
        definition.follows([Quant((0.5, 0.25), axis=0)], types, {})
    assert definition.quant([Quant((0.5,))], types, published(0.5)) is None


# --- Properties


@given(st.data(), st.floats(float32(0.0015134), 1.0, width=32))
def test_log_int_softmax_p1_p2_p3_p4_of_any_row(data: st.DataObject, scale: float) -> None:
    a = published(scale)
    x = np.array(data.draw(st.lists(st.integers(-100, 100), min_size=1, max_size=20)), "int16")
    codes = log_int_softmax(x, **a)
    assert codes.max() <= 16
    np.testing.assert_array_equal(log_int_softmax(x + np.int16(data.draw(st.integers(-30000, 30000))), **a), codes)
    order = np.array(data.draw(st.permutations(range(x.size))))
    np.testing.assert_array_equal(log_int_softmax(x[order], **a), codes[order])
    assert (np.diff(np.int64(codes)[np.argsort(x, kind="stable")]) <= 0).all()
    e, _ = i_exp(x, scale)
    kept = codes < 16
    relative = (values_of(codes) * e.sum() / e)[kept]
    assert ((relative > 5 / 8) & (relative < 3 / 2)).all()
    assert values_of(codes).sum() < 3 / 2
    assert not kept.all() or values_of(codes).sum() > 5 / 8


# --- Constraints


@pytest.mark.parametrize("dtype", ["int64", "uint8", "uint16", "bool", "float32"])
def test_log_int_softmax_c1_x_is_int8_int16_or_int32(dtype: str) -> None:
    for accepted in ("int8", "int16", "int32"):
        np.testing.assert_array_equal(
            log_int_softmax(row(0, 0, dtype=accepted), **published(0.05)), row(1, 1, dtype="uint8"), strict=True
        )
    with pytest.raises(ConstraintError, match=r"^LogIntSoftmax \(C1\): x must be int8 or int16 or int32, but found"):
        log_int_softmax(row(0, 0, dtype=dtype), **published(0.05))


def test_log_int_softmax_c1_the_last_axis_has_at_most_2_16_elements() -> None:
    with pytest.raises(ConstraintError, match=r"^LogIntSoftmax \(C1\): the last axis"):
        log_int_softmax(np.zeros(2**16 + 1, "int8"), **published(0.25))


@pytest.mark.parametrize(("x0", "b"), [(0, 5), (-12, 10), (-12, 2**16 + 1)])
def test_log_int_softmax_c2_the_parabola_falls(x0: int, b: int) -> None:
    with pytest.raises(ConstraintError, match=rf"^LogIntSoftmax \(C2\): .* but found x0 = {x0}, b = {b}$"):
        log_int_softmax(row(0), **{**published(0.05), "x0": x0, "b": b})


@pytest.mark.parametrize(("c", "n"), [(0, 30), (2**30 + 1, 30), (1, -1), (1, 63)])
def test_log_int_softmax_c3_c_and_n_have_room(c: int, n: int) -> None:
    with pytest.raises(ConstraintError, match=rf"^LogIntSoftmax \(C3\): .* but found c = {c}, n = {n}$"):
        log_int_softmax(row(0), **{**published(0.05), "c": c, "n": n})


def test_log_int_softmax_c4_no_sum_leaves_int64() -> None:
    a = published(0.05)
    assert log_int_softmax(np.zeros(2**12, "int8"), **{**a, "c": 2**20})[0] == 12
    assert log_int_softmax(row(5), **{**a, "c": 1, "n": 62}).tolist() == [0]
    with pytest.raises(ConstraintError, match=r"^LogIntSoftmax \(C4\): .* but found c = 1048576, n = 30, L = 4097$"):
        log_int_softmax(np.zeros(2**12 + 1, "int8"), **{**a, "c": 2**20})


@pytest.mark.parametrize("bits", [0, 5])
def test_log_int_softmax_c5_bits_are_from_1_to_4(bits: int) -> None:
    assert log_int_softmax(row(0, 0, 0), **published(0.05, 1)).tolist() == [2, 2, 2]
    with pytest.raises(ConstraintError, match=rf"^LogIntSoftmax \(C5\): bits must be from 1 to 4, but found {bits}$"):
        log_int_softmax(row(0), **published(0.05, bits))
