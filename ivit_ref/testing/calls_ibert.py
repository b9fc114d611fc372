"""Valid calls of the operators of I-BERT and FQ-ViT: ``CALLS[name]`` draws ``(arrays, attributes)``.

Half of the attributes are those of a scale, half are chosen one by one within the constraints. What depends on values alone
can still stop a call under ``overflow="raise"``; nothing can under ``"wrap"``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Quant, TensorType
from ivit_ref.registry import lookup
from ivit_ref.testing.elements import Call, arrays
from ivit_ref.testing.rows import rows, stressed
from ivit_ref.testing.values import scales

Attributes = dict[str, Any]


def following(op: str, scale: float, **chosen: Any) -> Attributes:
    """The attributes that are chosen, and those that follow from the scale of the first input."""
    rule = lookup(op).follows
    assert rule is not None
    return {**chosen, **rule([Quant((scale,))], [TensorType("int8", (1,))], chosen)}


@st.composite
def exponential_units(draw: st.DrawFn, largest_c: int) -> Attributes:
    """x0, b, c and n, each on its own."""
    x0 = -draw(st.one_of(st.integers(1, 40), st.integers(1, 2**16)))
    b = draw(st.one_of(st.integers(-x0 - 1, min(2**16, -4 * x0)), st.integers(-x0 - 1, 2**16)))
    c = draw(st.one_of(st.integers(1, min(largest_c, 5000)), st.integers(1, largest_c)))
    return {"x0": x0, "b": b, "c": c, "n": draw(st.one_of(st.just(30), st.integers(0, 62)))}


def resulting() -> st.SearchStrategy[tuple[int, str]]:
    """out_bits, and a dtype that holds them."""
    dtypes = ("int8", "uint8", "int16", "uint16", "int32")
    pairs = [(bits, dtype) for bits in range(1, 17) for dtype in dtypes if 2**bits - 1 <= BOUNDS[dtype][1]]
    return st.one_of(st.sampled_from([(8, "uint8"), (16, "int32")]), st.sampled_from(pairs))


@st.composite
def i_bert_softmax_calls(draw: st.DrawFn) -> Call:
    """Calls of IBertSoftmax."""
    x = draw(rows("IBertSoftmax"))
    out_bits, dtype = draw(resulting())
    chosen = {"n": draw(st.sampled_from([30, 30, 8])), "out_bits": out_bits, "dtype": dtype}
    if draw(st.booleans()):
        return (x,), following("IBertSoftmax", draw(scales(min_value=2.0**-14)), **chosen)
    unit = draw(exponential_units(2**30))
    multiplier = draw(st.one_of(st.integers(1, 2**31 - 1), st.integers(0, 30).map(lambda e: 2**e)))
    room = (unit["c"] * multiplier).bit_length() - 1
    return (x,), {**chosen, **unit, "multiplier": multiplier, "shift": draw(st.integers(max(0, room - 20), room))}


@st.composite
def log_int_softmax_calls(draw: st.DrawFn) -> Call:
    """Calls of LogIntSoftmax."""
    x = draw(rows("LogIntSoftmax"))
    bits = draw(st.sampled_from([4, 4, 3, 2, 1]))
    if draw(st.booleans()):
        return (x,), following("LogIntSoftmax", draw(scales(min_value=2.0**-11)), n=30, bits=bits)
    n = draw(st.one_of(st.just(30), st.integers(0, 56)))
    unit = draw(exponential_units(min(2**30, 2**62 // (x.shape[-1] << n))))
    return (x,), {**unit, "n": n, "bits": bits}


@st.composite
def i_bert_gelu_calls(draw: st.DrawFn) -> Call:
    """Calls of IBertGELU: of int8 as it should be, of accumulators as released, and of any constants."""
    x = draw(rows("IBertGELU"))
    kind = draw(st.sampled_from(["narrow", "released", "any"]))
    if kind == "narrow":
        return (x,), following("IBertGELU", draw(scales(min_value=2.0**-13)), shift=0)
    if kind == "released":
        return (x,), following("IBertGELU", draw(st.floats(2.0**-19, 2.0**-8, width=32)), shift=14)
    shift = draw(st.integers(0, 30))
    b = -draw(st.integers(1, 2 ** ((30 + shift) // 2)))
    c = -draw(st.one_of(st.integers(1, min(2 ** (30 + shift), b * b + 1)), st.integers(1, 2 ** (30 + shift))))
    return (x,), {"b": b, "c": c, "one": -draw(st.one_of(st.integers(1, 5000), st.integers(1, 2**30))), "shift": shift}


@st.composite
def i_bert_layer_norm_calls(draw: st.DrawFn) -> Call:
    """Calls of IBertLayerNorm."""
    x = draw(rows("IBertLayerNorm"))
    small = arrays("int32", x.shape[-1:], st.integers(-(2**20), 2**20))
    bias = draw(st.one_of(st.just(np.zeros(x.shape[-1:], "int32")), small, stressed("int32", x.shape[-1:])))
    return (x, bias), {"shift": draw(st.one_of(st.sampled_from([0, 0, 1, 4, 31]), st.integers(0, 31)))}


@st.composite
def shift_mat_mul_calls(draw: st.DrawFn) -> Call:
    """Calls of ShiftMatMul: a product of matrices, or of stacks of them that broadcast."""
    bits = draw(st.sampled_from([4, 4, 3, 2, 1]))
    i, k, j = draw(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 4)))
    first, second = draw(st.sampled_from([((), ()), ((2,), ()), ((), (2,)), ((2, 1), (3,)), ((2, 3), (2, 3))]))
    element = st.one_of(st.integers(0, 2**bits), st.sampled_from([0, 2**bits - 1, 2**bits]))
    codes = draw(arrays("uint8", (*first, i, k), element))
    v = draw(stressed(draw(st.sampled_from(["int8", "uint8", "int16"])), (*second, k, j)))
    return (codes, v), {"bits": bits, "alpha": draw(st.sampled_from([1.0, 0.125]))}


CALLS: dict[str, st.SearchStrategy[Call]] = {
    "IBertSoftmax": i_bert_softmax_calls(),
    "IBertGELU": i_bert_gelu_calls(),
    "IBertLayerNorm": i_bert_layer_norm_calls(),
    "LogIntSoftmax": log_int_softmax_calls(),
    "ShiftMatMul": shift_mat_mul_calls(),
}
