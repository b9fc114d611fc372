"""Valid calls of what I-ViT is compared with: Fully-8bit's LayerNorm, ITA's softmax, and softmax, GELU and LayerNorm in floats.

``CALLS[name]`` draws ``(arrays, attributes)`` that satisfies every constraint. What depends on values alone can still stop a
call: of the LayerNorms, a sum with the bias that leaves int32 where overflow raises.
"""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy.typing as npt

from ivit_ref import dyadic
from ivit_ref.integers import BOUNDS

Array = npt.NDArray[Any]
Call = tuple[tuple[Array, ...], dict[str, Any]]


def shapes() -> st.SearchStrategy[tuple[int, ...]]:
    """One to three axes, at most 64 elements."""
    several = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 7))
    return st.one_of(st.tuples(st.integers(1, 64)), st.tuples(st.integers(1, 4), st.integers(1, 16)), several)


@st.composite
def tensors(draw: st.DrawFn, *dtypes: str) -> Array:
    """Rows that are spread over a dtype, close together, at its ends, of two values, or all equal."""
    dtype = draw(st.sampled_from(dtypes))
    low, high = BOUNDS[dtype]
    value = st.one_of(st.integers(low, high), st.integers(max(low, -40), 40), st.sampled_from([low, low + 1, high - 1, high]))
    few = st.lists(value, min_size=1, max_size=3).flatmap(st.sampled_from)
    close = value.flatmap(lambda v: st.integers(max(low, v - 12), min(high, v + 12)))
    elements = draw(st.sampled_from([value, few, st.integers(max(low, -12), 12), close]))
    if draw(st.booleans()):
        elements = st.sampled_from(draw(st.lists(elements, min_size=1, max_size=3)))
    return draw(hnp.arrays(dtype, draw(shapes()), elements=elements, fill=st.nothing()))


@st.composite
def normalised(draw: st.DrawFn) -> tuple[Array, Array]:
    """The inputs of a LayerNorm: rows, and a bias that is 0, small or anything."""
    x = draw(tensors("int8", "uint8", "int16"))
    largest = draw(st.sampled_from([0, 2**20, 2**31 - 1]))
    return x, draw(hnp.arrays("int32", x.shape[-1:], elements=st.integers(-largest, largest), fill=st.nothing()))


def scales() -> st.SearchStrategy[float]:
    """What a step is worth: a float32, mostly of a size that a model has."""
    usual = st.sampled_from([0.2, 0.1, 0.05, 0.02, 0.01, 0.001]).map(dyadic.float32)
    powers = st.one_of(st.integers(-15, 1), st.integers(-126, 126)).map(lambda e: 2.0**e)
    return st.one_of(usual, powers, st.floats(2.0**-15, 2.0, width=32))


@st.composite
def l1_layer_norm_calls(draw: st.DrawFn) -> Call:
    """Calls of L1LayerNorm: with the published constant, or any dyadic number."""
    x, bias = draw(normalised())
    anything = st.tuples(st.one_of(st.integers(1, 9), st.integers(1, 2**31 - 1)), st.integers(0, 62))
    multiplier, shift = draw(st.one_of(st.just(dyadic.l1_constant(x.shape[-1])), anything))
    return (x, bias), {"multiplier": multiplier, "shift": shift}


@st.composite
def ita_softmax_calls(draw: st.DrawFn) -> Call:
    """Calls of ITASoftmax."""
    block = draw(st.one_of(st.sampled_from([1, 2, 3, 16]), st.integers(1, 70), st.just(2**16)))
    return (draw(tensors("int8")),), {"block": block, "shift": draw(st.integers(0, 7))}


@st.composite
def float_softmax_calls(draw: st.DrawFn) -> Call:
    """Calls of FloatSoftmax."""
    out_bits = draw(st.one_of(st.sampled_from([8, 16]), st.integers(2, 16)))
    dtype = draw(st.sampled_from(["int8", "uint8", "int16", "uint16", "int32"][2 * (out_bits > 8) :]))
    x = draw(tensors("int8", "uint8", "int16", "int32"))
    return (x,), {"scale": draw(scales()), "out_bits": out_bits, "dtype": dtype}


@st.composite
def float_gelu_calls(draw: st.DrawFn) -> Call:
    """Calls of FloatGELU."""
    out_bits = draw(st.one_of(st.sampled_from([8, 16]), st.integers(2, 16)))
    return (draw(tensors("int8", "int16")),), {"scale": draw(scales()), "out_bits": out_bits}


def float_layer_norm_calls() -> st.SearchStrategy[Call]:
    """Calls of FloatLayerNorm."""
    return st.tuples(normalised(), st.just({}))


CALLS: dict[str, st.SearchStrategy[Call]] = {
    "L1LayerNorm": l1_layer_norm_calls(),
    "ITASoftmax": ita_softmax_calls(),
    "FloatSoftmax": float_softmax_calls(),
    "FloatGELU": float_gelu_calls(),
    "FloatLayerNorm": float_layer_norm_calls(),
}
