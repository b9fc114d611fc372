"""How far integer operators are from the real functions that they stand for.

>>> [measured] = error("Shiftmax", scale=0.05, profiles=["tvm"])
>>> measured.total.facts()["last_places"]["max"]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ivit_ref.profiles import Profile
from ivit_ref.study import drawing
from ivit_ref.study.corpus import corpus
from ivit_ref.study.measure import Measured, measure
from ivit_ref.study.subject import check, refusal, sized, subjects
from ivit_ref.study.sweeping import Swept, grid, scales, swept_over

__all__ = ["Measured", "Swept", "error", "plot", "refusals", "sweep"]

Done = Callable[[int, int], None]
"""Told how many are done, of how many."""


def _nobody(done: int, total: int) -> None:
    """Nobody is told."""


def error(
    op: str,
    *,
    scale: float | None = None,
    bits: int = 8,
    profiles: Sequence[str | Profile] = ("qat",),
    against: Sequence[str] = (),
    length: int | None = None,
    rows: int = 100,
    seed: int = 0,
    done: Done = _nobody,
) -> list[Measured]:
    """Measure an operator in each profile, and the methods of the same role in ``against``, all on the same inputs.

    ``scale`` is what a step of the input is worth (of Requantize: the ratio); operators from which it drops out need none.
    ``bits`` is the width of the codes, 8 or 16. Rows have 2, 8, 197 and ``length`` elements; ``rows`` of each kind are random.
    ConstraintError, InputError or ScaleError where an operator does not take such inputs.
    """
    found = subjects(op, scale=scale, bits=bits, profiles=profiles, against=against)
    check(found, length)
    groups = corpus(found[0].kind, sized(found, length, rows, seed))
    batches = sum(len(group.batches) for group in groups)
    return measure(found, groups, lambda count: done(count, batches))


def refusals(
    op: str, against: Sequence[str], *, scale: float | None, bits: int = 8, length: int | None = None
) -> dict[str, str]:
    """The methods in ``against`` that do not take such inputs, and why."""
    found = subjects(op, scale=scale, bits=bits, against=against)[1:]
    return {subject.method.name: why for subject in found if (why := refusal(subject, length))}


def sweep(
    op: str,
    *,
    over: tuple[float, float, int] | None = None,
    bits: int = 8,
    profiles: Sequence[str | Profile] = ("qat",),
    against: Sequence[str] = (),
    length: int | None = None,
    rows: int = 100,
    seed: int = 0,
    done: Done = _nobody,
) -> list[Swept]:
    """Measure the same over a range of scales, or of what matters where these do not, with the limits that are hit.

    ``over`` is from where, to where, how many; rows have ``length`` elements, 197 if nothing is said. A scale that an operator
    does not take is a point that says so; InputError where it takes none of them.
    """
    kind = subjects(op, scale=1.0, bits=bits)[0].kind
    values = grid(kind, bits, over)
    found = subjects(op, scale=values[0] if scales(kind) else 1.0, bits=bits, profiles=profiles, against=against)
    size = sized(found, length, rows, seed)
    if not scales(kind):
        check(found, length)
    return swept_over(found, values, size, lambda count: done(count, len(values)))


def plot(
    path: str | Path,
    op: str,
    *,
    scale: float | None = None,
    bits: int = 8,
    profiles: Sequence[str | Profile] = ("qat",),
    against: Sequence[str] = (),
    length: int | None = None,
    rows: int = 100,
    seed: int = 0,
) -> None:
    """Draw the error over the whole range of inputs, all subjects in one figure, as SVG or PNG."""
    found = subjects(op, scale=scale, bits=bits, profiles=profiles, against=against)
    check(found, length)
    drawing.draw(path, found, sized(found, length, rows, seed))
