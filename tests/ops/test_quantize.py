from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context, Event
from ivit_ref.ir import LARGEST_FLOAT32, Quant, TensorType
from ivit_ref.ops import quantize
from ivit_ref.oracle.quantize import quantize as oracle
from ivit_ref.oracle.rounding import float32
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

HALF: dict[str, Any] = {"scale": 0.5, "zero_point": 0, "dtype": "int8", "division": "reciprocal"}
both = pytest.mark.parametrize("division", ["reciprocal", "direct"])


def reals(*values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, np.float32)


@settings(deadline=None, max_examples=2 * settings().max_examples)
@given(CALLS["Quantize"])
def test_quantize_equals_the_oracle(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), attributes["dtype"])
    np.testing.assert_array_equal(quantize(x, **attributes), expected, strict=True)
    np.testing.assert_array_equal(quantize(x, **attributes, ctx=Context("wrap")), expected, strict=True)


@settings(deadline=None)
@given(CALLS["Quantize"])
def test_quantize_reports_what_it_saturates(call: Call) -> None:
    (x,), attributes = call
    exact = np.array(oracle(x.tolist(), **{**attributes, "dtype": "int64"}))
    bounds = np.iinfo(attributes["dtype"])
    places = np.argwhere((exact < bounds.min) | (exact > bounds.max)).tolist()
    events: list[Event] = []
    quantize(x, **attributes, ctx=Context(emit=events.append))
    assert [(e.kind, e.step, e.count, e.total, e.index) for e in events] == [
        ("saturated", "y", len(places), x.size, tuple(places[0])) for _ in places[:1]
    ]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_float32_of_the_oracle_is_the_one_of_the_c_compiler(value: float) -> None:
    try:
        expected = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        expected = math.copysign(math.inf, value)
    assert float32(Fraction(value)) == expected


def test_quantize_ties_go_to_the_even_neighbour() -> None:
    x = reals(31.75, 31.25, -31.75, 0.25, -0.25, 0.75, -0.75, 1.25)
    np.testing.assert_array_equal(quantize(x, **HALF), np.array([64, 62, -64, 0, 0, 2, -2, 2], np.int8), strict=True)


def test_quantize_rounds_before_it_adds_the_zero_point() -> None:
    assert quantize(reals(0.25, 0.75), **{**HALF, "zero_point": 1}).tolist() == [1, 3]


def test_quantize_multiplies_with_the_rounded_reciprocal() -> None:
    """45.5 / 7 is the tie 6.5, which goes to 6; the float32 nearest to 1/7 is above it, and the product is above 6.5."""
    assert quantize(reals(45.5), **{**HALF, "scale": 7.0}).tolist() == [7]


@pytest.mark.parametrize(
    ("x", "scale", "reciprocal", "direct"),
    [
        (45.5, 7.0, 7, 6),
        (-45.5, 7.0, -7, -6),
        (84.5, 13.0, 7, 6),
        (143.5, 41.0, 3, 4),
        (-143.5, 41.0, -3, -4),
        (307.5, 41.0, 7, 8),
    ],
)
def test_quantize_divisions_differ_at_ties(x: float, scale: float, reciprocal: int, direct: int) -> None:
    """Exact ties of x / scale, which go to even; the float32 of 1/7 and of 1/13 is above it, that of 1/41 below."""
    assert (Fraction(x) / Fraction(scale)).denominator == 2
    assert quantize(reals(x), **{**HALF, "scale": scale}).tolist() == [reciprocal]
    assert quantize(reals(x), **{**HALF, "scale": scale, "division": "direct"}).tolist() == [direct]
    factor = Fraction(float32(1 / Fraction(scale)))
    assert round(Fraction(float32(Fraction(x) * factor))) == reciprocal
    assert round(Fraction(float32(Fraction(x) / Fraction(scale)))) == direct


def test_quantize_saturates_at_both_ends_and_says_where() -> None:
    events: list[Event] = []
    y = quantize(reals(63.5, 63.75, 64.5, -64.25, -64.75), **HALF, ctx=Context(node="image", emit=events.append))
    np.testing.assert_array_equal(y, np.array([127, 127, 127, -128, -128], np.int8), strict=True)
    assert events == [Event("saturated", "image", "Quantize", "y", 3, 5, (1,), 128)]


def test_quantize_reports_the_value_before_it_is_saturated() -> None:
    events: list[Event] = []
    quantize(reals(0.0, -(2.0**22)), **{**HALF, "zero_point": 5}, ctx=Context(emit=events.append))
    assert [event.value for event in events] == [5 - 2**23]


@both
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("int8", -128, 127), ("uint8", 0, 255), ("int16", -(2**15), 2**15 - 1), ("uint16", 0, 2**16 - 1)],
)
def test_quantize_holds_huge_values(dtype: str, low: int, high: int, division: str) -> None:
    for zero_point in (low, high):
        y = quantize(
            reals(LARGEST_FLOAT32, -LARGEST_FLOAT32, 2.0**31, -(2.0**63)),
            **{**HALF, "scale": 1.0, "zero_point": zero_point, "dtype": dtype, "division": division},
        )
        np.testing.assert_array_equal(y, np.array([high, low, high, low], dtype), strict=True)


@both
def test_quantize_holds_quotients_beyond_float32(division: str) -> None:
    for x in (2.0, 4.0, LARGEST_FLOAT32):
        y = quantize(reals(x, -x), **{**HALF, "scale": 2.0**-126, "division": division})
        assert y.tolist() == [127, -128]


def test_quantize_c1_takes_float32() -> None:
    assert quantize(reals(1.0), **HALF).tolist() == [2]
    for dtype in ("bool", "int8", "int32", "int64"):
        with pytest.raises(ConstraintError, match=r"Quantize \(C1\): x "):
            quantize(np.ones(3, dtype), **HALF)
    with pytest.raises(ConstraintError, match=r"Quantize: .* found 'float64'"):
        quantize(np.ones(3), **HALF)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_quantize_c1_refuses_nan_and_infinity(wrong: float) -> None:
    with pytest.raises(ConstraintError, match=rf"Quantize \(C1\): x must have no NaN.* found .*{wrong}"):
        quantize(np.array([[0.0, 1.0], [wrong, 2.0]], np.float32), **HALF)
    with pytest.raises(ConstraintError, match=r"Quantize \(C1\)"):
        quantize(np.array(wrong, np.float32), **HALF)


def test_quantize_c2_scale_is_a_positive_float32_with_a_reciprocal() -> None:
    assert quantize(reals(2.0**-126, -(2.0**-125)), **{**HALF, "scale": 2.0**-126}).tolist() == [1, -2]
    assert quantize(reals(2.0**126, -(2.0**127)), **{**HALF, "scale": 2.0**126}).tolist() == [1, -2]
    assert quantize(reals(1.0), **{**HALF, "scale": float32(Fraction(1, 10))}).tolist() == [10]
    for scale in (0.0, -0.0, -0.5, 0.1, math.nan, math.inf, -math.inf, 2.0**-149, math.ulp(0.0), 1e300):
        with pytest.raises(ConstraintError, match=r"Quantize \(C2\)"):
            quantize(reals(1.0), **{**HALF, "scale": scale})


def test_quantize_c2_scale_and_reciprocal_are_normal() -> None:
    for scale in (float32(Fraction(2**23 - 1, 2**149)), float32(Fraction(2**126 + 2**103))):
        with pytest.raises(ConstraintError, match=r"Quantize \(C2\)"):
            quantize(reals(1.0), **{**HALF, "scale": scale})


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_quantize_c3_zero_point_is_a_value_of_the_dtype(dtype: str) -> None:
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    for zero_point in (low, high):
        y = quantize(reals(0.0), **{**HALF, "zero_point": zero_point, "dtype": dtype})
        np.testing.assert_array_equal(y, np.array([zero_point], dtype), strict=True)
    for zero_point in (low - 1, high + 1):
        with pytest.raises(ConstraintError, match=r"Quantize \(C3\)"):
            quantize(reals(0.0), **{**HALF, "zero_point": zero_point, "dtype": dtype})


@pytest.mark.parametrize(
    ("name", "value"),
    [("dtype", "int32"), ("dtype", "bool"), ("scale", 1), ("zero_point", 0.0), ("division", "floor"), ("division", None)],
)
def test_quantize_refuses_other_attributes(name: str, value: object) -> None:
    with pytest.raises(ConstraintError, match=rf"Quantize \(attributes\): {name}"):
        quantize(reals(1.0), **{**HALF, name: value})


def test_quantize_refuses_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Quantize \(no empty axes\)"):
        quantize(np.zeros((2, 0), np.float32), **HALF)


def test_quantize_scale_of_the_result_is_the_attribute() -> None:
    attributes = {**HALF, "scale": 0.25, "zero_point": 3, "dtype": "uint8"}
    found = REGISTRY["Quantize"].result_quant([None], [TensorType("float32", (1,))], attributes)
    assert found == Quant((0.25,), zero_point=3)
