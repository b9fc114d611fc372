"""What moves elements, what exporters compute shapes with, and windows over images: integers stay what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ivit_ref.errors import GraphError
from ivit_ref.importer import import_model
from tests.importer.models import (
    NONE,
    Array,
    Dims,
    Numbers,
    Quantization,
    agreed,
    codes,
    imported,
    in_onnxruntime,
    model,
    typed,
)
from tests.importer.onnx_text import conv, dequantized, max_pool, quantized, same_pads

X, Y = Quantization(0.0123, 7, "int8"), Quantization(0.021, -9, "int8")
Expected = Callable[[Array], Array]
ARITHMETIC = {"Requantize", "RequantizeAdd", "Center", "Quantize", "Dequantize", "Rescale"}


def assert_moves(nodes: str, constants: Numbers, x: Array, want: Array, opset: int = 21, dims: Dims = NONE) -> None:
    """Integers by themselves, real tensors at the same and at another quantization, and a float image: all move alike."""
    shape = ",".join([*dims, *map(str, x.shape[len(dims) :])])
    q = Quantization(X.scale, X.zero_point, str(x.dtype))
    body = f"{nodes} z = DequantizeLinear(x, xs, xz)"
    integers = model(f"({x.dtype}[{shape}] x) => ({x.dtype} y, float z)", body, {**q.constants("x"), **constants}, opset)
    found = imported(integers, {"x": x}, dims)
    np.testing.assert_array_equal(found.y, want, strict=True)
    assert ARITHMETIC.intersection(found.operators) == {"Dequantize"}
    np.testing.assert_array_equal(in_onnxruntime(integers, {"x": x})["y"], want, strict=True)

    inside = nodes.replace("(x", "(d").replace(", x)", ", d)").replace("y = ", "r = ")
    same = model(
        f"({x.dtype}[{shape}] x) => ({x.dtype} y)",
        f"d = DequantizeLinear(x, xs, xz) {inside} y = QuantizeLinear(r, xs, xz)",
        {**q.constants("x"), **constants},
        opset,
    )
    found = imported(same, {"x": x}, dims)
    np.testing.assert_array_equal(found.y, want, strict=True)
    assert not ARITHMETIC.intersection(found.operators)
    body = f"d = DequantizeLinear(x, xs, xz) {inside} y = QuantizeLinear(r, ys, yz)"
    other = model(f"({x.dtype}[{shape}] x) => (int8 y)", body, {**q.constants("x"), **Y.constants("y"), **constants}, opset)
    agreed(other, {"x": x}, q.real(want), Y, dims)

    if "Concat<axis = -2>" in nodes or "Concat<axis = 2>" in nodes:
        return  # float tensors that are joined before they are quantized are refused
    image = x.astype("float32") / 32
    body = f"{nodes.replace('y = ', 'r = ')} y = QuantizeLinear(r, ys, yz)"
    floats = model(f"(float[{shape}] x) => (int8 y)", body, {**Y.constants("y"), "ys": 0.25, **constants}, opset)
    real = dequantized(want.astype("float32") / 32, 1)
    np.testing.assert_array_equal(imported(floats, {"x": image}, dims).y, quantized(real, 0.25, Y.zero_point, "int8"))


# --- One operator

FAR = 2**63 - 1
MOVES: dict[str, tuple[str, dict[str, Any], Expected, tuple[int, ...]]] = {
    "transpose": ("y = Transpose<perm = [2, 0, 1]>(x)", {}, lambda x: x.transpose(2, 0, 1), (21,)),
    "transpose without perm": ("y = Transpose(x)", {}, np.transpose, (21,)),
    "reshape": ("y = Reshape(x, s)", {"s": [4, -1, 0]}, lambda x: x.reshape(4, 3, 2), (13, 21)),
    "reshape, allowzero": ("y = Reshape<allowzero = 1>(x, s)", {"s": [2, -1]}, lambda x: x.reshape(2, 12), (14, 21)),
    "flatten": ("y = Flatten(x)", {}, lambda x: x.reshape(4, 6), (13, 21)),
    "flatten 0": ("y = Flatten<axis = 0>(x)", {}, lambda x: x.reshape(1, 24), (13, 21)),
    "flatten -1": ("y = Flatten<axis = -1>(x)", {}, lambda x: x.reshape(12, 2), (13, 21)),
    "flatten 3": ("y = Flatten<axis = 3>(x)", {}, lambda x: x.reshape(24, 1), (13, 21)),
    "unsqueeze, old": ("y = Unsqueeze<axes = [0, 3]>(x)", {}, lambda x: x.reshape(1, 4, 3, 1, 2), (11,)),
    "unsqueeze": ("y = Unsqueeze(x, a)", {"a": [-1, 0]}, lambda x: x.reshape(1, 4, 3, 2, 1), (13, 21)),
    "squeeze, old": ("u = Unsqueeze<axes = [0, 2]>(x) y = Squeeze<axes = [2]>(u)", {}, lambda x: x[None], (11,)),
    "squeeze": ("u = Unsqueeze(x, a) y = Squeeze(u, b)", {"a": [0, 2], "b": [-3]}, lambda x: x[None], (13, 21)),
    "squeeze all": ("u = Unsqueeze(x, a) y = Squeeze(u)", {"a": [0, 2]}, lambda x: x, (13, 21)),
    "slice": ("y = Slice(x, s, e)", {"s": [1, 0], "e": [3, 2]}, lambda x: x[1:3, :2], (10, 21)),
    "slice, axes": ("y = Slice(x, s, e, a)", {"s": [-2, -9], "e": [FAR, -1], "a": [-2, 0]}, lambda x: x[:-1, -2:], (13, 21)),
    "slice, steps": ("y = Slice(x, s, e, a, t)", {"s": [3], "e": [0], "a": [0], "t": [-2]}, lambda x: x[3:0:-2], (13, 21)),
    "reversed": ("y = Slice(x, s, e, a, t)", {"s": [-1], "e": [-FAR], "a": [1], "t": [-1]}, lambda x: x[:, ::-1], (13, 21)),
    "reversed to -4": ("y = Slice(x, s, e, a, t)", {"s": [9], "e": [-4], "a": [1], "t": [-1]}, lambda x: x[:, ::-1], (13, 21)),
    "every other": ("y = Slice(x, s, e, a, t)", {"s": [0], "e": [99], "a": [0], "t": [3]}, lambda x: x[::3], (13, 21)),
    "gather one": ("y = Gather<axis = 1>(x, i)", {"i": -1}, lambda x: x[:, -1], (11, 21)),
    "gather some": ("y = Gather<axis = -1>(x, i)", {"i": [1, 0, -1, 1]}, lambda x: x[..., [1, 0, -1, 1]], (11, 21)),
    "gather a run": ("y = Gather(x, i)", {"i": [1, 2]}, lambda x: x[1:3], (11, 21)),
    "gather a table": ("y = Gather(x, i)", {"i": [[0, 3], [1, 1], [2, 0]]}, lambda x: x[[[0, 3], [1, 1], [2, 0]]], (11, 21)),
    "gather a table in the middle": ("y = Gather<axis = 1>(x, i)", {"i": [[2], [0]]}, lambda x: x[:, [[2], [0]]], (11, 21)),
    "gather int32": ("y = Gather<axis = 1>(x, i)", {"i": np.array([2, 0], np.int32)}, lambda x: x[:, [2, 0]], (11, 21)),
    "tile": ("y = Tile(x, n)", {"n": [1, 2, 3]}, lambda x: np.tile(x, (1, 2, 3)), (13, 21)),
    "expand": ("u = Unsqueeze(x, a) y = Expand(u, s)", {"a": [0], "s": [2, 1, 3, 1]}, lambda x: np.stack([x, x]), (13, 21)),
    "expand by rank": ("y = Expand(x, s)", {"s": [2, 4, 1, 2]}, lambda x: np.stack([x, x]), (13, 21)),
    "expand to less": ("y = Expand(x, s)", {"s": [1]}, lambda x: x, (13, 21)),
    "identity": ("y = Identity(x)", {}, lambda x: x, (13, 21)),
    "concat with itself": ("y = Concat<axis = -2>(x, x)", {}, lambda x: np.concatenate([x, x], 1), (13, 21)),
    "rejoin": ("a, b = Split<axis = 0>(x) y = Concat<axis = 2>(b, a)", {}, lambda x: np.dstack([x[2:], x[:2]]), (11, 13)),
}  # fmt: skip
CASES = [pytest.param(*case[:3], opset, id=f"{name}-{opset}") for name, case in MOVES.items() for opset in case[3]]


@pytest.mark.parametrize(("nodes", "constants", "move", "opset"), CASES)
def test_integers_move_and_stay_what_they_are(nodes: str, constants: Numbers, move: Expected, opset: int) -> None:
    x = codes(np.random.default_rng(1), (4, 3, 2), "uint8" if "Concat" in nodes else "int8")
    assert_moves(nodes, constants, x, np.ascontiguousarray(move(x)), opset)


SPLITS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "attribute": ("Split<axis = 1, split = [1, 4, 2]>(d)", {}, (1, 4, 2), (11,)),
    "equal, old": ("Split<axis = 1>(d)", {}, (2, 2, 2), (11, 13)),
    "input": ("Split<axis = -1>(d, sizes)", {"sizes": [3, 1, 3]}, (3, 1, 3), (13, 17, 18, 21)),
    "num_outputs": ("Split<axis = 1, num_outputs = 3>(d)", {}, (3, 3, 1), (18, 21)),
    "num_outputs, equal": ("Split<axis = 1, num_outputs = 3>(d)", {}, (2, 2, 2), (18, 21)),
}


@pytest.mark.parametrize(
    ("nodes", "constants", "sizes", "opset"),
    [pytest.param(*case[:3], opset, id=f"{name}-{opset}") for name, case in SPLITS.items() for opset in case[3]],
)
def test_splits(nodes: str, constants: Numbers, sizes: tuple[int, ...], opset: int) -> None:
    """Of what is quantized already, and of a product that is not: each part may have a scale of its own."""
    rng = np.random.default_rng(2)
    x, w = codes(rng, (5, 4), "int8"), codes(rng, (4, sum(sizes)), "int8")
    body = f"e = DequantizeLinear(x, xs, xz) w = DequantizeLinear(wq, ws) d = MatMul(e, w) a, b, c = {nodes} "
    body += "y = QuantizeLinear(a, ys, yz) z = QuantizeLinear(b, zs, yz) u = QuantizeLinear(c, ys, yz)"
    constants = {**constants, **X.constants("x"), "ys": 0.5, "zs": 0.25, "yz": np.int8(-3), "wq": w, "ws": 0.02}
    proto = model("(int8[5,4] x) => (int8 y, int8 z, int8 u)", body, constants, opset)
    real = np.matmul(X.real(x), dequantized(w, np.float32(0.02)))
    places = np.cumsum(sizes)[:2]
    found, theirs = imported(proto, {"x": x}).outputs, in_onnxruntime(proto, {"x": x})
    for name, part, scale in zip("yzu", np.split(real, places, 1), (0.5, 0.25, 0.5), strict=True):
        np.testing.assert_array_equal(found[name], quantized(part, scale, -3, "int8"))
        np.testing.assert_array_equal(theirs[name], found[name])


@pytest.mark.parametrize("value", [0.0, 0.4, -1e9])
@pytest.mark.parametrize(("pads", "axes"), [((0, 1, 2, 0, 0, 1), None), ((1, 0), (-1,)), ((0, 0, 0, 0, 0, 0), None)])
@pytest.mark.parametrize("opset", [10, 13, 18, 21])
def test_pads(opset: int, pads: tuple[int, ...], axes: tuple[int, ...] | None, value: float) -> None:
    """A real constant around a tensor: zero is the zero point. An attribute at first, inputs since opset 11, axes since 18."""
    if (axes and opset < 18) or (opset == 10 and value < -1):
        pytest.skip("ONNX has no such form")
    x = codes(np.random.default_rng(3), (2, 3, 4), "int8")
    nodes = (
        f"r = Pad<pads = {list(pads)}, value = {value}>(d)"
        if opset < 11
        else f"r = Pad(d, pads, value{', axes' if axes else ''})"
    )
    body = f"d = DequantizeLinear(x, xs, xz) {nodes} y = QuantizeLinear(r, ys, yz)"
    constants = {**X.constants("x"), **Y.constants("y"), "pads": list(pads), "value": value, "axes": list(axes or ())}
    width = [0, 0, pads[0], 0, 0, pads[1]] if axes else pads
    edges = [slice(n, n + d) for n, d in zip(width[:3], x.shape, strict=True)]
    around = np.full([d + width[i] + width[i + 3] for i, d in enumerate(x.shape)], value, np.float32)
    real = dequantized(around, 1)
    real[tuple(edges)] = X.real(x)
    agreed(model("(int8[2,3,4] x) => (int8 y)", body, constants, opset), {"x": x}, real, Y)


# --- Shapes that exporters compute

FLATTENED = "s = Shape(x) n = Gather(s, zero) u = Unsqueeze(n, axes) c = Concat<axis = 0>(u, rest) y = Reshape(x, c)"
SHAPES: dict[str, tuple[str, dict[str, Any], Expected]] = {
    "shape, gather, concat": (FLATTENED, {"zero": 0, "axes": [0], "rest": [-1]}, lambda x: x.reshape(len(x), -1)),
    "shape of a part": (
        "s = Shape<start = 1, end = -1>(x) c = Concat<axis = 0>(m, s) y = Reshape(x, c)",
        {"m": [-1]},
        lambda x: x.reshape(-1, 3),
    ),
    "slice of a shape": (
        "s = Shape(x) p = Slice(s, a, b) q = ReduceProd<keepdims = 1>(p) c = Concat<axis = 0>(q, m) y = Reshape(x, c)",
        {"a": [0], "b": [2], "m": [-1]},
        lambda x: x.reshape(-1, 4),
    ),
    "constant of shape, where, expand": (
        "s = Shape(v) o = ConstantOfShape<value = int64[1] {1}>(s) m = Mul(o, minus) e = Equal(v, m) w = Where(e, o, v) "
        "y = Expand(x, w)",
        {"v": [2, -1, 3, -1], "minus": -1},
        lambda x: np.broadcast_to(x, (2, *x.shape)),
    ),
    "range, gather": (
        "s = Shape(x) n = Gather(s, one) k = Range(zero, n, two) y = Gather<axis = 1>(x, k)",
        {"zero": 0, "one": 1, "two": 2},
        lambda x: x[:, ::2],
    ),
    "arithmetic": (
        "s = Shape(x) n = Gather(s, last) f = Cast<to = 1>(n) h = Div(f, two) g = Floor(h) i = Cast<to = 7>(g) "
        "y = Slice(x, zero, i, last)",
        {"last": [2], "two": 2.0, "zero": [0]},
        lambda x: x[..., :2],
    ),
    "size": ("n = Size(x) u = Unsqueeze(n, zero) y = Reshape(x, u)", {"zero": [0]}, np.ravel),
    "split of a shape": (
        "s = Shape(x) a, b, c = Split<axis = 0>(s, ones) t = Concat<axis = 0>(a, c, b) y = Reshape(x, t)",
        {"ones": [1, 1, 1]},
        lambda x: x.reshape(x.shape[0], 4, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", SHAPES)
def test_computed_shapes_fold_away(name: str, batch: int) -> None:
    nodes, constants, move = SHAPES[name]
    x = codes(np.random.default_rng(4), (batch, 3, 4), "int8")
    assert_moves(nodes, constants, x, np.ascontiguousarray(move(x)), 17 if "ReduceProd" in nodes else 21, {"N": batch})


def test_unbound_axes_are_listed() -> None:
    proto = model(
        "(int8[N,3,H,W] x, int8[N,?] z) => (int8 y)", "d = DequantizeLinear(x, s) y = QuantizeLinear(d, s)", {"s": 0.5}
    )
    with pytest.raises(GraphError, match=r"give H=1, W=1, z_1=1 to load\(\).*unbound H, W, z_1$"):
        import_model(proto, {"N": 2})
    with pytest.raises(GraphError, match=r"unbound N, H, W, z_1$"):
        import_model(proto, {})
    with pytest.raises(GraphError, match=r"must be one of N, H, W, z_1, but found 'M'$"):
        import_model(proto, {"M": 2})


# --- Windows

POOLS: dict[str, dict[str, Any]] = {
    "plain": {"kernel": (2, 3)},
    "strides": {"kernel": (2, 2), "strides": (2, 3)},
    "pads": {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 0, 2, 1)},
    "ceil_mode": {"kernel": (2, 2), "strides": (2, 2), "ceil_mode": 1},
    "ceil_mode, pads": {"kernel": (3, 3), "strides": (2, 3), "pads": (1, 1, 1, 1), "ceil_mode": 1},
    "ceil_mode, long strides": {"kernel": (1, 2), "strides": (4, 5), "pads": (0, 1, 0, 1), "ceil_mode": 1},
    "dilations": {"kernel": (2, 3), "dilations": (3, 2), "pads": (1, 1, 0, 2)},
    "dilations, ceil_mode": {"kernel": (2, 2), "dilations": (2, 3), "strides": (3, 2), "ceil_mode": 1},
}


@pytest.mark.parametrize("opset", [12, 22])
@pytest.mark.parametrize("form", ["integers", "one scale", "two scales"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("name", POOLS)
def test_max_pools(name: str, dtype: str, form: str, opset: int) -> None:
    """Of integers, and of real tensors at the same and at another quantization; pads never win."""
    how = POOLS[name]
    x = codes(np.random.default_rng(5), (2, 3, 7, 9), dtype) // (1 if dtype == "uint8" else 2) - (0 if dtype == "uint8" else 60)
    x = x.astype(dtype)
    keys = {"kernel": "kernel_shape"}
    attributes = ", ".join(f"{keys.get(k, k)} = {list(v) if isinstance(v, tuple) else v}" for k, v in how.items())
    q = Quantization(0.0123, 9, dtype)
    y = Quantization(0.021, 5, dtype) if form == "two scales" else q
    real = max_pool(q.real(x), **how)
    body = f"d = DequantizeLinear(x, xs, xz) r = MaxPool<{attributes}>(d) y = QuantizeLinear(r, ys, yz)"
    if form == "integers":
        body = f"y = MaxPool<{attributes}>(x) d = DequantizeLinear(y, xs, xz)"
    proto = model(
        f"({dtype}[2,3,7,9] x) => ({dtype} y{', float d' if form == 'integers' else ''})",
        body,
        {**q.constants("x"), **y.constants("y")},
        opset,
    )
    assert agreed(proto, {"x": x}, real, y).operators["MaxPool"] == 1


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_max_pools_with_auto_pad(auto: str) -> None:
    x = codes(np.random.default_rng(6), (1, 2, 7, 8), "int8")
    proto = model(
        "(int8[1,2,7,8] x) => (int8 y, float d)",
        f'd = DequantizeLinear(x, xs, xz) y = MaxPool<auto_pad = "{auto}", kernel_shape = [2, 4], strides = [2, 3]>(x)',
        X.constants("x"),
    )
    np.testing.assert_array_equal(imported(proto, {"x": x}).y, in_onnxruntime(proto, {"x": x})["y"], strict=True)


# --- Convolutions

GEOMETRIES: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "plain": ({}, (2, 3, 7, 5), (4, 3, 3, 2)),
    "strides": ({"strides": (2, 3)}, (1, 3, 7, 8), (2, 3, 3, 2)),
    "pads": ({"pads": (2, 0, 1, 1), "strides": (2, 1)}, (1, 2, 4, 5), (3, 2, 3, 3)),
    "dilations": ({"dilations": (2, 3), "pads": (1, 2, 0, 1)}, (1, 2, 7, 9), (3, 2, 3, 2)),
    "groups": ({"group": 2, "pads": (1, 1, 1, 1)}, (2, 4, 3, 4), (6, 2, 3, 3)),
    "depthwise": ({"group": 5, "strides": (2, 2)}, (1, 5, 5, 6), (5, 1, 3, 3)),
    "pointwise": ({}, (2, 6, 3, 3), (4, 6, 1, 1)),
    "patches": ({"strides": (4, 4)}, (1, 3, 8, 8), (5, 3, 4, 4)),
    "SAME_UPPER": ({"strides": (2, 3)}, (1, 2, 7, 8), (3, 2, 2, 4)),
    "SAME_LOWER": ({"strides": (2, 3)}, (1, 2, 7, 8), (3, 2, 2, 4)),
    "VALID": ({"strides": (2, 1)}, (1, 2, 7, 8), (3, 2, 2, 4)),
}
WEIGHTS = "d = DequantizeLinear(x, xs, xz) w = DequantizeLinear<axis = 0>(wq, ws, wz)"
BIAS = "b = DequantizeLinear<axis = 0>(bq, bs)"


def listed(how: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {list(v) if isinstance(v, tuple) else v}" for key, v in how.items())


@pytest.mark.parametrize("channels", ["one scale", "each its scale"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_conv(name: str, dtype: str, channels: str) -> None:
    """Pads stand for the real zero; weights have zero points too, one for each channel."""
    how, x_shape, w_shape = GEOMETRIES[name]
    rng, n = np.random.default_rng(len(name)), w_shape[0] if channels == "each its scale" else 1
    x, w, b = codes(rng, x_shape, dtype), codes(rng, w_shape, dtype), rng.integers(-9000, 9000, w_shape[0]).astype("int32")
    scale, zero = rng.uniform(0.01, 0.02, n).astype("float32"), rng.choice(w.reshape(-1), n).astype(dtype)
    q, y = Quantization(0.02, int(x.flat[5]), dtype), Quantization(0.7, 11, "int8")
    steps = np.float32(q.scale) * scale
    auto = f'auto_pad = "{name}", ' if name.isupper() else ""
    body = f"{WEIGHTS} {BIAS} r = Conv<{auto}{listed({'group': 1, **how})}>(d, w, b) y = QuantizeLinear(r, ys, yz)"
    one = slice(None) if n > 1 else 0
    constants = {**q.constants("x"), **y.constants("y"), "wq": w, "bq": b, "ws": scale[one], "wz": zero[one], "bs": steps[one]}
    if name.startswith("SAME"):
        how = {**how, "pads": same_pads(x_shape[2:], w_shape[2:], how["strides"], (1, 1), upper=name == "SAME_UPPER")}
    real = conv(q.real(x), dequantized(w, scale, zero, 0), **how) + dequantized(b, steps, 0, 0).reshape(-1, 1, 1)
    found = agreed(model(f"({typed(x, 'x')}) => (int8 y)", body, constants), {"x": x}, real, y)
    assert found.operators == {"Center": 1, "Conv": 1, "Requantize": 1}


@pytest.mark.parametrize("add", ["Add(c, b)", "Add(b, c)"])
@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1)])
def test_a_sum_is_the_bias_of_a_convolution(shape: tuple[int, ...], add: str) -> None:
    rng = np.random.default_rng(9)
    x, w, b = codes(rng, (2, 3, 5, 4), "int8"), codes(rng, (4, 3, 3, 3), "int8"), rng.integers(-9000, 9000, shape)
    scale, steps = np.float32(0.02), np.float32(X.scale) * np.float32(0.02)
    constants = {**X.constants("x"), **Y.constants("y"), "ys": 0.21, "wq": w, "ws": scale, "wz": np.int8(0)}
    constants |= {"bq": b.astype("int32"), "bs": steps}
    proto = model(
        "(int8[2,3,5,4] x) => (int8 y)", f"{WEIGHTS} {BIAS} c = Conv(d, w) r = {add} y = QuantizeLinear(r, ys, yz)", constants
    )
    real = conv(X.real(x), dequantized(w, scale)) + dequantized(b, steps)
    found = agreed(proto, {"x": x}, real, Quantization(0.21, Y.zero_point, "int8"))
    assert found.operators == {"Center": 1, "Conv": 1, "Requantize": 1}
