"""The emulation of the release in float32: what the committed dumps alone do not pin down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ivit_ref.build import GraphBuilder
from ivit_ref.doctor.simulation import Simulated, simulate
from ivit_ref.interpreter import Interpreter
from ivit_ref.ir import Graph, Node, Quant
from ivit_ref.models import ViTConfig, model_graph, random_state
from tests.doctor.test_against import CASES, EXACT, KINDS

Array = npt.NDArray[Any]
F32 = np.float32
SMALL = ViTConfig((4, 4), (2, 2), channels=1, dim=8, depth=1, heads=2, hidden=8, classes=3)
GELU = "blocks.0.mlp.act"


@pytest.fixture(scope="module")
def graph() -> Graph:
    return model_graph(random_state(SMALL), SMALL)


def node_of(graph: Graph, name: str) -> Node:
    return next(node for node in graph.nodes if node.name == name)


@pytest.mark.parametrize("op", EXACT)
@pytest.mark.parametrize("kind", KINDS)
def test_the_emulation_goes_on_where_the_dump_has_nothing(kind: str, op: str) -> None:
    """Without the results of one operator the emulation's own take their place, scales and all: the rest is the release's."""
    case = CASES[kind]
    gone = {node.name for node in case.graph.nodes if node.op == op}
    dump = {name: array for name, array in case.dump.items() if name.removesuffix(".scale") not in gone}
    rows = case.rows(dump).values()
    assert len(rows) > 30
    assert [row.name for row in rows if row.op in EXACT and row.left] == []


def test_requantization_multiplies_by_31_bits(graph: Graph) -> None:
    """``fixedpoint_mul``: round(q * round_half_up(m * 2**31) / 2**(31 - e)), half to even, of scales whose ratio is m * 2**e.

    In exact integers: 2**21 times 2**31 is below 2**53, so that double holds the product.
    """
    source, target = F32(0.0123), F32(0.7)
    node = node_of(graph, "blocks.0.attn.qact3")
    node = replace(node, outputs=(replace(node.output, quant=Quant((float(target),))),))
    q = np.random.default_rng(0).integers(-(2**20), 2**20, 2_000_000)
    mantissa, exponent = np.frexp(float(source) / float(target))
    multiplier, shift = int(np.floor(mantissa * 2**31 + 0.5)), 31 - int(exponent)
    product = q * multiplier
    steps, rest, half = product >> shift, product & ((1 << shift) - 1), 1 << (shift - 1)
    steps += (rest > half) | ((rest == half) & (steps % 2 == 1))
    result = simulate(node, [Simulated(np.asarray(q, F32) * source, np.asarray(source), np.asarray(q, F32))])
    assert result is not None
    np.testing.assert_array_equal(result.steps, np.clip(steps, -(2**15), 2**15 - 1))


def test_quotients_are_rounded_before_they_are_multiplied(graph: Graph) -> None:
    """A quotient of 1.3 is 1: half of it is 0.5, which is rounded to 0, and of 1.7, which is 2, it is 1."""
    node = node_of(graph, "blocks.0.attn.qact3")
    node = replace(node, outputs=(replace(node.output, quant=Quant((2.0,))),))
    result = simulate(node, [Simulated(np.array([1.3, 1.7, -1.3, 4.6], F32), np.asarray(F32(1)))])
    assert result is not None
    assert result.steps.tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("inverse", [6.995, 19.99, 19.96, 40.95])
def test_gelu_near_a_whole_i0(inverse: float, graph: Graph) -> None:
    """1 / (1.702 * S) just below a whole number: i0 is that number. With 1.70 for 1.702 it would be the next but for 6.995.

    Where i0 is the same, and quotients are whole, float32 strays by one in 128 at most: sigma is a quotient of 8 bits.
    """
    scale = float(F32(1 / (1.702 * inverse)))
    arrays = {**random_state(SMALL).arrays, "blocks.0.mlp.qact_gelu.act_scaling_factor": F32(scale)}
    state = type(random_state(SMALL))(arrays)
    node = node_of(model_graph(state, SMALL), GELU)
    assert node.attributes["i0"] == np.ceil(inverse)
    rng = np.random.default_rng(1)
    q = rng.integers(-128, 128, (4, 6, 8)).astype(np.int8)
    q[..., 0] = rng.integers(0, 128, (4, 6))
    exact = run(node, q)
    result = simulate(node, [Simulated(np.asarray(q, F32) * F32(scale), np.asarray(F32(scale)), np.asarray(q, F32))])
    assert result is not None
    assert (np.abs(result.steps - exact) <= np.abs(q.astype(int))).all()
    assert float(result.scale) == float(F32(scale)) / 128


def run(node: Node, q: Array) -> Array:
    """The integers of one node."""
    builder = GraphBuilder("one", "qat")
    x = builder.input("x", "int8", q.shape, Quant((float(node.output.quant.scale[0]) * 128,)))  # type: ignore[union-attr]
    graph = builder.finish([builder.node("ShiftGELU", x, name="act", output="y")], {})
    return Interpreter(graph, overflow="wrap").run({"x": q})["y"]


def test_operators_without_a_counterpart(graph: Graph) -> None:
    """The release has no module that turns integers into reals: nothing is emulated."""
    assert simulate(node_of(graph, "dequantize"), []) is None
