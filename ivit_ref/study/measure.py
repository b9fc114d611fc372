"""How far an operator's results are from the real function: of each group of rows, and of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ivit_ref.events import EventLog
from ivit_ref.ir import Attribute
from ivit_ref.study.corpus import Batch, Group
from ivit_ref.study.reals import FUNCTIONS, Reals
from ivit_ref.study.subject import Outcome, Subject

_Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Worst:
    """The element furthest off: its group, its place in a row, the row, what it gives and what the real function gives.

    ``inputs`` has the row of every input; of a GELU, x and the maximum, which are all that matters.
    """

    group: str
    place: int
    inputs: tuple[tuple[int, ...], ...]
    integer: int
    got: float
    want: float

    @property
    def error(self) -> float:
        """Its error, with its sign."""
        return self.got - self.want

    def facts(self) -> dict[str, Any]:
        """For JSON, with every number of the row."""
        return {**vars(self), "inputs": [list(x) for x in self.inputs], "error": self.error}


@dataclass(frozen=True)
class Reversal:
    """Two neighbours of a row, sorted by x, of which the results go one way and the real function the other."""

    x: tuple[int, int]
    y: tuple[int, int]


@dataclass
class Tally:
    """The errors of some rows: their magnitudes as ``reals`` and in ``steps`` of the result; ``sums`` of softmax only."""

    reals: list[Reals] = field(default_factory=list)
    steps: list[Reals] = field(default_factory=list)
    worst: Worst | None = None
    rows: int = 0
    reversals: int = 0
    reversal: Reversal | None = None
    sums: list[float] = field(default_factory=list)
    zero_rows: int = 0
    refused: int = 0
    why: str = ""
    log: EventLog = field(default_factory=EventLog)

    def add(self, other: Tally) -> None:
        """These rows, too."""
        self.reals += other.reals
        self.steps += other.steps
        if self.worst is None or (other.worst is not None and abs(other.worst.error) > abs(self.worst.error)):
            self.worst = other.worst
        self.reversal, self.why = self.reversal or other.reversal, self.why or other.why
        self.sums += other.sums
        for event in other.log.events:
            self.log.event(event)
        for name in ("rows", "reversals", "zero_rows", "refused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def facts(self) -> dict[str, Any]:
        """For JSON: errors as reals and in last places (None where the steps of a result differ)."""
        return {
            "inputs": sum(map(len, self.reals)),
            "real": summary(self.reals),
            "last_places": summary(self.steps),
            "worst": self.worst and self.worst.facts(),
            "order_violations": self.reversals,
            "first_violation": self.reversal and vars(self.reversal),
            "rows": self.rows,
            "row_sums": self.row_sums,
            "zero_rows": self.zero_rows if self.sums else None,
            "refused_rows": self.refused,
            "refused": self.why or None,
            "events": [{"kind": e.kind, "step": e.step, "count": e.count} for e in self.log.events],
        }

    @property
    def row_sums(self) -> dict[str, float] | None:
        """The smallest, mean and largest sum of a row."""
        if not self.sums:
            return None
        return {"min": min(self.sums), "mean": math.fsum(self.sums) / len(self.sums), "max": max(self.sums)}


@dataclass(frozen=True)
class Measured:
    """One subject: its groups, and the whole of those inside its domain."""

    subject: Subject
    attributes: dict[str, Attribute]
    groups: dict[str, Tally]
    total: Tally
    steps: set[float] = field(default_factory=set)

    @property
    def step(self) -> float | None:
        """What a step of the result is worth, where all are worth the same."""
        return next(iter(self.steps)) if len(self.steps) == 1 else None

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        subject = self.subject
        return {
            "method": subject.method.name,
            "operator": subject.method.op,
            "profile": subject.profile.name if subject.profiled else None,
            "scale": subject.scale,
            "step": self.step,
            "attributes": self.attributes,
            "total": self.total.facts(),
            "groups": {name: tally.facts() for name, tally in self.groups.items()},
        }


def measure(
    subjects: Sequence[Subject], groups: Sequence[Group], done: Callable[[int], None] = lambda count: None
) -> list[Measured]:
    """Every subject on every group, all on the same inputs; ``done`` is told how many batches are."""
    batches = 0
    found = [Measured(s, s.check(), {}, Tally()) for s in subjects]
    for group in groups:
        for m in found:
            m.groups[group.name] = Tally()
        for batch in group.batches:
            want = wanted(subjects[0], batch)
            for m in found:
                m.groups[group.name].add(_tally(m, group.name, batch, want))
            batches += 1
            done(batches)
        for m in found if not group.outside else ():
            m.total.add(m.groups[group.name])
    return found


def wanted(subject: Subject, batch: Batch) -> Reals:
    """The real function of a batch."""
    return FUNCTIONS[subject.kind](batch.x, subject.scale, *batch.others)


def _tally(m: Measured, group: str, batch: Batch, want: Reals) -> Tally:
    """The errors of one batch."""
    log = EventLog()
    outcome = m.subject.run(batch, log)
    counts: _Mask = np.isfinite(want)
    counts[list(outcome.refused)] = False
    tally = Tally(rows=len(want), refused=len(outcome.refused), why=outcome.why, log=log)
    if counts.any():
        off = np.where(counts, np.abs(outcome.reals - np.where(counts, want, 0)), -1)
        tally.reals = [off[counts]]
        if outcome.step is not None:
            m.steps.add(outcome.step)
            tally.steps = [off[counts] / outcome.step]
        tally.worst = _worst(m.subject, group, batch, outcome, want, int(np.argmax(off)))
        _count_reversals(tally, batch, outcome, want, counts)
        if m.subject.kind == "softmax":
            kept = np.delete(outcome.reals, outcome.refused, axis=0)
            tally.sums = [math.fsum(row) for row in kept.tolist()]
            tally.zero_rows = int(np.count_nonzero(~kept.any(axis=1)))
    return tally


def _worst(subject: Subject, group: str, batch: Batch, outcome: Outcome, want: Reals, place: int) -> Worst:
    row, column = at = divmod(place, want.shape[1])
    inputs = tuple(tuple(np.broadcast_to(x, want.shape)[row].tolist()) for x in (batch.x, *batch.others))
    if subject.kind == "gelu":
        inputs, column = ((inputs[0][column], max(inputs[0])),), 0
    elif subject.kind not in ("softmax", "layernorm"):
        inputs, column = tuple((x[column],) for x in inputs), 0
    return Worst(group, column, inputs, int(outcome.integers[at]), float(outcome.reals[at]), float(want[at]))


def _count_reversals(tally: Tally, batch: Batch, outcome: Outcome, want: Reals, counts: _Mask) -> None:
    """Neighbours by x of which the results go one way and the real function the other."""
    order = np.argsort(batch.x, axis=1, kind="stable")
    x, integers = (np.take_along_axis(a, order, axis=1) for a in (batch.x, outcome.integers))
    y, real = (np.take_along_axis(a, order, axis=1) for a in (outcome.reals, want))
    kept = np.take_along_axis(counts, order, axis=1)
    opposite = np.sign(np.diff(y)) * np.sign(np.diff(np.where(kept, real, 0))) < 0
    against = opposite & kept[:, 1:] & kept[:, :-1]
    tally.reversals = int(np.count_nonzero(against))
    if tally.reversals:
        i, j = divmod(int(np.argmax(against)), against.shape[1])
        pairs = (tuple(a[i, j : j + 2].tolist()) for a in (x, integers))
        tally.reversal = Reversal(*pairs)


def summary(parts: Sequence[Reals]) -> dict[str, float] | None:
    """Largest, mean and root mean square; the sums are rounded once."""
    values = [value for part in parts for value in part.tolist()]
    if not values:
        return None
    squares = math.fsum(value * value for value in values)
    return {
        "max": max(values),
        "mean": math.fsum(values) / len(values),
        "rms": math.sqrt(squares / len(values)),
    }
