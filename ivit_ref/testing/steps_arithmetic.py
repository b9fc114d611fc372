"""Steps of a drawn graph that compute: each takes a value that it applies to, and gives a new one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ivit_ref.build import make_node
from ivit_ref.errors import IvitError
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Quant, Value
from ivit_ref.methods import METHODS, Method, Role, attributes
from ivit_ref.registry import lookup as lookup_operator
from ivit_ref.testing.drawing import (
    Applies,
    Drawing,
    Step,
    free_axes,
    has_unit,
    integers,
    is_plain,
    is_symmetric,
    known,
    lengths,
    meaning,
)
from ivit_ref.testing.elements import ACCUMULATORS, NARROW


def _is_drawn(op: str) -> bool:
    return not lookup_operator(op).floats and op not in ("TosaRescale", "LogIntSoftmax")


DRAWN: Mapping[Role, tuple[Method, ...]] = {
    role: tuple(method for method in methods if _is_drawn(method.op)) for role, methods in METHODS.items()
}
"""Not those in floats, which a graph must allow (V7), nor codes, which few steps may follow (V8), nor TosaRescale,
which numbers beyond its shift stop (C5)."""


def by_method(d: Drawing, role: Role, x: Value, *others: Value, quant: Quant | None = None, **chosen: Any) -> Value:
    """By any of these methods that takes the values."""
    profile, taken = d.builder.profile, []
    assert profile is not None
    for method in DRAWN[role]:
        with suppress(IvitError):
            given: dict[str, Any] = attributes(method, x.quant, x.type, profile) | chosen
            make_node(method.op, (x, *others), method.name, quant, given, profile)
            taken.append((method.op, given))
    op, given = d.choose(taken)
    return d.node(op, x, *others, quant=quant, **given)


def requantize(d: Drawing, x: Value) -> Value:
    """By any published method, to one scale, or one for each channel."""
    dtype = d.choose(["int8", "int16", "uint8", "int32"])
    if x.quant is None:
        multiplier, shift = d.draw(st.integers(1 - 2**31, 2**31 - 1)), d.draw(st.integers(0, 62))
        numbers: dict[str, Any] = {"multiplier": (multiplier,), "shift": (shift,), "axis": 0, "zero_point": 0}
        return by_method(d, "requantize", x, quant=d.choose([Quant((0.5,)), None]), dtype=dtype, **numbers)
    axis = len(x.type.shape) - 1 if x.quant.axis is None else x.quant.axis
    channels = lengths(x.type.shape[axis : axis + 1])
    if bool(channels) and d.choose([False, False, True]):
        quant = Quant(tuple(d.scale() for _ in range(channels[0])), axis=axis)
    else:
        quant = meaning(d, dtype)
    return by_method(d, "requantize", x, quant=quant, dtype=dtype)


def linear(d: Drawing, x: Value) -> Value:
    """With weights and a bias, of one scale or one for each output."""
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


def matmul(d: Drawing, x: Value) -> Value:
    """With a value of the same inner length, a constant, or itself turned round."""
    leading, inner = x.type.shape[:-2], x.type.shape[-1]
    others = [y for y in d.pool if is_plain(y) and y.type.dtype in NARROW and y.type.shape[:-1] == (*leading, inner)]
    others = [y for y in others if len(y.type.shape) == len(x.type.shape)]
    if bool(others) and d.draw(st.booleans()):
        other = d.choose(others)
    elif known(inner) and d.draw(st.booleans()):
        other = d.constant("int8", (*lengths((inner,)), d.draw(st.integers(1, 3))), Quant((d.scale(),)))
    else:
        rank = len(x.type.shape)
        other = d.node("Transpose", x, perm=(*range(rank - 2), rank - 1, rank - 2))
    return d.node("MatMul", x, other, alpha=d.choose([1.0, 0.5, float(np.float32(8**-0.5))]))


def softmax(d: Drawing, x: Value) -> Value:
    """By any published method."""
    return by_method(d, "softmax", x)


def gelu(d: Drawing, x: Value) -> Value:
    """By any published method."""
    return by_method(d, "gelu", x)


def exponential(d: Drawing, x: Value) -> Value:
    """Of any sign: what grows beyond 2**62 saturates, or wraps in the profile that has int32 there."""
    return d.node("ShiftExp", x)


def int_div(d: Drawing, x: Value) -> Value:
    """By a constant that broadcasts: so large that no product leaves int64."""
    tails = [x.type.shape[i:] for i in range(len(x.type.shape) + 1) if known(*x.type.shape[i:])]
    data = integers(d.draw(st.integers(0, 2**32 - 1)), d.choose(["int32", "int64"]), lengths(d.choose(tails)))
    divisor = d.builder.constant(f"constant_{len(d.builder.constants)}", abs(data) + 2)
    return d.node("IntDiv", x, divisor, out_bits=d.choose([8, 16]))


def int_sqrt(d: Drawing, x: Value) -> Value:
    """Of what is left where nothing is below 0."""
    held = d.node("Clip", x, low=0, high=2**31 - 1)
    return d.node("IntSqrt", held)


def layer_norm(d: Drawing, x: Value) -> Value:
    """By any published method, with gains of either sign in the scales of the bias."""
    channels = lengths(x.type.shape[-1:])
    gains = tuple(d.scale() * d.choose([1, -1]) * 2.0**-30 for _ in range(channels[0]))
    bias = d.constant("int32", channels, Quant(gains, axis=0), d.choose([2**20, 2**31 - 1]))
    return by_method(d, "layernorm", x, bias)


def conv(d: Drawing, x: Value) -> Value:
    """Of any geometry and number of groups, with weights of one scale or one for each output."""
    inputs, *image = lengths(x.type.shape[1:])
    group, outputs = d.choose([1, inputs]), d.draw(st.integers(1, 2))
    kernel = [d.draw(st.integers(1, n)) for n in image]
    count = group * outputs if x.quant is not None and d.draw(st.booleans()) else 1
    scales = tuple(d.scale() for _ in range(count))
    steps = tuple(float(np.float32(s) * np.float32(x.quant.scale[0])) for s in scales) if x.quant else ()
    axis = 0 if count > 1 else None
    weight = d.constant("int8", (group * outputs, inputs // group, *kernel), Quant(scales, axis=axis) if x.quant else None)
    bias = d.constant("int32", (group * outputs,), Quant(steps, axis=axis) if x.quant else None, d.choose([2**10, 2**31 - 1]))
    pads = tuple(d.draw(st.integers(0, 2)) for _ in range(4))
    strides = (d.draw(st.integers(1, 2)), d.draw(st.integers(1, 2)))
    return d.node("Conv", x, weight, bias, strides=strides, pads=pads, dilations=(1, 1), group=group)


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


def center(d: Drawing, x: Value) -> Value:
    """Integers whose zero is 0."""
    numbers: dict[str, Any] = {} if x.quant else {"zero_point": d.draw(st.integers(0, 9))}
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
    """Between two bounds, often the ends of the dtype."""
    low, high = BOUNDS[x.type.dtype]
    bounds = d.draw(st.lists(st.sampled_from([low, 0, high]) | st.integers(max(low, -50), 50), min_size=2, max_size=2))
    return d.node("Clip", x, low=min(bounds), high=max(bounds))


def reduce_sum(d: Drawing, x: Value) -> Value:
    """Along any axes of known length and one scale."""
    axes = d.draw(st.lists(st.sampled_from(free_axes(x)), min_size=1, unique=True))
    return d.node("ReduceSum", x, axes=tuple(sorted(axes)))


def reduce_mean(d: Drawing, x: Value) -> Value:
    """Along any axes of known length and one scale."""
    axes = d.draw(st.lists(st.sampled_from(free_axes(x)), min_size=1, unique=True))
    return d.node("ReduceMean", x, axes=tuple(sorted(axes)))


def lookup(d: Drawing, x: Value) -> Value:
    """By a table of any integers."""
    table = d.constant(d.choose(["int8", "int16", "uint8", "int32"]), (256,), None)
    low = {"int8": -128, "uint8": 0}[x.type.dtype]
    return d.node("Lookup", x, table, quant=d.choose([Quant((d.scale(),)), None]), low=low)


def dequantize(d: Drawing, x: Value) -> Value:
    """By its own meaning, or any."""
    numbers: dict[str, Any] = {} if x.quant else {"scale": (d.scale(),), "axis": 0, "zero_point": d.draw(st.integers(-9, 9))}
    return d.node("Dequantize", x, **numbers)


ARITHMETIC: dict[Step, Applies] = {
    requantize: lambda d, x: x.type.dtype in ACCUMULATORS and (x.quant is None or is_symmetric(x)),
    linear: lambda d, x: (
        x.type.dtype in NARROW and (x.quant is None or is_plain(x)) and known(x.type.shape[-1]) and x.name not in d.profiled
    ),
    matmul: lambda d, x: x.type.dtype in NARROW and is_plain(x) and len(x.type.shape) >= 2,
    softmax: lambda d, x: x.type.dtype in ("int8", "int16", "int32") and has_unit(x) and x.name not in d.profiled,
    gelu: lambda d, x: x.type.dtype in ("int8", "int16") and has_unit(x) and x.name not in d.profiled,
    exponential: lambda d, x: x.type.dtype in ("int8", "int16", "int32") and has_unit(x) and x.name not in d.profiled,
    int_div: lambda d, x: x.type.dtype == "int32" and x.name not in d.profiled,
    int_sqrt: lambda d, x: x.type.dtype == "int32" and x.name not in d.profiled,
    layer_norm: lambda d, x: x.type.dtype in NARROW and known(x.type.shape[-1]) and (x.quant is None or x.quant.axis is None),
    conv: lambda d, x: (
        x.type.dtype in NARROW
        and len(x.type.shape) == 4
        and known(*x.type.shape[1:])
        and (x.quant is None or is_plain(x))
        and x.name not in d.profiled
    ),
    add: lambda d, x: x.type.dtype in ACCUMULATORS and is_symmetric(x),
    center: lambda d, x: x.type.dtype in NARROW and x.name not in d.profiled,
    rescale: lambda d, x: True,
    mul: lambda d, x: x.type.dtype in NARROW and is_plain(x),
    clip: lambda d, x: x.type.dtype in ACCUMULATORS and x.name not in d.profiled,
    reduce_sum: lambda d, x: x.type.dtype in ACCUMULATORS and (x.quant is None or is_symmetric(x)) and bool(free_axes(x)),
    reduce_mean: lambda d, x: x.type.dtype in ACCUMULATORS and (x.quant is None or is_symmetric(x)) and bool(free_axes(x)),
    lookup: lambda d, x: x.type.dtype in ("int8", "uint8") and x.name not in d.profiled,
    dequantize: lambda d, x: x.type.dtype in (*ACCUMULATORS, "uint16"),
}
"""Each step, and the values that it applies to."""
