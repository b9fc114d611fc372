"""Many images through a graph, batch by batch, and how many of them it gets right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ivit_ref.errors import InputError, IntegerOverflow
from ivit_ref.events import EventLog
from ivit_ref.interpreter import Interpreter, check_inputs
from ivit_ref.ir import Array, Graph

BATCH = 32
"""Images in one go: small enough for the caches of a DeiT-Tiny, large enough to hide the cost of a call."""


def run_in_batches(
    interpreter: Interpreter,
    inputs: Mapping[str, Array],
    log: EventLog,
    *,
    intermediates: bool = False,
    done: Callable[[int], None] = lambda count: None,
) -> dict[str, Array]:
    """The outputs for everything, batch by batch where the graph is made for images.

    ``log`` listens to the interpreter: its offset follows the batches. ``done`` hears how many images are through.
    """
    graph = interpreter.graph
    count, batch = count_and_batch(graph, inputs)
    collected: dict[str, list[Array]] = {}
    for first in range(0, count, batch):
        log.offset = first
        part = {name: x[first : first + batch] for name, x in inputs.items()} if batch < count else inputs
        try:
            tensors = interpreter.run(part, intermediates=intermediates)
        except IntegerOverflow as error:
            raise error.located(error.op, error.node, first) from error
        for name, y in tensors.items():
            collected.setdefault(name, []).append(y)
        done(min(first + batch, count))
    return {name: _joined(graph, name, parts) for name, parts in collected.items()}


def count_and_batch(graph: Graph, inputs: Mapping[str, Array]) -> tuple[int, int]:
    """How long the leading axis is, and how much of it goes at once: all, where not every input and output has that axis."""
    array = next(iter(inputs.values()))
    count = len(array) if array.ndim else 1
    leading = {v.type.shape[:1] for v in (*graph.inputs, *(graph.values[name] for name in graph.outputs))}
    dim = next(iter(leading))[0] if len(leading) == 1 and leading != {()} else None
    batch = BATCH if isinstance(dim, str) else dim or count
    if count == 0:
        check_inputs(graph, inputs)
    if isinstance(dim, int) and count % dim:
        raise InputError(
            f"inputs: must be a multiple of the {dim} that the graph takes at once (see: --dims), but found {count}"
        )
    return count, batch


def _joined(graph: Graph, name: str, parts: list[Array]) -> Array:
    """The tensors of every batch; one that has no batch axis is the same each time."""
    batched = graph.values[name].type.shape[:1] == graph.inputs[0].type.shape[:1]
    return np.concatenate(parts) if batched and len(parts) > 1 else parts[0]


def logits_of(outputs: Mapping[str, Array]) -> Array | None:
    """The output ``logits``, or the only one in float32; None where that is not a row for each image."""
    floats = [y for y in outputs.values() if y.dtype == np.float32]
    logits = outputs.get("logits", floats[0] if len(floats) == 1 else None)
    return None if logits is None or logits.ndim != 2 else logits


def accuracy(outputs: Mapping[str, Array], given: Mapping[str, Array], source: str) -> dict[str, Any]:
    """Top-1 accuracy against ``labels``, and how often the class is that of the given ``logits``."""
    logits = logits_of(outputs)
    if logits is None:
        return {}
    answer = logits.argmax(axis=1)
    facts: dict[str, Any] = {}
    if "labels" in given:
        facts["correct"] = _count(answer, _labels(given["labels"], logits, f"{source}: 'labels'"))
    if "logits" in given:
        reference = given["logits"]
        if reference.shape != logits.shape:
            raise InputError(f"{source}: 'logits' must have shape {list(logits.shape)}, but found {list(reference.shape)}")
        if reference.dtype.kind not in "fiu" or not np.isfinite(reference).all():
            raise InputError(f"{source}: 'logits' must be finite numbers, but found {reference.dtype} or NaN or infinity")
        facts["agreeing"] = _count(answer, reference.argmax(axis=1))
    return facts


def _labels(labels: Array, logits: Array, what: str) -> Array:
    count, classes = logits.shape
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise InputError(f"{what} must be {count} integers, but found {labels.dtype}{list(labels.shape)}")
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        raise InputError(f"{what} must be classes from 0 to {classes - 1}, but found {labels[wrong][0]}")
    return labels


def _count(answer: Array, wanted: Array) -> int:
    return int(np.count_nonzero(answer == wanted))


def image_input(graph: Graph, given: Mapping[str, Array], source: str) -> dict[str, Array]:
    """The array ``images`` of a file, as the one input of a graph."""
    if "images" not in given:
        raise InputError(f"{source}: must hold an array 'images', but found {', '.join(given) or 'none'}")
    if len(graph.inputs) != 1:
        names = ", ".join(v.name for v in graph.inputs)
        raise InputError(f"--images: the graph must have one input (otherwise: --input NAME=FILE.npy), but found {names}")
    if given["images"].ndim == 0:
        raise InputError(f"{source}: 'images' must be {graph.inputs[0].type}, but found a single number")
    return {graph.inputs[0].name: given["images"]}
