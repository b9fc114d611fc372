"""Real scales become integers here, when a graph is built: the only module, beside ``tables``, that sees a real scale.

A *dyadic number* is ``multiplier / 2**shift`` with a signed multiplier of at most 31 bits and ``0 <= shift <= 62``.

Precision follows the released code (zkkli/I-ViT, models/quantization_utils/quant_utils.py): scales are float32, products of
scales are rounded to float32, and ratios of scales are formed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, get_args

import numpy as np

from ivit_ref.errors import ScaleError

MULTIPLIER_BITS = 31
LARGEST_SHIFT = 62

Dyadics = tuple[tuple[int, ...], tuple[int, ...]]
"""Multipliers and shifts, one of each per channel."""

UnitRule = Literal["round", "ceil", "floor_plus_one"]
"""How ``i0`` comes from a scale ``S``: round(1/S), ceil(1/S), floor(1/S) + 1."""

SIGMOID_SCALE = 1.702
"""GELU(x) is about x * sigmoid(1.702 x)."""

ERF_CURVATURE = -0.2888
"""The coefficient of the square in I-BERT's polynomial for erf."""


NORMAL_DEVIATION = math.sqrt(math.pi / 2)
"""The standard deviation of a normal distribution, over its mean absolute deviation."""


def from_real(ratio: float, what: str = "ratio", *, any_shift: bool = False) -> tuple[int, int]:
    """The dyadic number of a float64 ratio, as ``batch_frexp`` of the release forms it.

    ``ratio = m * 2**e`` with ``0.5 <= |m| < 1``; the multiplier is ``m * 2**31`` rounded half away from zero, the shift is
    ``31 - e``. A multiplier that rounds up to ``2**31`` is halved together with its power of two: the same number.

    A shift above 62, of a ratio below about ``2**-32``, is not kept: the product of such a ratio with any int32 is less than
    one half of a step, so ``±1 / 2**62`` gives the same integer under every rounding rule and stands for it. That is not so
    in a sum that is rounded once: ``any_shift`` keeps the shift, for ``common_shift``. A ratio whose multiplier would need a
    negative shift, from ``2**31 - 1/2`` on, is refused.
    """
    if not math.isfinite(ratio) or ratio == 0:
        raise ScaleError(f"dyadic: {what} must be finite and not zero, but found {ratio}")
    mantissa, exponent = math.frexp(ratio)
    shift = MULTIPLIER_BITS - exponent
    magnitude = math.floor(abs(Fraction(mantissa)) * 2**MULTIPLIER_BITS + Fraction(1, 2))
    if magnitude == 2**MULTIPLIER_BITS:
        magnitude, shift = magnitude // 2, shift - 1
    if shift < 0:
        raise ScaleError(f"dyadic: {what} must be below 2**31 in magnitude, but found {ratio}")
    if shift > LARGEST_SHIFT and not any_shift:
        magnitude, shift = 1, LARGEST_SHIFT
    return (magnitude if ratio > 0 else -magnitude), shift


def to_fraction(multiplier: int, shift: int) -> Fraction:
    """The exact value of a dyadic number."""
    return Fraction(multiplier, 2**shift)


def l1_constant(length: int, constant: float = NORMAL_DEVIATION) -> tuple[int, int]:
    """The dyadic number of ``constant / sqrt(length)``, which makes a sum of magnitudes the root of a sum of squares.

    Fully-8bit's LayerNorm (arXiv 2009.08034) divides by the mean magnitude times a constant, where LayerNorm divides by the
    standard deviation. ScaleError refuses a length below 1 and a constant that is not positive.
    """
    if length < 1:
        raise ScaleError(f"dyadic: the length of a row must be at least 1, but found {length}")
    if not constant > 0:
        raise ScaleError(f"dyadic: the constant of L1LayerNorm must be positive, but found {constant}")
    return from_real(constant / math.sqrt(length), "the constant of L1LayerNorm")


def base_two_step(shift: int) -> float:
    """The float32 step at which ``exp(S * x)`` is ``2**(x / 2**shift)``: the natural logarithm of 2, shifted."""
    return float32(math.ldexp(math.log(2), -shift))


def between(source: Sequence[float], target: Sequence[float], what: str = "ratio", *, any_shift: bool = False) -> Dyadics:
    """The dyadic numbers of ``source / target``, each ratio formed in float64; a single scale goes with every other."""
    channels = max(len(source), len(target))
    if len(source) not in (1, channels) or len(target) not in (1, channels):
        raise ScaleError(f"dyadic: {what} must be of equally many scales, but found {len(source)} and {len(target)}")
    pairs = zip(_repeat(source, channels), _repeat(target, channels), strict=True)
    numbers = [from_real(_float64_ratio(s, t, what), what, any_shift=any_shift) for s, t in pairs]
    return tuple(m for m, _ in numbers), tuple(s for _, s in numbers)


def common_shift(first: Dyadics, second: Dyadics) -> tuple[Dyadics, Dyadics]:
    """Two dyadic numbers per channel on one shift, for a sum that is rounded once.

    The smaller of the two shifts is taken, and the other multiplier is rounded half away from zero to it.
    """
    shifts = tuple(min(a, b, LARGEST_SHIFT) for a, b in zip(first[1], second[1], strict=True))
    return _onto(first, shifts), _onto(second, shifts)


def _onto(numbers: Dyadics, shifts: tuple[int, ...]) -> Dyadics:
    multipliers = []
    for multiplier, shift, common in zip(*numbers, shifts, strict=True):
        exact = abs(Fraction(multiplier)) / 2 ** (shift - common)
        multipliers.append(int(math.copysign(math.floor(exact + Fraction(1, 2)), multiplier)))
    return tuple(multipliers), shifts


def product(*scales: Sequence[float]) -> tuple[float, ...]:
    """The product of scales from left to right, rounded to float32 after each factor, as the release forms it."""
    with np.errstate(over="ignore", under="ignore"):
        result = np.asarray(scales[0], np.float32)
        for scale in scales[1:]:
            result = result * np.asarray(scale, np.float32)
    values: tuple[float, ...] = tuple(result.tolist())
    for value in values:
        if not math.isfinite(value) or value == 0:
            raise ScaleError(f"product: scales must have a product within float32, but found {value}")
    return values


def float32(value: float) -> float:
    """The nearest float32, as a Python float."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.float32(value))


def power_of_two(exponent: int) -> tuple[float, ...]:
    """The per-tensor scale ``2**exponent``."""
    return (math.ldexp(1.0, exponent),)


def exp_unit(scale: float, rule: UnitRule, sigmoid: bool = False) -> int:
    """``i0``: the integer that stands for one at the float32 scale ``S``, or at ``1.702 * S`` inside ShiftGELU.

    - ``round``: 1/S to nearest, in exact arithmetic, ties up (the paper's formula);
    - ``ceil``: ``-floor(-1/S)`` in float32 (released PyTorch code: torch tensors);
    - ``floor_plus_one``: the integer part of ``1/S + 1`` in float64 (released TVM code: Python floats).
    """
    if rule not in get_args(UnitRule):
        raise ScaleError(f"i0: the rule must be one of {', '.join(get_args(UnitRule))}, but found {rule!r}")
    scale = float32(scale)
    if not (math.isfinite(scale) and scale >= 2**-28):
        raise ScaleError(f"i0: the scale must be finite, positive and at least 2**-28, but found {scale}")
    if rule == "round":
        unit = math.floor(1 / Fraction(scale) / (Fraction(str(SIGMOID_SCALE)) if sigmoid else 1) + Fraction(1, 2))
    elif rule == "ceil":
        with np.errstate(over="ignore"):
            scale32 = np.float32(scale) * np.float32(SIGMOID_SCALE) if sigmoid else np.float32(scale)
        unit = -math.floor(np.float32(-1.0) / scale32)
    else:
        unit = int(1.0 / (scale * SIGMOID_SCALE if sigmoid else scale) + 1.0)
    if unit < 1:
        raise ScaleError(f"i0: the scale must give i0 >= 1, but i0 is {unit} for the scale {scale}")
    return unit


def unit_constant(value: float, scale: float, power: Literal[1, 2] = 1) -> int:
    """``floor(value / S**power)`` in float32: how the released I-BERT brings a real constant to the scale of a tensor.

    kssteven418/I-BERT, fairseq/quantization/utils/quant_modules.py: torch tensors, so every step rounds to float32; and torch
    divides a number by a tensor as ``tensor.reciprocal() * number`` (torch/_tensor.py), which rounds twice: the floor is
    another one at one scale in 200, for a power of 2.
    """
    scale32 = np.float32(float32(scale))
    if not (math.isfinite(scale32) and scale32 > 0):
        raise ScaleError(f"constant: the scale must be finite and positive, but found {scale}")
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        quotient = np.float32(1) / (scale32 * scale32 if power == 2 else scale32) * np.float32(value)
    if not np.isfinite(quotient):
        raise ScaleError(f"constant: the scale must give a finite constant, but {value} / S**{power} is {quotient} for {scale}")
    return math.floor(float(quotient))


def exp_polynomial(scale: float) -> tuple[int, int, int]:
    """``x0``, ``b`` and ``c`` of I-BERT's exponential: exp(p) ~ 0.35815147 p**2 + 0.96963238 p + 1, for -0.6931 < p <= 0.

    With the first coefficient divided out, in float64 as Python does, the others are brought to the scale.
    """
    first, second = 0.35815147, 0.96963238
    return unit_constant(-0.6931, scale), unit_constant(second / first, scale), unit_constant(1 / first, scale, 2)


def erf_polynomial(scale: float, shift: int) -> tuple[int, int, int]:
    """``b``, ``c`` and ``one`` of I-BERT's GELU: erf(u) ~ sgn(u) * (-0.2888 (min(|u|, 1.769) - 1.769)**2 + 1), u = x/1.4142."""
    over_root_two = _over_root_two(scale)
    b, c = unit_constant(-1.769, over_root_two), unit_constant(1 / ERF_CURVATURE, over_root_two, 2)
    return b, c, math.floor(np.float32(1) / np.float32(erf_scale(scale, shift)))


def erf_scale(scale: float, shift: int) -> float:
    """What a step of I-BERT's erf is worth, ``-0.2888 S'**2 * 2**shift`` for ``S' = S/1.4142``: a negative number."""
    over_root_two = _over_root_two(scale)
    return product((over_root_two,), (over_root_two,), (ERF_CURVATURE,), power_of_two(shift))[0]


def _over_root_two(scale: float) -> float:
    """S/1.4142, in float32 as released."""
    return float(np.float32(scale) / np.float32(1.4142))


def softmax_multiplier(scale: float) -> tuple[int, int, int]:
    """``multiplier``, ``left_shift`` and ``diff_min`` of TFLiteSoftmax at the scale ``S``, which must be above 2**-26.

    ``min(S * 2**26, 2**31 - 1)`` in float64 is ``multiplier * 2**(left_shift - 31)``: what takes a difference to Q5.26. Below
    ``diff_min = -floor(31 * 2**26 / 2**left_shift)`` one would leave it.
    Source: tensorflow/lite/kernels/internal/quantization_util.cc, PreprocessSoftmaxScaling and CalculateInputRadius.
    """
    scale = float32(scale)
    if not (math.isfinite(scale) and scale > 2**-26):
        raise ScaleError(f"softmax: the scale must be finite and above 2**-26, but found {scale}")
    multiplier, shift = from_real(min(scale * 2**26, 2.0**31 - 1))
    left_shift = MULTIPLIER_BITS - shift
    return multiplier, left_shift, -(31 * 2**26 >> left_shift)


def _repeat(scales: Sequence[float], channels: int) -> Sequence[float]:
    return scales if len(scales) == channels else list(scales) * channels


def _float64_ratio(source: float, target: float, what: str) -> float:
    if not (math.isfinite(source) and math.isfinite(target)) or source == 0 or target == 0:
        raise ScaleError(f"dyadic: {what} must be of finite scales other than zero, but found {source!r} / {target!r}")
    return source / target
