from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref import GraphBuilder, Quant, TensorType
from ivit_ref.errors import ConstraintError, GraphError
from ivit_ref.events import Event
from ivit_ref.ops import float_softmax
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls_baselines import float_softmax_calls
from tests.agreement import Array, Call, assert_agrees, run

BYTES: dict[str, Any] = {"out_bits": 8, "dtype": "int8"}
WORDS: dict[str, Any] = {"out_bits": 16, "dtype": "int16"}


def softmax(*values: int, dtype: str = "int8", scale: float = 1.0, **grid: Any) -> list[int]:
    result: list[int] = float_softmax(np.array(values, dtype), scale=scale, **{**WORDS, **grid}).tolist()
    return result


@given(call=float_softmax_calls())
def test_float_softmax_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("FloatSoftmax", call)


@pytest.mark.parametrize("scale", [float(np.float32(s)) for s in (1e-4, 0.01, 0.02, 0.05, 0.1, 0.25, 0.7, 1.0)])
def test_float_softmax_is_correctly_rounded_for_every_int8_distance(scale: float) -> None:
    """Of two elements, and so of any pair; three where the smallest fills up."""
    distances = np.arange(256) - 128
    pairs = np.stack([np.full(256, 127), distances], axis=-1).astype("int8")
    assert_agrees("FloatSoftmax", ((pairs,), {"scale": scale, **WORDS}))
    assert_agrees("FloatSoftmax", ((pairs.repeat(2, axis=-1),), {"scale": scale, **BYTES}))


# --- Facts


def test_float_softmax_of_logarithms() -> None:
    # exp(0), exp(-1), exp(-2) over their sum 1.50321: 0.66524, 0.24473, 0.09003.
    assert softmax(2, 1, 0) == [round(32768 * p) for p in (0.6652409558, 0.2447284711, 0.0900305732)]
    assert softmax(2, 1, 0, **BYTES) == [85, 31, 12]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_float_softmax_has_one_exact_tie_and_rounds_it_to_even(bits: int) -> None:
    assert softmax(*[5] * 2**bits, out_bits=bits) == [0] * 2**bits
    assert softmax(*[5] * (2**bits - 1), out_bits=bits) == [1] * (2**bits - 1)


def test_float_softmax_of_a_uniform_row() -> None:
    assert softmax(*[-3] * 197, **BYTES) == [1] * 197
    assert softmax(*[-3] * 197) == [round(32768 / 197)] * 197


@pytest.mark.parametrize(("dtype", "largest"), [("int8", 127), ("uint8", 128), ("int16", 128)])
def test_float_softmax_p1_of_one_hot_saturates_a_signed_dtype_of_its_bits(dtype: str, largest: int) -> None:
    call: Call = ((np.array([-128, 127, -128], "int8"),), {"scale": 1.0, "out_bits": 8, "dtype": dtype})
    y, events = run("FloatSoftmax", call, "raise")
    assert y.tolist() == [0, largest, 0]
    saturated = [Event("saturated", "", "FloatSoftmax", "y", count=1, total=3, index=(1,), value=128)]
    assert events == (saturated if largest == 127 else [])


def test_float_softmax_of_the_ends_of_int32_and_of_the_largest_scale() -> None:
    ends = np.array([-(2**31), 2**31 - 1], "int32")
    assert float_softmax(ends, scale=2.0**126, out_bits=8, dtype="uint8").tolist() == [0, 128]
    assert float_softmax(ends, scale=2.0**-126, out_bits=8, dtype="uint8").tolist() == [64, 64]


# --- Properties


@given(call=float_softmax_calls(), by=st.integers(-255, 255))
def test_float_softmax_p2_does_not_see_a_shift(call: Call, by: int) -> None:
    (x,), attributes = call
    wide = np.clip(x, -1000, 1000).astype("int32")
    found = [run("FloatSoftmax", ((v,), attributes))[0] for v in (wide, (wide + by).astype("int32"))]
    np.testing.assert_array_equal(*found)


@given(call=float_softmax_calls(), seed=st.integers(0, 100))
def test_float_softmax_p1_p2_p3_p4_keeps_range_order_and_places(call: Call, seed: int) -> None:
    (x,), attributes = call
    attributes = {**attributes, "dtype": "int32"}
    y, events = run("FloatSoftmax", ((x,), attributes))
    unit = 2 ** (attributes["out_bits"] - 1)
    assert events == []
    assert 0 <= y.min() <= y.max() <= unit
    assert (np.diff(np.take_along_axis(y, np.argsort(x, axis=-1, kind="stable"), axis=-1), axis=-1) >= 0).all()
    assert (abs(y.sum(axis=-1) - unit) <= x.shape[-1] / 2).all()
    places = np.random.default_rng(seed).permutation(x.shape[-1])
    moved, _ = run("FloatSoftmax", ((x[..., places],), attributes))
    np.testing.assert_array_equal(moved, y[..., places])


# --- Constraints


@pytest.mark.parametrize("dtype", ["int64", "uint16", "bool", "float32"])
def test_float_softmax_c1_x_is_int8_uint8_int16_or_int32(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"^FloatSoftmax \(C1\): x must be"):
        float_softmax(np.zeros(2, dtype), scale=1.0, **WORDS)
    for accepted in ("int8", "uint8", "int16", "int32"):
        assert float_softmax(np.zeros(2, accepted), scale=1.0, **WORDS).tolist() == [2**14] * 2


def test_float_softmax_c1_the_last_axis_has_at_most_2_16_elements() -> None:
    for shape in ((2**16 + 1,), ()):
        with pytest.raises(ConstraintError, match=r"FloatSoftmax \(C1\)"):
            float_softmax(np.zeros(shape, "int8"), scale=1.0, **WORDS)
    assert not float_softmax(np.zeros(2**16, "int8"), scale=1.0, **WORDS).any()


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, 0.1, 2.0**-127, 2.0**127])
def test_float_softmax_c2_scale_is_a_float32_from_2_126_to_2_126(scale: float) -> None:
    with pytest.raises(ConstraintError, match=r"^FloatSoftmax \(C2\): "):
        softmax(0, 1, scale=scale)
    for accepted in (2.0**-126, 2.0**126):
        assert softmax(0, 0, scale=accepted) == [2**14] * 2


@pytest.mark.parametrize(("bits", "dtype"), [(1, "int8"), (17, "int32"), (9, "int8"), (9, "uint8")])
def test_float_softmax_c3_out_bits_are_from_2_to_16_and_dtype_has_them(bits: int, dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"^FloatSoftmax \(C3\): "):
        float_softmax(np.zeros(2, "int8"), scale=1.0, out_bits=bits, dtype=dtype)  # type: ignore[arg-type]
    assert softmax(0, 0, out_bits=2) == [1, 1]
    assert softmax(0, 0, out_bits=16) == [2**14] * 2


# --- Scales


def test_float_softmax_follows_the_scale_of_its_input() -> None:
    builder = GraphBuilder("softmax")
    x = builder.input("x", "int8", (3,), Quant((0.25,), zero_point=5))
    y = builder.node("FloatSoftmax", x, name="softmax", **BYTES)
    graph = builder.finish([y], {"floats": "allowed"})
    assert graph.nodes[0].attributes["scale"] == 0.25
    assert y.quant == Quant((2.0**-7,))
    builder.input("z", "int8", (3,), Quant((0.25, 0.5, 1.0), axis=0))
    with pytest.raises(GraphError, match=r"FloatSoftmax \(scales\): x must have one positive scale, but found"):
        builder.node("FloatSoftmax", builder.inputs[1], name="other", **BYTES)


def test_float_softmax_has_its_own_scale_whatever_the_input() -> None:
    definition = REGISTRY["FloatSoftmax"]
    for out_bits, scale in ((8, 2.0**-7), (16, 2.0**-15)):
        attributes: dict[str, Any] = {"scale": 0.5, "out_bits": out_bits, "dtype": "int16"}
        assert definition.result_quant([None], [TensorType("int8", (3,))], attributes) == Quant((scale,))


def test_float_softmax_of_each_row_by_itself() -> None:
    x: Array = np.random.default_rng(0).integers(-20, 20, (2, 3, 19)).astype("int8")
    y = float_softmax(x, scale=0.5, **WORDS)
    for place in np.ndindex(2, 3):
        assert y[place].tolist() == softmax(*x[place].tolist(), scale=0.5)
