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
from ivit_ref.study.subject import sized, subjects
from ivit_ref.study.sweeping import Swept, grid, scales, swept_over

__all__ = ["Measured", "Swept", "error", "plot", "sweep"]

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
    groups = corpus(found[0].kind, sized(found, length, rows, seed))
    batches = sum(len(group.batches) for group in groups)
    return measure(found, groups, lambda count: done(count, batches))


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

    ``over`` is from where, to where, how many; rows have ``length`` elements, 197 if nothing is said.
    """
    kind = subjects(op, scale=1.0, bits=bits)[0].kind
    values = grid(kind, bits, over)
    found = subjects(op, scale=values[0] if scales(kind) else 1.0, bits=bits, profiles=profiles, against=against)
    size = sized(found, length, rows, seed)
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
    drawing.draw(path, found, sized(found, length, rows, seed))
