"""Directed vectors of L1LayerNorm, ITASoftmax, and softmax, GELU and LayerNorm in floats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.golden.directed.making import Case, case, named, stacked, step
from ivit_ref.golden.group import Group

LENGTH = 8
LONG = 32

# --- LayerNorms


def l1_layer_norms() -> Iterator[Group]:
    """Of L1LayerNorm: quiet rows, loud ones with a bias, single outliers, of which o leaves int32, and a k that is rounded."""
    yield from _layer_norms("L1LayerNorm", _l1(LENGTH))
    outliers = [
        case("one outlier: k falls behind", "one-hot full-scale", [-128] * (LONG - 1) + [127]),
        case("a small outlier", "one-hot", [0] * (LONG - 1) + [3]),
        case("two outliers of both signs", "", [-50, 50] + [0] * (LONG - 2)),
        case("half of the row at either end", "full-scale", [127, -128] * (LONG // 2)),
    ]
    comment = f"rows of {LONG} with outliers"
    yield stacked(
        "L1LayerNorm", "", "outliers_int8", comment, "int8", outliers, _l1(LONG), bias=np.arange(-16, 16, dtype="int32")
    )
    halves = {"multiplier": 1, "shift": 1}
    ties = [
        case("k between 1 and 2", "", [2, -1, 0, 0]),
        case("k between 2 and 3", "", [3, -2, 0, 0]),
        case("k between 0 and 1: a row of one step", "one-hot", [1, 0, 0, 0]),
        case("k is 0, and 1 is divided by", "all-equal zero-variance", [9] * 4),
        case("a negative mean at a tie", "tie", [-1, -1, 0, 0]),
    ]
    yield stacked(
        "L1LayerNorm", "", "halves_int8", "half of the magnitudes", "int8", ties, halves, bias=np.arange(4, dtype="int32")
    )


def float_layer_norms() -> Iterator[Group]:
    """Of FloatLayerNorm: the same rows."""
    yield from _layer_norms("FloatLayerNorm", {})


def _l1(length: int) -> dict[str, Any]:
    multiplier, shift = dyadic.l1_constant(length)
    return {"multiplier": multiplier, "shift": shift}


def _layer_norms(op: str, attributes: dict[str, Any]) -> Iterator[Group]:
    small = np.array([0, 0, 1, 0, 0, -1, 0, 0], "int32")
    yield stacked(op, "", "int8", "rows of 8", "int8", list(_quiet()), attributes, bias=small)
    bias = np.array([0, 1, -1, 12345, -(2**20), 2**29, -(2**29), 2**31 - 1], "int32")
    yield stacked(op, "", "int16_bias", "loud rows of 8", "int16", list(_loud()), attributes, bias=bias)


def _quiet() -> Iterator[Case]:
    yield case("all 0", "zeros zero-variance all-equal", [0] * LENGTH)
    yield case("all at the smallest number", "zero-variance all-equal extremes all-negative", [-128] * LENGTH)
    yield case("a mean of 2.5", "", [1, 2, 3, 4, 0, 0, 5, 5])
    yield case("a mean of -3.5", "", [-2, -3, -4, -5, -1, -1, -6, -6])
    yield case("one step", "one-hot", [0, 0, 0, 0, 0, 0, 0, 1])
    yield case("one outlier", "one-hot full-scale", [-128, -128, -128, 127, -128, -128, -128, -128])
    yield case("a usual row", "", [120, -40, 7, 0, -3, 55, -90, 33])
    yield case("the ends in turn", "full-scale", [127, -128] * 4)
    yield case("a ramp", "ramp", [-35, -25, -15, -5, 5, 15, 25, 35])


def _loud() -> Iterator[Case]:
    low, high = -(2**15), 2**15 - 1
    yield case("the ends in turn", "bias full-scale", [low, high] * 4)
    yield case("all at the largest number", "bias all-equal extremes", [high] * LENGTH)
    yield case("one channel at an end", "bias extremes", [high] + [-200] * (LENGTH - 1))
    yield case("a ramp", "bias ramp", [24000 - 6001 * k for k in range(LENGTH)])


# --- Softmaxes


def ita_softmaxes() -> Iterator[Group]:
    """Of ITASoftmax: distances beside eight octaves, and blocks in which the maximum grows."""
    three = [
        case("two terms of 1/2, dropped each: the form that is not streaming has 254", "", [0, -9, -9]),
        case("two terms of 1", "", [0, -8, -8]),
        case("two maxima", "two-maxima", [5, 4, 5]),
        case("both ends", "one-hot full-scale", [-128, 127, -128]),
        case("all at the smallest number", "all-equal extremes all-negative", [-128] * 3),
    ]
    yield _ita("three", "rows of 3", three, 16, 0)
    order = [
        case("small numbers before the maximum count", "one-hot", [-9] * 16 + [0]),
        case("small numbers beside the maximum are dropped", "one-hot", [0] + [-9] * 16),
        case("a block of its own for the largest number", "extremes", [-3] * 16 + [127]),
        case("a ramp upwards", "ramp", list(range(-5, 12))),
        case("a ramp downwards", "ramp all-negative", list(range(-1, -18, -1))),
    ]
    yield _ita("order", "rows of 17, in blocks of 16", order, 16, 0)
    rounded = [
        case("maxima that grow by half an octave: a row adds up to 307", "", [0] * 16 + [16] * 16 + [32]),
        case("the same in one step", "", [0] * 32 + [32]),
        case("one less than half an octave", "", [0] * 16 + [15] * 16 + [30]),
        case("a ramp", "ramp", list(range(-48, 51, 3))),
        case("the ends in turn", "full-scale", [127, -128] * 16 + [0]),
    ]
    yield _ita("octave_of_32", "rows of 33 at 32 steps to the octave", rounded, 16, 5)


def _ita(name: str, comment: str, cases: list[Case], block: int, shift: int) -> Group:
    attributes: dict[str, Any] = {"block": block, "shift": shift}
    scale = dyadic.base_two_step(shift)
    return stacked("ITASoftmax", "", f"{name}_int8", comment, "int8", cases, attributes, scale=scale)


def float_softmaxes() -> Iterator[Group]:
    """Of FloatSoftmax: usual scales, a one-hot row that saturates, and the one exact tie."""
    for scale, dtype, bits, result in (
        (0.05, "int8", 8, "int8"),
        (0.001, "int16", 16, "int16"),
        (0.0001, "int32", 16, "uint16"),
    ):
        low, high = -(2 ** (8 * np.dtype(dtype).itemsize - 1)), 2 ** (8 * np.dtype(dtype).itemsize - 1) - 1
        cases = [
            case("all equal", "all-equal extremes all-negative", [low] * LENGTH),
            case("one far above the others", "one-hot full-scale", [low] * 3 + [high] + [low] * 4),
            case("two far above the others", "two-maxima full-scale", [low, high] + [low] * 5 + [high]),
            case("the ends in turn", "full-scale", [low, high] * 4),
            case("a ramp", "ramp", [(k - 4) * (high // 9) for k in range(LENGTH)]),
        ]
        yield _softmax(scale, dtype, bits, result, cases)
    cases = [
        case("each 1/2 of a step: to even", "all-equal zeros vanishing", [0] * 256),
        case("one is more", "", [1] + [0] * 255),
    ]
    yield _softmax(0.02, "int8", 8, "int16", cases)


def _softmax(scale: float, dtype: str, bits: int, result: str, cases: list[Case]) -> Group:
    name = f"{dtype}_{result}_{named(scale)}"
    attributes: dict[str, Any] = {"scale": step(scale), "out_bits": bits, "dtype": result}
    comment = f"{bits} bits at S = {scale:g}"
    return stacked("FloatSoftmax", "", name, comment, dtype, cases, attributes, scale=step(scale))


# --- GELU


def float_gelus() -> Iterator[Group]:
    """Of FloatGELU: every code of 8 bits, and int16 at its ends and where GELU is smallest."""
    attributes: dict[str, Any] = {"scale": step(0.05), "out_bits": 8}
    codes = [case("every code", "every-code full-scale", list(range(-128, 128)))]
    yield stacked("FloatGELU", "", f"codes_{named(0.05)}", "every code", "int8", codes, attributes, scale=step(0.05))
    attributes = {"scale": step(0.001), "out_bits": 16}
    cases = [
        case("both ends", "full-scale", [-(2**15), 2**15 - 1, 0, 1, -1, 6000, -6000, 8485]),
        case("around the smallest value", "all-negative", [-755, -754, -753, -752, -751, -750, -749, -748]),
    ]
    yield stacked("FloatGELU", "", "int16", "16 bits", "int16", cases, attributes, scale=step(0.001))
