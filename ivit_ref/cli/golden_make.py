"""``ivit-ref golden make``: write golden cases, each computed twice."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ivit_ref.arrays import is_file, read_npz
from ivit_ref.batches import image_input
from ivit_ref.cli.common import Progress, add_import, add_json, choices_of, counted, load_graph, named_inputs, report
from ivit_ref.errors import FileError, InputError
from ivit_ref.golden.case import Case, evaluated
from ivit_ref.golden.directed import refusals
from ivit_ref.golden.make import MODELS, check_random, made_case, suite_cases
from ivit_ref.golden.manifest import MANIFEST, write_manifest
from ivit_ref.golden.read import inside, read_cases
from ivit_ref.golden.recipe import published
from ivit_ref.golden.schema import read_json
from ivit_ref.golden.suite import write_suite
from ivit_ref.golden.write import make_folder, write_case
from ivit_ref.interpreter import check_inputs
from ivit_ref.ir import Array, Graph
from ivit_ref.part import matching, part
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY

TREE = "golden"
RANDOM_ROWS = 24
FOR_BOTH = ("tensors", "count")
"""Options for --graph and for --model."""


def register(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("make", help="write cases, each computed twice", description=__doc__)
    what = f"the tree of suites, default: {TREE}; a case that is there already is never overwritten"
    parser.add_argument("out", nargs="?", default=TREE, metavar="DIR", help=what)
    what = "suites of operators; default, where there is no --graph and no --model: all"
    parser.add_argument("--suite", nargs="+", choices=list(REGISTRY), metavar="OPERATOR", help=what)
    what = "the profiles of suites, default all; or the profiles that a graph is rewritten in, default its own"
    parser.add_argument("--profile", nargs="+", choices=list(PROFILES), metavar="NAME", help=what)
    what = f"random vectors behind the directed ones, for each operator and profile; default: {RANDOM_ROWS}"
    parser.add_argument("--random", type=int, metavar="N", help=what)
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of random vectors, or of a model's weights and images; default: 0"
    )
    parser.add_argument("--digests", action="store_true", help="of random vectors and of --model keep seed and digests alone")
    parser.add_argument("--graph", metavar="FILE.onnx", help="a case of a whole graph")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a case of a published model with random weights, on random images; default profile: qat",
    )
    parser.add_argument("--images", metavar="FILE.npz", help="with --graph: an array 'images'")
    parser.add_argument("--input", action="append", metavar="NAME=FILE.npy", help="with --graph: an input; may be repeated")
    parser.add_argument(
        "--count", type=int, metavar="N", help="with --graph or --model: how many images; default: 1, or what the graph takes"
    )
    parser.add_argument("--nodes", metavar="PATTERN", help="with --graph: only the nodes of such names, as 'blocks.0.*'")
    what = "with --graph or --model: whose bytes are kept, or a pattern of names; default: all"
    parser.add_argument("--tensors", metavar="all|outputs|PATTERN", help=what)
    parser.add_argument("--name", metavar="NAME", help="what the case is called; default: as the graph's file")
    add_import(parser)
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it."""
    _check(args)
    root = Path(args.out)
    _check_tree(root)
    suites: dict[str, int] = {}
    progress = Progress(0, "cases")
    for case in _cases(args):
        _open_tree(root)
        write_case(case, inside(root, root / case.suite))
        suites[case.suite] = suites.get(case.suite, 0) + 1
        progress.update(sum(suites.values()))
    for suite in suites:
        write_suite(root / suite, suite, list(read_cases(root / suite)), refusals(suite) if suite in REGISTRY else ())
    write_manifest(root)
    progress.close()
    facts = {"out": args.out, "cases": sum(suites.values()), "suites": suites}
    report(args, facts, f"{counted(facts['cases'], 'case')} in {counted(len(suites), 'suite')}, computed twice: {args.out}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Options that do not go together."""
    if sum(x is not None for x in (args.suite, args.graph, args.model)) > 1:
        raise InputError("golden make: must have one of --suite, --graph and --model, but found more")
    for option in ("images", "input", "nodes", "name", *FOR_BOTH):
        meant = args.graph or (args.model and option in FOR_BOTH)
        if getattr(args, option) is not None and not meant:
            raise InputError(f"--{option}: is for --graph{' or --model' * (option in FOR_BOTH)}, but there is none")
    if args.digests and (args.graph or args.tensors):
        raise InputError("--digests: is for what can be made again, random vectors or --model, and keeps no tensors")
    if args.graph and bool(args.images) == bool(args.input):
        found = "both" if args.images else "neither"
        raise InputError(f"--graph: must come with --images or --input, but found {found}")
    if args.graph is not None and (args.random, args.seed) != (None, None):
        raise InputError("--random and --seed: are for what is made up, but --graph is given")
    if args.model is not None and args.random is not None:
        raise InputError("--random: is for suites, but --model is given")
    if args.graph is None and (args.dims or choices_of(args)):
        raise InputError("--dims, --softmax, --gelu and --layernorm: are for --graph, but there is none")
    args.random = RANDOM_ROWS if args.random is None else args.random
    args.seed = args.seed or 0
    check_random(args.random, args.seed, "--")
    if args.count is not None and args.count < 1:
        raise InputError(f"--count: must be at least 1, but found {args.count}")
    if args.name is not None and not re.fullmatch(r"[A-Za-z0-9_]{1,80}", args.name):
        raise InputError(f"--name: must be letters, digits and underscores, but found {args.name!r}")
    if Path(args.out).exists() and not Path(args.out).is_dir():
        raise FileError(f"{args.out}: must be a folder, or not be there, but is a file")


def _check_tree(root: Path) -> None:
    """What is written to is a tree of goldens or new."""
    if is_file(root / MANIFEST):
        read_json(inside(root, root / MANIFEST), "manifest")
    elif root.is_dir() and any(root.iterdir()):
        raise FileError(f"{root}: must be a tree of golden cases, or a new folder, but it has files and no {MANIFEST}")


def _open_tree(root: Path) -> None:
    """A new tree has a manifest from the first, so that an interrupted run can go on."""
    if not is_file(root / MANIFEST):
        make_folder(root)
        write_manifest(root)


def _cases(args: argparse.Namespace) -> Iterator[Case]:
    if args.graph is not None:
        return _graph_cases(args)
    return _model_cases(args) if args.model is not None else _suite_cases(args)


def _suite_cases(args: argparse.Namespace) -> Iterator[Case]:
    for op in dict.fromkeys(args.suite or REGISTRY):
        yield from suite_cases(op, dict.fromkeys(args.profile or PROFILES), args.random, args.seed, digests=args.digests)


def _model_cases(args: argparse.Namespace) -> Iterator[Case]:
    count = args.count or 1
    for profile in dict.fromkeys(args.profile or ("qat",)):
        graph, inputs = published(args.model, profile, args.seed, count, "--count")
        recipe = {"kind": "model", "seed": args.seed, "count": count, "name": args.model}
        comment = f"{args.model} with random weights, seed {args.seed}"
        tensors = None if args.digests else args.tensors or "all"
        yield _case(graph, inputs, recipe, f"test_{args.model}_{profile}", comment, tensors)


def _graph_cases(args: argparse.Namespace) -> Iterator[Case]:
    """The graph, or a part of it, in each profile that is asked for."""
    chosen, args.profile = dict.fromkeys(args.profile or [None]), None
    graph = load_graph(args, args.graph)
    name = args.name or re.sub(r"[^A-Za-z0-9]+", "_", Path(args.graph).stem)[:80]
    for profile in chosen:
        rewritten = graph.with_profile(profile) if profile else graph
        bound, inputs = _given(args, rewritten)
        if args.nodes is not None:
            values, _ = evaluated(bound, inputs)
            bound = part(bound, matching(bound, args.nodes), name)
            inputs = {v.name: values[v.name] for v in bound.inputs}
        used = rewritten.metadata.get("profile", "")
        comment = f"{Path(args.graph).name}" + (f", nodes {args.nodes}" if args.nodes else "")
        id_ = f"test_{name}_{used}" if used else f"test_{name}"
        yield _case(bound, inputs, {"kind": "graph"}, id_, comment, args.tensors or "all")


def _given(args: argparse.Namespace, graph: Graph) -> tuple[Graph, dict[str, Array]]:
    """The graph with its dimensions bound, and what goes in: the first images, or arrays by name."""
    if args.input:
        if args.count is not None:
            raise InputError("--count: is for --images, but --input is given")
        inputs = named_inputs(args.input)
    else:
        length = graph.inputs[0].type.shape[0] if graph.inputs[0].type.shape else 1
        count = args.count or (length if isinstance(length, int) else 1)
        inputs = {name: x[:count] for name, x in image_input(graph, read_npz(args.images), args.images).items()}
        if any(len(x) < count for x in inputs.values()):
            have = min(map(len, inputs.values()))
            raise InputError(f"{args.images}: must hold the {count} images that --count asks for, but has {have}")
    return graph.bind(**check_inputs(graph, inputs)), inputs


def _case(
    graph: Graph, inputs: Mapping[str, Array], recipe: Mapping[str, Any], id_: str, comment: str, tensors: str | None
) -> Case:
    return made_case(
        graph,
        inputs,
        generator=recipe,
        tensors=tensors,
        id=id_,
        suite=MODELS,
        comment=comment,
        profile=graph.metadata.get("profile", ""),
    )
