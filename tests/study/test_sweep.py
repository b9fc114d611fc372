"""Sweeps: where an operator's limits are, told from what happened and from formulas."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from ivit_ref.errors import InputError
from ivit_ref.study import Swept, error, sweep
from ivit_ref.study.sweeping import RANGES, grid


def one(op: str, low: float, high: float, **given: Any) -> Swept:
    [swept] = sweep(op, over=(low, high, 2), **given)
    return swept


def limits(op: str, low: float, high: float, **given: Any) -> list[str]:
    return [point.limit for point in one(op, low, high, **given).points]


def test_sum_of_197_equal_exponentials() -> None:
    """int32: at i0 >= 167, for scales up to 0.00599 (a survey's); clamped: from half that scale, with n = 15 instead of 16."""
    few = one("Shiftmax", 0.0059, 0.0062, profiles=["tvm"])
    assert few.points[0].factor is None  # a row of equal numbers wraps
    assert few.points[1].factor == 1
    assert few.thresholds == ["sum: 197 equal numbers reach 2**31 at i0 = 166.3, a scale of 0.00601"]
    assert "sum wraps int32" in limits("Shiftmax", 0.001, 0.4, profiles=["tvm"])[0]
    assert "sum stops at 2**31 - 1" in limits("Shiftmax", 0.001, 0.4, profiles=["qat"])[0]
    assert "sum" not in limits("Shiftmax", 0.001, 0.4, profiles=["ideal"])[0]


def test_rows_all_zero_and_bits_of_the_reciprocal() -> None:
    low, high = one("Shiftmax", 0.01, 0.5, profiles=["tvm"]).points
    assert low.limit == "F is 1; 100 % of rows all zero"
    assert high.limit == ""
    assert (low.factor, high.factor) == ((2**31 - 1) // (197 * 101 * 2**16), (2**31 - 1) // (197 * 3 * 2**16))


def test_rows_have_one_length() -> None:
    [swept] = sweep("Shiftmax", over=(0.05, 0.1, 2), length=50, rows=10)
    assert [(p.tally.rows, p.tally.facts()["inputs"]) for p in swept.points] == [(10, 500)] * 2


def test_layer_norm_goes_over_the_rms_of_a_row() -> None:
    """Ten steps from 2**16 converge from a sum of squares of 34,596 on: an rms of 13.25 for 197 elements."""
    swept = one("ILayerNorm", 12.5, 14)
    assert swept.variable == "rms"
    assert [p.limit for p in swept.points] == ["root not converged", ""]
    assert limits("ILayerNorm", 1, 30, profiles=["ideal"]) == ["", ""]


def test_layer_norm_of_the_deployment_wraps() -> None:
    """uint32 holds the squares of 197 elements up to an rms of sqrt(2**32 / 197) = 4669; the sum in int16 goes before."""
    found = limits("ILayerNorm", 4600, 4800, bits=16, profiles=["tvm"], rows=20)
    assert ["sum of squares wrapped" in limit for limit in found] == [False, True]
    assert all("sum of x wrapped" in limit for limit in found)


def test_square_root_and_quotient_over_their_arguments() -> None:
    assert one("IntSqrt", 1000, 10**6).variable == "v"
    assert limits("IntSqrt", 1000, 10**6) == ["root not converged", ""]
    last = one("IntDiv", 1000, 2**30).points
    assert [p.limit for p in last] == ["", "F is 1"]
    assert last[1].tally.facts()["real"]["max"] == 0.5  # 2**30 / 2**30


def test_a_point_is_what_error_measures_at_that_scale() -> None:
    swept = one("ShiftExp", 0.05, 0.1)
    [measured] = error("ShiftExp", scale=0.05)
    assert swept.points[0].facts()["real"] == measured.total.facts()["real"]


def test_requantize_goes_over_the_ratio() -> None:
    swept = one("Requantize", 0.001, 2)
    assert swept.variable == "ratio"
    assert [p.tally.facts()["real"]["max"] <= 0.5 for p in swept.points] == [True, True]


@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize("bits", [8, 16])
def test_the_default_range_goes_up_by_one_factor(kind: Any, bits: int) -> None:
    values = grid(kind, bits)
    assert len(values) == 10
    ratios = [b / a for a, b in pairwise(values)]
    assert ratios == pytest.approx([ratios[0]] * 9)
    assert ratios[0] > 1


@pytest.mark.parametrize("over", [(0, 1, 3), (2, 1, 3), (1, 1, 3), (0.1, float("inf"), 3), (0.1, 0.2, 1), (0.1, 0.2, 1001)])
def test_a_range_that_is_none_is_refused(over: tuple[float, float, int]) -> None:
    with pytest.raises(InputError, match="sweep: must have 0 < LOW < HIGH and a COUNT from 2 to 1000, but found"):
        sweep("Shiftmax", over=over)
