"""What several commands share: options, JSON, progress."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, get_args

from onnx import ModelProto

from ivit_ref.arrays import read_npy
from ivit_ref.errors import InputError
from ivit_ref.events import Event
from ivit_ref.exchange import with_methods
from ivit_ref.importer import Choices
from ivit_ref.importer.choices import Gelu, LayerNorm, Softmax
from ivit_ref.integers import Ints
from ivit_ref.ir import Array, Graph, Node
from ivit_ref.methods import ROLES, Role, methods
from ivit_ref.onnx_io import graph_of, is_native, read
from ivit_ref.profiles import PROFILES

IMPORTED: Mapping[Role, tuple[str, ...]] = {
    "softmax": get_args(Softmax),
    "gelu": get_args(Gelu),
    "layernorm": get_args(LayerNorm),
}
"""What an import itself may choose for a float operator."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_profile(parser: argparse.ArgumentParser, what: str) -> None:
    """The option ``--profile``."""
    parser.add_argument("--profile", choices=list(PROFILES), metavar="NAME", help=f"{what}: {', '.join(PROFILES)}")


def add_import(parser: argparse.ArgumentParser) -> None:
    """The options for a quantized model that is imported."""
    parser.add_argument("--dims", nargs="+", action="extend", metavar="NAME=LENGTH", help="lengths of named axes: --dims N=1")
    group = parser.add_argument_group("methods, which take the place of the operators of these roles")
    for role in ROLES:
        allowed = tuple(dict.fromkeys((*methods(role), *IMPORTED.get(role, ()))))
        imported = [name for name in allowed if name not in methods(role)]
        only = f"{', '.join(imported)}: for a model that is imported" if imported else None
        group.add_argument(f"--{role}", choices=allowed, metavar="|".join(allowed), help=only)


def dims_of(args: argparse.Namespace) -> dict[str, int]:
    """The lengths that ``--dims`` gives."""
    dims: dict[str, int] = {}
    for pair in args.dims or ():
        name, _, length = pair.rpartition("=")
        if not name or not re.fullmatch(r"[0-9]{1,9}", length) or name in dims:
            raise InputError(f"--dims: must be NAME=LENGTH, each name once, but found {pair!r}")
        dims[name] = int(length)
    return dims


def choices_of(args: argparse.Namespace) -> dict[Role, str]:
    """The methods that the options choose; nothing where none is given."""
    given = {role: getattr(args, role) for role in ROLES}
    return {role: name for role, name in given.items() if name is not None}


def load_graph(args: argparse.Namespace, path: str) -> Graph:
    """The integer graph of a file: one of our own in the profile that is asked for, or a quantized model, imported."""
    return asked_for(args, read(path), path)


def asked_for(args: argparse.Namespace, model: ModelProto, path: str) -> Graph:
    """The same for a file that has been read."""
    given = choices_of(args)
    if not is_native(model):
        chosen = {role: name for role, name in given.items() if name in IMPORTED.get(role, ())}
        profile = {"profile": args.profile} if args.profile else {}
        graph = graph_of(model, path, choices=Choices(**chosen, **profile), dims=dims_of(args))  # type: ignore[arg-type]
        others = {role: name for role, name in given.items() if role not in chosen}
        return with_methods(graph, others) if others else graph
    graph = graph_of(model, path, choices=None, dims=dims_of(args))
    return exchanged(args, graph.with_profile(args.profile) if args.profile else graph, f"{path} has operators of our own")


def exchanged(args: argparse.Namespace, graph: Graph, why: str) -> Graph:
    """The graph with the methods that the options choose; ``why`` it has no operator that only an import chooses."""
    chosen = choices_of(args)
    for role, name in chosen.items():
        if name not in methods(role):
            raise InputError(f"--{role}: {name} is for a model that is imported, but {why}")
    return with_methods(graph, chosen) if chosen else graph


def named_inputs(pairs: list[str]) -> dict[str, Array]:
    """The arrays that ``--input NAME=FILE.npy`` gives."""
    inputs: dict[str, Array] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not name or not path:
            raise InputError(f"--input: must be NAME=FILE.npy, but found {pair!r}")
        if name in inputs:
            raise InputError(f"--input: a name must be given once, but found {name!r} again")
        inputs[name] = read_npy(path)
    return inputs


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option ``--json``."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def report(args: argparse.Namespace, facts: dict[str, Any], text: str) -> None:
    """Print one or the other on stdout; whoever stops reading early does not change the exit status."""
    try:
        print(json.dumps(facts, indent=2) if args.json else text, flush=True)
    except BrokenPipeError:
        silence()


def silence() -> None:
    """Nobody reads stdout any more: what is left goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def counted(count: int, what: str) -> str:
    """``1 case``, ``2 cases``."""
    return f"{count} {what}" + ("" if count == 1 else "s")


def table(rows: list[tuple[str, str]]) -> str:
    """Lines of a name and what is said of it."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def event_totals(events: Sequence[dict[str, Any]]) -> str:
    """How many events of each kind, the most frequent first."""
    totals: Counter[str] = Counter()
    for event in events:
        totals[event["kind"]] += event["count"]
    return ", ".join(f"{kind} {n}" for kind, n in totals.most_common()) or "none"


class Progress:
    """A line on the terminal that counts, from the first second on; silent where stderr is not a terminal."""

    def __init__(self, total: int, unit: str) -> None:
        self.total, self.unit, self.done = total, unit, 0
        self.start = time.monotonic()
        self.shown = False

    def update(self, done: int) -> None:
        """So many are done."""
        if sys.stderr.isatty() and (time.monotonic() - self.start > 1 or self.shown):
            self.shown = True
            print(f"\r{done} {f'of {self.total} ' if self.total else ''}{self.unit}", end="", file=sys.stderr, flush=True)

    def node_started(self, node: Node) -> None:
        """Nothing to count yet."""

    def node_finished(self, node: Node, outputs: dict[str, Ints]) -> None:
        """As a listener of a run it counts nodes."""
        self.done += 1
        self.update(self.done)

    def event(self, event: Event) -> None:
        """Events are others' business."""

    def close(self) -> None:
        """Clear the line."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
