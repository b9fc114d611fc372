"""``ivit-ref ops``: the operators; with a name, that operator's text."""

from __future__ import annotations

import argparse
from textwrap import indent
from typing import Any, Literal, get_args, get_origin

from ivit_ref.cli.common import Commands, add_json, report, table
from ivit_ref.registry import REGISTRY, OpDef, lookup


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("ops", help="list the operators, or print what one means", description=__doc__)
    parser.add_argument("name", nargs="?", metavar="OPERATOR")
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it."""
    if args.name:
        op = lookup(args.name)
        called = signature(op)
        report(
            args, {"name": op.name, "text": op.text, "function": called}, f"{op.text}\n\nFrom Python\n{indent(called, '    ')}"
        )
        return 0
    listed = [
        {"name": op.name, "inputs": list(op.inputs), "attributes": sorted(op.attributes), "summary": summary(op.text)}
        for op in REGISTRY.values()
    ]
    report(args, {"operators": listed}, table([(op.name, summary(op.text)) for op in REGISTRY.values()]))
    return 0


def signature(op: OpDef) -> str:
    """The operator as a function, with what its attributes may be."""
    attributes = (f"{name}={allowed(hint)}" for name, hint in op.attributes.items())
    lines = [", ".join([*op.inputs, *(["*"] if op.attributes else [])]), *attributes]
    return f"ivit_ref.ops.{op.kernel.__name__}(\n    " + ",\n    ".join(lines) + "\n)"


def allowed(hint: Any) -> str:
    """An annotation in words: the choices, or the type."""
    if get_origin(hint) is Literal:
        return " | ".join(map(repr, get_args(hint)))
    return f"tuple of {get_args(hint)[0].__name__}" if get_origin(hint) is tuple else str(hint.__name__)


def summary(text: str) -> str:
    """The first sentence of an operator's text, without its name."""
    return text.splitlines()[0].partition(": ")[2]
