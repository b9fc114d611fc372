from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref import GraphBuilder, Quant, TensorType
from ivit_ref.errors import ConstraintError, GraphError
from ivit_ref.ops import float_gelu
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls_baselines import any_scales, float_gelu_calls
from tests.agreement import Call, assert_agrees, run
from tests.onnx.runtimes import RUNTIMES
from tests.onnx.test_bodies import assert_runtime_agrees

CODES = np.arange(-128, 128).astype("int8")
MANY = [float(np.float32(s)) for s in np.geomspace(1e-4, 2.0, 60)]


def gelu(*values: int, dtype: str = "int8", scale: float = 1.0, out_bits: int = 8) -> list[int]:
    result: list[int] = float_gelu(np.array(values, dtype), scale=scale, out_bits=out_bits).tolist()
    return result


@given(call=float_gelu_calls())
def test_float_gelu_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("FloatGELU", call)


@pytest.mark.parametrize("out_bits", [8, 16])
def test_float_gelu_is_correctly_rounded_for_every_int8_code(out_bits: int) -> None:
    for scale in MANY:
        assert_agrees("FloatGELU", ((CODES,), {"scale": scale, "out_bits": out_bits}))


@pytest.mark.parametrize(("scale", "out_bits"), [(0.001, 8), (0.0003, 16)])
def test_float_gelu_is_correctly_rounded_for_int16_codes(scale: float, out_bits: int) -> None:
    """One in 29: the twin takes its time."""
    x = np.arange(-(2**15), 2**15, 29).astype("int16")
    assert_agrees("FloatGELU", ((x,), {"scale": float(np.float32(scale)), "out_bits": out_bits}))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_float_gelu_is_the_same_in_onnx_for_every_int8_code(runtime: str) -> None:
    for scale in MANY[::5]:
        for out_bits in (8, 16):
            assert_runtime_agrees(runtime, "FloatGELU", ((CODES,), {"scale": scale, "out_bits": out_bits}))


def test_float_gelu_is_the_same_in_onnx_for_every_int16_code() -> None:
    x = np.arange(-(2**15), 2**15).astype("int16")
    for scale, out_bits in ((0.001, 8), (0.0003, 16)):
        assert_runtime_agrees("onnxruntime", "FloatGELU", ((x,), {"scale": float(np.float32(scale)), "out_bits": out_bits}))


# --- Facts


def test_float_gelu_of_a_table_of_the_normal_distribution() -> None:
    # The distribution function at 1, 2 and 3 is 0.8413447461, 0.9772498681 and 0.9986501020.
    tabled = {1: 0.8413447461, 2: 0.9772498681, 3: 0.9986501020}
    for x, phi in tabled.items():
        assert gelu(x, -x, out_bits=16) == [round(32768 * x * phi), -round(32768 * x * (1 - phi))]


def test_float_gelu_at_the_extremes() -> None:
    assert gelu(0, 127, -128) == [0, 127 * 128, 0]
    assert gelu(2**15 - 1, -(2**15), dtype="int16", out_bits=16) == [(2**15 - 1) * 2**15, 0]
    for scale in (2.0**-126, 2.0**126):
        half = scale < 1
        assert gelu(127, -128, scale=scale) == ([127 * 64, -128 * 64] if half else [127 * 128, 0])


# --- Properties


@given(scale=any_scales(), out_bits=st.integers(2, 16))
def test_float_gelu_p1_p3_is_bounded_and_mirrored(scale: float, out_bits: int) -> None:
    x = np.arange(-127, 128).astype("int8")
    y, events = run("FloatGELU", ((x,), {"scale": scale, "out_bits": out_bits}), "raise")
    unit = 2 ** (out_bits - 1)
    x = x.astype("int64")
    assert events == []
    assert (np.minimum(x, 0) * unit <= y).all()
    assert (y <= np.maximum(x, 0) * unit).all()
    np.testing.assert_array_equal(y - y[::-1], x * unit)


@given(scale=any_scales(), out_bits=st.integers(2, 16))
def test_float_gelu_p2_falls_and_then_rises(scale: float, out_bits: int) -> None:
    y = float_gelu(CODES, scale=scale, out_bits=out_bits).astype("int64")
    assert (np.diff(y[128:]) >= 0).all()
    lowest = int(np.argmin(y))
    assert (np.diff(y[: lowest + 1]) <= 0).all()
    assert (np.diff(y[lowest:]) >= 0).all()


# --- Constraints


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "bool", "float32"])
def test_float_gelu_c1_x_is_int8_or_int16(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"^FloatGELU \(C1\): x must be int8 or int16, but found"):
        gelu(1, 2, dtype=dtype)
    assert gelu(0, dtype="int8") == gelu(0, dtype="int16") == [0]


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, 0.1, 2.0**-127, 2.0**127])
def test_float_gelu_c2_scale_is_a_float32_from_2_126_to_2_126(scale: float) -> None:
    with pytest.raises(ConstraintError, match=r"^FloatGELU \(C2\): "):
        gelu(1, scale=scale)


@pytest.mark.parametrize("bits", [1, 17])
def test_float_gelu_c3_out_bits_are_from_2_to_16(bits: int) -> None:
    with pytest.raises(ConstraintError, match=rf"^FloatGELU \(C3\): .*, but found {bits}$"):
        gelu(1, out_bits=bits)
    assert gelu(100, out_bits=2) == [200]


# --- Scales and shapes


def test_float_gelu_follows_the_scale_of_its_input() -> None:
    builder = GraphBuilder("gelu")
    x = builder.input("x", "int8", (3,), Quant((0.25,)))
    y = builder.node("FloatGELU", x, name="gelu", out_bits=8)
    assert builder.finish([y], {"floats": "allowed"}).nodes[0].attributes["scale"] == 0.25
    assert y.quant == Quant((2.0**-9,))


def test_float_gelu_wants_one_scale_and_no_zero_point() -> None:
    builder = GraphBuilder("gelu")
    for wrong, must in (((0.25, -0.5, 1.0), "one positive scale"), ((0.25,), "zero point 0")):
        quant = Quant(wrong, axis=0) if len(wrong) > 1 else Quant(wrong, zero_point=3)
        x = builder.input(f"x{len(wrong)}", "int8", (3,), quant)
        with pytest.raises(GraphError, match=rf"FloatGELU \(scales\): x must have {must}, but found"):
            builder.node("FloatGELU", x, name="gelu", out_bits=8)
    attributes = {"scale": 0.5, "out_bits": 8}
    assert REGISTRY["FloatGELU"].result_quant([None], [TensorType("int8", (3,))], attributes) is None


def test_float_gelu_takes_any_shape() -> None:
    assert float_gelu(np.array(100, "int8"), scale=1.0, out_bits=8).tolist() == 12800
    x = np.arange(24, dtype="int8").reshape(2, 3, 4)
    np.testing.assert_array_equal(float_gelu(x, scale=0.5, out_bits=8).ravel(), gelu(*range(24), scale=0.5))
