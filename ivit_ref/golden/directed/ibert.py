"""Directed vectors of the operators of I-BERT and FQ-ViT, whose constants follow from a scale and from what is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ivit_ref.golden.directed.making import Case, case, named, stacked, step
from ivit_ref.golden.group import Group
from ivit_ref.ir import Attribute, Quant, TensorType
from ivit_ref.registry import lookup

SCALES = (step(0.05), 0.125)
OUT_OF_ORDER = step(0.000756658730097115)
"""One of the scales at which c/2, the exponential at x0, is above the one at x0 + 1."""


PARTED = step(0.02947329)
"""A scale at which c and one are not the same."""


def at_scale(op: str, scale: float, **chosen: Attribute) -> dict[str, Attribute]:
    """All attributes of an operator: those chosen, and those that follow from a scale."""
    rule = lookup(op).follows
    assert rule is not None
    return {**chosen, **rule([Quant((scale,))], [TensorType("int8", (1,))], chosen)}


def softmaxes() -> Iterator[Group]:
    """Of IBertSoftmax: 8 bits as published, 16, and constants of no scale."""
    for scale, out_bits, dtype in ((SCALES[0], 8, "uint8"), (SCALES[1], 16, "int32")):
        attributes = at_scale("IBertSoftmax", scale, n=30, out_bits=out_bits, dtype=dtype)
        name, cases = f"{named(scale)}_{out_bits}_bits", list(_rows(attributes))
        yield stacked("IBertSoftmax", "", name, f"S = {scale:.4g}", "int8", cases, attributes, scale=scale)
    attributes = at_scale("IBertSoftmax", OUT_OF_ORDER, n=30, out_bits=8, dtype="uint8")
    cases = [
        case("the smaller of two numbers gets the larger result", "", [0, -916, -917]),
        case("the same pair alone at the top", "", [-917, -917, -916]),
        case("the clamp", "", [0, -32768, -32000]),
    ]
    comment = "a scale at which order is not kept"
    yield stacked("IBertSoftmax", "", "out_of_order", comment, "int16", cases, attributes, scale=OUT_OF_ORDER)
    odd: dict[str, Attribute] = {"x0": -14, "b": 54, "c": 1116, "n": 3, "out_bits": 8, "dtype": "uint8"}
    odd |= {"multiplier": 2**15, "shift": 10}
    cases = [
        case("an exponential beyond 16 bits, and the clamp at three halvings", "", [0, -41, -42, -43, -100, -127]),
        case("all equal", "all-equal", [-128] * 6),
    ]
    yield stacked("IBertSoftmax", "", "odd_constants", "constants of no scale", "int8", cases, odd)
    power = {**odd, "x0": -1, "b": 0, "c": 1, "multiplier": 2**14, "shift": 0}
    cases = [case("a quotient of 2**8", "", [9, -90, -91, -92]), case("two of 2**7", "two-maxima", [9, 9, -91, -92])]
    yield stacked("IBertSoftmax", "", "power_of_two", "a largest exponential of 2**14", "int8", cases, {**power, "n": 30})


def _rows(attributes: Mapping[str, Any]) -> Iterator[Case]:
    """Rows of 16: usual ones, flat ones, and one at each whole halving."""
    x0 = attributes["x0"]
    halvings = [max(k * x0 + j, -255) for k in (1, 2, 3) for j in (1, 0, -1)] + [max(30 * x0, -255)] * 6
    yield case("two numbers and the smallest", "one-hot extremes", [127] + [-128] * 15)
    yield case("all equal", "all-equal", [-3] * 16)
    yield case("two of the largest", "", [5, -90] * 2 + [-128] * 6 + [-90] * 6)
    yield case("usual logits", "", [127, 100, 64, 32, 0, -32, -64, -128, 126, 99, 63, 31, -1, -33, -65, -127])
    yield case("a ramp", "ramp", list(range(40, -40, -5)))
    yield case("at whole halvings and beside them", "", [0] + [max(d, -128) for d in halvings])
    yield case("all negative", "all-negative", list(range(-128, -112)))
    yield case("a far tail", "", [127, 120] + [-128 + k for k in range(14)])


def log_softmaxes() -> Iterator[Group]:
    """Of LogIntSoftmax: the published 4 bits, 2 bits, and constants of no scale."""
    for scale, bits in ((SCALES[0], 4), (SCALES[1], 2)):
        attributes = at_scale("LogIntSoftmax", scale, n=30, bits=bits)
        cases = [*_rows(attributes), *_counts()]
        name = f"{named(scale)}_{bits}_bits"
        yield stacked("LogIntSoftmax", "", name, f"S = {scale:.4g}", "int8", cases, attributes, scale=scale)
    lost: dict[str, Attribute] = {"x0": -30, "b": 35, "c": 300, "n": 4, "bits": 4}
    cases = [
        case("exponentials of 0, and the clamp", "", [0, -17, -18, -29, -30, -50, -119, -120, -128]),
        case("a ratio of 2.5 is 2: one more in c, or one less in b, makes it 3", "", [0, 0, -5] + [-18] * 6),
        case("a ratio of 5.5 is 6: one less in c, or one more in b, makes it 5", "", [0] * 5 + [-5] + [-18] * 3),
    ]
    yield stacked("LogIntSoftmax", "", "vanishing", "constants of no scale: z falls below 0", "int8", cases, lost)


def _counts() -> Iterator[Case]:
    """So many equal numbers, the others far away: the ratio is their count, at and beside the limits 3 * 2**k / 2."""
    for count in (1, 2, 3, 5, 6, 11, 12):
        yield case(f"{count} equal numbers", "", [100] * count + [-128] * (16 - count))


def gelus() -> Iterator[Group]:
    """Of IBertGELU: every int8 code without a shift, a shift where none should be, and an accumulator."""
    codes = list(range(-128, 128))
    for scale, shift in ((SCALES[0], 0), (PARTED, 0), (SCALES[0], 14)):
        attributes = at_scale("IBertGELU", scale, shift=shift)
        name = f"{named(scale)}_shift_{shift}"
        cases = [case("every code", "every-code zeros full-scale", codes)]
        yield stacked("IBertGELU", "", name, f"S = {scale:.4g}", "int8", cases, attributes, scale=scale)
    scale = step(2e-5)
    attributes = at_scale("IBertGELU", scale, shift=22)
    top = -int(str(attributes["b"]))
    cases = [
        case("erf reaches 1", "", [top - 1, top, top + 1, 1 - top, -top, -top - 1]),
        case("small numbers", "zeros", [0, 1, -1, 1000, -1000, 77]),
        case("usual accumulators", "", [50000, -50000, 100001, -100001, 20000, -3]),
        case("both ends", "full-scale", [2**31 - 1, -(2**31), 2**30, -(2**30), 2**24, -(2**24)]),
    ]
    yield stacked("IBertGELU", "", "accumulator", "an accumulator", "int32", cases, attributes, scale=scale)


def layer_norms() -> Iterator[Group]:
    """Of IBertLayerNorm: rows of 8 of every dtype, with and without a shift."""
    small = np.array([0, 0, 1, 0, 0, -1, 0, 0], "int32")
    ends = np.array([2**31 - 1, -(2**31), 0, 1, -1, 12345, 2**29, -(2**29)], "int32")
    yield stacked("IBertLayerNorm", "", "int8", "no shift", "int8", list(_quiet()), {"shift": 0}, bias=small)
    yield stacked("IBertLayerNorm", "", "int8_shift_2", "a shift of 2", "int8", list(_quiet()), {"shift": 2}, bias=small)
    unsigned = [case("both ends", "full-scale", [255, 0] * 4), case("a mean of 127.5", "tie", [127, 128] * 4)]
    yield stacked("IBertLayerNorm", "", "uint8_bias", "ends as biases", "uint8", unsigned, {"shift": 0}, bias=ends)
    loud = [
        case("22 bits", "", [2**21 - 1, -(2**21), 7, 2**20, -(2**20), 3, 12345, -54321]),
        case("both ends: a deviation beyond int32", "full-scale", [2**31 - 1] + [-(2**31)] * 7),
        case("squares beyond uint32", "", [2**20, -(2**20)] * 4),
        case("a sum of squares beyond uint32", "", [60000, -60000] * 4),
        case("a sum of squares of 2**32", "boundary-square", [2**15, -(2**15), 0, 0] * 2),
    ]
    for shift in (0, 9):
        yield stacked("IBertLayerNorm", "", f"int32_shift_{shift}", "loud rows", "int32", loud, {"shift": shift}, bias=small)


def _quiet() -> Iterator[Case]:
    yield case("all 0", "zeros zero-variance all-equal", [0] * 8)
    yield case("all at the smallest number", "zero-variance all-equal extremes", [-128] * 8)
    yield case("a mean of 0.5 is 0", "tie", [0, 1] * 4)
    yield case("a mean of 1.5 is 2: one more throughout, and not the same", "tie", [1, 2] * 4)
    yield case("a mean of -2.5", "tie", [-1, -2, -3, -4, 0, 0, -5, -5])
    yield case("no deviation is negative", "", [3, 0, 0, 0, 0, 0, 0, 0])
    yield case("a sum of squares of 8", "boundary-square", [2, -2, 0, 0, 0, 0, 0, 0])
    yield case("a sum of squares of 9", "boundary-square", [2, -2, 1, 0, 0, 0, 0, 0])
    yield case("a usual row", "", [120, -40, 7, 0, -3, 55, -90, 33])
    yield case("the ends in turn", "full-scale", [127, -128] * 4)
    yield case("a ramp", "ramp", [-35, -25, -15, -5, 5, 15, 25, 35])


def shift_products() -> Iterator[Group]:
    """Of ShiftMatMul: every code, a row for each, and sums that leave int32."""
    v = np.array([[127, -128], [-1, 1], [5, -77], [100, 3], [0, -100]], "int8")
    every = [[code, 16, 16, 16, 16] for code in range(17)]
    cases = [
        case("each code alone", "extremes zeros", every),
        case("codes of every kind", "zeros", [[(i * j + 3 * j + i) % 17 for j in range(5)] for i in range(17)]),
    ]
    attributes: dict[str, Attribute] = {"bits": 4, "alpha": 1.0}
    yield stacked("ShiftMatMul", "", "int8_4_bits", "4 bits", "uint8", cases, attributes, v=v)
    narrow = [case("two bits", "scale-only zeros", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [4] * 5])]
    yield stacked("ShiftMatMul", "", "int8_2_bits", "2 bits", "uint8", narrow, {"bits": 2, "alpha": 0.125}, v=v)
    wide = np.array([[32767, -32768]] * 5, "int16")
    loud = [case("codes of 0", "zeros", [[0, 16, 16, 16, 16], [0, 0, 16, 16, 16], [0] * 5, [1] * 5, [15] * 5])]
    yield stacked("ShiftMatMul", "", "int16_4_bits", "sums beyond int32", "uint8", loud, attributes, v=wide)
