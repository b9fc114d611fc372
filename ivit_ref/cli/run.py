"""``ivit-ref run``: images or arrays through a graph; accuracy, what ran, and how long it took."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from ivit_ref.arrays import read_npy, read_npz, same_file, write_npz
from ivit_ref.cli.common import Commands, Progress, add_import, add_json, add_profile, load_graph, report, table
from ivit_ref.errors import InputError, IntegerOverflow
from ivit_ref.events import OVERFLOWS, Event, EventLog
from ivit_ref.interpreter import Interpreter, check_inputs
from ivit_ref.ir import Array, Graph

BATCH = 32
"""Images in one go: small enough for the caches of a DeiT-Tiny, large enough to hide the cost of a call."""

SHOWN_EVENTS = 8


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("run", help="run images or arrays through a graph", description=__doc__)
    parser.add_argument("graph", metavar="GRAPH.onnx")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--images", metavar="FILE.npz", help="arrays 'images' and, for the accuracy, 'labels' and 'logits' to agree with"
    )
    source.add_argument("--input", action="append", metavar="NAME=FILE.npy", help="an input of the graph; may be repeated")
    parser.add_argument("--out", metavar="FILE.npz", help="write the outputs here")
    parser.add_argument("--intermediates", action="store_true", help="write every tensor with --out, not the outputs alone")
    parser.add_argument("--engine", choices=["fast", "spec"], default="fast", help="default: fast; both give the same integers")
    parser.add_argument("--overflow", choices=OVERFLOWS, default="raise", help="a value that leaves its width; default: raise")
    add_profile(parser, "run the graph in another profile; default of a model that is imported: ideal")
    add_import(parser)
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it."""
    graph = load_graph(args, args.graph)
    _check_out(args)
    given = read_npz(args.images) if args.images else {}
    inputs = _image_input(graph, given, args.images) if args.images else _named_inputs(args.input)
    log = EventLog()
    start = time.perf_counter()
    outputs = run_in_batches(graph, inputs, log, args)
    seconds = time.perf_counter() - start
    facts = _facts(args, graph, log, seconds, _count_and_batch(graph, inputs)[0])
    facts |= accuracy(outputs, given, args.images or "")
    if args.out is not None:
        write_npz(args.out, outputs)
        facts["out"] = args.out
    report(args, facts, _text(facts))
    return 0


def _check_out(args: argparse.Namespace) -> None:
    """What is read is never written over."""
    if args.intermediates and args.out is None:
        raise InputError("--intermediates: must come with --out FILE.npz, but there is none")
    sources = [args.graph, args.images, *(pair.partition("=")[2] for pair in args.input or ())]
    for source in filter(None, sources):
        if args.out is not None and (not args.out or same_file(args.out, source)):
            raise InputError(f"--out: must be a file other than those that are read, but found {args.out!r}")


def run_in_batches(graph: Graph, inputs: Mapping[str, Array], log: EventLog, args: argparse.Namespace) -> dict[str, Array]:
    """The outputs for everything, batch by batch where the graph is made for images."""
    interpreter = Interpreter(graph, overflow=args.overflow, listeners=[log], engine=args.engine)
    count, batch = _count_and_batch(graph, inputs)
    progress = Progress(count, "images")
    collected: dict[str, list[Array]] = {}
    for first in range(0, count, batch):
        log.offset = first
        part = {name: x[first : first + batch] for name, x in inputs.items()} if batch < count else inputs
        try:
            tensors = interpreter.run(part, intermediates=args.intermediates)
        except IntegerOverflow as error:
            raise error.located(error.op, error.node, first) from error
        for name, y in tensors.items():
            collected.setdefault(name, []).append(y)
        progress.update(min(first + batch, count))
    progress.close()
    return {name: _joined(graph, name, parts) for name, parts in collected.items()}


def _count_and_batch(graph: Graph, inputs: Mapping[str, Array]) -> tuple[int, int]:
    """How long the leading axis is, and how much of it goes at once: all, where not every input and output has that axis."""
    array = next(iter(inputs.values()))
    count = len(array) if array.ndim else 1
    leading = {v.type.shape[:1] for v in (*graph.inputs, *(graph.values[name] for name in graph.outputs))}
    dim = min(leading, key=str)[0] if len(leading) == 1 and leading != {()} else None
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


def accuracy(outputs: Mapping[str, Array], given: Mapping[str, Array], source: str) -> dict[str, Any]:
    """Top-1 accuracy against ``labels``, and how often the class is that of the given ``logits``."""
    floats = [y for y in outputs.values() if y.dtype == np.float32]
    logits = outputs.get("logits", floats[0] if len(floats) == 1 else None)
    if logits is None or logits.ndim != 2:
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


def _image_input(graph: Graph, given: Mapping[str, Array], source: str) -> dict[str, Array]:
    if "images" not in given:
        raise InputError(f"{source}: must hold an array 'images', but found {', '.join(given) or 'none'}")
    if len(graph.inputs) != 1:
        names = ", ".join(v.name for v in graph.inputs)
        raise InputError(f"--images: the graph must have one input (otherwise: --input NAME=FILE.npy), but found {names}")
    if given["images"].ndim == 0:
        raise InputError(f"{source}: 'images' must be {graph.inputs[0].type}, but found a single number")
    return {graph.inputs[0].name: given["images"]}


def _named_inputs(pairs: list[str]) -> dict[str, Array]:
    inputs: dict[str, Array] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not name or not path:
            raise InputError(f"--input: must be NAME=FILE.npy, but found {pair!r}")
        if name in inputs:
            raise InputError(f"--input: a name must be given once, but found {name!r} again")
        inputs[name] = read_npy(path)
    return inputs


def _facts(args: argparse.Namespace, graph: Graph, log: EventLog, seconds: float, count: int) -> dict[str, Any]:
    return {
        "graph": args.graph,
        "name": graph.name,
        "profile": graph.metadata.get("profile", "none"),
        "engine": args.engine,
        "overflow": args.overflow,
        "count": count,
        "operators": dict(Counter(node.op for node in graph.nodes)),
        "events": [_event_facts(event) for event in log.events],
        "seconds": round(seconds, 4),
    }


def _event_facts(event: Event) -> dict[str, Any]:
    return {**vars(event), "index": list(event.index), "text": str(event)}


def _text(facts: dict[str, Any]) -> str:
    count, seconds = facts["count"], facts["seconds"]
    rows = [("graph", f"{facts['graph']} ({facts['name']}), profile {facts['profile']}")]
    for key, name in (("correct", "top-1"), ("agreeing", "agreement")):
        if key in facts:
            what = "labels" if key == "correct" else "the class of the given logits"
            rows.append((name, f"{100 * facts[key] / count:.2f} % ({facts[key]} of {count}, {what})"))
    rows.append(("operators", ", ".join(f"{op} {n}" for op, n in sorted(facts["operators"].items()))))
    rows += _event_rows(facts["events"])
    each = f"{1000 * seconds / count:.2f} ms each"
    rows.append(("time", f"{seconds:.2f} s for {count}, {each}; engine {facts['engine']}, overflow {facts['overflow']}"))
    if "out" in facts:
        rows.append(("written", facts["out"]))
    return table(rows)


def _event_rows(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    if not events:
        return [("events", "none")]
    totals: Counter[str] = Counter()
    for event in events:
        totals[event["kind"]] += event["count"]
    rows = [("events", ", ".join(f"{kind} {n}" for kind, n in totals.most_common()))]
    largest = sorted(events, key=lambda event: -event["count"])[:SHOWN_EVENTS]
    rows += [("", event["text"]) for event in largest]
    hidden = len(events) - len(largest)
    return rows + ([("", f"and {hidden} more (see: --json)")] if hidden else [])
