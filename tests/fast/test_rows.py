"""Shiftmax and ShiftGELU of int8 rows: every profile at many scales, rows of every kind, and what tables must not hide."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivit_ref.events import Context, Event
from ivit_ref.fast import KERNELS
from ivit_ref.profiles import PROFILES, QAT, TVM, Profile, Sigmoid
from ivit_ref.testing.rows import stressed
from ivit_ref.testing.values import scales
from tests.fast.engines import Array, assert_engines_agree, runs_spec

SCALES = [2.0**-15, 2.0**-12, 2.0**-10, 2.0**-8, 0.01, 0.03, 0.05, 0.125, 0.25, 0.5, 1.0]

ROWS = {
    "equal": np.repeat(np.array([[-128], [-1], [0], [127]], np.int8), 9, axis=1),
    "one-hot": np.where(np.eye(5, dtype=bool), 127, -128).astype(np.int8),
    "negative": np.arange(-128, 0, dtype=np.int8).reshape(4, 32),
    "all": np.arange(-128, 128).astype(np.int8).reshape(1, 1, 256),
    "each maximum": np.minimum(np.arange(-128, 128), np.arange(-128, 128)[:, None]).astype(np.int8),
    "extremes": np.array([[[-128, 127], [127, -128]], [[127, 127], [-128, -128]]], np.int8),
    "singles": np.arange(-128, 128).astype(np.int8)[:, None],
    "one row": np.array([3, -100, 7, 0, 7], np.int8),
    "one number": np.array([-5], np.int8),
}


def of_profile(name: str, profile: Profile, scale: float) -> dict[str, Any]:
    scale = float(np.float32(scale))
    return profile.shiftmax(scale) if name == "Shiftmax" else profile.shift_gelu(scale)


@pytest.mark.parametrize("name", ["Shiftmax", "ShiftGELU"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("rows", ROWS)
def test_rows_of_every_kind(rows: str, profile: str, name: str) -> None:
    for scale in SCALES:
        assert_engines_agree(name, [ROWS[rows]], of_profile(name, PROFILES[profile], scale))


@pytest.mark.parametrize("name", ["Shiftmax", "ShiftGELU"])
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_rows_of_any_profile(name: str, data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(1,), (40,), (3, 17), (2, 3, 5), (6, 1)]))
    x = data.draw(stressed("int8", shape))
    profile = replace(
        data.draw(st.sampled_from(list(PROFILES.values()))),
        clamp=data.draw(st.booleans()),
        sum=data.draw(st.sampled_from(["exact", "clamped", "int32"])),
        numerator=data.draw(st.sampled_from([2**31, 2**31 - 1, 1])),
        product_bits=data.draw(st.sampled_from([32, 64])),
        sigmoid=data.draw(st.sampled_from(["folded", "shifts"])),
    )
    assert_engines_agree(name, [x], of_profile(name, profile, data.draw(scales())))


@pytest.mark.parametrize("name", ["Shiftmax", "ShiftGELU"])
@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_other_dtypes_run_the_spec(name: str, dtype: str) -> None:
    x = np.array([[300, -300, 5], [-1, -2, -3]], dtype)
    if name == "Shiftmax" or dtype == "int16":
        assert runs_spec(name, [x], of_profile(name, QAT, 0.05))
        assert_engines_agree(name, [x], of_profile(name, QAT, 0.05))


@pytest.mark.parametrize("name", ["Shiftmax", "ShiftGELU"])
@pytest.mark.parametrize("profile", PROFILES)
def test_what_a_transformer_has_does_not_run_the_spec(profile: str, name: str) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (4, 197)).astype(np.int8)
    assert not runs_spec(name, [x], of_profile(name, PROFILES[profile], 0.05))


# --- Events


def test_the_table_of_shift_gelu_is_not_heard_of() -> None:
    """p is clamped in the table of the maximum -5, and for no element of the row; e_m is a matter of the maximum."""
    x, attributes = np.array([[-5, -5, -6]], np.int8), of_profile("ShiftGELU", QAT, 1.0)
    events: list[Event] = []
    KERNELS["ShiftGELU"]([x], attributes, Context(emit=events.append))
    assert events == []
    assert_engines_agree("ShiftGELU", [x], attributes)


@pytest.mark.parametrize("sigmoid", ["folded", "shifts"])
@pytest.mark.parametrize("name", ["Shiftmax", "ShiftGELU"])
def test_the_clamp_of_p_is_told_of_the_rows(name: str, sigmoid: Sigmoid) -> None:
    x = np.array([[100, 99, 98], [100, -100, 60], [-100, 100, 50]], np.int8)
    attributes = of_profile(name, replace(QAT, sigmoid=sigmoid), 0.25)
    events: list[Event] = []
    KERNELS[name]([x], attributes, Context(emit=events.append))
    assert not runs_spec(name, [x], attributes)
    assert (events[0].kind, events[0].step, events[0].total) == ("clamped", "e: p", 9)
    assert events[0].index == (1, 1)
    assert_engines_agree(name, [x], attributes)


def test_a_clamp_that_the_node_does_not_have_is_not_told() -> None:
    x, profile = np.array([[0, -128]], np.int8), replace(QAT, clamp=False)
    for name in ("Shiftmax", "ShiftGELU"):
        assert not runs_spec(name, [x], of_profile(name, profile, 0.5))
        assert_engines_agree(name, [x], of_profile(name, profile, 0.5))


@pytest.mark.parametrize("how", ["exact", "clamped", "int32"])
@pytest.mark.parametrize("i0", [2**28 - 1, 2**28])
def test_a_sum_at_the_end_of_int32(i0: int, how: str) -> None:
    """Eight equal numbers: their exponentials add up to 8 * i0, which is 2**31 or eight less."""
    attributes = {**of_profile("Shiftmax", QAT, 0.05), "i0": i0, "n": 0, "sum": how}
    x = np.full((2, 8), 5, np.int8)
    assert runs_spec("Shiftmax", [x], attributes) == (i0 == 2**28)
    for product_bits in (32, 64):
        for numerator in (1, 2**31 - 1, 2**31):
            assert_engines_agree("Shiftmax", [x], {**attributes, "product_bits": product_bits, "numerator": numerator})


@pytest.mark.parametrize("product_bits", [32, 64])
def test_a_one_hot_row_of_the_papers_numerator(product_bits: int) -> None:
    """F * e is 2**31: it leaves an int32 product, and at 64 bits the quotient saturates."""
    attributes = {**of_profile("Shiftmax", QAT, 0.125), "numerator": 2**31, "product_bits": product_bits}
    x = np.array([[127, -128], [-128, 127], [0, 0]], np.int8)
    assert runs_spec("Shiftmax", [x], attributes) == (product_bits == 32)
    assert_engines_agree("Shiftmax", [x], attributes)


def test_rows_of_negative_numbers_that_wrap() -> None:
    """-max is positive there: e_m leaves int32 for the last row only, and only that row may be told of."""
    x = np.array([[5, 7], [100, -100], [-120, -128]], np.int8)
    attributes = of_profile("ShiftGELU", TVM, 0.05)
    assert runs_spec("ShiftGELU", [x], attributes)
    assert not runs_spec("ShiftGELU", [x[:2]], attributes)
    assert_engines_agree("ShiftGELU", [x], attributes)


@pytest.mark.parametrize("out_bits", [2, 8, 16, 31])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32"])
def test_every_width_of_the_quotient(dtype: str, out_bits: int) -> None:
    attributes = {**of_profile("Shiftmax", QAT, 0.05), "out_bits": out_bits, "dtype": dtype}
    if out_bits <= np.iinfo(dtype).bits:
        for numerator in (2**31 - 1, 2**31):
            for rows in ("all", "one-hot", "one number"):
                assert_engines_agree("Shiftmax", [ROWS[rows]], {**attributes, "numerator": numerator})


def test_rows_along_another_order_in_memory() -> None:
    x: Array = np.random.default_rng(0).integers(-128, 128, (7, 5, 6)).astype(np.int8).transpose(2, 0, 1)[:, ::2]
    for name in ("Shiftmax", "ShiftGELU"):
        assert_engines_agree(name, [x], of_profile(name, QAT, 0.25))
