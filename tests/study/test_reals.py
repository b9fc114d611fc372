"""The real functions are the float64 nearest to the exact value: shown with more digits, other series, and rationals."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from ivit_ref.dyadic import float32
from ivit_ref.study import exact, reals
from ivit_ref.study.reals import Reals

SCALES = [float32(s) for s in (0.001, 0.03, 0.05, 0.25, 1.0)]
INT8 = np.arange(-128, 128)[None]


def phi(x: Decimal) -> Decimal:
    """The normal distribution by the power series of erf, which cancels: hence the digits."""
    with localcontext() as context:
        context.prec = 3000 if abs(x) > 13 else 250
        z = x / Decimal(2).sqrt()
        total, term, n = Decimal(0), z, 0
        while abs(term) > Decimal(10) ** -(context.prec - 50):
            total += term / (2 * n + 1)
            n += 1
            term *= -z * z / n
        pi = 16 * arctan(5) - 4 * arctan(239)
        return (1 + 2 * total / pi.sqrt()) / 2


def arctan(n: int) -> Decimal:
    """Of 1/n."""
    total, power, k = Decimal(0), Decimal(1) / n, 0
    while abs(power) > Decimal(10) ** -260:
        total += (-1) ** k * power / (2 * k + 1)
        power /= n * n
        k += 1
    return total


@pytest.mark.parametrize("scale", SCALES[:-2])
def test_gelu_is_the_nearest_float64(scale: float) -> None:
    codes = range(-128, 128, 7)
    got = reals.gelu(np.array([list(codes)]), scale)[0].tolist()
    assert got == [float(Decimal(scale) * code * phi(Decimal(scale) * code)) for code in codes]


@pytest.mark.parametrize("scale", SCALES[:-1])
def test_the_lower_tail_has_more_digits_than_a_float64(scale: float) -> None:
    tail = exact.lower_tail(scale, 60)
    for k in range(0, 60, 5):
        with exact.digits():
            want = phi(-Decimal(scale) * k)
            assert abs(tail[k] - want) < Decimal("1e-30") * want


def test_gelu_of_the_far_tails() -> None:
    low, high = reals.gelu(np.array([[-128, 127]]), 1.0)[0].tolist()
    assert (low, high) == (0.0, 127.0)
    assert reals.gelu(np.array([[-30]]), 1.0)[0, 0] == pytest.approx(-30 * math.erfc(30 / math.sqrt(2)) / 2, rel=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_exp_is_the_nearest_float64(scale: float) -> None:
    got = reals.exp(np.array([list(range(-700, 200, 3))]), scale)[0].tolist()
    with localcontext() as context:
        context.prec = 80
        assert got == [float((Decimal(scale) * x).exp()) for x in range(-700, 200, 3)]


def test_exp_that_no_float64_holds_is_infinite() -> None:
    assert reals.exp(np.array([[-4000, 0, 4000]]), 1.0).tolist() == [[0.0, 1.0, math.inf]]


@pytest.mark.parametrize("scale", SCALES)
def test_softmax_is_the_nearest_float64(scale: float) -> None:
    rows = [[127, -128, 3], [5, 5, 5], [0, -1, -100], [0, -1, -100]]
    with localcontext() as context:
        context.prec = 80
        powers = [[(Decimal(scale) * x).exp() for x in row] for row in rows]
        want = [[float(e / sum(row)) for e in row] for row in powers]
    assert reals.softmax(np.array(rows), scale).tolist() == want


def is_nearest_root(value: float, square: Fraction) -> bool:
    """Whether no other float64 is nearer to the root."""
    below, above = (Fraction(math.nextafter(value, to)) for to in (-math.inf, math.inf))
    return ((below + Fraction(value)) / 2) ** 2 <= square <= ((above + Fraction(value)) / 2) ** 2


def test_layernorm_is_the_nearest_float64() -> None:
    rows = [[1, 0, 0], [127, -128, 5], [1, 2, 4], [-128, -128, 127]]
    for row, got in zip(rows, reals.layernorm(np.array(rows), 0.05).tolist(), strict=True):
        from_mean = [Fraction(x) - Fraction(sum(row), 3) for x in row]
        variance = sum(d * d for d in from_mean) / 3
        for d, value in zip(from_mean, got, strict=True):
            assert is_nearest_root(abs(value), d * d / variance)
            assert math.copysign(1, value) == math.copysign(1, d)


def test_layernorm_of_equal_numbers_is_zero() -> None:
    assert reals.layernorm(np.full((1, 5), 7), 0.05).tolist() == [[0.0] * 5]


def test_sqrt_is_the_nearest_float64() -> None:
    arguments = [0, 1, 2, 3, 2**30 + 1, 2**53 + 1, 2**61 - 1, 4 * 10**18]
    for v, root in zip(arguments, reals.sqrt(np.array([arguments]), 1.0)[0].tolist(), strict=True):
        assert root == 0 if v == 0 else is_nearest_root(root, Fraction(v))


def test_quotient_and_ratio_are_rounded_once() -> None:
    d = np.array([[3], [2**31 - 1]])
    got: Reals = reals.quotient(np.array([[1, 2], [2**30, 7]]), 1.0, d)
    assert got.tolist() == [[1 / 3, 2 / 3], [2**30 / (2**31 - 1), 7 / (2**31 - 1)]]
    scale = float32(0.3)
    assert reals.requantize(INT8, scale)[0].tolist() == [float(Fraction(scale) * code) for code in range(-128, 128)]
