from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Event
from ivit_ref.ops import int_sqrt
from ivit_ref.oracle.int_sqrt import int_sqrt as twin
from ivit_ref.profiles import IDEAL, PAPER, QAT, Profile
from ivit_ref.testing.calls import CALLS
from tests.agreement import Call, assert_agrees, run

CHOICES = pytest.mark.parametrize("profile", [QAT, PAPER, IDEAL], ids=lambda profile: profile.name)
"""The three pairs of start and steps that the profiles have; TVM's are QAT's."""

RELEASED = {"start": 2**16, "steps": 10}
FROM_BITS = {"start": 0, "steps": 10}


def around_squares(largest_root: int) -> list[int]:
    return [k * k + offset for k in range(1, largest_root + 1) for offset in (-1, 0, 1)]


def off_by_more_than_one(v: list[int], y: list[int]) -> list[int]:
    return [i for i, (a, b) in enumerate(zip(v, y, strict=True)) if abs(b - math.isqrt(a)) > 1]


@given(call=CALLS["IntSqrt"])
def test_int_sqrt_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("IntSqrt", call)


@given(call=CALLS["IntSqrt"])
def test_int_sqrt_records_every_result_off_by_more_than_one(call: Call) -> None:
    v = call[0][0].reshape(-1).tolist()
    y, events = run("IntSqrt", call)
    bad = off_by_more_than_one(v, y.reshape(-1).tolist())
    found = [(e.kind, e.op, e.step, e.count, e.total, e.value) for e in events]
    assert found == ([("not_converged", "IntSqrt", "y", len(bad), len(v), v[bad[0]])] if bad else [])
    assert not bad or np.ravel_multi_index(events[0].index, call[0][0].shape) == bad[0]


@CHOICES
def test_int_sqrt_agrees_with_its_twin_around_every_square_up_to_2_32(profile: Profile) -> None:
    v = around_squares(2**16)
    y = int_sqrt(np.array(v), **profile.int_sqrt())
    np.testing.assert_array_equal(y, np.array(twin(v, **profile.int_sqrt())), strict=True)


@CHOICES
def test_int_sqrt_agrees_with_its_twin_below_2_20(profile: Profile) -> None:
    v = list(range(2**20))
    y = int_sqrt(np.array(v, "int32"), **profile.int_sqrt())
    np.testing.assert_array_equal(y, np.array(twin(v, **profile.int_sqrt())), strict=True)


def test_int_sqrt_without_steps_is_exact() -> None:
    v = [*range(2**17), *around_squares(2**16), *(2**e + k for e in range(2, 62) for k in (-1, 0, 1)), 2**62 - 1]
    assert int_sqrt(np.array(v), **IDEAL.int_sqrt()).tolist() == [math.isqrt(value) for value in v]


# --- Facts


@pytest.mark.parametrize(
    ("v", "expected"),
    [(0, 64), (1, 64), (5, 64), (10, 64), (100, 64), (1000, 68), (5000, 87), (10000, 108), (20000, 144), (40000, 200)],
)
def test_int_sqrt_as_released_has_not_converged_for_small_numbers(v: int, expected: int) -> None:
    np.testing.assert_array_equal(int_sqrt(np.array([v], "int32"), **RELEASED), np.array([expected]), strict=True)


@pytest.mark.parametrize(("percent", "largest"), [(50, 2703), (10, 9603), (1, 34595)])
def test_int_sqrt_as_released_is_far_off_up_to(percent: int, largest: int) -> None:
    v = range(1, 2**17)
    y = int_sqrt(np.arange(1, 2**17), **RELEASED).tolist()
    far_off = [a for a, b in zip(v, y, strict=True) if 100 * abs(b - math.isqrt(a)) > percent * math.isqrt(a)]
    assert max(far_off) == largest


def test_int_sqrt_as_released_is_off_by_at_most_one_from_34596_on() -> None:
    v = [*range(34595, 2**18), *around_squares(2**16)[3 * 187 :]]
    y = int_sqrt(np.array(v), **RELEASED).tolist()
    assert off_by_more_than_one(v, y) == [0]
    assert min(b - math.isqrt(a) for a, b in zip(v, y, strict=True)) == 0


def test_int_sqrt_as_released_needs_more_steps_from_2_47_on() -> None:
    # The first step leaps to about 2**47 / 2**17 = 2**30; nine more halve that towards 2**23.5 and do not quite settle.
    assert int_sqrt(np.array([2**46, 2**47]), **RELEASED).tolist() == [2**23 + 1, math.isqrt(2**47) + 289]


def test_int_sqrt_oscillates_one_below_a_square() -> None:
    # 15 = 4**2 - 1: from 4, (4 + 15 // 4) // 2 = 3; from 3, (3 + 5) // 2 = 4.
    assert [int_sqrt(np.array([15]), start=4, steps=steps).tolist() for steps in (1, 2, 3, 4)] == [[3], [4], [3], [4]]


def test_int_sqrt_from_the_bit_length_needs_three_steps_for_uint32() -> None:
    v = [0, *around_squares(2**16 - 1), 2**32 - 1]
    assert off_by_more_than_one(v, int_sqrt(np.array(v), start=0, steps=3).tolist()) == []
    assert off_by_more_than_one(v, int_sqrt(np.array(v), start=0, steps=2).tolist()) != []


@pytest.mark.parametrize(
    ("v", "first_guess"), [(1, 1), (2, 2), (3, 2), (4, 2), (7, 2), (8, 4), (2**31 - 1, 2**15), (2**31, 2**16), (2**61, 2**31)]
)
def test_int_sqrt_starts_from_the_bit_length(v: int, first_guess: int) -> None:
    assert int_sqrt(np.array([v]), start=0, steps=1).tolist() == [(first_guess + v // first_guess) // 2]


@pytest.mark.parametrize(
    ("start", "steps", "expected"), [(2**16, 10, 64), (2**16, 64, 0), (0, 1, 0), (0, 10, 0), (0, 0, 0), (1, 3, 0)]
)
def test_int_sqrt_of_zero(start: int, steps: int, expected: int) -> None:
    np.testing.assert_array_equal(int_sqrt(np.zeros((1, 1), "int32"), start=start, steps=steps), [[expected]])


# --- Constraints


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint8", "uint16", "bool", "float32"])
def test_int_sqrt_c1_v_is_int32_or_int64(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"IntSqrt \(C1\)"):
        int_sqrt(np.ones(2, dtype), **FROM_BITS)
    for accepted in ("int32", "int64"):
        np.testing.assert_array_equal(int_sqrt(np.ones(2, accepted), **FROM_BITS), np.ones(2, "int64"), strict=True)


@pytest.mark.parametrize(("accepted", "refused"), [(0, -1), (0, -(2**63)), (2**62 - 1, 2**62)])
@pytest.mark.parametrize("steps", [0, 63])
def test_int_sqrt_c2_v_is_from_0_to_below_2_62(accepted: int, refused: int, steps: int) -> None:
    with pytest.raises(ConstraintError, match=rf"IntSqrt \(C2\).* {refused}$"):
        int_sqrt(np.array([5, refused]), start=0, steps=steps)
    assert int_sqrt(np.array([25, accepted]), start=0, steps=steps).tolist() == [5, math.isqrt(accepted)]


@pytest.mark.parametrize(("accepted", "refused"), [(0, -1), (2**31, 2**31 + 1)])
def test_int_sqrt_c3_start_is_from_0_to_2_31(accepted: int, refused: int) -> None:
    with pytest.raises(ConstraintError, match=r"IntSqrt \(C3\)"):
        int_sqrt(np.array([49]), start=refused, steps=64)
    assert int_sqrt(np.array([49]), start=accepted, steps=64).tolist() == [7]


@pytest.mark.parametrize(("accepted", "refused"), [((0, 0), (1, 0)), ((0, 0), (0, -1)), ((9, 1), (9, 0)), ((9, 64), (9, 65))])
def test_int_sqrt_c4_steps_are_from_0_to_64_and_0_goes_with_start_0(
    accepted: tuple[int, int], refused: tuple[int, int]
) -> None:
    with pytest.raises(ConstraintError, match=r"IntSqrt \(C4\)"):
        int_sqrt(np.array([49]), start=refused[0], steps=refused[1])
    assert int_sqrt(np.array([49]), start=accepted[0], steps=accepted[1]).tolist() == [7]


def test_int_sqrt_refuses_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"IntSqrt \(no empty axes\).*\[0\]"):
        int_sqrt(np.zeros(0, "int32"), **FROM_BITS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_int_sqrt_refuses_floats(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=dtype):
        int_sqrt(np.ones(2, dtype), **FROM_BITS)


# --- Events


def test_int_sqrt_records_what_has_not_converged() -> None:
    v = np.array([[40000, 90000, 1000], [0, 5000, 40000]], "int32")
    y, events = run("IntSqrt", ((v,), RELEASED), "raise")
    assert y.tolist() == [[200, 300, 68], [64, 87, 200]]
    assert events == [Event("not_converged", "", "IntSqrt", "y", count=3, total=6, index=(0, 2), value=1000)]


def test_int_sqrt_off_by_one_is_no_event() -> None:
    # One step from 2: (2 + 8 // 2) // 2 = 3 for the root 2 of 8; (2 + 15 // 2) // 2 = 4 and the root is 3; 25 gives 7, not 5.
    y, events = run("IntSqrt", ((np.array([8, 9, 15]),), {"start": 2, "steps": 1}))
    assert (y.tolist(), events) == ([3, 3, 4], [])
    y, events = run("IntSqrt", ((np.array([15, 25]),), {"start": 2, "steps": 1}))
    assert y.tolist() == [4, 7]
    assert [(e.kind, e.count, e.index, e.value) for e in events] == [("not_converged", 1, (1,), 25)]
