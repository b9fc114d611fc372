"""Directed vectors of the operators of deployed runtimes: GemmlowpRequantize, TosaRescale and TFLiteSoftmax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.golden.directed.making import Case, case, single, stacked, step
from ivit_ref.golden.group import Group

LOW, HIGH = -(2**31), 2**31 - 1
RESULT: dict[str, Any] = {"axis": 0, "zero_point": 0, "dtype": "int8"}


def _number(multiplier: int, shift: int) -> dict[str, Any]:
    return {"multiplier": (multiplier,), "shift": (shift,)}


QUARTER, SIXTEENTH = _number(2**30, 32), _number(2**30, 34)


def _quarters() -> Iterator[Case]:
    """Accumulators at a factor of 1/4."""
    yield case("the smallest numbers: 1/4 rounded twice is 1", "two-roundings", [0, 1, 2, 3, 4, 5, 6, 7])
    yield case("the same below 0", "two-roundings", [0, -1, -2, -3, -4, -5, -6, -7])
    yield case("around the largest result", "tie", [504, 505, 506, 507, 508, 509, 510, 511])
    yield case("around the smallest result", "tie", [-508, -509, -510, -511, -512, -513, -514, -515])
    yield case("the ends of int32", "full-scale", [HIGH, LOW, HIGH - 1, LOW + 1, 2**30, -(2**30), 101, -101])


def _sixteenths(flags: str = "") -> Iterator[Case]:
    """Accumulators at a factor of 1/16."""
    beside = f"two-roundings {flags}"
    yield case("ties above 0", f"tie {flags}", [8, 24, 40, 56, 72, 88, 104, 120])
    yield case("ties below 0", f"tie {flags}", [-8, -24, -40, -56, -72, -88, -104, -120])
    yield case("towards 0 from ties", beside, [7, 23, 39, 55, -7, -23, -39, -55])
    yield case("away from 0 from ties", beside, [9, 25, 41, 57, -9, -25, -41, -57])
    yield case("around the ends of the result", f"tie {flags}", [2023, 2024, 2031, 2041, -2023, -2024, -2057, -2060])


def gemmlowp_requantizations() -> Iterator[Group]:
    """Of GemmlowpRequantize: powers of two of either sign, and channels."""
    op = "GemmlowpRequantize"
    yield stacked(op, "", "quarter_int8", "a factor of 1/4", "int32", list(_quarters()), {**QUARTER, **RESULT})
    minus = {**RESULT, **SIXTEENTH, "multiplier": (-(2**30),)}
    cases = list(_sixteenths("negative-multiplier"))
    yield stacked(op, "", "minus_sixteenth_int8", "a factor of -1/16", "int32", cases, minus)
    # The last channel, a factor of 5, is shifted to the left and so leaves int32.
    multipliers, shifts = (1, -1, HIGH, -HIGH, -(2**30), 1431655765, HIGH, 1342177280), (62, 31, 31, 31, 33, 33, 62, 28)
    yield _channels(op, "channels_int32", multipliers, shifts, {})


def tosa_rescalings() -> Iterator[Group]:
    """Of TosaRescale, with one rounding and with two: powers of two, channels, a small shift."""
    op, twice, once = "TosaRescale", {"double_round": True}, {"double_round": False}
    attributes = {**QUARTER, **RESULT, **twice}
    yield stacked(op, "", "double_quarter_int8", "a factor of 1/4", "int32", list(_quarters()), attributes)
    attributes = {**SIXTEENTH, **RESULT, **once}
    yield stacked(op, "", "single_sixteenth_int8", "a factor of 1/16", "int32", list(_sixteenths()), attributes)
    multipliers, shifts = (1, 0, HIGH, 2**30, 2**30, 1431655765), (62, 32, 62, 32, 33, 34)
    yield _channels(op, "double_channels_int32", multipliers, shifts, twice)
    small = [case("both ends of what a shift of 4 takes", "zeros", [-8, -7, -6, -1, 0, 1, 6, 7])]
    few = {**_number(HIGH, 4), **RESULT, "dtype": "int32", **twice}
    yield stacked(op, "", "shift_4_int32", "a large factor", "int32", small, few)


def _channels(op: str, name: str, multipliers: tuple[int, ...], shifts: tuple[int, ...], rule: dict[str, Any]) -> Group:
    """Every channel another number."""
    attributes = {"multiplier": multipliers, "shift": shifts, "axis": 1, "zero_point": -3, "dtype": "int32", **rule}
    column = [0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 7, -7, HIGH, LOW, HIGH - 1, LOW + 1]
    x = np.array([[value] * len(multipliers) for value in column], "int32")
    sign = "negative-multiplier" if min(multipliers) < 0 else ""
    flags = f"per-axis zero-point tie full-scale two-roundings shift-ends {sign}"
    return single(op, "", name, "a number for each channel", flags, attributes, x=x)


def tflite_softmaxes() -> Iterator[Group]:
    """Of TFLiteSoftmax: a usual scale at 16 bits, and the longest rows of equal logits at 8."""
    attributes = _attributes(step(0.05), "int16")
    cases = list(_rows())
    yield stacked("TFLiteSoftmax", "", "s0_05_int16", "logits in steps of 0.05", "int8", cases, attributes, scale=step(0.05))
    cases = [
        case("511 equal logits: each 1/511 is rounded up to 1/256", "all-equal", [-3] * 511),
        case("one of 511, and a tail on both sides of what counts", "far-tail full-scale", _tail(-62)),
    ]
    attributes = _attributes(0.25, "int8")
    yield stacked("TFLiteSoftmax", "", "s0_25_int8", "rows of 511 in steps of 1/4", "int8", cases, attributes, scale=0.25)


def _attributes(scale: float, dtype: str) -> dict[str, Any]:
    multiplier, left_shift, diff_min = dyadic.softmax_multiplier(scale)
    return {"multiplier": multiplier, "left_shift": left_shift, "diff_min": diff_min, "dtype": dtype}


def _tail(diff_min: int) -> list[int]:
    """A maximum, differences around the smallest that counts, and the far end."""
    return [127, *(127 + diff_min + k for k in range(3, -4, -1)), *[-128] * 503]


def _rows() -> Iterator[Case]:
    """Rows of 16."""
    yield case("equal logits", "all-equal", [5] * 16)
    yield case("one hot", "one-hot full-scale", [-128] * 9 + [127] + [-128] * 6)
    yield case("two maxima", "two-maxima", [-128] * 4 + [100, 100] + [-128] * 10)
    yield case("a ramp", "ramp", list(range(64, 64 - 16 * 5, -5)))
    yield case("both ends", "ramp full-scale", [127 - 17 * k for k in range(16)])
    yield case("small differences", "", [0, -1, -2, -3, -4, -5, -6, -7, 0, -1, -19, -20, -21, -40, -80, -120])
