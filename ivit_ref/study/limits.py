"""The limits of operators, told from what a run recorded and from an operator's attributes; nothing is guessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import log

from ivit_ref.dyadic import SIGMOID_SCALE
from ivit_ref.ir import Attribute
from ivit_ref.study.measure import Tally
from ivit_ref.study.reals import Kind
from ivit_ref.study.subject import Subject

LARGEST_SUM = 2**31 - 1
FEW_BITS = 4
"""Of the reciprocal F: it is then off by up to one part in 8 (its last bit of four)."""

PHRASES: Mapping[tuple[str, str], str] = {
    ("clamped", "e_m: p"): "row maximum above n ln 2 / 1.702",
    ("clamped", "sum of exponentials"): "sum stops at 2**31 - 1",
    ("wrapped", "sum of exponentials"): "sum wraps int32",
    ("not_converged", "root"): "root not converged",
    ("not_converged", "y"): "root not converged",
}

BY_DESIGN = {("clamped", "e: p"), ("clamped", "y: p")}
"""Events that are no limit: an exponential that is next to nothing is held at 2**-n."""


def hit(subject: Subject, tally: Tally, smallest: int | None) -> str:
    """The limits that these rows hit, in a few words; empty where none is."""
    return "; ".join(_hit(tally, smallest))


def _hit(tally: Tally, smallest: int | None) -> Iterator[str]:
    if tally.refused:
        yield f"{tally.refused} of {tally.rows} rows refused"
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


def thresholds(subject: Subject, length: int) -> list[str]:
    """Where limits begin, by formula."""
    attributes = subject.check(length)
    n = attributes.get("n")
    if not isinstance(n, int):
        return []
    if subject.kind == "gelu":
        top = n * log(2) / SIGMOID_SCALE
        largest = 2 ** (subject.bits - 1) - 1
        return [f"row maximum: n ln 2 / 1.702 = {top:.4g}, which int{subject.bits} reaches at a scale of {top / largest:.3g}"]
    if subject.kind == "softmax":
        unit = LARGEST_SUM / (length << n)
        return [f"sum: a row of {length} equal numbers reaches 2**31 at about i0 = {unit:.4g}, a scale of {1 / unit:.3g}"]
    return []
