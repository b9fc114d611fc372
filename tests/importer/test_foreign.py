"""Domains of others, to the integer: ``ivit`` as its C file computes it, the idioms around it, and QONNX's quantizers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ivit_ref.errors import IntegerOverflow
from ivit_ref.importer import import_model
from tests.importer.building import Array, Writer, imported, integers_of, operators, refusal, run

MOST = 2**31 - 1

# --- The C file, in Python's integers


def exponential(d: int, x0: int, n: int) -> int:
    """2**(d / -x0 * log2(e) + n), in 32 bits; ``x0`` is negative."""
    p = max(d + (d >> 1) - (d >> 4), n * x0)
    q = -(p // -x0) if p >= 0 else -p // -x0
    places = max(n - q, 0)
    whole = ((p - q * x0 >> 1) - x0) << places if places < 32 else 0
    return (whole + 2**31) % 2**32 - 2**31


def shiftmax(row: list[int], x0: int) -> list[int]:
    exps = [exponential(x - max(row), x0, 15) for x in row]
    return [min(MOST // sum(exps) * e >> 24, 127) for e in exps]


def shift_gelu(row: list[int], x0: int) -> list[int]:
    top = max(row)
    last = exponential(-top, x0, 23)
    exps = [exponential(x - top, x0, 23) for x in row]
    return [x * (MOST // ((e + last) or 1) * e >> 24) for x, e in zip(row, exps, strict=True)]


def layer_norm(row: list[int], bias: list[int]) -> list[int]:
    total, count = sum(row), len(row)
    mean = (abs(total) + count // 2) // count * (1 if total >= 0 else -1)
    squares = sum((x - mean) ** 2 for x in row)
    root = 2**16
    for _ in range(10):
        root = (root + squares // root) // 2
    root = root if squares else 1
    return [(MOST // root * (x - mean) >> 1) + b for x, b in zip(row, bias, strict=True)]


def rows_of(count: int, width: int, lowest_top: int = -128) -> Array:
    """Random rows, and those where something ends: all equal, all extreme, both extremes, one apart."""
    rng = np.random.default_rng(width)
    rows = [integers_of(rng, (width,)) // (1 + 9 * (i % 2)) for i in range(count)]
    rows += [np.full(width, v) for v in (-128, -1, 0, 127)] + [np.resize([-128, 127], width), np.resize([0, 0, 1], width)]
    return np.array([row for row in rows if row.max() >= lowest_top], np.int8)


def through(op: str, x: Array, *more: str, writer: Writer | None = None, **attributes: Any) -> Array:
    w = writer or Writer()
    y = w.node(f"ivit::{op}", w.input("x", x.shape, "int8"), *more, **attributes)
    return run(w.model(y), {"x": x})


@pytest.mark.parametrize("width", [1, 2, 5, 197])
@pytest.mark.parametrize("x0", [-1, -2, -3, -16, -27, -1000, -65535])
def test_shiftmax_is_that_of_the_c_file(x0: int, width: int) -> None:
    x = rows_of(12, width)
    want = np.array([shiftmax(row, x0) for row in x.tolist()], np.int8)
    np.testing.assert_array_equal(through("Shiftmax", x, x0=x0), want, strict=True)


@pytest.mark.parametrize("width", [1, 2, 5, 768])
@pytest.mark.parametrize("x0", [-1, -3, -16, -37, -100, -255])
def test_shift_gelu_is_that_of_the_c_file(x0: int, width: int) -> None:
    x = rows_of(12, width, lowest_top=0)
    want = np.array([shift_gelu(row, x0) for row in x.tolist()], np.int32)
    np.testing.assert_array_equal(through("ShiftGELU", x, x0=x0), want, strict=True)


def test_shift_gelu_of_negative_rows_is_that_of_the_c_file_where_int32_wraps() -> None:
    """The exponential of minus the maximum leaves int32 there: the C file shifts its bits out, a run says so by default."""
    x = np.array([[-128, -90, -77], [-3, -2, -1], [-20, -50, -20]], np.int8)
    w = Writer()
    model = w.model(w.node("ivit::ShiftGELU", w.input("x", x.shape, "int8"), x0=-4))
    want = np.array([shift_gelu(row, -4) for row in x.tolist()], np.int32)
    np.testing.assert_array_equal(run(model, {"x": x}, overflow="wrap"), want, strict=True)
    with pytest.raises(IntegerOverflow):
        run(model, {"x": x})


@pytest.mark.parametrize("width", [1, 2, 3, 7, 16, 192])
def test_qlayernorm_is_that_of_the_c_file(width: int) -> None:
    x, w = rows_of(20, width), Writer()
    bias = np.random.default_rng(0).integers(-(2**29), 2**29, width).astype(np.int32)
    want = np.array([layer_norm(row, bias.tolist()) for row in x.tolist()], np.int32)
    np.testing.assert_array_equal(through("QLayernorm", x, w.constant(bias, "int32"), writer=w), want, strict=True)


@pytest.mark.parametrize(("op", "most"), [("Shiftmax", 1024), ("ShiftGELU", 2048)])
def test_rows_longer_than_the_c_files_buffer_are_refused_or_cut_like_there(op: str, most: int) -> None:
    w = Writer()
    message = refusal(w.model(w.node(f"ivit::{op}", w.input("x", (1, most + 1), "int8"), x0=-4)))
    assert message.endswith(str(most + 1))


@pytest.mark.parametrize(
    ("op", "attributes", "found"),
    [("Shiftmax", {"x0": 0}, "0"), ("ShiftGELU", {"x0": 5}, "5"), ("Shiftmax", {}, "0"), ("Shiftmax", {"x0": -1.5}, "-1.5")],
)
def test_a_wrong_x0_is_refused(op: str, attributes: dict[str, Any], found: str) -> None:
    w = Writer()
    message = refusal(w.model(w.node(f"ivit::{op}", w.input("x", (2, 3), "int8"), name="bad", **attributes)))
    assert message.startswith("node 'bad' (ivit::")
    assert message.endswith(f"found {found}")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_operators_of_ivit_read_int8_only(dtype: str) -> None:
    w = Writer()
    x = w.node("DequantizeLinear", w.input("x", (2, 3), dtype), w.constant(0.5))
    model = w.model(w.node("ivit::Shiftmax", "x", name="bad", x0=-4), x)
    assert refusal(model).startswith("node 'bad' (ivit::Shiftmax): it must read int8")


# --- The idioms around them


def half_even(x: Fraction) -> int:
    return round(x)


def requantized(x: Array, ratios: list[Fraction], low: int = -128, high: int = 127) -> Array:
    """Integers times ratios, one for all or one a channel, rounded half to even."""
    flat = [half_even(int(v) * ratios[i % len(ratios)]) for i, v in enumerate(x.reshape(-1))]
    return np.array([min(max(v, low), high) for v in flat], np.int64).reshape(x.shape)


def fractions(values: Array) -> list[Fraction]:
    return [Fraction(float(v)) for v in np.float32(values).reshape(-1)]


def ratio(a: float, b: float) -> Fraction:
    return Fraction(float(np.float32(a))) / Fraction(float(np.float32(b)))


class Twin(Writer):
    """Writes the exporter's idioms, and computes the same integers by fractions: a tensor is its name and its integers."""

    rng = np.random.default_rng(7)

    def weights_of(self, rows: int, columns: int) -> Array:
        return self.rng.integers(-20, 21, (rows, columns))

    def product(self, x: str, a: Array, columns: int, out: float) -> tuple[str, Array]:
        """MatMulInteger, an int32 bias, Cast, Mul by a factor for each channel, Round, Clip, Cast."""
        weights, bias = self.weights_of(a.shape[-1], columns), self.rng.integers(-500, 500, columns)
        factors = np.float32(self.rng.uniform(0.5, 2, columns) * out)
        y = self.node("MatMulInteger", x, self.constant(weights, "int8"), self.constant(0, "int8"), self.constant(0, "int8"))
        y = self.node("Add", y, self.constant(bias, "int32"))
        y = self.node("Mul", self.node("Cast", y, to=1), self.constant(factors))
        y = self.node("Clip", self.node("Round", y), self.constant(-128.0), self.constant(127.0))
        return self.node("Cast", y, to=3), requantized(a @ weights + bias, fractions(factors))

    def scaled(self, x: str, a: Array, steps: Array, out: float) -> tuple[str, Array]:
        """Cast, Mul by the steps of int32, QuantizeLinear."""
        y = self.node("Mul", self.node("Cast", x, to=1), self.constant(steps))
        return self.quantize(y, out), requantized(a, [s / fractions(np.array(out))[0] for s in fractions(steps)])

    def residual(self, x: str, a: Array, sa: float, y: str, b: Array, sb: float, out: float) -> tuple[str, Array]:
        """DequantizeLinear twice, Add, QuantizeLinear: rounded once."""
        (fa, fb, fo) = fractions(np.array([sa, sb, out]))
        name = self.quantize(self.node("Add", self.dequantize(x, sa), self.dequantize(y, sb)), out)
        sums = np.array([half_even((int(i) * fa + int(j) * fb) / fo) for i, j in zip(a.ravel(), b.ravel(), strict=True)])
        return name, sums.clip(-128, 127).reshape(a.shape)

    def matmul(self, x: str, a: Array, sa: float, y: str, b: Array, sb: float, out: float) -> tuple[str, Array]:
        """QLinearMatMul."""
        zero = self.constant(0, "int8")
        scales = [self.constant(s) for s in (sa, sb, out)]
        name = self.node("QLinearMatMul", x, scales[0], zero, y, scales[1], zero, scales[2], zero)
        fa, fb, fo = fractions(np.array([sa, sb, out]))
        return name, requantized(a @ b, [fa * fb / fo])

    def norm(self, x: str, a: Array, out: float) -> tuple[str, Array]:
        """QLayernorm, then its steps, which differ from channel to channel and may be negative."""
        bias = self.rng.integers(-(2**26), 2**26, a.shape[-1])
        name = self.node("ivit::QLayernorm", x, self.constant(bias, "int32"))
        offsets: Any = bias.tolist()
        rows: Any = a.reshape(-1, a.shape[-1]).tolist()
        flat = np.array([layer_norm(row, offsets) for row in rows])
        steps = np.float32(self.rng.uniform(0.5, 1.5, a.shape[-1]) * 2.0**-28)
        steps[0] *= -1
        return self.scaled(name, flat.reshape(a.shape), steps, out)

    def transposed(self, x: str, a: Array, *perm: int) -> tuple[str, Array]:
        return self.node("Transpose", x, perm=perm), a.transpose(perm)


def test_a_block_of_that_exporter_gives_its_integers() -> None:
    """Norm, q k v, scores, a scale that folds 1/sqrt(d), Shiftmax, product, projection, residual, norm, MLP, residual."""
    tokens, heads, width = 5, 2, 8
    dim, w = heads * width, Twin(opset=13)
    a0 = np.random.default_rng(1).integers(-128, 128, (1, tokens, dim))
    x0 = w.quantize(w.input("image", (1, tokens, dim)), 0.0625, name="input")
    x, a = w.norm(x0, a0, 0.03)
    x, a = w.product(x, a, 3 * dim, 0.01)
    x = w.node("Reshape", x, w.constant([1, tokens, 3, heads, width], "int64"))
    x, a = w.transposed(x, a.reshape(1, tokens, 3, heads, width), 2, 0, 3, 1, 4)
    (q, k, v), (aq, ak, av) = [w.node("Gather", x, w.constant(i, "int64"), axis=0) for i in range(3)], a
    k, ak = w.transposed(k, ak, 0, 1, 3, 2)
    raw = 0.9
    s, b = w.matmul(q, aq, 0.07, k, ak, 0.07, raw)
    folded = float(np.float32(raw * width**-0.5))
    s = w.quantize(w.dequantize(s, folded, name="folded"), 0.11)
    b = requantized(b, [ratio(folded, 0.11)])
    s = w.node("ivit::Shiftmax", s, x0=-10)
    b = np.array([shiftmax(row, -10) for row in b.reshape(-1, tokens).tolist()]).reshape(b.shape)
    s, b = w.matmul(s, b, 1 / 128, v, av, 0.07, 0.05)
    s, b = w.quantize(w.dequantize(s, 0.05), 0.04), requantized(b, [ratio(0.05, 0.04)])
    s, b = w.transposed(s, b, 0, 2, 1, 3)
    s = w.node("Reshape", s, w.constant([1, tokens, dim], "int64"))
    s, b = w.product(s, b.reshape(1, tokens, dim), dim, 0.02)
    x1, a1 = w.residual(x0, a0, 0.0625, s, b, 0.05, 0.08)
    x, a = w.product(*w.norm(x1, a1, 0.03), 4 * dim, 0.01)
    x = w.node("ivit::ShiftGELU", x, x0=-15)
    a = np.array([shift_gelu(row, -15) for row in a.reshape(-1, 4 * dim).tolist()]).reshape(a.shape)
    x, a = w.product(*w.scaled(x, a, np.array(0.04 / 128, np.float32), 0.035), dim, 0.01)
    y, want = w.residual(x1, a1, 0.08, x, a, 0.06, 0.1)
    assert len(np.unique(want)) > 40
    model = w.model(y)
    graph = imported(model)
    got = run(model, {"image": np.float32(a0) * np.float32(0.0625)})
    np.testing.assert_array_equal(got, want.astype(np.int8), strict=True)
    names = operators(graph)
    assert [names.count(op) for op in ("ILayerNorm", "Shiftmax", "ShiftGELU", "RequantizeAdd")] == [2, 1, 1, 2]
    chosen = import_model(model, {}).report.chosen
    assert any("folded" in line and "0.318" in line and "0.9" in line for line in chosen)


# --- QONNX


def qonnx(x: Array, scale: float, zero: int, bits: int, signed: int, narrow: int) -> Array:
    """What qonnx computes: quotient plus zero point, clamped, rounded half to even, and back."""
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    steps = np.rint(np.clip(np.float64(x) / scale + zero, low, high))
    y: Array = np.float32((steps - zero) * scale)
    return y


def quantizer(w: Writer, x: str, scale: float, zero: float, bits: int, op: str = "Quant", **how: Any) -> str:
    numbers = [w.constant(v) for v in (scale, zero, float(bits))]
    return w.node(f"qonnx.custom_op.general::{op}", x, *numbers, name="quant", **how)


KINDS = [(bits, s, n) for bits in (*range(2, 9), 16) for s in (0, 1) for n in (0, 1)]


@pytest.mark.parametrize(("bits", "signed", "narrow"), KINDS)
def test_qonnx_quantizers_of_a_float_input_are_exact(bits: int, signed: int, narrow: int) -> None:
    edge = 2.0 ** min(bits, 20)
    x = np.float32(np.concatenate([np.arange(-9, 9, 0.25), [-edge, edge, -edge / 2, edge / 2, edge / 2 - 1]]))
    w = Writer()
    y = quantizer(w, w.input("x", x.shape), 0.5, 0, bits, op=("Quant", "IntQuant")[bits % 2], signed=signed, narrow=narrow)
    np.testing.assert_array_equal(run(w.model(y), {"x": x}), qonnx(x, 0.5, 0, bits, signed, narrow), strict=True)


@pytest.mark.parametrize(("bits", "signed", "narrow"), [k for k in KINDS if k[0] <= 8])
def test_qonnx_quantizers_of_weights_are_exact(bits: int, signed: int, narrow: int) -> None:
    weights = np.random.default_rng(bits).normal(0, 2.0 ** (bits - 2), (4, 3)).astype(np.float32)
    x, w = np.arange(-8, 8, dtype=np.int8).reshape(4, 4), Writer()
    a = w.dequantize(w.input("x", x.shape, "int8"), 0.25)
    y = w.node("MatMul", a, quantizer(w, w.constant(weights), 0.5, 0, bits, signed=signed, narrow=narrow))
    want = np.float64(x) * 0.25 @ qonnx(weights, 0.5, 0, bits, signed, narrow)
    np.testing.assert_array_equal(run(w.model(y), {"x": x}), want.astype(np.float32), strict=True)


MODES: dict[str, Callable[[Array], Array]] = {
    "ROUND": np.rint,
    "half_even": np.rint,
    "FLOOR": np.floor,
    "ROUND_TO_ZERO": np.trunc,
    "DOWN": np.trunc,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
}


@pytest.mark.parametrize("mode", MODES)
def test_rounding_modes_of_qonnx_are_exact_for_tensors(mode: str) -> None:
    x, w = np.arange(-40, 40, dtype=np.int8), Writer()
    y = quantizer(w, w.dequantize(w.input("x", x.shape, "int8"), 0.25), 1.0, 0, 8, rounding_mode=mode)
    np.testing.assert_array_equal(run(w.model(y), {"x": x}), np.float32(MODES[mode](x * 0.25)), strict=True)


@pytest.mark.parametrize("mode", MODES)
def test_rounding_modes_of_qonnx_are_exact_for_weights(mode: str) -> None:
    weights, w = np.arange(-10, 10, 0.25, dtype=np.float32), Writer()
    one = w.dequantize(w.input("one", (1, 1), "int8"), 1.0)
    y = w.node("MatMul", one, quantizer(w, w.constant(weights[None]), 1.0, 0, 8, rounding_mode=mode))
    got = run(w.model(y), {"one": np.ones((1, 1), np.int8)})
    np.testing.assert_array_equal(got, np.float32(MODES[mode](weights))[None], strict=True)


def test_qonnx_scales_may_differ_from_output_to_output() -> None:
    scales, w = np.array([0.5, 0.25, 1], np.float32), Writer()
    weights = np.random.default_rng(0).normal(0, 8, (4, 3)).astype(np.float32)
    numbers = [w.constant(v) for v in (weights, scales[None], 0.0, 4.0)]
    codes = w.node("qonnx.custom_op.general::IntQuant", *numbers, signed=1)
    y = w.node("MatMul", w.dequantize(w.input("x", (4, 4), "int8"), 1.0), codes)
    got = run(w.model(y), {"x": np.eye(4, dtype=np.int8)})
    np.testing.assert_array_equal(got, np.rint(weights / scales).clip(-8, 7) * scales)


@pytest.mark.parametrize("mode", ["CEIL", "UP", "HALF_DOWN", "STOCHASTIC"])
def test_other_rounding_modes_are_refused_by_name(mode: str) -> None:
    w = Writer()
    message = refusal(w.model(quantizer(w, w.image(), 1.0, 0, 8, rounding_mode=mode)))
    assert message.startswith("node 'quant' (qonnx.custom_op.general::Quant)")
    assert mode in message.rpartition("but found")[2]


@pytest.mark.parametrize("zero", [3, 4])
def test_zero_points_of_qonnx_are_added_before_rounding(zero: int) -> None:
    """Here they are added after it: with an odd one, ties go to the other neighbour, and the report says so."""
    x, w = np.arange(-9, 9, 0.25, dtype=np.float32), Writer()
    model = w.model(quantizer(w, w.input("x", x.shape), 0.5, zero, 6))
    tie = np.abs(x / 0.5 - np.floor(x / 0.5)) == (0.5 if zero % 2 else -1)
    got, want = run(model, {"x": x}), qonnx(x, 0.5, zero, 6, 1, 0)
    np.testing.assert_array_equal(got[~tie], want[~tie], strict=True)
    assert (np.abs(got - want) <= 0.5).all()
    assert imported(model).metadata.get("chosen") == ("1" if zero % 2 else None)


def test_a_float_input_of_32_bits_is_refused() -> None:
    w = Writer()
    assert "Quantize" in refusal(w.model(quantizer(w, w.input("x", (3,)), 0.5, 0, 32)))


@pytest.mark.parametrize(
    ("zero", "bits", "found"), [(0, 1, "1"), (0, 33, "33"), (200, 8, "200"), (0.5, 8, "[0.5]"), (0, 2.5, "2.5")]
)
def test_widths_and_zero_points_that_are_none_are_refused(zero: float, bits: float, found: str) -> None:
    w = Writer()
    numbers = [w.constant(v) for v in (0.5, zero, bits)]
    message = refusal(w.model(w.node("qonnx.custom_op.general::Quant", w.input("x", (2,)), *numbers, name="quant")))
    assert message.startswith("node 'quant' (")
    assert found in message.rpartition("but found")[2]


def test_bipolar_and_trunc_are_refused() -> None:
    for op in ("BipolarQuant", "Trunc"):
        w = Writer()
        assert f"qonnx.custom_op.general::{op}" in refusal(w.model(quantizer(w, w.image(), 1.0, 0, 8, op=op)))
