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
from ivit_ref.compare.region import EVERY, Region, explain_region
from ivit_ref.compare.report import Report, answer_of, fed_by
from ivit_ref.errors import IvitError
from ivit_ref.golden.case import Case, evaluated
from ivit_ref.ir import Array, Node
from ivit_ref.part import part
from ivit_ref.profiles import PROFILES

Compared = tuple[Case, Report, Mapping[str, Array], str]
"""A case, its report, what the backend gave, and where that came from."""

MOST_ROUNDS = 4
"""How often the nodes of an operator that one explanation does not cover are looked at again."""


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
        if fed is not None:
            got = integers_of(record, actual[record.name], source)
            if unequal(got, answer_of(node, fed)).any():
                found.append(evidence(case.graph, node, fed, got, _place(case, node)))
    return found


def evidence_of_backend(case: Case, backend: Backend) -> list[Evidence]:
    """The nodes that a backend gets wrong when they are fed with golden inputs."""
    found = []
    for node, record in zip(case.graph.nodes, case.made, strict=True):
        alone = part(case.graph, [node], node.name)
        answer = backend({v.name: case.tensors[v.name] for v in alone.inputs}, alone)
        got = integers_of(record, answer[record.name], f"backend {backend.name}")
        if unequal(got, case.tensors[record.name]).any():
            golden = [case.tensors[name] for name in node.inputs]
            found.append(evidence(case.graph, node, golden, got, _place(case, node)))
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
        if rewritten.nodes != case.graph.nodes and all(np.array_equal(values[name], array) for name, array in got.items()):
            settings.append((f"profile {profile}",))
    nodes = tuple(node.name for node in case.graph.nodes)
    return Finding(EVERY, nodes, tuple(settings)) if settings else None


def explained(found: Sequence[Evidence]) -> list[Finding]:
    """The evidence, operator by operator in the order of the graph, each with what explains it."""
    findings = []
    for op in dict.fromkeys(e.site.op for e in found):
        rest = [e for e in found if e.site.op == op]
        for _ in range(MOST_ROUNDS):
            if rest:
                finding, rest = _finding(op, rest)
                findings.append(finding)
    return findings


def _finding(op: str, found: list[Evidence]) -> tuple[Finding, list[Evidence]]:
    """What explains all of it, or else the first node and those like it; and the rest."""
    settings = explain(found)
    alike = found
    if not settings and len(found) > 1:
        settings = explain(found[:1])
        alike = [e for e in found if e is found[0] or (settings and set(explain([e])) & set(settings))]
        settings = explain(alike) or settings
    said = () if settings else tuple(known(found[0]))
    covered = {id(e) for e in alike}
    return Finding(op, tuple(e.node for e in alike), tuple(settings), said), [e for e in found if id(e) not in covered]


def explained_before(
    case: Case, report: Report, actual: Mapping[str, Array], source: str, done: Callable[[int], None]
) -> Finding | None:
    """The first divergent tensor, by the nodes before it that the backend did not give."""
    row = report.first
    if row is None:
        return None
    record = next(r for r in case.made if r.name == row.name)
    region = Region(case, row.name, integers_of(record, actual[row.name], source), set(actual))
    settings = explain_region(region, done)
    return Finding(row.op, tuple(n.name for n in region.graph.nodes), tuple(settings), before=True)


def conclusions(
    compared: Sequence[Compared], backend: Backend | None, done: Callable[[int], None] = lambda count: None
) -> list[Finding]:
    """What explains the differences of all cases together.

    Nodes are explained that are wrong on their own; and where the first divergent tensor of a case is not among those, because
    its inputs were not given, what comes before it. A published version of a whole model says it all, and is not told operator
    by operator.
    """
    found: list[Evidence] = []
    for case, report, actual, source in compared:
        if report.first is None:
            continue
        whole = whole_profiles(case, actual, source) if actual and len(case.graph.nodes) > 1 else None
        some = _evidence(case, backend, actual, source)
        if whole:
            return [whole, *(explained(some) if len({e.site.op for e in some}) == 1 else ())]
        if not some:
            return [*filter(None, [explained_before(case, report, actual, source, done)]), *explained(found)]
        found += some
    return explained(found)


def _evidence(case: Case, backend: Backend | None, actual: Mapping[str, Array], source: str) -> list[Evidence]:
    if backend is not None and backend.takes_graphs:
        return evidence_of_backend(case, backend)
    return evidence_of_dump(case, actual, source)
