"""Directed vectors of ILayerNorm and ReduceMean."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ivit_ref.golden.directed.making import Case, case, single, stacked
from ivit_ref.golden.group import Group
from ivit_ref.ir import Attribute
from ivit_ref.profiles import PROFILES

NARROW, WIDE = 8, 16


def layer_norms(profile: str) -> Iterator[Group]:
    """Quiet rows of int8, the same as uint8 has them, residual rows of int16, and broken properties."""
    attributes = PROFILES[profile].i_layer_norm()
    small = np.array([0, 0, 1, 0, 0, -1, 0, 0], "int32")
    yield stacked("ILayerNorm", profile, "int8", "rows of 8", "int8", list(_quiet()), attributes, bias=small)
    bias = np.array([0, 1, -1, 12345, -(2**20), 2**29, -(2**29), 2**20 + 1], "int32")
    unsigned = list(_unsigned())
    yield stacked("ILayerNorm", profile, "uint8_bias", "rows of 8 with a bias", "uint8", unsigned, attributes, bias=bias)
    ends = np.array([2**31 - 1, -(2**31), 5, -5] * 4, "int32")
    residual = list(_residual())
    yield stacked("ILayerNorm", profile, "int16_bias", "rows of 16, ends as biases", "int16", residual, attributes, bias=ends)
    broken = list(_broken(profile))
    if broken:
        yield stacked("ILayerNorm", profile, "broken_int16", "rows of 2", "int16", broken, attributes, bias=small[1:3])


def _quiet() -> Iterator[Case]:
    yield case("all 0", "zeros zero-variance all-equal", [0] * 8)
    yield case("all equal", "zero-variance all-equal", [37] * 8)
    yield case("all at the smallest number", "zero-variance all-equal extremes all-negative", [-128] * 8)
    yield case("a mean of 2.5", "tie negative-odd", [1, 2, 3, 4, 0, 0, 5, 5])
    yield case("a mean of 3.5", "tie", [2, 3, 4, 5, 1, 1, 6, 6])
    yield case("a mean of -2.5", "tie", [-1, -2, -3, -4, 0, 0, -5, -5])
    yield case("a mean of -3.5", "tie negative-odd", [-2, -3, -4, -5, -1, -1, -6, -6])
    yield case("a mean of -2.625", "", [-1, -2, -3, -4, 0, 0, -5, -6])
    yield case("a mean of 2.625", "", [1, 2, 3, 4, 0, 0, 5, 6])
    yield case("a sum of squares of 8: one below a square", "boundary-square", [2, -2, 0, 0, 0, 0, 0, 0])
    yield case("a sum of squares of 2", "negative-odd", [1, -1, 0, 0, 0, 0, 0, 0])
    yield case("a sum of squares of 15", "boundary-square", [3, -2, -1, 1, 0, 0, 0, 0])
    yield case("one outlier", "one-hot full-scale", [-128, -128, -128, 127, -128, -128, -128, -128])
    yield case("a usual row, whose root has not converged from 2**16", "", [120, -40, 7, 0, -3, 55, -90, 33])
    yield case("the ends in turn", "full-scale", [127, -128] * 4)
    yield case("a ramp", "ramp negative-odd", [-35, -25, -15, -5, 5, 15, 25, 35])


def _unsigned() -> Iterator[Case]:
    yield case("all 0", "bias zeros zero-variance", [0] * 8)
    yield case("all at the largest number", "bias all-equal zero-variance extremes", [255] * 8)
    yield case("both ends", "bias full-scale", [255, 0] * 4)
    yield case("beyond int8", "bias", [128, 129, 127, 130, 200, 250, 3, 77])
    yield case("a mean of 127.5", "bias tie", [127, 128] * 4)
    yield case("a mean of 128.5", "bias tie", [128, 129] * 4)


def _broken(profile: str) -> Iterator[Case]:
    """The shortest rows that break (P5), for want of steps, or (P1) and (P2), for want of width."""
    if PROFILES[profile].sqrt_start:
        yield case("a quiet row, far from its norm", "property", [100, -100])
    if PROFILES[profile].mean_bits == 16:
        yield case("two equal numbers, whose mean is not theirs", "property all-equal", [16384, 16384])
        yield case("the larger number gets less", "property extremes", [1, 32767])


def _residual() -> Iterator[Case]:
    low, high = -(2**15), 2**15 - 1
    yield case("the ends in turn", "bias full-scale", [low, high] * 8)
    yield case("all at the largest number", "bias all-equal extremes", [high] * 16)
    yield case("all at the smallest number", "bias all-equal extremes all-negative", [low] * 16)
    yield case("one channel at the end, the others far below 0", "bias one-hot extremes", [high] + [-200] * 15)
    yield case("one channel at each end", "bias full-scale", [low, high] + [0] * 14)
    yield case("a sum of squares of 2**32", "bias boundary-square", [2**14, -(2**14)] * 8)
    yield case("a sum of squares above 2**32", "bias", [16401, -16400] * 8)
    yield case("a sum just within int16", "bias", [2047] * 15 + [2062])
    yield case("a sum just beyond int16", "bias", [2048] * 16)
    yield case("a loud row, whose root has converged", "bias", [24000 - 3001 * k for k in range(16)])
    yield case("a mean of -40.5", "bias tie negative-odd", [-40, -41] * 8)
    yield case("all 0: the bias alone", "bias zeros zero-variance", [0] * 16)


def means(profile: str) -> Iterator[Group]:
    """Of ReduceMean: ties of both signs over one axis, and ends of int32 over two."""
    rounding = PROFILES[profile].mean_rounding if profile else "half_away"
    pairs = [[k, k + 1] for k in (0, 1, 2, 41, -1, -2, -3, -42)] + [
        [-128, -127],
        [126, 127],
        [5, 5],
        [-7, 7],
        [-128, 127],
        [0, -3],
    ]
    x = np.array(pairs, "int8")
    yield single(
        "ReduceMean", profile, "pairs_int8", "ties of both signs", "tie full-scale", {"axes": (1,), "rounding": rounding}, x=x
    )
    if profile:
        yield _beyond_int32(profile, rounding)


def _beyond_int32(profile: str, rounding: str) -> Group:
    low, high = -(2**31), 2**31 - 1
    blocks = [
        [[high, high], [high, high - 1]],
        [[low, low], [low, low + 1]],
        [[low, high], [low, high]],
        [[1, 2], [3, 4]],
        [[-1, -2], [-3, -4]],
        [[1, 2], [3, 3]],
        [[-1, -2], [-3, -3]],
    ]
    image = np.array(blocks, "int32").reshape(-1, 2, 1, 2)
    attributes: dict[str, Attribute] = {"axes": (1, 3), "rounding": rounding}
    return single(
        "ReduceMean", profile, "two_axes_int32", "sums beyond int32 over two axes", "tie full-scale", attributes, x=image
    )
