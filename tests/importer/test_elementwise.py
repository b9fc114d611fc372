"""Sums, products, means and functions of single numbers, between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from ivit_ref.importer import Choices
from tests.importer.models import (
    FUNCTIONS,
    Array,
    Quantization,
    agreed,
    codes,
    gelu,
    hard_swish,
    imported,
    in_onnxruntime,
    model,
    sigmoid,
    typed,
)
from tests.importer.onnx_text import BOUNDS, Exact, assert_quantized, dequantized, exact, mean, quantized

Y = Quantization(0.0217, -9, "int8")
OUT = "y = QuantizeLinear(r, ys, yz)"


# --- Two tensors

PAIRS = [("int8", "int8"), ("uint8", "int8"), ("int8", "uint16"), ("int16", "int16"), ("uint16", "uint8")]
SHAPES = [((2, 3, 5), (2, 3, 5)), ((3, 4), (4,)), ((2, 1, 5), (3, 1)), ((7,), (2, 1, 7))]


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("dtypes", PAIRS)
@pytest.mark.parametrize("shapes", SHAPES)
def test_two_tensors(shapes: Sequence[tuple[int, ...]], dtypes: tuple[str, str], operator: str) -> None:
    """They broadcast; whatever their scales and zero points, the result is rounded once."""
    rng = np.random.default_rng(len(operator) + len(shapes[0]))
    a, b = (codes(rng, s, t) for s, t in zip(shapes, dtypes, strict=True))
    p, q = (Quantization(s / BOUNDS[t][1], int(v.flat[2]), t) for s, v, t in ((1.7, a, dtypes[0]), (0.9, b, dtypes[1])))
    body = f"d = DequantizeLinear(a, as, az) e = DequantizeLinear(b, bs, bz) r = {operator}(d, e) {OUT}"
    constants = {**p.constants("a"), **q.constants("b"), **Y.constants("y")}
    proto = model(f"({typed(a, 'a')}, {typed(b, 'b')}) => (int8 y)", body, constants)
    x, z = p.real(a), q.real(b)
    real = {"Add": lambda: x + z, "Sub": lambda: x - z, "Mul": lambda: x * z}[operator]()
    found = agreed(proto, {"a": a, "b": b}, real, Y)
    assert found.operators["Mul" if operator == "Mul" else "RequantizeAdd"] == 1
    assert not found.report.chosen or (operator, *dtypes) == ("Mul", "int16", "int16")  # a product beyond int32 is narrowed


@pytest.mark.parametrize("operator", ["Add", "Sub"])
@pytest.mark.parametrize("scales", [(0.25, 0.5, 0.5), (1.0, 0.125, 0.25), (0.5, 2.0, 4.0), (2.0**-12, 2.0**-3, 2.0**-3)])
def test_residual_sums_round_once(scales: tuple[float, float, float], operator: str) -> None:
    """Every pair of integers, at powers of two: both branches rounded on their own would differ in many of them."""
    a, b = np.meshgrid(np.arange(-128, 128, 3, dtype=np.int8), np.arange(-128, 128, 5, dtype=np.int8))
    body = f"d = DequantizeLinear(a, as) e = DequantizeLinear(b, bs) r = {operator}(d, e) {OUT}"
    y = Quantization(scales[2], 3, "int8")
    constants = {"as": scales[0], "bs": scales[1], **y.constants("y")}
    proto = model(f"({typed(a, 'a')}, {typed(b, 'b')}) => (int8 y)", body, constants)
    x, z = dequantized(a, scales[0]), dequantized(b, scales[1])
    want = quantized(x + z if operator == "Add" else x - z, scales[2], 3, "int8")
    found = imported(proto, {"a": a, "b": b})
    np.testing.assert_array_equal(found.y, want)
    np.testing.assert_array_equal(in_onnxruntime(proto, {"a": a, "b": b})["y"], want)
    assert [node.attributes["rounds"] for node in found.graph.nodes if node.op == "RequantizeAdd"] == ["once"]


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_concat_of_different_scales(parts: int, axis: int) -> None:
    rng = np.random.default_rng(parts)
    arrays = [
        codes(rng, tuple(2 + n if i == axis % 3 else 3 for i in range(3)), "uint8" if n == 1 else "int8") for n in range(parts)
    ]
    quants = [Quantization(0.011 * (n + 1), 5 * n, str(v.dtype)) for n, v in enumerate(arrays)]
    quants[-1] = Quantization(Y.scale, quants[-1].zero_point, quants[-1].dtype)
    body = " ".join(f"d{n} = DequantizeLinear(x{n}, x{n}s, x{n}z)" for n in range(parts))
    body += f" r = Concat<axis = {axis}>({', '.join(f'd{n}' for n in range(parts))}) {OUT}"
    constants = {k: v for n, q in enumerate(quants) for k, v in q.constants(f"x{n}").items()} | dict(Y.constants("y"))
    proto = model(f"({', '.join(typed(v, f'x{n}') for n, v in enumerate(arrays))}) => (int8 y)", body, constants)
    real = np.concatenate([q.real(v) for v, q in zip(arrays, quants, strict=True)], axis)
    agreed(proto, {f"x{n}": v for n, v in enumerate(arrays)}, real, Y)


def test_a_class_token_in_front() -> None:
    """A constant of its own scale, repeated for each image, before the patches."""
    rng = np.random.default_rng(3)
    x, token = codes(rng, (2, 5, 3), "int8"), codes(rng, (1, 1, 3), "int8")
    p, q = Quantization(0.031, 3, "int8"), Quantization(0.013, 0, "int8")
    body = "d = DequantizeLinear(x, xs, xz) t = DequantizeLinear(tq, ts, tz) e = Expand(t, shape)"
    body += f" r = Concat<axis = 1>(e, d) {OUT}"
    constants = {**p.constants("x"), **q.constants("t"), **Y.constants("y"), "tq": token, "shape": [2, 1, 3]}
    real = np.concatenate([q.real(token).repeat(2, 0), p.real(x)], 1)
    agreed(model(f"({typed(x, 'x')}) => (int8 y)", body, constants), {"x": x}, real, Y)


@pytest.mark.parametrize("other", ["e", "number"])
def test_where_with_a_constant_condition(other: str) -> None:
    rng = np.random.default_rng(5)
    x, z, c = codes(rng, (3, 4), "int8"), codes(rng, (2, 1, 4), "uint8"), rng.integers(0, 2, (3, 1)).astype(bool)
    p, q = Quantization(0.031, 3, "int8"), Quantization(0.013, 90, "uint8")
    body = f"d = DequantizeLinear(x, xs, xz) e = DequantizeLinear(z, zs, zz) r = Where(c, d, {other}) {OUT}"
    constants = {**p.constants("x"), **q.constants("z"), **Y.constants("y"), "c": c, "number": -0.37}
    real = np.where(c, p.real(x), q.real(z) if other == "e" else dequantized(np.array(-0.37, np.float32), 1))
    proto = model(f"({typed(x, 'x')}, {typed(z, 'z')}) => (int8 y)", body, constants)
    agreed(proto, {"x": x, "z": z}, real, Y)


# --- A tensor and a constant


def with_constant(expression: str, constant: Sequence[float] | float, q: Quantization, extra: float = 0.0) -> None:
    """All 256 integers and a real constant c: the import against exact arithmetic."""
    x = np.arange(256).reshape(64, 4).astype(q.dtype)
    body = f"d = DequantizeLinear(x, xs, xz) r = {expression} {OUT}"
    c, d = dequantized(np.asarray(constant, np.float32), 1), q.real(x)
    results: dict[str, Callable[[], Exact]] = {
        "Add": lambda: d + c,
        "Sub": lambda: d - c if expression == "Sub(d, c)" else c - d,
        "Mul": lambda: d * c,
        "Div": lambda: d / c,
        "Max": lambda: np.maximum(d, c),
        "Min": lambda: np.minimum(d, c),
    }
    real = results[expression[:3]]()
    proto = model(
        f"({q.dtype}[64,4] x) => (int8 y)",
        body,
        {**q.constants("x"), **Y.constants("y"), "c": np.asarray(constant, np.float32)},
    )
    agreed(proto, {"x": x}, real, Y, extra=extra)


QUANTS = [Quantization(0.013, 0, "int8"), Quantization(0.013, -7, "int8"), Quantization(0.0171, 131, "uint8")]
SCALARS = ("Mul(d, c)", "Mul(c, d)", "Div(d, c)", "Max(d, c)", "Min(c, d)")


@pytest.mark.parametrize("q", QUANTS, ids=str)
@pytest.mark.parametrize("constant", [0.37, -1.29, 1.0, 6.0, [0.3, -0.7, 1.1, 2.3], [[0.41]]], ids=str)
@pytest.mark.parametrize("expression", SCALARS)
def test_products_and_bounds(expression: str, constant: Sequence[float] | float, q: Quantization) -> None:
    if np.size(constant) > 1 and expression.startswith("M") and expression[1] != "u":
        pytest.skip("Max and Min of two tensors are refused")
    with_constant(expression, constant, q)


@pytest.mark.parametrize("q", QUANTS, ids=str)
@pytest.mark.parametrize("constant", [0.37, [0.31, -0.77, 1.13, 0.05]], ids=str)
@pytest.mark.parametrize("expression", ["Add(d, c)", "Add(c, d)", "Sub(d, c)", "Sub(c, d)"])
def test_sums_with_a_real_constant(expression: str, constant: Sequence[float] | float, q: Quantization) -> None:
    with_constant(expression, constant, q)


@pytest.mark.parametrize(("code", "scale"), [(np.uint8(255), 6 / 255), (np.int8(127), 3 / 127), (np.int8(-128), 0.01)])
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
def test_scalar_constants_that_are_quantized(operator: str, code: Array, scale: float) -> None:
    """Exporters store 6.0 as 255 steps of 6/255."""
    x, q, y = (
        np.arange(-128, 128, dtype=np.int8).reshape(8, 32),
        Quantization(0.0113, 3, "int8"),
        Quantization(0.0461, 3, "int8"),
    )
    body = f"d = DequantizeLinear(x, xs, xz) c = DequantizeLinear(cq, cs) r = {operator}(d, c) {OUT}"
    proto = model(
        "(int8[8,32] x) => (int8 y)", body, {**q.constants("x"), **y.constants("y"), "cq": code, "cs": np.float32(scale)}
    )
    c, d = dequantized(np.asarray(code), np.float32(scale)), q.real(x)
    real = {"Add": lambda: d + c, "Sub": lambda: d - c, "Mul": lambda: d * c, "Div": lambda: d / c}[operator]()
    found = agreed(proto, {"x": x}, real, y)
    assert not found.report.chosen


@pytest.mark.parametrize(
    ("opset", "nodes"), [(10, "Clip<min = 0.0, max = 0.7>(d)"), (11, "Clip(d, low)"), (13, 'Clip(d, "", high)')]
)
def test_clips_of_every_opset(opset: int, nodes: str) -> None:
    x, q = np.arange(-128, 128, dtype=np.int8).reshape(8, 32), QUANTS[1]
    constants = {**q.constants("x"), **Y.constants("y"), "low": -0.2, "high": 0.7}
    body = f"d = DequantizeLinear(x, xs, xz) r = {nodes} {OUT}".replace('""', "none")
    proto = model("(int8[8,32] x) => (int8 y)", body, constants, opset)
    for node in proto.graph.node:
        node.input[:] = ["" if name == "none" else name for name in node.input]
    low, high = {10: (0.0, 0.7), 11: (-0.2, 9.0), 13: (-9.0, 0.7)}[opset]
    agreed(proto, {"x": x}, np.clip(q.real(x), *dequantized(np.array([low, high], np.float32), 1)), Y)


# --- Means

SCALAR = pytest.param(None, 0)


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
@pytest.mark.parametrize(
    ("axes", "keepdims"), [((1,), 0), ((-1,), 1), ((-1,), 0), ((0, -2), 1), ((3, 2), 0), (None, 1), SCALAR], ids=str
)
@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceSum"])
def test_means_along_axes(operator: str, axes: tuple[int, ...] | None, keepdims: int, opset: int) -> None:
    """Axes as an attribute at first, as an input since opset 18 (of ReduceSum since 13)."""
    rng = np.random.default_rng(opset)
    x = codes(rng, (2, 3, 5, 4), "uint8" if keepdims else "int8")
    q, y = Quantization(0.02, int(x.flat[7]), str(x.dtype)), Quantization(0.013 if operator == "ReduceMean" else 0.7, 9, "int8")
    as_input = opset >= (18 if operator == "ReduceMean" else 13)
    attributes = f"keepdims = {keepdims}" + (f", axes = {list(axes)}" if axes and not as_input else "")
    operands = "d, axes" if axes and as_input else "d"
    body = f"d = DequantizeLinear(x, xs, xz) r = {operator}<{attributes}>({operands}) {OUT}"
    constants = {**q.constants("x"), **y.constants("y"), **({"axes": list(axes)} if axes and as_input else {})}
    real = mean(q.real(x), axes, keepdims)
    if operator == "ReduceSum":
        real = real * (math.prod(x.shape) if axes is None else math.prod(x.shape[a] for a in axes))
    found = agreed(model(f"({typed(x, 'x')}) => (int8 y)", body, constants, opset), {"x": x}, np.asarray(real, object), y)
    assert found.operators["ReduceSum"] == found.operators["Requantize"] == 1


@pytest.mark.parametrize("shape", [(2, 3, 7), (1, 4, 3, 5), (2, 3, 2, 3, 2)], ids=str)
def test_global_average_pools(shape: tuple[int, ...]) -> None:
    x = codes(np.random.default_rng(4), shape, "uint8")
    q = Quantization(0.02, 77, "uint8")
    body = f"d = DequantizeLinear(x, xs, xz) r = GlobalAveragePool(d) {OUT}"
    proto = model(f"({typed(x, 'x')}) => (int8 y)", body, {**q.constants("x"), **Y.constants("y")})
    agreed(proto, {"x": x}, mean(q.real(x), range(2, len(shape))), Y)


def test_means_of_powers_of_two_round_half_to_even() -> None:
    x = np.random.default_rng(4).integers(-8, 8, (50, 4)).astype(np.int8)
    body = f"d = DequantizeLinear(x, xs, xz) r = ReduceMean<axes = [1], keepdims = 0>(d) {OUT}"
    proto = model("(int8[50,4] x) => (int8 y)", body, {"xs": 0.5, "xz": np.int8(1), "ys": 0.5, "yz": np.int8(7)}, 13)
    want = quantized(mean(dequantized(x, 0.5, 1), (1,), 0), 0.5, 7, "int8")
    np.testing.assert_array_equal(imported(proto, {"x": x}).y, want)
    np.testing.assert_array_equal(in_onnxruntime(proto, {"x": x})["y"], want)


# --- Functions of one 8-bit tensor, over all of its integers


NUMBERS = {
    "three": 3.0,
    "one": 1.0,
    "six": 6.0,
    "zero": 0.0,
    "low": -1.0,
    "high": 0.7,
    "sc": 1 / 128,
    "sz": np.uint8(0),
    "beta": 1.5,
    "negative": -0.7,
}


def over_all_integers(nodes: str, function: Callable[[float], float], q: Quantization) -> None:
    low, high = BOUNDS[q.dtype]
    x = np.arange(low, high + 1).astype(q.dtype).reshape(8, 32)
    constants = {**q.constants("x"), **Y.constants("y"), **NUMBERS}
    real = exact([[function(float(v)) for v in row] for row in q.real(x)])
    proto = model(f"({typed(x, 'x')}) => (int8 y)", f"d = DequantizeLinear(x, xs, xz) {nodes} {OUT}", constants)
    found = agreed(proto, {"x": x}, real, Y, extra=2.0**-14)
    assert not found.report.chosen


@pytest.mark.parametrize(
    "q", [Quantization(0.0317, 0, "int8"), Quantization(0.0273, 13, "int8"), Quantization(0.0291, 101, "uint8")], ids=str
)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_of_8_bits(name: str, q: Quantization) -> None:
    over_all_integers(*FUNCTIONS[name], q)


SYMMETRIC, ASYMMETRIC = Quantization(0.0317, 0, "int8"), Quantization(0.0291, 101, "uint8")
POSITIVE = Quantization(0.02, -128, "int8")
NEGATED = "n = Neg(d) e = Exp(n) a = Add(e, one) r = Reciprocal(a)"


Function = Callable[[float], float]


def case(name: str, nodes: str, function: Function, q: Quantization) -> ParameterSet:
    return pytest.param(nodes, function, q, id=name)


CLIPPED = "a = Add(d, three) c = Clip(a, zero, six) m = Mul(d, c) r = Div(m, six)"
QUOTIENT = "n = Neg(d) e = Exp(n) a = Add(e, one) r = Div(d, a)"
WRITTEN_OUT = [
    case("square root", "r = Sqrt(d)", lambda x: math.sqrt(max(x, 0.0)), POSITIVE),
    case("logarithm", "r = Log(d)", lambda x: math.log(x) if x > 0 else -1e9, POSITIVE),
    case("sigmoid by exp", NEGATED, sigmoid, SYMMETRIC),
    case("sigmoid by exp, zero point", NEGATED, sigmoid, ASYMMETRIC),
    case("tanh of 1 - x, zero point", "n = Sub(one, d) r = Tanh(n)", lambda x: math.tanh(1 - x), ASYMMETRIC),
    case("tanh of -0.7 x", "n = Mul(d, negative) r = Tanh(n)", lambda x: math.tanh(-0.7 * x), ASYMMETRIC),
    case("swish by exp", QUOTIENT, lambda x: x * sigmoid(x), SYMMETRIC),
    case("hard swish by clip", CLIPPED, hard_swish, SYMMETRIC),
    case("swish", "b = Mul(d, beta) s = Sigmoid(b) r = Mul(d, s)", lambda x: x * sigmoid(1.5 * x), ASYMMETRIC),
    case("x - tanh(x)", "t = Tanh(d) r = Sub(d, t)", lambda x: x - math.tanh(x), SYMMETRIC),
]


@pytest.mark.parametrize(("nodes", "function", "q"), WRITTEN_OUT)
def test_functions_in_several_nodes(nodes: str, function: Callable[[float], float], q: Quantization) -> None:
    over_all_integers(nodes, function, q)


@pytest.mark.parametrize("operator", ["Sqrt", "Log"])
def test_functions_that_are_not_defined_everywhere(operator: str) -> None:
    """A variance is quantized symmetrically like everything else: half of the table is never read."""
    x, q = np.arange(1, 128, dtype=np.int8)[None], SYMMETRIC
    body = f"d = DequantizeLinear(x, xs, xz) r = {operator}(d) {OUT}"
    real = exact([[{"Sqrt": math.sqrt, "Log": math.log}[operator](v) for v in q.real(x)[0]]])
    proto = model("(int8[1,127] x) => (int8 y)", body, {**q.constants("x"), **Y.constants("y")})
    agreed(proto, {"x": x}, real, Y, extra=2.0**-14)


def test_what_is_not_a_number_becomes_the_zero_point_and_is_told() -> None:
    x = np.arange(-128, 0, dtype=np.int8)[None]
    proto = model(
        "(int8[1,128] x) => (int8 y)",
        f"d = DequantizeLinear(x, xs, xz) r = Sqrt(d) {OUT}",
        {**SYMMETRIC.constants("x"), **Y.constants("y")},
    )
    found = imported(proto, {"x": x})
    assert (found.y == Y.zero_point).all()
    assert ["not a number" in line for line in found.report.chosen] == [True]


@pytest.mark.parametrize("nodes", ["r = Gelu(d)", "v = Div(d, root) e = Erf(v) a = Add(e, one) m = Mul(d, a) r = Mul(m, half)"])
def test_gelu_as_a_table(nodes: str) -> None:
    """With gelu="lookup" it is one table more; written out it multiplies x by a table of x / sqrt(2), within a step."""
    x = np.arange(-128, 128, dtype=np.int8).reshape(8, 32)
    constants = {**SYMMETRIC.constants("x"), **Y.constants("y"), "root": math.sqrt(2), "one": 1.0, "half": 0.5}
    proto = model("(int8[8,32] x) => (int8 y)", f"d = DequantizeLinear(x, xs, xz) {nodes} {OUT}", constants)
    found = imported(proto, {"x": x}, choices=Choices(gelu="lookup"))
    real = exact([[gelu(float(v)) for v in row] for row in SYMMETRIC.real(x)])
    assert_quantized(found.y, real, Y.scale, Y.zero_point, Y.dtype, extra=2.0**-14 if "Gelu" in nodes else 2.0**-7)


def test_tables_that_nothing_quantizes_are_told() -> None:
    x = np.arange(-128, 128, dtype=np.int8)[None]
    proto = model("(int8[1,256] x) => (float y)", "d = DequantizeLinear(x, s) y = Tanh(d)", {"s": 0.05})
    found = imported(proto, {"x": x})
    assert len(found.report.chosen) == 1
    assert np.abs(found.y - np.tanh(x * 0.05)).max() < 2.0**-15
