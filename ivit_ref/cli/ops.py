"""``ivit-ref ops``: the operators; with a name, that operator's text."""

from __future__ import annotations

import argparse

from ivit_ref.cli.common import Commands, add_json, report, table
from ivit_ref.registry import REGISTRY, lookup


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("ops", help="list the operators, or print what one means", description=__doc__)
    parser.add_argument("name", nargs="?", metavar="OPERATOR")
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it."""
    if args.name:
        text = lookup(args.name).text
        report(args, {"name": args.name, "text": text}, text)
        return 0
    facts = [
        {"name": op.name, "inputs": list(op.inputs), "attributes": sorted(op.attributes), "summary": summary(op.text)}
        for op in REGISTRY.values()
    ]
    report(args, {"operators": facts}, table([(op.name, summary(op.text)) for op in REGISTRY.values()]))
    return 0


def summary(text: str) -> str:
    """The first sentence of an operator's text, without its name."""
    return text.splitlines()[0].partition(": ")[2]
