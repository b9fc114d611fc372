"""Softmax, its masks and attention in every spelling: Shiftmax between integer products, with the integers it has by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

import ivit_ref
from ivit_ref import ops
from ivit_ref.profiles import IDEAL
from tests.importer.building import Array, Writer, imported, integers_of, operators, refusal, run

RNG = np.random.default_rng(5)
X = integers_of(RNG, (2, 3, 6, 6)) // 2
SCALE = 2.0**-5
LOWEST = float(np.finfo(np.float32).min)


def shiftmax_by_hand(x: Array, scale: float = SCALE) -> Array:
    how: dict[str, Any] = IDEAL.shiftmax(scale)
    return ops.shiftmax(x, **how)


def softmax_of(x: Array, axis: int = -1) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    y: Array = e / e.sum(axis, keepdims=True)
    return y


def written(body: Callable[[Writer, str], str], x: Array = X, opset: int = 20) -> ModelProto:
    w = Writer(opset)
    return w.model(body(w, w.dequantize(w.input("x", x.shape, "int8"), SCALE)))


def real(integers: Array) -> Array:
    """The integers of a Shiftmax as float32."""
    y: Array = np.float32(integers) * np.float32(2.0**-15)
    return y


def near_softmax(got: Array, want: Array) -> None:
    """Every exponential is off by at most 6.2 % (a straight line for 2**f), by 1.4375 for log2(e), and by two steps of floors;
    numerator and sum are so both: a tenth, and two steps of the quotient."""
    assert (np.abs(got - want) <= 0.1 * want + 2.0**-13).all()


@pytest.mark.parametrize(
    ("opset", "how"), [(20, {}), (13, {"axis": -1}), (13, {"axis": 3}), (11, {"axis": 3}), (11, {"axis": -1})]
)
def test_softmax_of_the_last_axis_is_one_shiftmax(opset: int, how: dict[str, Any]) -> None:
    model = written(lambda w, x: w.node("Softmax", x, **how), opset=opset)
    assert operators(imported(model)) == ["Shiftmax", "Dequantize"]
    np.testing.assert_array_equal(run(model, {"x": X}), real(shiftmax_by_hand(X)), strict=True)
    near_softmax(run(model, {"x": X}), softmax_of(X * SCALE))


@pytest.mark.parametrize("axis", [0, 1, 2, -2])
def test_softmax_of_another_axis_is_a_shiftmax_of_that_axis(axis: int) -> None:
    model = written(lambda w, x: w.node("Softmax", x, axis=axis))
    want = np.swapaxes(shiftmax_by_hand(np.swapaxes(X, axis, -1)), axis, -1)
    np.testing.assert_array_equal(run(model, {"x": X}), real(want), strict=True)


@pytest.mark.parametrize("how", [{}, {"axis": 1}, {"axis": 2}])
def test_softmax_over_several_axes_at_once_is_refused(how: dict[str, Any]) -> None:
    message = refusal(written(lambda w, x: w.node("Softmax", x, name="old", **how), opset=11))
    assert message.startswith("node 'old' (Softmax): before opset 13 its axis must be the last")


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_softmax_of_other_integers_is_that_of_what_they_stand_for(dtype: str) -> None:
    w, zero, x = Writer(21), 7, integers_of(RNG, (4, 9), dtype) // 8
    y = w.node("Softmax", w.dequantize(w.input("x", x.shape, dtype), 2.0**-6, zero, dtype))
    want = shiftmax_by_hand(np.int32(x) - zero, 2.0**-6)
    np.testing.assert_array_equal(run(w.model(y), {"x": x}), real(want), strict=True)


def test_a_guard_against_nan_is_nothing() -> None:
    def body(w: Writer, x: str) -> str:
        y = w.node("Softmax", x)
        return w.node("Where", w.node("IsNaN", y), w.constant(0.0), y)

    assert operators(imported(written(body))) == ["Shiftmax", "Dequantize"]


# --- Masks

VISIBLE = np.tri(6, 6, dtype=np.bool_)


def masked(w: Writer, x: str, kind: str) -> str:
    if kind.startswith("where"):
        condition = w.constant(VISIBLE if kind == "where" else ~VISIBLE, "bool")
        return w.node(
            "Where", *((condition, x, w.constant(LOWEST)) if kind == "where" else (condition, w.constant(-np.inf), x))
        )
    return w.node("Add", x, w.constant(np.where(VISIBLE, np.float32(0), np.float32(kind))))


@pytest.mark.parametrize("kind", ["-inf", "-1e9", "-10000", str(LOWEST), "where", "where not"])
@pytest.mark.parametrize("guard", [False, True])
def test_what_a_mask_hides_is_far_below_and_becomes_zero(kind: str, guard: bool) -> None:
    def body(w: Writer, x: str) -> str:
        y = w.node("Softmax", masked(w, x, kind))
        return w.node("Where", w.node("IsNaN", y), w.constant(0.0), y) if guard else y

    got = run(written(body), {"x": X})
    logits = np.where(VISIBLE, 2 * np.int32(X), -30000)  # in steps of 2**-6, to which a sum with a mask is brought
    np.testing.assert_array_equal(got, real(shiftmax_by_hand(logits, 2.0**-6)), strict=True)
    near_softmax(got, softmax_of(np.where(VISIBLE, X * SCALE, -np.inf)))
    assert not got[..., ~VISIBLE].any()


@pytest.mark.parametrize("lowest", [-1e9, LOWEST])
def test_a_mask_that_is_an_input_keeps_the_logits(lowest: float) -> None:
    w = Writer()
    x = w.dequantize(w.input("x", X.shape, "int8"), SCALE)
    y = w.node("Where", w.input("mask", (6, 6), "bool"), x, w.constant(lowest))
    got = run(w.model(w.node("Softmax", y)), {"x": X, "mask": VISIBLE})
    near_softmax(got, softmax_of(np.where(VISIBLE, X * SCALE, -np.inf)))


@pytest.mark.parametrize("lowest", [-1e9, LOWEST])
def test_a_computed_mask_in_whose_range_the_logits_are_lost_is_refused(lowest: float) -> None:
    w = Writer()
    x = w.dequantize(w.input("x", X.shape, "int8"), SCALE)
    visible = w.dequantize(w.input("mask", (6, 6), "int8"), 1.0)
    y = w.node("Add", x, w.node("Mul", w.node("Sub", w.constant(1.0), visible), w.constant(lowest)))
    assert re.search("since a step of one branch is lost|must be finite", refusal(w.model(w.node("Softmax", y))))


def test_a_mask_of_finite_numbers_is_added() -> None:
    bias = np.float32(np.round(RNG.normal(0, 2, (3, 6, 6)) / SCALE) * SCALE)
    got = run(written(lambda w, x: w.node("Softmax", w.node("Add", x, w.constant(bias)))), {"x": X})
    near_softmax(got, softmax_of(X * SCALE + bias))


@pytest.mark.parametrize("number", [0.01, 0.3, 0.5, 3.0])
@pytest.mark.parametrize("quantized", [False, True])
def test_a_real_constant_is_added_as_it_is(number: float, quantized: bool) -> None:
    def body(w: Writer, x: str) -> str:
        y = w.node("Add", x, w.constant(number))
        return w.quantize(y, 2.0**-9, 0, "int16") if quantized else y

    got, want = np.float64(run(written(body), {"x": X})), X * SCALE + float(np.float32(number))
    want, bound = (np.rint(want * 2**9), 0.0) if quantized else (want, 2.0**-20)
    assert (np.abs(got - want) <= bound).all()


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_mask_that_is_no_number_is_refused(number: float) -> None:
    mask = np.where(VISIBLE, np.float32(0), np.float32(number))
    message = refusal(written(lambda w, x: w.node("Softmax", w.node("Add", x, w.constant(mask)), name="s")))
    assert message.startswith("node 's' (Softmax): its mask must be numbers or minus infinity")


# --- Attention

Q, K, V = (integers_of(RNG, (2, 2, 5, 16)) // 2 for _ in range(3))


def three(body: Callable[[Writer, str, str, str], str], arrays: tuple[Array, ...] = (Q, K, V)) -> Array:
    """Attention of three integer inputs."""
    w = Writer(23)
    names = [w.dequantize(w.input(n, a.shape, "int8"), SCALE) for n, a in zip("qkv", arrays, strict=True)]
    return run(w.model(body(w, *names)), dict(zip("qkv", arrays, strict=True)))


def spelled(w: Writer, q: str, k: str, v: str, where: str, mask: str = "") -> str:
    """softmax(q k^T / 4 + mask) v."""
    k = w.node("Transpose", k, perm=[0, 1, 3, 2])
    if where == "on q":
        q = w.node("Mul", q, w.constant(0.25))
    if where == "on both":
        q, k = w.node("Mul", w.constant(0.5), q), w.node("Mul", k, w.constant(0.5))
    logits = w.node("MatMul", q, k)
    logits = w.node("Div", logits, w.constant(4.0)) if where == "after" else logits
    logits = w.node("Mul", logits, w.constant(0.25)) if where == "times after" else logits
    logits = w.node("Add", logits, mask) if mask else logits
    return w.node("MatMul", w.node("Softmax", logits), v)


def by_hand(q: Array, k: Array, v: Array) -> Array:
    """The integers: a product whose steps are 2**-10 / 4, coarser ones for the reciprocal, Shiftmax, product."""
    logits = ops.matmul(q, np.swapaxes(k, -1, -2), alpha=0.25)
    coarser = ops.requantize(
        logits, multiplier=(2**30,), shift=(36,), axis=0, zero_point=0, dtype="int32", rounding="half_even"
    )
    y: Array = np.float32(ops.matmul(shiftmax_by_hand(coarser, 2.0**-6), v, alpha=1.0)) * np.float32(2.0**-20)
    return y


def of_floats(q: Array, k: Array, v: Array, mask: Array | float = 0.0) -> Array:
    wide = [np.float64(a) * SCALE for a in (q, k, v)]
    y: Array = softmax_of(wide[0] @ np.swapaxes(wide[1], -1, -2) / 4 + mask) @ wide[2]
    return y


@pytest.mark.parametrize("where", ["on q", "on both", "after", "times after"])
def test_the_scale_of_attention_means_the_same_wherever_it_stands(where: str) -> None:
    got = three(lambda w, q, k, v: spelled(w, q, k, v, where))
    np.testing.assert_array_equal(got, by_hand(Q, K, V), strict=True)


@pytest.mark.parametrize("how", [{}, {"scale": 0.25}])
def test_attention_is_its_parts(how: dict[str, float]) -> None:
    np.testing.assert_array_equal(three(lambda w, *qkv: w.node("Attention", *qkv, **how)), by_hand(Q, K, V), strict=True)


def test_attention_with_heads_in_one_axis_is_its_parts() -> None:
    merged = tuple(a.transpose(0, 2, 1, 3).reshape(2, 5, 32) for a in (Q, K, V))
    got = three(lambda w, *qkv: w.node("Attention", *qkv, q_num_heads=2, kv_num_heads=2), merged)
    np.testing.assert_array_equal(got, by_hand(Q, K, V).transpose(0, 2, 1, 3).reshape(2, 5, 32), strict=True)


CAUSAL = np.where(np.tri(5, dtype=np.bool_), np.float32(0), np.float32(-np.inf))
BIAS = np.float32(RNG.integers(-40, 40, (5, 5)) * SCALE)
MASKS: dict[str, tuple[Array | None, dict[str, Any], Array]] = {
    "causal": (None, {"is_causal": 1}, CAUSAL),
    "bool": (CAUSAL == 0, {}, CAUSAL),
    "float": (BIAS, {}, BIAS),
    "float and causal": (BIAS, {"is_causal": 1}, BIAS + CAUSAL),
    "another scale": (None, {"scale": 0.5}, np.zeros((5, 5), np.float32)),
}


@pytest.mark.parametrize("kind", MASKS)
def test_attention_with_a_mask_is_its_parts_and_near_that_of_floats(kind: str) -> None:
    """Weights are off by a tenth at most, as those of Shiftmax: the result by a tenth of the mean magnitude of v, doubled for
    the steps of logits (2**-6) and of weights."""
    given, how, mask = MASKS[kind]
    q = Q * 2 if kind == "another scale" else Q

    def whole(w: Writer, *qkv: str) -> str:
        more = [] if given is None else [w.constant(given, str(given.dtype))]
        return w.node("Attention", *qkv, *more, **how)

    got = three(whole, (Q, K, V))
    if kind != "another scale":
        parts = three(lambda w, q, k, v: spelled(w, q, k, v, "after", w.constant(mask)))
        np.testing.assert_array_equal(got, parts, strict=True)
    assert (np.abs(got - of_floats(q, K, V, mask)) <= 0.2 * of_floats(q, K, np.abs(V), mask) + 2.0**-6).all()


@pytest.mark.parametrize(
    ("how", "inputs"), [({"softcap": 2.0}, 3), ({"qk_matmul_output_mode": 1}, 3), ({}, 5), ({"q_num_heads": 3}, 3)]
)
def test_attention_with_more_is_refused(how: dict[str, Any], inputs: int) -> None:
    w = Writer(23)
    shape = (1, 4, 8) if "q_num_heads" in how else (1, 2, 4, 8)
    names = [w.dequantize(w.input(f"i{i}", shape, "int8"), SCALE) for i in range(inputs)]
    names.insert(3, "") if inputs > 3 else None
    assert refusal(w.model(w.node("Attention", *names, name="a", **how))).startswith("node 'a' (Attention): ")


def test_fewer_heads_of_k_and_v_are_refused() -> None:
    w = Writer(23)
    q, k = (w.dequantize(w.input(n, (1, h, 4, 8), "int8"), SCALE) for n, h in (("q", 4), ("k", 2)))
    assert "must have the same heads" in refusal(w.model(w.node("Attention", q, k, k)))


def test_weights_of_attention_sum_to_one_at_most() -> None:
    """The quotient is floored, so a product with them stays within the largest v."""
    weights = shiftmax_by_hand(X)
    assert (weights.sum(-1) <= 2**15).all()
    w = Writer()
    p = w.node("Softmax", w.dequantize(w.input("x", X.shape, "int8"), SCALE))
    y = w.node("MatMul", p, w.dequantize(w.input("v", X.shape, "int8"), SCALE))
    graph = imported(w.model(y))
    ivit_ref.run(graph, {"x": X, "v": np.full(X.shape, -128, np.int8)})
