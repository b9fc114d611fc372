"""The fixed-point arithmetic of gemmlowp: against Python integers, the compiled source, and the real functions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref import fixed_point as ours
from ivit_ref.oracle import fixed_point as twin
from ivit_ref.testing.elements import between

INT32 = between(-(2**31), 2**31 - 1)


def wide(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


@given(INT32, INT32)
def test_high_mul_equals_the_source_on_python_integers(a: int, b: int) -> None:
    """``(ab + nudge) / 2**31``, truncated as C++ divides, with the one overflow set apart."""
    nudged = a * b + (2**30 if a * b >= 0 else 1 - 2**30)
    truncated = abs(nudged) // 2**31 * (1 if nudged >= 0 else -1)
    expected = 2**31 - 1 if a == b == -(2**31) else truncated
    assert ours.high_mul(wide(a), wide(b)).tolist() == [expected]
    assert twin.high_mul(a, b) == expected


def test_high_mul_of_the_two_smallest_saturates() -> None:
    low = -(2**31)
    assert ours.high_mul(wide(low, low, low), wide(low, 2**31 - 1, 1)).tolist() == [2**31 - 1, -(2**31) + 1, -1]


def test_high_mul_takes_ties_up_for_either_sign() -> None:
    halves = wide(1, -1, 3, -3, 2**30 + 1, -(2**30) - 1)
    assert ours.high_mul(halves, 2**30).tolist() == [1, 0, 2, -1, 2**29 + 1, -(2**29)]
    assert [twin.high_mul(a, 2**30) for a in halves.tolist()] == [1, 0, 2, -1, 2**29 + 1, -(2**29)]


@given(INT32, st.integers(0, 31))
def test_divide_by_power_of_two_equals_the_source_on_python_integers(x: int, exponent: int) -> None:
    mask = 2**exponent - 1
    expected = (x >> exponent) + int((x & mask) > (mask >> 1) + (x < 0))
    assert ours.divide_by_power_of_two(wide(x), exponent).tolist() == [expected]
    assert twin.divide_by_power_of_two(x, exponent) == expected


def test_divide_by_power_of_two_rounds_half_away() -> None:
    assert ours.divide_by_power_of_two(wide(2, -2, 6, -6, 1, -1, 3, -3), 2).tolist() == [1, -1, 2, -2, 0, 0, 1, -1]
    assert ours.divide_by_power_of_two(wide(2**30, -(2**30), 2**30 - 1, -(2**31)), 31).tolist() == [1, -1, 0, -1]


@given(between(-(2**31), 0))
def test_exp_equals_the_twin(a: int) -> None:
    assert ours.exp_on_negative_values(wide(a)).tolist() == [twin.exp_on_negative_values(a)]


@given(between(0, 2**31 - 1))
def test_reciprocal_equals_the_twin(a: int) -> None:
    assert ours.one_over_one_plus_x(wide(a)).tolist() == [twin.one_over_one_plus_x(a)]


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        *((0, 2147483647), (-1, 2147483124), (-1021, 2147450484), (-(2**24), 1672462419), (1 - 2**24, 1672462444)),
        *((-(2**24) - 1, 1672461539), (-(2**26), 790015308), (-3 * 2**25, 479168506), (-(2**30), 242)),
        *((-31 * 2**26, 0), (-(2**31), 0)),
    ],
)
def test_exp_gives_what_the_compiled_source_gives(a: int, expected: int) -> None:
    """google/gemmlowp at 16e8662, ``exp_on_negative_values`` of ``FixedPoint<int32_t, 5>``, built with g++."""
    assert ours.exp_on_negative_values(wide(a)).tolist() == [expected]
    assert twin.exp_on_negative_values(a) == expected


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        *((0, 2**31 - 1), (1, 2**31 - 1), (2, 2**31 - 1), (2**30, 1431655762), (715827883, 1610612732)),
        *((2**31 - 2, 1073741820), (2**31 - 1, 1073741820)),
    ],
)
def test_reciprocal_gives_what_the_compiled_source_gives(a: int, expected: int) -> None:
    """The same, ``one_over_one_plus_x_for_x_in_0_1`` of ``FixedPoint<int32_t, 0>``."""
    assert ours.one_over_one_plus_x(wide(a)).tolist() == [expected]
    assert twin.one_over_one_plus_x(a) == expected


def test_exp_is_within_493_units_and_never_decreases() -> None:
    """On a grid over all of Q5.26, around each multiple of 1/4, and on every value next to 0."""
    quarters = (np.arange(-128, 1)[:, None] * 2**24 + np.arange(-1100, 1100)).ravel()
    grid = np.concatenate([np.arange(-(2**31), 1, 9973), quarters, np.arange(-(2**17), 1)])
    a = np.unique(grid[(grid >= -(2**31)) & (grid <= 0)])
    y = ours.exp_on_negative_values(a)
    error = np.abs(y - np.exp(a / 2.0**26) * 2.0**31)
    assert 492 < error.max() < 493
    assert (np.diff(y) >= 0).all()
    assert (y >= 0).all()
    assert (y < 2**31).all()


def test_reciprocal_is_within_7_units_and_wavers_between_neighbours() -> None:
    a = np.concatenate([np.arange(0, 2**31, 9973), np.arange(2**30, 2**30 + 100_000), np.arange(2**31 - 10_000, 2**31)])
    a = np.unique(a)
    y = ours.one_over_one_plus_x(a)
    error = np.abs(y - 2.0**31 / (1 + a / 2.0**31))
    assert 6 < error.max() < 7
    assert np.diff(y).max() == 6
