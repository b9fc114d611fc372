"""Directed vectors of Requantize and RequantizeAdd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ivit_ref.golden.directed.making import Case, case, single, stacked
from ivit_ref.golden.group import Group
from ivit_ref.integers import Rounding
from ivit_ref.ir import Attribute
from ivit_ref.profiles import PROFILES

LOW, HIGH = -(2**31), 2**31 - 1
MOST = 2**31 - 1

OTHERS: tuple[Rounding, ...] = ("half_away", "truncate")
"""The rules that no profile has for requantization; they are asked for without one."""


def requantizations(profile: str) -> Iterator[Group]:
    """Of Requantize, for the rule of the profile, or for those that no profile has."""
    for rounding, prefix in roundings(profile):
        yield _ties(profile, rounding, prefix)
        if profile:
            yield _fine(profile, rounding, prefix)
        yield _channels(profile, rounding, prefix)


def roundings(profile: str) -> list[tuple[Rounding, str]]:
    """The rules to test, and how the names of their groups begin: that of the profile, or those that none has."""
    return [(PROFILES[profile].rounding, "")] if profile else [(r, f"{r}_") for r in OTHERS]


def _ties(profile: str, rounding: Rounding, prefix: str) -> Group:
    """A factor of 1/16 to int8, written with 31 bits as ``dyadic`` writes it."""
    attributes = {**_numbers("", (2**30,), (34,)), "rounding": rounding, "axis": 0, "zero_point": 0, "dtype": "int8"}
    even = "property" if rounding in ("floor", "half_up") else ""
    cases = [
        case("ties above 0", "tie", [8, 24, 40, 56, 72, 88, 104, 1000]),
        case("ties below 0", "tie", [-8, -24, -40, -56, -72, -88, -104, -1000]),
        case("a number and its negative", f"tie {even}", [8, -8, 24, -24, 1, -1, 15, -15]),
        case("beside ties", "", [7, 9, 23, 25, -7, -9, -23, -25]),
        case("whole numbers", "zeros", [0, 16, -16, 32, -32, 160, -160, 320]),
        case("around the largest result", "tie", [2024, 2031, 2032, 2033, 2039, 2040, 2041, 2048]),
        case("around the smallest result", "tie", [-2040, -2047, -2048, -2049, -2055, -2056, -2057, -2064]),
        case("the ends of int32", "full-scale", [HIGH, LOW, HIGH - 1, LOW + 1, 2**30, -(2**30), 1, -1]),
    ]
    return stacked("Requantize", profile, f"{prefix}ties_int8", "a factor of 1/16", "int32", cases, attributes)


def _fine(profile: str, rounding: Rounding, prefix: str) -> Group:
    """A negative factor with all 31 bits, to uint16 with a zero point."""
    numbers = _numbers("", (-1431655765,), (46,))
    attributes = {**numbers, "rounding": rounding, "axis": 0, "zero_point": 1000, "dtype": "uint16"}
    flags = "zero-point negative-multiplier"
    cases = [
        case("small accumulators", flags, [0, 1, -1, 2, -2, 16384, -16384, 32768]),
        case("about a step apart", flags, [k * 49152 + j for k in (-3, 3) for j in (-24577, -24576, -24575, 0)]),
        case("large accumulators", flags, [10**9, -(10**9), 123456789, -987654321, 2**30, -(2**30), 2**29 + 1, -5]),
        case("the ends of int32", f"{flags} full-scale", [HIGH, LOW, HIGH - 1, LOW + 1, HIGH // 2, LOW // 2, 7, -7]),
    ]
    return stacked("Requantize", profile, f"{prefix}negative_uint16", "about -1/49152", "int32", cases, attributes)


def _channels(profile: str, rounding: Rounding, prefix: str) -> Group:
    """Every channel another number: shifts of 0 and 62, multipliers at their ends, and what 1/2 and 3/2 make of ties."""
    numbers = _numbers("", (1, -1, 1, MOST, -MOST, 1, -1, 3, -3, 1431655765), (0, 0, 62, 31, 31, 1, 1, 1, 1, 30))
    attributes = {**numbers, "rounding": rounding, "axis": 1, "zero_point": -3, "dtype": "int32"}
    columns = [1, -1, 3, -3, 5, -5, 2, HIGH, LOW, HIGH - 1, LOW + 1, 0, *_beside_ties(1431655765, 30)]
    x = np.array([[c] * 10 for c in columns], "int32")
    flags = "per-axis shift-ends negative-multiplier zero-point tie full-scale float64"
    return single("Requantize", profile, f"{prefix}channels_int32", "a number for each channel", flags, attributes, x=x)


def _beside_ties(multiplier: int, shift: int) -> list[int]:
    """The accumulators of either sign whose products are one beside a tie or a whole number, and have more than 53 bits."""
    one = pow(multiplier, -1, 2**shift)
    found = [remainder * one % 2**shift for half in (0, 2 ** (shift - 1)) for remainder in (half - 1, half + 1)]
    return [x - sign for x in found for sign in (0, 2**shift)]


def _numbers(prefix: str, multiplier: tuple[int, ...], shift: tuple[int, ...]) -> dict[str, Attribute]:
    return {f"{prefix}multiplier": multiplier, f"{prefix}shift": shift}


def additions(profile: str) -> Iterator[Group]:
    """Of RequantizeAdd: a residual connection as I-ViT has it, one with channels, and one that rounds once."""
    for rounding, prefix in roundings(profile):
        yield _residual(profile, rounding, prefix)
        if profile:
            yield _image(profile, rounding, prefix)
        yield _once(profile, rounding, prefix)


def _residual(profile: str, rounding: Rounding, prefix: str) -> Group:
    """Factors of 1/2 and of about 5/3."""
    numbers = {**_numbers("a_", (2**30,), (31,)), **_numbers("b_", (1789569707,), (30,))}
    attributes = {**numbers, "rounding": rounding, "rounds": "each", "axis": 0, "zero_point": 0, "dtype": "int16"}
    cases = list(_residual_cases())
    return stacked("RequantizeAdd", profile, f"{prefix}residual_int16", "a residual", "int16 int16", cases, attributes)


def _residual_cases() -> Iterator[Case]:
    low, high = -(2**15), 2**15 - 1
    yield case("ties of one branch", "tie", [1, 3, 5, 7, -1, -3, -5, -7], [0] * 8)
    yield case("the other branch alone", "", [0] * 8, [1, 2, 3, 4, -1, -2, -3, -4])
    yield case("both", "tie", [1, -1, 3, -3, 101, -101, 5, -5], [10, -10, 7, -7, 1000, -1000, 19000, -19000])
    yield case("ends of both", "full-scale", [high, low, high, low, high, low, 0, 0], [high, low, low, high, 0, 0, high, low])
    yield case(
        "around the ends of the result",
        "",
        [9, 10, 11, 8, -9, -10, -11, -8],
        [19657, 19657, 19658, 19656, -19657, -19657, -19658, -19659],
    )


def _image(profile: str, rounding: Rounding, prefix: str) -> Group:
    """Channels of one branch, one number of the other, which repeats; to uint8 with a zero point."""
    a = _numbers("a_", (1, -1, 2**30 + 7, MOST), (1, 1, 33, 62))
    attributes: dict[str, Any] = {**a, **_numbers("b_", (-3,), (2,)), "rounding": rounding, "rounds": "each"}
    attributes |= {"axis": 1, "zero_point": 128, "dtype": "uint8"}
    x = np.array([[k, 1 - k, 4 * k + 2, LOW + 5 + k] for k in range(-5, 6)], "int32")
    b = np.array([[-6], [2], [3], [-2], [1], [0], [6], [10], [-10], [127], [-128]], "int8")
    flags = "per-axis broadcast zero-point negative-multiplier tie shift-ends"
    return single("RequantizeAdd", profile, f"{prefix}channels_uint8", "a number for each channel", flags, attributes, a=x, b=b)


def _once(profile: str, rounding: Rounding, prefix: str) -> Group:
    """Halves and quarters that add up to whole numbers, so that it matters when they are rounded."""
    numbers = {**_numbers("a_", (2**30,), (31,)), **_numbers("b_", (2**29,), (31,))}
    attributes = {**numbers, "rounding": rounding, "rounds": "once", "axis": 0, "zero_point": -1, "dtype": "int8"}
    cases = [
        case("ties of the sum", "rounds-once zero-point tie", [1, 3, 5, -1, -3, -5, 7, 9], [0] * 8),
        case("halves and quarters", "rounds-once zero-point tie", [1, -1, 1, -1, 3, 3, -3, -3], [-4, 4, -2, 2, 2, -4, 4, -2]),
        case(
            "both ends",
            "rounds-once zero-point extremes",
            [127, -128, 127, -128, 126, -127, 0, 0],
            [255, 0, 255, 0, 254, 1, 255, 2],
        ),
    ]
    return stacked("RequantizeAdd", profile, f"{prefix}once_int8", "rounded once", "int8 int16", cases, attributes)
