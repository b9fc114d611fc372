"""The report of ``compare`` and ``explain`` as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ivit_ref.compare.difference import Difference, Verdict
from ivit_ref.compare.findings import Finding
from ivit_ref.compare.report import Report

SHOWN_ROWS = 16
SHOWN_SETTINGS = 8
SHOWN_CASES = 16


def text(reports: Sequence[Report], findings: Sequence[Finding], *, brief: bool) -> str:
    """What differs, tensor by tensor, and why; ``brief`` leaves the tensors out."""
    different = [r for r in reports if r.first]
    lines = [] if brief else [*_cases(reports, different)]
    if different and not brief:
        lines += ["", *_tensors(different[0])]
    elif different:
        lines.append(f"{different[0].case}: first divergent tensor: {different[0].first}")
    elif brief:
        lines.append("equal: there is nothing to explain")
    for finding in findings:
        lines += ["", *_finding(finding)]
    return "\n".join(lines)


def _cases(reports: Sequence[Report], different: Sequence[Report]) -> Iterator[str]:
    """One line for a case that differs, and one for the rest."""
    for r in different[:SHOWN_CASES]:
        yield f"{r.case}: {r.count('differs')} of {len(r.rows)} tensors differ{_not_given(r)}"
    if len(different) > SHOWN_CASES:
        yield f"and {len(different) - SHOWN_CASES} more cases (see: the report as JSON)"
    equal = [r for r in reports if not r.first and r.count("equal")]
    silent = len(reports) - len(different) - len(equal)
    if silent:
        yield f"{silent} of {len(reports)} cases were not answered"
    if equal:
        tensors = sum(r.count("equal") for r in equal)
        rest = _missing(equal, "not given") + _missing(equal, "not judged")
        yield f"{len(equal)} of {len(reports)} cases equal: {tensors} tensors{rest}"


def _missing(reports: Sequence[Report], verdict: Verdict) -> str:
    count = sum(r.count(verdict) for r in reports)
    return f", {count} were {verdict}" if count else ""


def _not_given(r: Report) -> str:
    return f", {r.count('equal')} are equal" + _missing([r], "not given") + _missing([r], "not judged")


def _tensors(r: Report) -> Iterator[str]:
    """The tensors of one case that differ, in the order of the graph, and the first one at length."""
    rows = [row for row in r.rows if row.verdict == "differs"]
    head = ("tensor", "operator", "differ", "of", "largest", "first at", "got", "want")
    cells = [head, *(_row(row) for row in rows[:SHOWN_ROWS])]
    widths = [max(len(c[i]) for c in cells) for i in range(len(head))]
    yield f"{r.case} ({r.mode})"
    for c in cells:
        yield "  ".join(f"{v:<{w}}" if i < 2 else f"{v:>{w}}" for i, (v, w) in enumerate(zip(c, widths, strict=True))).rstrip()
    if len(rows) > SHOWN_ROWS:
        yield f"and {len(rows) - SHOWN_ROWS} more (see: the report as JSON)"
    yield ""
    yield f"first divergent tensor: {rows[0]}"
    yield f"got - want: {_histogram(rows[0])}"


def _row(row: Difference) -> tuple[str, ...]:
    numbers = (str(row.differing), str(row.total), _short(row.largest))
    return (row.name, row.op, *numbers, str(list(row.index)), _short(row.got), _short(row.want))


def _short(number: int | float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.6g}"


def _histogram(row: Difference) -> str:
    shown = ", ".join(f"{_signed(delta)}: {count}" for delta, count in row.histogram)
    return shown + (f", others: {row.others}" if row.others else "")


def _signed(number: int | float) -> str:
    return ("+" if number > 0 else "") + _short(number)


def _finding(finding: Finding) -> Iterator[str]:
    """What explains some nodes, or what is known of them."""
    nodes = f"{finding.nodes[0]}" + (f" and {len(finding.nodes) - 1} more" if len(finding.nodes) > 1 else "")
    where = f"{finding.op}, which {nodes} come before" if finding.before else f"{finding.op} ({nodes})"
    if finding.settings:
        yield f"{where}: exactly what it gives with"
        shown = finding.settings[:SHOWN_SETTINGS]
        yield from ("  " + (" and ".join(settings)) for settings in shown)
        if len(finding.settings) > len(shown):
            yield f"  or {len(finding.settings) - len(shown)} other settings (see: the report as JSON)"
    else:
        behind = ". Of the first is known:" if finding.known else ""
        yield f"{where}: no setting that was tried explains it{behind}"
        yield from (f"  {sentence}" for sentence in finding.known)
