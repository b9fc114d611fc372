"""Directed vectors of IntDiv and IntSqrt."""

from __future__ import annotations

from collections.abc import Iterator

from ivit_ref.golden.directed.making import Case, case, stacked
from ivit_ref.golden.group import Group
from ivit_ref.profiles import PROFILES

MOST = 2**31 - 1

FIRST_AGAIN = 65_387_859_544_245
"""From here on ten steps from 2**16 are too few again."""


def quotients(profile: str) -> Iterator[Group]:
    """Of IntDiv: int32 for 8 bits, and int64 for 16."""
    attributes = PROFILES[profile].int_div(8)
    cases = list(_narrow())
    yield stacked("IntDiv", profile, "int8_of_int32", "quotients of 8 bits", "int32 int32", cases, attributes)
    attributes = PROFILES[profile].int_div(16)
    cases = [*_narrow(), *_wide(), *_rows()]
    yield stacked("IntDiv", profile, "int16_of_int64", "quotients of 16 bits", "int64 int64", cases, attributes)


def _narrow() -> Iterator[Case]:
    powers = [1, 2, 4, 64, 2**12, 2**20, 2**29, 2**30]
    yield case("x = d, a power of two", "one-hot power-of-two", powers, powers)
    yield case("x = d/2, a power of two", "power-of-two", [0, 1, 2, 32, 2**11, 2**19, 2**28, 2**29], powers)
    yield case(
        "x = d, one below a power of two", "one-hot", [p - 1 for p in powers[1:]] + [MOST], [p - 1 for p in powers[1:]] + [MOST]
    )
    yield case("x one below d, one above a power of two", "", powers, [p + 1 for p in powers])
    near = [MOST, MOST - 1, MOST - 2, MOST - 100, 2**30 + 1, 2**30, 2**30 - 1, MOST // 3]
    yield case("d near 2**31: a reciprocal of 1", "", [2**30, MOST, MOST // 2, 3, 2**30, 2**30 - 1, 5, 7], near)
    yield case("x = 0", "zeros", [0] * 8, [1, 2, 3, 5, 7, 2**20, MOST, 2**30])
    yield case("x above d, as after a sum that wrapped", "", [2**20] * 8, [1, 3, 2**4, 2**9, 1000, 2**12 + 1, 2**18, 2**19])
    yield case(
        "a negative denominator",
        "negative",
        [5, 2**20, 2**30, 7, 9, MOST, 1, 100],
        [-1, -2, -3, -7, -(2**20), -MOST, -(2**31), -9],
    )
    yield case(
        "a negative numerator",
        "negative",
        [-1, -2, -3, -(2**20), -5, -(2**31), -MOST, -(2**30)],
        [3, 7, 3, 2**21, 2**7, MOST, 2**30, 2**30],
    )


def _wide() -> Iterator[Case]:
    above = [2**31, 2**31 + 1, 2**32, 2**40, 2**40 + 1, 2**61, 2**62 - 1, 2**62]
    yield case("a denominator above the numerator: the reciprocal is 0", "one-hot", above, above)
    yield case(
        "d at 2**31 and beside it",
        "power-of-two",
        [2**31 - 1, 2**31, 2**30, 2**31 - 2] * 2,
        [2**31 + k for k in (0, 0, 0, 0, -1, -1, -2, -2)],
    )
    yield case(
        "a numerator of 40 bits",
        "",
        [2**40, 2**40 - 1, 2**40 + 1, 3**25, 10**12, 2**33, 2**35, 2**39],
        [2**10, 999, 2**31 - 1, 10**6, 1000, 2**20, 2**25, 2**30],
    )


def _rows() -> Iterator[Case]:
    """As within Shiftmax: exponentials, and their sum."""
    for total, comment, flags in (
        (8 * 2**20, "eight equal exponentials", "all-equal power-of-two"),
        (197 * 5 * 2**15, "197 tokens", ""),
        (2**31 - 1, "a sum that is clamped", ""),
        (-(2**31) + 2**20, "a sum that has wrapped", "negative"),
    ):
        values = [2**20] * 8 if total == 8 * 2**20 else [5 * 2**15, 2**20, 2**19 + 1, 3, 2**28, 2**10, 1, 0]
        yield case(comment, flags, values, [total] * 8)


def roots(profile: str) -> Iterator[Group]:
    """Of IntSqrt: squares and their neighbours, small, middling and large."""
    attributes = PROFILES[profile].int_sqrt()
    cases = [case("small numbers", "zeros boundary-square", list(range(12)))]
    for comment, bases in (
        ("squares from 9 to 66 thousand, and beside them", (3, 64, 185, 256)),
        ("squares from 66 thousand to 4 thousand million, and beside them", (257, 1000, 46341, 65535)),
        ("squares of 17 to 23 bits, and beside them", (65537, 92682, 2**20 + 1, 2**23 - 1)),
        ("squares of 24 to 31 bits, and beside them", (2**24, 2**27 + 3, 2**30 - 1, 2**31 - 1)),
    ):
        cases.append(case(comment, "boundary-square", [b * b + k for b in bases for k in (-1, 0, 1)]))
    powers = [2**k + j for k in (14, 31, 32, 61) for j in (-1, 0, 1)]
    cases.append(case("powers of two, and beside them", "boundary-square", powers))
    ends = [2**62 - 1, 2**62 - 2, 34595, 34596, 2703, 9603, FIRST_AGAIN - 1, FIRST_AGAIN, 40000, 2**45, 2**46, 2**47]
    broken = "property" if PROFILES[profile].sqrt_start else ""
    cases.append(case("where ten steps from 2**16 begin and cease to do, and the largest v", broken, ends))
    yield stacked("IntSqrt", profile, "int64", "roots", "int64", cases, attributes)
