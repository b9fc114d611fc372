"""Directed vectors of ShiftExp."""

from __future__ import annotations

from collections.abc import Iterator

from ivit_ref.golden.directed.making import Case, case, ends, filled, first_below, multiples, named, power, stacked, step
from ivit_ref.golden.group import Group
from ivit_ref.profiles import PROFILES

LENGTH = 8

FINE = step(1e-5)
"""So fine that i0 * 2**n leaves int32 for every n that is published."""


def groups(profile: str) -> Iterator[Group]:
    """A usual scale, one whose 1/S is an integer, one too fine for int32, and exponents above 0."""
    yield _below_zero(profile, step(0.05), "int16", "")
    yield _below_zero(profile, 0.25, "int8", "integer-unit")
    yield _fine(profile)
    yield _above_zero(profile)


def _below_zero(profile: str, scale: float, dtype: str, flag: str) -> Group:
    attributes = PROFILES[profile].shift_exp(scale)
    i0, n, low = int(attributes["i0"]), int(attributes["n"]), ends(dtype)[0]  # type: ignore[arg-type]
    cases = [case(c.comment, " ".join((*c.flags, flag)), *c.values) for c in _cases(i0, n, low)]
    name = f"{named(scale)}_{dtype}"
    return stacked("ShiftExp", profile, name, f"x <= 0 at S = {scale:.6g}", dtype, cases, attributes, scale=scale)


def _cases(i0: int, n: int, low: int) -> Iterator[Case]:
    whole = multiples(i0, low)
    yield case("steps of one from 0", "ramp", [-k for k in range(LENGTH)])
    yield case("p at multiples of i0", "multiple-of-i0", filled(whole, LENGTH))
    yield case("one below each multiple of i0", "", filled([max(x - 1, low) for x in whole], LENGTH))
    yield case("odd rests", "half-bit", filled(odd_rests(i0, low), LENGTH))
    edge = first_below(-n * i0, low)
    if edge is not None:
        yield case("around the clamp at n*i0", "far-tail", [edge + k for k in range(3, 3 - LENGTH, -1)])
    yield case("the ends, and numbers between", "extremes", [0, low, low + 1, low // 2, low // 3, low // 4, low // 8, -1])


def odd_rests(i0: int, low: int) -> list[int]:
    """The x from 0 down to ``low`` with an odd rest: where the half bit shows."""
    return [x for x in range(0, low - 1, -1) if (-power(x)) % i0 % 2]


def _fine(profile: str) -> Group:
    attributes = PROFILES[profile].shift_exp(FINE)
    cases = [
        case("i0 * 2**n needs more than 32 bits", "", [0, -1, -2, -3, -5, -8, -13, -21]),
        case("halvings down to what fits again", "", [-20000, -48000, -70000, -139200, -278400, -417600, -700000, -999999]),
        case("the smallest int32", "extremes far-tail", [0, -(2**31), 1 - 2**31, -(2**30), -(2**24), -(2**22), -(2**21), -1]),
    ]
    return stacked("ShiftExp", profile, "fine_int32", "a scale of 1e-5", "int32", cases, attributes, scale=FINE)


def _above_zero(profile: str) -> Group:
    """As ShiftGELU asks for them with a row of negative numbers: the quotient is negative, where floor and truncation part."""
    scale = step(0.07)
    cases = [
        case("up to one halving", "", [0, 1, 2, 3, 5, 8, 13, 14]),
        case("a few doublings", "", [15, 20, 27, 28, 29, 41, 55, 100]),
        case("an int8 may get here", "", [110, 120, 121, 122, 124, 126, 127, 128]),
        case("beyond every width", "extremes", [300, 500, 700, 900, 2**12, 2**15, 2**20, 2**31 - 1]),
    ]
    attributes = PROFILES[profile].shift_exp(scale)
    return stacked("ShiftExp", profile, "positive_int32", "x > 0 at S = 0.07", "int32", cases, attributes, scale=scale)
