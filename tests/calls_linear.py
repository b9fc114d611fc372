"""Valid calls of the linear and structural operators: for each a strategy of ``(arrays, attributes)``."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Arrays: TypeAlias = tuple[npt.NDArray[Any], ...]
Call: TypeAlias = tuple[Arrays, dict[str, Any]]

ROUNDINGS = ("floor", "truncate", "half_up", "half_away", "half_even")
NARROW = ("int8", "uint8", "int16")
ACCUMULATORS = ("int8", "uint8", "int16", "int32")
RESULTS = ("int8", "uint8", "int16", "uint16", "int32")
EDGES = ("int8", "uint8", "int16", "uint16")
WEIGHTS = ("int8", "int16")
MEAN_ROUNDINGS = ("half_even", "half_away", "truncate")
INTEGERS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64")

LARGEST_MULTIPLIER = 2**31 - 1
LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127


def bounds(dtype: str) -> tuple[int, int]:
    if dtype == "bool":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def values(dtype: str) -> st.SearchStrategy[int]:
    """Any value of the dtype, its extremes and what is next to zero more often."""
    low, high = bounds(dtype)
    special = sorted({low, min(low + 1, high), max(low, -1), 0, 1, max(high - 1, low), high})
    return st.sampled_from(special) | anywhere(low, high)


def anywhere(low: int, high: int) -> st.SearchStrategy[int]:
    """Any integer from low to high, all about as often: ``st.integers`` prefers small ones in a large range."""
    count = (high - low).bit_length() // 8 + 1
    return st.binary(min_size=count, max_size=count).map(lambda b: low + int.from_bytes(b, "big") % (high - low + 1))


def filled(
    draw: st.DrawFn, dtype: str, shape: tuple[int, ...], elements: st.SearchStrategy[int] | None = None
) -> npt.NDArray[Any]:
    """An array of the dtype and shape; ``elements`` instead of any values."""
    count = math.prod(shape)
    drawn = draw(st.lists(values(dtype) if elements is None else elements, min_size=count, max_size=count))
    return np.array(drawn, dtype).reshape(shape)


def shapes(low: int = 1, high: int = 3, longest: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    lengths = st.integers(1, longest)
    return st.integers(low, high).flatmap(lambda rank: st.tuples(*[lengths] * rank))


def broadcastable(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast to this one: at each axis one of them may be of length one, or end before it."""
    pair = [list(shape), list(shape)]
    for i in range(len(shape)):
        shortened = draw(st.sampled_from([None, 0, 1]))
        if shortened is not None:
            pair[shortened][i] = 1
    lacking, leading = draw(st.sampled_from([0, 1])), draw(st.integers(0, len(shape)))
    pair[1 - lacking][:leading] = shape[:leading]
    del pair[lacking][:leading]
    return tuple(pair[0]), tuple(pair[1])


@st.composite
def matmuls(draw: st.DrawFn) -> Call:
    a_dtype, b_dtype = draw(st.permutations([draw(st.sampled_from(ACCUMULATORS)), draw(st.sampled_from(NARROW))]))
    rows, inner, columns = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    a_leading, b_leading = broadcastable(draw, draw(shapes(0, 2, 2)))
    a_elements = b_elements = None
    if draw(st.booleans()):
        # Two products of the least int16 leave int32; mixed with others the sums come close to its limits.
        a_dtype, b_dtype, inner = "int16", "int16", draw(st.integers(2, 4))
        ends, mixed = st.sampled_from([-(2**15), 2**15 - 1]), st.sampled_from([-(2**15), 2**15 - 1, -1, 0, 1])
        a_elements = b_elements = draw(st.sampled_from([st.just(-(2**15)), ends, mixed]))
    a = filled(draw, a_dtype, (*a_leading, rows, inner), a_elements)
    b = filled(draw, b_dtype, (*b_leading, inner, columns), b_elements)
    return (a, b), {"alpha": draw(st.sampled_from([1.0, 0.125, 8**-0.5, 3.0]))}


def biases() -> st.SearchStrategy[int]:
    """Half of them at the limits, where the first product leaves int32."""
    return st.sampled_from([-(2**31), 2**31 - 1, 0]) | st.integers(-1000, 1000) | values("int32")


@st.composite
def linears(draw: st.DrawFn) -> Call:
    dtype = draw(st.sampled_from(ACCUMULATORS))
    inner, outputs = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    x = filled(draw, dtype, (*draw(shapes(0, 2, 3)), inner))
    weight = filled(draw, draw(st.sampled_from(WEIGHTS)), (outputs, inner))
    return (x, weight, filled(draw, "int32", (outputs,), biases())), {}


@st.composite
def convs(draw: st.DrawFn) -> Call:
    group, per_group, per_output = draw(st.sampled_from([(1, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1), (3, 1, 1), (3, 2, 1)]))
    kernel = [draw(st.integers(1, 3)), draw(st.integers(1, 2))]
    strides = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    dilations = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
    pads = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    spans = [dilations[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    image = [max(1, spans[i] - pads[i] - pads[i + 2]) + draw(st.integers(0, 2)) for i in (0, 1)]
    x = filled(draw, draw(st.sampled_from(ACCUMULATORS)), (draw(st.integers(1, 2)), group * per_group, *image))
    weight = filled(draw, draw(st.sampled_from(WEIGHTS)), (group * per_output, per_group, *kernel))
    bias = filled(draw, "int32", (group * per_output,), biases())
    geometry = {"strides": tuple(strides), "pads": tuple(pads), "dilations": tuple(dilations), "group": group}
    return (x, weight, bias), geometry


def dyadics() -> st.SearchStrategy[tuple[int, int]]:
    """Multiplier and shift: any, the extremes, ratios that halve odd numbers exactly, and ratios as scales give them."""
    extremes = st.sampled_from([-LARGEST_MULTIPLIER, -(2**30), -1, 0, 1, 2**30, LARGEST_MULTIPLIER])
    anything = st.tuples(
        extremes | anywhere(-LARGEST_MULTIPLIER, LARGEST_MULTIPLIER), st.sampled_from([0, 1, 31, 62]) | st.integers(0, 62)
    )
    signs = st.sampled_from([-1, 1])
    ties = st.builds(lambda sign, odd, k, j: (sign * odd * 2**k, k + j), signs, odds(15), st.integers(0, 27), st.integers(1, 4))
    usual = st.builds(lambda sign, m, s: (sign * m, s), signs, anywhere(2**30, LARGEST_MULTIPLIER), st.integers(28, 54))
    return anything | ties | usual


def odds(highest: int) -> st.SearchStrategy[int]:
    return st.integers(0, highest // 2).map(lambda n: 2 * n + 1 if 2 * n < highest else highest)


def accumulators(dtype: str) -> st.SearchStrategy[int]:
    """Values of the dtype, small and moderate ones as often as any: their quotients are not all saturated."""
    low, high = bounds(dtype)
    moderate = st.integers(max(low, -(2**16)), min(high, 2**16))
    return values(dtype) | st.integers(max(low, -40), 40) | moderate


def zero_points(draw: st.DrawFn, dtype: str) -> int:
    return int(draw(st.just(0) | values(dtype)))


def channels(draw: st.DrawFn, shape: tuple[int, ...], axis: int) -> int:
    """One number for the tensor, or one for each index along the axis."""
    return int(draw(st.sampled_from([1, shape[axis]])))


def numbers(draw: st.DrawFn, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    pairs = draw(st.lists(dyadics(), min_size=count, max_size=count))
    return tuple(m for m, _ in pairs), tuple(s for _, s in pairs)


@st.composite
def requantizes(draw: st.DrawFn) -> Call:
    dtype, result = draw(st.sampled_from(ACCUMULATORS)), draw(st.sampled_from(RESULTS))
    shape = draw(shapes())
    axis = draw(st.integers(0, len(shape) - 1))
    multiplier, shift = numbers(draw, channels(draw, shape, axis))
    attributes = {
        "multiplier": multiplier,
        "shift": shift,
        "rounding": draw(st.sampled_from(ROUNDINGS)),
        "axis": axis,
        "zero_point": zero_points(draw, result),
        "dtype": result,
    }
    return (filled(draw, dtype, shape, accumulators(dtype)),), attributes


@st.composite
def requantize_adds(draw: st.DrawFn) -> Call:
    a_dtype, b_dtype, result = (draw(st.sampled_from(names)) for names in (ACCUMULATORS, ACCUMULATORS, RESULTS))
    shape = draw(shapes(longest=3))
    a_shape, b_shape = broadcastable(draw, shape)
    axis = draw(st.integers(0, len(shape) - 1))
    rounds = draw(st.sampled_from(["each", "once"]))
    a_multiplier, a_shift = numbers(draw, channels(draw, shape, axis))
    b_count = len(a_shift) if rounds == "once" else channels(draw, shape, axis)
    b_multiplier, b_shift = numbers(draw, b_count)
    attributes = {
        "a_multiplier": a_multiplier,
        "a_shift": a_shift,
        "b_multiplier": b_multiplier,
        "b_shift": a_shift if rounds == "once" else b_shift,
        "rounding": draw(st.sampled_from(ROUNDINGS)),
        "rounds": rounds,
        "axis": axis,
        "zero_point": zero_points(draw, result),
        "dtype": result,
    }
    a, b = filled(draw, a_dtype, a_shape, accumulators(a_dtype)), filled(draw, b_dtype, b_shape, accumulators(b_dtype))
    return (a, b), attributes


def float32s() -> st.SearchStrategy[float]:
    return st.floats(allow_nan=False, allow_infinity=False, width=32)


def scales() -> st.SearchStrategy[float]:
    """Float32 steps: usual ones, powers of two, and the ends of what has a normal reciprocal."""
    usual = st.floats(2.0**-12, 1.0, width=32)
    powers = st.integers(-126, 126).map(lambda e: 2.0**e)
    return usual | st.integers(-8, 2).map(lambda e: 2.0**e) | powers | st.floats(2.0**-126, 2.0**126, width=32)


@st.composite
def quantizes(draw: st.DrawFn) -> Call:
    dtype, scale, shape = draw(st.sampled_from(EDGES)), draw(scales()), draw(shapes(0, 3))
    # Halves of a step are where ties are.
    steps = min(2**18, int(LARGEST_FLOAT32 / scale))
    halves = st.integers(-steps, steps).map(lambda n: float(np.float32(n / 2 * scale)))
    largest = st.sampled_from([LARGEST_FLOAT32, -LARGEST_FLOAT32])
    elements = halves | float32s() | largest | st.sampled_from([0.0, -0.0, 2.0**-149, -(2.0**-149)])
    count = math.prod(shape)
    x = np.array(draw(st.lists(elements, min_size=count, max_size=count)), np.float32).reshape(shape)
    division = draw(st.sampled_from(["reciprocal", "direct"]))
    return (x,), {"scale": scale, "zero_point": zero_points(draw, dtype), "dtype": dtype, "division": division}


@st.composite
def dequantizes(draw: st.DrawFn) -> Call:
    dtype, shape = draw(st.sampled_from(RESULTS)), draw(shapes())
    axis = draw(st.integers(0, len(shape) - 1))
    count = channels(draw, shape, axis)
    # Some products are subnormal or round to zero.
    steps = (st.floats(2.0**-149, 2.0**90, width=32) | scales()).filter(lambda s: s < 2.0**90)
    signed = st.builds(lambda sign, s: sign * s, st.sampled_from([-1, 1]), steps)
    attributes = {
        "scale": tuple(draw(st.lists(signed, min_size=count, max_size=count))),
        "axis": axis,
        "zero_point": draw(st.sampled_from([0, 2**16, -(2**16)]) | st.integers(-(2**16), 2**16)),
    }
    return (filled(draw, dtype, shape),), attributes


@st.composite
def centers(draw: st.DrawFn) -> Call:
    dtype = draw(st.sampled_from(EDGES))
    low, high = bounds(dtype)
    zero_point = zero_points(draw, dtype)
    fits = low - zero_point >= -(2**15) and high - zero_point <= 2**15 - 1
    result = draw(st.sampled_from(["int16", "int32"] if fits else ["int32"]))
    return (filled(draw, dtype, draw(shapes(0, 3))),), {"zero_point": zero_point, "dtype": result}


def factors() -> st.SearchStrategy[float]:
    """Float32 numbers of either sign, never zero."""
    return st.sampled_from([1.0, -1.0, 2.0**-149, -LARGEST_FLOAT32]) | float32s().filter(bool)


@st.composite
def rescales(draw: st.DrawFn) -> Call:
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(0, 3))
    axis = draw(st.integers(0, max(0, len(shape) - 1)))
    count = channels(draw, shape, axis) if shape else 1
    alpha = tuple(draw(st.lists(factors(), min_size=count, max_size=count)))
    return (filled(draw, dtype, shape),), {"alpha": alpha, "axis": axis}


@st.composite
def muls(draw: st.DrawFn) -> Call:
    a_dtype, b_dtype = draw(st.sampled_from(ACCUMULATORS)), draw(st.sampled_from(ACCUMULATORS))
    a_shape, b_shape = broadcastable(draw, draw(shapes(0, 3, 3)))
    a_elements = b_elements = None
    kind = draw(st.sampled_from(["any", "limits", "near"]))
    if kind == "limits":
        # -(2**16) * 2**15 is the least int32, and what has the other sign is just beyond the largest.
        a_dtype = b_dtype = "int32"
        a_elements = st.sampled_from([2**16, -(2**16), 2**31 - 1, -(2**31)])
        b_elements = draw(st.sampled_from([st.just(1), st.just(-1), st.just(2**15), st.sampled_from([1, -1, 2**15, -(2**15)])]))
    if kind == "near":
        # 46340 * 46340 is the largest square within int32.
        a_dtype = b_dtype = "int32"
        near = st.integers(-1, 1)
        powers = st.builds(lambda sign, e, k: sign * 2**e + k, st.sampled_from([-1, 1]), st.integers(14, 17), near)
        roots = st.builds(lambda sign, k: sign * (46340 + k), st.sampled_from([-1, 1]), near)
        a_elements = b_elements = powers | roots | st.sampled_from([-(2**31), 2**31 - 1, -1, 1])
    return (filled(draw, a_dtype, a_shape, a_elements), filled(draw, b_dtype, b_shape, b_elements)), {}


@st.composite
def clips(draw: st.DrawFn) -> Call:
    dtype = draw(st.sampled_from(RESULTS))
    low, high = sorted((draw(values(dtype)), draw(values(dtype))))
    near = st.sampled_from([low, high]) | st.integers(max(low - 2, bounds(dtype)[0]), min(high + 2, bounds(dtype)[1]))
    return (filled(draw, dtype, draw(shapes(0, 3)), values(dtype) | near),), {"low": low, "high": high}


@st.composite
def reduce_sums(draw: st.DrawFn) -> Call:
    dtype, shape = draw(st.sampled_from(ACCUMULATORS)), draw(shapes(1, 4, 3))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True).map(sorted))
    elements = None
    if draw(st.booleans()):
        # Two halves of the least int32 are just within it, two of 2**30 just beyond the largest.
        dtype = "int32"
        elements = st.sampled_from([-(2**30), 2**30 - 1, 2**30, -1, 0, 1]) | st.sampled_from([-(2**31), 2**31 - 1, 0])
    return (filled(draw, dtype, shape, elements),), {"axes": tuple(axes)}


@st.composite
def reduce_means(draw: st.DrawFn) -> Call:
    dtype, shape = draw(st.sampled_from(ACCUMULATORS)), draw(shapes(1, 4, 4).filter(lambda s: math.prod(s) <= 64))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True).map(sorted))
    # Small numbers, whose means are ties more often.
    elements = draw(st.sampled_from([values(dtype), st.integers(0 if dtype == "uint8" else -4, 4)]))
    attributes = {"axes": tuple(axes), "rounding": draw(st.sampled_from(MEAN_ROUNDINGS))}
    return (filled(draw, dtype, shape, elements),), attributes


@st.composite
def max_pools(draw: st.DrawFn) -> Call:
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
    lowest = st.just(bounds(dtype)[0])
    x = filled(draw, dtype, shape, draw(st.sampled_from([values(dtype), values(dtype) | lowest, lowest])))
    return (x,), {name: tuple(numbers) for name, numbers in geometry.items()}


@st.composite
def wheres(draw: st.DrawFn) -> Call:
    dtype = draw(st.sampled_from(INTEGERS))
    first, second = broadcastable(draw, draw(shapes(0, 3, 3)))
    third = draw(st.sampled_from([first, second, ()]))
    condition, x, y = draw(st.permutations([first, second, third]))
    return (filled(draw, "bool", condition), filled(draw, dtype, x), filled(draw, dtype, y)), {}


@st.composite
def takes(draw: st.DrawFn) -> Call:
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(1, 4, 3))
    axis = draw(st.integers(0, len(shape) - 1))
    indices = draw(st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=5))
    return (filled(draw, dtype, shape),), {"axis": axis, "indices": tuple(indices)}


@st.composite
def rolls(draw: st.DrawFn) -> Call:
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(1, 4, 4).filter(lambda s: math.prod(s) <= 64))
    axis = draw(st.integers(0, len(shape) - 1))
    return (filled(draw, dtype, shape),), {"axis": axis, "shift": draw(st.integers(0, shape[axis] - 1))}


@st.composite
def reshapes(draw: st.DrawFn) -> Call:
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
    return (filled(draw, dtype, shape),), {"shape": tuple(target)}


@st.composite
def transposes(draw: st.DrawFn) -> Call:
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(0, 4, 3))
    return (filled(draw, dtype, shape),), {"perm": tuple(draw(st.permutations(range(len(shape)))))}


@st.composite
def concats(draw: st.DrawFn) -> Call:
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(1, 4, 3))
    axis = draw(st.integers(0, len(shape) - 1))
    other = (*shape[:axis], draw(st.integers(1, 3)), *shape[axis + 1 :])
    return (filled(draw, dtype, shape), filled(draw, dtype, other)), {"axis": axis}


@st.composite
def slices(draw: st.DrawFn) -> Call:
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(1, 4, 4).filter(lambda s: math.prod(s) <= 64))
    axis = draw(st.integers(0, len(shape) - 1))
    start = draw(st.integers(0, shape[axis] - 1))
    stop = draw(st.integers(start + 1, shape[axis]))
    return (filled(draw, dtype, shape),), {"axis": axis, "start": start, "stop": stop}


@st.composite
def expands(draw: st.DrawFn) -> Call:
    dtype, like_dtype = draw(st.sampled_from(INTEGERS)), draw(st.sampled_from(INTEGERS))
    shape = list(draw(shapes(0, 4, 3).filter(lambda s: math.prod(s) <= 27)))
    like = draw(st.lists(st.integers(1, 3), min_size=len(shape), max_size=len(shape)))
    axes = [i for i in range(len(shape)) if draw(st.booleans())]
    for axis in axes:
        shape[axis] = 1
    arrays = filled(draw, dtype, tuple(shape)), filled(draw, like_dtype, tuple(like))
    return arrays, {"axes": tuple(axes)}


CALLS: dict[str, st.SearchStrategy[Call]] = {
    "MatMul": matmuls(),
    "Linear": linears(),
    "Conv": convs(),
    "Requantize": requantizes(),
    "RequantizeAdd": requantize_adds(),
    "Quantize": quantizes(),
    "Dequantize": dequantizes(),
    "Center": centers(),
    "Rescale": rescales(),
    "Mul": muls(),
    "Clip": clips(),
    "ReduceSum": reduce_sums(),
    "ReduceMean": reduce_means(),
    "MaxPool": max_pools(),
    "Where": wheres(),
    "Take": takes(),
    "Roll": rolls(),
    "Reshape": reshapes(),
    "Transpose": transposes(),
    "Concat": concats(),
    "Slice": slices(),
    "Expand": expands(),
}
