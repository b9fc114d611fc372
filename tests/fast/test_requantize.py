"""Requantize and RequantizeAdd at ties, at the products that float64 just holds, and next to where a rule jumps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivit_ref.integers import ROUNDINGS
from ivit_ref.testing.elements import RESULTS, anywhere
from tests.fast.engines import Array, assert_engines_agree, runs_spec

ENDS = [-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 2, 2**31 - 1]
MULTIPLIERS = [-(2**31) + 1, -(2**30), -3, -1, 0, 1, 3, 2**30, 2**31 - 1]


def attributes(multiplier: int, shift: int, rounding: str, dtype: str = "int32", zero_point: int = 0) -> dict[str, Any]:
    return {
        "multiplier": (multiplier,),
        "shift": (shift,),
        "rounding": rounding,
        "axis": 0,
        "zero_point": zero_point,
        "dtype": dtype,
    }


def both(a: dict[str, Any], b: dict[str, Any], rounds: str = "each") -> dict[str, Any]:
    """Those of RequantizeAdd, from those of its branches."""
    numbers = {f"{name}_{key}": branch[key] for name, branch in (("a", a), ("b", b)) for key in ("multiplier", "shift")}
    return {**numbers, **{key: a[key] for key in ("rounding", "axis", "zero_point", "dtype")}, "rounds": rounds}


def int32(values: Any) -> Array:
    return np.array(values, np.int32)


# --- Ties


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    ("multiplier", "shift"), [(1, 1), (3, 1), (1, 2), (5, 3), (1, 4), (2**30, 31), (2**30, 34), (-1, 1), (-(2**30), 31), (1, 0)]
)
def test_ties(multiplier: int, shift: int, rounding: str) -> None:
    x = np.arange(-40, 41, dtype=np.int32)
    for dtype in ("int8", "int32"):
        assert_engines_agree("Requantize", [x], attributes(multiplier, shift, rounding, dtype))
    assert not runs_spec("Requantize", [x], attributes(multiplier, shift, rounding))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("multiplier", [2**30, -(2**30)])
def test_ties_of_products_that_float64_cannot_all_hold(multiplier: int, rounding: str) -> None:
    x = int32([(2 * n + 1) * 2**9 for n in (*range(-8, 8), 2**20, -(2**20))] + [n * 2**10 for n in range(-8, 8)])
    assert_engines_agree("Requantize", [x], attributes(multiplier, 40, rounding))
    assert not runs_spec("Requantize", [x], attributes(multiplier, 40, rounding))


# --- The limits of float64


PRODUCTS = {
    2**52 - 1: (4405103, 1022359665),
    2**52: (2**26, 2**26),
    2**52 + 1: (14586017, 308761441),
    2**52 + 5: (2104561, 2139923541),
    2**53 - 1: (441650591, 20394401),
    2**53: (2**30, 2**23),
}
"""An int32 and a multiplier for each; 2**53 + 1 has a prime factor above 2**31."""


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("product", PRODUCTS)
def test_products_around_what_float64_holds(product: int, rounding: str) -> None:
    x, multiplier = PRODUCTS[product]
    assert x * multiplier == product
    for shift in (0, 1, 2, 3, 21, 22, 30, 51, 52, 53, 54, 55, 62):
        for m in (multiplier, -multiplier):
            assert_engines_agree("Requantize", [int32([x, -x, 1, 0])], attributes(m, shift, rounding))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("shift", [0, 1, 10, 11, 12, 30, 31, 32, 61, 62])
def test_extremes(shift: int, rounding: str) -> None:
    x = int32(ENDS)
    for multiplier in MULTIPLIERS:
        for dtype, zero_point in [("int32", 0), ("int32", 2**31 - 1), ("int8", -128), ("uint16", 1)]:
            assert_engines_agree("Requantize", [x], attributes(multiplier, shift, rounding, dtype, zero_point))


@pytest.mark.parametrize(("shift", "spec"), [(11, False), (10, True)])
def test_results_above_a_half_of_what_float64_holds_run_the_spec(shift: int, spec: bool) -> None:
    """With halves no longer at hand, a rounded product does not show whether it was one."""
    x = int32([-(2**31), 2**31 - 1])
    assert runs_spec("Requantize", [x], attributes(2**31 - 1, shift, "half_even")) == spec


NEXT_TO_A_JUMP = {
    (34, 0, -1): (13324955, 1150073965, 892014.0),
    (34, 0, 1): (7411237, 2126976429, 917558.0),
    (34, 1, -1): (4448425, 2086747239, 540326.5),
    (34, 1, 1): (8975097, 1708076873, 892332.5),
    (38, 0, -1): (238505467, 935611085, 811809.0),
    (38, 0, 1): (758025305, 1751120873, 4829031.0),
    (38, 1, -1): (598688641, 1405289343, 3060743.5),
    (38, 1, 1): (234375529, 1347213017, 1148705.5),
}
"""For a shift, whole or half, and what the product is beside it in units: x, m, and what float64 makes of x * m / 2**shift.

The products of the shift 34 are between 2**53 and 2**54, the others beyond.
"""


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("shift", "half", "beside"), NEXT_TO_A_JUMP)
def test_products_that_float64_puts_on_a_jump(shift: int, half: int, beside: int, rounding: str) -> None:
    x, multiplier, rounded = NEXT_TO_A_JUMP[shift, half, beside]
    assert (x * multiplier - half * 2 ** (shift - 1) - beside) % 2**shift == 0
    assert x * (multiplier / 2**shift) == rounded
    for m in (multiplier, -multiplier):
        assert_engines_agree("Requantize", [int32([[x, -x, 5, x]])], attributes(m, shift, rounding))
        assert not runs_spec("Requantize", [int32([x])], attributes(m, shift, rounding))


def beside_a_jump(rng: np.random.Generator, shift: int) -> tuple[int, int]:
    """An int32 and a multiplier whose product is one or two units from a multiple of ``2**shift``, or from a half of one."""
    jump = int(rng.choice([0, 2 ** (shift - 1)])) + int(rng.choice([-2, -1, 1, 2]))
    while True:
        x = int(rng.integers(2**22, 2**30)) * 2 + 1
        multiplier = jump * pow(x, -1, 2**shift) % 2**shift
        if multiplier < 2**31:
            return x * int(rng.choice([-1, 1])), multiplier * int(rng.choice([-1, 1]))


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32), st.sampled_from(ROUNDINGS), st.integers(32, 39), st.integers(1, 3), st.sampled_from(RESULTS))
def test_products_beside_a_jump_channel_by_channel(seed: int, rounding: str, shift: int, channels: int, dtype: str) -> None:
    pairs = [beside_a_jump(np.random.default_rng([seed, i]), shift) for i in range(channels)]
    x = int32([[x, -x, 3 * i, 0] for i, (x, _) in enumerate(pairs)])
    numbers = attributes(0, 0, rounding, dtype) | {"multiplier": tuple(m for _, m in pairs), "shift": (shift,) * channels}
    assert_engines_agree("Requantize", [x], numbers)
    assert_engines_agree("Requantize", [x.T], numbers | {"axis": 1})
    assert_engines_agree("RequantizeAdd", [x, x[:, :1]], both(numbers, numbers))


# --- Channels, widths and events


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_channels_of_any_size(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    channels, axis = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 2))
    bits = data.draw(st.integers(1, 31))
    x = np.moveaxis(rng.integers(-(2**bits), 2**bits, (channels, 3, 2)).astype(np.int32), 0, axis)
    shift = data.draw(st.lists(st.integers(0, 62), min_size=channels, max_size=channels))
    multiplier = data.draw(st.lists(anywhere(-(2**31) + 1, 2**31 - 1), min_size=channels, max_size=channels))
    rounding, dtype = data.draw(st.sampled_from(ROUNDINGS)), data.draw(st.sampled_from(RESULTS))
    numbers = attributes(0, 0, rounding, dtype) | {"multiplier": tuple(multiplier), "shift": tuple(shift), "axis": axis}
    assert_engines_agree("Requantize", [x], numbers)


def test_the_largest_multiplier_and_the_largest_ratio_may_be_of_different_channels() -> None:
    x = np.full((2, 3), 2**31 - 1, np.int32)
    for multiplier, shift in [((2**31 - 1, 1), (62, 0)), ((1, -(2**31) + 1), (0, 62)), ((-(2**31) + 1, 3), (10, 11))]:
        numbers = attributes(0, 0, "half_up") | {"multiplier": multiplier, "shift": shift}
        assert_engines_agree("Requantize", [x], numbers)
        assert_engines_agree("Requantize", [-x], numbers)


@pytest.mark.parametrize("dtype", RESULTS)
def test_saturation_at_both_ends_of_every_dtype(dtype: str) -> None:
    info = np.iinfo(dtype)
    x = int32(np.clip([info.min - 1, info.min, 0, info.max, info.max + 1], -(2**31), 2**31 - 1))
    for zero_point in (int(info.min), 0, int(info.max)):
        assert_engines_agree("Requantize", [x], attributes(1, 0, "half_even", dtype, zero_point))
        assert_engines_agree("Requantize", [x[1:4]], attributes(1, 0, "half_even", dtype, zero_point))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("multiplier", "shift"), [(1, 0), (1, 1), (1, 2), (2**30, 30), (2**31 - 1, 0), (2**31 - 1, 10)])
def test_sums_at_the_ends_of_int32(multiplier: int, shift: int, rounding: str) -> None:
    x = int32([*ENDS, 2**30, -(2**30), 2**29, -(2**29)])
    for sign in (1, -1):
        for zero_point in (0, 1, -(2**31), 2**31 - 1):
            numbers = attributes(sign * multiplier, shift, rounding, "int32", zero_point)
            assert_engines_agree("RequantizeAdd", [x, x], both(numbers, numbers))
            assert_engines_agree("RequantizeAdd", [x, x[::-1]], both(numbers, attributes(multiplier, shift, rounding)))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("multiplier", [1, 2**30, 2**31 - 1])
def test_two_branches_that_are_rounded_to_2_30(multiplier: int, sign: int) -> None:
    """Each is below 2**30 before it is rounded, and their sum is 2**31."""
    numbers = attributes(sign * multiplier, multiplier.bit_length(), "half_away")
    x = int32([2**31 - 1, 5])
    assert_engines_agree("RequantizeAdd", [x, x], both(numbers, numbers))


@pytest.mark.parametrize(
    ("a", "b"),
    [((2, 3), (2, 3)), ((2, 3), (3,)), ((1, 3), (2, 1)), ((3,), (2, 1)), ((), (2, 3)), ((2, 3), ()), ((2, 1), (2, 3))],
)
def test_branches_broadcast_also_along_the_channels(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-(2**31), 2**31, shape).astype(np.int32) for shape in (a, b)]
    for axis, channels in ((0, 2), (1, 3)):
        multipliers = [tuple(rng.integers(-(2**31) + 1, 2**31, channels).tolist()) for _ in arrays]
        for shifts in [(24, 60, 33), (40, 36, 62), (0, 1, 2)]:
            numbers = attributes(0, 0, "half_even", "int16") | {"shift": shifts[:channels], "axis": axis}
            first, second = (numbers | {"multiplier": m} for m in multipliers)
            assert_engines_agree("RequantizeAdd", arrays, both(first, second))
            assert_engines_agree("RequantizeAdd", arrays, both(first, second, "once"))


def test_what_a_transformer_requantizes_does_not_run_the_spec() -> None:
    rng = np.random.default_rng(0)
    usual = attributes(1_500_000_000, 42, "half_even", "int8")
    for bits in (16, 21, 30):
        x = rng.integers(-(2**bits), 2**bits, (5, 7)).astype(np.int32)
        assert not runs_spec("Requantize", [x], usual)
        assert not runs_spec("RequantizeAdd", [x, x], both(usual, usual))
        assert runs_spec("RequantizeAdd", [x, x], both(usual, usual, "once")) == (bits > 20)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("shift", [0, 1, 2, 30, 53, 62])
def test_branches_that_are_rounded_once_up_to_2_52(shift: int, rounding: str) -> None:
    """2**21 * 2**30 from each is just what float64 proves; one more step is not, and runs the spec."""
    top = int32([2**21, -(2**21), 2**21 - 1, 1 - 2**21, 1, -1, 3, 0])
    for a_multiplier, b_multiplier in ((2**30, 2**30), (2**30, -(2**30)), (2**30, 1 - 2**30), (3, -1), (1, 1), (0, 1)):
        first, second = (attributes(m, shift, rounding) for m in (a_multiplier, b_multiplier))
        how = both(first, second, "once")
        assert_engines_agree("RequantizeAdd", [top, top[::-1].copy()], how)
        assert not runs_spec("RequantizeAdd", [top, top], how)
    first = attributes(2**30, shift, rounding)
    assert runs_spec("RequantizeAdd", [top + 1, top], both(first, first, "once"))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_ties_of_a_sum_are_rounded_once(rounding: str) -> None:
    """Halves that only the sum has, and quarters that no branch may round away before."""
    quarters = int32([-7, -6, -5, -3, -2, -1, 0, 1, 2, 3, 5, 6, 7])
    one = attributes(1, 2, rounding)
    for b in (int32([1]), int32([2]), int32([3]), int32([4])):
        assert_engines_agree("RequantizeAdd", [quarters, b], both(one, one, "once"))
