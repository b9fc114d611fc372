"""Properties of Requantize, before its zero point and saturation: ``dtype`` is int32 and drawn products fit it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ivit_ref import dyadic
from ivit_ref.integers import ROUNDINGS
from ivit_ref.profiles import PROFILES
from tests.properties.building import Array, result, row

every_rounding = pytest.mark.parametrize("rounding", ROUNDINGS)
ODD = ("truncate", "half_away", "half_even")

accumulators = st.one_of(st.integers(-(2**31) + 1, 2**31 - 1), st.integers(-40, 40))


@st.composite
def numbers(draw: st.DrawFn) -> tuple[int, int]:
    """A dyadic number below 1, with few or with 31 bits: ties, whole numbers and everything between."""
    multiplier = draw(st.one_of(st.integers(1, 2**31 - 1), st.integers(0, 30).map(lambda e: 2**e)))
    shift = draw(st.integers(min(62, multiplier.bit_length()), min(62, multiplier.bit_length() + 12)))
    return draw(st.sampled_from([multiplier, -multiplier])), shift


def requantized(x: Array, number: tuple[int, int], rounding: str) -> Array:
    multiplier, shift = number
    a: dict[str, Any] = {"multiplier": (multiplier,), "shift": (shift,), "rounding": rounding, "axis": 0}
    return result("Requantize", x.astype("int32"), **a, zero_point=0, dtype="int32")


@every_rounding
@given(x=st.lists(accumulators, min_size=2), number=numbers())
def test_requantize_p1_keeps_the_order_or_turns_it(rounding: str, x: list[int], number: tuple[int, int]) -> None:
    y = requantized(np.array(sorted(x)), number, rounding)
    assert (np.diff(y) * np.sign(number[0]) >= 0).all()


def assert_near(y: int, t: Fraction, rounding: str) -> None:
    if rounding == "floor":
        assert t - 1 < y <= t
    elif rounding == "truncate":
        assert abs(y - t) < 1
        assert abs(y) <= abs(t)
    else:
        assert abs(y - t) <= Fraction(1, 2)


@every_rounding
@given(x=accumulators, number=numbers())
def test_requantize_p2_is_off_by_half_a_step_or_one(rounding: str, x: int, number: tuple[int, int]) -> None:
    [y] = requantized(np.array([x]), number, rounding).tolist()
    assert_near(y, Fraction(x * number[0], 2 ** number[1]), rounding)


@pytest.mark.parametrize("shift", [1, 5, 16])
@every_rounding
def test_requantize_p2_of_every_int16(rounding: str, shift: int) -> None:
    x = np.arange(-(2**15), 2**15)
    below = 3 * x - requantized(x, (3, shift), rounding) * 2**shift
    if rounding == "floor":
        assert (below.min(), below.max()) == (0, 2**shift - 1)
    elif rounding == "truncate":
        assert abs(below).max() == 2**shift - 1
        assert (below * x >= 0).all()
    else:
        assert abs(below).max() == 2 ** (shift - 1)


@every_rounding
@given(x=accumulators, ratio=st.floats(2.0**-32, 1.0))
def test_requantize_p3_the_dyadic_number_is_off_by_31_bits(rounding: str, x: int, ratio: float) -> None:
    number = dyadic.from_real(ratio)
    t, real = Fraction(x * number[0], 2 ** number[1]), x * Fraction(ratio)
    assert abs(t - real) <= abs(real) / 2**31
    [y] = requantized(np.array([x]), number, rounding).tolist()
    assert abs(y - real) <= (Fraction(1, 2) if rounding.startswith("half") else 1) + abs(real) / 2**31


@pytest.mark.parametrize("rounding", ODD)
@given(x=accumulators, number=numbers())
def test_requantize_p4_is_odd(rounding: str, x: int, number: tuple[int, int]) -> None:
    first, second = requantized(np.array([x, -x]), number, rounding).tolist()
    assert first == -second


@pytest.mark.parametrize(("profile", "expected"), [("paper", [0, -1]), ("qat", [0, 0]), ("tvm", [1, 0]), ("ideal", [0, 0])])
def test_requantize_p4_breaks_in_the_paper_and_the_deployment(profile: str, expected: list[int]) -> None:
    rounding = PROFILES[profile].rounding
    assert requantized(row(1, -1), (1, 1), rounding).tolist() == expected
    assert (expected[0] == -expected[1]) == (rounding in ODD)


def test_requantize_p4_breaks_on_ties_alone_in_the_deployment_and_everywhere_in_the_paper() -> None:
    assert requantized(row(1, -1), (1, 2), "half_up").tolist() == [0, 0]
    assert requantized(row(1, -1), (1, 2), "floor").tolist() == [0, -1]
