"""Valid calls of what I-ViT is compared with: Fully-8bit's LayerNorm, ITA's softmax, and softmax, GELU and LayerNorm in floats.

``CALLS[name]`` draws ``(arrays, attributes)`` that satisfies every constraint. What depends on values alone can still stop a
call: of the LayerNorms, a sum with the bias that leaves int32 where overflow raises.
"""

from __future__ import annotations

from hypothesis import strategies as st

from ivit_ref import dyadic
from ivit_ref.ir import Array
from ivit_ref.testing.elements import RESULTS, Call, arrays
from ivit_ref.testing.rows import rows
from ivit_ref.testing.values import scales


@st.composite
def normalised(draw: st.DrawFn, op: str) -> tuple[Array, Array]:
    """The inputs of a LayerNorm: rows, and a bias that is 0, small or anything."""
    x = draw(rows(op))
    largest = draw(st.sampled_from([0, 2**20, 2**31 - 1]))
    return x, draw(arrays("int32", x.shape[-1:], st.integers(-largest, largest)))


def any_scales() -> st.SearchStrategy[float]:
    """What a step is worth: usually as in a model, now and then anything whose reciprocal is normal."""
    return scales() | scales(min_value=2.0**-126, max_value=2.0**126)


@st.composite
def l1_layer_norm_calls(draw: st.DrawFn) -> Call:
    """Calls of L1LayerNorm: with the published constant, or any dyadic number."""
    x, bias = draw(normalised("L1LayerNorm"))
    anything = st.tuples(st.one_of(st.integers(1, 9), st.integers(1, 2**31 - 1)), st.integers(0, 62))
    multiplier, shift = draw(st.one_of(st.just(dyadic.l1_constant(x.shape[-1])), anything))
    return (x, bias), {"multiplier": multiplier, "shift": shift}


@st.composite
def ita_softmax_calls(draw: st.DrawFn) -> Call:
    """Calls of ITASoftmax."""
    block = draw(st.one_of(st.sampled_from([1, 2, 3, 16]), st.integers(1, 70), st.just(2**16)))
    return (draw(rows("ITASoftmax")),), {"block": block, "shift": draw(st.integers(0, 7))}


@st.composite
def float_softmax_calls(draw: st.DrawFn) -> Call:
    """Calls of FloatSoftmax."""
    out_bits = draw(st.one_of(st.sampled_from([8, 16]), st.integers(2, 16)))
    dtype = draw(st.sampled_from(RESULTS[2 * (out_bits > 8) :]))
    return (draw(rows("FloatSoftmax")),), {"scale": draw(any_scales()), "out_bits": out_bits, "dtype": dtype}


@st.composite
def float_gelu_calls(draw: st.DrawFn) -> Call:
    """Calls of FloatGELU."""
    out_bits = draw(st.one_of(st.sampled_from([8, 16]), st.integers(2, 16)))
    return (draw(rows("FloatGELU")),), {"scale": draw(any_scales()), "out_bits": out_bits}


def float_layer_norm_calls() -> st.SearchStrategy[Call]:
    """Calls of FloatLayerNorm."""
    return st.tuples(normalised("FloatLayerNorm"), st.just({}))


CALLS: dict[str, st.SearchStrategy[Call]] = {
    "L1LayerNorm": l1_layer_norm_calls(),
    "ITASoftmax": ita_softmax_calls(),
    "FloatSoftmax": float_softmax_calls(),
    "FloatGELU": float_gelu_calls(),
    "FloatLayerNorm": float_layer_norm_calls(),
}
