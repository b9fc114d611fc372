"""``ivit-ref convert``: a checkpoint, a quantized ONNX model, or a graph in another profile, to an integer graph."""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path

from ivit_ref.arrays import same_file
from ivit_ref.checkpoints import read_state
from ivit_ref.cli.common import Commands, add_import, add_json, add_profile, asked_for, choices_of, report, table
from ivit_ref.errors import InputError
from ivit_ref.ir import Graph
from ivit_ref.models import vit_graph
from ivit_ref.onnx_io import is_native, read, save


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "convert", help="convert a checkpoint or a quantized model to an integer graph", description=__doc__
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="a state dict (.npz), a quantized model (.onnx), or a graph to rewrite with --profile"
    )
    parser.add_argument("out", metavar="OUT.onnx")
    parser.add_argument("--num-heads", type=int, metavar="H", help="attention heads, which a state dict does not show")
    parser.add_argument("--image-size", metavar="HxW", help="needed only where the image is not square in patches")
    add_profile(parser, "default for a checkpoint: qat, for a quantized model: ideal")
    add_import(parser)
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it."""
    if same_file(args.source, args.out):
        raise InputError(f"OUT.onnx: must be a file other than the one that is read, but found {args.out!r}")
    graph = _rewritten(args) if args.source.endswith(".onnx") else _from_checkpoint(args)
    save(graph, args.out)
    facts = {"out": args.out, "name": graph.name, "nodes": len(graph.nodes), **graph.metadata}
    report(args, facts, table([(key, str(value)) for key, value in facts.items()]))
    return 0


def _rewritten(args: argparse.Namespace) -> Graph:
    for option in ("num_heads", "image_size"):
        if getattr(args, option) is not None:
            raise InputError(f"--{option.replace('_', '-')}: goes with a checkpoint only, but the source is {args.source}")
    model = read(args.source)
    if is_native(model):
        if args.profile is None:
            raise InputError(f"--profile: must name the profile to rewrite a graph in, but there is none for {args.source}")
        return asked_for(args, model, args.source)
    return asked_for(args, model, args.source).with_metadata(source_sha256=_digest(args.source))


def _from_checkpoint(args: argparse.Namespace) -> Graph:
    for option in ("dims", *choices_of(args)):
        if getattr(args, option):
            raise InputError(f"--{option}: goes with a quantized model only, but the source is {args.source}")
    state = read_state(args.source)
    if args.num_heads is None:
        raise InputError(
            f"--num-heads: must be given, since a state dict does not show it, but there is none for {args.source}"
        )
    image = _image_size(args.image_size) if args.image_size else None
    graph = vit_graph(state, args.num_heads, args.profile or "qat", image=image, name=Path(args.source).stem)
    return graph.with_metadata(source=Path(args.source).name, source_sha256=_digest(args.source))


def _image_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if not match:
        raise InputError(f"--image-size: must be HxW, for example 224x224, but found {text!r}")
    return int(match[1]), int(match[2])


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
