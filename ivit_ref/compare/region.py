"""A divergent tensor whose inputs the backend did not give: the settings of the nodes before it, back to what is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property

import numpy as np

from ivit_ref.arrays import unequal
from ivit_ref.compare.explain import Evidence, Settings, evidence
from ivit_ref.compare.report import answer_of
from ivit_ref.compare.setting import Setting
from ivit_ref.compare.settings import PROFILE, departed, profiles, resolved, singles
from ivit_ref.cost import macs
from ivit_ref.golden.case import Case
from ivit_ref.integers import BOUNDS, narrow, widen
from ivit_ref.ir import Array, Graph, Node
from ivit_ref.part import part

FEWEST_TRIALS, MOST_TRIALS = 150, 3000
WORK = 2**36
"""Products that a search may cost, between those numbers of trials."""

EVERY = "every operator"

Labels = tuple[tuple[str, str], ...]


class Region:
    """The nodes between tensors that are known to be equal (``given``) and others, ``got`` by name."""

    def __init__(self, case: Case, got: Mapping[str, Array], given: Collection[str]) -> None:
        self.got = got
        self.graph: Graph = part(case.graph, nodes_before(case.graph, got, given), "region")
        self.values = {v.name: case.tensors[v.name] for v in self.graph.inputs}
        self.values |= {c.value.name: c.data for c in self.graph.constants}
        self._resolved: dict[tuple[str, tuple[str, ...]], Settings] = {}
        for node in self.graph.nodes:
            self.values[node.output.name] = answer_of(node, [self.values[name] for name in node.inputs])

    @cached_property
    def sites(self) -> dict[str, Evidence]:
        """Every node with its golden result, for the settings that it has."""
        return {
            n.name: evidence(self.graph, n, self._inputs(n, self.values), self.values[n.output.name]) for n in self.graph.nodes
        }

    @cached_property
    def known(self) -> dict[str, dict[str, Setting]]:
        """The settings of each node by label."""
        return {
            name: {s.label: s for s in (*profiles(e.site), *singles(e.site)) if not s.arranges}
            for name, e in self.sites.items()
        }

    def settings(self, node: str, labels: tuple[str, ...]) -> Settings:
        """What these labels mean at a node."""
        if len(labels) < 2:
            return tuple(s for label in labels if (s := self.known[node].get(label)))
        if (node, labels) not in self._resolved:
            self._resolved[node, labels] = resolved(self.sites[node].site, labels)
        return self._resolved[node, labels]

    def shows(self, labels: Labels) -> bool:
        """Whether the region gives what the backend gave, where nodes of an operator (or of all) have the settings named."""
        values, changed = dict(self.values), set[str]()
        for node in self.graph.nodes:
            settings = self.settings(node.name, tuple(label for op, label in labels if op in (node.op, EVERY)))
            if settings or changed & set(node.inputs):
                result = self._result(node, values, settings)
                if result is None:
                    return False
                if unequal(result, values[node.output.name]).any():
                    changed.add(node.output.name)
                    values[node.output.name] = result
        return all(same(values[name], got) for name, got in self.got.items())

    def _result(self, node: Node, values: Mapping[str, Array], settings: Settings) -> Array | None:
        arrays, dtype = self._inputs(node, values), node.output.type.dtype
        if not settings:
            return answer_of(node, arrays)
        given = evidence(self.graph, node, arrays, self.values[node.output.name]).answer(settings)
        if given is None or given.shape != values[node.output.name].shape:
            return None
        if given.dtype == np.float32:
            return given
        low, high = BOUNDS[dtype]
        return narrow(given, dtype) if given.min() >= low and given.max() <= high else None

    def _inputs(self, node: Node, values: Mapping[str, Array]) -> list[Array]:
        return [values[name] for name in node.inputs]


def same(value: Array, got: Array) -> bool:
    """Whether a tensor of a graph is what a backend gave, which is int64 or float32."""
    return not unequal(value if value.dtype == np.float32 else widen(value), got).any()


def nodes_before(graph: Graph, targets: Iterable[str], given: Collection[str]) -> list[Node]:
    """The nodes that some tensors depend on, back to given ones, in the order of the graph."""
    makers = {node.output.name: node for node in graph.nodes}
    todo, found = list(targets), set[str]()
    while todo:
        node = makers[todo.pop()]
        if node.name not in found:
            found.add(node.name)
            todo += [name for name in node.inputs if name in makers and name not in given]
    return [node for node in graph.nodes if node.name in found]


def explain_region(region: Region, done: Callable[[int], None] = lambda count: None) -> list[Labels]:
    """Settings, each an operator and a label, that every node of the operator has, and that give what the backend gave."""
    budget = max(FEWEST_TRIALS, min(MOST_TRIALS, WORK // max(1, macs(region.graph))))
    single = _likely_first(region)
    whole = list(dict.fromkeys((EVERY, label) for _, label in single if label.startswith(f"{PROFILE} ")))
    count = 0
    steps: list[list[Labels]] = [
        [(w,) for w in whole],
        [(s,) for s in single],
        [(w, s) for w in whole for s in _on_top(region, w[1])],
    ]
    for candidates in steps:
        found = []
        for labels in candidates[: max(0, budget - count)]:
            count += 1
            done(count)
            if region.shows(labels):
                found.append(labels)
        if found:
            return found
    return []


def _on_top(region: Region, profile: str) -> list[tuple[str, str]]:
    """Every operator and label that is a departure from a profile."""
    found: dict[tuple[str, str], None] = {}
    for node in region.graph.nodes:
        site = region.sites[node.name].site
        for setting in resolved(site, [profile]):
            found |= {(node.op, s.label): None for s in singles(departed(site, setting)) if not s.arranges}
    return list(found)


def _likely_first(region: Region) -> list[tuple[str, str]]:
    """Every operator and label; choices between few come before those between many, which a large model may not afford."""
    found = {(n.op, label): s.parameter for n in region.graph.nodes for label, s in region.known[n.name].items()}
    choices = Counter((op, parameter) for (op, _), parameter in found.items())
    return sorted(found, key=lambda key: choices[key[0], found[key]])
