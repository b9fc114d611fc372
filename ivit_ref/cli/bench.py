"""``ivit-ref bench``: a published model in integers, a ViT beside ONNX Runtime on the float model of the same shape."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ivit_ref.cli.common import Commands, Progress, add_json, report, table
from ivit_ref.cost import macs
from ivit_ref.errors import InputError, MissingExtra
from ivit_ref.interpreter import Interpreter
from ivit_ref.ir import Array
from ivit_ref.models import MODELS, Config, ViTConfig, model_named, random_model
from ivit_ref.models.float_vit import float_vit
from ivit_ref.models.sites import parameters

DEFAULT = "deit_tiny_patch16_224"
PAUSE = 0.1
"""Seconds before each timed run: the threads of one library spin for a while after its run, and would slow down the other."""


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("bench", help="time a published model, a ViT beside ONNX Runtime's float", description=__doc__)
    parser.add_argument("--model", metavar="NAME", default=DEFAULT, help=f"default: {DEFAULT}; one of {', '.join(MODELS)}")
    parser.add_argument("--runs", type=int, default=15, metavar="N", help="timed runs of each, in turn; default: 15")
    parser.add_argument("--engine", choices=["fast", "spec"], default="fast")
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it."""
    if not 1 <= args.runs <= 10000:
        raise InputError(f"--runs: must be from 1 to 10000, but found {args.runs}")
    config = model_named(args.model)
    image = np.random.default_rng(0).standard_normal((1, config.channels, *config.image), np.float32)
    graph = random_model(config)
    interpreter = Interpreter(graph, engine=args.engine)

    def integer() -> object:
        return interpreter.run({"image": image})

    integer()
    facts: dict[str, Any] = {"model": args.model, "engine": args.engine, "peak_memory_mib": peak_memory_mib()}
    facts |= {"parameters": parameters(config), "macs": macs(graph.bind(N=1))}
    other = _other(config, image)
    times = in_turn([integer, other] if other else [integer], args.runs)
    facts["integer_ms"] = _spread(times[0])
    if other:
        facts["onnxruntime_float_ms"] = _spread(times[1])
        facts["ratio"] = _spread([a / b for a, b in zip(*times, strict=True)])
    report(args, facts, _text(facts))
    return 0


def in_turn(functions: list[Callable[[], object]], runs: int) -> list[list[float]]:
    """The milliseconds of each function's runs, taken in turn after one run that does not count."""
    times: list[list[float]] = [[] for _ in functions]
    progress = Progress(runs, "runs")
    for number in range(-1, runs):
        for function, milliseconds in zip(functions, times, strict=True):
            time.sleep(PAUSE)
            start = time.perf_counter()
            function()
            if number >= 0:
                milliseconds.append(1000 * (time.perf_counter() - start))
        progress.update(number + 1)
    progress.close()
    return times


def peak_memory_mib() -> int | None:
    """The largest resident size of this process so far; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def _other(config: Config, image: Array) -> Callable[[], object] | None:
    """What an integer ViT is timed against; there is no float model of a Swin here."""
    if not isinstance(config, ViTConfig):
        return None
    try:
        return _float_run(config, image)
    except MissingExtra as error:
        print(f"ivit-ref: {error}", file=sys.stderr)
        return None


def _float_run(config: ViTConfig, image: Array) -> Callable[[], object]:
    try:
        import onnxruntime
    except ImportError as error:
        must = "the comparison needs ONNX Runtime, which is not installed: pip install 'ivit-ref[ort]'"
        raise MissingExtra(must) from error
    model = float_vit(config).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": image})


def _spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def _text(facts: dict[str, Any]) -> str:
    rows = [("model", f"{facts['model']}, batch 1, random weights"), ("engine", facts["engine"])]
    rows.append(("size", f"{facts['parameters'] / 1e6:.1f} M parameters, {facts['macs'] / 1e9:.2f} G multiply-accumulates"))
    for key, name in (("integer_ms", "integer"), ("onnxruntime_float_ms", "onnxruntime float")):
        if key in facts:
            rows.append((name, _shown(facts[key], "ms")))
    if "ratio" in facts:
        rows.append(("ratio", _shown(facts["ratio"], "times as long")))
    if facts["peak_memory_mib"] is not None:
        rows.append(("peak memory", f"{facts['peak_memory_mib']} MiB, of the integer model alone"))
    return table(rows)


def _shown(spread: dict[str, float], unit: str) -> str:
    return f"{spread['median']:.2f} {unit} (median; {spread['min']:.2f} to {spread['max']:.2f})"
