"""Which settings of an operator give exactly what a backend gave.

One parameter is changed at a time; then one on top of each published profile; then two at once. The search stops at the first
of these steps that finds any, and names all that it finds. A setting must reproduce every element of every node that is given
as evidence: nothing is nearly explained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from ivit_ref.arrays import unequal
from ivit_ref.compare.setting import ROW_OPERATORS, Setting, Site
from ivit_ref.compare.settings import departed, profiles, resolved, singles
from ivit_ref.compare.variants import answer
from ivit_ref.golden.group import Row
from ivit_ref.ir import Array, Graph, Node

ELEMENTWISE = ("ShiftExp", "IntDiv", "IntSqrt", "Requantize", "RequantizeAdd", "Lookup")
TRIAL_ROWS = 6
"""How many rows a setting is tried on before it is tried on all."""

WHOLE = {"axis", "maximum"}
"""Parameters that look beyond a row."""

Settings = tuple[Setting, ...]
Rows = tuple[Row, ...]


@dataclass(frozen=True)
class Evidence:
    """One node: what it is, what it was fed with, what the backend gave (int64), and of an operator's vectors what rows are."""

    node: str
    site: Site
    arrays: tuple[Array, ...]
    got: Array
    rows: tuple[Row, ...] = ()

    def answer(self, settings: Settings) -> Array | None:
        """What the node gives under these settings; None where they cannot be run."""
        attributes, choices = dict(self.site.attributes), dict[str, Any]()
        for setting in settings:
            attributes |= setting.attributes
            choices |= setting.choices
        return answer(self.site.op, self.arrays, attributes, choices, self.site.dtype)

    def shows(self, settings: Settings) -> bool:
        """Whether these settings give what the backend gave."""
        given = self.answer(settings)
        return given is not None and given.shape == self.got.shape and not unequal(given, self.got).any()


def evidence(graph: Graph, node: Node, arrays: Sequence[Array], got: Array, place: str = "", rows: Rows = ()) -> Evidence:
    """A node of a graph as evidence, called by its name unless it has a ``place``."""
    quants = tuple(graph.values[name].quant for name in node.inputs)
    site = Site(node.op, node.attributes, quants, got.shape, node.output.type.dtype)
    return Evidence(place or node.name, site, tuple(arrays), got, rows)


def explain(
    found: Sequence[Evidence], done: Callable[[int], None] = lambda count: None
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Every setting that reproduces all of the evidence, and every one that reproduces the first node, as labels.

    The nodes are of one operator. Each list is from the first step that finds any.
    """
    first = found[0]
    trial = tried_on(first)
    alone: list[tuple[str, ...]] = []
    for candidates in _steps(first.site):
        agreed = _matching(first, trial, counted(candidates, done))
        labels = list(dict.fromkeys(tuple(s.label for s in settings) for settings in agreed))
        together = _on_all(found[1:], labels)
        alone = alone or labels
        if together:
            return together, alone
    return [], alone


def counted(candidates: Iterable[Settings], done: Callable[[int], None]) -> Iterator[Settings]:
    """The candidates, told one by one."""
    for count, settings in enumerate(candidates):
        done(count + 1)
        yield settings


def _steps(site: Site) -> Iterator[Iterable[Settings]]:
    single, published = list(singles(site)), list(profiles(site))
    yield [(s,) for s in (*published, *single)]
    yield ((p, s) for p in published for s in singles(departed(site, p)))
    yield ((a, b) for a, b in combinations(single, 2) if a.parameter != b.parameter)


def _matching(first: Evidence, trial: Evidence | None, candidates: Iterable[Settings]) -> Iterator[Settings]:
    """The candidates that reproduce one node: tried on a few rows first, an arrangement where the integers are the same."""
    ordered = np.sort(first.got, axis=None)
    arranged: dict[tuple[str, ...], bool] = {}
    for settings in candidates:
        others = tuple(s for s in settings if not s.arranges)
        if len(others) < len(settings):
            key = tuple(s.label for s in others)
            if key not in arranged:
                arranged[key] = _same_integers(first.answer(others), ordered)
            if arranged[key] and first.shows(settings):
                yield settings
        elif _tried(trial, settings) and first.shows(settings):
            yield settings


def _tried(trial: Evidence | None, settings: Settings) -> bool:
    return trial is None or bool(WHOLE & {s.parameter for s in settings}) or trial.shows(settings)


def _same_integers(given: Array | None, ordered: Array) -> bool:
    return given is not None and np.array_equal(np.sort(given, axis=None), ordered)


def _on_all(rest: Sequence[Evidence], labels: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Those labels under which every other node gives what the backend gave, each with its own i0 and multipliers."""
    kept = list(labels)
    for other in rest:
        kept = [names for names in kept if other.shows(resolved(other.site, names))]
    return kept


def tried_on(whole: Evidence) -> Evidence | None:
    """A few rows of a node, those that differ from the golden ones first; None where rows do not stand alone."""
    op, shape = whole.site.op, whole.site.shape
    if op not in (*ROW_OPERATORS, *ELEMENTWISE) or not shape or whole.arrays[0].shape != shape:
        return None
    axis = whole.site.attributes.get("axis", 0)
    dyadics = [v for k, v in whole.site.attributes.items() if k.endswith("multiplier") and isinstance(v, tuple)]
    if any(len(v) > 1 for v in dyadics) and axis != len(shape) - 1:
        return None
    if op in ("IntDiv", "RequantizeAdd") and any(a.shape != shape for a in whole.arrays):
        return None
    return _cut(whole, _rows_of_interest(whole))


def _rows_of_interest(whole: Evidence) -> Array:
    golden = whole.answer(())
    got = whole.got.reshape(-1, whole.site.shape[-1])
    differs = (golden.reshape(got.shape) != got).any(axis=1) if golden is not None else np.ones(len(got), bool)
    order = np.argsort(~differs, kind="stable")
    wrong = int(differs.sum())
    spread = np.linspace(0, max(0, wrong - 1), TRIAL_ROWS, dtype=np.int64)
    return np.unique(np.concatenate([order[spread], order[wrong : wrong + 2]]))


def _cut(whole: Evidence, rows: Array) -> Evidence:
    length = whole.site.shape[-1]
    arrays = tuple(
        a.reshape(-1, length)[rows] if a.shape == whole.site.shape and i < _per_row(whole.site.op) else a
        for i, a in enumerate(whole.arrays)
    )
    attributes = dict(whole.site.attributes)
    if "axis" in attributes:
        attributes["axis"] = 1 if attributes["axis"] == len(whole.site.shape) - 1 else 0
    site = replace(whole.site, attributes=attributes, shape=(len(rows), length))
    return replace(whole, site=site, arrays=arrays, got=whole.got.reshape(-1, length)[rows])


def _per_row(op: str) -> int:
    """How many inputs have a row for each row of the result."""
    return 2 if op in ("IntDiv", "RequantizeAdd") else 1
