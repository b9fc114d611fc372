"""QOperator graphs: what ONNX and com.microsoft define as DequantizeLinear, a float operator, QuantizeLinear."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.importer.models import Array, Quantization, agreed, codes, imported, in_onnxruntime, model, typed
from tests.importer.onnx_text import Exact, assert_quantized, conv, dequantized, exact, matmul, mean, quantized

Y = Quantization(0.21, -9, "int8")


def like(x: Array, scale: float) -> Quantization:
    """A quantization whose zero point is one of the integers."""
    return Quantization(scale, int(x.flat[-1]), str(x.dtype))


# --- Products

DTYPES = [("int8", "int8", "int8"), ("uint8", "int8", "uint8"), ("uint8", "uint8", "uint8")]


@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("columns", ["one scale", "each its scale", "each its zero point"])
@pytest.mark.parametrize(("a_shape", "b_shape"), [((4, 6), (6, 3)), ((2, 3, 5, 4), (4, 7)), ((1, 1), (1, 1))])
def test_qlinear_matmul(a_shape: tuple[int, ...], b_shape: tuple[int, ...], columns: str, dtypes: tuple[str, str, str]) -> None:
    rng = np.random.default_rng(len(columns))
    a, b = codes(rng, a_shape, dtypes[0]), codes(rng, b_shape, dtypes[1])
    q, y, n = like(a, 0.02), Quantization(0.31, 7, dtypes[2]), b_shape[1] if columns != "one scale" else 1
    scale, zero = rng.uniform(0.004, 0.02, n).astype("float32"), rng.choice(b.reshape(-1), n).astype(b.dtype)
    if columns == "each its scale":
        zero = np.zeros(n, b.dtype)
    constants = {
        **q.constants("a"),
        **y.constants("y"),
        "b": b,
        "bs": scale if n > 1 else scale[0],
        "bz": zero if n > 1 else zero[0],
    }
    proto = model(f"({typed(a, 'a')}) => ({y.dtype} y)", "y = QLinearMatMul(a, as, az, b, bs, bz, ys, yz)", constants)
    real = matmul(q.real(a), dequantized(b, scale, zero, 1))
    found = imported(proto, {"a": a})
    assert_quantized(found.y, real, y.scale, y.zero_point, y.dtype)
    if columns != "each its zero point":
        (theirs,) = in_onnxruntime(proto, {"a": a}).values()
        assert_quantized(theirs, real, y.scale, y.zero_point, y.dtype, noise=2.0**-14, extra=2.0**-10)


def test_qlinear_matmul_of_two_activations() -> None:
    rng = np.random.default_rng(2)
    a, b = codes(rng, (2, 3, 4, 5), "uint8"), codes(rng, (2, 3, 5, 2), "uint8")
    p, q, y = like(a, 0.02), like(b, 0.03), Quantization(0.6, 100, "uint8")
    constants = {**p.constants("a"), **q.constants("b"), **y.constants("y")}
    body = "y = QLinearMatMul(a, as, az, b, bs, bz, ys, yz)"
    proto = model(f"({typed(a, 'a')}, {typed(b, 'b')}) => (uint8 y)", body, constants)
    agreed(proto, {"a": a, "b": b}, matmul(p.real(a), q.real(b)), y)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("domain", ["", "com.microsoft."])
@pytest.mark.parametrize(("x_dtype", "w_dtype"), [("uint8", "int8"), ("uint8", "uint8"), ("int8", "int8")])
def test_qlinear_conv(x_dtype: str, w_dtype: str, domain: str, bias: bool, each: bool) -> None:
    if domain and x_dtype == "int8":
        pytest.skip("ONNX Runtime has no such kernel")
    rng = np.random.default_rng(3)
    x, w, b = codes(rng, (2, 4, 5, 6), x_dtype), codes(rng, (6, 2, 3, 2), w_dtype), rng.integers(-9000, 9000, 6).astype("int32")
    q, y, zero = like(x, 0.02), Quantization(0.47, 3, x_dtype), w.reshape(-1)[9] if w_dtype == "uint8" else np.int8(0)
    scale = rng.uniform(0.01, 0.02, 6 if each else 1).astype("float32")
    zeros = np.full(6, zero) if each else zero
    attributes = "group = 2, strides = [2, 1], pads = [1, 0, 2, 1], dilations = [1, 2], kernel_shape = [3, 2]"
    operands = "x, xs, xz, w, ws, wz, ys, yz" + (", b" if bias else "")
    constants = {**q.constants("x"), **y.constants("y"), "w": w, "ws": scale if each else scale[0], "wz": zeros}
    body = f"y = {domain}QLinearConv<{attributes}>({operands})"
    real = conv(q.real(x), dequantized(w, scale, zeros if each else [zero], 0), (2, 1), (1, 0, 2, 1), (1, 2), 2)
    if bias:
        real = real + np.broadcast_to(dequantized(b, np.float32(q.scale) * scale, 0, 0), (6,)).reshape(6, 1, 1)
    proto = model(f"({typed(x, 'x')}) => ({x_dtype} y)", body, constants | ({"b": b} if bias else {}))
    assert agreed(proto, {"x": x}, real, y).operators["Conv"] == 1


@pytest.mark.parametrize("out", ["float", "uint8"])
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("bias", [False, True])
def test_qgemm(bias: bool, trans: int, each: bool, out: str) -> None:
    rng = np.random.default_rng(4)
    a, b, c = (
        codes(rng, (5, 7), "uint8"),
        codes(rng, (3, 7) if trans else (7, 3), "int8"),
        rng.integers(-5000, 5000, 3).astype("int32"),
    )
    q, y, scale = like(a, 0.02), Quantization(0.21, 90, "uint8"), rng.uniform(0.005, 0.02, 3 if each else 1).astype("float32")
    zero = np.zeros(3, np.int8) if each else np.int8(b.flat[2])
    operands = ["a", "as", "az", "b", "bs", "bz", "c" if bias else '""', *(("ys", "yz") if out == "uint8" else ())]
    constants = {**q.constants("a"), **y.constants("y"), "b": b, "bs": scale if each else scale[0], "bz": zero, "c": c}
    proto = model(
        f"({typed(a, 'a')}) => ({out} y)", f"y = com.microsoft.QGemm<transB = {trans}>({', '.join(operands)})", constants
    )
    for node in proto.graph.node:
        node.input[6] = "c" if bias else ""
    weight = dequantized(b.T if trans else b, scale, zero if each else [zero], 1)
    real = matmul(q.real(a), weight) + (dequantized(c, np.float32(q.scale) * scale, 0, 0) if bias else 0)
    if out == "uint8":
        agreed(proto, {"a": a}, real, y)
        return
    found = imported(proto, {"a": a}).y
    np.testing.assert_allclose(found, real.astype("float64"), rtol=2.0**-21)
    np.testing.assert_allclose(found, in_onnxruntime(proto, {"a": a})["y"], rtol=2.0**-20)


@pytest.mark.parametrize(("alpha", "trans_a", "bias"), [(0.5, 1, False), (1.0, 1, True), (-2.0, 0, False), (0.5, 0, True)])
def test_qgemm_with_factors(alpha: float, trans_a: int, bias: bool) -> None:
    """The bias is in steps of alpha * S_a * S_b."""
    rng = np.random.default_rng(5)
    a, b, c = (
        codes(rng, (4, 5), "uint8"),
        codes(rng, (4 if trans_a else 5, 3), "int8"),
        rng.integers(-9000, 9000, 3).astype("int32"),
    )
    q, y, scale = like(a, 0.02), Quantization(0.21, 90, "uint8"), np.float32(0.013)
    body = f"y = com.microsoft.QGemm<transA = {trans_a}, alpha = {alpha}>(a, as, az, b, bs, bz, c, ys, yz)"
    proto = model(
        f"({typed(a, 'a')}) => (uint8 y)",
        body,
        {**q.constants("a"), **y.constants("y"), "b": b, "bs": scale, "bz": np.int8(3), "c": c},
    )
    if not bias:
        proto.graph.node[0].input[6] = ""
    real = q.real(a)
    real = matmul(real.T if trans_a else real, dequantized(b, scale, 3)) + (
        dequantized(c, np.float32(q.scale) * scale) if bias else 0
    )
    agreed(proto, {"a": a}, exact(alpha) * real, y)


FOLLOWED = {
    "": "(int32 y)",
    "y = Identity(m)": "(int32 y)",
    "f = Cast<to = 1>(m) y = Cast<to = 6>(f)": "(int32 y)",
    "f = Cast<to = 1>(m) s = Mul(f, scale) r = Add(s, bias) y = QuantizeLinear(r, ys, yz)": "(int8 y)",
}
"""What becomes of an accumulator: it is an output, or scaled as quantizers write it."""
NODES = [pytest.param(n, id=n[-14:]) for n in FOLLOWED]


def assert_integers(body: str, nodes: str, constants: dict[str, Any], x: Array, want: Exact, *, runs: bool) -> None:
    """Products of integers, as they are or scaled to int8: those of exact arithmetic and of ONNX Runtime, if it has them."""
    rng = np.random.default_rng(want.size)
    scale, bias = rng.normal(size=(2, want.shape[-1])).astype("float32")
    constants = {**constants, **Y.constants("y"), "scale": scale / 2**12, "bias": bias}
    proto = model(f"({typed(x, 'x')}) => {FOLLOWED[nodes]}", f"{'m' if nodes else 'y'} = {body} {nodes}", constants)
    results = [imported(proto, {"x": x}).y, *([in_onnxruntime(proto, {"x": x})["y"]] if runs else [])]
    for result in results:
        if result.dtype == np.int8:
            real = want * exact(scale / 2**12) + exact(bias)
            assert_quantized(result, real, Y.scale, Y.zero_point, "int8", extra=2.0**-9)
        else:
            np.testing.assert_array_equal(result, want.astype("int32"), strict=True)


@pytest.mark.parametrize("nodes", NODES)
@pytest.mark.parametrize("zero_points", ["none", "a", "a and b", "a and each of b"])
@pytest.mark.parametrize("dtypes", [("uint8", "int8"), ("int8", "int8"), ("uint8", "uint8")])
def test_matmul_integer(dtypes: tuple[str, str], zero_points: str, nodes: str) -> None:
    rng = np.random.default_rng(6)
    x, b = codes(rng, (3, 4, 6), dtypes[0]), codes(rng, (6, 5), dtypes[1])
    xz = x.reshape(-1)[8] if zero_points != "none" else np.zeros((), x.dtype)
    bz = {"a and b": b.reshape(-1)[4], "a and each of b": b[3].copy()}.get(zero_points, np.zeros((), b.dtype))
    operands = {"none": "x, b", "a": "x, b, xz"}.get(zero_points, "x, b, xz, bz")
    want = matmul(exact(x) - int(xz), exact(b) - exact(bz))
    runs = zero_points != "a and each of b"
    assert_integers(f"MatMulInteger({operands})", nodes, {"b": b, "xz": xz, "bz": bz}, x, want, runs=runs)


@pytest.mark.parametrize("nodes", NODES)
@pytest.mark.parametrize("dtypes", [("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")])
def test_conv_integer(dtypes: tuple[str, str], nodes: str) -> None:
    """Pads are the zero point of x."""
    rng = np.random.default_rng(7)
    x, w = codes(rng, (1, 3, 5, 4), dtypes[0]), codes(rng, (2, 3, 3, 3), dtypes[1])
    xz, wz = x.reshape(-1)[9], w.reshape(-1)[4] if dtypes[1] == "uint8" else np.int8(0)
    body = "ConvInteger<pads = [1, 0, 2, 1], strides = [1, 2]>(x, w, xz, wz)"
    want = conv(exact(x) - int(xz), exact(w) - int(wz), (1, 2), (1, 0, 2, 1))
    assert_integers(body, nodes, {"w": w, "xz": xz, "wz": wz}, x, want, runs=dtypes[0] == "uint8")


# --- Element by element


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("operator", ["Add", "Mul"])
@pytest.mark.parametrize("shapes", [((2, 3, 5), (2, 3, 5)), ((3, 4), (4,)), ((2, 1, 3), (4, 1))])
def test_qlinear_add_and_mul(shapes: tuple[tuple[int, ...], tuple[int, ...]], operator: str, dtype: str) -> None:
    rng = np.random.default_rng(8)
    a, b = (codes(rng, s, dtype) for s in shapes)
    p, q, y = like(a, 0.011), like(b, 0.007), Quantization(0.0191, 60, dtype)
    constants = {**p.constants("a"), **q.constants("b"), **y.constants("y")}
    body = f"y = com.microsoft.QLinear{operator}(a, as, az, b, bs, bz, ys, yz)"
    x, z = p.real(a), q.real(b)
    real = x + z if operator == "Add" else x * z
    agreed(model(f"({typed(a, 'a')}, {typed(b, 'b')}) => ({dtype} y)", body, constants), {"a": a, "b": b}, real, y)
    constant = model(f"({typed(a, 'a')}) => ({dtype} y)", body, constants | {"b": b})
    agreed(constant, {"a": a}, real, y)


@pytest.mark.parametrize("axis", [1, -1])
def test_qlinear_concat(axis: int) -> None:
    rng = np.random.default_rng(9)
    arrays = [codes(rng, (2, 1 + n, 3) if axis == 1 else (2, 3, 1 + n), "uint8") for n in range(3)]
    quants = [like(v, 0.01 * (n + 1)) for n, v in enumerate(arrays)]
    y = Quantization(0.02, 30, "uint8")
    constants: dict[str, Any] = dict(y.constants("y"))
    for n, q in enumerate(quants):
        constants |= q.constants(f"x{n}")
    operands = ", ".join(f"x{n}, x{n}s, x{n}z" for n in range(3))
    body = f"y = com.microsoft.QLinearConcat<axis = {axis}>(ys, yz, {operands})"
    proto = model(f"({', '.join(typed(v, f'x{n}') for n, v in enumerate(arrays))}) => (uint8 y)", body, constants)
    real = np.concatenate([q.real(v) for v, q in zip(arrays, quants, strict=True)], axis)
    agreed(proto, {f"x{n}": v for n, v in enumerate(arrays)}, real, y)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("operator", ["QLinearSigmoid", "QLinearLeakyRelu<alpha = 0.07>"])
def test_qlinear_functions_of_every_integer(operator: str, dtype: str) -> None:
    x = np.arange(256).astype(dtype).reshape(8, 32)
    q, y = Quantization(0.031, 20, dtype), Quantization(0.0093, 5, dtype)
    proto = model(
        f"({typed(x, 'x')}) => ({dtype} y)",
        f"y = com.microsoft.{operator}(x, xs, xz, ys, yz)",
        {**q.constants("x"), **y.constants("y")},
    )
    alpha = float(np.float32(0.07))
    function = (lambda v: 1 / (1 + math.exp(-v))) if "Sigmoid" in operator else (lambda v: v if v > 0 else alpha * v)
    real = exact([[function(float(v)) for v in row] for row in q.real(x)])
    assert agreed(proto, {"x": x}, real, y, extra=2.0**-14).operators == {"Lookup": 1}


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(("axes", "keepdims"), [((1,), 1), ((-1, 1), 0), ((2, 3), 1)])
def test_qlinear_reduce_mean(axes: tuple[int, ...], keepdims: int, dtype: str) -> None:
    x = codes(np.random.default_rng(10), (2, 3, 5, 4), dtype)
    q, y = like(x, 0.02), Quantization(0.013, 9, dtype)
    body = f"y = com.microsoft.QLinearReduceMean<axes = {list(axes)}, keepdims = {keepdims}>(x, xs, xz, ys, yz)"
    proto = model(f"({typed(x, 'x')}) => ({dtype} y)", body, {**q.constants("x"), **y.constants("y")})
    found = imported(proto, {"x": x})
    assert_quantized(found.y, mean(q.real(x), axes, keepdims), y.scale, y.zero_point, dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_qlinear_global_average_pool(dtype: str) -> None:
    x = codes(np.random.default_rng(11), (2, 3, 5, 4), dtype)
    q, y = like(x, 0.02), Quantization(0.013, 9, dtype)
    body = "y = com.microsoft.QLinearGlobalAveragePool<channels_last = 0>(x, xs, xz, ys, yz)"
    proto = model(f"({typed(x, 'x')}) => ({dtype} y)", body, {**q.constants("x"), **y.constants("y")})
    agreed(proto, {"x": x}, mean(q.real(x), (2, 3)), y)


@pytest.mark.parametrize("given", [True, False])
def test_qlinear_where(given: bool) -> None:
    """The condition is an input or a constant; all three broadcast."""
    rng = np.random.default_rng(12)
    a, b, c = codes(rng, (2, 3, 4), "uint8"), codes(rng, (3, 1), "uint8"), rng.integers(0, 2, (2, 1, 4)).astype(bool)
    p, q, y = like(a, 0.011), like(b, 0.007), Quantization(0.0091, 60, "uint8")
    constants: dict[str, Any] = {**p.constants("a"), **q.constants("b"), **y.constants("y")}
    signature = f"({typed(c, 'c') + ', ' if given else ''}{typed(a, 'a')}, {typed(b, 'b')}) => (uint8 y)"
    proto = model(
        signature, "y = com.microsoft.QLinearWhere(c, a, as, az, b, bs, bz, ys, yz)", constants | ({} if given else {"c": c})
    )
    real = np.where(c, p.real(a), q.real(b))
    found = imported(proto, {"a": a, "b": b, **({"c": c} if given else {})})
    assert_quantized(found.y, real, y.scale, y.zero_point, "uint8")


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_qlinear_softmax(dtype: str, axis: int) -> None:
    """Shiftmax in its place: near the exact softmax, and one for each row along the axis."""
    x = codes(np.random.default_rng(13), (2, 5, 7), dtype)
    q, y = Quantization(0.03, int(x.flat[3]), dtype), Quantization(1 / 256, -128 if dtype == "int8" else 0, dtype)
    body = f"y = com.microsoft.QLinearSoftmax<axis = {axis}, opset = 13>(x, xs, xz, ys, yz)"
    proto = model(f"({typed(x, 'x')}) => ({dtype} y)", body, {**q.constants("x"), **y.constants("y")})
    e = np.exp(q.real(x).astype("float64"))
    want = quantized(exact(e / e.sum(axis=axis, keepdims=True)), y.scale, y.zero_point, dtype)
    found = imported(proto, {"x": x})
    assert found.operators["Shiftmax"] == 1
    assert np.abs(found.y.astype(int) - want).max() <= 6
    assert np.abs(in_onnxruntime(proto, {"x": x})["y"].astype(int) - want).max() <= 1
