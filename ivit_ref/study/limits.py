"""The limits of operators, told from what a run recorded and from an operator's attributes; nothing is guessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import log

from ivit_ref.dyadic import SIGMOID_SCALE
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Attribute
from ivit_ref.study.measure import Tally
from ivit_ref.study.reals import Kind
from ivit_ref.study.subject import Subject

LARGEST_SUM = 2**31 - 1
FEW_BITS = 4
"""Of the reciprocal F, whose floor then takes up to one part in 9 from every quotient."""

ABOVE = "row maximum above n ln 2 / 1.702"

PHRASES: Mapping[tuple[str, str], str] = {
    ("clamped", "e_m: p"): ABOVE,
    ("clamped", "sum of exponentials"): "sum stops at 2**31 - 1",
    ("wrapped", "sum of exponentials"): "sum wraps int32",
    ("not_converged", "root"): "root not converged",
    ("not_converged", "y"): "root not converged",
}

BY_DESIGN = {("clamped", "e: p"), ("clamped", "y: p"), ("clamped", "d")}
"""Events that are no limit: an exponential that is next to nothing is held there, by I-ViT and by I-BERT."""


def hit(subject: Subject, tally: Tally, smallest: int | None) -> str:
    """The limits that these rows hit, in a few words; empty where none is."""
    return "; ".join(dict.fromkeys(_hit(subject, tally, smallest)))


def _hit(subject: Subject, tally: Tally, smallest: int | None) -> Iterator[str]:
    if tally.refused:
        yield f"{tally.refused} of {tally.rows} rows refused"
    top = row_maximum(subject.check(1)) if subject.kind == "gelu" else None
    if top is not None and subject.scale * BOUNDS[f"int{subject.bits}"][1] > top:
        yield ABOVE
    for event in tally.log.events:
        key = event.kind, event.step
        if key not in BY_DESIGN:
            yield PHRASES.get(key, f"{event.step} {event.kind}")
    if smallest is not None and smallest.bit_length() <= FEW_BITS:
        yield f"F has {smallest.bit_length()} bits" if smallest > 1 else f"F is {smallest}"
    if tally.zero_rows:
        yield f"{100 * tally.zero_rows / tally.rows:.0f} % of rows all zero"


def factor(attributes: Mapping[str, Attribute], kind: Kind, length: int, d: float) -> int | None:
    """The smallest reciprocal F of IntDiv inside an operator: of a row of equal numbers, of x = 0; None without one.

    None also where the sum has wrapped: F is anything then.
    """
    numerator = attributes.get("numerator")
    if not isinstance(numerator, int):
        return None
    total = min(int(d), LARGEST_SUM) if kind == "quotient" else _largest_sum(attributes, kind, length)
    if total > LARGEST_SUM and attributes.get("sum") == "int32":
        return None
    return numerator // (min(total, LARGEST_SUM) if attributes.get("sum") == "clamped" else total)


def _largest_sum(attributes: Mapping[str, Attribute], kind: Kind, length: int) -> int:
    """Of exponentials: a row of equal numbers has as many of the largest as it is long, and x = 0 in ShiftGELU has two."""
    return (length if kind == "softmax" else 2) * int(str(attributes["i0"])) << int(str(attributes["n"]))


def row_maximum(attributes: Mapping[str, Attribute]) -> float | None:
    """At which both exponentials of ShiftGELU are next to nothing for small x, and sigma is one half: its text."""
    return int(str(attributes["n"])) * log(2) / SIGMOID_SCALE if "sigmoid" in attributes else None


def thresholds(subject: Subject, length: int) -> list[str]:
    """Where limits begin, by formula."""
    attributes = subject.check(length)
    top = row_maximum(attributes)
    if top is not None:
        reached = top / BOUNDS[f"int{subject.bits}"][1]
        return [f"row maximum: n ln 2 / 1.702 = {top:.4g}, which int{subject.bits} reaches at a scale of {reached:.3g}"]
    if subject.method.op == "Shiftmax":
        unit = LARGEST_SUM / (length << int(str(attributes["n"])))
        return [f"sum: {length} equal numbers reach 2**31 at i0 = {unit:.4g}, a scale of {1 / unit:.3g}"]
    return []
