"""LayerNorm and GELU in every spelling: one operator of I-ViT each, with the integers that it has by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import erf, sqrt
from typing import Any, TypeAlias

import numpy as np
import pytest
from onnx import ModelProto

import ivit_ref
from ivit_ref import ops
from ivit_ref.importer import Choices
from ivit_ref.profiles import IDEAL
from tests.importer.building import Array, Writer, imported, integers_of, operators, refusal, run
from tests.onnx.runtimes import in_onnxruntime

Body: TypeAlias = Callable[[Writer, str], str]

RNG = np.random.default_rng(3)
X = integers_of(RNG, (2, 3, 8))
EVERY = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
LOOKUP = Choices(gelu="lookup")


def written(body: Body, x: Array, scale: float = 0.125, opset: int = 20) -> ModelProto:
    """A body over an integer input ``x`` that is worth ``scale`` a step."""
    w = Writer(opset)
    return w.model(body(w, w.dequantize(w.input("x", x.shape, str(x.dtype)), scale, 0, str(x.dtype))))


def step(model: ModelProto, op: str, x: Array) -> Array:
    """The integers of the only node of that operator."""
    graph = imported(model)
    (node,) = [node for node in graph.nodes if node.op == op]
    found: Array = ivit_ref.Interpreter(graph).run({"x": x}, intermediates=True)[node.output.name]
    return found


# --- LayerNorm


def nine_nodes(
    w: Writer, x: str, gain: Array, beta: Array, square: str, root: str, flipped: bool, between: Callable[[str], str]
) -> str:
    """(x - mean) / sqrt(variance + eps) * gain + beta, with a hook for what stands between the nodes."""

    def pair(op: str, a: str, b: str) -> str:
        return between(w.node(op, *((b, a) if flipped else (a, b))))

    d = between(w.node("Sub", x, between(w.node("ReduceMean", x, w.constant([-1], "int64")))))
    squares = between(w.node("Pow", d, w.constant(2.0))) if square == "Pow" else pair("Mul", d, d)
    s = between(
        w.node("Sqrt", pair("Add", between(w.node("ReduceMean", squares, w.constant([-1], "int64"))), w.constant(1e-6)))
    )
    z = between(w.node("Div", d, s)) if root == "Div" else pair("Mul", d, between(w.node("Reciprocal", s)))
    return pair("Add", pair("Mul", z, w.constant(gain)), w.constant(beta))


GAIN = np.array([1, 0.5, -2, 1.25, -0.75, 3, 0.125, 1], np.float32)
BETA = np.array([0, 1, -1, 0.5, 2, -3, 0.25, 0], np.float32)


def norm_by_hand(x: Array, gain: Array, beta: Array) -> Array:
    scale = np.float32(np.float64(gain) * (sqrt(x.shape[-1]) / 2**30))
    bias = np.floor(np.float64(beta) / np.float64(scale)).astype(np.int32)
    how: dict[str, Any] = IDEAL.i_layer_norm()
    return ops.i_layer_norm(x, bias, **how)


@pytest.mark.parametrize("between", ["nothing", "quantization"])
@pytest.mark.parametrize(("square", "root", "flipped"), [*product(("Pow", "Mul"), ("Div", "Reciprocal"), (False, True))])
def test_nine_nodes_become_one_layer_norm(square: str, root: str, flipped: bool, between: str) -> None:
    def body(w: Writer, x: str) -> str:
        hook = (lambda name: w.qdq(name, 0.5)) if between == "quantization" else str
        return nine_nodes(w, x, GAIN, BETA, square, root, flipped, hook)

    model = written(body, X)
    names = operators(imported(model))
    assert names[:1] == ["ILayerNorm"]
    assert set(names[1:]) <= {"Requantize", "Dequantize"}
    np.testing.assert_array_equal(step(model, "ILayerNorm", X), norm_by_hand(X, GAIN, BETA), strict=True)


def within_norm_error(got: Array, x: Array, gain: Array, beta: Array) -> None:
    """The mean is rounded to a step, which moves z by at most half a step and the root of the squares by an eighth of a step
    over their root; the integer root is off by one at most, and 2**-20 covers floors, float32 and epsilon."""
    wide = np.float64(x)
    d = wide - wide.mean(-1, keepdims=True)
    std = np.sqrt((d**2).mean(-1, keepdims=True))
    z = d / np.maximum(std, 1e-9)
    bound = 0.5 / std + np.abs(z) * (1 / (8 * std**2) + 1 / (std * sqrt(x.shape[-1]))) + 2.0**-20
    assert (np.abs(got - (z * gain + beta)) <= np.abs(gain) * bound + 2.0**-20 * (1 + np.abs(beta))).all()


@pytest.mark.parametrize("gain", [GAIN, np.array([0, 1, 0, -1, 2, 0, 1, 1], np.float32), np.zeros(8, np.float32)])
@pytest.mark.parametrize("beta", [BETA, np.zeros(8, np.float32), np.full(8, 300, np.float32)])
def test_layer_normalization_is_near_that_of_floats(gain: Array, beta: Array) -> None:
    def body(w: Writer, x: str) -> str:
        return w.node("LayerNormalization", x, w.constant(gain), w.constant(beta))

    model = written(body, X)
    assert operators(imported(model)).count("ILayerNorm") == 1
    within_norm_error(run(model, {"x": X}), X, gain, beta)


def test_layer_normalization_without_bias_and_its_nine_nodes_agree() -> None:
    gain = w_gain = np.ones(8, np.float32)
    one = written(lambda w, x: w.node("LayerNormalization", x, w.constant(w_gain)), X)
    nine = written(lambda w, x: nine_nodes(w, x, gain, 0 * gain, "Pow", "Div", False, str), X)
    np.testing.assert_array_equal(step(one, "ILayerNorm", X), step(nine, "ILayerNorm", X), strict=True)
    np.testing.assert_array_equal(step(one, "ILayerNorm", X), norm_by_hand(X, gain, 0 * gain), strict=True)


def inverse_quotient(w: Writer, x: str) -> str:
    y = nine_nodes(w, x, GAIN, BETA, "Pow", "Div", False, str)
    (quotient,) = [node for node in w.nodes if node.op_type == "Div"]
    quotient.input[:] = list(quotient.input)[::-1]
    return y


def cubed(w: Writer, x: str) -> str:
    y = nine_nodes(w, x, GAIN, BETA, "Pow", "Div", False, str)
    (power,) = [node for node in w.nodes if node.op_type == "Pow"]
    power.input[1] = w.constant(3.0)
    return y


def across_rows(w: Writer, x: str) -> str:
    y = nine_nodes(w, x, GAIN, BETA, "Pow", "Div", False, str)
    for node in w.nodes:
        if node.op_type == "ReduceMean":
            node.input[1] = w.constant([1], "int64")
    return y


@pytest.mark.parametrize(("body", "why"), [(inverse_quotient, "8-bit"), (cubed, "8-bit"), (across_rows, "last axis")])
def test_what_looks_like_a_layer_norm_is_none(body: Body, why: str) -> None:
    assert why in refusal(written(body, X))


def test_a_layer_norm_along_axis_2_of_3_is_one() -> None:
    def body(w: Writer, x: str) -> str:
        y = nine_nodes(w, x, GAIN, BETA, "Pow", "Div", False, str)
        for node in w.nodes:
            if node.op_type == "ReduceMean":
                node.input[1] = w.constant([2], "int64")
        return y

    assert operators(imported(written(body, X))) == ["ILayerNorm", "Dequantize"]


def test_layer_norm_along_another_axis_is_refused() -> None:
    def body(w: Writer, x: str) -> str:
        return w.node("LayerNormalization", x, w.constant(np.ones((3, 8))), axis=1, name="ln")

    assert refusal(written(body, X)).startswith("node 'ln' (LayerNormalization): it must go along the last axis")


# --- GELU


def erf_gelu(
    w: Writer, x: str, argument: str, flipped: bool, half: str, number: Callable[[float], str], hook: Callable[[str], str]
) -> str:
    """x * (1 + erf(x / sqrt(2))) / 2, with its half at one of four places."""

    def pair(op: str, a: str, b: str) -> str:
        return hook(w.node(op, *((b, a) if flipped else (a, b))))

    a = hook(w.node("Div", x, number(sqrt(2)))) if argument == "Div" else pair("Mul", x, number(sqrt(0.5)))
    e = pair("Add", hook(w.node("Erf", a)), number(1.0))
    if half == "x first":
        return pair("Mul", pair("Mul", x, number(0.5)), e)
    if half == "erf first":
        return pair("Mul", x, pair("Mul", e, number(0.5)))
    y = pair("Mul", x, e)
    return pair("Mul", y, number(0.5)) if half == "last" else w.node("Div", y, number(2.0))


def quantized_number(w: Writer, value: float) -> str:
    """One number as 127 steps of int8."""
    return w.dequantize(w.constant(127, "int8"), np.float32(value / 127))


def gelu_by_hand(x: Array, scale: float) -> Array:
    how: dict[str, Any] = IDEAL.shift_gelu(scale)
    return ops.shift_gelu(x, **how)


SPELLINGS = list(product(("Div", "Mul"), (False, True), ("x first", "erf first", "last", "over two")))


def erf_body(argument: str, flipped: bool, half: str, numbers: str, between: str) -> Body:
    def body(w: Writer, x: str) -> str:
        number = (lambda v: quantized_number(w, v)) if numbers == "quantized" else w.constant
        hook = (lambda name: w.qdq(name, 0.125)) if between == "pairs" else str
        return erf_gelu(w, x, argument, flipped, half, number, hook)

    return body


@pytest.mark.parametrize("between", ["nothing", "pairs"])
@pytest.mark.parametrize("numbers", ["plain", "quantized"])
@pytest.mark.parametrize(("argument", "flipped", "half"), SPELLINGS)
def test_gelu_by_erf_becomes_one_shift_gelu(argument: str, flipped: bool, half: str, numbers: str, between: str) -> None:
    model = written(erf_body(argument, flipped, half, numbers, between), EVERY)
    names = operators(imported(model))
    assert names[0] == "ShiftGELU"
    assert set(names[1:]) <= {"Requantize", "Dequantize"}
    np.testing.assert_array_equal(step(model, "ShiftGELU", EVERY), gelu_by_hand(EVERY, 0.125), strict=True)


def tanh_gelu(w: Writer, x: str) -> str:
    cubic = w.node("Mul", w.constant(0.044715), w.node("Pow", x, w.constant(3.0)))
    inner = w.node("Tanh", w.node("Mul", w.node("Add", x, cubic), w.constant(sqrt(2 / np.pi))))
    return w.node("Mul", w.node("Mul", x, w.constant(0.5)), w.node("Add", inner, w.constant(1.0)))


def sigmoid_gelu(w: Writer, x: str) -> str:
    return w.node("Mul", x, w.node("Sigmoid", w.node("Mul", x, w.constant(1.702))))


ONE_NODE: dict[str, Body] = {
    "none": lambda w, x: w.node("Gelu", x),
    "tanh": lambda w, x: w.node("Gelu", x, approximate="tanh"),
    "written tanh": tanh_gelu,
    "sigmoid": sigmoid_gelu,
    "QuickGelu": lambda w, x: w.node("com.microsoft::QuickGelu", x),
    "FastGelu": lambda w, x: w.node("com.microsoft::FastGelu", x),
    "Gelu of Microsoft": lambda w, x: w.node("com.microsoft::Gelu", x),
}


@pytest.mark.parametrize("spelling", ONE_NODE)
def test_gelu_of_every_name_becomes_one_shift_gelu(spelling: str) -> None:
    model = written(ONE_NODE[spelling], EVERY)
    assert operators(imported(model)) == ["ShiftGELU", "Dequantize"]
    np.testing.assert_array_equal(step(model, "ShiftGELU", EVERY), gelu_by_hand(EVERY, 0.125), strict=True)


@pytest.mark.parametrize("name", ["BiasGelu", "FastGelu"])
def test_gelu_with_a_bias_is_a_sum_and_one_shift_gelu(name: str) -> None:
    bias = np.float32(np.linspace(-2, 2, 16))
    model = written(lambda w, x: w.qdq(w.node(f"com.microsoft::{name}", x, w.constant(bias)), 0.0625), EVERY)
    assert operators(imported(model)).count("ShiftGELU") == 1
    x = np.float64(EVERY) * 0.125 + bias
    want = x * 0.5 * (1 + np.vectorize(erf)(x / sqrt(2)))
    assert (np.abs(run(model, {"x": EVERY}) - want.clip(-8, 127 / 16)) <= 0.2).all()


@pytest.mark.parametrize("body", [*ONE_NODE.values(), erf_body("Div", False, "x first", "plain", "nothing")])
def test_shift_gelu_is_near_gelu(body: Body) -> None:
    """One step of sigma is 2**-7 and its exponentials are off by at most 7 %: 0.02 of sigma, times x; see docs/numerics.md.

    Where the row's maximum exceeds 9.37, small x have a sigma of one half; these rows end below."""
    x = EVERY.clip(-60, 60)
    got, wide = run(written(body, x), {"x": x}), np.float64(x) * 0.125
    want = wide * 0.5 * (1 + np.vectorize(erf)(wide / sqrt(2)))
    assert (np.abs(got - want) <= 0.03 * np.abs(wide) + 0.03).all()


TABLES = [*ONE_NODE.values(), *(erf_body(*s, "quantized", between) for s in SPELLINGS for between in ("nothing", "pairs"))]


@pytest.mark.parametrize("body", TABLES)
def test_gelu_by_lookup_is_that_of_onnxruntime_for_every_input(body: Body) -> None:
    model = written(lambda w, x: w.quantize(body(w, x), 0.0625, -3), EVERY)
    want = next(iter(in_onnxruntime(declared(model), {"x": EVERY}).values()))
    np.testing.assert_array_equal(run(model, {"x": EVERY}, LOOKUP), want, strict=True)


INNER = erf_body("Div", False, "x first", "plain", "pairs")


@pytest.mark.parametrize("body", [*TABLES[:7], *TABLES[7::2], INNER])
def test_gelu_by_lookup_is_one_table(body: Body) -> None:
    model = written(lambda w, x: w.quantize(body(w, x), 0.0625, -3), EVERY)
    assert operators(imported(model, LOOKUP)) == ["Lookup"]


def declared(model: ModelProto) -> ModelProto:
    """The model with an int8 output, which ONNX Runtime wants to know."""
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.graph.output[0].type.tensor_type.elem_type = 3
    return copy


OTHERS: dict[str, Body] = {
    "SiLU": lambda w, x: w.node("Mul", x, w.node("Sigmoid", x)),
    "x erf": lambda w, x: w.node("Mul", x, w.node("Erf", x)),
    "sigmoid of 1.2 x": lambda w, x: w.node("Mul", x, w.node("Sigmoid", w.node("Mul", x, w.constant(1.2)))),
    "x tanh": lambda w, x: w.node("Mul", x, w.node("Tanh", x)),
    "Mish": lambda w, x: w.node("Mul", x, w.node("Tanh", w.node("Softplus", x))),
    "erf of x": lambda w, x: w.node("Mul", w.node("Mul", x, w.constant(0.5)), w.node("Add", w.node("Erf", x), w.constant(1.0))),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_functions_become_tables_and_never_gelu(name: str) -> None:
    model = written(lambda w, x: w.quantize(OTHERS[name](w, x), 0.0625), EVERY)
    assert operators(imported(model)) == ["Lookup"]
    want = next(iter(in_onnxruntime(declared(model), {"x": EVERY}).values()))
    np.testing.assert_array_equal(run(model, {"x": EVERY}), want, strict=True)
