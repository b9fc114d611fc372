"""What each method costs a model: every combination of methods on the same images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ivit_ref.batches import accuracy, logits_of, run_in_batches
from ivit_ref.errors import InputError, IvitError
from ivit_ref.events import Event, EventLog, Listener, Overflow
from ivit_ref.exchange import with_methods
from ivit_ref.interpreter import Interpreter
from ivit_ref.ir import Array, Graph
from ivit_ref.methods import Role, methods, recognised, roles_of

VARIED: tuple[Role, ...] = ("softmax", "gelu", "layernorm")
"""The roles whose methods may be varied. In the baseline all of them are ``float``: real functions, integer linear layers."""


@dataclass(frozen=True)
class Outcome:
    """One combination: which methods, and how it did; ``refused`` says why there are no results."""

    methods: Mapping[Role, str]
    results: Mapping[str, Any] = field(default_factory=dict)
    """``correct`` and ``agreeing`` where labels and logits are given; ``as_float``: how often the class is the baseline's;
    ``error``: the root mean square of its logits less the baseline's, as a part of the baseline's own."""
    events: tuple[Event, ...] = ()
    refused: str = ""

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        told = {"events": [event.facts() for event in self.events]} if not self.refused else {"refused": self.refused}
        return {"methods": dict(self.methods), **self.results, **told}


def present(graph: Graph) -> dict[Role, str]:
    """The methods that a graph has now, by role; "mixed" where there are several, "other" for one that has no name."""
    found: dict[Role, str] = {}
    for role in VARIED:
        nodes = [node for node in graph.nodes if role in roles_of(node.op)]
        names = {recognised(role, node, graph.values[node.inputs[0]].type) for node in nodes}
        if names:
            found[role] = names.pop() if len(names) == 1 else "mixed"
    return found


def combinations(graph: Graph, varied: Sequence[Role]) -> Iterator[dict[Role, str]]:
    """Every combination of methods in the varied roles, with what the graph has in the others."""
    base = present(graph)
    for names in itertools.product(*(methods(role) for role in varied)):
        yield base | dict(zip(varied, names, strict=True))


class Ablation:
    """Runs combinations of methods on the same images, and holds each against the float baseline."""

    def __init__(
        self,
        graph: Graph,
        inputs: Mapping[str, Array],
        given: Mapping[str, Array],
        source: str,
        *,
        overflow: Overflow = "wrap",
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.graph, self.inputs, self.given, self.source = graph, inputs, given, source
        self.overflow, self.listeners, self.base = overflow, listeners, present(graph)
        self.baseline, _ = self._logits(dict.fromkeys(self.base, "float"))

    def outcome(self, chosen: Mapping[Role, str]) -> Outcome:
        """One combination; one that a node refuses, or in which a value leaves its width (under "raise"), has no results."""
        try:
            logits, log = self._logits(chosen)
        except IvitError as error:
            return Outcome(chosen, refused=str(error))
        results = accuracy({"logits": logits}, self.given, self.source)
        results["as_float"] = int(np.count_nonzero(logits.argmax(axis=1) == self.baseline.argmax(axis=1)))
        results["error"] = _rms(logits - self.baseline) / _rms(self.baseline)
        return Outcome(chosen, results, tuple(log.events))

    def _logits(self, chosen: Mapping[Role, str]) -> tuple[Array, EventLog]:
        changed = {role: name for role, name in chosen.items() if name != self.base[role]}
        graph = with_methods(self.graph, changed) if changed else self.graph
        log = EventLog()
        interpreter = Interpreter(graph, overflow=self.overflow, listeners=[log, *self.listeners])
        logits = logits_of(run_in_batches(interpreter, self.inputs, log))
        if logits is None:
            raise InputError(f"eval: the graph must have an output 'logits' in float32, but found {', '.join(graph.outputs)}")
        return logits, log


def _rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
