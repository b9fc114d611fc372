"""Small valid graphs, and arrays to run them on.

``graphs()`` draws chains with branches: a quantized image or an integer input, then any operators whose constraints and scales
allow it. ``inputs_of(graph)`` draws arrays for one. Every graph may be rewritten in every profile: nothing needs the dtype or
the scale of a Shiftmax, which a profile chooses. Runs may leave int32, so run with ``overflow="wrap"``; then
nothing stops one but a sum of exponentials that is 0 (``IntDiv (C2)``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from ivit_ref import Graph, GraphBuilder, Quant, Value
from ivit_ref.ir import Dim, Shape
from ivit_ref.profiles import PROFILES

Array: TypeAlias = npt.NDArray[Any]
T = TypeVar("T")

NARROW = ("int8", "uint8", "int16")
ACCUMULATORS = (*NARROW, "int32")
LARGEST_RANK = 5
SMALLEST_UNIT = 2.0**-10
"""The smallest step that ShiftGELU and Shiftmax are given: 1/S fits the narrow sums of every profile, nearly always."""

SCALES = st.one_of(st.sampled_from([0.5, 0.25, 2.0**-7]), st.floats(2.0**-8, 1.0, width=32))


class Drawing:
    """A graph as it grows, with the values that a step may read."""

    def __init__(self, draw: st.DrawFn, builder: GraphBuilder) -> None:
        self.draw, self.builder = draw, builder
        self.pool: list[Value] = []
        self.profiled: set[str] = set()

    def choose(self, options: Sequence[T]) -> T:
        """One of them; shrinks towards the first."""
        return self.draw(st.sampled_from(options))

    def scale(self) -> float:
        """What a step may be worth."""
        return self.draw(SCALES)

    def node(self, op: str, *inputs: Value, quant: Quant | None = None, **attributes: Any) -> Value:
        """Add a node."""
        name = f"{op.lower()}_{len(self.builder.nodes)}"
        value = self.builder.node(op, *inputs, name=name, quant=quant, **attributes)
        if op == "Shiftmax" or (op in PASSES_ON and any(v.name in self.profiled for v in inputs)):
            self.profiled.add(value.name)
        return value

    def constant(self, dtype: str, shape: tuple[int, ...], quant: Quant | None, largest: int = 2**31 - 1) -> Value:
        """A constant of random integers."""
        data = integers(self.draw(st.integers(0, 2**32 - 1)), dtype, shape, largest)
        return self.builder.constant(f"constant_{len(self.builder.constants)}", data, quant)


PASSES_ON = (
    *("Reshape", "Transpose", "Slice", "Take", "Roll", "Concat", "Expand"),
    *("MatMul", "Mul", "Rescale", "ReduceSum", "ReduceMean"),
)
"""Operators whose result has the dtype or the scale of a Shiftmax that they read, which its profile chooses."""


def integers(seed: int, dtype: str, shape: tuple[int, ...], largest: int = 2**31 - 1) -> Array:
    """Random integers of a dtype, at most ``largest`` in magnitude."""
    low, high = max(int(np.iinfo(dtype).min), -largest), min(int(np.iinfo(dtype).max), largest)
    return np.random.default_rng(seed).integers(low, high, shape, dtype, endpoint=True)


def meaning(d: Drawing, dtype: str) -> Quant:
    """One scale, and now and then a zero point."""
    low, high = max(int(np.iinfo(dtype).min), -(2**16)), min(int(np.iinfo(dtype).max), 2**16)
    zero_point = d.draw(st.integers(low, high)) if d.choose([False, False, False, True]) else 0
    return Quant((d.scale(),), zero_point)


# --- What holds for a value


def known(*dims: Dim) -> bool:
    """Whether every length is known."""
    return all(isinstance(d, int) for d in dims)


def lengths(shape: Shape) -> tuple[int, ...]:
    """A shape without names."""
    return tuple(d for d in shape if isinstance(d, int))


def is_symmetric(x: Value) -> bool:
    """Known scales and no zero point."""
    return x.quant is not None and x.quant.zero_point == 0


def is_plain(x: Value) -> bool:
    """One known scale and no zero point."""
    return is_symmetric(x) and x.quant is not None and x.quant.axis is None


def has_unit(x: Value) -> bool:
    """A scale for which every profile has an i0, and a row of known length."""
    return is_plain(x) and x.quant is not None and SMALLEST_UNIT <= x.quant.scale[0] <= 1 and known(x.type.shape[-1])


def is_image(x: Value) -> bool:
    """Bytes of four axes with a known size, whose order is that of what they mean."""
    keeps_order = x.quant is None or (x.quant.axis in (None, 0, 1) and min(x.quant.scale) > 0)
    return x.type.dtype in ("int8", "uint8") and len(x.type.shape) == 4 and known(*x.type.shape[1:]) and keeps_order


# --- Steps: each takes a value that it applies to, and gives a new one


def linear(d: Drawing, x: Value) -> Value:
    outputs, inputs = d.draw(st.integers(1, 4)), lengths(x.type.shape[-1:])
    if x.quant is None:
        return d.node("Linear", x, d.constant("int8", (outputs, *inputs), None), d.constant("int32", (outputs,), None))
    per_channel = d.draw(st.booleans())
    scales = tuple(d.scale() for _ in range(outputs if per_channel else 1))
    steps = tuple(float(np.float32(s) * np.float32(x.quant.scale[0])) for s in scales)
    axis = 0 if per_channel else None
    weight = d.constant("int8", (outputs, *inputs), Quant(scales, axis=axis))
    bias = d.constant("int32", (outputs,), Quant(steps, axis=axis), d.choose([2**10, 2**31 - 1]))
    return d.node("Linear", x, weight, bias)


def center(d: Drawing, x: Value) -> Value:
    numbers = {} if x.quant else {"zero_point": d.draw(st.integers(0, 9))}
    return d.node("Center", x, dtype=d.choose(["int16", "int32"] if x.type.dtype.endswith("8") else ["int32"]), **numbers)


def rescale(d: Drawing, x: Value) -> Value:
    """By one number, or by one for each channel."""
    axes = [i for i, n in enumerate(x.type.shape) if known(n) and (x.quant is None or x.quant.axis in (None, i))]
    axis = d.choose([0, *axes])
    channels = lengths(x.type.shape[axis : axis + 1])
    count = d.choose([1, *channels]) if axis in axes else 1
    return d.node("Rescale", x, alpha=tuple(d.choose([0.5, 2.0, -1.0, 0.75]) for _ in range(count)), axis=axis)


def mul(d: Drawing, x: Value) -> Value:
    """With itself, with a value of the same shape, or with a constant."""
    shape = x.type.shape
    others = [x, *(y for y in d.pool if is_plain(y) and y.type.dtype in NARROW and y.type.shape == shape)]
    tail = shape[d.draw(st.integers(0, len(shape))) :]
    if known(*tail):
        others.append(d.constant(d.choose(["int16", "uint8"]), lengths(tail), Quant((d.scale(),))))
    pair = x, d.choose(others)
    return d.node("Mul", *d.choose([pair, pair[::-1]]))


def clip(d: Drawing, x: Value) -> Value:
    low, high = int(np.iinfo(x.type.dtype).min), int(np.iinfo(x.type.dtype).max)
    bounds = d.draw(st.lists(st.sampled_from([low, 0, high]) | st.integers(max(low, -50), 50), min_size=2, max_size=2))
    return d.node("Clip", x, low=min(bounds), high=max(bounds))


def free_axes(x: Value) -> list[int]:
    """Axes of known length along which no scales go."""
    return [i for i, n in enumerate(x.type.shape) if known(n) and (x.quant is None or x.quant.axis != i)]


def reduce_sum(d: Drawing, x: Value) -> Value:
    axes = d.draw(st.lists(st.sampled_from(free_axes(x)), min_size=1, unique=True))
    return d.node("ReduceSum", x, axes=tuple(sorted(axes)))


def reduce_mean(d: Drawing, x: Value) -> Value:
    axes = d.draw(st.lists(st.sampled_from(free_axes(x)), min_size=1, unique=True))
    return d.node("ReduceMean", x, axes=tuple(sorted(axes)))


def max_pool(d: Drawing, x: Value) -> Value:
    image = lengths(x.type.shape[2:])
    kernel = [d.draw(st.integers(1, n)) for n in image]
    dilations = [d.draw(st.integers(1, n)) if k == 1 or n > 2 else 1 for n, k in zip(image, kernel, strict=True)]
    spans = [a * (k - 1) + 1 for a, k in zip(dilations, kernel, strict=True)]
    lacking = [max(0, span - n) for span, n in zip(spans, image, strict=True)]
    ends = [d.draw(st.integers(lacking[i], spans[i] - 1)) for i in (0, 1)]
    pads = (*(d.draw(st.integers(0, span - 1)) for span in spans), *ends)
    strides = (d.draw(st.integers(1, 2)), d.draw(st.integers(1, 2)))
    return d.node("MaxPool", x, kernel_shape=tuple(kernel), strides=strides, pads=pads, dilations=tuple(dilations))


def where(d: Drawing, x: Value) -> Value:
    """With a constant of the same meaning, as a constant mask says that lacks the leading axes."""
    tails = [x.type.shape[i:] for i in range(len(x.type.shape) + 1) if known(*x.type.shape[i:])]
    other = d.constant(x.type.dtype, lengths(d.choose(tails)), x.quant)
    mask = np.random.default_rng(d.draw(st.integers(0, 2**32 - 1))).random(lengths(d.choose(tails))) < 0.5
    condition = d.builder.constant(f"constant_{len(d.builder.constants)}", np.asarray(mask))
    return d.node("Where", condition, *d.choose([(x, other), (other, x)]))


def take(d: Drawing, x: Value) -> Value:
    axis = d.choose([i for i, n in enumerate(x.type.shape) if known(n)])
    (length,) = lengths((x.type.shape[axis],))
    return d.node("Take", x, axis=axis, indices=tuple(d.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=4))))


def roll(d: Drawing, x: Value) -> Value:
    axis = d.choose([i for i, n in enumerate(x.type.shape) if known(n)])
    (length,) = lengths((x.type.shape[axis],))
    return d.node("Roll", x, axis=axis, shift=d.draw(st.integers(0, length - 1)))


def matmul(d: Drawing, x: Value) -> Value:
    leading, inner = x.type.shape[:-2], x.type.shape[-1]
    others = [y for y in d.pool if is_plain(y) and y.type.dtype in NARROW and y.type.shape[:-1] == (*leading, inner)]
    others = [y for y in others if len(y.type.shape) == len(x.type.shape)]
    if others and d.draw(st.booleans()):
        other = d.choose(others)
    elif known(inner) and d.draw(st.booleans()):
        other = d.constant("int8", (*lengths((inner,)), d.draw(st.integers(1, 3))), Quant((d.scale(),)))
    else:
        rank = len(x.type.shape)
        other = d.node("Transpose", x, perm=(*range(rank - 2), rank - 1, rank - 2))
    return d.node("MatMul", x, other, alpha=d.choose([1.0, 0.5, float(np.float32(8**-0.5))]))


def shiftmax(d: Drawing, x: Value) -> Value:
    return d.node("Shiftmax", x)


def shift_gelu(d: Drawing, x: Value) -> Value:
    return d.node("ShiftGELU", x)


def layer_norm(d: Drawing, x: Value) -> Value:
    channels = lengths(x.type.shape[-1:])
    gains = tuple(d.scale() * d.choose([1, -1]) * 2.0**-30 for _ in range(channels[0]))
    bias = d.constant("int32", channels, Quant(gains, axis=0), d.choose([2**20, 2**31 - 1]))
    return d.node("ILayerNorm", x, bias)


def requantize(d: Drawing, x: Value) -> Value:
    dtype = d.choose(["int8", "int16", "uint8", "int32"])
    if x.quant is None:
        numbers = {"multiplier": (d.draw(st.integers(1 - 2**31, 2**31 - 1)),), "shift": (d.draw(st.integers(0, 62)),)}
        quant = d.choose([Quant((0.5,)), None])
        return d.node("Requantize", x, quant=quant, dtype=dtype, axis=0, zero_point=0, **numbers)
    axis = len(x.type.shape) - 1 if x.quant.axis is None else x.quant.axis
    channels = lengths(x.type.shape[axis : axis + 1])
    if channels and d.choose([False, False, True]):
        quant = Quant(tuple(d.scale() for _ in range(channels[0])), axis=axis)
    else:
        quant = meaning(d, dtype)
    return d.node("Requantize", x, quant=quant, dtype=dtype)


def add(d: Drawing, x: Value) -> Value:
    """With a value of the same shape, or with a constant that broadcasts, whose scales may go along the last axis."""
    shape = x.type.shape
    others = [y for y in d.pool if is_plain(y) and y.type.dtype in ACCUMULATORS and y.type.shape == shape]
    tail = shape[d.draw(st.integers(0, len(shape) - 1)) :]
    if known(*tail):
        per_channel = is_plain(x) and d.draw(st.booleans())
        scales = tuple(d.scale() for _ in range(lengths(tail)[-1] if per_channel else 1))
        quant = Quant(scales, axis=len(tail) - 1 if per_channel else None)
        others.append(d.constant("int16", lengths(tail), quant))
    dtype, other = d.choose(["int16", "int8"]), d.choose(others or [x])
    return d.node("RequantizeAdd", x, other, quant=meaning(d, dtype), rounds=d.choose(["each", "once"]), dtype=dtype)


def reshape(d: Drawing, x: Value) -> Value:
    rank = len(x.type.shape)
    targets: list[tuple[int, ...]] = [(*(0,) * rank, 1)] if rank < LARGEST_RANK else [(0,) * rank]
    if x.quant is None or x.quant.axis is None:
        last = lengths(x.type.shape[-1:])
        targets += [(0, -1)] if rank >= 2 and known(*x.type.shape[1:]) else []
        targets += [(*(0,) * (rank - 1), n, -1) for n in range(1, 5) if last and last[0] % n == 0 and rank < LARGEST_RANK]
        targets += [(prod(lengths(x.type.shape)),)] if known(*x.type.shape) else []
    return d.node("Reshape", x, shape=d.choose(targets))


def transpose(d: Drawing, x: Value) -> Value:
    return d.node("Transpose", x, perm=tuple(d.draw(st.permutations(range(len(x.type.shape))))))


def slice_(d: Drawing, x: Value) -> Value:
    axis = d.choose([i for i, n in enumerate(x.type.shape) if known(n)])
    (length,) = lengths((x.type.shape[axis],))
    start = d.draw(st.integers(0, length - 1))
    return d.node("Slice", x, axis=axis, start=start, stop=d.draw(st.integers(start + 1, length)))


def concat(d: Drawing, x: Value) -> Value:
    axis = d.choose(free_axes(x))
    others = [x]
    if known(*x.type.shape) and x.name not in d.profiled:
        longer = (*x.type.shape[:axis], d.draw(st.integers(1, 3)), *x.type.shape[axis + 1 :])
        others.append(d.constant(x.type.dtype, lengths(longer), x.quant))
    other = d.choose(others)
    return d.node("Concat", *d.choose([(x, other), (other, x)]), axis=axis)


def expand(d: Drawing, x: Value) -> Value:
    """An axis of length one as long as that of another value; or a constant, as many times as there are images."""
    ones = [i for i, n in enumerate(x.type.shape) if n == 1 and (x.quant is None or x.quant.axis != i)]
    likes = [y for y in d.pool if len(y.type.shape) == len(x.type.shape)]
    if ones:
        return d.node("Expand", x, d.choose(likes), axes=tuple(sorted({d.choose(ones), d.choose(ones)})))
    token = d.constant("int16", (1, *(d.draw(st.integers(1, 3)) for _ in x.type.shape[1:])), Quant((d.scale(),)))
    return d.node("Expand", token, x, axes=(0,))


def lookup(d: Drawing, x: Value) -> Value:
    table = d.constant(d.choose(["int8", "int16", "uint8", "int32"]), (256,), None)
    low = {"int8": -128, "uint8": 0}[x.type.dtype]
    return d.node("Lookup", x, table, quant=d.choose([Quant((d.scale(),)), None]), low=low)


def dequantize(d: Drawing, x: Value) -> Value:
    numbers = {} if x.quant else {"scale": (d.scale(),), "axis": 0, "zero_point": d.draw(st.integers(-9, 9))}
    return d.node("Dequantize", x, **numbers)


Step: TypeAlias = Callable[[Drawing, Value], Value]
Applies: TypeAlias = Callable[[Drawing, Value], bool]

STEPS: dict[Step, Applies] = {
    requantize: lambda d, x: x.type.dtype in ACCUMULATORS and (x.quant is None or is_symmetric(x)),
    linear: lambda d, x: (
        x.type.dtype in NARROW and (x.quant is None or is_plain(x)) and known(x.type.shape[-1]) and x.name not in d.profiled
    ),
    matmul: lambda d, x: x.type.dtype in NARROW and is_plain(x) and len(x.type.shape) >= 2,
    shiftmax: lambda d, x: x.type.dtype in ("int8", "int16", "int32") and has_unit(x) and x.name not in d.profiled,
    shift_gelu: lambda d, x: x.type.dtype in ("int8", "int16") and has_unit(x) and x.name not in d.profiled,
    layer_norm: lambda d, x: x.type.dtype in NARROW and known(x.type.shape[-1]) and (x.quant is None or x.quant.axis is None),
    add: lambda d, x: x.type.dtype in ACCUMULATORS and is_symmetric(x),
    reshape: lambda d, x: True,
    transpose: lambda d, x: True,
    slice_: lambda d, x: any(known(n) for n in x.type.shape),
    concat: lambda d, x: prod(lengths(x.type.shape)) <= 128 and bool(free_axes(x)),
    expand: lambda d, x: True,
    lookup: lambda d, x: x.type.dtype in ("int8", "uint8") and x.name not in d.profiled,
    center: lambda d, x: x.type.dtype in NARROW and x.name not in d.profiled,
    rescale: lambda d, x: True,
    mul: lambda d, x: x.type.dtype in NARROW and is_plain(x),
    clip: lambda d, x: x.type.dtype in ACCUMULATORS and x.name not in d.profiled,
    reduce_sum: lambda d, x: x.type.dtype in ACCUMULATORS and (x.quant is None or is_symmetric(x)) and bool(free_axes(x)),
    reduce_mean: lambda d, x: x.type.dtype in ACCUMULATORS and (x.quant is None or is_symmetric(x)) and bool(free_axes(x)),
    max_pool: lambda d, x: is_image(x) and x.name not in d.profiled,
    where: lambda d, x: x.name not in d.profiled and (x.quant is None or x.quant.axis is None),
    take: lambda d, x: any(known(n) for n in x.type.shape),
    roll: lambda d, x: any(known(n) for n in x.type.shape),
    dequantize: lambda d, x: x.type.dtype in (*ACCUMULATORS, "uint16"),
}


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
    return d.builder.input(name, dtype, shape, meaning(d, dtype) if kind == "integer" else None)


@st.composite
def graphs(draw: st.DrawFn, largest: int = 8) -> Graph:
    """A verified graph with up to ``largest`` steps, in one of the profiles."""
    d = Drawing(draw, GraphBuilder("drawn", draw(st.sampled_from(list(PROFILES)))))
    batch: Dim = d.choose(["N", 2, 1])
    d.pool = [_source(d, name, batch) for name in d.choose([["x"], ["x", "y"]])]
    for _ in range(draw(st.integers(1, largest))):
        x = d.choose([d.pool[-1], *d.pool])
        steps = [step for step, applies in STEPS.items() if applies(d, x)]
        step = max_pool if max_pool in steps and d.choose([False, False, False, True]) else d.choose(steps)
        result = step(d, x)
        if step is not dequantize:
            d.pool.append(result)
    made = [node.output for node in d.builder.nodes]
    outputs = [made[-1], *(v for v in made[:-1] if d.choose([False, False, True]))]
    return d.builder.finish(outputs, {"source": "tests/graphs.py"} if draw(st.booleans()) else None)


@st.composite
def inputs_of(draw: st.DrawFn, graph: Graph) -> dict[str, Array]:
    """Arrays that fit the inputs of a graph, with a length for each named dimension."""
    dims = {name: draw(st.integers(1, 3)) for name in graph.dims}
    return {v.name: _array(draw, v.type.dtype, lengths(v.type.bind(dims).shape)) for v in graph.inputs}


@st.composite
def runs(draw: st.DrawFn, largest: int = 8) -> tuple[Graph, dict[str, Array]]:
    """A graph and arrays for it."""
    graph = draw(graphs(largest))
    return graph, draw(inputs_of(graph))


def _array(draw: st.DrawFn, dtype: str, shape: tuple[int, ...]) -> Array:
    seed = draw(st.integers(0, 2**32 - 1))
    if dtype == "float32":
        spread = draw(st.sampled_from([1.0, 100.0, 1e30]))
        return np.random.default_rng(seed).normal(0, spread, shape).astype("float32")
    ends = [int(np.iinfo(dtype).min), 0, int(np.iinfo(dtype).max)]
    kind = draw(st.sampled_from(["equal", "small", "any", "ends"]))
    if kind == "equal":
        return np.full(shape, draw(st.sampled_from(ends)), dtype)
    if kind == "ends":
        return np.random.default_rng(seed).choice(np.array(ends, dtype), shape)
    return integers(seed, dtype, shape, 10 if kind == "small" else 2**31 - 1)
