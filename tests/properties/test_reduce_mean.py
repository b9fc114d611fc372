"""Properties of ReduceMean."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ivit_ref.profiles import PROFILES
from tests.properties.building import Array, result, row, rows

RULES = ("half_even", "half_away", "truncate")
every_rule = pytest.mark.parametrize("rounding", RULES)
SPARE = 50


def mean(x: Array, rounding: str) -> int:
    return int(result("ReduceMean", x, axes=(0,), rounding=rounding)[0])


@every_rule
@given(x=rows())
def test_reduce_mean_p1_lies_between(rounding: str, x: Array) -> None:
    assert int(x.min()) <= mean(x, rounding) <= int(x.max())


@every_rule
@given(x=rows(spare=SPARE), added=st.integers(-SPARE, SPARE))
def test_reduce_mean_p2_moves_with_what_is_added(rounding: str, x: Array, added: int) -> None:
    off = mean(x + x.dtype.type(added), rounding) - mean(x, rounding) - added
    s, n = int(x.astype("int64").sum()), x.size
    assert abs(off) <= 1
    same_sign = (s > 0) == (s + n * added > 0)
    if s % n == 0 or (same_sign if rounding == "truncate" else 2 * s % n != 0):
        assert off == 0


@pytest.mark.parametrize(("rounding", "x"), [("half_even", (0, 1)), ("half_away", (-1, 0)), ("truncate", (-1, 0))])
def test_reduce_mean_p2_breaks_on_ties_and_where_the_sign_changes(rounding: str, x: tuple[int, int]) -> None:
    moved = mean(row(x[0] + 1, x[1] + 1), rounding) - mean(row(*x), rounding)
    assert moved == {"half_even": 2, "half_away": 2, "truncate": 0}[rounding]
    assert {p.mean_rounding for p in PROFILES.values()} == {"half_even", "truncate"}


@every_rule
@given(x=rows(spare=1))
def test_reduce_mean_p3_is_odd(rounding: str, x: Array) -> None:
    assert mean(-x, rounding) == -mean(x, rounding)
