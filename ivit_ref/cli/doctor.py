"""``ivit-ref doctor``: whether an I-ViT checkpoint can be deployed, what is wrong with it, and what mends that."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ivit_ref.arrays import NpzArrays, read_npz
from ivit_ref.batches import accuracy, image_input
from ivit_ref.checkpoints import State, read_state
from ivit_ref.cli import checkpoint
from ivit_ref.cli.common import Commands, Progress, add_json, report
from ivit_ref.cli.doctor_text import text
from ivit_ref.doctor import examine
from ivit_ref.doctor.against import UNEXPLAINED, compare
from ivit_ref.doctor.finding import Finding, Place
from ivit_ref.doctor.measured import disagreement, measure, variants
from ivit_ref.doctor.rules import RULES
from ivit_ref.errors import InputError, IvitError
from ivit_ref.interpreter import check_inputs
from ivit_ref.ir import Array, Graph
from ivit_ref.models import Config, ViTConfig, model_graph


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("doctor", help="say what is wrong with an I-ViT checkpoint", description=__doc__)
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    what = "run it: arrays 'images' and, for accuracy and agreement, 'labels' and 'logits'"
    parser.add_argument("--images", metavar="FILE.npz", help=what)
    what = "tensors of the PyTorch simulation for these images, from docs/dump_simulation.py"
    parser.add_argument("--against", metavar="FILE.npz", help=what)
    checkpoint.add_architecture(parser)
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it; 1 if something changes results."""
    if args.against is not None and args.images is None:
        raise InputError(f"--against: must come with --images, those that it was made from, but found {args.against!r} alone")
    given = None if args.images is None else read_npz(args.images)
    with checkpoint.counted(read_state(args.checkpoint)) as state:
        config = checkpoint.architecture(args, state)
        findings = examine(state, config)
        graph = _graph(args, state, config, findings)
    facts: dict[str, Any] = {
        "checkpoint": Path(args.checkpoint).name,
        "model": {"kind": type(config).__name__.removesuffix("Config"), **asdict(config)},
    }
    if given is not None:
        facts |= (
            {"not_run": "the integer graph cannot be built"} if graph is None else _run(args, graph, config, given, findings)
        )
    findings.sort(key=lambda f: list(RULES).index(f.rule))
    severities = {f.severity for f in findings}
    facts["verdict"] = "fault" if "fault" in severities else "deployment" if "deployment" in severities else "sound"
    facts["findings"] = [f.facts() for f in findings]
    report(args, facts, text(facts, findings))
    return int(facts["verdict"] != "sound" or any(row["verdict"] in UNEXPLAINED for row in facts.get("against", ())))


def _graph(args: argparse.Namespace, state: State, config: Config, findings: list[Finding]) -> Graph | None:
    """The integer graph; a refusal that no fault among the findings foretells is one more."""
    try:
        return model_graph(state, config, name=Path(args.checkpoint).name.partition(".")[0] or "model")
    except IvitError as error:
        if not any(f.severity == "fault" for f in findings):
            findings.append(Finding("refused", (Place("*", " ".join(str(error).split())),)))
        return None


def _run(
    args: argparse.Namespace, graph: Graph, config: Config, given: Mapping[str, Array], findings: list[Finding]
) -> dict[str, Any]:
    """What running it shows."""
    images = image_input(graph, given, args.images)
    check_inputs(graph, images)
    against = _against(args.against, graph, given["images"]) if args.against is not None else {}
    clash = any(f.rule == "scale-clash" for f in findings)
    chosen = variants(graph, deployed=isinstance(config, ViTConfig), clash=clash)
    progress = Progress(len(chosen) * len(given["images"]), "images")
    rows = measure(chosen, given, args.images, progress.update)
    progress.close()
    findings += disagreement(rows[0])
    reference = {name: array for name, array in given.items() if name == "logits"}
    facts: dict[str, Any] = {
        "agreement_with": "the given logits" if reference else "qat",
        "given_correct": accuracy(reference, given, args.images).get("correct"),
        "measured": [row.facts() for row in rows],
    }
    return facts | against


def _against(path: str, graph: Graph, images: Array) -> dict[str, Any]:
    progress = Progress(len(graph.nodes), "nodes")
    rows = compare(graph, NpzArrays(path), images, path, progress.update)
    progress.close()
    return {"against": [row.facts() for row in rows]}
