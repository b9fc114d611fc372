"""Valid calls of the operators of deployed runtimes: for each a strategy of ``(arrays, attributes)``."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ivit_ref import dyadic
from ivit_ref.integers import BOUNDS
from ivit_ref.testing.elements import ACCUMULATORS, RESULTS, Call, arrays, between, channels, shapes, zero_points
from ivit_ref.testing.rows import rows
from ivit_ref.testing.values import scales

MOST = 2**31 - 1


def held(dtype: str, low: int, high: int) -> st.SearchStrategy[int]:
    """Integers of the dtype, none outside ``low`` to ``high``."""
    least, most = BOUNDS[dtype]
    return between(max(low, least), min(high, most))


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
    count = draw(channels(shape, axis))
    numbers = draw(st.lists(dyadics(least, shifts), min_size=count, max_size=count))
    attributes = {
        "multiplier": tuple(m for m, _ in numbers),
        "shift": tuple(s for _, s in numbers),
        "axis": axis,
        "zero_point": draw(zero_points(result)),
        "dtype": result,
    }
    return draw(st.sampled_from(ACCUMULATORS)), shape, attributes


@st.composite
def gemmlowp_requantize_calls(draw: st.DrawFn) -> Call:
    """Calls of GemmlowpRequantize; where shifts are below 31, half of them without an x that leaves int32 on the way."""
    dtype, shape, attributes = draw(scalings(-MOST, (0, 62)))
    left = max(31 - min(attributes["shift"]), 0)
    most = draw(st.sampled_from([MOST, MOST >> left]))
    return (draw(arrays(dtype, shape, held(dtype, -most - 1, most))),), attributes


@st.composite
def tosa_rescale_calls(draw: st.DrawFn) -> Call:
    """Calls of TosaRescale."""
    dtype, shape, attributes = draw(scalings(0, (2, 62)))
    half = 2 ** (min(attributes["shift"]) - 1)
    return (draw(arrays(dtype, shape, held(dtype, -half, half - 1))),), {**attributes, "double_round": draw(st.booleans())}


@st.composite
def softmax_attributes(draw: st.DrawFn) -> dict[str, Any]:
    """Those of a scale, or each on its own."""
    dtype = draw(st.sampled_from(["int8", "int16"]))
    multiplier, left_shift, diff_min = dyadic.softmax_multiplier(draw(scales(min_value=2.0**-25, max_value=2.0**10)))
    if draw(st.booleans()):
        multiplier, left_shift = draw(between(0, MOST)), draw(st.integers(0, 31))
        diff_min = draw(between(-(31 * 2**26 >> left_shift), 0))
    return {"multiplier": multiplier, "left_shift": left_shift, "diff_min": diff_min, "dtype": dtype}


def tflite_softmax_calls() -> st.SearchStrategy[Call]:
    """Calls of TFLiteSoftmax, in rows of at most 64: no sum of exponentials is too large."""
    return st.tuples(st.tuples(rows("TFLiteSoftmax")), softmax_attributes())


CALLS: dict[str, st.SearchStrategy[Call]] = {
    "GemmlowpRequantize": gemmlowp_requantize_calls(),
    "TosaRescale": tosa_rescale_calls(),
    "TFLiteSoftmax": tflite_softmax_calls(),
}
