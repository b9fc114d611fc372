"""Properties of ShiftGELU, on every int8 beside every int8 maximum; and rows that break them in a published version."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from ivit_ref import dyadic
from ivit_ref.errors import ConstraintError
from ivit_ref.profiles import IDEAL, PAPER, QAT, TVM, Profile
from tests.properties.building import (
    SCALES,
    Array,
    Attributes,
    base_two,
    every_profile,
    exponentials,
    result,
    row,
    rows,
    run,
    scales,
    undisturbed,
)

every_scale = pytest.mark.parametrize("scale", [s for s in SCALES if s >= 0.004])
K = 7
LARGEST = 2**30
CODES = np.arange(-128, 128)


def usual(profile: Profile, scale: float) -> Attributes:
    """The attributes, with a sum that is safe where the maximum is not negative."""
    a = dict(profile.shift_gelu(dyadic.float32(scale)))
    assert a["out_bits"] == K + 1
    assert a["sum"] == "exact" or a["i0"] << a["n"] < LARGEST
    return a


def argument(x: Array, a: Attributes) -> Array:
    """z, from the text."""
    wide = x.astype("int64")
    return wide if a["sigmoid"] == "folded" else wide + wide // 2 + wide // 8 + wide // 16


def every_row(a: Attributes) -> Array:
    """All codes up to m in one row, for each m from 0 on; without a clamp only those m where no sum is 0."""
    x = np.array([np.minimum(CODES, m) for m in range(128)]).astype("int8")
    return x[exponentials(-argument(x.max(axis=-1), a), a) > 0]


def sigmas(x: Array, a: Attributes) -> tuple[Array, Array]:
    """x and sigma where x is not 0: y is a multiple of x."""
    y = result("ShiftGELU", x, **a)
    safe = np.where(x == 0, 1, x)
    assert (y % safe == 0).all()
    return x != 0, y // safe


def parts(x: Array, a: Attributes) -> tuple[Array, Array, Array]:
    """e, e_m and p of z - m and of -m, beside one another."""
    z = argument(x, a)
    m = z.max(axis=-1, keepdims=True)
    far = base_two(z - m) <= base_two(-m) - K * a["i0"]
    kept = base_two(-m) >= (K - a["n"]) * a["i0"] if a["clamp"] else np.full(m.shape, True)
    return exponentials(z - m, a), exponentials(-m, a), far & kept


def assert_p2_to_p5(x: Array, a: Attributes) -> None:
    y = result("ShiftGELU", x, **a)
    assert (abs(y) <= abs(x.astype("int64")) * 2**K).all()
    assert (y * x.astype("int64") >= 0).all()
    e, e_m, vanishes = parts(x, a)
    assert not y[vanishes].any()
    there, sigma = sigmas(x, a)
    # Exactly: t = numerator * e / s / 2**(31 - k), so compare sigma * s * 2**(31 - k) with numerator * e, in Python integers.
    s, below, slack = (e + e_m).astype(object), 2 ** (31 - K), a["i0"] * 2 ** a["n"]
    t = a["numerator"] * e.astype(object)
    assert (sigma * s * below <= t)[there].all()
    assert (sigma * s * below + s * (below + slack) > t)[there].all()
    for part_x, part_sigma in zip(x.reshape(-1, x.shape[-1]), sigma.reshape(-1, x.shape[-1]), strict=True):
        ordered = part_sigma[part_x != 0][np.argsort(part_x[part_x != 0], kind="stable")]
        drops = np.maximum.accumulate(ordered) - ordered if ordered.size else ordered
        assert (drops * below < below + slack).all()


@every_scale
@every_profile
def test_shift_gelu_p2_p3_p4_p5_of_every_int8_below_every_maximum(profile: Profile, scale: float) -> None:
    a = usual(profile, scale)
    x = every_row(a)
    assert len(x) > 40
    assert_p2_to_p5(x, a)


@every_profile
@given(x=rows(), scale=scales())
def test_shift_gelu_p2_p3_p4_p5_of_rows(profile: Profile, x: Array, scale: float) -> None:
    a = dict(profile.shift_gelu(scale))
    e, e_m, _ = parts(x, a)
    assume((e + e_m).min() > 0 and undisturbed("ShiftGELU", x, **a))
    assert_p2_to_p5(x, a)


@every_scale
@every_profile
def test_shift_gelu_p3_is_not_said_of_nothing(profile: Profile, scale: float) -> None:
    a = usual(profile, scale)
    x = np.array([[0, -(2**12)]], "int16")
    assert parts(x, a)[2].tolist() == [[False, True]]


@every_profile
@given(x=rows(longest=8), scale=scales(), data=st.data())
def test_shift_gelu_p1_only_the_maximum_matters(profile: Profile, x: Array, scale: float, data: st.DataObject) -> None:
    a = profile.shift_gelu(scale)
    order = data.draw(st.permutations(range(x.size)))
    whole = outcome(x, a)
    assert whole is None or np.array_equal(outcome(x[order], a), whole[order])  # type: ignore[arg-type]
    pairs = [outcome(row(value, int(x.max()), dtype=str(x.dtype)), a) for value in x.tolist()]
    assert whole is None or [pair[0] for pair in pairs if pair is not None] == whole.tolist()


def outcome(x: Array, a: Any) -> Array | None:
    """The result; None where a sum is 0 and the run stops."""
    try:
        return result("ShiftGELU", x, **a)
    except ConstraintError:
        return None


# --- Limits


@pytest.mark.parametrize(("i0", "sigma"), [(1, 127), (3, 127), (6, 126), (12, 126), (30, 120), (59, 118), (64, 96), (129, 64)])
def test_shift_gelu_p4_of_a_large_x(i0: int, sigma: int) -> None:
    """sigma = floor(floor((2**31 - 1) / s) * i0 / 2), with s = i0 * (2**23 + 1): 128 - i0 / 2 is about the least."""
    s = i0 * (2**23 + 1)
    assert (2**31 - 1) // s * i0 // 2 == sigma
    assert run("ShiftGELU", row(2**15 - 1, dtype="int16"), **{**IDEAL.shift_gelu(0.05), "i0": i0})[0].tolist() == [
        32767 * sigma
    ]


@pytest.mark.parametrize("profile", [QAT, TVM, IDEAL], ids=["qat", "tvm", "ideal"])
def test_shift_gelu_p3_ends_where_the_maximum_reaches_the_clamp(profile: Profile) -> None:
    assert result("ShiftGELU", row(127, -128), **profile.shift_gelu(dyadic.float32(0.1)))[1] == -128 * 63


def test_shift_gelu_p3_ends_where_the_paper_divides_0_by_0() -> None:
    with pytest.raises(ConstraintError, match=r"IntDiv \(C2\)"):
        result("ShiftGELU", row(127, -128), **PAPER.shift_gelu(0.25))


# --- Where a published version breaks them


def test_shift_gelu_p2_breaks_where_the_sum_of_the_release_is_clamped() -> None:
    a = QAT.shift_gelu(dyadic.float32(0.002))
    assert result("ShiftGELU", row(1, -1), **a).tolist() == [147, -146]
    assert a["i0"] == 294


def test_shift_gelu_p3_breaks_where_the_sum_of_the_release_is_clamped() -> None:
    a = dict(QAT.shift_gelu(dyadic.float32(0.05)))
    assert result("ShiftGELU", row(-58), **a).tolist() == [-58 * 6]
    assert result("ShiftGELU", row(-58), **{**a, "sum": "exact"}).tolist() == [0]
    assert parts(row(-58), a)[2].tolist() == [True]


def test_shift_gelu_p2_breaks_where_the_deployment_wraps() -> None:
    assert run("ShiftGELU", row(-14), **TVM.shift_gelu(0.25))[0].tolist() == [42]
    assert run("ShiftGELU", row(-1, 0), **TVM.shift_gelu(dyadic.float32(0.004)))[0].tolist() == [73, 0]


def test_shift_gelu_p3_breaks_where_the_deployment_wraps() -> None:
    a = dict(TVM.shift_gelu(dyadic.float32(0.1)))
    y, events = run("ShiftGELU", row(-32), **a)
    assert (y.tolist(), "wrapped" in events) == ([-32 * 126], True)
    with pytest.raises(ConstraintError, match=r"IntDiv \(C2\)"):
        result("ShiftGELU", row(-85, -104), **TVM.shift_gelu(dyadic.float32(0.02)))


@pytest.mark.parametrize(
    ("profile", "x", "expected"),
    [
        (PAPER, [4, 5, 8], [268, 230]),
        (QAT, [5, 6, 9], [340, 336]),
        (TVM, [6, 7, 9], [420, 406]),
        (IDEAL, [5, 6, 9], [340, 336]),
    ],
    ids=["paper", "qat", "tvm", "ideal"],
)
def test_shift_gelu_no_property_y_grows_beyond_its_minimum(profile: Profile, x: list[int], expected: list[int]) -> None:
    assert result("ShiftGELU", row(*x), **profile.shift_gelu(dyadic.float32(0.02)))[:2].tolist() == expected
