"""Edges that exporters leave unquantized, and graphs that ONNX Runtime has optimized: near float64, exact where they can be."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from onnx import ModelProto

import ivit_ref
from ivit_ref.errors import GraphError
from ivit_ref.importer import Choices, import_model
from ivit_ref.importer.choices import Softmax
from tests.importer.models import Array, Found, Numbers, Quantization, agreed, codes, imported, in_onnxruntime, model, typed
from tests.importer.onnx_text import BOUNDS, conv, dequantized, matmul, quantized
from tests.onnx.runtimes import assert_same

X, Y = Quantization(0.02, 3, "int8"), Quantization(0.03, -5, "int8")
IN, OUT = "q = QuantizeLinear(x, xs, xz) d = DequantizeLinear(q, xs, xz)", "y = QuantizeLinear(r, ys, yz)"
LINEAR = f"{IN} w = DequantizeLinear<axis = 1>(wq, ws) m = MatMul(d, w)"
NORM = f"r = LayerNormalization<axis = -1>(h, gain, beta) {OUT}"
FLOAT32 = 2.0**-20  # what a few operations in float32 lose, relative to the largest number: ONNX Runtime, and our scales
# fmt: off
HEADS = """h = Add(m, b) s = Reshape(h, in_heads) t = Transpose<perm = [2, 0, 3, 1, 4]>(s) tq, tk, v = Split(t, thirds)
    k = Transpose<perm = [0, 1, 2, 4, 3]>(tk) l = MatMul(tq, k) u = Mul(l, factor) p = Softmax(u) o = MatMul(p, v)
    f = Transpose<perm = [0, 1, 3, 2, 4]>(o) e = Reshape(f, merged)
    g = QuantizeLinear(e, es, ez) i = DequantizeLinear(g, es, ez)"""
CHAINS = {"constants": "Add(h{}, c{})", "same": "Add(d, h{})", "itself": "Add(h{0}, h{0})", "turned": "Sub(c{1}, h{0})"}
JOINED: dict[str, Callable[[Array, Array, Array, Array], Array]] = {
    "h = Concat<axis = 1>(cls, d)": lambda d, cls, pos, some: np.concatenate([cls, d], 1),
    "t = Concat<axis = 1>(cls, d) h = Add(t, pos)": lambda d, cls, pos, some: np.concatenate([cls, d], 1) + pos,
    "s = Add(d, cls) t = Concat<axis = 1>(s, cls) h = Add(pos, t)": lambda d, c, pos, some: np.concatenate([d + c, c], 1) + pos,
    "s = Add(d, cls) t = Concat<axis = 1>(cls, s, cls) h = Slice(t, one, six, one)":
        lambda d, c, _, __: np.concatenate([d + c, c], 1),
    "h = Where(some, d, nothing)": lambda d, cls, pos, some: np.where(some, d, 0),
    "s = Add(d, cls) h = Where(some, nothing, s)": lambda d, cls, pos, some: np.where(some, 0, d + cls),
    "s = Add(d, cls) t = Sub(d, cls) h = Where(some, s, t)": lambda d, cls, pos, some: np.where(some, d + cls, d - cls),
}
MOVES: dict[str, Callable[[Array], Array]] = {
    "y = Identity(m)": lambda m: m, "y = Reshape(m, shape)": lambda m: m.reshape(1, 4, 2, 4),
    "t = Reshape(m, shape) y = Transpose<perm = [0, 2, 1, 3]>(t)": lambda m: m.reshape(1, 4, 2, 4).transpose(0, 2, 1, 3),
    "y = Transpose<perm = [2, 0, 1]>(m)": lambda m: m.transpose(2, 0, 1),
    "t, y = Split<axis = 2>(m, parts)": lambda m: m[..., 2:],
    "y = Slice(m, one, six, two, one)": lambda m: m[..., 1:6], "y = Slice(m, one, two, one, one)": lambda m: m[:, 1:2],
    "y = Relu(m)": lambda m: np.maximum(m, 0), "y = Clip(m, low, high)": lambda m: np.clip(m, -1.3, 2.1),
    "y = Concat<axis = 2>(m, m)": lambda m: np.concatenate([m, m], 2),
    "t = Relu(m) y = Concat<axis = 1>(t, m)": lambda m: np.concatenate([np.maximum(m, 0), m], 1),
    "y = Concat<axis = 1>(m, cls)": lambda m: np.concatenate([m, np.full((1, 1, 8), 0.7)], 1),
    "y = ReduceMean(m, two)": lambda m: m.mean(2, keepdims=True), "y = ReduceMean(m, one)": lambda m: m.mean(1, keepdims=True),
}
VS = np.array([0.01, 0.04, 0.005, 0.03], "float32")
MS = "com.microsoft."
MS_OUT = f"y = {MS}QuantizeLinear(r, ys, yz)"
OPTIMIZED: dict[str, Callable[[Array, Array, Array], Array]] = {
    f"y = {MS}MatMulIntegerToFloat(x, w, xs, ws, xz, wz)": lambda d, w, b: d @ w,
    f"y = {MS}MatMulIntegerToFloat(x, w, xs, ws, xz, wz, b)": lambda d, w, b: d @ w + b,
    f"y = {MS}MatMulIntegerToFloat(x, w, xs, vs, xz, vz, b)": lambda d, w, b: d @ (w * [1, 4, 0.5, 3]) + b,
    f"y = {MS}FusedMatMul<alpha = 0.125>(d, e)": lambda d, w, b: d @ w * 0.125,
    f"y = {MS}FusedMatMul<alpha = -0.7, transB = 1>(d, d)": lambda d, w, b: d @ d.swapaxes(1, 2) * float(np.float32(-0.7)),
    f"y = {MS}FusedMatMul<transA = 1, alpha = 3.0>(d, d)": lambda d, w, b: d.swapaxes(1, 2) @ d * 3,
    f"u = Transpose(e) y = {MS}FusedMatMul<transB = 1, alpha = 0.5>(d, u)": lambda d, w, b: d @ w / 2,
    f"t = Transpose<perm = [0, 2, 1]>(d) u = Transpose(e) y = {MS}FusedMatMul<transA = 1, transB = 1>(t, u)":
        lambda d, w, b: d @ w,
}
SHARED: Numbers = {"one": [1], "two": [2], "six": [6], "order": [5, 0, 5, 11], "flat": [-1], "nothing": 0.0, "second": 1}
PADS = ((0, 0), (1, 2), (0, 3))
INTEGERS: dict[str, Callable[[Array], Array]] = {
    "y = DequantizeLinear(q, t, z)": lambda x: (x - 131) * 0.0289,
    "y = DequantizeLinear(q, s, u)": lambda x: (x - 106) * 0.5,
    "r = Reshape(q, flat) y = DequantizeLinear(r, t, u)": lambda x: (x.reshape(-1) - 106) * 0.0289,
    "p = Pad(q, pads, u) y = DequantizeLinear(p, s, z)": lambda x: np.pad(x - 131, PADS, constant_values=106 - 131) / 2,
    "p = Pad(q, pads, z) y = DequantizeLinear(p, s, z)": lambda x: np.pad(x - 131, PADS) / 2,
    "a = QuantizeLinear(two, c, v) b = DequantizeLinear(a, c, v) e = Cast<to = 7>(b) f = Unsqueeze(e, v64) "
    "g = Concat<axis = 0>(f, flat) r = Reshape(q, g) y = DequantizeLinear(r, s, z)": lambda x: (x.reshape(2, -1) - 131) / 2,
}
WEIGHTS: dict[str, Callable[[Array], Array]] = {
    "t, v, u = Split<axis = 1>(w, parts)": lambda w: w[:, 4:7],
    "v = Gather<axis = 1>(w, order)": lambda w: w[:, [5, 0, 5, 11]],
    "t = Transpose(w) u = Gather<axis = 0>(t, order) v = Transpose(u)": lambda w: w[:, [5, 0, 5, 11]],
    "t = Reshape(w, heads) u = Reshape(t, back) v = Slice(u, two, six, one)": lambda w: w[:, 2:6],
    "t = Reshape(w, heads) v = Gather<axis = 1>(t, second)": lambda w: w[:, 4:8],
    "t = Reshape(w, heads) u = Transpose<perm = [1, 0, 2]>(t) v = Gather<axis = 0>(u, second)": lambda w: w[:, 4:8],
}
FLOAT_WEIGHTS = {
    "y = MatMul(d, w)": ((4, 16), (16, 5), 1, "ni,io->no"),
    "y = Gemm(d, w, b)": ((4, 16), (16, 5), 1, "ni,io->no"),
    "y = Gemm<transB = 1>(d, w, b)": ((4, 16), (5, 16), 0, "ni,oi->no"),
    "m = MatMul(d, w) y = Add(m, b)": ((2, 3, 16), (16, 5), 1, "nti,io->nto"),
    "z = Conv(d, w, b) y = Flatten(z)": ((2, 3, 6, 6), (5, 3, 6, 6), 0, "nchw,ochw->no"),
}
MOVED = [(n, c) for n in WEIGHTS for c in (False, True)]
# fmt: on


def images(seed: int, shape: tuple[int, ...] = (1, 4, 16), q: Quantization = X) -> tuple[Array, Array]:
    """A float input whose integers reach both ends, and its quantized numbers in float64."""
    d = q.real(codes(np.random.default_rng(seed), shape, q.dtype))
    return d.astype("float32"), d.astype("float64")


def per_channel(seed: int, inputs: int = 16, outputs: int = 8) -> tuple[dict[str, Array], Array, Array, float]:
    """Weights with a scale for each output, up to tenfold apart; their numbers; steps and the largest accumulator of all."""
    rng = np.random.default_rng(seed)
    w, s = codes(rng, (inputs, outputs), "int8"), rng.uniform(0.001, 0.01, outputs).astype("float32")
    most = np.abs(w * np.float64(s)).sum(axis=0).max() * (128 + X.zero_point) * X.scale
    numbers = {"wq": w, "ws": s, "xs": np.float32(X.scale), "xz": np.int8(X.zero_point)}
    return numbers, w * np.float64(s), s * X.scale, float(most)


def near(
    proto: ModelProto, x: Array, want: Array, bound: Array | float, how: Choices | None = None, like: ModelProto | None = None
) -> Found:
    """Float results are so near; the source, or another like it, in ONNX Runtime computes what is expected here."""
    found, noise = imported(proto, {"x": x}, choices=how), FLOAT32 * (1 + np.abs(want).max())
    assert found.y.shape == want.shape
    assert (np.abs(found.y - want) <= bound + noise).all()
    assert (np.abs(in_onnxruntime(like or proto, {"x": x})["y"] - want) <= 4 * noise).all()
    return found


GAIN, BETA = (np.random.default_rng(9).uniform(*ends, 16).astype("float32") for ends in ((0.5, 1.2), (-0.5, 0.5)))
NORMAL: Numbers = {**X.constants("x"), **Y.constants("y"), "gain": GAIN, "beta": BETA}


def near_norm(y: Array, h: Array) -> None:
    """Half an output step, and a tenth of one: LayerNorm reads 16 bits, its root loses one of the thousands of steps of the
    deviation (relative 2**-11 at most here: 4 * 2**-11 of results up to 4, in steps of 0.03), ONNX Runtime has float32."""
    norm = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5) * GAIN + BETA
    steps = np.clip(norm / Y.scale, -128 - Y.zero_point, 127 - Y.zero_point)
    assert np.abs(np.float64(y) - Y.zero_point - steps).max() <= 0.6


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_of_40_sums_takes_no_exponential_time(chain: str) -> None:
    (x, d), c = images(2), (np.random.default_rng(1).normal(size=(40, 1, 4, 16)) / 10).astype("float32")
    h = d
    for term in c:
        h = {"constants": h + term, "same": d + h, "itself": h + h, "turned": term - h}[chain]
    nodes = " ".join(f"h{i + 1} = {CHAINS[chain].format(i, i)}" for i in range(40))
    body = f"{IN} h0 = Identity(d) {nodes} h = Identity(h40) {NORM}"
    proto = model("(float[1,4,16] x) => (int8 y)", body, {**NORMAL, **{f"c{i}": term for i, term in enumerate(c)}})
    start, graph = time.perf_counter(), import_model(proto, {}).graph
    assert time.perf_counter() - start < 5
    assert graph is not None
    spec, fast = (ivit_ref.run(graph, {"x": x}, engine=engine)["y"] for engine in ("spec", "fast"))
    assert_same(fast, spec)
    near_norm(spec, h)
    near_norm(in_onnxruntime(proto, {"x": x})["y"], h)


def test_a_chain_of_3000_sums_is_imported_or_refused() -> None:
    nodes = " ".join(f"h{i + 1} = Add(h{i}, beta)" for i in range(3000))
    start, body = time.perf_counter(), f"{IN} h0 = Identity(d) {nodes} h = Identity(h3000) {NORM}"
    with contextlib.suppress(GraphError):
        assert import_model(model("(float[1,4,16] x) => (int8 y)", body, NORMAL), {}).graph is not None
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("nodes", JOINED)
def test_joined_and_chosen_without_quantization(nodes: str) -> None:
    rng, (x, d) = np.random.default_rng(3), images(4)
    cls, pos = ((rng.normal(size=(1, n, 16)) / 10).astype("float32") for n in (1, 5))
    some = rng.random((1, 4, 16)) < 0.7
    more = {**NORMAL, **SHARED, "cls": cls, "pos": pos, "some": some}
    proto = model("(float[1,4,16] x) => (int8 y)", f"{IN} {nodes} {NORM}", more)
    for y in (imported(proto, {"x": x}).y, in_onnxruntime(proto, {"x": x})["y"]):
        near_norm(y, JOINED[nodes](d, cls, pos, some))


@pytest.mark.parametrize("end", [None, 127, -128])
@pytest.mark.parametrize(("count", "width"), [(2, 16), (4, 5), (7, 64), (197, 3), (1025, 2)])
def test_a_mean_over_tokens_does_not_saturate(count: int, width: int, end: int | None) -> None:
    """int32 sums in steps of range * count / 2**31 at worst, each rounded by half."""
    x, d = images(count, (1, count, width))
    if end is not None:
        x, d = (np.full_like(v, (end - X.zero_point) * X.scale) for v in (x, d))
    pos = np.random.default_rng(5).normal(size=(1, count, width)).astype("float32")
    body = f"{IN} h = Add(d, pos) y = ReduceMean<keepdims = 0>(h, axes)"
    proto = model(f"({typed(x, 'x')}) => (float y)", body, {**X.constants("x"), "pos": pos, "axes": [1]})
    near(proto, x, (d + pos).mean(1), np.abs(d + pos).max() * count * 2.0**-31)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_mean_of_wide_products_does_not_saturate(axis: int) -> None:
    """The product of two accumulators, each in 16 bits by its bound: half a step of either, times the other."""
    (constants, w, _, most), (x, d) = per_channel(6), images(7)
    body = f"{LINEAR} a, b = Split<axis = 2>(m, sizes) h = Mul(a, b) y = ReduceMean(h, axes)"
    proto = model("(float[1,4,16] x) => (float y)", body, {**constants, "sizes": [4, 4], "axes": [axis]})
    a, b = np.split(d @ w, 2, 2)
    bound = (np.abs(a).max() + np.abs(b).max()) * most / 65534
    near(proto, x, (a * b).mean(axis, keepdims=True), bound)


@pytest.mark.parametrize("bias", ["n", "b", "codes"])
@pytest.mark.parametrize("nodes", MOVES)
def test_per_channel_accumulators_move(nodes: str, bias: str) -> None:
    """Half a step for a bias, of the widest channel; half one of the finest for one scale. A vector has no axis 1."""
    (constants, w, steps, _), (x, d), b = per_channel(8), images(9), np.linspace(-1, 1, 8, dtype=np.float32)
    more: Numbers = {**constants, **SHARED, "shape": [1, 4, 2, 4], "parts": [2, 6], "low": -1.3, "high": 2.1, "b": b}
    whole, scales = np.arange(-4, 4, dtype=np.int32) * 997, constants["ws"] * constants["xs"]
    more = {**more, "bq": whole, "bs": scales, "bz": whole * 0, "cls": np.full((1, 1, 8), 0.7, "float32")}
    sums = {"n": "m = Identity(n)", "b": "m = Add(n, b)", "codes": "e = DequantizeLinear(bq, bs, bz) m = Add(e, n)"}
    body = f"{LINEAR.replace('m = ', 'n = ')} {sums[bias]} {nodes}"
    m = d @ w + {"n": 0, "b": b, "codes": whole * scales}[bias]
    bound = steps.min() / 2 + (steps.max() / 2 if bias == "b" else 0)
    named = body.replace("Linear(bq", "Linear<axis = 0>(bq")
    proto, like = (model("(float[1,4,16] x) => (float y)", text, more) for text in (body, named))
    near(proto, x, MOVES[nodes](m), bound, like=like)


@pytest.mark.parametrize("softmax", get_args(Softmax))
@pytest.mark.parametrize("result", ["y = Identity(e)", "y = MatMul(i, w)"])
def test_attention_with_linear_inputs_quantized_only(result: str, softmax: Softmax) -> None:
    """Shiftmax is within a tenth of each probability (test_attention.py has the reason), logits in steps of 2**-6 make that
    0.117; so is their mean of values, but for 16 bits of those. Multiplied again: and a step of what is quantized."""
    (constants, w, _, most), (x, d) = per_channel(10, 16, 48), images(11, (1, 6, 16))
    b = np.linspace(-1, 1, 48, dtype=np.float32)
    q, k, v = (d @ w + b).reshape(1, 6, 3, 4, 4).transpose(2, 0, 3, 1, 4)
    p = np.exp(q @ k.swapaxes(-1, -2) * 0.02)
    p /= p.sum(-1, keepdims=True)
    want, bound = ((p @ t).transpose(0, 2, 1, 3).reshape(1, 6, 16) for t in (v, 0.117 * np.abs(v)))
    bound = bound + most * 2.0**-12
    if "w" in result:
        want, bound = np.clip(np.rint(want * 8), -128, 127) / 8 @ w, (bound + 0.125) @ np.abs(w)
    more: Numbers = {"in_heads": [1, 6, 3, 4, 4], "merged": [1, 6, 16], "thirds": [1, 1, 1], "factor": 0.02, "b": b}
    more = {**constants, **more, "es": 0.125, "ez": np.int8(0)}
    proto = model("(float[1,6,16] x) => (float y)", f"{LINEAR} {HEADS} {result}", more)
    near(proto, x, want, bound, Choices(softmax=softmax))


@pytest.mark.parametrize("nodes", FLOAT_WEIGHTS)
def test_weights_in_float32_become_int8_for_each_output(nodes: str) -> None:
    """That of ONNX Runtime, with weights rounded to 127 steps of each output, but for half a step of the bias."""
    x_shape, w_shape, axis, product = FLOAT_WEIGHTS[nodes]
    rng, (x, d) = np.random.default_rng(13), images(14, x_shape)
    w, b = rng.normal(size=w_shape).astype("float32"), rng.normal(size=5).astype("float32")
    s = np.abs(w).max(tuple(i for i in range(w.ndim) if i != axis), keepdims=True) / np.float32(127)
    proto, like = (
        model(f"({typed(x, 'x')}) => (float y)", f"{IN} {nodes}", {**X.constants("x"), "w": weights, "b": b})
        for weights in (w, np.rint(w / s) * s)
    )
    want = np.einsum(product, d, np.rint(np.float64(w) / s) * s) + b * ("b)" in nodes)
    found = near(proto, x, want, float(s.max()) * X.scale / 2, like=like)
    assert "".join(found.report.chosen).endswith("int8, one scale for each output; the source leaves it in float32")


@pytest.mark.parametrize("nodes", OPTIMIZED)
def test_fused_products(nodes: str) -> None:
    """Exact, but for half a step of a bias."""
    rng, q = np.random.default_rng(15), Quantization(0.02, 131, "uint8")
    x, w, b = codes(rng, (2, 3, 5), "uint8"), codes(rng, (5, 4), "int8"), rng.normal(size=4).astype("float32")
    more: Numbers = {"w": w, "ws": 0.01, "wz": np.int8(7), "vs": VS, "vz": np.full(4, 7, "int8")}
    body = f"d = DequantizeLinear(x, xs, xz) e = DequantizeLinear(w, ws, wz) {nodes}"
    want = OPTIMIZED[nodes](q.real(x).astype("float64"), (w - 7.0) * 0.01, b)
    proto = model("(uint8[2,3,5] x) => (float y)", body, {**q.constants("x"), **more, "b": b})
    found = near(proto, x, want, 0.0004 * ("b)" in nodes))
    assert not found.report.chosen


@pytest.mark.parametrize("bias", ["", ", b"])
@pytest.mark.parametrize(("stride", "group"), [(1, 1), (2, 1), (1, 2), (0, 0)])
def test_convolution_and_pool_with_channels_last(stride: int, group: int, bias: str) -> None:
    rng, q, y = np.random.default_rng(19), Quantization(0.02, 131, "uint8"), Quantization(0.05, 120, "uint8")
    x, w = codes(rng, (2, 5, 7, 4), "uint8"), codes(rng, (6, 4 // max(group, 1), 3, 3), "int8")
    s, b = rng.uniform(0.001, 0.01, 6).astype("float32"), rng.integers(-900, 900, 6, np.int32)
    how = f"kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [{stride}, {stride}], group = {group}"
    body = f"y = com.microsoft.QLinearConv<channels_last = 1, {how}>(x, xs, xz, w, ws, wz, ys, yz{bias})"
    body = body if group else "y = com.microsoft.QLinearGlobalAveragePool<channels_last = 1>(x, xs, xz, ys, yz)"
    real = q.real(x).sum(axis=(1, 2), keepdims=True) / 35
    if group:
        real = conv(q.real(x).transpose(0, 3, 1, 2), dequantized(w, s, 0, 0), (stride, stride), (1,) * 4, group=group)
        real = (real + dequantized(b * bool(bias), s * np.float32(q.scale), 0, 0).reshape(6, 1, 1)).transpose(0, 2, 3, 1)
    constants = {**q.constants("x"), **y.constants("y"), "w": w, "ws": s, "wz": np.zeros(6, np.int8), "b": b}
    agreed(model("(uint8[2,5,7,4] x) => (uint8 y)", body, constants), {"x": x}, real, y)


@pytest.mark.parametrize("nodes", INTEGERS)
def test_integers_read_moved_and_padded_as_they_are(nodes: str) -> None:
    """What the reader says counts, and the report names what its producer says; a number of no axes stays one."""
    x = codes(np.random.default_rng(23), (2, 3, 4), "uint8")
    more = {**SHARED, "s": 0.5, "z": np.uint8(131), "t": 0.0289, "u": np.uint8(106), "pads": [0, 1, 0, 0, 2, 3]}
    more = {**more, "two": 2.0, "c": 2.0**-6, "v": np.uint8(0), "v64": [0]}
    proto = model("(float[2,3,4] x) => (float y)", f"q = QuantizeLinear(x, s, z) {nodes}", more)
    found = near(proto, (x - np.float32(131)) / 2, INTEGERS[nodes](np.float64(x)), 0)
    told = [line for line in found.report.chosen if line.startswith("y: reads ") and " emits " in line]
    assert len(told) == ("t, " in nodes or "(q, s, u" in nodes) == bool(found.report.chosen)


@pytest.mark.parametrize(("nodes", "channels"), MOVED)
def test_weights_that_move_keep_their_integers(nodes: str, channels: bool) -> None:
    """Scales are powers of two: every result is exact, and nothing has to be chosen."""
    rng = np.random.default_rng(29)
    x, w = codes(rng, (3, 16), "int8"), codes(rng, (16, 12), "int8")
    scale = np.exp2(-rng.integers(1, 7, 12)).astype("float32") if channels else np.float32(0.5)
    more = {
        **SHARED,
        "parts": [4, 3, 5],
        "heads": [16, 3, 4],
        "back": [16, 12],
        "xs": 0.5,
        "xz": np.int8(3),
        "wq": w,
        "ws": scale,
    }
    body = f"d = DequantizeLinear(x, xs, xz) w = DequantizeLinear<axis = 1>(wq, ws) {nodes} y = MatMul(d, v)"
    proto = model("(int8[3,16] x) => (float y)", body, more)
    found, want = imported(proto, {"x": x}), ((x - 3.0) * 0.5 @ WEIGHTS[nodes](w * np.float64(scale))).astype("float32")
    np.testing.assert_array_equal(in_onnxruntime(proto, {"x": x})["y"], want, strict=True)
    np.testing.assert_array_equal(found.y, want, strict=True)
    assert not found.report.chosen


@pytest.mark.parametrize(("dtype", "zero"), [("int16", 0), ("uint16", 32768), ("uint16", 7)])
@pytest.mark.parametrize(("k", "other"), [(3072, "weights"), (3072, "extremes"), (64, "int16"), (250, "int16"), (250, "int8")])
def test_two_part_products_of_16_bits_are_exact(k: int, other: str, dtype: str, zero: int) -> None:
    """Scales are powers of two, so that even ties are right; quantized by com.microsoft where ONNX has no 16 bits yet."""
    rng, constant = np.random.default_rng(30), k == 3072
    x, w = codes(rng, (3, k), dtype), codes(rng, (k, 4), "int8" if constant else other)
    if other == "extremes":
        x[0], x[1], w[:, 0] = *BOUNDS[dtype], 127
    y = Quantization(2.0**9 if other == "extremes" else 4.0, 5, "int16")
    more: Numbers = {"xs": 2.0**-10, "xz": np.dtype(dtype).type(zero), "ws": 2.0**-4, "wz": w.dtype.type(0), **y.constants("y")}
    body = f"d = {MS}DequantizeLinear(x, xs, xz) e = {MS}DequantizeLinear(w, ws, wz) r = MatMul(d, e) {MS_OUT}"
    signature = f"({typed(x, 'x')}{'' if constant else ', ' + typed(w, 'w')}) => (int16 y)"
    inputs = {"x": x} if constant else {"x": x, "w": w}
    found = imported(model(signature, body, {**more, **({"w": w} if constant else {})}, 17), inputs)
    real = matmul(dequantized(x, 2.0**-10, zero), dequantized(w, 2.0**-4))
    np.testing.assert_array_equal(found.y, quantized(real, y.scale, 5, "int16"), strict=True)
    assert found.operators["Linear" if constant else "MatMul"] == (1 if other == "int8" else 2)


@pytest.mark.parametrize("q", [Quantization(0.2, 128, "uint8"), Quantization(0.11, -3, "int8")], ids=str)
def test_finer_logits_are_the_same_numbers_and_closer_to_softmax(q: Quantization) -> None:
    """Steps of 0.2 round log2(e) and 1 / S; those of 2**-6 at most, a power of two finer, hardly do: see test_attention.py."""
    x = np.random.default_rng(31).normal(q.zero_point, 2 / q.scale, (64, 16)).clip(*BOUNDS[q.dtype]).astype(q.dtype)
    p = np.exp(q.real(x).astype("float64"))
    p /= p.sum(-1, keepdims=True)
    proto = model(f"({typed(x, 'x')}) => (float y)", "d = DequantizeLinear(x, xs, xz) y = Softmax(d)", q.constants("x"))
    plain, fine = (imported(proto, {"x": x}, choices=Choices(softmax=s)) for s in get_args(Softmax))
    np.testing.assert_allclose(in_onnxruntime(proto, {"x": x})["y"], p, rtol=0, atol=FLOAT32)
    assert np.square(fine.y - p).sum() < np.square(plain.y - p).sum()
    assert (np.abs(fine.y - p) <= 0.1 * p + 2.0**-13).all()
    (finer,) = (node.outputs[0].quant for node in fine.graph.nodes if node.op == "Requantize")
    assert finer is not None
    assert 2.0**-7 < finer.scale[0] <= 2.0**-6
    assert np.frexp(np.float32(q.scale) / finer.scale[0])[0] == 0.5
    assert "Requantize" not in plain.operators
