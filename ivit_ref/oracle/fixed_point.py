"""The fixed-point arithmetic of gemmlowp on plain Python ints."""

from __future__ import annotations

from fractions import Fraction

from ivit_ref.oracle.rounding import rounded
from ivit_ref.oracle.widths import bounds


def high_mul(a: int, b: int) -> int:
    """SRDHM: a * b / 2**31, half up; at most 2**31 - 1."""
    return min(rounded(Fraction(a * b, 2**31), "half_up"), 2**31 - 1)


def divide_by_power_of_two(x: int, exponent: int) -> int:
    """RDBP: x / 2**exponent, half away from zero."""
    return rounded(Fraction(x, 2**exponent), "half_away")


def exp_on_negative_values(a: int) -> int:
    """exp(a), Q5.26 to Q0.31."""
    if a == 0:
        return 2**31 - 1
    quarters, rest = divmod(a, 2**24)
    result = exp_around_an_eighth(32 * (rest - 2**24))
    for factor, bit in zip(FACTORS, reversed(f"{-quarters - 1:07b}"), strict=True):
        if bit == "1":
            result = high_mul(result, factor)
    return result


FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(-1/4), exp(-1/2), exp(-1), exp(-2), exp(-4), exp(-8), exp(-16) in Q0.31."""


def exp_around_an_eighth(a: int) -> int:
    """exp(a) for -1/4 <= a < 0 in Q0.31: exp(-1/8) * (1 + x + x**2/2 + x**3/6 + x**4/24) with x = a + 1/8."""
    low, high = bounds(32)
    x = a + 2**28
    square = high_mul(x, x)
    cube, fourth = high_mul(square, x), high_mul(square, square)
    third = high_mul(divide_by_power_of_two(fourth, 2) + cube, 715827883)
    result = 1895147668 + high_mul(1895147668, x + divide_by_power_of_two(third + square, 1))
    if not low <= result <= high:
        raise AssertionError(result)
    return result


def one_over_one_plus_x(a: int) -> int:
    """1 / (1 + a) in Q0.31 for 0 <= a < 1: Newton's iteration for the reciprocal of h = (1 + a) / 2, with x in Q2.29."""
    h = rounded(Fraction(a + 2**31 - 1, 2), "half_away")
    x = 1515870810 + high_mul(h, -1010580540)
    for _ in range(3):
        x += 4 * high_mul(x, 2**29 - high_mul(h, x))
    return min(2 * x, 2**31 - 1)
