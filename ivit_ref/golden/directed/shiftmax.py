"""Directed vectors of Shiftmax."""

from __future__ import annotations

from collections.abc import Iterator

from ivit_ref.golden.directed.exponential import FINE, odd_rests
from ivit_ref.golden.directed.making import Case, case, ends, filled, first_below, multiples, named, stacked, step
from ivit_ref.golden.group import Group
from ivit_ref.profiles import PROFILES

LENGTH = 8
TOKENS = 197


def groups(profile: str) -> Iterator[Group]:
    """A usual scale, two whose 1/S is an integer, one too fine for the sums, the 197 tokens of a ViT, and broken properties."""
    yield _usual(profile, step(0.032), "int16", "")
    yield _usual(profile, 0.25, "int8", "integer-unit")
    yield _halves(profile)
    yield _fine(profile)
    yield _tokens(profile)
    yield from _broken(profile)


def _usual(profile: str, scale: float, dtype: str, flag: str) -> Group:
    attributes = PROFILES[profile].shiftmax(scale)
    i0, n = int(attributes["i0"]), int(attributes["n"])  # type: ignore[arg-type]
    low, high = ends(dtype)
    found = [*_degenerate(low, high), *_distances(i0, n, low - high, high)]
    cases = [case(c.comment, " ".join((*c.flags, flag)), *c.values) for c in found]
    name = f"{named(scale)}_{dtype}"
    return stacked("Shiftmax", profile, name, f"rows of {LENGTH} at S = {scale:.6g}", dtype, cases, attributes, scale=scale)


def _degenerate(low: int, high: int) -> Iterator[Case]:
    yield case("all logits 0", "all-equal zeros", [0] * LENGTH)
    yield case("all logits at the smallest number", "all-equal extremes all-negative", [low] * LENGTH)
    yield case("one logit far above the others", "one-hot full-scale", [low] * 3 + [high] + [low] * (LENGTH - 4))
    yield case("two maxima far above the others", "two-maxima full-scale", [low, high] + [low] * (LENGTH - 3) + [high])
    yield case("a maximum in front", "one-hot", [7] + [-7] * (LENGTH - 1))
    yield case("the ends in turn", "full-scale", [low, high] * (LENGTH // 2))
    yield case("a small ramp", "ramp", list(range(-4, LENGTH - 4)))
    yield case("a ramp of negative numbers", "ramp all-negative", list(range(-10 * LENGTH, 0, 10)))


def _distances(i0: int, n: int, lowest: int, high: int) -> Iterator[Case]:
    """Rows that begin with their maximum and go on at chosen distances from it."""
    whole = multiples(i0, lowest)
    yield case("distances at multiples of i0", "multiple-of-i0", _below(high, whole))
    yield case("distances one beyond multiples of i0", "", _below(high, [0, *(max(x - 1, lowest) for x in whole)]))
    yield case("odd rests", "half-bit", _below(high, [0, *odd_rests(i0, lowest)]))
    yield case("whole halvings, then the tail", "far-tail", _below(high, [*whole[:2], *[lowest] * LENGTH]))
    edge = first_below(-n * i0, lowest)
    if edge is not None and edge - 4 >= lowest:
        yield case("around the clamp at n*i0", "far-tail", _below(high, [0, *range(edge + 3, edge - 5, -1)]))


def _below(high: int, distances: list[int]) -> list[int]:
    return [high + d for d in filled(distances, LENGTH)]


def _halves(profile: str) -> Group:
    """At 2**-5 and lengths that are powers of two, sums are powers of two wherever i0 is one."""
    scale, far = 2.0**-5, -(2**15)
    cases = [
        case("sixteen equal logits", "all-equal integer-unit", [5] * 16),
        case("one of sixteen", "one-hot full-scale integer-unit", [far] * 5 + [2**15 - 1] + [far] * 10),
        case("two of sixteen", "two-maxima integer-unit", [far] * 5 + [100] * 2 + [far] * 9),
        case("four of sixteen", "integer-unit", [far] * 5 + [100] * 4 + [far] * 7),
        case("the ramp of 32 steps", "ramp integer-unit", list(range(0, -16 * 32, -32))),
        case("multiples of i0 = 32 in p", "integer-unit", [1000 + d for d in multiples(32, -2000)[:16]]),
    ]
    attributes = PROFILES[profile].shiftmax(scale)
    return stacked("Shiftmax", profile, "s2_m5_int16", "rows of 16 at S = 2**-5", "int16", cases, attributes, scale=scale)


def _fine(profile: str) -> Group:
    """One exponential alone leaves int32, and a sum of them does so by far: where that is exact, its reciprocal is 0."""
    cases = [
        case("equal logits", "all-equal zeros", [0] * 8),
        case("one of eight", "one-hot full-scale", [-(2**31)] * 2 + [2**31 - 1] + [-(2**31)] * 5),
        case("two of eight", "two-maxima", [-(2**30), 9, -(2**30), 9] + [-(2**30)] * 4),
        case("half a halving apart each", "ramp", list(range(0, -8 * 35000, -35000))),
        case("two halvings apart each", "ramp", list(range(0, -8 * 139300, -139300))),
        case("with the deployment's constants, a sum that wraps to 1", "far-tail", [0, *[-(2**22)] * 5, -122265, -1097341]),
    ]
    if PROFILES[profile].sum == "exact":
        cases = [case(c.comment, " ".join((*c.flags, "vanishing")), *c.values) for c in cases]
    attributes = PROFILES[profile].shiftmax(FINE)
    return stacked("Shiftmax", profile, "fine_int32", "rows of 8 at S = 1e-5", "int32", cases, attributes, scale=FINE)


def _tokens(profile: str) -> Group:
    """197 equal logits at a scale of 0.001: the deployment's sum wraps to a small positive number.

    Forty of them add up to between 2**30 and 2**31 with n = 15, where one halving more makes the reciprocal 0.
    """
    scale = step(0.001)
    broken = "" if PROFILES[profile].sum == "exact" else "property"
    cases = [
        case("197 equal logits", f"all-equal {broken}", [-3] * TOKENS),
        case("the tokens of an image in a ramp", "ramp extremes", list(range(-(2**15), -(2**15) + TOKENS))),
        case("one of 197", "one-hot full-scale", [-(2**15)] * (TOKENS - 1) + [2**15 - 1]),
        case("forty of 197", "extremes", [-(2**15)] * (TOKENS - 40) + [100] * 40),
    ]
    attributes = PROFILES[profile].shiftmax(scale)
    return stacked("Shiftmax", profile, "tokens_int16", "rows of 197 at S = 0.001", "int16", cases, attributes, scale=scale)


def _broken(profile: str) -> Iterator[Group]:
    """The shortest rows that break (P3), (P4) or (P5): two logits are enough for a sum that is clamped, or wraps."""
    scales = {"clamped": step(3e-5), "int32": 2.0**-14}
    if PROFILES[profile].sum not in scales:
        return
    scale = scales[PROFILES[profile].sum]
    cases = [
        case("two equal logits", "property all-equal zeros", [0, 0]),
        case("two neighbours", "property zeros", [0, -1]),
        case("two neighbours at the ends", "property extremes", [-127, -128]),
    ]
    attributes = PROFILES[profile].shiftmax(scale)
    yield stacked("Shiftmax", profile, "broken_int8", f"rows of 2 at S = {scale:.6g}", "int8", cases, attributes, scale=scale)
