"""Whether vectors can fail: none is constant, every clamp and direction is reached, none is there twice, mutants are seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ivit_ref.golden.case import Case
from ivit_ref.golden.coverage import unreached
from ivit_ref.golden.mutation import Mutant, Vectors, score

VANISHING = "vanishing"


@dataclass(frozen=True)
class Lint:
    """What is wrong with the vectors, one sentence each, and the mutants of their operators."""

    findings: tuple[str, ...]
    mutants: tuple[Mutant, ...]

    @property
    def killed(self) -> int:
        """How many mutants a vector shows."""
        return sum(mutant.killed for mutant in self.mutants)

    @property
    def equivalent(self) -> int:
        """How many no vector can show."""
        return sum(bool(mutant.reason) and not mutant.killed for mutant in self.mutants)

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        counts = {"mutants": len(self.mutants), "killed": self.killed, "equivalent": self.equivalent}
        return {"findings": list(self.findings), **counts, "survivors": [asdict(m) for m in self.mutants if not m.killed]}


def lint(cases: Iterable[Case]) -> Lint:
    """Look at the vectors of some cases."""
    findings: list[str] = []
    seen: dict[Any, str] = {}
    vectors: list[Vectors] = []
    for case in cases:
        findings += _constant(case)
        findings += _again(case, seen)
        vectors += _vectors(case)
    mutants = tuple(score(vectors))
    findings += _unreached(vectors)
    findings += [
        f"{m.op} ({m.profile or 'no profile'}): a vector must show the mutant {m.parameter} {m.value}, but found none"
        for m in mutants
        if not m.killed and not m.reason
    ]
    return Lint(tuple(findings), mutants)


def _constant(case: Case) -> Iterator[str]:
    """Inputs and results that are the same throughout may be right by accident; a result may be 0 where the case says so."""
    for record in case.records:
        array = case.tensors[record.name]
        said = VANISHING in case.flags and record.node and not array.any()
        if record.role != "constant" and array.size > 1 and not said and (array == array.flat[0]).all():
            what = "all zero" if not array.any() else f"all {array.flat[0]}"
            yield f"{case.name}: a tensor must have different elements, but {record.name!r} is {what}"


def _again(case: Case, seen: dict[Any, str]) -> Iterator[str]:
    """The same nodes on the same inputs and constants; where profiles agree, each has vectors all the same."""
    nodes = tuple((n.op, n.inputs, tuple(n.attributes.items())) for n in case.graph.nodes)
    given = tuple(r.sha256 for r in case.records if not r.node)
    before = seen.setdefault((case.profile, nodes, given), case.name)
    if before != case.name:
        yield f"{case.name}: a case must be there once, but {before} is the same"


def _vectors(case: Case) -> Iterator[Vectors]:
    if len(case.graph.nodes) != 1:
        return
    [node] = case.graph.nodes
    arrays = tuple(case.tensors[name] for name in node.inputs)
    quant = case.graph.values[node.inputs[0]].quant
    scale = quant.scale[0] if quant is not None and quant.axis is None else None
    yield Vectors(node.op, case.profile, node.attributes, arrays, case.tensors[node.output.name], scale)


def _unreached(vectors: Sequence[Vectors]) -> Iterator[str]:
    for op, profile in dict.fromkeys((v.op, v.profile) for v in vectors):
        for what in unreached([v for v in vectors if (v.op, v.profile) == (op, profile)]):
            yield f"{op} ({profile or 'no profile'}): vectors must reach {what}, but found none"
