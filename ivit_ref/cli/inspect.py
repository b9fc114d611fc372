"""``ivit-ref inspect``: a graph as text, one line a node, with types, scales and dyadic numbers."""

from __future__ import annotations

import argparse

from ivit_ref.cli.common import Commands, add_json, report
from ivit_ref.onnx_io import load
from ivit_ref.text import format_graph, graph_facts


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("inspect", help="print a graph", description=__doc__)
    parser.add_argument("graph", metavar="GRAPH.onnx")
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it."""
    graph = load(args.graph)
    report(args, graph_facts(graph), format_graph(graph))
    return 0
