"""What vectors do not reach: small vectors of which every quotient is known say so when one of them is taken away."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ivit_ref.events import Context
from ivit_ref.golden.coverage import unreached
from ivit_ref.golden.mutation import Vectors
from ivit_ref.ir import Array
from ivit_ref.registry import lookup

QUARTER = {"multiplier": (1,), "shift": (2,), "rounding": "half_even", "axis": 0, "zero_point": 0, "dtype": "int8"}
QUARTERS = {
    "the low end of the range": [-512],
    "the high end of the range": [508],
    "the scaling: a positive remainder of below a half": [1, 5],
    "the scaling: a positive remainder of a half": [2, 6],
    "the scaling: a positive remainder of above a half": [3, 7],
    "the scaling: a negative remainder of below a half": [-3, -7],
    "the scaling: a negative remainder of a half": [-2, -6],
    "the scaling: a negative remainder of above a half": [-1, -5],
}
"""Numbers to divide by four, by what each reaches. -3/4 is a quarter above -1, its floor."""


def vectors(op: str, attributes: dict[str, Any], *arrays: Array) -> Vectors:
    expected = lookup(op).run(arrays, attributes, Context("wrap"))
    return Vectors(op, "qat", attributes, arrays, expected, None)


def quarters(numbers: list[int]) -> Vectors:
    return vectors("Requantize", QUARTER, np.array(numbers, np.int32))


def remainder(numerator: int, denominator: int) -> str:
    """In words; empty where nothing is rounded."""
    rest = Fraction(numerator, denominator) - numerator // denominator
    if not rest:
        return ""
    which = "a half" if rest == Fraction(1, 2) else "below a half" if rest < Fraction(1, 2) else "above a half"
    return f"a {'positive' if numerator > 0 else 'negative'} remainder of {which}"


def test_the_table_above_is_right() -> None:
    for what, numbers in QUARTERS.items():
        if "remainder" in what:
            assert {f"the scaling: {remainder(n, 4)}" for n in numbers} == {what}


def test_all_of_them_reach_everything() -> None:
    assert unreached([quarters([n for numbers in QUARTERS.values() for n in numbers])]) == []


@pytest.mark.parametrize("missing", QUARTERS)
def test_what_is_taken_away_is_told_and_nothing_else(missing: str) -> None:
    exact = [n for what, numbers in QUARTERS.items() if what != missing for n in numbers]
    assert unreached([quarters([*exact, 0, 4, -4])]) == [missing]


def test_cases_reach_together_what_none_reaches_alone() -> None:
    each = [quarters(numbers) for numbers in QUARTERS.values()]
    assert all(unreached([one]) for one in each)
    assert unreached(each) == []


def test_exact_quotients_reach_no_direction() -> None:
    assert unreached([quarters([0, 4, -4, 8, 508, -512])]) == [what for what in QUARTERS if "remainder" in what]


def test_halving_has_no_remainder_but_a_half() -> None:
    half = {**QUARTER, "shift": (1,)}
    reached = vectors("Requantize", half, np.array([1, -1, 254, -256], np.int32))
    assert unreached([reached]) == []
    lacking = vectors("Requantize", half, np.array([1, 2, 254, -256], np.int32))
    assert unreached([lacking]) == ["the scaling: a negative remainder of a half"]


def test_each_channel_has_its_own_quotient() -> None:
    """Of the first axis: 3 * 3 / 8 is an eighth above 1, 3 * -5 / 2 is a half above -8."""
    by_axis = {**QUARTER, "multiplier": (3, -5), "shift": (3, 1)}
    numbers = np.array([[3], [3]], np.int32)
    left = unreached([vectors("Requantize", by_axis, numbers)])
    hit = {remainder(9, 8), remainder(-15, 2)}
    assert hit == {"a positive remainder of below a half", "a negative remainder of a half"}
    assert {w.removeprefix("the scaling: ") for w in QUARTERS if "scaling" in w} - hit == {
        w.removeprefix("the scaling: ") for w in left if "scaling" in w
    }


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ([-3, 0, 5, 9], []),
        ([-2, 0, 9], ["the low end of the range"]),
        ([-3, 4], ["the high end of the range"]),
        ([0, 1], ["the low end of the range", "the high end of the range"]),
    ],
)
def test_the_ends_of_a_clip_are_its_bounds(numbers: list[int], missing: list[str]) -> None:
    assert unreached([vectors("Clip", {"low": -3, "high": 5}, np.array(numbers, np.int8))]) == missing


THIRDS = [[1, 0, 0], [1, 1, 0], [-1, 0, 0], [-1, -1, 0]]
"""Their means are 1/3, 2/3, -1/3 and -2/3."""


@pytest.mark.parametrize("missing", [None, *range(4)])
def test_a_mean_of_three_has_four_remainders(missing: int | None) -> None:
    rows = [row for i, row in enumerate(THIRDS) if i != missing]
    attributes = {"axes": (1,), "rounding": "half_even"}
    halves = vectors("ReduceMean", attributes, np.array([[1, 0], [-1, 0]], np.int8))
    left = unreached([vectors("ReduceMean", attributes, np.array(rows, np.int8)), halves])
    assert left == ([] if missing is None else [f"the mean: {remainder(sum(THIRDS[missing]), 3)}"])


def test_a_row_of_a_shiftmax_reaches_the_clamp_only_if_it_is_long_enough() -> None:
    """With i0 = 4 and n = 3 an exponent is cut off below -12: p is -8 - 4 + 1 = -11 for -8, and -9 - 5 + 1 = -13 for -9."""
    attributes: dict[str, Any] = {
        "i0": 4,
        "n": 3,
        "clamp": True,
        "half": "floor",
        "quotient": "floor",
        "exp_bits": 64,
        "sum": "exact",
        "numerator": 2**31 - 1,
        "out_bits": 8,
        "product_bits": 64,
        "dtype": "int8",
    }
    near, far = np.array([[0, -8]], np.int8), np.array([[0, -9]], np.int8)
    assert unreached([vectors("Shiftmax", attributes, near)]) == ["the clamp at -n*i0"]
    assert unreached([vectors("Shiftmax", attributes, near), vectors("Shiftmax", attributes, far)]) == []
    free = {**attributes, "clamp": False}
    assert unreached([vectors("Shiftmax", free, near)]) == []


def test_a_root_from_a_fixed_start_must_be_seen_to_fail() -> None:
    """Ten steps from 2**16 do not reach the root of 100, as the operator's text says, and reach that of 10**6."""
    attributes = {"start": 2**16, "steps": 10}
    far, near = np.array([100], np.int32), np.array([10**6], np.int32)
    assert unreached([vectors("IntSqrt", attributes, near)]) == ["a square root that has not converged"]
    assert unreached([vectors("IntSqrt", attributes, far)]) == []
    assert unreached([vectors("IntSqrt", {"start": 0, "steps": 10}, near)]) == []


@pytest.mark.parametrize(("rounds", "expected"), [("each", 1), ("once", 0)])
def test_branches_that_are_rounded_together_have_the_remainder_of_their_sum(rounds: str, expected: int) -> None:
    """1/4 and 1/4: each is below a half, and their sum is one."""
    attributes: dict[str, Any] = {"rounds": rounds, "rounding": "half_even", "axis": 0, "dtype": "int8", "zero_point": 0}
    attributes |= {"a_multiplier": (1,), "a_shift": (2,), "b_multiplier": (1,), "b_shift": (2,)}
    one = np.array([1], np.int32)
    left = unreached([vectors("RequantizeAdd", attributes, one, one)])
    assert ("the scaling of a branch: a positive remainder of below a half" not in left) == bool(expected)
    assert ("the scaling of a branch: a positive remainder of a half" not in left) == (not expected)


def test_an_operator_without_any_rule_misses_nothing() -> None:
    assert unreached([vectors("Transpose", {"perm": (1, 0)}, np.array([[1, 2]], np.int8))]) == []
    assert unreached([]) == []
