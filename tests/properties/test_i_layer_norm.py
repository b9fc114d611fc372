"""Properties of ILayerNorm, on drawn rows; and rows that break them in a published version."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from ivit_ref.profiles import IDEAL, PAPER, PROFILES, QAT, TVM, Profile
from tests.properties.building import Array, every_profile, result, row, rows, run, undisturbed

SPARE = 100


def normed(x: Array, a: Any) -> Array:
    """o: the result without bias."""
    return result("ILayerNorm", x, np.zeros(x.shape[-1], "int32"), **a)


def assume_undisturbed(x: Array, a: Any) -> None:
    assume(undisturbed("ILayerNorm", x, np.zeros(x.shape[-1], "int32"), **a))


def deviations(x: Array, a: Any) -> Array:
    """y."""
    return x.astype("int64") - result("ReduceMean", x.astype("int32"), axes=(0,), rounding=a["mean_rounding"])


def moves_with(x: Array, added: int, a: Any) -> bool:
    """Whether the rounded mean moves by what is added, from the text."""
    s, length = int(x.astype("int64").sum()), x.size
    if a["mean_rounding"] == "truncate":
        return s % length == 0 or (s > 0) == (s + length * added > 0)
    return 2 * s % length != 0 or s % length == 0


@every_profile
@given(x=rows(spare=SPARE), added=st.integers(-SPARE, SPARE))
def test_i_layer_norm_p1_a_number_added_changes_nothing(profile: Profile, x: Array, added: int) -> None:
    a = profile.i_layer_norm()
    moved = x + x.dtype.type(added)
    assume_undisturbed(x, a)
    assume_undisturbed(moved, a)
    first, second = deviations(x, a), deviations(moved, a)
    if moves_with(x, added, a):
        assert np.array_equal(first, second)
        assert np.array_equal(normed(x, a), normed(moved, a))
    assert set((second - first).tolist()) in ({-1}, {0}, {1})


@every_profile
@given(x=rows(), data=st.data())
def test_i_layer_norm_p2_keeps_the_order_and_the_sign(profile: Profile, x: Array, data: st.DataObject) -> None:
    a = profile.i_layer_norm()
    assume_undisturbed(x, a)
    o, order = normed(x, a), data.draw(st.permutations(range(x.size)))
    assert np.array_equal(normed(x[order], a), o[order])
    assert (np.diff(o[np.argsort(x, kind="stable")]) >= 0).all()
    assert (np.sign(o) == np.sign(deviations(x, a))).all()


@every_profile
@given(x=rows())
def test_i_layer_norm_p3_is_at_most_2_30(profile: Profile, x: Array) -> None:
    a = profile.i_layer_norm()
    assume_undisturbed(x, a)
    assert abs(normed(x, a)).max() <= 2**30


@pytest.mark.parametrize("profile", [QAT, IDEAL, PAPER], ids=["qat", "ideal", "paper"])
def test_i_layer_norm_p3_of_every_int8_pair(profile: Profile) -> None:
    codes = np.arange(-128, 128)
    pairs = np.stack(np.meshgrid(codes, codes), axis=-1).astype("int8")
    o = normed(pairs, profile.i_layer_norm())
    assert abs(o).max() <= 2**30
    assert (np.diff(o)[np.diff(pairs.astype("int64")) > 0] > 0).all()


@every_profile
@given(x=rows(spare=1))
def test_i_layer_norm_p4_the_negated_row_gives_the_negated_result(profile: Profile, x: Array) -> None:
    a = profile.i_layer_norm()
    assume_undisturbed(x, a)
    assume_undisturbed(-x, a)
    less = normed(-x, a) + normed(x, a)
    assert set(less.tolist()) <= ({0} if a["halving"] == "truncate" else {0, -1})


def within(x: Array, a: Any) -> Array:
    """Where o is as near as (P5) says to 2**30 * y / sqrt(v)."""
    y = deviations(x, a)
    v = int((y * y).sum())
    [k] = result("IntSqrt", np.array([v]), start=a["sqrt_start"], steps=a["sqrt_steps"]).tolist()
    bound = 1 + abs(y) / 2 + 2**30 / max(k, 1) + 1e-6
    near: Array = abs(normed(x, a) - 2**30 * y / np.sqrt(v)) <= bound
    return near


def converged(x: Array, a: Any) -> bool:
    y = deviations(x, a)
    v = int((y * y).sum())
    return v > 0 and not run("IntSqrt", np.array([v]), start=a["sqrt_start"], steps=a["sqrt_steps"])[1]


@every_profile
@given(x=rows())
def test_i_layer_norm_p5_is_near_the_real_norm(profile: Profile, x: Array) -> None:
    a = profile.i_layer_norm()
    assume_undisturbed(x, a)
    assume(converged(x, a))
    assert within(x, a).all()


@every_profile
@given(half=st.lists(st.integers(-200, 200), min_size=10, max_size=20), times=st.integers(2, 50))
def test_i_layer_norm_p5_of_a_multiple(profile: Profile, half: list[int], times: int) -> None:
    a = profile.i_layer_norm()
    x = row(*half, *(-v for v in half), dtype="int16")
    larger = x * np.int16(times)
    for each in (x, larger):
        assume_undisturbed(each, a)
        assume(converged(each, a))
    y, k = deviations(x, a), np.sqrt(float((x.astype("int64") ** 2).sum())) - 1
    bound = 2 + (times + 1) * abs(y) / 2 + (2**30 / k + 2**30 / (times * k)) if k > 0 else 2**31
    assert (abs(normed(x, a) - normed(larger, a)) <= bound).all()


# --- Where a published version breaks them


@pytest.mark.parametrize("profile", [QAT, TVM], ids=["qat", "tvm"])
def test_i_layer_norm_p5_breaks_where_the_root_has_not_converged(profile: Profile) -> None:
    a = profile.i_layer_norm()
    assert [name for name, p in PROFILES.items() if p.i_layer_norm()["sqrt_start"]] == ["qat", "tvm"]
    assert normed(row(1, -1), a).tolist() == [2**24 - 1, -(2**24) + (profile is TVM)]
    assert normed(row(100, -100, dtype="int16"), a)[0] == 745654000
    assert not within(row(1, -1), a).any()
    assert within(row(1, -1), IDEAL.i_layer_norm()).all()


def test_i_layer_norm_p1_breaks_where_the_sum_of_the_deployment_wraps() -> None:
    a = TVM.i_layer_norm()
    assert normed(row(0, 0, dtype="int16"), a).tolist() == [0, 0]
    y, events = run("ILayerNorm", row(16384, 16384, dtype="int16"), np.zeros(2, "int32"), **a)
    assert (y.tolist(), events) == ([-759250944, -759250944], {"wrapped"})


def test_i_layer_norm_p2_breaks_where_the_sum_of_the_deployment_wraps() -> None:
    assert normed(row(1, 32767, dtype="int16"), TVM.i_layer_norm()).tolist() == [759272707, -759272707]
    assert normed(row(1, 32767, dtype="int16"), IDEAL.i_layer_norm()).tolist() == [-759245561, 759245560]


def test_i_layer_norm_p2_breaks_where_the_sum_of_squares_of_the_deployment_wraps() -> None:
    x = row(*[26757, -26757] * 3, dtype="int16")
    assert sum(v * v for v in x.tolist()) == 2**32 + 654998
    assert normed(x, TVM.i_layer_norm()).tolist() == [-994114172, 994114172] * 3
