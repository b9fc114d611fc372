"""Edges that exporters leave unquantized, and graphs that ONNX Runtime has optimized: near float64, exact where they can be."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from onnx import ModelProto

from ivit_ref.errors import GraphError
from ivit_ref.importer import Choices, import_model
from tests.importer.models import Array, Found, Numbers, Quantization, agreed, codes, imported, in_onnxruntime, model
from tests.importer.onnx_text import assert_quantized, conv, dequantized, exact, matmul, padded, quantized

X, Y = Quantization(0.02, 3, "int8"), Quantization(0.03, -5, "int8")
IN, OUT = "q = QuantizeLinear(x, xs, xz) d = DequantizeLinear(q, xs, xz)", "y = QuantizeLinear(r, ys, yz)"
LINEAR = f"{IN} w = DequantizeLinear<axis = 1>(wq, ws) m = MatMul(d, w)"
NORM = f"r = LayerNormalization<axis = -1>(h, gain, beta) {OUT}"
FLOAT32 = 2.0**-20
"""What a few operations in float32 lose, relative to the largest number: ONNX Runtime, and our scales."""


def images(seed: int, shape: tuple[int, ...] = (1, 4, 16), q: Quantization = X) -> tuple[Array, Array]:
    """A float input whose integers reach both ends, and its quantized numbers in float64."""
    x = q.real(codes(np.random.default_rng(seed), shape, q.dtype)).astype("float32")
    return x, q.real(quantized(exact(x), np.float32(q.scale), q.zero_point, q.dtype)).astype("float64")


def per_channel(seed: int, inputs: int = 16, outputs: int = 8) -> tuple[Numbers, Array, Array]:
    """Weights with a scale for each output, tenfold apart; their numbers; the steps of their accumulators."""
    rng = np.random.default_rng(seed)
    w, s = codes(rng, (inputs, outputs), "int8"), rng.uniform(0.001, 0.01, outputs).astype("float32")
    return {**X.constants("x"), "wq": w, "ws": s}, w * np.float64(s), np.float64(s) * np.float32(X.scale)


def largest(w: Array) -> float:
    """The largest accumulator that the weights allow."""
    return float((np.abs(w).sum(axis=0) * (128 + X.zero_point) * X.scale).max())


def near(proto: ModelProto, x: Array, want: Array, bound: Array | float, choices: Choices | None = None) -> Found:
    """Float results are so near; the file in ONNX Runtime computes what is expected here."""
    found = imported(proto, {"x": x}, choices=choices)
    noise = FLOAT32 * (1 + np.abs(want).max())
    theirs = in_onnxruntime(proto, {"x": x})["y"]
    assert theirs.shape == found.y.shape == want.shape
    assert (np.abs(theirs - want) <= noise * 4).all()
    error = np.abs(found.y - want)
    assert (error <= bound + noise).all(), (error.max(), np.max(bound))
    return found


def layer_norm(h: Array) -> Array:
    """With a gain and a beta that are told in ``NORMAL``."""
    y: Array = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5) * GAIN + BETA
    return y


GAIN, BETA = (np.random.default_rng(9).uniform(*ends, 16).astype("float32") for ends in ((0.5, 1.2), (-0.5, 0.5)))
NORMAL: Numbers = {**X.constants("x"), **Y.constants("y"), "gain": GAIN, "beta": BETA}


def normalized(proto: ModelProto, x: Array, h: Array) -> Found:
    """Half an output step, and a tenth of one: LayerNorm reads 16 bits, its root loses one of the thousands of steps of the
    deviation (relative 2**-11 at most here: 4 * 2**-11 of results up to 4, in steps of 0.03), ONNX Runtime has float32."""
    found = imported(proto, {"x": x})
    for y in (found.y, in_onnxruntime(proto, {"x": x})["y"]):
        steps = np.clip(layer_norm(h) / Y.scale, -123, 132)
        assert y.shape == h.shape
        assert np.abs(np.float64(y) - Y.zero_point - steps).max() <= 0.6
    return found


# --- Residual chains


CHAINS: dict[str, Callable[[int], str]] = {
    "constants": lambda i: f"h{i + 1} = Add(h{i}, c{i})",
    "the same branch": lambda i: f"h{i + 1} = Add(d, h{i})",
    "itself": lambda i: f"h{i + 1} = Add(h{i}, h{i})",
    "the last two": lambda i: f"h{i + 1} = Sub(h{i}, h{max(i - 1, 0)})" if i % 2 else f"h{i + 1} = Add(h{i}, c{i})",
}


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_of_sums_takes_no_exponential_time(chain: str) -> None:
    rng, (x, d) = np.random.default_rng(1), images(2)
    terms = {f"c{i}": (rng.normal(size=(1, 4, 16)) / 10).astype("float32") for i in range(40)}
    h = [d]
    for i in range(40):
        by_name = {"constants": h[i] + terms[f"c{i}"], "the same branch": d + h[i], "itself": h[i] + h[i]}
        last = h[i] - h[i - 1] if i % 2 else h[i] + terms[f"c{i}"]
        h.append(by_name.get(chain, last))
    body = f"{IN} h0 = Identity(d) {' '.join(map(CHAINS[chain], range(40)))} h = Identity(h40) {NORM}"
    proto = model("(float[1,4,16] x) => (int8 y)", body, {**NORMAL, **terms})
    start = time.perf_counter()
    import_model(ModelProto.FromString(proto.SerializeToString()), {})
    assert time.perf_counter() - start < 5
    normalized(proto, x, h[-1])


def test_a_very_long_chain_is_imported_or_refused() -> None:
    body = f"{IN} h0 = Identity(d) {' '.join(f'h{i + 1} = Add(h{i}, c{i % 7})' for i in range(3000))} h = Identity(h3000) {NORM}"
    terms = {f"c{i}": np.full(16, i / 70, np.float32) for i in range(7)}
    proto, start = model("(float[1,4,16] x) => (int8 y)", body, {**NORMAL, **terms}), time.perf_counter()
    try:
        assert import_model(proto, {}).graph is not None
    except GraphError as error:
        assert str(error).isprintable()
    assert time.perf_counter() - start < 10


# --- Joined, chosen and averaged


JOINED: dict[str, tuple[str, Callable[[Array, Numbers], Array]]] = {
    "cls token": ("h = Concat<axis = 1>(cls, d)", lambda d, c: np.concatenate([c["cls"], d], 1)),
    "cls token, positions": (
        "t = Concat<axis = 1>(cls, d) h = Add(t, pos)",
        lambda d, c: np.concatenate([c["cls"], d], 1) + c["pos"],
    ),
    "positions, cls token": (
        "s = Add(pos4, d) t = Concat<axis = 1>(cls, s) h = Add(pos, t)",
        lambda d, c: np.concatenate([c["cls"], d + c["pos4"]], 1) + c["pos"],
    ),
    "two cls tokens": (
        "s = Add(d, pos4) t = Concat<axis = 1>(cls, s, cls) h = Slice(t, one, six, one, one)",
        lambda d, c: np.concatenate([d + c["pos4"], c["cls"]], 1),
    ),
    "where zero": ("h = Where(some, d, nothing)", lambda d, c: np.where(c["some"], d, 0)),
    "where a residual": (
        "s = Add(d, pos4) h = Where(some, nothing, s)",
        lambda d, c: np.where(c["some"], 0, d + c["pos4"]),
    ),
    "where two residuals": (
        "s = Add(d, pos4) t = Sub(d, pos4) h = Where(some, s, t)",
        lambda d, c: np.where(c["some"], d + c["pos4"], d - c["pos4"]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("idiom", JOINED)
def test_joined_and_chosen_without_quantization(idiom: str) -> None:
    rng, (x, d) = np.random.default_rng(3), images(4)
    shapes = {"cls": (1, 1, 16), "pos": (1, 5, 16), "pos4": (1, 4, 16)}
    constants = {name: (rng.normal(size=shape) / 10).astype("float32") for name, shape in shapes.items()}
    numbers: Numbers = {**constants, "some": rng.random((1, 4, 16)) < 0.7, "nothing": 0.0, "one": [1], "six": [6]}
    nodes, want = JOINED[idiom]
    body = f"{IN} {nodes} {NORM}"
    normalized(model("(float[1,4,16] x) => (int8 y)", body, {**NORMAL, **numbers}), x, want(d, numbers))


@pytest.mark.parametrize("ends", [(), (127,), (-128,)], ids=str)
@pytest.mark.parametrize(("count", "width"), [(2, 16), (4, 5), (7, 64), (197, 3), (1025, 2)])
def test_a_mean_over_tokens_does_not_saturate(count: int, width: int, ends: tuple[int, ...]) -> None:
    """int32 sums in steps of range * count / 2**31 at worst, each rounded by half."""
    x, d = images(count, (1, count, width))
    if ends:
        x, d = (np.full_like(v, (ends[0] - X.zero_point) * X.scale) for v in (x, d))
    pos = np.random.default_rng(5).normal(size=(1, count, width)).astype("float32")
    body = f"{IN} h = Add(d, pos) y = ReduceMean<keepdims = 0>(h, axes)"
    proto = model(f"(float[1,{count},{width}] x) => (float y)", body, {**X.constants("x"), "pos": pos, "axes": [1]})
    near(proto, x, (d + pos).mean(1), np.abs(d + pos).max() * count * 2.0**-31)


@pytest.mark.parametrize(("axis", "keepdims"), [(2, 1), (1, 0)])
def test_a_mean_of_wide_products_does_not_saturate(axis: int, keepdims: int) -> None:
    """The product of two accumulators, each in 16 bits by its bound: half a step of either, times the other."""
    constants, w, _ = per_channel(6)
    x, d = images(7)
    body = f"{LINEAR} a, b = Split<axis = 2>(m, sizes) h = Mul(a, b) y = ReduceMean<keepdims = {keepdims}>(h, axes)"
    proto = model("(float[1,4,16] x) => (float y)", body, {**constants, "sizes": [4, 4], "axes": [axis]})
    a, b = np.split(d @ w, 2, 2)
    bound = (np.abs(a).max() + np.abs(b).max()) * largest(w) / 65534
    near(proto, x, (a * b).mean(axis, keepdims=bool(keepdims)), bound)


# --- Accumulators with a scale for each channel


MOVES: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "identity": ("y = Identity(m)", lambda m: m),
    "heads": ("y = Reshape(m, shape)", lambda m: m.reshape(1, 4, 2, 4)),
    "heads first": (
        "t = Reshape(m, shape) y = Transpose<perm = [0, 2, 1, 3]>(t)",
        lambda m: m.reshape(1, 4, 2, 4).transpose(0, 2, 1, 3),
    ),
    "flat": ("y = Flatten(m)", lambda m: m.reshape(1, 32)),
    "transpose": ("y = Transpose<perm = [2, 0, 1]>(m)", lambda m: m.transpose(2, 0, 1)),
    "channels": ("y = Slice(m, one, six, two, one)", lambda m: m[..., 1:6]),
    "every other channel": ("y = Slice(m, one, six, two, two)", lambda m: m[..., 1:6:2]),
    "tokens": ("y = Slice(m, one, two, one, one)", lambda m: m[:, 1:2]),
    "gather": ("y = Gather<axis = 2>(m, two)", lambda m: m[..., 2:3]),
    "split": ("t, y = Split<axis = 2>(m, parts)", lambda m: m[..., 2:]),
    "relu": ("y = Relu(m)", lambda m: np.maximum(m, 0)),
    "clip": ("y = Clip(m, low, high)", lambda m: np.clip(m, -1.3, 2.1)),
    "relu of heads": ("t = Reshape(m, shape) y = Relu(t)", lambda m: np.maximum(m.reshape(1, 4, 2, 4), 0)),
    "concat": ("y = Concat<axis = 2>(m, m)", lambda m: np.concatenate([m, m], 2)),
    "concat tokens": ("t = Relu(m) y = Concat<axis = 1>(t, m)", lambda m: np.concatenate([np.maximum(m, 0), m], 1)),
    "concat a constant": ("y = Concat<axis = 1>(m, cls)", lambda m: np.concatenate([m, np.full((1, 1, 8), 0.7)], 1)),
    "mean of channels": ("y = ReduceMean(m, two)", lambda m: m.mean(2, keepdims=True)),
    "mean of tokens": ("y = ReduceMean(m, one)", lambda m: m.mean(1, keepdims=True)),
}  # fmt: skip


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("idiom", MOVES)
def test_per_channel_accumulators_move(idiom: str, bias: bool) -> None:
    """A bias, a bound, and the numbers themselves are each rounded by half a step: the widest channel's for the bias, the
    finest one's where one scale is needed."""
    constants, w, steps = per_channel(8)
    (x, d), b = images(9), np.linspace(-1, 1, 8, dtype=np.float32)
    m = d @ w + (b if bias else 0)
    nodes, want = MOVES[idiom]
    more: Numbers = {"shape": [1, 4, 2, 4], "one": [1], "two": [2], "six": [6], "parts": [2, 6], "low": -1.3, "high": 2.1}
    body = LINEAR.replace("m = ", "n = ") + f" m = {'Add(n, b)' if bias else 'Identity(n)'} {nodes}"
    proto = model("(float[1,4,16] x) => (float y)", body, {**constants, **more, "b": b, "cls": np.full((1, 1, 8), 0.7, "float32")})
    near(proto, x, want(m), steps.min() / 2 + (steps.max() / 2 if bias else 0))
