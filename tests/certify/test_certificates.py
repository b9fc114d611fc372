"""Each certificate: what CI enumerates, that its derivation is the twin's, that its inputs are complete, that it can fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref import dyadic, ops
from ivit_ref.certify import CERTIFICATES, Certificate, Tally, certify, int_sqrt, lookup, requantize, shift_exp, shift_gelu
from ivit_ref.certify.record import read_record
from ivit_ref.dyadic import exp_unit
from ivit_ref.importer.elementwise import FUNCTIONS
from ivit_ref.integers import BOUNDS, ROUNDINGS, Rounding
from ivit_ref.oracle import requantize as requantize_twin
from ivit_ref.oracle import shift_exp as shift_exp_twin
from ivit_ref.oracle import shift_gelu as shift_gelu_twin
from ivit_ref.oracle.rounding import rounded
from ivit_ref.profiles import PAPER, PROFILES

RECORD = Path(__file__).parents[2] / "docs" / "certificates.jsonl"
ROUNDING = pytest.mark.parametrize("rounding", ROUNDINGS)


@pytest.mark.parametrize("certificate", CERTIFICATES.values(), ids=list(CERTIFICATES))
def test_what_ci_enumerates_is_equal_and_has_the_recorded_digests(certificate: Certificate) -> None:
    recorded = read_record(RECORD, [certificate])
    lines = certify([certificate], quick=True)
    assert [line.wrong for line in lines] == [""] * len(certificate.parts)
    for line in lines:
        assert line.chunks == tuple(recorded[certificate.name, line.part.name, index] for index in line.part.quick)


def test_what_ci_enumerates_is_a_part_of_the_whole() -> None:
    for certificate in CERTIFICATES.values():
        for part in certificate.parts:
            assert part.quick
            assert sorted(set(part.quick) & set(range(part.chunks))) == sorted(part.quick)


# --- A wrong body is found


def first_chunk(certificate: Certificate, part: int = 0) -> Certificate:
    """A certificate of its first chunk only."""
    return replace(certificate, parts=(replace(certificate.parts[part], chunks=1, quick=(0,)),))


def one_wrong(body: Callable[..., Any], wrong_at: int) -> Callable[..., Any]:
    """The body, with one bit of one result wrong."""

    def wrong(*args: Any, **attributes: Any) -> Any:
        y = np.array(body(*args, **attributes))
        y.flat[wrong_at] ^= 1
        return y

    return wrong


@pytest.mark.parametrize(
    ("module", "part", "wrong_at", "expected"),
    [
        (shift_exp, 0, 3, "ShiftExp, paper: x = -3 (i0 1, n 15, "),
        (int_sqrt, 0, 5, "IntSqrt, paper: 0 to 2**24: v = 5 (start 0, steps 10): got 3, want 2"),
        (requantize, 0, 1, "Requantize, int16, floor: x = -32767 (multiplier (1,), shift (1,), rounding floor, "),
        (lookup, 0, 7, "Lookup, int8 to int8: x = -121 (function Abs, scale 0.0078125, zero_point -128, result int8, "),
        (shift_gelu, 1, 256, "ShiftGELU, qat: x = -128, row_maximum = -127 (i0 1, n 23, "),
    ],
)
def test_one_wrong_result_is_named(
    module: Any, part: int, wrong_at: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of ShiftGELU has a place for each code, so that the second one begins at 256."""
    kernel = module.__name__.rpartition(".")[2]
    monkeypatch.setattr(lookup, "SCALES", (2.0**-7,))
    monkeypatch.setattr(module, kernel, one_wrong(getattr(ops, kernel), wrong_at))
    [line] = certify([first_chunk(module.CERTIFICATE, part)])
    assert line.wrong.startswith(expected)


@pytest.mark.parametrize(
    ("module", "part", "change"),
    [
        (shift_exp, 1, {"half": "drop"}),
        (shift_exp, 0, {"clamp": True}),
        (shift_gelu, 2, {"quotient": "floor"}),
        (shift_gelu, 1, {"sum": "exact"}),
        (int_sqrt, 0, {"steps": 2}),
        (requantize, 3, {"rounding": "half_up"}),
        (requantize, 9, {"rounding": "half_away"}),
        (requantize, 5, {"rounding": "truncate"}),
    ],
)
def test_a_body_of_other_attributes_is_found(
    module: Any, part: int, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = module.__name__.rpartition(".")[2]
    right = getattr(ops, kernel)
    monkeypatch.setattr(module, kernel, lambda *args, **attributes: right(*args, **attributes | change))
    [line] = certify([first_chunk(module.CERTIFICATE, part)])
    assert ": got " in line.wrong


def test_a_body_that_raises_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*args: Any, **attributes: Any) -> Any:
        raise ZeroDivisionError("by\nnothing")

    monkeypatch.setattr(int_sqrt, "int_sqrt", raises)
    [line] = certify([first_chunk(int_sqrt.CERTIFICATE)])
    assert line.wrong == "IntSqrt, paper: 0 to 2**24: chunk = 0 (): got ZeroDivisionError: by nothing, want results"


def test_a_result_of_another_shape_is_found() -> None:
    tally = Tally()
    tally.compare(np.zeros((2, 1), np.int64), np.zeros(2, np.int64), {}, x=np.zeros(2, np.int64))
    assert str(tally.checked().wrong) == " (): got shape [2, 1], want shape [2]"


def test_the_first_wrong_result_counts() -> None:
    tally = Tally()
    for want in ([1, 2, 3], [1, 9, 9], [9, 9, 9]):
        tally.compare(np.array([1, 2, 3]), np.array(want), {"a": 1}, x=np.array([4, 5, 6]))
    assert str(tally.checked().wrong) == "x = 5 (a 1): got 2, want 9"
    assert tally.checked().count == 9


# --- ShiftExp


@pytest.mark.parametrize("profile", ["paper", "qat, ideal", "tvm"])
@pytest.mark.parametrize("i0", [1, 2, 7, 48])
def test_shift_exp_is_counted_as_its_twin_computes(profile: str, i0: int) -> None:
    attributes: dict[str, Any] = shift_exp.PROFILES[profile].shift_exp(1.0) | {"i0": i0}
    n = attributes["n"]
    halvings = n if attributes["clamp"] else n + i0.bit_length()
    count = 25 * i0 + 100
    found = shift_exp.expected(i0, n, halvings, attributes["half"] == "keep", count)
    assert found.tolist() == shift_exp_twin.shift_exp([-x for x in range(count)], **attributes)


def test_the_profiles_share_what_the_parts_say_they_share() -> None:
    assert PROFILES["ideal"].shift_exp(0.1) == PROFILES["qat"].shift_exp(0.1)
    assert PROFILES["tvm"].int_sqrt() == PROFILES["qat"].int_sqrt()


UNITS = pytest.mark.parametrize(("rule", "largest"), [("round", 4096), ("ceil", 4096), ("floor_plus_one", 4097)])


@UNITS
def test_the_finest_scale_of_shift_exp_has_the_largest_unit(rule: dyadic.UnitRule, largest: int) -> None:
    assert exp_unit(2.0**-12, rule) == largest
    assert exp_unit(2.0, rule) == 1


@UNITS
@given(scales=st.lists(st.floats(2**-12, 2, width=32), min_size=2, max_size=2))
def test_a_unit_does_not_rise_with_the_scale(rule: dyadic.UnitRule, largest: int, scales: list[float]) -> None:
    fine, coarse = sorted(scales)
    assert 1 <= exp_unit(coarse, rule) <= exp_unit(fine, rule) <= largest
    assert rule == "round" or exp_unit(coarse, rule, sigmoid=True) <= exp_unit(fine, rule, sigmoid=True)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_units_of_shift_gelu_are_those_of_the_scales_that_its_text_names(profile: str) -> None:
    finest = 2.0**-8 if profile == "paper" else 0.0023
    assert PROFILES[profile].shift_gelu(finest)["i0"] <= shift_gelu.UNITS


# --- ShiftGELU


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("i0", [13, 200])
def test_shift_gelu_of_pairs_is_its_twin_of_rows(profile: str, i0: int) -> None:
    attributes: dict[str, Any] = PROFILES[profile].shift_gelu(1.0) | {"i0": i0}
    found = iter(shift_gelu.expected(attributes))
    for m in range(-128, 128):
        row = list(range(-128, m + 1))
        results = [next(found) for _ in row]
        if m % 17 == 0:
            assert results == shift_gelu_twin.shift_gelu(row, **attributes, overflow="wrap")


def test_the_paper_stops_where_both_exponentials_vanish() -> None:
    attributes: dict[str, Any] = PAPER.shift_gelu(1.0)
    stops = [y == shift_gelu.STOPS for y in shift_gelu.expected(attributes)]
    row = stops[-256:]
    assert row == sorted(row, reverse=True)
    assert 0 < sum(row) < 256
    with pytest.raises(ZeroDivisionError):
        shift_gelu_twin.shift_gelu([sum(row) - 1 - 128, 127], **attributes)
    shift_gelu_twin.shift_gelu([sum(row) - 128, 127], **attributes)


# --- Requantize


def test_there_are_1000_different_ratios() -> None:
    ratios = [dyadic.to_fraction(*requantize.ratio(number)) for number in range(requantize.RATIOS)]
    assert len(set(ratios)) == 1000
    assert [r < 0 for r in ratios[:4]] == [False, True, False, True]
    assert all(abs(r) < 1 for r in ratios[:400])
    assert len(requantize.short_ratios()) == 400


@ROUNDING
def test_a_threshold_is_the_smallest_x_that_is_rounded_so_far(rounding: Rounding) -> None:
    for multiplier, shift in ((1, 1), (3, 2), (5, 4), (1, 0), (2**30 + 7, 33)):
        for y in range(-6, 7):
            found = requantize.threshold(y, multiplier, shift, rounding)
            ratio = dyadic.to_fraction(multiplier, shift)
            assert rounded(found * ratio, rounding) >= y > rounded((found - 1) * ratio, rounding)


@ROUNDING
@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("number", [0, 17, 53, 400, 431])
def test_thresholds_count_what_the_twin_computes(number: int, dtype: str, rounding: Rounding) -> None:
    attributes = requantize.attributes_of(number, rounding, -3, dtype)
    found = requantize.counted(*requantize.ratio(number), rounding, -3, BOUNDS[dtype])
    x = [*range(-300, 300), -(2**15), 2**15 - 1]
    assert found[np.array(x) + 2**15].tolist() == requantize_twin.requantize(x, **attributes)


@pytest.mark.parametrize(("w", "d"), [(1, 3), (-3, 16), (1025, 18), (-7, 32)])
def test_the_ties_are_all_there(w: int, d: int) -> None:
    found = {u << (d - 1) for block in requantize.odd_numbers(d) for u in block.tolist()}
    near = [x for x in range(-(2**17), 2**17, 4) if 2 * x * w % 2 ** (d + 1) == 2**d]
    assert sorted(x for x in found if -(2**17) <= x < 2**17 and x % 4 == 0) == near
    low, high = BOUNDS["int32"]
    assert low <= min(found) <= max(found) <= high
    assert len(found) == 2 ** (32 - d) if d >= 10 else 3 * 2**16
    assert min(found) - 2**d < low
    assert d == 32 or max(found) + 2**d > high


@ROUNDING
def test_a_tie_and_its_neighbours_are_rounded_as_the_twin_does(rounding: Rounding) -> None:
    for a in (-7, -5, -3, -1, 1, 3, 5, 7):
        for side in (-1, 0, 1):
            exact = dyadic.to_fraction(a, 1) + dyadic.to_fraction(side, 5)
            assert requantize.beside(np.array([a]), rounding, side).tolist() == [rounded(exact, rounding)]


# --- IntSqrt


def test_int_sqrt_has_every_integer_and_every_square() -> None:
    assert [int_sqrt.integers(i)[[0, -1]].tolist() for i in (0, 1, 63)] == [
        [0, 2**18 - 1],
        [2**18, 2**19 - 1],
        [63 * 2**18, 2**24],
    ]
    assert [int_sqrt.roots(i)[[0, -1]].tolist() for i in (0, 63)] == [[1, 2**18], [63 * 2**18 + 1, 2**24]]
    assert int_sqrt.around(np.array([1, 2, 2**31 - 1])).tolist()[:6] == [0, 1, 2, 3, 4, 5]
    large = int_sqrt.roots(64)
    assert large.min() >= 2**24 - 1
    assert large.max() == 2**31 - 1
    assert int_sqrt.around(large).max() < 2**62


@pytest.mark.parametrize("start", [0, 2**16])
def test_the_iteration_is_that_of_the_text(start: int) -> None:
    assert int_sqrt.newton(0, start, 10) == (64 if start else 0)
    assert [int_sqrt.newton(v, start, 40) - math.isqrt(v) for v in (1, 4, 9, 10**6, 10**12)] == [0] * 5


# --- Lookup


def test_every_function_that_becomes_a_table_is_certified() -> None:
    assert {f.op for f in lookup.FUNCTIONS.values()} == {*FUNCTIONS, "Gelu"}
    assert len(lookup.FUNCTIONS) == len(FUNCTIONS) + 2


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [("Tanh", 0.5, 0.46211715726), ("Gelu", 1.0, 0.8413447461), ("Gelu, tanh", 1.0, 0.8411919906), ("HardSwish", 1.0, 2 / 3)],
)
def test_a_real_function_is_that_of_its_name(name: str, x: float, expected: float) -> None:
    assert math.isclose(lookup.FUNCTIONS[name](x), expected, rel_tol=1e-9)


def test_a_wrong_table_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tanh form of GELU in place of the exact one: they differ by 0.0005, a 30th of a step of int8."""
    table = lookup.table
    monkeypatch.setattr(lookup, "NAMES", ("Gelu",))
    monkeypatch.setattr(lookup, "SCALES", (2.0**-7,))
    monkeypatch.setattr(lookup, "table", lambda name, *rest: table("Gelu, tanh", *rest))
    [line] = certify([first_chunk(lookup.CERTIFICATE)])
    assert line.wrong.startswith("Lookup, int8 to int8: x = ")
    assert "function Gelu, scale" in line.wrong
