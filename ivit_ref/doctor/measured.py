"""What a checkpoint does on images: in each profile, and in the released deployment, as it is and mended step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ivit_ref import dyadic
from ivit_ref.batches import accuracy, image_input, run_in_batches
from ivit_ref.doctor.finding import Finding, Place
from ivit_ref.events import Event, EventLog
from ivit_ref.interpreter import Interpreter
from ivit_ref.ir import Array, Graph, Quant
from ivit_ref.rewrite import with_claim

PROFILES = ("qat", "ideal", "paper", "tvm")
TOLERATED = 0.05
"""The share of classes that the float simulation and its integers may disagree on; 0 to 0.5 % were measured."""
WIDE = {"mean_bits": 64, "variance_bits": 64}


@dataclass(frozen=True)
class Variant:
    """A way to run the model; ``clash`` marks the one that no valid graph has."""

    name: str
    graph: Graph
    clash: bool = False


@dataclass(frozen=True)
class Measured:
    """What a variant answered for ``count`` images, and what happened on the way.

    ``correct``: as the labels say; ``agreeing``: as the given logits say, or those of ``qat`` where none are given.
    """

    name: str
    count: int
    correct: int | None
    agreeing: int | None
    events: tuple[Event, ...]

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        events = [{**vars(event), "index": list(event.index), "text": str(event)} for event in self.events]
        return {"name": self.name, "count": self.count, "correct": self.correct, "agreeing": self.agreeing, "events": events}


def measure(chosen: Sequence[Variant], given: Mapping[str, Array], source: str, done: Callable[[int], None]) -> list[Measured]:
    """Each variant on ``images``, held against ``labels`` and ``logits`` where they are given."""
    count = len(given["images"])
    rows: list[Measured] = []
    for variant in chosen:
        log = EventLog()
        interpreter = Interpreter(variant.graph, overflow="wrap", listeners=[log], clash=variant.clash)
        inputs = image_input(variant.graph, given, source)
        outputs = run_in_batches(interpreter, inputs, log, done=_behind(len(rows) * count, done))
        right = accuracy(outputs, given, source)
        rows.append(Measured(variant.name, count, right.get("correct"), right.get("agreeing"), tuple(log.events)))
        # Without logits of the simulation, those of qat are what the others are held against.
        given = {"logits": outputs["logits"], **given}
    return rows


def disagreement(row: Mapping[str, Any], reference: str) -> list[Finding]:
    """What it means when the graph and the logits that were given with the images answer differently."""
    if reference == "qat" or row["agreeing"] is None:
        return []
    apart = row["count"] - row["agreeing"]
    if apart <= 1 or apart <= TOLERATED * row["count"]:
        return []
    return [Finding("disagreement", (Place(row["name"], f"{apart} of {row['count']} classes are not those of {reference}"),))]


def _behind(first: int, done: Callable[[int], None]) -> Callable[[int], None]:
    """Counts on from those that earlier variants had."""
    return lambda count: done(first + count)


def variants(graph: Graph, *, deployed: bool, clash: bool) -> Iterator[Variant]:
    """The graph in each profile; then the released deployment as it is, and with one fault mended after the other.

    ``deployed``: whether the release deploys such a model; ``clash``: whether the checkpoint has a scale that the Shiftmax of
    the deployment does not emit.
    """
    tvm = graph.with_profile("tvm")
    wide = tvm.with_attributes("ILayerNorm", **WIDE)
    for profile in PROFILES[:-1]:
        yield Variant(profile, graph.with_profile(profile))
    if clash:
        claimed = with_claim(tvm, "Shiftmax", Quant(dyadic.power_of_two(-15)))
        yield Variant("the released deployment, as it is", claimed, clash=True)
        yield Variant("  with the scale mended (= tvm)", tvm)
        yield Variant("  and the LayerNorm widths, too", wide)
    elif deployed:
        yield Variant("the released deployment (= tvm)", tvm)
        yield Variant("  with the LayerNorm widths mended", wide)
    else:
        yield Variant("tvm", tvm)
        yield Variant("tvm, its LayerNorm widened", wide)
