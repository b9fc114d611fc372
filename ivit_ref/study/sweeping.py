"""For which scales an operator is usable: its error over a range of them, and which of its limits is hit where.

I-LayerNorm's scale drops out: there it is the root mean square of a row in steps of its input. The square root goes over its
argument, the division over its denominator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.errors import InputError
from ivit_ref.golden.random_groups import Stream
from ivit_ref.integers import divide, saturate
from ivit_ref.study.corpus import Batch, Group, Size, bell, corpus
from ivit_ref.study.limits import factor, hit, thresholds
from ivit_ref.study.measure import Measured, Tally, measure
from ivit_ref.study.reals import Kind
from ivit_ref.study.subject import Subject, refusal

COUNT = 10
SCALE = "scale"

RANGES: Mapping[Kind, tuple[str, float, float]] = {
    "softmax": (SCALE, 0.001, 0.5),
    "gelu": (SCALE, 0.002, 0.2),
    "exp": (SCALE, 0.001, 0.5),
    "requantize": ("ratio", 2.0**-16, 2.0),
    "layernorm": ("rms", 1.0, 32.0),
    "sqrt": ("v", 1.0, 2.0**61),
    "quotient": ("d", 1.0, 2.0**30),
}
"""What is varied, and for codes of 8 bits from where to where if nothing is said."""

ATYPICAL = ("negative maxima", "x > 0")
"""Groups that a scale is not judged by: of rows as models have them there are few."""


@dataclass(frozen=True)
class Point:
    """One subject at one value of what is varied."""

    value: float
    tally: Tally
    factor: int | None
    limit: str

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {"value": self.value, **self.tally.facts(), "factor": self.factor, "limit": self.limit}


@dataclass(frozen=True)
class Swept:
    """One subject over the range, with what is varied and the thresholds that follow from its attributes."""

    subject: Subject
    variable: str
    points: list[Point]
    thresholds: list[str]

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "method": self.subject.method.name,
            "operator": self.subject.method.op,
            "profile": self.subject.profile.name if self.subject.profiled else None,
            "variable": self.variable,
            "points": [point.facts() for point in self.points],
            "thresholds": self.thresholds,
        }


def scales(kind: Kind) -> bool:
    """Whether a sweep varies the scale."""
    return RANGES[kind][0] in (SCALE, "ratio")


def grid(kind: Kind, bits: int, asked: tuple[float, float, int] | None = None) -> list[float]:
    """The values to sweep over, each the same factor above the one before: from, to, how many."""
    variable, low, high = RANGES[kind]
    finer, count = 2 ** (bits - 8), COUNT
    if asked is not None:
        low, high, count = asked
        if not (0 < low < high < float("inf") and 2 <= count <= 1000):
            found = ":".join(map(str, asked))
            raise InputError(f"sweep: must have 0 < LOW < HIGH and a COUNT from 2 to 1000, but found {found}")
    elif variable == SCALE:
        low, high = low / finer, high / finer
    elif variable == "rms":
        high *= finer
    return [low * (high / low) ** (i / (count - 1)) for i in range(count)]


def swept_over(subjects: Sequence[Subject], values: Sequence[float], size: Size, done: Callable[[int], None]) -> list[Swept]:
    """Every subject at every value, with rows of the last length; ``done`` is told how many values are."""
    kind = subjects[0].kind
    variable = RANGES[kind][0]
    length = size.lengths[-1]
    size = replace(size, lengths=(length,))
    found = [Swept(s, variable, [], []) for s in subjects]
    for count, value in enumerate(values):
        if scales(kind):
            at = [replace(s, scale=dyadic.float32(value)) for s in subjects]
            groups = _judged(kind, size)
        else:
            at, groups = list(subjects), [Group(variable, (at_value(kind, value, size),))]
        refused = [refusal(s, length) for s in at]
        taken = [s for s, why in zip(at, refused, strict=True) if not why]
        measured = iter(measure(taken, groups) if taken else ())
        for swept, why in zip(found, refused, strict=True):
            swept.points.append(_refused(value, why) if why else _point(next(measured), kind, length, value))
        for swept, s in zip(found, at, strict=True):
            swept.thresholds[:] = swept.thresholds or (thresholds(s, length) if s in taken else [])
        done(count + 1)
    if not any(point.tally.rows for swept in found for point in swept.points):
        raise InputError(found[0].points[0].limit.removeprefix("refused: "))
    return found


def _refused(value: float, why: str) -> Point:
    return Point(value, Tally(), None, f"refused: {why}")


def _point(m: Measured, kind: Kind, length: int, value: float) -> Point:
    smallest = factor(m.attributes, kind, length, value)
    return Point(value, m.total, smallest, hit(m.subject, m.total, smallest))


def at_value(kind: Kind, value: float, size: Size) -> Batch:
    """The rows at one value of what is varied, where that is not the scale."""
    return AT[RANGES[kind][0]](value, size)


def _judged(kind: Kind, size: Size) -> list[Group]:
    """What a scale is judged by: bell-shaped rows, or every element of a typical row."""
    if kind == "softmax":
        return [g for g in corpus(kind, size) if g.name == "bell-shaped"]
    return [g for g in corpus(kind, size) if g.name not in ATYPICAL]


def _rows_of_rms(rms: float, size: Size) -> Batch:
    """Bell-shaped rows, stretched to a root mean square and rounded."""
    low, high = size.bounds
    shape = bell(Stream("study", "rms", size.seed), 2**20, size.rows, size.lengths[-1])
    root = np.sqrt(np.mean(np.square(shape / 1.0), axis=1, keepdims=True))
    return Batch(saturate(np.array(np.rint(shape * (rms / root)), np.int64), low, high))


def _radicands(value: float, size: Size) -> Batch:
    """From ``value`` to twice that: 64 numbers, and the squares next to them with their neighbours."""
    first = min(int(value), 2**61)
    numbers = {first + (first * i >> 6) for i in range(64)}
    numbers |= {isqrt(v) ** 2 + d for v in numbers for d in (-1, 0, 1)}
    return Batch(np.array([sorted(v for v in numbers if v >= 0)], np.int64))


def _quotients(value: float, size: Size) -> Batch:
    """All 129 numerators of one denominator."""
    d = np.array([[min(int(value), 2**31 - 1)]], np.int64)
    return Batch(divide(d * np.arange(129), 128), (d,))


AT: Mapping[str, Callable[[float, Size], Batch]] = {"rms": _rows_of_rms, "v": _radicands, "d": _quotients}
