"""Valid calls of the operators that choose, move and repeat elements: MaxPool, Where, Take, Roll, Reshape and their like."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from ivit_ref.integers import BOUNDS
from ivit_ref.testing.elements import INTEGERS, Call, arrays, broadcastable_pairs, shapes, values


@st.composite
def max_pool_calls(draw: st.DrawFn) -> Call:
    """MaxPool: windows that may lie in the padding for the most part."""
    dtype = draw(st.sampled_from(["int8", "uint8"]))
    kernel = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    strides = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    dilations = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    spans = [dilations[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    pads = [draw(st.integers(0, spans[i % 2] - 1)) for i in range(4)]
    least = [max(dilations[i], spans[i] - pads[i] - pads[i + 2]) for i in (0, 1)]
    image = [least[i] + draw(st.integers(0, 2)) for i in (0, 1)]
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *image)
    geometry = {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations}
    lowest = st.just(BOUNDS[dtype][0])
    x = draw(arrays(dtype, shape, draw(st.sampled_from([values(dtype), values(dtype) | lowest, lowest]))))
    return (x,), {name: tuple(numbers) for name, numbers in geometry.items()}


@st.composite
def where_calls(draw: st.DrawFn) -> Call:
    """Where."""
    dtype = draw(st.sampled_from(INTEGERS))
    first, second = draw(broadcastable_pairs(draw(shapes(0, 3, 3))))
    third = draw(st.sampled_from([first, second, ()]))
    condition, x, y = draw(st.permutations([first, second, third]))
    return (draw(arrays("bool", condition)), draw(arrays(dtype, x)), draw(arrays(dtype, y))), {}


@st.composite
def take_calls(draw: st.DrawFn) -> Call:
    """Take."""
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(1, 4, 3))
    axis = draw(st.integers(0, len(shape) - 1))
    indices = draw(st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=5))
    return (draw(arrays(dtype, shape)),), {"axis": axis, "indices": tuple(indices)}


@st.composite
def roll_calls(draw: st.DrawFn) -> Call:
    """Roll."""
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(1, 4, 4).filter(lambda s: math.prod(s) <= 64))
    axis = draw(st.integers(0, len(shape) - 1))
    return (draw(arrays(dtype, shape)),), {"axis": axis, "shift": draw(st.integers(0, shape[axis] - 1))}


@st.composite
def reshape_calls(draw: st.DrawFn) -> Call:
    """Reshape: targets with 0 and -1."""
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(0, 4, 3))
    rest, target = math.prod(shape), []
    while rest > 1 or draw(st.booleans()):
        target.append(draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0])))
        rest //= target[-1]
        if len(target) == 4:
            target.append(rest)
            break
    for i, (d, kept) in enumerate(zip(target, shape, strict=False)):
        if d == kept and draw(st.booleans()):
            target[i] = 0
    if len(target) > 0 and draw(st.booleans()):
        target[draw(st.integers(0, len(target) - 1))] = -1
    return (draw(arrays(dtype, shape)),), {"shape": tuple(target)}


@st.composite
def transpose_calls(draw: st.DrawFn) -> Call:
    """Transpose."""
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(0, 4, 3))
    return (draw(arrays(dtype, shape)),), {"perm": tuple(draw(st.permutations(range(len(shape)))))}


@st.composite
def concat_calls(draw: st.DrawFn) -> Call:
    """Concat."""
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(1, 4, 3))
    axis = draw(st.integers(0, len(shape) - 1))
    other = (*shape[:axis], draw(st.integers(1, 3)), *shape[axis + 1 :])
    return (draw(arrays(dtype, shape)), draw(arrays(dtype, other))), {"axis": axis}


@st.composite
def slice_calls(draw: st.DrawFn) -> Call:
    """Slice."""
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(1, 4, 4).filter(lambda s: math.prod(s) <= 64))
    axis = draw(st.integers(0, len(shape) - 1))
    start = draw(st.integers(0, shape[axis] - 1))
    stop = draw(st.integers(start + 1, shape[axis]))
    return (draw(arrays(dtype, shape)),), {"axis": axis, "start": start, "stop": stop}


@st.composite
def expand_calls(draw: st.DrawFn) -> Call:
    """Expand."""
    dtype, like_dtype = draw(st.sampled_from(INTEGERS)), draw(st.sampled_from(INTEGERS))
    shape = list(draw(shapes(0, 4, 3).filter(lambda s: math.prod(s) <= 27)))
    like = draw(st.lists(st.integers(1, 3), min_size=len(shape), max_size=len(shape)))
    axes = [i for i in range(len(shape)) if draw(st.booleans())]
    for axis in axes:
        shape[axis] = 1
    return (draw(arrays(dtype, tuple(shape))), draw(arrays(like_dtype, tuple(like)))), {"axes": tuple(axes)}


CALLS: dict[str, st.SearchStrategy[Call]] = {
    "MaxPool": max_pool_calls(),
    "Where": where_calls(),
    "Take": take_calls(),
    "Roll": roll_calls(),
    "Reshape": reshape_calls(),
    "Transpose": transpose_calls(),
    "Concat": concat_calls(),
    "Slice": slice_calls(),
    "Expand": expand_calls(),
}
