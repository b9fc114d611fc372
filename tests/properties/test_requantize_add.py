"""Properties of RequantizeAdd, before its zero point and saturation."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ivit_ref.integers import ROUNDINGS
from tests.properties.building import Array, result

every_rounding = pytest.mark.parametrize("rounding", ROUNDINGS)
every_way = pytest.mark.parametrize("rounds", ["each", "once"])

codes = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=2, max_size=2).map(sorted)
multipliers = st.one_of(st.integers(-(2**12), 2**12), st.sampled_from([-3, -2, -1, 1, 2, 3]))
shifts = st.integers(0, 14)


def added(a: list[int], b: list[int], am: int, bm: int, shift: int, **attributes: Any) -> Array:
    """y, of two branches on one shift."""
    numbers = {"a_multiplier": (am,), "a_shift": (shift,), "b_multiplier": (bm,), "b_shift": (shift,)}
    pair = np.array(a, "int16"), np.array(b, "int16")
    return result("RequantizeAdd", *pair, **numbers, **attributes, axis=0, zero_point=0, dtype="int32")


@every_way
@every_rounding
@given(a=codes, b=codes, am=multipliers, bm=multipliers, shift=shifts)
def test_requantize_add_p1_p2(rounding: str, rounds: str, a: list[int], b: list[int], am: int, bm: int, shift: int) -> None:
    chosen = {"rounding": rounding, "rounds": rounds}
    y = added(a, b, am, bm, shift, **chosen)
    assert np.array_equal(y, added(b, a, bm, am, shift, **chosen))
    assert (np.diff(added(a, b[:1], am, bm, shift, **chosen)) * np.sign(am) >= 0).all()
    assert (np.diff(added(a[:1], b, am, bm, shift, **chosen)) * np.sign(bm) >= 0).all()


@pytest.mark.parametrize("rounding", [r for r in ROUNDINGS if r.startswith("half")])
@given(a=codes, b=codes, am=multipliers, bm=multipliers, shift=shifts)
def test_requantize_add_p3_is_near_the_sum(rounding: str, a: list[int], b: list[int], am: int, bm: int, shift: int) -> None:
    exact = [Fraction(x * am + y * bm, 2**shift) for x, y in zip(a, b, strict=True)]
    each, once = (added(a, b, am, bm, shift, rounding=rounding, rounds=rounds).tolist() for rounds in ("each", "once"))
    for t, y, z in zip(exact, each, once, strict=True):
        assert abs(y - t) <= 1
        assert abs(z - t) <= Fraction(1, 2)
        assert abs(y - z) <= 1


@pytest.mark.parametrize(("rounding", "each"), [("half_up", 2), ("half_away", 2), ("half_even", 0)])
def test_requantize_add_p3_two_halves_are_one_where_they_are_rounded_once(rounding: str, each: int) -> None:
    results = [added([1], [1], 1, 1, 1, rounding=rounding, rounds=rounds).tolist() for rounds in ("each", "once")]
    assert results == [[each], [1]]
