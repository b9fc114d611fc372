"""Properties of Shiftmax, on every pair of int8 and on drawn rows; and rows that break them in a published version."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from ivit_ref import dyadic
from ivit_ref.errors import ConstraintError
from ivit_ref.profiles import IDEAL, PAPER, QAT, TVM, Profile
from tests.properties.building import (
    SCALES,
    Array,
    Attributes,
    every_profile,
    exponentials,
    int8_pairs,
    result,
    row,
    rows,
    run,
    scales,
)


def before_saturation(profile: Profile, scale: float) -> Attributes:
    """The attributes, of a result with room for one bit more."""
    return {**profile.shiftmax(scale), "dtype": "int32"}


def safe(a: Attributes, length: int) -> bool:
    """Whether nothing wraps and no sum is clamped."""
    return bool(a["sum"] == "exact" or length * a["i0"] * 2 ** a["n"] < 2**31)


# --- Always


@every_profile
@given(x=rows(spare=50), scale=scales(), added=st.integers(-50, 50))
def test_shiftmax_p1_a_number_added_changes_nothing(profile: Profile, x: Array, scale: float, added: int) -> None:
    a = profile.shiftmax(scale)
    assert np.array_equal(outcome(x + x.dtype.type(added), a), outcome(x, a))


@every_profile
@given(x=rows(), scale=scales(), data=st.data())
def test_shiftmax_p2_another_order_is_another_order(profile: Profile, x: Array, scale: float, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(x.size)))
    a = profile.shiftmax(scale)
    assert np.array_equal(outcome(x[order], a), outcome(x, a)[order])


def outcome(x: Array, a: Any) -> Array:
    """The result, or the row of it where the sum wraps to 0 and the run stops."""
    try:
        return result("Shiftmax", x, **a)
    except ConstraintError:
        return np.full(x.shape, 2**31)


# --- Where the sum is safe


def assert_p3_p4_p5(x: Array, y: Array, a: Attributes) -> None:
    """Of the rows along the last axis."""
    for i in range(x.shape[-1]):
        assert (y[..., [i]] <= y)[x[..., [i]] <= x].all()
    assert y.min() >= 0
    assert y.max() <= a["numerator"] >> (32 - a["out_bits"])
    assert y.sum(axis=-1).max() <= 2 ** (a["out_bits"] - 1)


@pytest.mark.parametrize("scale", SCALES)
@every_profile
def test_shiftmax_p3_p4_p5_of_every_int8_pair(profile: Profile, scale: float) -> None:
    a, x = before_saturation(profile, scale), int8_pairs()
    assert safe(a, 2)
    assert_p3_p4_p5(x, result("Shiftmax", x, **a), a)


@every_profile
@given(x=rows(), scale=scales())
def test_shiftmax_p3_p4_p5_of_rows(profile: Profile, x: Array, scale: float) -> None:
    a = before_saturation(profile, scale)
    assume(safe(a, x.size))
    assert_p3_p4_p5(x, result("Shiftmax", x, **a), a)


@every_profile
@given(x=rows(), scale=scales())
def test_shiftmax_p6_is_just_below_the_share(profile: Profile, x: Array, scale: float) -> None:
    a = before_saturation(profile, scale)
    assume(safe(a, x.size))
    e = exponentials(x.astype("int32") - int(x.max()), a).tolist()
    below = 2 ** (32 - a["out_bits"])
    for y, part in zip(result("Shiftmax", x, **a).tolist(), e, strict=True):
        t = Fraction(a["numerator"] * part, sum(e) * below)
        assert t - 1 - Fraction(part, below) < y <= t


def test_shiftmax_p4_p6_of_a_one_hot_row_of_the_paper() -> None:
    x = row(0, -(2**15), dtype="int16")
    for i0 in range(1, 600):
        a: Attributes = {**PAPER.shiftmax(1.0), "i0": i0}
        power = i0 & (i0 - 1) == 0
        first, second = result("Shiftmax", x, **{**a, "dtype": "int16"}).tolist()
        assert second == 0
        assert 127 - i0 / 512 < first <= 128
        assert (first == 128) == power == (run("Shiftmax", x, **a)[1] == {"saturated"})


# --- Where a published version breaks them


def test_shiftmax_p3_p4_break_where_the_sum_of_the_deployment_wraps() -> None:
    fine = TVM.shiftmax(2.0**-14)
    y, events = run("Shiftmax", row(0, -1), **fine)
    assert (y.tolist(), events) == ([-65, -64], {"wrapped"})
    assert run("Shiftmax", row(0, 0), **fine)[0].tolist() == [-65, -65]
    usual = TVM.shiftmax(dyadic.float32(0.001))
    assert set(result("Shiftmax", np.zeros(33, "int8"), **usual).tolist()) == {-4}
    assert result("Shiftmax", np.zeros(32, "int8"), **usual).min() >= 0


def test_shiftmax_p5_breaks_where_the_sum_of_the_deployment_wraps() -> None:
    y = result("Shiftmax", np.zeros(65, "int8"), **TVM.shiftmax(dyadic.float32(0.001)))
    assert (set(y.tolist()), int(y.sum())) == ({17}, 1105)


def test_shiftmax_p5_breaks_where_the_sum_of_the_release_is_clamped() -> None:
    fine, events = run("Shiftmax", row(0, 0), **QAT.shiftmax(dyadic.float32(3e-5)))
    assert (fine.tolist(), events) == ([16667, 16667], {"clamped"})
    assert sum(fine.tolist()) > 2**15
    usual = QAT.shiftmax(dyadic.float32(0.001))
    y = result("Shiftmax", np.zeros(66, "int8"), **usual)
    assert (set(y.tolist()), int(y.sum())) == ({500}, 33000)
    assert int(result("Shiftmax", np.zeros(65, "int8"), **usual).sum()) <= 2**15


@pytest.mark.parametrize("profile", [QAT, IDEAL], ids=["qat", "ideal"])
def test_shiftmax_no_property_a_larger_logit_may_get_less(profile: Profile) -> None:
    a = profile.shiftmax(dyadic.float32(0.01))
    others = [0] * 7
    assert [int(result("Shiftmax", row(x, *others), **a)[0]) for x in (-2, -1)] == [4059, 4029]
