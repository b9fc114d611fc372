"""``ivit-ref run``: images or arrays through a graph; accuracy, what ran, and how long it took."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import Any

from ivit_ref.arrays import read_npz, same_file, write_npz
from ivit_ref.batches import accuracy, count_and_batch, image_input, run_in_batches
from ivit_ref.cli.common import (
    Commands,
    Progress,
    add_import,
    add_json,
    add_profile,
    event_totals,
    load_graph,
    named_inputs,
    report,
    table,
)
from ivit_ref.errors import InputError
from ivit_ref.events import OVERFLOWS, EventLog
from ivit_ref.interpreter import Interpreter
from ivit_ref.ir import Graph

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
    inputs = image_input(graph, given, args.images) if args.images else named_inputs(args.input)
    log = EventLog()
    start = time.perf_counter()
    count, batch = count_and_batch(graph, inputs)
    progress = Progress(len(graph.nodes) * -(-count // batch), "nodes")
    interpreter = Interpreter(graph, overflow=args.overflow, listeners=[log, progress], engine=args.engine)
    outputs = run_in_batches(interpreter, inputs, log, intermediates=args.intermediates)
    progress.close()
    seconds = time.perf_counter() - start
    facts = _facts(args, graph, log, seconds, count)
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


def _facts(args: argparse.Namespace, graph: Graph, log: EventLog, seconds: float, count: int) -> dict[str, Any]:
    return {
        "graph": args.graph,
        "name": graph.name,
        "profile": graph.metadata.get("profile", "none"),
        "engine": args.engine,
        "overflow": args.overflow,
        "count": count,
        "operators": dict(Counter(node.op for node in graph.nodes)),
        "events": [event.facts() for event in log.events],
        "seconds": round(seconds, 4),
    }


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
    rows = [("events", event_totals(events))]
    largest = sorted(events, key=lambda event: -event["count"])[:SHOWN_EVENTS]
    rows += [("", event["text"]) for event in largest]
    hidden = len(events) - len(largest)
    return rows + ([("", f"and {hidden} more (see: --json)")] if hidden else [])
