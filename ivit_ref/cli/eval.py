"""``ivit-ref eval``: a model with each combination of methods for softmax, GELU and LayerNorm: what each of them costs."""

from __future__ import annotations

import argparse
from typing import Any, cast

from ivit_ref.arrays import read_npz
from ivit_ref.batches import count_and_batch, image_input
from ivit_ref.cli.common import Commands, Progress, add_import, add_json, add_profile, event_totals, load_graph, report
from ivit_ref.errors import InputError
from ivit_ref.events import OVERFLOWS
from ivit_ref.methods import Role
from ivit_ref.study.ablation import VARIED, Ablation, Outcome, combinations, present
from ivit_ref.text import columns


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "eval", help="what each method for softmax, GELU, LayerNorm costs a model", description=__doc__
    )
    parser.add_argument("graph", metavar="GRAPH.onnx")
    what = "arrays 'images' and, for the accuracy, 'labels' and 'logits' to agree with"
    parser.add_argument("--images", metavar="FILE.npz", required=True, help=what)
    vary = f"every combination of the methods of these roles, of {','.join(VARIED)}; default: the graph as it is"
    parser.add_argument("--vary", metavar="ROLE[,ROLE]", help=vary)
    parser.add_argument("--overflow", choices=OVERFLOWS, default="wrap", help="a value that leaves its width; default: wrap")
    add_profile(parser, "the profile of I-ViT's own operators; default of a model that is imported: ideal")
    add_import(parser)
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it."""
    graph = load_graph(args, args.graph)
    varied = _varied(args.vary, present(graph))
    given = read_npz(args.images)
    inputs = image_input(graph, given, args.images)
    count, batch = count_and_batch(graph, inputs)
    chosen = list(combinations(graph, varied))
    progress = Progress((len(chosen) + 1) * len(graph.nodes) * -(-count // batch), "nodes")
    ablation = Ablation(graph, inputs, given, args.images, overflow=args.overflow, listeners=[progress])
    outcomes = [ablation.outcome(methods) for methods in chosen]
    progress.close()
    facts = {"graph": args.graph, "profile": graph.metadata.get("profile", "none"), "count": count}
    facts |= {"overflow": args.overflow, "combinations": [outcome.facts() for outcome in outcomes]}
    report(args, facts, _text(facts, outcomes))
    return 0


def _varied(text: str | None, found: dict[Role, str]) -> list[Role]:
    """The roles that ``--vary`` names."""
    roles = text.split(",") if text is not None else []
    for role in roles:
        if role not in found or roles.count(role) > 1:
            allowed = ", ".join(found) or "none"
            raise InputError(f"--vary: must name roles of the graph's operators, each once, of {allowed}, but found {role!r}")
    return cast("list[Role]", roles)


def _text(facts: dict[str, Any], outcomes: list[Outcome]) -> str:
    roles = [role for role in VARIED if role in outcomes[0].methods]
    measured = {"correct": "top-1", "agreeing": "agree", "as_float": "as float"}
    shown = {key: name for key, name in measured.items() if any(key in o.results for o in outcomes)}
    rows = [[*roles, *shown.values(), "logit error", "events"]]
    rows += [[*(o.methods[role] for role in roles), *_results(o, shown, facts["count"])] for o in outcomes]
    head = f"{facts['count']} images, {facts['graph']}, profile {facts['profile']}"
    return "\n".join([head, "", *columns(rows, (*range(len(roles)), -1))])


def _results(outcome: Outcome, shown: dict[str, str], count: int) -> list[str]:
    if outcome.refused:
        return [*("-" for _ in shown), "-", f"refused: {outcome.refused}"]
    parts = [f"{100 * outcome.results[key] / count:.2f} %" for key in shown]
    return [*parts, f"{100 * outcome.results['error']:.2f} %", event_totals([e.facts() for e in outcome.events])]
