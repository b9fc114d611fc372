"""Properties of IntSqrt.

Why a few v prove them for all: with m = floor(sqrt(v)), (k + v / k) / 2 does not decrease with v, nor with k from sqrt(v)
on, and is never below m; from m or m + 1 it gives m or m + 1. So among the v of one m and one start, those that have not
converged are the last ones, and the largest, m**2 + 2*m, tells whether there is one.
"""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ivit_ref.profiles import PROFILES, QAT, Profile
from tests.properties.building import Array, every_profile, result

RELEASED = {"start": 2**16, "steps": 10}
FIRST, LAST = 34_596, 65_387_859_544_244


def roots(v: Array, **attributes: object) -> Array:
    return result("IntSqrt", v.astype("int64"), **attributes)


def exact(v: Array) -> Array:
    return np.array([math.isqrt(value) for value in v.tolist()])


def test_int_sqrt_p1_p2_p3_released_is_what_two_profiles_have() -> None:
    assert [name for name, p in PROFILES.items() if p.int_sqrt() == RELEASED] == ["qat", "tvm"]


@every_profile
def test_int_sqrt_p1_is_never_below_the_root(profile: Profile) -> None:
    v = np.arange(2**17)
    assert (roots(v, **profile.int_sqrt()) >= exact(v)).all()


@given(v=st.integers(0, 2**62 - 1), start=st.one_of(st.just(0), st.integers(1, 2**31)), steps=st.integers(1, 64))
def test_int_sqrt_p1_from_any_start_in_any_steps(v: int, start: int, steps: int) -> None:
    assert roots(np.array([v]), start=start, steps=steps)[0] >= math.isqrt(v)


def test_int_sqrt_p2_ten_steps_from_2_16() -> None:
    for first in range(math.isqrt(FIRST), math.isqrt(LAST), 2**16):
        m = np.arange(first, min(first + 2**16, math.isqrt(LAST)))
        assert (roots(m * m + 2 * m, **RELEASED) <= m + 1).all()
    assert roots(np.array([FIRST - 1, LAST, LAST + 1]), **RELEASED).tolist() == [187, 8086276, 8086277]
    assert [math.isqrt(v) for v in (FIRST - 1, LAST, LAST + 1)] == [185, 8086275, 8086275]


@pytest.mark.parametrize("steps", [4, 10, 64])
def test_int_sqrt_p2_from_the_bit_length(steps: int) -> None:
    """The start is within a factor of sqrt(2); then errors are 0.061, 0.0018, 1.6e-6 and 1.2e-12, times 2**31 less than 1."""
    m = np.concatenate([np.arange(2**20), *(2**e - 2**12 + np.arange(2**13) for e in range(20, 31)), [2**31 - 1]])
    m = m[m < 2**31]
    powers = np.array([2**e - 1 for e in range(1, 63)])
    assert (roots(m * m + 2 * np.minimum(m, 2**31 - 2), start=0, steps=steps) <= m + 1).all()
    assert (roots(powers, start=0, steps=steps) <= exact(powers) + 1).all()
    assert (roots(powers, start=0, steps=3) > exact(powers) + 1).any()


@every_profile
def test_int_sqrt_p3_does_not_decrease(profile: Profile) -> None:
    assert (np.diff(roots(np.arange(2**18), **profile.int_sqrt())) >= 0).all()


@given(v=st.integers(0, 2**62 - 2), start=st.integers(1, 2**31), steps=st.integers(1, 64))
def test_int_sqrt_p3_from_any_constant_start(v: int, start: int, steps: int) -> None:
    root = math.isqrt(v)
    beside = sorted({v, v + 1, root * root, max(root * root - 1, 0), min(root * root + 2 * root, 2**62 - 1)})
    assert (np.diff(roots(np.array(beside), start=start, steps=steps)) >= 0).all()


@pytest.mark.parametrize("steps", range(65))
def test_int_sqrt_p3_where_the_start_changes(steps: int) -> None:
    powers = np.array([2**e + k for e in range(1, 62) for k in (-1, 0)])
    assert (np.diff(roots(powers, start=0, steps=steps)) >= 0).all()


def test_int_sqrt_p2_fails_as_released() -> None:
    v = np.arange(FIRST)
    off = roots(v, **QAT.int_sqrt()) > exact(v) + 1
    assert (int(off.sum()), int(np.flatnonzero(off)[-1])) == (29_964, FIRST - 1)
    assert roots(np.array([0, 1]), **QAT.int_sqrt()).tolist() == [64, 64]
