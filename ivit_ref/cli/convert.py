"""``ivit-ref convert``: a checkpoint, a quantized ONNX model, or a graph in another profile, to an integer graph."""

from __future__ import annotations

import argparse
from pathlib import Path

from ivit_ref.arrays import file_digest, same_file
from ivit_ref.checkpoints import read_state
from ivit_ref.cli import checkpoint
from ivit_ref.cli.common import Commands, add_import, add_json, add_profile, asked_for, choices_of, exchanged, report, table
from ivit_ref.errors import InputError
from ivit_ref.ir import Graph
from ivit_ref.models import model_graph, model_named, random_state
from ivit_ref.onnx_io import is_native, read, save


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "convert", help="convert a checkpoint or a quantized model to an integer graph", description=__doc__
    )
    what = "a checkpoint, a quantized model (.onnx), or a graph to rewrite with --profile; none with --random-weights"
    parser.add_argument("paths", nargs="+", metavar="SOURCE OUT.onnx", help=what)
    checkpoint.add_architecture(parser)
    parser.add_argument("--random-weights", action="store_true", help="make weights up for --model, in realistic ranges")
    parser.add_argument("--seed", type=int, metavar="N", help="of the random weights; default: 0")
    add_profile(parser, "default for a checkpoint: qat, for a quantized model: ideal")
    add_import(parser)
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it."""
    source, out = _paths(args)
    if source is not None and same_file(source, out):
        raise InputError(f"OUT.onnx: must be a file other than the one that is read, but found {out!r}")
    if source is None:
        graph = _random(args)
    else:
        graph = _rewritten(args, source) if source.endswith(".onnx") else _from_checkpoint(args, source)
    save(graph, out)
    facts = {"out": out, "name": graph.name, "nodes": len(graph.nodes), **graph.metadata}
    report(args, facts, table([(key, str(value)) for key, value in facts.items()]))
    return 0


def _paths(args: argparse.Namespace) -> tuple[str | None, str]:
    """What to read, if anything, and what to write."""
    wanted = ["OUT.onnx"] if args.random_weights else ["SOURCE", "OUT.onnx"]
    if len(args.paths) != len(wanted):
        raise InputError(f"convert: must be given {' and '.join(wanted)}, but found {', '.join(args.paths)}")
    if args.seed is not None and not args.random_weights:
        raise InputError(f"--seed: goes with --random-weights only, but found {args.seed}")
    return (None if args.random_weights else args.paths[0]), args.paths[-1]


def _random(args: argparse.Namespace) -> Graph:
    _refuse(args, ("num_heads", "image_size", "dims"), "the weights are random")
    if args.model is None:
        raise InputError("--model: must name the architecture of the random weights, but there is none")
    seed = args.seed or 0
    if seed < 0:
        raise InputError(f"--seed: must not be negative, but found {seed}")
    config = model_named(args.model)
    with checkpoint.counted(random_state(config, seed)) as state:
        graph = model_graph(state, config, args.profile or "qat", name=f"{args.model}_random_{seed}")
    return exchanged(args, graph.with_metadata(model=args.model), "the weights are random")


def _rewritten(args: argparse.Namespace, source: str) -> Graph:
    _refuse(args, ("num_heads", "image_size", "model"), f"the source is {source}")
    model = read(source)
    if is_native(model):
        if args.profile is None and not choices_of(args):
            must = "--profile, --softmax, --gelu, --layernorm or --requantize: must say what to rewrite"
            raise InputError(f"{must}, but there is none for {source}")
        return asked_for(args, model, source)
    return asked_for(args, model, source).with_metadata(source_sha256=file_digest(source))


def _from_checkpoint(args: argparse.Namespace, source: str) -> Graph:
    _refuse(args, ("dims",), f"the source is {source}")
    with checkpoint.counted(read_state(source)) as state:
        config = checkpoint.architecture(args, state)
        graph = model_graph(state, config, args.profile or "qat", name=Path(source).name.partition(".")[0] or "model")
    # The name of a file may be no text.
    facts = {"source": Path(source).name.encode(errors="backslashreplace").decode(), "source_sha256": file_digest(source)}
    told = graph.with_metadata(**facts, **({"model": args.model} if args.model else {}))
    return exchanged(args, told, f"the source is {source}")


def _refuse(args: argparse.Namespace, options: tuple[str, ...], why: str) -> None:
    """Options that another kind of source has."""
    for option in options:
        if getattr(args, option) is not None:
            raise InputError(f"--{option.replace('_', '-')}: goes with another kind of source, but {why}")
