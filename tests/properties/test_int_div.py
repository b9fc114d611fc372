"""Properties of IntDiv, before saturation: ``dtype`` is int32, which has room for every quotient drawn here."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from ivit_ref.profiles import PAPER, PROFILES, TVM, Profile
from tests.properties.building import Array, every_profile, result, row, run

denominators = st.one_of(st.integers(1, 2**12), st.integers(1, 2**32), st.integers(0, 32).map(lambda e: 2**e))
bits = st.sampled_from([8, 16])


def quotients(profile: Profile, x: list[int], d: list[int], out_bits: int) -> Array:
    """y; of an x above d only where F * x has 64 bits."""
    x = [min(value, denominator) for value, denominator in zip(x, d, strict=True)] if profile.product_bits == 32 else x
    a: dict[str, Any] = {**profile.int_div(out_bits), "dtype": "int32"}
    y, events = run("IntDiv", np.array(x), np.array(d), **a)
    assert not events
    return y.astype("int64")


@every_profile
@given(share=st.fractions(0, 4), d=denominators, out_bits=bits)
def test_int_div_p1_p2_is_just_below_the_true_quotient(profile: Profile, share: Fraction, d: int, out_bits: int) -> None:
    x, below = int(min(share, 1 if profile.product_bits == 32 else 4) * d), 2 ** (32 - out_bits)
    [y] = quotients(profile, [x], [d], out_bits).tolist()
    t = Fraction(profile.numerator * x, d * below)
    assert t - 1 - Fraction(x, below) < y <= t <= Fraction(x * 2 ** (out_bits - 1), d)


@every_profile
@given(x=st.lists(st.integers(0, 2**31), min_size=2), d=denominators, out_bits=bits)
def test_int_div_p3_does_not_decrease_with_x(profile: Profile, x: list[int], d: int, out_bits: int) -> None:
    x = [min(value, 4 * d) for value in sorted(x)]
    assert (np.diff(quotients(profile, x, [d] * len(x), out_bits)) >= 0).all()


@every_profile
@given(x=st.integers(0, 2**16), d=st.lists(denominators, min_size=2), out_bits=bits)
def test_int_div_p3_does_not_increase_with_d(profile: Profile, x: int, d: list[int], out_bits: int) -> None:
    assert (np.diff(quotients(profile, [x] * len(d), sorted(x + value for value in d), out_bits)) <= 0).all()


def test_int_div_p3_wraps_in_the_deployment() -> None:
    x, d = np.array([1, 2]), np.array([1, 1])
    y, events = run("IntDiv", x, d, **TVM.int_div(8))
    assert (y.tolist(), events) == ([127, -1], {"wrapped"})


@every_profile
@given(d=denominators, share=st.fractions(0, 1), out_bits=bits)
def test_int_div_p4_a_part_of_the_whole_needs_no_more_bits(profile: Profile, d: int, share: Fraction, out_bits: int) -> None:
    x = int(share * d)
    a: dict[str, Any] = {**profile.int_div(out_bits), "dtype": "int32"}
    y, events = run("IntDiv", np.array([x]), np.array([d]), **a)
    most = 2 ** (out_bits - 1) - (profile.numerator < 2**31)
    assert 0 <= y[0] <= most
    assert not events
    assert y[0] < 2 ** (out_bits - 1) or (x == d and d & (d - 1) == 0)


def test_int_div_p4_the_numerator_of_the_paper_saturates() -> None:
    assert [name for name, p in PROFILES.items() if p.numerator == 2**31] == ["paper"]
    wide: dict[str, Any] = {**PAPER.int_div(8), "dtype": "int16"}
    assert result("IntDiv", row(4, dtype="int32"), row(4, dtype="int32"), **wide).tolist() == [128]
    assert run("IntDiv", row(4, dtype="int32"), row(4, dtype="int32"), **PAPER.int_div(8))[1] == {"saturated"}
