"""Small valid graphs, and arrays to run them on.

Every graph may be rewritten in every profile: nothing needs the dtype or the scale of a Shiftmax, which a profile chooses. Runs
may leave int32, so run with ``overflow="wrap"``; then nothing stops one but a sum of exponentials that is 0 (``IntDiv (C2)``).
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ivit_ref.build import GraphBuilder
from ivit_ref.errors import InputError
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Array, Dim, Graph, Value
from ivit_ref.profiles import PROFILES
from ivit_ref.testing.checks import check_profile
from ivit_ref.testing.drawing import Drawing, integers, lengths, meaning
from ivit_ref.testing.steps_arithmetic import (
    ARITHMETIC,
    conv,
    dequantize,
    exponential,
    gelu,
    int_div,
    int_sqrt,
    mul,
    softmax,
)
from ivit_ref.testing.steps_movement import MOVEMENT, max_pool

STEPS = ARITHMETIC | MOVEMENT

RARE = (max_pool, conv, mul, exponential, softmax, softmax, gelu, gelu, int_div, int_sqrt)
"""Steps that apply to few values: they are chosen more often where they do."""


def graphs(*, max_steps: int = 8, profile: str | None = None) -> st.SearchStrategy[Graph]:
    """Verified graphs: a quantized image or an integer input, then up to ``max_steps`` operators, in chains with branches.

    In the profile of that name; None is any of them. All operators of the package come, constants that broadcast, scales along
    an axis, and axes whose length has a name. Shrinks to few steps and a known batch.
    """
    if type(max_steps) is not int or max_steps < 1:
        raise InputError(f"graphs: max_steps must be a number from 1, but found {max_steps!r}")
    check_profile(profile, "graphs: ")
    return _graphs(max_steps, [profile] if profile else list(PROFILES))


def inputs(graph: Graph) -> st.SearchStrategy[dict[str, Array]]:
    """Arrays by name that fit the inputs of a graph, with a length from 1 to 3 for each named axis."""
    if not isinstance(graph, Graph):
        raise InputError(f"inputs: must be for a Graph (see: graphs), but found {type(graph).__name__}")
    return _inputs(graph)


@st.composite
def runs(draw: st.DrawFn, max_steps: int = 8) -> tuple[Graph, dict[str, Array]]:
    """A graph and arrays for it."""
    graph = draw(graphs(max_steps=max_steps))
    return graph, draw(inputs(graph))


def _source(d: Drawing, name: str, batch: Dim) -> Value:
    """An input: quantized from float, or integers as they come, of known or of unknown meaning."""
    shape = (batch, *(d.draw(st.integers(1, 4)) for _ in range(d.choose([1, 2, 3, 3]))))
    dtype = d.choose(["int8", "int16", "uint8"])
    kind = d.choose(["float", "integer", "integer", "unknown"])
    if kind == "float":
        q = meaning(d, dtype)
        x = d.builder.input(name, "float32", shape)
        division = d.choose(["reciprocal", "direct"])
        return d.node("Quantize", x, scale=q.scale[0], zero_point=q.zero_point, dtype=dtype, division=division)
    dtype = d.choose([dtype, "int32"])
    return d.builder.input(name, dtype, shape, meaning(d, dtype) if kind == "integer" else None)


@st.composite
def _graphs(draw: st.DrawFn, max_steps: int, profiles: list[str]) -> Graph:
    d = Drawing(draw, GraphBuilder("drawn", draw(st.sampled_from(profiles))))
    dims: list[Dim] = ["N", 2, 1]
    batch = d.choose(dims)
    d.pool = [_source(d, name, batch) for name in d.choose([["x"], ["x", "y"]])]
    for _ in range(draw(st.integers(1, max_steps))):
        x = d.choose([d.pool[-1], *d.pool])
        steps = [step for step, applies in STEPS.items() if applies(d, x)]
        rare = [step for step in RARE if step in steps]
        step = d.choose(rare) if bool(rare) and d.choose([False, False, True]) else d.choose(steps)
        result = step(d, x)
        if step is not dequantize:
            d.pool.append(result)
    made = [node.output for node in d.builder.nodes]
    outputs = [made[-1], *(v for v in made[:-1] if d.choose([False, False, True]))]
    return d.builder.finish(outputs, {"source": "ivit_ref.testing"} if draw(st.booleans()) else None)


@st.composite
def _inputs(draw: st.DrawFn, graph: Graph) -> dict[str, Array]:
    dims = {name: draw(st.integers(1, 3)) for name in graph.dims}
    return {v.name: _array(draw, v.type.dtype, lengths(v.type.bind(dims).shape)) for v in graph.inputs}


def _array(draw: st.DrawFn, dtype: str, shape: tuple[int, ...]) -> Array:
    seed = draw(st.integers(0, 2**32 - 1))
    if dtype == "float32":
        spread = draw(st.sampled_from([1.0, 100.0, 1e30]))
        return np.asarray(np.random.default_rng(seed).normal(0, spread, shape), np.float32)
    ends = [0, *BOUNDS[dtype]]
    kind = draw(st.sampled_from(["equal", "small", "any", "ends"]))
    if kind == "equal":
        return np.full(shape, draw(st.sampled_from(ends)), dtype)
    if kind == "ends":
        return np.random.default_rng(seed).choice(np.array(ends, dtype), shape)
    return integers(seed, dtype, shape, 10 if kind == "small" else 2**31 - 1)
