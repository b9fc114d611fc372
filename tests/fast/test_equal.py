"""Faster kernels around the bounds of their exactness: the integers, events and refusals of the operator's own body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref.errors import IvitError
from ivit_ref.events import Context, Event, Overflow
from ivit_ref.fast import KERNELS
from ivit_ref.ir import Array
from ivit_ref.registry import REGISTRY

POLICIES: tuple[Overflow, ...] = ("raise", "wrap")


def outcome(kernel: Any, arrays: Sequence[Array], attributes: Mapping[str, Any], overflow: Overflow) -> tuple[Any, ...]:
    """Result and events; or the refusal."""
    events: list[Event] = []
    try:
        y = kernel(arrays, attributes, Context(overflow, "op", "node", events.append))
    except IvitError as error:
        return type(error), str(error)
    return y.dtype, y.shape, y.tolist(), events


def assert_equal(name: str, arrays: Sequence[Array], attributes: Mapping[str, Any]) -> None:
    for overflow in POLICIES:
        expected = outcome(REGISTRY[name].run, arrays, attributes, overflow)
        assert outcome(KERNELS[name], arrays, attributes, overflow) == expected


def forbid_spec(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make the operator's own body fail: what still works has not used it."""

    def fail(*args: object, **kwargs: object) -> Array:
        raise AssertionError(f"the body of {name} ran")

    monkeypatch.setitem(REGISTRY, name, REGISTRY[name].__class__(**{**vars(REGISTRY[name]), "kernel": fail}))


# --- Products around the bounds


def halves(total: int) -> tuple[Array, Array]:
    """Rows of int16 whose product is ``total``, every partial sum positive; one odd product of 1 * 1 among them."""
    whole, rest = divmod(total, 181 * 91)
    a = np.array([[181] * whole + [1] * rest], np.int16)
    b = np.array([[91]] * whole + [[1]] * rest, np.int8)
    return a, b


@pytest.mark.parametrize("total", [2**24 - 1, 2**24, 2**24 + 1, 2**24 + 3, 2**25 + 1, 2**31 - 1, 2**31])
@pytest.mark.parametrize("sign", [1, -1])
def test_products_at_the_limit_of_float32(total: int, sign: int) -> None:
    a, b = halves(total)
    assert_equal("MatMul", [a, (sign * b).astype(np.int8)], {"alpha": 1.0})
    bias = np.array([sign], np.int32)
    assert_equal("Linear", [a, np.ascontiguousarray((sign * b).astype(np.int8).T), bias], {})


@pytest.mark.parametrize("k", [1023, 1024, 1025, 1040, 2048])
def test_full_scale_int8_products(k: int) -> None:
    """1024 * 128 * 128 is 2**24; with -128 against 127 and one odd pair, sums beyond it are odd."""
    a = np.full((2, k), -128, np.int8)
    a[1] = 127
    b = np.full((k, 2), -128, np.int8)
    b[:, 1] = 127
    a[:, 0], b[0] = 1, 1
    assert_equal("MatMul", [a, b], {"alpha": 1.0})


def test_full_scale_int16_products_leave_float32_for_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.array([[32767, 3, -32768, 1]], np.int16)
    b = np.array([[32767], [1], [32767], [1]], np.int16)
    expected = outcome(REGISTRY["MatMul"].run, [a, b], {"alpha": 1.0}, "wrap")
    forbid_spec(monkeypatch, "MatMul")
    assert outcome(KERNELS["MatMul"], [a, b], {"alpha": 1.0}, "wrap") == expected


def test_products_beyond_float64_run_the_spec() -> None:
    """The bound needs k beyond 2**23 of full-scale int16; the largest magnitudes stand for it."""
    from ivit_ref.fast import products

    a = np.broadcast_to(np.int16(-32768), (1, 2**23 + 1))
    assert products.exact_type(a, a.T)[1] is None
    assert products.exact_type(a[:, : 2**23], a[:, : 2**23].T)[1] is np.float64


@pytest.mark.parametrize("bias", [2**31 - 1, -(2**31), 2**31 - 1 - 127 * 127])
def test_a_bias_that_takes_the_accumulator_over_its_width(bias: int) -> None:
    x, weight = np.array([[127]], np.int8), np.array([[127], [-127]], np.int8)
    assert_equal("Linear", [x, weight, np.array([bias, bias], np.int32)], {})
    geometry = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "group": 1}
    image, kernel = x.reshape(1, 1, 1, 1), weight.reshape(2, 1, 1, 1)
    assert_equal("Conv", [image, kernel, np.array([bias, bias], np.int32)], geometry)


def test_shift_gelu_computes_each_pair_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body sees 256 values for each maximum of a row, not the rows."""
    arrays, attributes = ORDINARY["ShiftGELU"]
    body, shapes = REGISTRY["ShiftGELU"].kernel, []

    def watched(x: Array, **kwargs: Any) -> Array:
        shapes.append(x.shape)
        result: Array = body(x, **kwargs)
        return result

    changed = {**vars(REGISTRY["ShiftGELU"]), "kernel": watched}
    monkeypatch.setitem(REGISTRY, "ShiftGELU", REGISTRY["ShiftGELU"].__class__(**changed))
    KERNELS["ShiftGELU"](arrays, attributes, Context())
    assert shapes == [(len(np.unique(arrays[0].max(axis=1))), 256)]


@pytest.mark.parametrize("name", ["MatMul", "Linear", "Conv", "Requantize", "RequantizeAdd", "Shiftmax", "ILayerNorm"])
def test_the_fast_path_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, attributes = ORDINARY[name]
    expected = outcome(REGISTRY[name].run, arrays, attributes, "raise")
    assert len(expected) == 4
    forbid_spec(monkeypatch, name)
    assert outcome(KERNELS[name], arrays, attributes, "raise") == expected


# --- Requantization around the bounds

RULES = ["floor", "truncate", "half_up", "half_away", "half_even"]


def requantization(multiplier: int, shift: int, rounding: str, dtype: str = "int32") -> dict[str, Any]:
    numbers = {"multiplier": (multiplier,), "shift": (shift,), "axis": 0}
    return {**numbers, "rounding": rounding, "zero_point": 0, "dtype": dtype}


@pytest.mark.parametrize("rounding", RULES)
@pytest.mark.parametrize("shift", [0, 1, 21, 22, 23, 31, 51, 52, 53, 54, 61, 62])
@pytest.mark.parametrize("multiplier", [1, -1, 2**21 - 1, 2**21, 2**21 + 1, 2**31 - 1, 1 - 2**31])
def test_requantize_around_two_to_the_52(multiplier: int, shift: int, rounding: str) -> None:
    """x * multiplier just below, at and above 2**52, at ties and one off them, at every scale of the result."""
    near = [0, 1, 2, 3, 2**20, 2**21, 2**30 - 1, 2**30, 2**30 + 1, 2**31 - 2, 2**31 - 1]
    x = np.array([*near, *(-n for n in near), -(2**31)], np.int32)
    for dtype in ("int8", "int16", "int32"):
        assert_equal("Requantize", [x], requantization(multiplier, shift, rounding, dtype))


@pytest.mark.parametrize("rounding", RULES)
@given(st.integers(-(2**30), 2**30), st.integers(40, 62), st.sampled_from([-1, 0, 1]))
def test_requantize_next_to_a_boundary(rounding: str, half: int, shift: int, offset: int) -> None:
    """A product as near to a boundary as 31 bits times 31 bits come: z = x * m is next to a multiple of 2**(shift - 1)."""
    m = 2**31 - 1
    x = round(half * 2 ** (shift - 1) / m) + offset
    x = max(-(2**31), min(2**31 - 1, x))
    assert_equal("Requantize", [np.array([x, x + 1 if x < 2**31 - 1 else x], np.int32)], requantization(m, shift, rounding))


@pytest.mark.parametrize("rounding", RULES)
def test_exact_ties_of_large_products(rounding: str) -> None:
    """z = x * 2**30 with x odd and a shift of 31 is a tie whose product is beyond 2**52."""
    x = np.array([2**23 + 1, -(2**23) - 1, 2**20 + 1, 5, -5, 2**25 + 3], np.int32)
    for dtype in ("int8", "int32"):
        assert_equal("Requantize", [x], requantization(2**30, 31, rounding, dtype))
    assert_equal("Requantize", [np.array([2**29 + 2**10, 2**29], np.int32)], requantization(2**30, 41, rounding, "int32"))


def test_branches_of_lower_rank_and_along_an_axis() -> None:
    a, b = np.array([[[1], [2]]], np.int32), np.array([100, -100, 7], np.int16)
    numbers = {"a_multiplier": (3, 5, 7), "a_shift": (1, 1, 1), "b_multiplier": (1, 2, 3), "b_shift": (2, 2, 2)}
    attributes = {**numbers, "rounds": "each", "rounding": "half_even", "axis": 2, "zero_point": 0, "dtype": "int8"}
    assert_equal("RequantizeAdd", [a, b], attributes)


# --- Rows of int8

SCALES = [0.25, 0.2, 0.125, 0.05, 0.03, 0.01, 0.006, 0.004, 0.003, 0.002, 0.001]
ROWS = {
    "equal": np.full((3, 197), -7, np.int8),
    "one hot": np.where(np.arange(197) == 3, 127, -128).astype(np.int8)[None],
    "negative": np.arange(-128, -60, dtype=np.int8)[None],
    "extremes": np.array([[127, -128, 0, 1, -1]], np.int8),
    "single": np.array([[5], [-128], [127]], np.int8),
    "every": np.random.default_rng(0).permutation(np.arange(-128, 128)).astype(np.int8).reshape(2, 128),
    "three axes": np.random.default_rng(1).integers(-128, 128, (2, 3, 50), np.int8),
}


@pytest.mark.parametrize("profile", ["paper", "qat", "tvm", "ideal"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("rows", ROWS)
def test_rows_of_int8(rows: str, scale: float, profile: str) -> None:
    from ivit_ref.profiles import PROFILES

    step = float(np.float32(scale))
    assert_equal("Shiftmax", [ROWS[rows]], PROFILES[profile].shiftmax(step))
    assert_equal("ShiftGELU", [ROWS[rows]], PROFILES[profile].shift_gelu(step))


@pytest.mark.parametrize("profile", ["paper", "qat", "tvm", "ideal"])
def test_rows_of_layer_norm(profile: str) -> None:
    from ivit_ref.profiles import PROFILES

    rng = np.random.default_rng(0)
    full = np.where(rng.integers(0, 2, (4, 768)), 32767, -32768).astype(np.int16)
    rows = [full, full[:, :5], np.full((2, 8), 171, np.int16), rng.integers(-300, 300, (9, 192)).astype(np.int16)]
    for x in rows:
        for bias in (0, 2**31 - 1, -(2**31), 2**30):
            assert_equal("ILayerNorm", [x, np.full(x.shape[1], bias, np.int32)], PROFILES[profile].i_layer_norm())


def _ordinary() -> dict[str, tuple[list[Array], dict[str, Any]]]:
    from ivit_ref.profiles import QAT

    rng = np.random.default_rng(2)
    x, w = rng.integers(-128, 128, (5, 64), np.int8), rng.integers(-128, 128, (7, 64), np.int8)
    bias = rng.integers(-1000, 1000, 7).astype(np.int32)
    image, kernel = rng.integers(-128, 128, (1, 2, 5, 5), np.int8), rng.integers(-128, 128, (7, 2, 3, 3), np.int8)
    geometry: dict[str, Any] = {"strides": (1, 2), "pads": (1, 0, 1, 1), "dilations": (1, 1), "group": 1}
    wide = rng.integers(-(2**30), 2**30, (5, 64)).astype(np.int32)
    both = {"a_multiplier": (2**30,), "a_shift": (31,), "b_multiplier": (2**31 - 1,), "b_shift": (32,)}
    add = {**both, "rounds": "each", "rounding": "half_even", "axis": 0, "zero_point": 0, "dtype": "int16"}
    return {
        "MatMul": ([x, w.T], {"alpha": 0.5}),
        "Linear": ([x, w, bias], {}),
        "Conv": ([image, kernel, bias], geometry),
        "Requantize": ([wide], requantization(2**31 - 1, 55, "half_even", "int8")),
        "RequantizeAdd": ([x, x], add),
        "Shiftmax": ([x], QAT.shiftmax(0.05)),
        "ShiftGELU": ([x], QAT.shift_gelu(0.05)),
        "ILayerNorm": ([x, np.zeros(64, np.int32)], QAT.i_layer_norm()),
    }


ORDINARY = _ordinary()
