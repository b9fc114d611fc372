"""Valid calls of the operators of deployed runtimes: for each a strategy of ``(arrays, attributes)``."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from ivit_ref import dyadic

Array: TypeAlias = npt.NDArray[Any]
Call: TypeAlias = tuple[tuple[Array, ...], dict[str, Any]]

ACCUMULATORS = ("int8", "uint8", "int16", "int32")
RESULTS = ("int8", "uint8", "int16", "uint16", "int32")
MOST = 2**31 - 1


def shapes(longest: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """One to three axes."""
    return st.lists(st.integers(1, longest), min_size=1, max_size=3).map(tuple)


def integers(low: int, high: int) -> st.SearchStrategy[int]:
    """From low to high: both ends and what is next to zero more often, and small ones as often as any."""
    special = sorted(v for v in {low, low + 1, -2, -1, 0, 1, 2, high - 1, high} if low <= v <= high)
    near = st.integers(max(low, -(2**16)), min(high, 2**16)) if low <= 0 <= high else st.integers(low, high)
    return st.one_of(st.sampled_from(special), near, st.integers(low, high))


@st.composite
def arrays(draw: st.DrawFn, dtype: str, shape: tuple[int, ...], low: int, high: int) -> Array:
    """Any integers of the dtype, none outside ``low`` to ``high``."""
    info = np.iinfo(dtype)
    count = math.prod(shape)
    value = integers(max(low, int(info.min)), min(high, int(info.max)))
    return np.array(draw(st.lists(value, min_size=count, max_size=count)), dtype).reshape(shape)


@st.composite
def dyadics(draw: st.DrawFn, least: int, shifts: tuple[int, int]) -> tuple[int, int]:
    """A multiplier from ``least`` on and a shift: any, the ends, powers of two, small numbers that make ties, usual ratios."""
    any_shift = st.one_of(st.sampled_from([shifts[0], 30, 31, 32, 33, shifts[1]]), st.integers(*shifts))
    ends = st.sampled_from([m for m in (-MOST, -(2**30), -1, 0, 1, 2**30, MOST) if m >= least])
    usual = st.integers(2**30, MOST).map(lambda m: m if least >= 0 else -m)
    multiplier = draw(st.one_of(ends, st.integers(least, MOST), st.integers(max(least, -15), 15), usual))
    return multiplier, draw(st.one_of(any_shift, st.integers(28, 54)))


@st.composite
def scalings(draw: st.DrawFn, least: int, shifts: tuple[int, int]) -> tuple[str, tuple[int, ...], dict[str, Any]]:
    """The dtype and the shape of x, and the attributes that every requantization has."""
    shape, result = draw(shapes()), draw(st.sampled_from(RESULTS))
    axis = draw(st.integers(0, len(shape) - 1))
    count = draw(st.sampled_from([1, shape[axis]]))
    numbers = draw(st.lists(dyadics(least, shifts), min_size=count, max_size=count))
    info = np.iinfo(result)
    attributes = {
        "multiplier": tuple(m for m, _ in numbers),
        "shift": tuple(s for _, s in numbers),
        "axis": axis,
        "zero_point": draw(st.one_of(st.just(0), integers(int(info.min), int(info.max)))),
        "dtype": result,
    }
    return draw(st.sampled_from(ACCUMULATORS)), shape, attributes


@st.composite
def gemmlowp_requantize_calls(draw: st.DrawFn) -> Call:
    """Calls of GemmlowpRequantize; where shifts are below 31, half of them without an x that leaves int32 on the way."""
    dtype, shape, attributes = draw(scalings(-MOST, (0, 62)))
    left = max(31 - min(attributes["shift"]), 0)
    most = draw(st.sampled_from([MOST, MOST >> left]))
    return (draw(arrays(dtype, shape, -most - 1, most)),), attributes


@st.composite
def tosa_rescale_calls(draw: st.DrawFn) -> Call:
    """Calls of TosaRescale."""
    dtype, shape, attributes = draw(scalings(0, (2, 62)))
    half = 2 ** (min(attributes["shift"]) - 1)
    return (draw(arrays(dtype, shape, -half, half - 1)),), {**attributes, "double_round": draw(st.booleans())}


@st.composite
def rows(draw: st.DrawFn, shape: tuple[int, ...]) -> Array:
    """int8 rows: any, near zero, of two values, of one."""
    low, high = draw(st.sampled_from([(-128, 127), (-20, 20)]))
    kind = draw(st.sampled_from(["any", "two", "equal"]))
    if kind == "any":
        return draw(arrays("int8", shape, low, high))
    two = draw(st.lists(integers(low, high), min_size=2, max_size=2))
    chosen = draw(arrays("int8", shape, 0, int(kind == "two")))
    return np.asarray(np.array(two, "int8")[chosen])


@st.composite
def softmax_attributes(draw: st.DrawFn) -> dict[str, Any]:
    """Those of a scale, or each on its own."""
    dtype = draw(st.sampled_from(["int8", "int16"]))
    usual = st.sampled_from([0.2, 0.1, 0.05, 0.02, 0.01, 0.004, 0.001])
    scales = st.one_of(usual, st.integers(-25, 10).map(lambda e: 2.0**e), st.floats(2.0**-25, 8.0, width=32))
    multiplier, left_shift, diff_min = dyadic.softmax_multiplier(draw(scales))
    if draw(st.booleans()):
        multiplier, left_shift = draw(integers(0, MOST)), draw(st.integers(0, 31))
        diff_min = draw(integers(-(31 * 2**26 >> left_shift), 0))
    return {"multiplier": multiplier, "left_shift": left_shift, "diff_min": diff_min, "dtype": dtype}


@st.composite
def tflite_softmax_calls(draw: st.DrawFn) -> Call:
    """Calls of TFLiteSoftmax, in rows of at most 64: no sum of exponentials is too large."""
    shape = draw(st.one_of(shapes(), st.tuples(st.integers(1, 3), st.integers(1, 64))))
    return (draw(rows(shape)),), draw(softmax_attributes())


CALLS: dict[str, st.SearchStrategy[Call]] = {
    "GemmlowpRequantize": gemmlowp_requantize_calls(),
    "TosaRescale": tosa_rescale_calls(),
    "TFLiteSoftmax": tflite_softmax_calls(),
}
