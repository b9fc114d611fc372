"""Directed vectors of ShiftGELU."""

from __future__ import annotations

from collections.abc import Iterator

from ivit_ref.golden.directed.making import Case, case, filled, multiples, named, stacked, step
from ivit_ref.golden.group import Group
from ivit_ref.profiles import PROFILES

LENGTH = 12
CODES = 256

WHOLE = {"folded": float.fromhex("0x1.9118c4p-3"), "shifts": 0.25}
"""Scales at which 1 / (1.702 S), or 1/S, is an integer in float32, by what the attribute ``sigmoid`` is."""


def groups(profile: str) -> Iterator[Group]:
    """All codes of 8 bits, degenerate rows at two scales, one too fine for the widths, and broken properties."""
    yield _codes(profile)
    yield _rows(profile, WHOLE[PROFILES[profile].sigmoid], "integer-unit")
    yield _rows(profile, step(0.12), "")
    yield _fine(profile)
    yield from _broken(profile)


def _codes(profile: str) -> Group:
    """Every int8 in one row, up, down and shifted: the maximum is part of what each gives."""
    scale = step(0.02)
    codes = list(range(-128, 128))
    cases = [
        case("all codes upwards", "ramp every-code full-scale", codes),
        case("all codes downwards", "ramp every-code full-scale", codes[::-1]),
        case("negative codes, each twice", "all-negative extremes", [-1 - k // 2 for k in range(CODES)]),
    ]
    attributes = PROFILES[profile].shift_gelu(scale)
    return stacked("ShiftGELU", profile, "codes_int8", "all codes at S = 0.02", "int8", cases, attributes, scale=scale)


def _rows(profile: str, scale: float, flag: str) -> Group:
    attributes = PROFILES[profile].shift_gelu(scale)
    found = [*_degenerate(), *_distances(int(attributes["i0"]))]  # type: ignore[arg-type]
    found += list(_above_limit(scale)) if attributes["clamp"] else list(_near_maximum())
    cases = [case(c.comment, " ".join((*c.flags, flag)), *c.values) for c in found]
    name = f"{named(scale)}_int8"
    return stacked("ShiftGELU", profile, name, f"rows of {LENGTH} at S = {scale:.6g}", "int8", cases, attributes, scale=scale)


def _degenerate() -> Iterator[Case]:
    yield case("all 0", "zeros all-equal", [0] * LENGTH)
    yield case("the maximum is 0", "", [0, -1, -2, -3, -4, -6, -8, -12, -16, -24, -32, -40])
    yield case("small numbers of both signs", "ramp", list(range(-6, LENGTH - 6)))
    yield case("a small maximum", "one-hot", filled([9, -9], LENGTH))
    yield case("minus one throughout", "all-equal all-negative", [-1] * LENGTH)
    yield case("all negative", "all-negative", [-3 * k - 5 for k in range(LENGTH)])
    yield case("all far below zero", "all-negative extremes", [-128, -120, -110, -100, -95, -90, -85, -80, -75, -70, -65, -60])
    yield case("the smallest number throughout", "all-equal all-negative extremes", [-128] * LENGTH)


def _distances(i0: int) -> Iterator[Case]:
    whole = multiples(i0, -40)
    yield case("distances below 0 at multiples of i0", "", filled(whole, LENGTH))
    yield case("distances below 10 one beyond multiples of i0", "", [10, *(10 + x - 1 for x in filled(whole, LENGTH - 1))])


def _above_limit(scale: float) -> Iterator[Case]:
    """Rows that a clamp leaves with both exponentials at i0; without one, their small numbers divide 0 by 0."""
    flag = "above-limit" if 127 * scale > 9.4 else ""
    yield case("the largest number and all below", flag, [127, 100, 90, 60, 40, 20, 0, -20, -60, -80, -100, -127])
    yield case("both ends", f"{flag} full-scale", [127, -128, 127, 1, -1, 2, -2, 64, -64, 3, -3, 5])


def _near_maximum() -> Iterator[Case]:
    yield case("the largest number and some below", "extremes", [127, 126, 125, 124, 123, 122, 121, 120, 119, 118, 117, 116])
    yield case("one large number throughout", "all-equal", [100] * LENGTH)


def _fine(profile: str) -> Group:
    """At S = 0.0009 and n = 23 one exponential leaves int32; the sums are clamped, wrap or make the reciprocal 0."""
    scale = step(0.0009)
    broken = "property" if PROFILES[profile].sum == "clamped" else ""
    cases = [
        case("small numbers of both signs", f"ramp {broken}", list(range(-6, LENGTH - 6))),
        case("all 0", "zeros all-equal", [0] * LENGTH),
        case("large steps", "", [2000 - 500 * k for k in range(LENGTH)]),
        case("all negative", "all-negative", [-100 * k - 5 for k in range(LENGTH)]),
        case("largest products", "extremes", [-32768, -32768, -20000, -10000, -5000, -2500, -1200, -600, -300, -150, -80, 40]),
    ]
    attributes = PROFILES[profile].shift_gelu(scale)
    return stacked("ShiftGELU", profile, "fine_int16", "rows of 12 at S = 0.0009", "int16", cases, attributes, scale=scale)


def _broken(profile: str) -> Iterator[Group]:
    """Negative rows that break (P2) or (P3): a sum that is clamped makes sigma too large, one that wraps makes it anything."""
    found = {"clamped": (step(0.05), [[-58, -58], [-90, -128]]), "int32": (step(0.1), [[-24, -24], [-32, -33]])}
    if PROFILES[profile].sum not in found:
        return
    scale, rows = found[PROFILES[profile].sum]
    cases = [case(f"a maximum of {row[0]}", "property all-negative", row) for row in rows]
    attributes = PROFILES[profile].shift_gelu(scale)
    yield stacked("ShiftGELU", profile, "broken_int8", f"rows of 2 at S = {scale:.6g}", "int8", cases, attributes, scale=scale)
