from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import i_bert_gelu
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls_ibert import following, i_bert_gelu_calls
from ivit_ref.testing.elements import Call
from ivit_ref.testing.values import scales
from tests.agreement import Array, assert_agrees, run
from tests.ops.peers import Reals, float32, over

CODES = np.arange(-128, 128).astype("int8")


def published(scale: float, shift: int = 0) -> dict[str, Any]:
    return following("IBertGELU", float32(scale), shift=shift)


def row(*values: int, dtype: str = "int8") -> Array:
    return np.array(values, dtype)


def step_of(scale: float, attributes: dict[str, Any]) -> float:
    """What a step of the result is worth."""
    rule: Any = REGISTRY["IBertGELU"].quant
    quant: Quant = rule([Quant((float32(scale),))], [TensorType("int8", (1,))], attributes)
    return quant.scale[0]


def released(x: Array, scale: float, shift: int) -> tuple[Reals, float]:
    """IntGELU as released, its constants in float32 and the rest in float64; and the step of the result."""
    narrower = np.float32(scale) / np.float32(1.4142)
    b, c = over(-1.769, narrower), over(1 / -0.2888, narrower * narrower)
    step = narrower * narrower * np.float32(-0.2888) * np.float32(2.0**shift)
    wide = np.float64(x)
    y = np.sign(wide) * ((np.minimum(abs(wide), -b) + b) ** 2 + c)
    result = wide * (np.floor(y / 2.0**shift) + math.floor(np.float32(1) / step))
    return np.asarray(result), float(np.float32(scale) * step / np.float32(2))


def gelu(x: Array, scale: float) -> Reals:
    u = np.float64(x) * float32(scale)
    return np.array([v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in u.tolist()])


@given(call=i_bert_gelu_calls())
def test_i_bert_gelu_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("IBertGELU", call)


@pytest.mark.parametrize("shift", [0, 3, 14])
@pytest.mark.parametrize("scale", [0.1, 0.05, 0.03, 0.02947329])
def test_i_bert_gelu_agrees_with_its_twin_on_every_code(scale: float, shift: int) -> None:
    assert_agrees("IBertGELU", ((CODES,), published(scale, shift)))


@given(st.integers(0, 14), scales(min_value=2.0**-10))  # below, -128 * one leaves int32
def test_i_bert_gelu_is_the_released_one(shift: int, scale: float) -> None:
    expected, step = released(CODES, scale, shift)
    a = published(scale, shift)
    np.testing.assert_array_equal(i_bert_gelu(CODES, **a), expected)
    assert step_of(scale, a) == step < 0


@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 14), (1e-5, 25)])
def test_i_bert_gelu_of_an_accumulator_is_the_released_one(scale: float, shift: int) -> None:
    most = int(3 / scale)
    x = np.random.default_rng(0).integers(-most, most, 10000).astype("int32")
    a, (expected, step) = published(scale, shift), released(x, float32(scale), shift)
    y = i_bert_gelu(x, **a)
    np.testing.assert_array_equal(y, expected)
    assert abs(y * step - gelu(x, scale)).max() < 0.022


def test_i_bert_gelu_as_released_leaves_int32_at_the_scale_of_an_accumulator() -> None:
    a = published(1e-5, 14)
    assert a["one"] == pytest.approx(-(1.4142**2) / 0.2888 / 1e-10 / 2**14, rel=1e-6)
    with pytest.raises(IntegerOverflow, match=r"^IBertGELU: x \* \(y \+ one\): 1 of 2 elements do not fit int32"):
        i_bert_gelu(row(100_000, 0, dtype="int32"), **a)


# --- Facts


def test_i_bert_gelu_golden_vector() -> None:
    a = published(0.05)
    assert (a["b"], a["c"], a["one"]) == (-51, -2771, -2771)
    assert step_of(0.05, a) == pytest.approx(-9.02517e-6, rel=1e-6)
    y = i_bert_gelu(row(127, 100, 64, 32, 0, -32, -64, -128), **a)
    expected = row(-703834, -554200, -354688, -165792, 0, 11552, 0, 0, dtype="int32")
    np.testing.assert_array_equal(y, expected, strict=True)


@pytest.mark.parametrize(
    ("scale", "shift", "error"),
    [(0.1, 0, 0.033), (0.05, 0, 0.021), (0.03, 0, 0.017), (0.1, 14, 288), (0.05, 14, 31), (0.03, 14, 4.3)],
)
def test_i_bert_gelu_is_this_far_from_gelu_on_int8(scale: float, shift: int, error: float) -> None:
    a = published(scale, shift)
    found = abs(i_bert_gelu(CODES, **a) * step_of(scale, a) - gelu(CODES, scale)).max()
    assert found == pytest.approx(error, rel=0.03)


def test_i_bert_gelu_with_the_published_shift_has_no_erf_on_int8() -> None:
    a = published(0.05, 14)
    assert a["one"] == -1
    assert i_bert_gelu(row(127, 1, 0, -1, -128), **a).tolist() == [-254, -2, 0, 1, 128]


def test_i_bert_gelu_wraps() -> None:
    a = {"b": -1, "c": -1, "one": -(2**30), "shift": 0}
    with pytest.raises(
        IntegerOverflow, match=r"^IBertGELU: x \* \(y \+ one\): 1 of 2 elements do not fit int32; .*: -3221225475$"
    ):
        run("IBertGELU", ((row(1, 3),), a), "raise")
    y, events = run("IBertGELU", ((row(1, 3),), a))
    assert y.tolist() == [-(2**30) - 1, -3221225475 + 2**32]
    assert [(e.kind, e.step, e.value) for e in events] == [("wrapped", "x * (y + one)", -3221225475)]


# --- Scales


def test_i_bert_gelu_needs_one_symmetric_scale() -> None:
    types = [TensorType("int8", (2,))]
    for rule in (REGISTRY["IBertGELU"].quant, REGISTRY["IBertGELU"].follows):
        assert rule is not None
        assert not rule([None], types, {"shift": 0})
        with pytest.raises(ConstraintError, match=r"^IBertGELU \(scales\): x must have one positive scale, but found"):
            rule([Quant((0.5, 0.25), axis=0)], types, {"shift": 0})
        with pytest.raises(ConstraintError, match=r"^IBertGELU \(scales\): x must have zero point 0, but found"):
            rule([Quant((0.5,), zero_point=3)], types, {"shift": 0})


def test_i_bert_gelu_constants_wait_for_a_shift() -> None:
    rule: Any = REGISTRY["IBertGELU"].follows
    assert rule([Quant((0.5,))], [TensorType("int8", (2,))], {}) == {}


# --- Properties


@given(i_bert_gelu_calls())
def test_i_bert_gelu_p1_is_odd_but_for_its_line(call: Call) -> None:
    x, a = np.abs(call[0][0].astype("int64")) % 2**20, dict(call[1])
    a["one"] = max(a["one"], -1000)
    a["b"], a["c"] = max(a["b"], -30), max(a["c"], -1000)
    difference = np.int64(i_bert_gelu(x.astype("int32"), **a)) - i_bert_gelu(-x.astype("int32"), **a)
    less = 2 * x * a["one"] - difference
    assert ((less == 0) | ((less == x) & (a["shift"] > 0))).all()


@given(st.floats(2.0**-7, 1, width=32))
def test_i_bert_gelu_p2_has_lines_beyond_b(scale: float) -> None:
    a = published(scale)
    assert abs(a["one"] - a["c"]) <= 1
    x = np.array([-a["b"], 1 - a["b"], 127 - a["b"]], "int32")
    assert i_bert_gelu(x, **a).tolist() == [int(v) * (a["one"] + a["c"]) for v in x]
    assert i_bert_gelu(-x, **a).tolist() == [-int(v) * (a["one"] - a["c"]) for v in x]


def test_i_bert_gelu_p2_has_a_tail_where_two_floors_part() -> None:
    a = published(0.02947328612208366)
    assert (a["c"], a["one"]) == (-7973, -7972)
    assert i_bert_gelu(row(-128, -85), **a).tolist() == [-128, -85]
    assert -128 * step_of(0.02947328612208366, a) == pytest.approx(0.00024, rel=0.02)


# --- Constraints


@pytest.mark.parametrize("dtype", ["int64", "uint8", "uint16", "bool", "float32"])
def test_i_bert_gelu_c1_x_is_int8_int16_or_int32(dtype: str) -> None:
    for accepted in ("int8", "int16", "int32"):
        assert i_bert_gelu(row(100, dtype=accepted), **published(0.05)).tolist() == [-554200]
    with pytest.raises(ConstraintError, match=r"^IBertGELU \(C1\): x must be int8 or int16 or int32, but found"):
        i_bert_gelu(row(0, 0, dtype=dtype), **published(0.05))


@pytest.mark.parametrize("shift", [-1, 31])
def test_i_bert_gelu_c2_shift_is_from_0_to_30(shift: int) -> None:
    i_bert_gelu(row(1), b=-1, c=-1, one=-1, shift=30)
    with pytest.raises(ConstraintError, match=rf"^IBertGELU \(C2\): .* but found {shift}$"):
        i_bert_gelu(row(1), b=-1, c=-1, one=-1, shift=shift)


@pytest.mark.parametrize(
    ("b", "c", "shift"),
    [(0, -1, 0), (-(2**15) - 1, -1, 0), (-1, 0, 0), (-1, -(2**30) - 1, 0), (-(2**22) - 1, -1, 14), (-1, -(2**44) - 1, 14)],
)
def test_i_bert_gelu_c3_erf_has_30_bits(b: int, c: int, shift: int) -> None:
    for most in (0, 14, 30):
        x = row(-(2**31), 2**31 - 1, dtype="int32")
        run("IBertGELU", ((x,), {"b": -(2 ** (15 + most // 2)), "c": -(2 ** (30 + most)), "one": -(2**30), "shift": most}))
    with pytest.raises(ConstraintError, match=rf"^IBertGELU \(C3\): .* but found b = {b}, c = {c}, shift = {shift}$"):
        i_bert_gelu(row(1), b=b, c=c, one=-1, shift=shift)


@pytest.mark.parametrize("one", [0, 1, -(2**30) - 1])
def test_i_bert_gelu_c4_one_is_negative_and_has_30_bits(one: int) -> None:
    i_bert_gelu(row(0), b=-1, c=-1, one=-(2**30), shift=0)
    with pytest.raises(ConstraintError, match=rf"^IBertGELU \(C4\): one must be from -2\*\*30 to -1, but found {one}$"):
        i_bert_gelu(row(1), b=-1, c=-1, one=one, shift=0)
