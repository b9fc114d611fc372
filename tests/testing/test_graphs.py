"""Whole graphs at random: both engines, a file, and two foreign runtimes give the same bits.

The graphs are the same each time; ``pytest --hypothesis-profile=deep`` searches longer.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings

from ivit_ref import Graph, Interpreter, load, save
from ivit_ref.errors import ConstraintError
from ivit_ref.events import EventLog
from ivit_ref.interpreter import Engine
from ivit_ref.ir import Array
from ivit_ref.onnx_io import to_model
from ivit_ref.registry import REGISTRY
from ivit_ref.testing import calls_movement, calls_nonlinear, calls_products, calls_scale
from ivit_ref.testing.graphs import runs
from tests.onnx.runtimes import RUNTIMES

COUNT = 200
OWN = {*calls_movement.CALLS, *calls_nonlinear.CALLS, *calls_products.CALLS, *calls_scale.CALLS}
"""I-ViT's own operators and those between them."""

PEERS = {name for name, definition in REGISTRY.items() if not definition.floats} - OWN
"""What other publications have in their place."""


def outcome(graph: Graph, inputs: dict[str, Array], engine: Engine) -> tuple[dict[str, Any], list[Any]] | str:
    """Every tensor bit by bit, and the events in their order; or why the run stops."""
    log = EventLog()
    try:
        made = Interpreter(graph, overflow="wrap", listeners=[log], engine=engine).run(inputs, intermediates=True)
    except ConstraintError as error:
        return str(error)
    assert all(isinstance(y, np.ndarray) for y in made.values())
    return {name: (str(y.dtype), y.shape, y.tobytes()) for name, y in made.items()}, log.events


def test_everything_agrees_on_random_graphs(tmp_path: Path) -> None:
    most = settings().max_examples
    deep = most > settings.get_profile("default").max_examples
    seen: Counter[str] = Counter()

    @settings(max_examples=most if deep else COUNT, derandomize=not deep, suppress_health_check=list(HealthCheck))
    @given(runs())
    def agree(drawn: tuple[Graph, dict[str, Array]]) -> None:
        seen.update(check(*drawn, tmp_path / "graph.onnx"))

    agree()
    assert {name for name in OWN if not seen[name]} == set()
    assert len({name for name in PEERS if seen[name]}) >= 5
    for kind in ("per axis", "broadcast", "named axes", "wrapped"):
        assert seen[kind] > 5, kind
    assert seen["stopped"] * 10 < seen["graphs"]


def check(graph: Graph, inputs: dict[str, Array], path: Path) -> dict[str, int]:
    """Hold everything that runs a graph against the reference engine; what was met on the way."""
    spec = outcome(graph, inputs, "spec")
    assert outcome(graph, inputs, "fast") == spec
    save(graph, path)
    again = load(path)
    assert again == graph
    assert outcome(again, inputs, "fast") == spec
    if isinstance(spec, str):
        return {"graphs": 1, "stopped": 1}
    tensors, events = spec
    for runtime in RUNTIMES.values():
        found = runtime(to_model(graph), inputs)
        for name in graph.outputs:
            y = found[name]
            assert (str(y.dtype), y.shape, y.tobytes()) == tensors[name]
    return {"graphs": 1, "wrapped": any(event.kind == "wrapped" for event in events), **noted(graph)}


def noted(graph: Graph) -> dict[str, int]:
    """The operators and the kinds of scales and shapes in a graph."""
    notes = {node.op: 1 for node in graph.nodes}
    notes["per axis"] = any(v.quant is not None and v.quant.axis is not None for v in graph.values.values())
    pairs = [[graph.values[n].type.shape for n in node.inputs] for node in graph.nodes if len(node.inputs) == 2]
    notes["broadcast"] = any(len(a) != len(b) for a, b in pairs)
    notes["named axes"] = bool(graph.dims)
    return notes
