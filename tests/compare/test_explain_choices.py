"""``explain`` finds what is no attribute: last rounding, saturation, order, bias, accumulator, axis, power, arrangement.

Each backend here is written on Python integers, lists and fractions, or moves elements with NumPy; none uses what explains it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ivit_ref import ops
from ivit_ref.compare.explain import Evidence
from ivit_ref.compare.explain import explain as explain_both
from ivit_ref.compare.setting import Site
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Array, Quant
from ivit_ref.oracle.int_sqrt import root
from ivit_ref.oracle.rounding import rounded
from ivit_ref.oracle.shift_exp import exponential
from ivit_ref.profiles import QAT

S = float(np.float32(0.05))
ROUNDINGS = ("truncate", "half_up", "half_away", "half_even")
EXPONENTIAL = ("i0", "n", "clamp", "half", "quotient", "exp_bits")


def numbers(dtype: str, *shape: int, seed: int = 0) -> Array:
    """Numbers from the whole range of a dtype."""
    low, high = BOUNDS[dtype]
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape))).tolist()
    return np.array([low + r % (high - low + 1) for r in raw], dtype).reshape(shape)


def shown(
    op: str, arrays: Sequence[Array], attributes: dict[str, Any], got: Any, dtype: str, scale: float | None = S
) -> list[Any]:
    """The explanations of one node."""
    array = np.array(got, np.int64)
    quants = tuple(None if scale is None else Quant((scale,)) for _ in arrays)
    return explain_both([Evidence("node", Site(op, attributes, quants, array.shape, dtype), tuple(arrays), array)])[0]


def e_of(x: int, a: dict[str, Any]) -> int:
    return exponential(x, *(a[key] for key in EXPONENTIAL), "wrap")


def quotient(e: int, s: int, a: dict[str, Any], last: str) -> int:
    return rounded(Fraction(a["numerator"] // s * e, 2 ** (32 - a["out_bits"])), last)


@pytest.mark.parametrize("last", ROUNDINGS)
def test_the_last_shift_of_shiftmax(last: str) -> None:
    x, a = numbers("int8", 6, 17), QAT.shiftmax(S)
    got = []
    for row in x.tolist():
        e = [e_of(v - max(row), a) for v in row]
        got.append([min(quotient(v, sum(e), a, last), 2**15 - 1) for v in e])
    found = shown("Shiftmax", [x], a, got, "int16")
    assert (last == "truncate" and not found) or (f"{last} in the last shift",) in found


@pytest.mark.parametrize("last", ROUNDINGS[1:])
def test_the_last_shift_of_shift_gelu(last: str) -> None:
    x, a = numbers("int8", 6, 17), QAT.shift_gelu(S)
    got = []
    for row in x.tolist():
        e, e_m = [e_of(v - max(row), a) for v in row], e_of(-max(row), a)
        got.append([v * quotient(u, u + e_m, a, last) for v, u in zip(row, e, strict=True)])
    assert (f"{last} in the last shift",) in shown("ShiftGELU", [x], a, got, "int32")


@pytest.mark.parametrize("last", ROUNDINGS)
def test_the_halving_of_i_layer_norm(last: str) -> None:
    x, bias, a = numbers("int16", 6, 16), numbers("int8", 16).astype("int32"), QAT.i_layer_norm()
    got = []
    for row in x.tolist():
        y = [v - round(Fraction(sum(row), len(row))) for v in row]
        factor = (2**31 - 1) // root(sum(v * v for v in y), a["sqrt_start"], a["sqrt_steps"])
        got.append([rounded(Fraction(factor * v, 2), last) + b for v, b in zip(y, bias.tolist(), strict=True)])
    label = "halving truncate" if last == "truncate" else f"{last} in the last shift"
    assert (label,) in shown("ILayerNorm", [x, bias], a, got, "int32")


def test_an_exact_square_root() -> None:
    x, a = numbers("int8", 8, 16), QAT.i_layer_norm()
    x[:4] //= 64  # quiet rows, for which ten steps from 2**16 do not converge
    bias = np.zeros(16, "int32")
    got = ops.i_layer_norm(x, bias, **{**a, "sqrt_start": 0, "sqrt_steps": 0})
    assert ("the exact square root",) in shown("ILayerNorm", [x, bias], a, got, "int32")


REQUANTIZE = {"multiplier": (1517, 2901, 777), "shift": (12, 13, 11), "rounding": "half_even", "axis": 1, "zero_point": 0}


def requantized(x: Array, change: Callable[[int, int, int], int]) -> list[list[int]]:
    """``change(x, multiplier, shift)`` for each element."""
    channels = list(zip(REQUANTIZE["multiplier"], REQUANTIZE["shift"], strict=True))  # type: ignore[call-overload]
    return [[change(v, m, s) for v, (m, s) in zip(row, channels, strict=True)] for row in x.tolist()]


def held(value: int) -> int:
    return max(-128, min(127, value))


REQUANTIZATIONS: dict[str, Callable[[int, int, int], int]] = {
    "rounding half_up": lambda x, m, s: held(rounded(Fraction(x * m, 2**s), "half_up")),
    "rounding half_away": lambda x, m, s: held(rounded(Fraction(x * m, 2**s), "half_away")),
    "rounding floor": lambda x, m, s: held(x * m >> s),
    "wrap instead of saturate": lambda x, m, s: (round(Fraction(x * m, 2**s)) + 128) % 256 - 128,
    "no saturation": lambda x, m, s: round(Fraction(x * m, 2**s)),
    "the multiplier rounded to 8 bits": lambda x, m, s: held(round(Fraction(x * kept(m, 8), 2**s))),
    "the multiplier cut to 8 bits": lambda x, m, s: held(round(Fraction(x * cut(m, 8), 2**s))),
    "the scale off by 2**-2": lambda x, m, s: held(round(Fraction(x * m, 2 ** (s + 2)))),
    "the scale off by 2**3": lambda x, m, s: held(round(Fraction(x * m, 2 ** (s - 3)))),
    "the dyadic number of the first channel for all": lambda x, m, s: held(round(Fraction(x * 1517, 2**12))),
}


def cut(m: int, bits: int) -> int:
    dropped = max(0, m.bit_length() - bits)
    return m >> dropped << dropped


def kept(m: int, bits: int) -> int:
    dropped = max(0, m.bit_length() - bits)
    return (m + (1 << dropped >> 1)) >> dropped << dropped


@pytest.mark.parametrize("label", REQUANTIZATIONS)
def test_a_requantization(label: str) -> None:
    x = np.concatenate([numbers("int8", 40, 3), np.array([[2**11 * k] * 3 for k in range(-3, 4)])]).astype("int32")
    got = requantized(x, REQUANTIZATIONS[label])
    assert (label,) in shown("Requantize", [x], {**REQUANTIZE, "dtype": "int8"}, got, "int8", None)


def test_a_zero_point_added_before_rounding() -> None:
    x = np.arange(-40, 40, dtype="int32").reshape(-1, 2)
    a = {"multiplier": (1,), "shift": (2,), "rounding": "half_even", "axis": 0, "zero_point": 3, "dtype": "int8"}
    got = [[round(Fraction(v, 4) + 3) for v in row] for row in x.tolist()]
    assert ("the zero point added before rounding",) in shown("Requantize", [x], a, got, "int8", None)


def test_a_forgotten_zero_point() -> None:
    x = np.arange(-40, 40, dtype="int32").reshape(-1, 2)
    a = {"multiplier": (1,), "shift": (2,), "rounding": "half_even", "axis": 0, "zero_point": 3, "dtype": "int8"}
    got = [[round(Fraction(v, 4)) for v in row] for row in x.tolist()]
    assert ("zero point 0",) in shown("Requantize", [x], a, got, "int8", None)


def test_a_product_that_is_rounded_twice() -> None:
    x = numbers("int16", 300, 1).astype("int32")
    a = {"multiplier": (1518500250,), "shift": (38,), "rounding": "half_up", "axis": 0, "zero_point": 0, "dtype": "int16"}

    def twice(v: int) -> int:
        high = (v * 1518500250 + 2**30) >> 31
        return rounded(Fraction(high, 2**7), "half_away")

    got = [[twice(v) for v in row] for row in x.tolist()]
    assert ("rounded twice, as gemmlowp does",) in shown("Requantize", [x], a, got, "int16", None)


def test_branches_that_are_rounded_together() -> None:
    x, y = numbers("int16", 9, 8), numbers("int16", 9, 8, seed=1)
    branches = {"a_multiplier": (3,), "a_shift": (3,), "b_multiplier": (5,), "b_shift": (4,)}
    a = {**branches, "rounding": "half_even", "rounds": "each", "axis": 0, "zero_point": 0, "dtype": "int16"}
    pairs = zip(x.ravel().tolist(), y.ravel().tolist(), strict=True)
    got = [max(-(2**15), min(2**15 - 1, round(Fraction(3 * u, 8) + Fraction(5 * v, 16)))) for u, v in pairs]
    labels = shown("RequantizeAdd", [x, y], a, np.array(got).reshape(9, 8), "int16", None)
    assert ("both branches rounded once, together",) in labels


def test_a_forgotten_bias() -> None:
    x, w, bias = numbers("int8", 5, 8), numbers("int8", 4, 8, seed=1), np.array([9, -7, 1000, 3], "int32")
    got = [[sum(u * v for u, v in zip(row, column, strict=True)) for column in w.tolist()] for row in x.tolist()]
    assert ("no bias",) in shown("Linear", [x, w, bias], {}, got, "int32", None)


@pytest.mark.parametrize("bits", [16, 18])
def test_a_narrow_accumulator(bits: int) -> None:
    x, w = numbers("int8", 9, 64) // 2, numbers("int8", 64, 9, seed=1) // 2
    w[:, :4], x[:4] = 63, 63
    exact = [[sum(u * v for u, v in zip(row, column, strict=True)) for column in w.T.tolist()] for row in x.tolist()]
    half = 2 ** (bits - 1)
    wrapped = [[(v + half) % (2 * half) - half for v in row] for row in exact]
    saturated = [[max(-half, min(half - 1, v)) for v in row] for row in exact]
    for how, got in (("wraps", wrapped), ("saturates", saturated)):
        label = (f"an accumulator of {bits} bits, which {how}",)
        assert label in shown("MatMul", [x, w], {"alpha": 1.0}, got, "int32", None)


@pytest.mark.parametrize("op", ["Shiftmax", "ShiftGELU"])
def test_another_axis(op: str) -> None:
    x = numbers("int8", 2, 5, 7)
    a = QAT.shiftmax(S) if op == "Shiftmax" else QAT.shift_gelu(S)
    function: Any = ops.shiftmax if op == "Shiftmax" else ops.shift_gelu
    got = np.swapaxes(function(np.ascontiguousarray(np.swapaxes(x, 1, 2)), **a), 1, 2)
    assert ("along axis 1 instead of the last",) in shown(op, [x], a, got, "int16" if op == "Shiftmax" else "int32")


ARRANGEMENTS: dict[str, Callable[[Array], Array]] = {
    "laid out as transpose [0, 2, 1]": lambda y: np.transpose(y, (0, 2, 1)).reshape(y.shape),
    "laid out as transpose [2, 0, 1]": lambda y: np.transpose(y, (2, 0, 1)).reshape(y.shape),
    "axis 2 moved on by 1": lambda y: np.roll(y, 1, 2),
    "axis 1 moved on by -2": lambda y: np.roll(y, -2, 1),
    "axis 0 reversed": lambda y: y[::-1],
    "the bytes in the other order": lambda y: y.byteswap(),
    "the result 2**-3 times as large": lambda y: y >> 3,
}


@pytest.mark.parametrize("label", ARRANGEMENTS)
def test_an_arrangement(label: str) -> None:
    x, a = numbers("int8", 3, 4, 5), QAT.shiftmax(S)
    got = ARRANGEMENTS[label](ops.shiftmax(x, **a))
    assert (label,) in shown("Shiftmax", [x], a, got, "int16")


def test_an_arrangement_of_what_another_parameter_gives() -> None:
    x, a = numbers("int8", 3, 4, 5), QAT.shiftmax(S)
    got = np.roll(ops.shiftmax(x, **{**a, "half": "drop"}), 1, 2)
    assert ("half drop", "axis 2 moved on by 1") in shown("Shiftmax", [x], a, got, "int16")


@pytest.mark.parametrize("rule", ["half_up", "half_away", "floor", "truncate"])
def test_the_rounding_of_quantize(rule: str) -> None:
    x = np.array([[k / 4 for k in range(-20, 20)]], "float32")
    a = {"scale": 0.5, "zero_point": 0, "dtype": "int8", "division": "direct"}
    got = [[rounded(Fraction(v) / Fraction(1, 2), rule) for v in x[0].tolist()]]
    assert (f"rounded by the rule {rule}",) in shown("Quantize", [x], a, got, "int8", None)


def layer_norm(row: list[int], bias: list[int], variance: Any, square_root: Any) -> list[int]:
    """One row, with another sum of squares and another root."""
    y = [v - round(Fraction(sum(row), len(row))) for v in row]
    factor = (2**31 - 1) // max(square_root(variance(sum(v * v for v in y))), 1)
    return [(factor * v // 2 + b + 2**31) % 2**32 - 2**31 for v, b in zip(y, bias, strict=True)]


def ten_steps(v: int) -> int:
    return root(v, 2**16, 10)


LAYER_NORMS: dict[str, tuple[Any, Any]] = {
    "a variance divided by the length of the row": (lambda v: v // 16, ten_steps),
    "a sum of squares in int32, which saturates": (lambda v: min(v, 2**31 - 1), ten_steps),
    "a sum of squares in int32, which wraps": (lambda v: max((v + 2**31) % 2**32 - 2**31, 0), ten_steps),
    "a square root rounded from a float": (lambda v: v, lambda v: round(v**0.5)),
}


@pytest.mark.parametrize("label", LAYER_NORMS)
def test_the_variance_and_root_of_i_layer_norm(label: str) -> None:
    x, bias = np.concatenate([numbers("int16", 5, 16), numbers("int16", 5, 16) // 4]), numbers("int8", 16).astype("int32")
    got = [layer_norm(row, bias.tolist(), *LAYER_NORMS[label]) for row in x.tolist()]
    assert (label,) in shown("ILayerNorm", [x, bias], QAT.i_layer_norm(), got, "int32")


def test_a_layer_norm_along_another_axis() -> None:
    x, bias = numbers("int16", 6, 9), numbers("int8", 9).astype("int32")
    turned = ops.i_layer_norm(np.ascontiguousarray(x.T), np.zeros(6, "int32"), **QAT.i_layer_norm())
    got = turned.T.astype(np.int64) + bias
    assert ("along axis 0 instead of the last",) in shown("ILayerNorm", [x, bias], QAT.i_layer_norm(), got, "int32")


def gelu(row: list[int], maximum: int, a: dict[str, Any]) -> list[int]:
    e, e_m = [e_of(v - maximum, a) for v in row], e_of(-maximum, a)
    return [v * quotient(u, u + e_m, a, "floor") for v, u in zip(row, e, strict=True)]


@pytest.mark.parametrize("label", ["the maximum of the whole tensor", "a maximum that begins at 0"])
def test_the_maximum_of_shift_gelu(label: str) -> None:
    x, a = numbers("int8", 6, 9), QAT.shift_gelu(S)
    x[2:4] = -np.abs(x[2:4] // 2) - 1
    whole = int(x.max())
    got = [gelu(row, whole if "tensor" in label else max(0, *row), a) for row in x.tolist()]
    assert (label,) in shown("ShiftGELU", [x], a, got, "int32")


def test_a_result_that_is_stored_in_a_byte() -> None:
    x, a = numbers("int8", 4, 9), QAT.shift_gelu(S)
    got = ops.shift_gelu(x, **a).astype(np.int8)
    assert ("a result of 8 bits, which wraps",) in shown("ShiftGELU", [x], a, got, "int32")


def test_a_quotient_by_0_that_is_0() -> None:
    x = np.array([[127, -128, 5, 9, -60]] * 2, "int8")
    a = {**QAT.shift_gelu(0.25), "clamp": False}
    golden = QAT.shift_gelu(0.25)
    got = []
    for row in x.tolist():
        e, e_m = [e_of(v - max(row), a) for v in row], e_of(-max(row), a)
        got.append([v * (quotient(u, u + e_m, a, "floor") if u + e_m else 0) for v, u in zip(row, e, strict=True)])
    labels = shown("ShiftGELU", [x], golden, got, "int32", 0.25)
    assert ("no clamp", "0 where a denominator is 0") in labels
    assert ("no clamp", "truncate in the last shift") not in labels
