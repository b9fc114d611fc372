"""Why a backend differs: the nodes that are wrong on their own, operator by operator, and the settings that explain them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ivit_ref.arrays import unequal
from ivit_ref.compare.backend import Backend
from ivit_ref.compare.difference import integers_of
from ivit_ref.compare.explain import Evidence, evidence, explain
from ivit_ref.compare.known import known
from ivit_ref.compare.region import EVERY, Region, explain_region, same
from ivit_ref.compare.report import Report, answer_of, answers_alone, fed_by
from ivit_ref.compare.settings import resolved
from ivit_ref.errors import IvitError
from ivit_ref.golden.case import Case, evaluated
from ivit_ref.integers import from_float, widen
from ivit_ref.ir import Array, Node
from ivit_ref.profiles import PROFILES

MOST_UNEXPLAINED = 3
"""Nodes of one operator for which all settings are tried in vain."""

Compared = tuple[Case, Report, Mapping[str, Array], str]
"""A case, its report, what the backend gave, and where that came from."""


@dataclass(frozen=True)
class Finding:
    """Nodes of one operator that are wrong alike.

    ``settings``: each reproduces all of them exactly. ``known``: what can be said of the first where there is none. ``before``:
    these are the nodes before a divergent tensor, of which the backend gave none.
    """

    op: str
    nodes: tuple[str, ...]
    settings: tuple[tuple[str, ...], ...]
    known: tuple[str, ...] = ()
    before: bool = False

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def evidence_of_dump(case: Case, actual: Mapping[str, Array], source: str) -> list[Evidence]:
    """The nodes of a dump that are wrong on the inputs which the dump has for them."""
    found = []
    for node, record in zip(case.graph.nodes, case.made, strict=True):
        fed = fed_by(case, node, actual, source) if record.name in actual else None
        got = integers_of(record, actual[record.name], source) if fed is not None else None
        if fed is None or got is None or not unequal(got, case.tensors[record.name]).any():
            continue  # what is equal to the golden tensor is not to blame, whatever it was made of
        if unequal(got, answer_of(node, fed)).any():
            found.append(evidence(case.graph, node, fed, got, _place(case, node), case.rows))
    return found


def evidence_of_backend(case: Case, backend: Backend) -> list[Evidence]:
    """The nodes that a backend gets wrong when they are fed with golden inputs."""
    found = []
    for node, record, got in answers_alone(case, backend):
        if got is not None and unequal(got, case.tensors[record.name]).any():
            golden = [case.tensors[name] for name in node.inputs]
            found.append(evidence(case.graph, node, golden, got, _place(case, node), case.rows))
    return found


def _place(case: Case, node: Node) -> str:
    """The node of a model; of an operator's vectors, the case."""
    return node.name if len(case.graph.nodes) > 1 else case.name


def whole_profiles(case: Case, actual: Mapping[str, Array], source: str) -> Finding | None:
    """The published versions of the whole graph, scales included, that give all that the backend gave."""
    records = {r.name: r for r in case.made if r.name in actual}
    got = {name: integers_of(record, actual[name], source) for name, record in records.items()}
    settings = []
    for profile in PROFILES:
        try:
            rewritten = case.graph.with_profile(profile)
            values, _ = evaluated(rewritten, case.inputs)
        except IvitError:
            continue
        if rewritten.nodes != case.graph.nodes and all(same(values[name], a) for name, a in got.items()):
            settings.append((f"profile {profile}",))
    return Finding(EVERY, (case.name,), tuple(settings)) if settings else None


def explained(found: Sequence[Evidence], done: Callable[[int], None] = lambda count: None) -> list[Finding]:
    """The evidence, operator by operator in the order of the graph, each with what explains it."""
    findings = []
    for op in dict.fromkeys(e.site.op for e in found):
        rest, unexplained = [e for e in found if e.site.op == op], 0
        while rest and unexplained < MOST_UNEXPLAINED:
            finding, rest = _finding(op, rest, done)
            findings.append(finding)
            unexplained += not finding.settings
        if rest:
            findings.append(Finding(op, tuple(e.node for e in rest), (), ("not looked into, since the others were in vain",)))
    return findings


def _finding(op: str, found: list[Evidence], done: Callable[[int], None]) -> tuple[Finding, list[Evidence]]:
    """What explains all of it, or else the first node and those that the same explains; and the rest."""
    together, first = explain(found, done)
    if together:
        return Finding(op, tuple(e.node for e in found), tuple(together)), []
    if not first:
        return Finding(op, (found[0].node,), (), tuple(known(found[0]))), found[1:]
    best = max(first, key=lambda names: sum(e.shows(resolved(e.site, names)) for e in found))
    alike = [e for e in found if e is found[0] or e.shows(resolved(e.site, best))]
    settings = [names for names in first if all(e.shows(resolved(e.site, names)) for e in alike)]
    covered = {id(e) for e in alike}
    return Finding(op, tuple(e.node for e in alike), tuple(settings)), [e for e in found if id(e) not in covered]


def explained_before(
    case: Case, report: Report, actual: Mapping[str, Array], source: str, done: Callable[[int], None]
) -> Finding | None:
    """The first divergent tensor, by the nodes before it that the backend did not give."""
    row = report.first
    if row is None:
        return None
    records = {r.name: r for r in case.made if r.name in actual}
    got = {name: integers_of(record, actual[name], source) for name, record in records.items()}
    target, wanted = row.name, got[row.name]
    node = next(n for n in case.graph.nodes if n.name == row.node)
    if node.op == "Dequantize":
        integers = integers_behind(node, wanted)
        if integers is None or not unequal(integers, widen(case.tensors[node.inputs[0]])).any():
            said = "a float is no integer of its scale" if integers is None else "its integers are right: the floats are not"
            return Finding(node.op, (node.name,), (), (said,))
        target, wanted = node.inputs[0], integers
    region = Region(case, {target: wanted}, set(actual))
    settings = explain_region(region, done)
    everything = Region(case, got | {target: wanted}, ()) if settings else region
    told = [tuple(f"{op}: {label}" for op, label in labels) for labels in settings]
    held = [names for names, labels in zip(told, settings, strict=True) if everything.shows(labels)]
    refuted = [f"{' and '.join(names)} gives this tensor, but not all others that are given" for names in told[:1]]
    nodes = tuple(n.name for n in region.graph.nodes)
    return Finding(row.op, nodes, tuple(held), () if held else tuple(refuted), before=True)


def integers_behind(node: Node, floats: Array) -> Array | None:
    """The integers that a Dequantize gives these floats for; None where none does."""
    a = dict(node.attributes)
    scale = np.array(a["scale"], np.float64).reshape([-1] + [1] * (floats.ndim - int(str(a["axis"])) - 1))
    steps = np.asarray(floats, np.float64) / scale + int(str(a["zero_point"]))
    if not np.isfinite(steps).all() or np.abs(steps).max() >= 2.0**31:
        return None
    integers = from_float(np.rint(steps))
    near = np.abs(steps - np.rint(steps)) < 1 / 8  # of a float32 near 2**20 steps an ulp is an eighth
    return integers if near.all() else None


def conclusions(
    compared: Sequence[Compared], backend: Backend | None, done: Callable[[int], None] = lambda count: None
) -> list[Finding]:
    """What explains the differences of all cases together.

    Nodes are explained that are wrong on their own; and where the first divergent tensor of a case is not among those, because
    its inputs were not given, what comes before it. A published version of a whole model says it all, and is not told operator
    by operator.
    """
    found: list[Evidence] = []
    findings: list[Finding] = []
    for case, report, actual, source in compared:
        if report.first is None:
            continue
        whole = whole_profiles(case, actual, source) if actual and len(case.graph.nodes) > 1 else None
        some = _evidence(case, backend, actual, source)
        if whole:
            findings.append(whole)
        if not whole or len({e.site.op for e in some}) == 1:
            found += some
        if not some and not whole and actual and not any(f.before for f in findings):  # one search of that kind takes its time
            findings += filter(None, [explained_before(case, report, actual, source, done)])
    return [*findings, *explained(found, done)]


def _evidence(case: Case, backend: Backend | None, actual: Mapping[str, Array], source: str) -> list[Evidence]:
    if backend is not None and backend.takes_graphs:
        return evidence_of_backend(case, backend)
    return evidence_of_dump(case, actual, source)
