"""Valid calls of the operators between scales: Requantize, RequantizeAdd, Quantize, Dequantize, Center, Rescale, Clip."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from ivit_ref.integers import BOUNDS, ROUNDINGS
from ivit_ref.ir import LARGEST_FLOAT32
from ivit_ref.profiles import Profile
from ivit_ref.testing.elements import (
    ACCUMULATORS,
    EDGES,
    INTEGERS,
    RESULTS,
    Call,
    anywhere,
    arrays,
    broadcastable_pairs,
    channels,
    odds,
    shapes,
    values,
    zero_points,
)

LARGEST_MULTIPLIER = 2**31 - 1


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


def accumulators(dtype: str) -> st.SearchStrategy[int]:
    """Values of the dtype, small and moderate ones as often as any: their quotients are not all saturated."""
    low, high = BOUNDS[dtype]
    moderate = st.integers(max(low, -(2**16)), min(high, 2**16))
    return values(dtype) | st.integers(max(low, -40), 40) | moderate


@st.composite
def dyadic_columns(draw: st.DrawFn, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Multipliers and shifts for so many channels."""
    pairs = draw(st.lists(dyadics(), min_size=count, max_size=count))
    return tuple(m for m, _ in pairs), tuple(s for _, s in pairs)


@st.composite
def requantize_calls(draw: st.DrawFn, profile: Profile | None = None) -> Call:
    """Requantize, per tensor and along any axis."""
    dtype, result = draw(st.sampled_from(ACCUMULATORS)), draw(st.sampled_from(RESULTS))
    shape = draw(shapes())
    axis = draw(st.integers(0, len(shape) - 1))
    multiplier, shift = draw(dyadic_columns(draw(channels(shape, axis))))
    attributes = {
        "multiplier": multiplier,
        "shift": shift,
        "rounding": profile.rounding if profile else draw(st.sampled_from(ROUNDINGS)),
        "axis": axis,
        "zero_point": draw(zero_points(result)),
        "dtype": result,
    }
    return (draw(arrays(dtype, shape, accumulators(dtype))),), attributes


@st.composite
def requantize_add_calls(draw: st.DrawFn, profile: Profile | None = None) -> Call:
    """RequantizeAdd: branches that broadcast, rounded each or once."""
    a_dtype, b_dtype, result = (draw(st.sampled_from(names)) for names in (ACCUMULATORS, ACCUMULATORS, RESULTS))
    shape = draw(shapes(max_side=3))
    a_shape, b_shape = draw(broadcastable_pairs(shape))
    axis = draw(st.integers(0, len(shape) - 1))
    rounds = draw(st.sampled_from(["each", "once"]))
    a_multiplier, a_shift = draw(dyadic_columns(draw(channels(shape, axis))))
    b_count = len(a_shift) if rounds == "once" else draw(channels(shape, axis))
    b_multiplier, b_shift = draw(dyadic_columns(b_count))
    attributes = {
        "a_multiplier": a_multiplier,
        "a_shift": a_shift,
        "b_multiplier": b_multiplier,
        "b_shift": a_shift if rounds == "once" else b_shift,
        "rounding": profile.rounding if profile else draw(st.sampled_from(ROUNDINGS)),
        "rounds": rounds,
        "axis": axis,
        "zero_point": draw(zero_points(result)),
        "dtype": result,
    }
    a, b = draw(arrays(a_dtype, a_shape, accumulators(a_dtype))), draw(arrays(b_dtype, b_shape, accumulators(b_dtype)))
    return (a, b), attributes


def float32s() -> st.SearchStrategy[float]:
    """Any number that is one."""
    return st.floats(allow_nan=False, allow_infinity=False, width=32)


def real_steps() -> st.SearchStrategy[float]:
    """Float32 steps: usual ones, powers of two, and the ends of what has a normal reciprocal."""
    usual = st.floats(2.0**-12, 1.0, width=32)
    powers = st.integers(-126, 126).map(lambda e: 2.0**e)
    return usual | st.integers(-8, 2).map(lambda e: 2.0**e) | powers | st.floats(2.0**-126, 2.0**126, width=32)


@st.composite
def quantize_calls(draw: st.DrawFn) -> Call:
    """Quantize: reals at ties, at the ends of float32, and subnormal."""
    dtype, scale, shape = draw(st.sampled_from(EDGES)), draw(real_steps()), draw(shapes(0, 3))
    # Halves of a step are where ties are.
    steps = min(2**18, int(LARGEST_FLOAT32 / scale))
    halves = st.integers(-steps, steps).map(lambda n: float(np.float32(n / 2 * scale)))
    largest = st.sampled_from([LARGEST_FLOAT32, -LARGEST_FLOAT32])
    elements = halves | float32s() | largest | st.sampled_from([0.0, -0.0, 2.0**-149, -(2.0**-149)])
    x = draw(arrays("float32", shape, elements))
    division = draw(st.sampled_from(["reciprocal", "direct"]))
    return (x,), {"scale": scale, "zero_point": draw(zero_points(dtype)), "dtype": dtype, "division": division}


@st.composite
def dequantize_calls(draw: st.DrawFn) -> Call:
    """Dequantize: steps of either sign, some of whose products are subnormal."""
    dtype, shape = draw(st.sampled_from(RESULTS)), draw(shapes())
    axis = draw(st.integers(0, len(shape) - 1))
    count = draw(channels(shape, axis))
    # Some products are subnormal or round to zero.
    steps = (st.floats(2.0**-149, 2.0**90, width=32) | real_steps()).filter(lambda s: s < 2.0**90)
    signed = st.builds(lambda sign, s: sign * s, st.sampled_from([-1, 1]), steps)
    attributes = {
        "scale": tuple(draw(st.lists(signed, min_size=count, max_size=count))),
        "axis": axis,
        "zero_point": draw(st.sampled_from([0, 2**16, -(2**16)]) | st.integers(-(2**16), 2**16)),
    }
    return (draw(arrays(dtype, shape)),), attributes


@st.composite
def center_calls(draw: st.DrawFn) -> Call:
    """Center."""
    dtype = draw(st.sampled_from(EDGES))
    low, high = BOUNDS[dtype]
    zero_point = draw(zero_points(dtype))
    fits = low - zero_point >= -(2**15) and high - zero_point <= 2**15 - 1
    result = draw(st.sampled_from(["int16", "int32"] if fits else ["int32"]))
    return (draw(arrays(dtype, draw(shapes(0, 3)))),), {"zero_point": zero_point, "dtype": result}


def factors() -> st.SearchStrategy[float]:
    """Float32 numbers of either sign, never zero."""
    return st.sampled_from([1.0, -1.0, 2.0**-149, -LARGEST_FLOAT32]) | float32s().filter(bool)


@st.composite
def rescale_calls(draw: st.DrawFn) -> Call:
    """Rescale."""
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(shapes(0, 3))
    axis = draw(st.integers(0, max(0, len(shape) - 1)))
    count = draw(channels(shape, axis)) if shape else 1
    alpha = tuple(draw(st.lists(factors(), min_size=count, max_size=count)))
    return (draw(arrays(dtype, shape)),), {"alpha": alpha, "axis": axis}


@st.composite
def clip_calls(draw: st.DrawFn) -> Call:
    """Clip: values beside the bounds."""
    dtype = draw(st.sampled_from(RESULTS))
    low, high = sorted((draw(values(dtype)), draw(values(dtype))))
    near = st.sampled_from([low, high]) | st.integers(max(low - 2, BOUNDS[dtype][0]), min(high + 2, BOUNDS[dtype][1]))
    return (draw(arrays(dtype, draw(shapes(0, 3)), values(dtype) | near)),), {"low": low, "high": high}


PROFILED: dict[str, Callable[[Profile | None], st.SearchStrategy[Call]]] = {
    "Requantize": requantize_calls,
    "RequantizeAdd": requantize_add_calls,
}
"""The operators in which a profile has a say, with its attributes; or, for None, with any."""

CALLS: dict[str, st.SearchStrategy[Call]] = {
    **{name: strategy(None) for name, strategy in PROFILED.items()},
    "Quantize": quantize_calls(),
    "Dequantize": dequantize_calls(),
    "Center": center_calls(),
    "Rescale": rescale_calls(),
    "Clip": clip_calls(),
}
