from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ivit_ref import dyadic
from ivit_ref.errors import ConstraintError
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import i_bert_softmax
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls_ibert import following, i_bert_softmax_calls
from ivit_ref.testing.elements import Call
from ivit_ref.testing.values import scales
from tests.agreement import Array, assert_agrees, run
from tests.ops.peers import Reals, float32, i_exp, normal_rows, over, softmax

LOGITS = [127, 100, 64, 32, 0, -32, -64, -128]


def published(scale: float, **changes: Any) -> dict[str, Any]:
    return following("IBertSoftmax", float32(scale), **{"n": 30, "out_bits": 8, "dtype": "uint8", **changes})


def row(*values: int, dtype: str = "int8") -> Array:
    return np.array(values, dtype)


@given(call=i_bert_softmax_calls())
def test_i_bert_softmax_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("IBertSoftmax", call)


@pytest.mark.parametrize("scale", [0.125, 0.05])
def test_i_bert_softmax_agrees_with_its_twin_on_every_difference(scale: float) -> None:
    pairs = np.stack([np.full(256, 127), np.arange(-128, 128)], axis=-1).astype("int8")
    assert_agrees("IBertSoftmax", ((pairs,), published(scale, out_bits=16, dtype="int32")))


# --- The published code


def released_exponentials(x: Array, scale: float) -> Reals:
    """QuantAct(16) as released: the dyadic number of a*S**2/2**n over the scale c*2**n/32767, products in float64."""
    e, c = i_exp(x, scale)
    before = float(np.float32(0.35815147) * (np.float32(scale) * np.float32(scale)) / np.float32(2**30))
    behind = float(np.float32(c * 2.0**30) / np.float32(32767))
    mantissa, exponent = math.frexp(before / behind)
    multiplier = math.floor(mantissa * 2**31 + 0.5)
    return np.asarray(np.clip(np.rint(np.rint(e / before) * multiplier / 2.0 ** (31 - exponent)), -32768, 32767))


@pytest.mark.parametrize("scale", [0.2, 0.1, 0.05, 0.03, 0.02])
@pytest.mark.parametrize(("out_bits", "dtype", "share"), [(8, "uint8", 1e-4), (16, "int32", 1e-2)])
def test_i_bert_softmax_is_the_released_one_up_to_ties(scale: float, out_bits: int, dtype: str, share: float) -> None:
    x = normal_rows(1000, 197, 12)
    e = released_exponentials(x, float32(scale))
    released = np.floor(e * np.floor(2**32 / e.sum(axis=-1, keepdims=True)) / 2.0 ** (32 - out_bits))
    difference = abs(i_bert_softmax(x, **published(scale, out_bits=out_bits, dtype=dtype)) - released)
    assert difference.max() <= 1
    assert (difference > 0).mean() < share


@pytest.mark.parametrize(
    ("scale", "out_bits", "largest"),
    [
        (0.2, 8, 0.15),
        (0.1, 8, 0.014),
        (0.05, 8, 0.007),
        (0.02, 8, 0.0041),
        (0.1, 16, 0.0102),
        (0.05, 16, 0.0039),
        (0.02, 16, 4e-4),
    ],
)
def test_i_bert_softmax_is_near_softmax(scale: float, out_bits: int, largest: float) -> None:
    # The maxima that were measured over rows of 197. At 0.2, ln(2)/S = 3.5 rounds to 4: q steps at the wrong places.
    x = normal_rows(1000, 197, 12)
    y = i_bert_softmax(x, **published(scale, out_bits=out_bits, dtype="int32"))
    error = abs(y / 2.0**out_bits - softmax(x, float32(scale))).max()
    assert largest / 4 < error <= largest


@given(scales(min_value=2.0**-13))
def test_i_bert_softmax_constants_follow_from_the_scale(scale: float) -> None:
    a, step = published(scale), np.float32(scale)
    assert a["x0"] == over(-0.6931, step)
    assert a["b"] == over(0.96963238 / 0.35815147, step)
    assert a["c"] == over(1 / 0.35815147, step * step)
    exact = Fraction(32767, a["c"])
    assert abs(Fraction(a["multiplier"], 2 ** a["shift"]) - exact) <= exact / 2**31


def test_i_bert_softmax_constants_by_hand() -> None:
    # 0.6931 * 20 = 13.862, 2.70733 * 20 = 54.1 and 2.79211 * 400 = 1116.8.
    a = published(0.05)
    assert (a["x0"], a["b"], a["c"]) == (-14, 54, 1116)


def test_i_bert_softmax_needs_one_scale_for_its_constants() -> None:
    rule: Any = REGISTRY["IBertSoftmax"].follows
    types = [TensorType("int8", (2,))]
    assert rule([None], types, {}) == {}
    for quant in (Quant((0.5, 0.25), axis=0), Quant((-0.5,))):
        with pytest.raises(ConstraintError, match=r"^IBertSoftmax \(scales\): x must have one positive scale, but found"):
            rule([quant], types, {})
    assert rule([Quant((1.5,))], types, {})["c"] == 1
    with pytest.raises(ConstraintError, match=r"^IBertSoftmax \(scales\): x must have a scale of at most 1.67"):
        rule([Quant((1.75,))], types, {})


def test_i_bert_softmax_has_a_step_of_its_own() -> None:
    quant: Any = REGISTRY["IBertSoftmax"].quant
    assert quant([None], [], {"out_bits": 8}) == Quant((2.0**-8,))


# --- Facts


@pytest.mark.parametrize("scale", [0.125, 0.05, 0.03])
def test_i_bert_softmax_p1_of_a_one_hot_row_is_255(scale: float) -> None:
    # F = 2**32 // 32767 = 131076, and 32767 * 131076 = 2**32 - 4.
    assert i_bert_softmax(row(127, -128), **published(scale)).tolist()[0] == 255
    assert i_bert_softmax(row(3), **published(scale, out_bits=16, dtype="int32")).tolist() == [65535]


def test_i_bert_softmax_by_hand() -> None:
    # x0 = -14, b = 54, c = 1116: -27 is one halving and r = -13, z = 1116 - 13 * 41 = 583; -14 is one halving and r = 0.
    e = [32767, round(Fraction(1116 * 32767, 1116 * 2)), round(Fraction(583 * 32767, 1116 * 2))]
    assert e == [32767, 16384, 8559]
    factor = 2**32 // sum(e)
    y = i_bert_softmax(row(100, 86, 73), **published(0.05))
    np.testing.assert_array_equal(y, np.array([v * factor >> 24 for v in e], "uint8"), strict=True)


def test_i_bert_softmax_rounds_half_to_even() -> None:
    # 1124 / 8 = 140.5 is 140, and (1124 - 53) / 8 = 133.9 is 134.
    a = {**published(0.05, out_bits=16, dtype="int32"), "c": 1124, "multiplier": 1, "shift": 3}
    factor = 2**32 // (140 + 134)
    assert i_bert_softmax(row(0, -1), **a).tolist() == [140 * factor >> 16, 134 * factor >> 16]


def test_i_bert_softmax_p2_loses_what_floors_take() -> None:
    assert i_bert_softmax(row(7, 7), **published(0.05)).tolist() == [127, 127]
    assert set(i_bert_softmax(np.zeros(255, "int8"), **published(0.05)).tolist()) == {1}
    assert set(i_bert_softmax(np.zeros(256, "int8"), **published(0.05)).tolist()) == {0}


def test_i_bert_softmax_tells_of_clamps_and_saturation() -> None:
    _, events = run("IBertSoftmax", ((row(127, 100, -128),), {**published(0.05), "n": 3}))
    assert [(e.kind, e.step, e.count, e.value) for e in events] == [("clamped", "d", 1, -255)]
    odd = {**published(0.05), "b": 200, "x0": -20}
    _, events = run("IBertSoftmax", ((row(0, -19),), odd))  # z = 1116 - 19 * 181 < 0
    assert [(e.kind, e.step, e.value) for e in events] == [("clamped", "z", 1116 - 19 * 181)]
    loud = {**published(0.05), "multiplier": 2**15, "shift": 0}
    _, events = run("IBertSoftmax", ((row(0, -1),), loud))
    assert [(e.kind, e.step, e.value) for e in events] == [("saturated", "e", 1116 * 2**15)]
    power = {**published(0.05), "c": 1, "b": 0, "x0": -1, "multiplier": 2**14, "shift": 0}
    y, events = run("IBertSoftmax", ((row(9, -128),), power))
    assert (y.tolist(), [(e.kind, e.step, e.value) for e in events]) == (
        [255, 0],
        [("clamped", "d", -137), ("saturated", "y", 256)],
    )


# --- Properties


@given(st.data(), scales(min_value=2.0**-13))
def test_i_bert_softmax_p1_p2_p3_p4_of_any_row(data: st.DataObject, scale: float) -> None:
    out_bits, dtype = data.draw(st.sampled_from([(8, "uint8"), (16, "uint16")]))
    a = published(scale, out_bits=out_bits, dtype=dtype)
    x = np.array(data.draw(st.lists(st.integers(-100, 100), min_size=1, max_size=20)), "int16")
    y = i_bert_softmax(x, **a)
    assert y.min() >= 0
    assert y.max() < 2**out_bits
    assert int(y.sum()) <= 2**out_bits
    np.testing.assert_array_equal(i_bert_softmax(x + np.int16(data.draw(st.integers(-30000, 30000))), **a), y)
    order = np.array(data.draw(st.permutations(range(x.size))))
    np.testing.assert_array_equal(i_bert_softmax(x[order], **a), y[order])
    by_size = y[np.argsort(x, kind="stable")].astype("int64")
    assert scale < 0.0015134 or (np.diff(by_size) >= 0).all()


@given(st.floats(float32(0.0015134), float32(1.67), width=32))
def test_i_bert_softmax_p4_keeps_order_at_every_larger_scale(scale: float) -> None:
    """Both conditions of the text; all 88 million scales have been tried once."""
    x0, b, c = dyadic.exp_polynomial(scale)
    assert b >= -2 * x0 - 3
    assert 2 * ((x0 + 1) * (x0 + 1 + b) + c) >= c


def test_i_bert_softmax_p4_does_not_keep_order_at_some_smaller_scale() -> None:
    a = published(0.000756658730097115)
    assert (a["x0"], a["b"], a["c"]) == (-917, 3578, 4876780)
    below, half = 4876780 - 916 * (3578 - 916), 4876780 // 2
    assert below < half
    assert i_bert_softmax(row(0, -916, -917, dtype="int16"), **a).tolist() == [127, 63, 64]


# --- Constraints


@pytest.mark.parametrize("dtype", ["int64", "uint8", "uint16", "bool", "float32"])
def test_i_bert_softmax_c1_x_is_int8_int16_or_int32(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"^IBertSoftmax \(C1\): x must be int8 or int16 or int32, but found"):
        i_bert_softmax(row(0, 0, dtype=dtype), **published(0.05))
    for accepted in ("int8", "int16", "int32"):
        assert i_bert_softmax(row(0, 0, dtype=accepted), **published(0.05)).tolist() == [127, 127]


def test_i_bert_softmax_c1_the_last_axis_has_at_most_2_16_elements() -> None:
    i_bert_softmax(np.zeros((1, 2**16), "int8"), **published(0.05))
    for x in (np.zeros(2**16 + 1, "int8"), np.array(5, "int8")):
        with pytest.raises(ConstraintError, match=r"^IBertSoftmax \(C1\): the last axis"):
            i_bert_softmax(x, **published(0.05))


@pytest.mark.parametrize(("x0", "b"), [(0, 5), (-12, 10), (-12, 2**16 + 1), (1, 5)])
def test_i_bert_softmax_c2_the_parabola_falls(x0: int, b: int) -> None:
    i_bert_softmax(row(0, -128), **{**published(0.05), "x0": -12, "b": 11})
    i_bert_softmax(row(0, -128), **{**published(0.05), "x0": -(2**16) - 1, "b": 2**16})
    with pytest.raises(ConstraintError, match=rf"^IBertSoftmax \(C2\): .* but found x0 = {x0}, b = {b}$"):
        i_bert_softmax(row(0), **{**published(0.05), "x0": x0, "b": b})


@pytest.mark.parametrize(("c", "n"), [(0, 30), (2**30 + 1, 30), (1, -1), (1, 63)])
def test_i_bert_softmax_c3_c_and_n_have_room(c: int, n: int) -> None:
    for least_or_most in ((1, 0), (2**30, 62)):
        a = {"c": least_or_most[0], "n": least_or_most[1], "multiplier": 2**30, "shift": 0}
        i_bert_softmax(row(0, -128), **{**published(0.05), **a})
    with pytest.raises(ConstraintError, match=rf"^IBertSoftmax \(C3\): .* but found c = {c}, n = {n}$"):
        i_bert_softmax(row(0), **{**published(0.05), "c": c, "n": n})


@pytest.mark.parametrize(("multiplier", "shift"), [(0, 0), (2**31, 10), (1, 11), (5, -1), (2**31 - 1, 63)])
def test_i_bert_softmax_c4_the_largest_exponential_is_not_lost(multiplier: int, shift: int) -> None:
    for c, m, s in ((1116, 1, 10), (2**30, 2**31 - 1, 60), (2**30, 1, 30)):
        i_bert_softmax(row(0, -128), **{**published(0.05), "c": c, "multiplier": m, "shift": s})
    with pytest.raises(ConstraintError, match=rf"^IBertSoftmax \(C4\): .* but found {multiplier} / 2\*\*{shift}, c = 1116$"):
        i_bert_softmax(row(0), **{**published(0.05), "multiplier": multiplier, "shift": shift})


@pytest.mark.parametrize(("out_bits", "dtype"), [(0, "uint8"), (9, "uint8"), (8, "int8"), (16, "int16"), (17, "int32")])
def test_i_bert_softmax_c5_the_dtype_has_the_bits(out_bits: int, dtype: str) -> None:
    for bits, fits in ((1, "int8"), (7, "int8"), (8, "uint8"), (15, "int16"), (16, "uint16"), (16, "int32")):
        assert str(i_bert_softmax(row(0), **published(0.05, out_bits=bits, dtype=fits)).dtype) == fits
    with pytest.raises(ConstraintError, match=rf"^IBertSoftmax \(C5\): .* but found out_bits = {out_bits}, dtype = {dtype}$"):
        i_bert_softmax(row(0), **published(0.05, out_bits=out_bits, dtype=dtype))
