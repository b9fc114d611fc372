"""What a checkpoint does on images: in each profile, and in the released deployment, as it is and mended step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.batches import accuracy, image_input, run_in_batches
from ivit_ref.doctor.finding import Finding, Place
from ivit_ref.errors import ConstraintError, GraphError, ScaleError
from ivit_ref.events import Event, EventLog
from ivit_ref.interpreter import Interpreter
from ivit_ref.ir import Array, Graph, Quant
from ivit_ref.rewrite import with_claim

TOLERATED = 0.05
"""The share of classes that the float simulation and its integers may disagree on; 0 to 0.5 % were measured."""
WIDE = {"mean_bits": 64, "variance_bits": 64}


@dataclass(frozen=True)
class Variant:
    """A way to run the model; ``clash`` marks the one that no valid graph has."""

    name: str
    make: Callable[[], Graph]
    clash: bool = False


@dataclass(frozen=True)
class Measured:
    """What a variant answered for ``count`` images, and what happened on the way.

    ``correct``: as the labels say; ``agreeing``: as the given logits say, or those of ``qat`` where none are given. ``stopped``
    says why it gave no answer.
    """

    name: str
    count: int
    correct: int | None
    agreeing: int | None
    stopped: str | None
    events: tuple[Event, ...]

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return vars(self) | {"events": [event.facts() for event in self.events]}


def variants(graph: Graph, *, deployed: bool, clash: bool) -> list[Variant]:
    """The graph in each profile; then the released deployment as it is, and with one fault mended after the other.

    ``deployed``: whether the release deploys such a model; ``clash``: whether the checkpoint has a scale that the Shiftmax of
    the deployment does not emit.
    """

    @cache
    def tvm() -> Graph:
        return graph.with_profile("tvm")

    def wide() -> Graph:
        return tvm().with_attributes("ILayerNorm", **WIDE)

    rows = [Variant(profile, partial(graph.with_profile, profile)) for profile in ("qat", "ideal", "paper")]
    if clash:
        believed = Quant(dyadic.power_of_two(-15))
        rows.append(Variant("the released deployment, as it is", lambda: with_claim(tvm(), "Shiftmax", believed), clash=True))
        return [*rows, Variant("- its Shiftmax scale mended (= tvm)", tvm), Variant("- its LayerNorm widths mended, too", wide)]
    name = "the released deployment (= tvm)" if deployed else "tvm"
    return [*rows, Variant(name, tvm), Variant("- its LayerNorm widths mended", wide)]


def measure(chosen: Sequence[Variant], given: Mapping[str, Array], source: str, done: Callable[[int], None]) -> list[Measured]:
    """Each variant on ``images``, held against ``labels`` and ``logits`` where they are given."""
    rows: list[Measured] = []
    reference = given
    for variant in chosen:
        row, logits = _measure(variant, reference, source, _behind(sum(row.count for row in rows), done))
        rows.append(row)
        if logits is not None:  # without logits of the simulation, those of qat are what the others are held against
            reference = {"logits": logits, **reference}
    return rows


def _measure(
    variant: Variant, given: Mapping[str, Array], source: str, done: Callable[[int], None]
) -> tuple[Measured, Array | None]:
    """One variant, and its logits if it gives any."""
    log, count = EventLog(), len(given["images"])
    try:
        graph = variant.make()
        interpreter = Interpreter(graph, overflow="wrap", listeners=[log], clash=variant.clash)
        outputs = run_in_batches(interpreter, image_input(graph, given, source), log, done=done)
    except (ConstraintError, GraphError, ScaleError) as error:
        if not np.isfinite(given["images"]).all():  # no variant can answer
            raise
        stopped = " ".join(str(error).split())
        return Measured(variant.name, count, None, None, stopped, tuple(log.events)), None
    right = accuracy(outputs, given, source)
    answers = right.get("correct"), right.get("agreeing")
    return Measured(variant.name, count, *answers, None, tuple(log.events)), outputs["logits"]


def _behind(first: int, done: Callable[[int], None]) -> Callable[[int], None]:
    """Counts on from those that earlier variants had."""
    return lambda count: done(first + count)


def disagreement(row: Measured) -> list[Finding]:
    """What it means when the graph and the logits that were given with the images answer differently."""
    apart = row.count - (row.count if row.agreeing is None else row.agreeing)
    if apart <= 1 or apart <= TOLERATED * row.count:
        return []
    return [Finding("disagreement", (Place(row.name, f"{apart} of {row.count} classes are not those of the given logits"),))]
