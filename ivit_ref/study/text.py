"""Errors and sweeps as tables of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ivit_ref.study.measure import Measured, Tally, Worst
from ivit_ref.study.sweeping import Point, Swept
from ivit_ref.text import columns

SHOWN = 8
"""How many numbers of a row are shown."""


def text(measured: Sequence[Measured]) -> str:
    """One block a subject."""
    return "\n\n".join("\n".join(_block(m)) for m in measured)


def sweep_text(swept: Sequence[Swept]) -> str:
    """One block a subject."""
    return "\n\n".join("\n".join(_sweep(s)) for s in swept)


def number(value: float | None) -> str:
    """Four digits, or a dash."""
    return "-" if value is None else f"{value:.4g}"


def _block(m: Measured) -> Iterator[str]:
    yield f"{m.subject.method.op} ({m.subject.label}): {_worth(m)}"
    softmax = m.subject.kind == "softmax"
    head = ["", "inputs", "max", "mean", "rms", "max", "mean", "rms", "order"]
    above = ["", "", "last places", "", "", "reals", "", "", ""]
    extra = (["row sums:", "", ""], ["min", "mean", "max"]) if softmax else ([], [])
    cells = [above + extra[0] + ["zero rows"] * softmax, head + extra[1] + [""] * softmax]
    cells += [_line(name, tally, softmax) for name, tally in m.groups.items() if tally.rows]
    yield from columns([*cells, _line("all", m.total, softmax)], (0,))
    yield from _remarks(m.total)


def _worth(m: Measured) -> str:
    step = "steps of the result differ" if m.step is None else f"a step of the result is worth {m.step:.6g}"
    if m.subject.kind in ("sqrt", "quotient"):
        return step
    return f"int{m.subject.bits}; a step of x is worth {m.subject.scale:.6g}; {step}"


def _line(name: str, tally: Tally, softmax: bool) -> list[str]:
    facts = tally.facts()
    cells = [name, str(facts["inputs"])]
    for unit in ("last_places", "real"):
        cells += [number(facts[unit] and facts[unit][value]) for value in ("max", "mean", "rms")]
    cells.append(str(tally.reversals))
    if softmax:
        sums = facts["row_sums"]
        cells += [number(sums and sums[value]) for value in ("min", "mean", "max")]
        cells.append(f"{tally.zero_rows} of {tally.rows}")
    return cells


def _remarks(total: Tally) -> Iterator[str]:
    if total.worst is not None:
        yield f"worst    {_told(total.worst)}"
    if total.reversal is not None:
        x, y = (f"{a}, {b}" for a, b in (total.reversal.x, total.reversal.y))
        yield f"order    violated first where x goes {x} and the result {y}"
    if total.refused:
        yield f"refused  {total.refused} of {total.rows} rows: {total.why}"
    if total.log.events:
        yield f"events   {', '.join(f'{e.step} {e.kind} {e.count}' for e in total.log.events)}"


def _told(worst: Worst) -> str:
    """``-0.1: gives 3 = 0.4, not 0.5; ramps, element 7 of [...]``."""
    gives = f"{number(worst.error)}: gives {worst.integer} = {number(worst.got)}, not {number(worst.want)}"
    rows = [f"[{', '.join(map(str, row[:SHOWN]))}{', ...' if len(row) > SHOWN else ''}]" for row in worst.inputs]
    return f"{gives}; {worst.group}, element {worst.place} of {' by '.join(rows)}"


def _sweep(s: Swept) -> Iterator[str]:
    yield f"{s.subject.method.op} ({s.subject.label}): int{s.subject.bits}, errors as reals"
    softmax = s.subject.kind == "softmax"
    divides = any(point.factor is not None for point in s.points)
    head = [s.variable, "max", "mean", "rms", "order"]
    head += ["mean sum", "zero rows"] * softmax + ["F"] * divides + ["limit"]
    yield from columns([head, *(_point(point, softmax, divides) for point in s.points)], (-1,))
    yield from s.thresholds


def _point(point: Point, softmax: bool, divides: bool) -> list[str]:
    facts = point.tally.facts()
    real = facts["real"]
    cells = [
        number(point.value),
        *(number(real and real[value]) for value in ("max", "mean", "rms")),
        str(point.tally.reversals),
    ]
    if softmax:
        zero = 100 * point.tally.zero_rows / point.tally.rows if point.tally.rows else None
        cells += [number(facts["row_sums"] and facts["row_sums"]["mean"]), "-" if zero is None else f"{zero:.0f} %"]
    if divides:
        cells.append("-" if point.factor is None else str(point.factor))
    return [*cells, point.limit]
