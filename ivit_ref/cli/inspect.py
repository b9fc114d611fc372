"""``ivit-ref inspect``: a graph as text, one line a node; with ``--coverage``, what an import makes of a model."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

from ivit_ref.cli.common import Commands, add_import, add_json, add_profile, choices_of, dims_of, load_graph, report, table
from ivit_ref.importer import Choices, Imported
from ivit_ref.importer.choices import Entry
from ivit_ref.onnx_io import examine, graph_of, is_native, read
from ivit_ref.text import format_graph, graph_facts

NOT_REACHED = "not reached"
SHOWN = 20
"""How many chosen scales are shown."""


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("inspect", help="print a graph, or what an import makes of a model", description=__doc__)
    parser.add_argument("graph", metavar="GRAPH.onnx")
    parser.add_argument(
        "--coverage", action="store_true", help="what becomes of each node, which scales were chosen, what is refused"
    )
    add_profile(parser, "print the graph in another profile")
    add_import(parser)
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it; 1 if a node has no integer form."""
    if args.coverage:
        return _coverage(args)
    graph = load_graph(args, args.graph)
    report(args, graph_facts(graph), format_graph(graph))
    return 0


def _coverage(args: argparse.Namespace) -> int:
    model = read(args.graph)
    if is_native(model):
        graph = graph_of(model, args.graph, choices=None, dims=dims_of(args))
        facts: dict[str, Any] = {"graph": args.graph, "native": True, "nodes": len(graph.nodes), "refused": 0}
        report(args, facts, table([("graph", f"{args.graph}: all {len(graph.nodes)} nodes are operators of ai.ivit")]))
        return 0
    profile = {"profile": args.profile} if args.profile else {}
    found = examine(model, args.graph, choices=Choices(**choices_of(args), **profile), dims=dims_of(args))  # type: ignore[arg-type]
    report(args, _facts(args.graph, found), _text(args.graph, found))
    return 0 if found.graph is not None else 1


def _facts(path: str, found: Imported) -> dict[str, Any]:
    return {
        "graph": path,
        "native": False,
        "nodes": [entry.facts() for entry in found.report.entries.values()],
        "chosen": found.report.chosen,
        "refused": len(found.report.refused) + bool(found.report.unmade),
        "unmade": found.report.unmade,
    }


def _text(path: str, found: Imported) -> str:
    entries, refused = found.report.entries.values(), found.report.refused
    beyond = sum(e.note.startswith(NOT_REACHED) for e in entries)
    verdict = f"{len(refused)} refused, {beyond} not reached" if refused else "every node has an integer form"
    rows = [("model", f"{path}: {len(entries)} nodes, {verdict}")]
    rows += [("refused", f"node {e.name!r} ({e.type}): {e.refused}") for e in refused]
    rows += [("refused", found.report.unmade)] if found.report.unmade else []
    groups = Counter((e.type, _became(e)) for e in entries if not e.refused)
    rows += [(f"{n} {type_}", becomes) for (type_, becomes), n in sorted(groups.items())]
    chosen = found.report.chosen
    rows += [("chosen", line) for line in chosen[:SHOWN]]
    if len(chosen) > SHOWN:
        rows.append(("chosen", f"and {len(chosen) - SHOWN} more (see: --json)"))
    return table(rows)


def _became(entry: Entry) -> str:
    """The operators of a node, or why there are none."""
    if entry.note.startswith(NOT_REACHED):
        return NOT_REACHED
    return ", ".join(Counter(entry.operators)) or entry.note
