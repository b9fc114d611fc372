"""QDQ graphs: DequantizeLinear, a float operator, QuantizeLinear are one integer operator, rounded once."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest

from ivit_ref.errors import GraphError
from tests.importer.models import Quantization, agreed, codes, imported, in_onnxruntime, model
from tests.importer.onnx_text import assert_quantized, dequantized, matmul, quantized

X, Y = Quantization(0.0123, 7, "int8"), Quantization(0.21, -9, "int8")
IN, OUT = "d = DequantizeLinear(x, xs, xz)", "y = QuantizeLinear(r, ys, yz)"


# --- Opsets and dtypes


@pytest.mark.parametrize("opset", range(10, 26))
def test_every_opset(opset: int) -> None:
    """From a float image to integer logits: pre-quantized weights, a bias of int32, Relu."""
    rng = np.random.default_rng(opset)
    q = Quantization(0.031, 130, "uint8")
    x = ((rng.integers(-140, 140, (3, 5)) + rng.uniform(-0.49, 0.49, (3, 5))) * q.scale).astype("float32")
    w, b = codes(rng, (5, 4), "int8"), codes(rng, (4,), "int16").astype("int32")
    steps = np.float32(q.scale) * np.float32(0.02)
    body = """q = QuantizeLinear(x, qs, qz) d = DequantizeLinear(q, qs, qz) w = DequantizeLinear(wq, ws, wz)
              b = DequantizeLinear(bq, bs) m = MatMul(d, w) a = Add(m, b) r = Relu(a) y = QuantizeLinear(r, ys, yz)"""
    constants = {**q.constants("q"), **Y.constants("y"), "wq": w, "ws": 0.02, "wz": np.int8(0), "bq": b, "bs": steps}
    proto = model("(float[N,5] x) => (int8 y)", body, constants, opset)
    real = q.real(quantized(dequantized(x, 1), np.float32(q.scale), q.zero_point, "uint8"))
    real = np.maximum(matmul(real, dequantized(w, np.float32(0.02))) + dequantized(b, steps), 0)
    found = agreed(proto, {"x": x}, real, Y, {"N": 3})
    assert set(found.operators) == {"Quantize", "Center", "Linear", "Requantize", "Clip"}
    assert not found.report.chosen


@pytest.mark.parametrize("bias", ["Add(m, b)", "Add(b, m)", ""])
@pytest.mark.parametrize("y_dtype", ["int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize(
    ("x_dtype", "w_dtype"), [*product(("int8", "uint8", "int16", "uint16"), ("int8", "uint8")), ("int8", "int16")]
)
def test_dtypes_and_zero_points(x_dtype: str, w_dtype: str, y_dtype: str, bias: str) -> None:
    rng = np.random.default_rng(abs(hash((len(x_dtype), w_dtype == "int8", y_dtype == "int8", bias == ""))) % 1000)
    x, w = codes(rng, (2, 3, 7), x_dtype), codes(rng, (7, 5), w_dtype)
    q, v = (
        Quantization(0.003, int(rng.choice(x.flat)), x_dtype),
        Quantization(0.007, int(rng.choice(w.flat)) if w_dtype[-1] == "8" else 0, w_dtype),
    )
    y = Quantization(0.4 if y_dtype[-1] == "8" and x_dtype[-1] == "8" else 0.031, 3, y_dtype)
    b, steps = rng.integers(-5000, 5000, 5).astype("int32"), np.float32(q.scale) * np.float32(v.scale)
    body = f"""{IN} w = DequantizeLinear(wq, ws, wz) b = DequantizeLinear(bq, bs)
               {"m = MatMul(d, w) r = " + bias if bias else "r = MatMul(d, w)"} {OUT}"""
    constants = {**q.constants("x"), **v.constants("w"), **y.constants("y"), "wq": w, "bq": b, "bs": steps}
    real = matmul(q.real(x), v.real(w)) + (dequantized(b, steps) if bias else 0)
    agreed(model(f"({x_dtype}[2,3,7] x) => ({y_dtype} y)", body, constants), {"x": x}, real, y)


@pytest.mark.parametrize("zero_point", [-3, 0, 5])
def test_ties_go_to_even_before_the_zero_point(zero_point: int) -> None:
    """Powers of two: every step is exact, so nothing may differ, here and in ONNX Runtime."""
    x = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
    y = Quantization(0.25, zero_point, "int8")
    constants = {"xs": 0.125, "xz": np.int8(1), **y.constants("y"), "wq": np.eye(16, dtype=np.int8), "ws": 0.5}
    proto = model("(int8[16,16] x) => (int8 y)", f"{IN} w = DequantizeLinear(wq, ws) r = MatMul(d, w) {OUT}", constants)
    real = dequantized(x, 0.125, 1) / 2
    want = quantized(real, 0.25, zero_point, "int8")
    np.testing.assert_array_equal(imported(proto, {"x": x}).y, want)
    np.testing.assert_array_equal(in_onnxruntime(proto, {"x": x})["y"], want)


# --- Weights


@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_scales_and_zero_points_for_each_column(dtype: str, operator: str, trans: int) -> None:
    """Axis from the back or the front; weights stored [inputs, outputs], or turned by Transpose or transB."""
    rng = np.random.default_rng(7)
    x, w = codes(rng, (4, 6), "int8"), codes(rng, (6, 3), dtype)
    scale, zero = np.array([0.01, 0.0033, 0.02], np.float32), w[rng.integers(0, 6, 3), np.arange(3)]
    zero = zero if dtype != "int16" else np.zeros(3, np.int16)
    b, steps = rng.integers(-9000, 9000, 3).astype("int32"), np.float32(X.scale) * scale
    stored = np.ascontiguousarray(w.T) if trans else w
    turned = "t = Transpose<perm = [1, 0]>(w)" if trans and operator == "MatMul" else "t = Identity(w)"
    product_ = "m = MatMul(d, t) r = Add(b, m)" if operator == "MatMul" else f"r = Gemm<transB = {trans}>(d, t, b)"
    body = f"""{IN} w = DequantizeLinear<axis = {0 if trans else -1}>(wq, ws, wz) {turned}
               b = DequantizeLinear<axis = 0>(bq, bs) {product_} {OUT}"""
    constants = {**X.constants("x"), **Y.constants("y"), "wq": stored, "ws": scale, "wz": zero, "bq": b, "bs": steps}
    real = matmul(X.real(x), dequantized(w, scale, zero, 1)) + dequantized(b, steps, 0, 0)
    found = agreed(model("(int8[4,6] x) => (int8 y)", body, constants), {"x": x}, real, Y)
    assert found.operators == {"Center": 1, "Linear": 1, "Requantize": 1}


@pytest.mark.parametrize("opset", [10, 12, 13, 19, 21, 23, 25])
@pytest.mark.parametrize("between", ["", "Clip", "Transpose"])
def test_float_weights_that_the_graph_quantizes(opset: int, between: str) -> None:
    rng = np.random.default_rng(opset)
    x, w = codes(rng, (4, 6), "int8"), rng.normal(size=(6, 3)).astype("float32")
    scale = np.array([0.02, 0.011, 0.03], np.float32) if opset >= 13 else np.float32(0.02)
    axis = 1 if opset >= 13 else None
    whole = quantized(dequantized(w, 1), scale, 0, "int8", axis)
    low, high = (-100, 90) if between == "Clip" and opset >= 12 else (-128, 127)
    along = "<axis = 1>" if opset >= 13 else ""
    body = f"{IN} q = QuantizeLinear{along}(w, ws, wz) c = {'Clip(q, low, high)' if low > -128 else 'Identity(q)'} "
    turned = "t = Transpose(v) u = Transpose(t)" if between == "Transpose" else "u = Identity(v)"
    body += f"v = DequantizeLinear{along}(c, ws, wz) {turned}"
    bounds = {"low": np.int8(low), "high": np.int8(high)}
    constants = {**X.constants("x"), **Y.constants("y"), **bounds, "w": w, "ws": scale, "wz": np.zeros(scale.shape, np.int8)}
    real = matmul(X.real(x), dequantized(np.clip(whole, low, high), scale, 0, axis))
    found = agreed(model("(int8[4,6] x) => (int8 y)", f"{body} r = MatMul(d, u) {OUT}", constants, opset), {"x": x}, real, Y)
    assert "Clip" not in found.operators


FACTORS = [(0.5, 1.0, 0), (1.0, 0.25, 0), (-0.7, 1.0, 1), (1.5, 2.0, 1), (1.0, 1.0, 1)]


@pytest.mark.parametrize("bias", [(3,), (1,), (4, 1), (), (4, 3)], ids=str)
@pytest.mark.parametrize(("alpha", "beta", "trans_a"), FACTORS)
def test_gemm(alpha: float, beta: float, trans_a: int, bias: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    x, w = codes(rng, (6, 4) if trans_a else (4, 6), "int8"), codes(rng, (6, 3), "int8")
    b = rng.integers(-9000, 9000, bias, np.int32) if bias else np.array(4711, np.int32)
    steps = np.float32(X.scale) * np.float32(0.02)
    body = f"""{IN} w = DequantizeLinear(wq, ws) b = DequantizeLinear(bq, bs)
               r = Gemm<alpha = {alpha}, beta = {beta}, transA = {trans_a}>(d, w, b) {OUT}"""
    constants = {**X.constants("x"), **Y.constants("y"), "wq": w, "ws": 0.02, "bq": b, "bs": steps}
    shape = "6,4" if trans_a else "4,6"
    a = X.real(x).T if trans_a else X.real(x)
    real = dequantized(np.float32(alpha), 1) * matmul(a, dequantized(w, np.float32(0.02))) + dequantized(
        np.float32(beta), 1
    ) * dequantized(b, steps)
    agreed(model(f"(int8[{shape}] x) => (int8 y)", body, constants), {"x": x}, real, Y)


def test_float_bias_is_rounded_to_steps_of_the_accumulator() -> None:
    rng = np.random.default_rng(5)
    x, w, b = codes(rng, (40, 6), "int8"), codes(rng, (6, 3), "int8"), rng.normal(size=3).astype("float32")
    constants = {**X.constants("x"), **Y.constants("y"), "wq": w, "ws": 0.02, "b": b}
    proto = model("(int8[40,6] x) => (int8 y)", f"{IN} w = DequantizeLinear(wq, ws) r = Gemm(d, w, b) {OUT}", constants)
    real = matmul(X.real(x), dequantized(w, np.float32(0.02))) + dequantized(b, 1)
    agreed(proto, {"x": x}, real, Y, extra=X.scale * 0.02 / 2 / Y.scale)


# --- Products of two activations


PAIRS = [("int8", "int8"), ("uint8", "int8"), ("uint8", "uint8"), ("int16", "int8"), ("int16", "int16"), ("uint16", "uint16")]
SHAPES = [((2, 3, 4, 5), (2, 3, 5, 2)), ((3, 1, 5), (5, 4)), ((2, 1, 3, 4), (3, 4, 3)), ((1, 3), (2, 3, 1))]


@pytest.mark.parametrize("dtypes", PAIRS)
@pytest.mark.parametrize(("a_shape", "b_shape"), SHAPES)
def test_products_of_two_tensors(a_shape: tuple[int, ...], b_shape: tuple[int, ...], dtypes: tuple[str, str]) -> None:
    rng = np.random.default_rng(len(a_shape))
    a, b = codes(rng, a_shape, dtypes[0]), codes(rng, b_shape, dtypes[1])
    p, q = (Quantization(0.02 if t[-1] == "8" else 0.0001, int(v.flat[2]), t) for v, t in ((a, dtypes[0]), (b, dtypes[1])))
    y = Quantization(0.43, 20, "uint8")
    body = f"d = DequantizeLinear(a, as, az) e = DequantizeLinear(b, bs, bz) r = MatMul(d, e) {OUT}"
    shapes = [",".join(map(str, s)) for s in (a_shape, b_shape)]
    signature = f"({dtypes[0]}[{shapes[0]}] a, {dtypes[1]}[{shapes[1]}] b) => (uint8 y)"
    proto = model(signature, body, {**p.constants("a"), **q.constants("b"), **y.constants("y")})
    found = agreed(proto, {"a": a, "b": b}, matmul(p.real(a), q.real(b)), y)
    if "16" not in "".join(dtypes):
        assert found.operators["MatMul"] == 1
        assert found.operators["Requantize"] == 1


# --- The same quantization again, and none at all


@pytest.mark.parametrize("opset", [13, 21])
def test_the_same_quantization_around_movement_collapses(opset: int) -> None:
    """Reshape, Transpose, Split and Squeeze, each between DequantizeLinear and QuantizeLinear of the same scale."""
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    again = "{0}q = QuantizeLinear({0}, s, z) {0}d = DequantizeLinear({0}q, s, z) ".format
    body = (
        "d = DequantizeLinear(x, s, z) a = Reshape(d, shape) "
        + again("a")
        + "b = Transpose<perm = [2, 0, 1]>(ad) "
        + again("b")
    )
    body += (
        "c, e = Split<axis = 0>(bd, sizes) "
        + again("c")
        + again("e")
        + "f = Squeeze(ed, axes) "
        + again("f")
        + "t = Transpose(cd) "
    )
    body += "u = QuantizeLinear(t, s, z) y = QuantizeLinear(fd, s, z)"
    constants = {"s": 0.3, "z": np.uint8(9), "shape": [3, 2, 4], "sizes": [3, 1], "axes": [0]}
    found = imported(model("(uint8[2,3,4] x) => (uint8 y, uint8 u)", body, constants, opset), {"x": x})
    moved = x.reshape(3, 2, 4).transpose(2, 0, 1)
    np.testing.assert_array_equal(found.y, moved[3])
    np.testing.assert_array_equal(found.outputs["u"], moved[:3].transpose())
    assert set(found.operators) <= {"Reshape", "Transpose", "Slice"}
    assert not found.report.chosen


def test_another_quantization_is_one_requantize() -> None:
    x = np.arange(-128, 128, dtype=np.int8)[None]
    body = f"{IN} r = Transpose(d) {OUT}"
    found = agreed(
        model("(int8[1,256] x) => (int8 y)", body, {**X.constants("x"), **Y.constants("y")}), {"x": x}, X.real(x).T, Y
    )
    assert found.operators["Requantize"] == 1


@pytest.mark.parametrize("middle", ["MatMul(m, v)", "Mul(m, m)", "Tanh(m)", "Softmax(m)"])
def test_an_edge_without_quantization_is_told_or_refused_by_name(middle: str) -> None:
    """An accumulator that the next operator cannot take: a scale is chosen, which the report says, or a node is named."""
    rng = np.random.default_rng(1)
    x, w = codes(rng, (4, 6), "int8"), codes(rng, (6, 6), "int8")
    body = f"{IN} w = DequantizeLinear(wq, ws) v = Identity(w) m = MatMul(d, w) r = {middle} {OUT}"
    proto = model("(int8[4,6] x) => (int8 y)", body, {**X.constants("x"), **Y.constants("y"), "wq": w, "ws": np.float32(0.01)})
    if middle == "Tanh(m)":
        with pytest.raises(GraphError, match=re.escape("node 'r' (Tanh): ") + ".*8-bit"):
            imported(proto, {"x": x})
        return
    found = imported(proto, {"x": x})
    assert any(line.startswith("m: ") for line in found.report.chosen), found.report.chosen
    if middle != "Softmax(m)":
        m = matmul(X.real(x), dequantized(w, np.float32(0.01)))
        real = m * m if middle == "Mul(m, m)" else matmul(m, dequantized(w, np.float32(0.01)))
        assert_quantized(found.y, real, Y.scale, Y.zero_point, Y.dtype, extra=0.05)


ACCUMULATORS = {
    "m = MatMul(d, w) s = Add(m, d) r = Relu(s)": lambda m, d: np.maximum(m + d, 0),
    "m = MatMul(d, w) r = Sub(d, m)": lambda m, d: d - m,
    "m = MatMul(d, w) n = MatMul(d, w) r = Add(m, n)": lambda m, d: m + m,
    "m = MatMul(d, w) s = Mul(m, c) r = Add(s, d)": lambda m, d: m * dequantized(np.float32(-1.3), 1) + d,
    "m = MatMul(d, w) s = Relu(m) t = Transpose(s) r = Transpose(t)": lambda m, d: np.maximum(m, 0),
}


@pytest.mark.parametrize("nodes", ACCUMULATORS)
def test_accumulators_that_follow_each_other_are_rounded_once(nodes: str) -> None:
    """QDQ graphs for TensorRT quantize in front of products only; nothing has to be chosen."""
    rng = np.random.default_rng(8)
    x, w, scale = codes(rng, (30, 16), "int8"), codes(rng, (16, 16), "int8"), rng.uniform(0.001, 0.003, 16).astype("float32")
    constants = {**X.constants("x"), **Y.constants("y"), "ys": 0.0223, "wq": w, "ws": scale, "c": -1.3}
    proto = model("(int8[30,16] x) => (int8 y)", f"{IN} w = DequantizeLinear<axis = 1>(wq, ws) {nodes} {OUT}", constants)
    real = ACCUMULATORS[nodes](matmul(X.real(x), dequantized(w, scale, 0, 1)), X.real(x))
    found = agreed(proto, {"x": x}, real, Quantization(0.0223, Y.zero_point, "int8"), extra=2.0**-12)
    assert not found.report.chosen


def test_a_large_accumulator_and_a_residual() -> None:
    x = np.arange(-128, 128, dtype=np.int8)[:, None].repeat(1000, 1)
    w = np.random.default_rng(1).integers(90, 128, (1000, 40)).astype("int8")
    y = Quantization(0.05, 0, "int8")
    body = f"{IN} w = DequantizeLinear(wq, ws) m = MatMul(d, w) c = Slice(d, a, b, one) r = Add(m, c) {OUT}"
    constants = {"xs": 0.03, "xz": np.int8(0), **y.constants("y"), "wq": w, "ws": 1.1e-5, "a": [0], "b": [40], "one": [1]}
    found = imported(model("(int8[256,1000] x) => (int8 y)", body, constants), {"x": x})
    real = dequantized(x[:, :1], np.float32(0.03)) * (1 + dequantized(w.sum(axis=0, dtype=np.int64), np.float32(1.1e-5)))
    assert_quantized(found.y, real, y.scale, 0, "int8")


@pytest.mark.parametrize("opset", [10, 13, 21])
def test_a_clip_between_quantization_and_its_inverse(opset: int) -> None:
    x = np.linspace(-3, 3, 77, dtype=np.float32).reshape(7, 11)
    clip = "Clip(q, low, high)" if opset >= 12 else "Identity(q)"
    body = f"q = QuantizeLinear(x, xs, xz) c = {clip} d = DequantizeLinear(c, xs, xz) r = Relu(d) {OUT}"
    low, high = (-60, 50) if opset >= 12 else (-128, 127)
    constants = {**X.constants("x"), **Y.constants("y"), "low": np.int8(low), "high": np.int8(high)}
    whole = quantized(dequantized(x, 1), np.float32(X.scale), X.zero_point, "int8")
    real = np.maximum(X.real(np.clip(whole, low, high)), 0)
    agreed(model("(float[7,11] x) => (int8 y)", body, constants, opset), {"x": x}, real, Y)


def test_outputs_may_be_real() -> None:
    """DequantizeLinear at the end, and a product that is not quantized: float32 of what the integers stand for."""
    rng = np.random.default_rng(2)
    x, w = codes(rng, (3, 5), "uint8"), codes(rng, (5, 2), "int8")
    q = Quantization(0.5, 100, "uint8")
    constants = {**q.constants("x"), "wq": w, "ws": np.float32(0.25)}
    proto = model("(uint8[3,5] x) => (float d, float y)", f"{IN} w = DequantizeLinear(wq, ws) y = MatMul(d, w)", constants)
    found, theirs = imported(proto, {"x": x}).outputs, in_onnxruntime(proto, {"x": x})
    for name, real in (("d", q.real(x)), ("y", matmul(q.real(x), dequantized(w, 0.25)))):
        np.testing.assert_array_equal(found[name], real.astype("float32"))
        np.testing.assert_array_equal(theirs[name], found[name])


def test_quantization_of_16_bits_in_the_older_domain() -> None:
    """Before opset 21 ONNX Runtime's tools write 16-bit QDQ graphs with nodes of com.microsoft."""
    x = np.arange(-500, 500, 7, dtype=np.int16)[None]
    q, y = Quantization(0.001, 11, "int16"), Quantization(0.003, 200, "uint16")
    body = "d = com.microsoft.DequantizeLinear(x, xs, xz) r = Relu(d) y = com.microsoft.QuantizeLinear(r, ys, yz)"
    proto = model(f"(int16[1,{x.size}] x) => (uint16 y)", body, {**q.constants("x"), **y.constants("y")}, 17)
    agreed(proto, {"x": x}, np.maximum(q.real(x), 0), y)


@pytest.mark.parametrize("factor", [0.5, 1.5, 3.0])
def test_a_bias_in_other_steps_than_the_accumulator(factor: float) -> None:
    """Its real numbers count, not its integers."""
    rng = np.random.default_rng(int(10 * factor))
    x, w, b = codes(rng, (6, 5), "int8"), codes(rng, (5, 4), "int8"), rng.integers(-9000, 9000, 4).astype("int32")
    steps = np.float32(X.scale) * np.float32(0.02) * np.float32(factor)
    body = f"{IN} w = DequantizeLinear(wq, ws) b = DequantizeLinear(bq, bs) r = Gemm(d, w, b) {OUT}"
    constants = {**X.constants("x"), **Y.constants("y"), "wq": w, "ws": 0.02, "bq": b, "bs": steps}
    real = matmul(X.real(x), dequantized(w, np.float32(0.02))) + dequantized(b, steps)
    # The bias is rounded to half a step of the accumulator at most.
    agreed(model("(int8[6,5] x) => (int8 y)", body, constants), {"x": x}, real, Y, extra=0.5 * X.scale * 0.02 / Y.scale)
