"""Comparing a case: tensor by tensor in the order of the graph, on the backend's own run or each node alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ivit_ref.arrays import unequal
from ivit_ref.compare.backend import Backend
from ivit_ref.compare.difference import Difference, Verdict, difference, integers_of
from ivit_ref.errors import InputError, IvitError
from ivit_ref.events import Context
from ivit_ref.golden.case import Case, TensorRecord
from ivit_ref.integers import BOUNDS, narrow, outside
from ivit_ref.interpreter import kernel_of
from ivit_ref.ir import Array, Node
from ivit_ref.part import part

Mode = Literal["cumulative", "isolated"]
"""cumulative: the backend's own run, where what differs early differs later. isolated: each node is fed with golden inputs; of
a dump, each node is judged on the inputs that the dump itself has for it."""


@dataclass(frozen=True)
class Report:
    """One case: every tensor that a node makes, in the order of the graph."""

    case: str
    mode: Mode
    rows: tuple[Difference, ...]

    @property
    def first(self) -> Difference | None:
        """The first divergent tensor."""
        return next((row for row in self.rows if row.verdict == "differs"), None)

    def count(self, verdict: Verdict) -> int:
        """How many tensors have that verdict."""
        return sum(row.verdict == verdict for row in self.rows)

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        counts = {verdict.replace(" ", "_"): self.count(verdict) for verdict in ("equal", "differs", "not given", "not judged")}
        first = None if self.first is None else self.first.name
        return {
            "case": self.case,
            "mode": self.mode,
            **counts,
            "first": first,
            "tensors": [row.facts() for row in self.rows],
        }


def compare(case: Case, actual: Mapping[str, Array], source: str, done: Callable[[int], None] = lambda count: None) -> Report:
    """The backend's own run beside the golden one. ``actual`` has arrays by name, any part of the case's tensors."""
    rows = []
    for place, record in enumerate(case.made):
        given = actual.get(record.name)
        rows.append(_judged(record, given, case.tensors[record.name], source))
        done(place + 1)
    check_given(case, actual, source)
    return Report(case.name, "cumulative", tuple(rows))


def _judged(record: TensorRecord, array: Array | None, want: Array, source: str) -> Difference:
    """The verdict on a tensor; most are equal as they are, and need not be widened to be compared."""
    if array is None:
        return difference(record, None, want)
    plain = type(array) is np.ndarray and array.dtype == want.dtype and array.shape == want.shape
    same = plain and not unequal(array, want).any()
    return difference(record, want if same else integers_of(record, array, source), want)


def check_given(case: Case, actual: Mapping[str, Array], source: str) -> None:
    """What a dump holds of inputs and constants must be what the case was made with: otherwise nothing else can be compared."""
    for record in case.records:
        if not record.node and record.name in actual:
            row = difference(record, integers_of(record, actual[record.name], source), case.tensors[record.name])
            if row.verdict == "differs":
                raise IvitError(f"{source}: {record.role} must be that of the case {case.name}, but found another: {row}")


def compare_alone(case: Case, backend: Backend, done: Callable[[int], None] = lambda count: None) -> Report:
    """Every node of the backend fed with golden inputs: what differs is the node's own."""
    rows = []
    for place, (_, record, got) in enumerate(answers_alone(case, backend)):
        rows.append(difference(record, got, case.tensors[record.name]))
        done(place + 1)
    return Report(case.name, "isolated", tuple(rows))


def answers_alone(case: Case, backend: Backend) -> Iterator[tuple[Node, TensorRecord, Array | None]]:
    """What a backend makes of the golden inputs of each node, in the order of the graph; None where it has no answer."""
    for node, record in zip(case.graph.nodes, case.made, strict=True):
        alone = part(case.graph, [node], node.name)
        answer = backend({v.name: case.tensors[v.name] for v in alone.inputs}, alone, node.name)
        yield node, record, integers_of(record, answer[record.name], f"backend {backend.name}") if answer else None


def compare_dump_alone(
    case: Case, actual: Mapping[str, Array], source: str, done: Callable[[int], None] = lambda count: None
) -> Report:
    """Every node judged on the inputs that the dump has for it; where it has none, or ones beyond their dtype, not at all."""
    check_given(case, actual, source)
    rows = []
    for place, (node, record) in enumerate(zip(case.graph.nodes, case.made, strict=True)):
        got = integers_of(record, actual[record.name], source) if record.name in actual else None
        fed = fed_by(case, node, actual, source) if got is not None else None
        rows.append(difference(record, got, None if fed is None else answer_of(node, fed)))
        done(place + 1)
    if all(row.verdict in ("not given", "not judged") for row in rows):
        raise InputError(f"{source}: to be judged alone, a tensor must come with the inputs of its node, but none does")
    return Report(case.name, "isolated", tuple(rows))


def answer_of(node: Node, arrays: list[Array]) -> Array:
    """What the node makes of these inputs."""
    return kernel_of(node.op, "fast")(arrays, node.attributes, Context("wrap", op=node.op, node=node.name))


def fed_by(case: Case, node: Node, actual: Mapping[str, Array], source: str) -> list[Array] | None:
    """The inputs that a dump has for a node, in their golden dtypes; inputs of the graph and constants are golden."""
    records = {record.name: record for record in case.records}
    fed = []
    for name in node.inputs:
        record = records[name]
        if not record.node:
            fed.append(case.tensors[name])
        elif name not in actual:
            return None
        else:
            array = integers_of(record, actual[name], source)
            if record.dtype in BOUNDS and outside(array, record.dtype) is not None:
                return None
            fed.append(narrow(array, record.dtype) if record.dtype in BOUNDS else array)
    return fed
