"""Valid calls of the operators that multiply and add: MatMul, Linear, Conv, Mul, ReduceSum, ReduceMean."""

from __future__ import annotations

import math
from collections.abc import Callable

from hypothesis import strategies as st

from ivit_ref import dyadic
from ivit_ref.profiles import Profile
from ivit_ref.testing.elements import (
    ACCUMULATORS,
    MEAN_ROUNDINGS,
    NARROW,
    Call,
    arrays,
    broadcastable_pairs,
    shapes,
    values,
)

WEIGHTS = ("int8", "int16")


@st.composite
def matmul_calls(draw: st.DrawFn) -> Call:
    """MatMul: batches that broadcast; half of them of the widest operands, whose sums come close to int32's limits."""
    a_dtype, b_dtype = draw(st.permutations([draw(st.sampled_from(ACCUMULATORS)), draw(st.sampled_from(NARROW))]))
    rows, inner, columns = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    a_leading, b_leading = draw(broadcastable_pairs(draw(shapes(0, 2, 2))))
    a_elements = b_elements = None
    if draw(st.booleans()):
        # Two products of the least int16 leave int32; mixed with others the sums come close to its limits.
        a_dtype, b_dtype, inner = "int16", "int16", draw(st.integers(2, 4))
        ends, mixed = st.sampled_from([-(2**15), 2**15 - 1]), st.sampled_from([-(2**15), 2**15 - 1, -1, 0, 1])
        a_elements = b_elements = draw(st.sampled_from([st.just(-(2**15)), ends, mixed]))
    a = draw(arrays(a_dtype, (*a_leading, rows, inner), a_elements))
    b = draw(arrays(b_dtype, (*b_leading, inner, columns), b_elements))
    return (a, b), {"alpha": draw(st.sampled_from([1.0, 0.125, dyadic.float32(8**-0.5), 3.0]))}


def biases() -> st.SearchStrategy[int]:
    """Half of them at the limits, where the first product leaves int32."""
    return st.sampled_from([-(2**31), 2**31 - 1, 0]) | st.integers(-1000, 1000) | values("int32")


@st.composite
def linear_calls(draw: st.DrawFn) -> Call:
    """Linear."""
    dtype = draw(st.sampled_from(ACCUMULATORS))
    inner, outputs = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    x = draw(arrays(dtype, (*draw(shapes(0, 2, 3)), inner)))
    weight = draw(arrays(draw(st.sampled_from(WEIGHTS)), (outputs, inner)))
    return (x, weight, draw(arrays("int32", (outputs,), biases()))), {}


@st.composite
def conv_calls(draw: st.DrawFn) -> Call:
    """Conv: any stride, padding, dilation and number of groups."""
    group, per_group, per_output = draw(st.sampled_from([(1, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1), (3, 1, 1), (3, 2, 1)]))
    kernel = [draw(st.integers(1, 3)), draw(st.integers(1, 2))]
    strides = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    dilations = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
    pads = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    spans = [dilations[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    image = [max(1, spans[i] - pads[i] - pads[i + 2]) + draw(st.integers(0, 2)) for i in (0, 1)]
    x = draw(arrays(draw(st.sampled_from(ACCUMULATORS)), (draw(st.integers(1, 2)), group * per_group, *image)))
    weight = draw(arrays(draw(st.sampled_from(WEIGHTS)), (group * per_output, per_group, *kernel)))
    bias = draw(arrays("int32", (group * per_output,), biases()))
    geometry = {"strides": tuple(strides), "pads": tuple(pads), "dilations": tuple(dilations), "group": group}
    return (x, weight, bias), geometry


@st.composite
def mul_calls(draw: st.DrawFn) -> Call:
    """Mul: any, at the limits of int32, and near its largest square."""
    a_dtype, b_dtype = draw(st.sampled_from(ACCUMULATORS)), draw(st.sampled_from(ACCUMULATORS))
    a_shape, b_shape = draw(broadcastable_pairs(draw(shapes(0, 3, 3))))
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
    return (draw(arrays(a_dtype, a_shape, a_elements)), draw(arrays(b_dtype, b_shape, b_elements))), {}


@st.composite
def reduce_sum_calls(draw: st.DrawFn) -> Call:
    """ReduceSum: half of them at the limits of int32."""
    dtype, shape = draw(st.sampled_from(ACCUMULATORS)), draw(shapes(1, 4, 3))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True).map(sorted))
    elements = None
    if draw(st.booleans()):
        # Two halves of the least int32 are just within it, two of 2**30 just beyond the largest.
        dtype = "int32"
        elements = st.sampled_from([-(2**30), 2**30 - 1, 2**30, -1, 0, 1]) | st.sampled_from([-(2**31), 2**31 - 1, 0])
    return (draw(arrays(dtype, shape, elements)),), {"axes": tuple(axes)}


@st.composite
def reduce_mean_calls(draw: st.DrawFn, profile: Profile | None = None) -> Call:
    """ReduceMean: half of them of small numbers, whose means are ties more often."""
    dtype, shape = draw(st.sampled_from(ACCUMULATORS)), draw(shapes(1, 4, 4).filter(lambda s: math.prod(s) <= 64))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True).map(sorted))
    # Small numbers, whose means are ties more often.
    elements = draw(st.sampled_from([values(dtype), st.integers(0 if dtype == "uint8" else -4, 4)]))
    attributes = {"axes": tuple(axes), "rounding": profile.mean_rounding if profile else draw(st.sampled_from(MEAN_ROUNDINGS))}
    return (draw(arrays(dtype, shape, elements)),), attributes


PROFILED: dict[str, Callable[[Profile | None], st.SearchStrategy[Call]]] = {
    "ReduceMean": reduce_mean_calls,
}
"""The operators in which a profile has a say, with its attributes; or, for None, with any."""

CALLS: dict[str, st.SearchStrategy[Call]] = {
    "MatMul": matmul_calls(),
    "Linear": linear_calls(),
    "Conv": conv_calls(),
    "Mul": mul_calls(),
    "ReduceSum": reduce_sum_calls(),
    **{name: strategy(None) for name, strategy in PROFILED.items()},
}
