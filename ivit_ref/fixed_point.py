"""The fixed-point arithmetic of gemmlowp on int32, which TFLite's integer kernels are made of.

A number is held in *Qn.f*: an int32 worth ``value / 2**f``, with ``n + f = 31``. Everything is computed in int64 and stays
within int32, or is said to be held within it. Each function has its ONNX words below (``onnx_...``).

Source: google/gemmlowp fixedpoint/fixedpoint.h at 16e8662. Its constants are exp(-1/8), 1/3, exp(-2**k), 48/17 and -32/17,
rounded to nearest in their formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ivit_ref.integers import Wide, saturate, shift_right

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Operand, Sym

LARGEST = 2**31 - 1
"""One, in Q0.31: the nearest number that int32 has."""

EXP_OF_AN_EIGHTH, A_THIRD = 1895147668, 715827883
QUARTER = 2**24
"""One quarter in Q5.26."""

EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(-2**k) in Q0.31 for k from -2 to 4."""

RECIPROCAL_START, RECIPROCAL_SLOPE = 1515870810, -1010580540
"""48/17 and -32/17 in Q2.29: the line that Newton's iteration for a reciprocal starts from."""

NEWTON_STEPS = 3


def high_mul(a: Wide | int, b: Wide | int) -> Wide:
    """``SaturatingRoundingDoublingHighMul``: a * b / 2**31, rounded half up; (-2**31)**2 gives 2**31 - 1, not 2**31.

    The source adds 2**30, or 1 - 2**30 to a negative product, and truncates: for either sign that is half up.
    """
    return saturate(shift_right(np.asarray(a) * np.asarray(b), 31, "half_up"), -(2**31), LARGEST)


def divide_by_power_of_two(x: Wide, exponent: Wide | int) -> Wide:
    """``RoundingDivideByPOT``: x / 2**exponent for 0 <= exponent <= 31, rounded half away from zero."""
    return shift_right(x, exponent, "half_away")


def exp_on_negative_values(a: Wide) -> Wide:
    """exp(a) in Q0.31, for a in Q5.26 from -32 to 0; 2**31 - 1 at 0.

    With r = a mod 1/4 - 1/4, in [-1/4, 0): the Taylor polynomial of degree 4 around -1/8 gives exp(r), and each set bit 2**k of
    r - a, which is a multiple of 1/4, one factor exp(-2**k). Never decreasing, and off by at most 2.3e-7 (493 units of the
    result), just below 0: enumerated from -1/2 on, where all of the polynomial is, and around each multiple of 1/4.
    """
    r = (a & (QUARTER - 1)) - QUARTER
    result = _exp_around_an_eighth(r << 5)
    for k, factor in enumerate(EXP_OF_POWERS):
        result = np.where((r - a) >> (24 + k) & 1 == 1, high_mul(result, factor), result)
    return np.where(a == 0, LARGEST, result)


def _exp_around_an_eighth(a: Wide) -> Wide:
    """exp(a) in Q0.31, for a in Q0.31 from -1/4 to below 0."""
    x = a + 2**28
    x2 = high_mul(x, x)
    x3, x4 = high_mul(x2, x), high_mul(x2, x2)
    higher = divide_by_power_of_two(high_mul(divide_by_power_of_two(x4, 2) + x3, A_THIRD) + x2, 1)
    return high_mul(EXP_OF_AN_EIGHTH, x + higher) + EXP_OF_AN_EIGHTH


def one_over_one_plus_x(a: Wide) -> Wide:
    """1 / (1 + a) in Q0.31, for a in Q0.31 from 0 to below 1: three steps of Newton's iteration; 2**31 - 1 at 0.

    Off by at most 3.2e-9 (7 units of the result), measured on every 61st a; among neighbours it may rise by up to 6 units.
    """
    half = (a + 2**31) >> 1  # RoundingHalfSum(a, 2**31 - 1): half of a sum that is not negative, rounded up
    x = high_mul(half, RECIPROCAL_SLOPE) + RECIPROCAL_START
    for _ in range(NEWTON_STEPS):
        x = x + (high_mul(x, 2**29 - high_mul(half, x)) << 2)
    return saturate(x << 1, -(2**31), LARGEST)


def onnx_high_mul(b: Body, x: Operand, y: Operand) -> Sym:
    """``high_mul`` where one factor is above -2**31."""
    return b.shift_right(b.lift(x) * y + 2**30, 31)


def onnx_divide_by_power_of_two(b: Body, x: Sym, divisor: Sym) -> Sym:
    """``divide_by_power_of_two``, by a divisor that is a power of two already."""
    half = b.floor_divide(divisor, 2)
    below = b.widen(x < 0) * b.minimum(half, 1)
    return b.floor_divide(x + half - below, divisor)


def onnx_exp_on_negative_values(b: Body, a: Sym) -> Sym:
    """``exp_on_negative_values``."""
    r = b.emit("Mod", a, QUARTER) - QUARTER
    result = _onnx_exp_around_an_eighth(b, r * 32)
    quarters = b.floor_divide(r - a, QUARTER)
    for k, factor in enumerate(EXP_OF_POWERS):
        bit = b.emit("Mod", b.shift_right(quarters, k), 2)
        result = b.where(bit.equals(1), onnx_high_mul(b, result, factor), result)
    return b.where(a.equals(0), LARGEST, result)


def _onnx_exp_around_an_eighth(b: Body, a: Sym) -> Sym:
    x = a + 2**28
    x2 = onnx_high_mul(b, x, x)
    x3, x4 = onnx_high_mul(b, x2, x), onnx_high_mul(b, x2, x2)
    cubic = onnx_high_mul(b, onnx_divide_by_power_of_two(b, x4, b.ints(4)) + x3, A_THIRD)
    higher = onnx_divide_by_power_of_two(b, cubic + x2, b.ints(2))
    return onnx_high_mul(b, x + higher, EXP_OF_AN_EIGHTH) + EXP_OF_AN_EIGHTH


def onnx_one_over_one_plus_x(b: Body, a: Sym) -> Sym:
    """``one_over_one_plus_x``."""
    half = b.floor_divide(a + 2**31, 2)
    x = onnx_high_mul(b, half, RECIPROCAL_SLOPE) + RECIPROCAL_START
    for _ in range(NEWTON_STEPS):
        x = x + onnx_high_mul(b, x, b.ints(2**29) - onnx_high_mul(b, half, x)) * 4
    return b.minimum(x * 2, LARGEST)
