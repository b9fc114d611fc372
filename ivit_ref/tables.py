"""The tables of deployed runtimes, for the operator ``Lookup``: made when a graph is built, from real scales, as ``dyadic`` is.

A runtime makes such a table in float32 with the functions of its C library, whose last bit is nobody's promise. Here every real
function is the float32 nearest to its exact value, so a table is the same everywhere.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np

from ivit_ref.dyadic import float32
from ivit_ref.errors import ScaleError
from ivit_ref.integers import BOUNDS, Ints, narrow, saturate, widen

DIGITS = 80
"""Of decimal arithmetic: the 60 that no cancellation below takes, and some."""

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")
CUBIC = Decimal("0.044715")

FAR = 15
"""Beyond it GELU(x) rounds to x, or to 0: 15 / 2 * erfc(15 / sqrt(2)) is far below the smallest float32, 2**-149."""

BEYOND = 2.0**10
"""More steps than any clamp of 8 bits leaves."""


def tflite_gelu_table(
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    dtype: Literal["int8", "uint8"],
    approximate: bool,
) -> Ints:
    """The 256 results of TFLite's 8-bit GELU, the smallest code first: the table of a ``Lookup`` whose ``low`` is that code.

    For each code v: x = f32(S_in * (v - zp_in)), g = f32(GELU(x)), and clamp(round(f32(g * f32(1 / S_out))) + zp_out), rounded
    half away from zero. GELU(x) is x/2 * (1 + erf(x / sqrt(2))), or with ``approximate``
    x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3))).

    g is the nearest float32, which TFLite's own is not quite: it multiplies float32 factors, and its ``std::erfc`` and
    ``std::tanh`` are those of a C library. Where that moves f32(g / S_out) across a half, its table differs by one; with glibc
    it did nowhere in 162 tables of each form. A result that no int32 holds, which C++ leaves undefined, is clamped as well.
    Source: tensorflow/lite/kernels/activations.cc, internal/reference/gelu.h, internal/common.h (``LUTPopulateInt8``).
    """
    if dtype not in ("int8", "uint8"):
        raise ScaleError(f"tflite_gelu_table: dtype must be int8 or uint8, but found {dtype!r}")
    low, high = BOUNDS[dtype]
    for name, scale in (("input_scale", input_scale), ("output_scale", output_scale)):
        if not 2.0**-126 <= float32(scale) < math.inf:
            raise ScaleError(f"tflite_gelu_table: {name} must be finite and at least 2**-126, but found {scale}")
    for name, zero_point in (("input_zero_point", input_zero_point), ("output_zero_point", output_zero_point)):
        if not low <= zero_point <= high:
            raise ScaleError(f"tflite_gelu_table: {name} must be a value of {dtype}, but found {zero_point}")
    inverse = float(np.float32(1) / np.float32(output_scale))
    reals = [float32(float32(input_scale) * (v - input_zero_point)) for v in range(low, high + 1)]
    steps = [_half_away(float32(_gelu(x, approximate) * inverse)) + output_zero_point for x in reals]
    return narrow(saturate(widen(steps), low, high), dtype)


def _half_away(value: float) -> int:
    """The nearest integer, ties away from zero; at most so many as matter."""
    magnitude = math.floor(Fraction(min(abs(value), BEYOND)) + Fraction(1, 2))
    return magnitude if value > 0 else -magnitude


@lru_cache(maxsize=2**14)
def _gelu(x: float, approximate: bool) -> float:
    """The float32 nearest to GELU(x); tables of the same scale are asked for again and again."""
    if abs(x) > FAR:
        return max(x, 0.0)
    with localcontext() as context:
        context.prec = DIGITS
        exact = Decimal(x)
        return _nearest(exact * (_tanh_share(exact) if approximate else _erf_share(exact)))


def _erf_share(x: Decimal) -> Decimal:
    """(1 + erf(z)) / 2 for z = x / sqrt(2): erf(z) = 2/sqrt(pi) * exp(-z**2) * sum of 2**n z**(2n+1) / (1 * 3 * ... (2n+1))."""
    z = abs(x) / Decimal(2).sqrt()
    total = term = z
    n = 0
    while term > total.scaleb(-DIGITS):
        n += 1
        term = term * 2 * z * z / (2 * n + 1)
        total += term
    erf = 2 / PI.sqrt() * (-z * z).exp() * total
    return (1 + erf.copy_sign(x)) / 2


def _tanh_share(x: Decimal) -> Decimal:
    """(1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)) for u = sqrt(2/pi) * (x + 0.044715 x**3)."""
    u = (2 / PI).sqrt() * (x + CUBIC * x**3)
    return 1 / (1 + (-2 * u).exp())


def _nearest(value: Decimal) -> float:
    """The nearest float32: a float64 on the way might round onto a tie."""
    near = np.float32(float(value))
    around = [float(np.nextafter(near, np.float32(end))) for end in (-np.inf, np.inf)]
    return min((float(near), *around), key=lambda candidate: abs(Fraction(candidate) - Fraction(value)))
