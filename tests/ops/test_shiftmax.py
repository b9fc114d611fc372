from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Event
from ivit_ref.ops import shiftmax
from ivit_ref.profiles import IDEAL, PAPER, PROFILES, QAT, TVM, Profile
from ivit_ref.testing.calls import CALLS
from tests.agreement import Array, Attributes, Call, assert_agrees, run

QAT8 = dataclasses.replace(QAT, name="qat8", softmax_out_bits=8)
"""As the released Swin models."""

LOGITS = [127, 100, 64, 32, 0, -32, -64, -128]


def attributes(**changes: Any) -> Attributes:
    return {**IDEAL.shiftmax(0.125), **changes}


def row(*values: int, dtype: str = "int8") -> Array:
    return np.array(values, dtype)


def float32(scale: float) -> float:
    return float(np.float32(scale))


@given(call=CALLS["Shiftmax"])
def test_shiftmax_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("Shiftmax", call)


@pytest.mark.parametrize("scale", [0.125, 0.05])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_shiftmax_agrees_with_its_twin_on_every_int8_pair(profile: Profile, scale: float) -> None:
    """Each pair in one order at one scale, and in the other order at the other."""
    a, b = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    pairs = np.stack([a, b], axis=-1).astype("int8")[a <= b if scale == 0.05 else a >= b]
    assert_agrees("Shiftmax", ((pairs,), profile.shiftmax(float32(scale))))


# --- Facts


@pytest.mark.parametrize(
    ("profile", "scale", "expected"),
    [
        (PAPER, 0.125, [124, 3, 0, 0, 0, 0, 0, 0]),
        (QAT8, 0.125, [123, 4, 0, 0, 0, 0, 0, 0]),
        (QAT, 0.125, [31636, 1112, 12, 0, 0, 0, 0, 0]),
        (TVM, 0.125, [121, 5, 0, 0, 0, 0, 0, 0]),
        (PAPER, 0.05, [98, 24, 4, 0, 0, 0, 0, 0]),
        (QAT8, 0.05, [97, 25, 4, 0, 0, 0, 0, 0]),
        (QAT, 0.05, [24840, 6520, 1125, 223, 44, 9, 1, 0]),
        (TVM, 0.05, [98, 24, 4, 0, 0, 0, 0, 0]),
        (PAPER, 0.03, [75, 34, 11, 4, 1, 0, 0, 0]),
        (QAT8, 0.03, [73, 34, 12, 4, 1, 0, 0, 0]),
        (QAT, 0.03, [18938, 8772, 3133, 1166, 478, 187, 70, 11]),
        (TVM, 0.03, [74, 33, 12, 4, 1, 0, 0, 0]),
    ],
    ids=lambda value: value.name if isinstance(value, Profile) else None,
)
def test_shiftmax_golden_vectors(profile: Profile, scale: float, expected: list[int]) -> None:
    y = shiftmax(row(*LOGITS), **profile.shiftmax(float32(scale)))
    np.testing.assert_array_equal(y, row(*expected, dtype=f"int{profile.softmax_out_bits}"), strict=True)


@pytest.mark.parametrize(("scale", "expected"), [(0.006, -1), (0.004, -2), (0.003, -93), (0.001, 68)])
def test_shiftmax_of_tvm_wraps_the_sum_of_a_long_flat_row(scale: float, expected: int) -> None:
    call: Call = ((np.full((1, 197), 5, "int8"),), TVM.shiftmax(float32(scale)))
    with pytest.raises(IntegerOverflow, match=r"Shiftmax: sum of exponentials: 1 of 1 elements do not fit int32"):
        run("Shiftmax", call, "raise")
    y, events = run("Shiftmax", call)
    np.testing.assert_array_equal(y, np.full((1, 197), expected, "int8"), strict=True)
    assert ("wrapped", "sum of exponentials") in {(event.kind, event.step) for event in events}


@pytest.mark.parametrize(("length", "i0"), [(197, 167), (50, 656), (577, 57), (1025, 32)])
def test_shiftmax_of_tvm_wraps_from_this_i0_on(length: int, i0: int) -> None:
    flat = np.zeros((1, length), "int8")
    with pytest.raises(IntegerOverflow, match=rf"Shiftmax: sum of exponentials: .*: {i0 * 2**16 * length}$"):
        shiftmax(flat, **{**TVM.shiftmax(0.125), "i0": i0})
    # One below, the sum is in (2**30, 2**31) and its reciprocal 1.
    below = {**TVM.shiftmax(0.125), "i0": i0 - 1}
    assert set(shiftmax(flat, **below)[0].tolist()) == {((i0 - 1) * 2**16) >> 24}


@pytest.mark.parametrize(("scale", "expected"), [(0.006, 83), (0.003, 167), (0.002, 250), (0.001, 500)])
def test_shiftmax_of_qat_is_off_for_a_long_flat_row(scale: float, expected: int) -> None:
    # The right value is 32768 / 197 = 166 throughout.
    y = shiftmax(np.full((1, 197), 5, "int8"), **QAT.shiftmax(float32(scale)))
    np.testing.assert_array_equal(y, np.full((1, 197), expected, "int16"), strict=True)


@pytest.mark.parametrize("profile", [PAPER, QAT8, TVM], ids=lambda profile: profile.name)
def test_shiftmax_at_8_bits_makes_zeros_of_a_long_flat_row(profile: Profile) -> None:
    assert not shiftmax(np.full((2, 197), -3, "int8"), **profile.shiftmax(0.125)).any()


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        # S = 1/8, so e = i0 * 2**n: 8 * 2**15 has the reciprocal 8192 or 8191, and 9 * 2**16 has 3640.
        (PAPER, 127),
        (QAT, 32764),
        (IDEAL, 32764),
        (TVM, 127),
    ],
    ids=lambda value: value.name if isinstance(value, Profile) else None,
)
@pytest.mark.parametrize("x", [-128, 0, 127])
def test_shiftmax_of_a_single_element_is_one(profile: Profile, expected: int, x: int) -> None:
    y = shiftmax(row(x), **profile.shiftmax(0.125))
    np.testing.assert_array_equal(y, row(expected, dtype=f"int{profile.softmax_out_bits}"), strict=True)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_shiftmax_goes_along_the_last_axis_and_ignores_what_a_row_has_in_common(profile: Profile) -> None:
    x = np.array([[[5, -3, 0], [100, 92, 95]], [[-100, -108, -105], [0, -8, -5]]], "int8")
    chosen = profile.shiftmax(float32(0.05))
    first = shiftmax(x[0, 0], **chosen)
    assert first[0] > first[2] > first[1] > 0
    np.testing.assert_array_equal(shiftmax(x, **chosen), np.broadcast_to(first, x.shape), strict=True)


def test_shiftmax_of_int32_takes_the_whole_range() -> None:
    y = shiftmax(row(2**31 - 1, -(2**31), dtype="int32"), **attributes(clamp=False, numerator=2**31))
    assert y.tolist() == [32767, 0]


# --- Constraints


@pytest.mark.parametrize("dtype", ["int64", "uint8", "uint16", "bool", "float32"])
def test_shiftmax_c1_x_is_int8_int16_or_int32(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"Shiftmax \(C1\)"):
        shiftmax(row(0, 0, dtype=dtype), **attributes())
    for accepted in ("int8", "int16", "int32"):
        assert shiftmax(row(0, 0, dtype=accepted), **attributes()).tolist() == [16380, 16380]


def test_shiftmax_c1_the_last_axis_has_at_most_2_16_elements() -> None:
    longest = np.zeros((1, 2**16), "int8")
    with pytest.raises(ConstraintError, match=r"Shiftmax \(C1\)"):
        shiftmax(np.zeros((1, 2**16 + 1), "int8"), **attributes())
    with pytest.raises(ConstraintError, match=r"Shiftmax \(C1\)"):
        shiftmax(np.array(0, "int8"), **attributes())
    # One in 2**16, in units of 2**-30: e = 2**15, s = 2**31, F = 1
    y = shiftmax(longest, **attributes(i0=1, numerator=2**31, out_bits=31, dtype="int32"))
    np.testing.assert_array_equal(y, np.full(longest.shape, 2**14, "int32"), strict=True)
    assert shiftmax(longest.reshape(-1, 1), **attributes()).shape == (2**16, 1)


def test_shiftmax_c1_the_longest_row_of_the_largest_exponentials() -> None:
    # The sum is 2**16 * 2**46 = 2**62: its reciprocal is 0.
    y = shiftmax(np.zeros((1, 2**16), "int8"), **attributes(i0=2**28, n=18))
    assert not y.any()


@pytest.mark.parametrize(("accepted", "refused"), [(1, 0), (1, -1), (2**28, 2**28 + 1)])
def test_shiftmax_c2_i0_is_from_1_to_2_28(accepted: int, refused: int) -> None:
    with pytest.raises(ConstraintError, match=r"Shiftmax \(C2\)"):
        shiftmax(row(0), **attributes(i0=refused, n=0))
    assert shiftmax(row(0), **attributes(i0=accepted, n=0, numerator=2**31)).tolist() == [32767]


@pytest.mark.parametrize(
    ("accepted", "refused", "expected"),
    [
        ((1, 0), (1, -1), 32767),
        ((1, 31), (1, 32), 32767),
        # 2**46 has the reciprocal 0
        ((2**15, 31), (2**15 + 1, 31), 0),
        ((2**28, 18), (2**28, 19), 0),
    ],
)
def test_shiftmax_c3_n_is_from_0_to_31_and_the_unit_at_most_2_46(
    accepted: tuple[int, int], refused: tuple[int, int], expected: int
) -> None:
    with pytest.raises(ConstraintError, match=r"Shiftmax \(C3\)"):
        shiftmax(row(0), **attributes(i0=refused[0], n=refused[1]))
    i0, n = accepted
    assert shiftmax(row(0), **attributes(i0=i0, n=n, numerator=2**31)).tolist() == [expected]


@pytest.mark.parametrize(("accepted", "refused", "expected"), [(1, 0, 0), (1, -1, 0), (2**31, 2**31 + 1, 16384)])
def test_shiftmax_c4_the_numerator_is_from_1_to_2_31(accepted: int, refused: int, expected: int) -> None:
    with pytest.raises(ConstraintError, match=r"Shiftmax \(C4\)"):
        shiftmax(row(0, 0), **attributes(numerator=refused))
    assert shiftmax(row(0, 0), **attributes(numerator=accepted)).tolist() == [expected, expected]


@pytest.mark.parametrize(("accepted", "refused", "expected"), [(2, 1, 1), (31, 32, 2**29)])
def test_shiftmax_c5_out_bits_are_from_2_to_31(accepted: int, refused: int, expected: int) -> None:
    wide = attributes(numerator=2**31, dtype="int32")
    with pytest.raises(ConstraintError, match=r"Shiftmax \(C5\)"):
        shiftmax(row(0, 0), **{**wide, "out_bits": refused})
    assert shiftmax(row(0, 0), **{**wide, "out_bits": accepted}).tolist() == [expected, expected]


@pytest.mark.parametrize(("dtype", "bits"), [("int8", 8), ("uint8", 8), ("int16", 16), ("uint16", 16)])
def test_shiftmax_c5_the_dtype_has_room_for_out_bits(dtype: str, bits: int) -> None:
    with pytest.raises(ConstraintError, match=rf"Shiftmax \(C5\).*{dtype}$"):
        shiftmax(row(0, 0), **attributes(out_bits=bits + 1, dtype=dtype))
    y = shiftmax(row(0, 0), **attributes(numerator=2**31, out_bits=bits, dtype=dtype))
    np.testing.assert_array_equal(y, row(2 ** (bits - 2), 2 ** (bits - 2), dtype=dtype), strict=True)


def test_shiftmax_refuses_empty_axes() -> None:
    for shape in ((0,), (2, 0), (0, 2)):
        with pytest.raises(ConstraintError, match=r"Shiftmax \(no empty axes\)"):
            shiftmax(np.zeros(shape, "int8"), **attributes())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shiftmax_refuses_floats(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=dtype):
        shiftmax(np.zeros(2, dtype), **attributes())


# --- Events


def test_shiftmax_records_where_p_is_clamped() -> None:
    # i0 = 8 and n = 2: the bound is -16. The differences 0, -20 and -5, -100 have p = 0, -28, -7, -143.
    x = np.array([[100, 80, 95, 0], [0, 0, 0, 0]], "int8")
    y, events = run("Shiftmax", ((x,), attributes(n=2, numerator=2**31)), "raise")
    # e = 32, 8, 18, 8 with the sum 66, F = 2**31 / 66 = 32537631; and 32 of 128
    assert y.tolist() == [[32537631 * e >> 16 for e in (32, 8, 18, 8)], [8192] * 4]
    assert events == [Event("clamped", "", "Shiftmax", "e: p", count=2, total=8, index=(0, 1), value=-28)]


def test_shiftmax_records_where_the_sum_is_clamped() -> None:
    # e = 2**30, twice: one too many. Three times that is clamped to the same; a single one is not clamped.
    x = np.array([[0, 0, -128, -128], [0, -128, -128, -128], [0, 0, 0, -128]], "int16") * 256
    chosen = attributes(i0=2**7, n=23, sum="clamped")
    y, events = run("Shiftmax", ((x,), chosen), "raise")
    last = [event for event in events if event.step == "sum of exponentials"]
    assert [(e.kind, e.count, e.total, e.index, e.value) for e in last] == [("clamped", 2, 3, (0, 0), 2**31 + 2 * 2**7)]
    # F = 1, so 2**30 >> 16; and in the row that is not clamped too
    assert y[:, 0].tolist() == [2**14, 2**14, 2**14]


def test_shiftmax_clamps_a_sum_of_2_31_to_one_less() -> None:
    x = row(0, 0)
    chosen = attributes(i0=2**15, n=15, sum="clamped", numerator=2**31 - 1)
    y, events = run("Shiftmax", ((x,), chosen), "raise")
    assert (y.tolist(), [(e.kind, e.value) for e in events]) == ([2**14, 2**14], [("clamped", 2**31)])
    # Not clamped, the reciprocal of 2**31 is 0.
    assert shiftmax(x, **{**chosen, "sum": "exact"}).tolist() == [0, 0]


def test_shiftmax_leaves_a_sum_of_2_31_less_one_alone() -> None:
    # n = 0 and i0 = 2**28: e = 2**28 seven times, and floor(2**28 - 1/2) for a difference of -1.
    chosen = attributes(i0=2**28, n=0, clamp=False, sum="clamped")
    y, events = run("Shiftmax", ((row(*[0] * 7, -1),), chosen), "raise")
    assert (y.tolist(), events) == ([2**12] * 7 + [2**12 - 1], [])
    wrapping = {**chosen, "sum": "int32"}
    assert run("Shiftmax", ((row(*[0] * 7, -1),), wrapping), "raise")[1] == []


def test_shiftmax_records_exponentials_that_wrap() -> None:
    # i0 = 3 * 2**14 and n = 16: e = 3 * 2**30 wraps to -2**30 and is the sum; F = -1 (truncated), and -1 * -2**30 >> 24 = 64.
    call: Call = ((row(0),), {**TVM.shiftmax(0.125), "i0": 3 * 2**14})
    with pytest.raises(IntegerOverflow, match=r"Shiftmax: e: 1 of 1 elements do not fit int32"):
        run("Shiftmax", call, "raise")
    y, events = run("Shiftmax", call)
    assert y.tolist() == [64]
    assert events == [Event("wrapped", "", "Shiftmax", "e", count=1, total=1, index=(0,), value=3 * 2**30)]


def test_shiftmax_records_sums_that_wrap() -> None:
    # e = 2**30, three times in the second row: 3 * 2**30 wraps to -2**30, F = -1, and -(2**30) >> 24 = -64.
    x = np.array([[0, -128, -128], [0, 0, 0]], "int8")
    y, events = run("Shiftmax", ((x,), {**TVM.shiftmax(0.125), "i0": 1, "n": 30}))
    assert y[1].tolist() == [-64, -64, -64]
    sums = [event for event in events if event.step == "sum of exponentials"]
    assert sums == [Event("wrapped", "", "Shiftmax", "sum of exponentials", count=1, total=2, index=(1, 0), value=3 * 2**30)]


def test_shiftmax_refuses_a_sum_that_wrapped_to_zero() -> None:
    # e = 2**31 wraps to -2**31, and two of them to 0.
    call: Call = ((row(0, 0),), {**TVM.shiftmax(0.125), "i0": 2**15})
    with pytest.raises(ConstraintError, match=r"IntDiv \(C2\)"):
        run("Shiftmax", call)


def test_shiftmax_with_32_bits_records_products_that_wrap() -> None:
    # One-hot with the paper's numerator: F * e = 2**31 wraps, and -2**31 >> 24 = -128.
    call: Call = ((row(0),), attributes(i0=1, n=0, numerator=2**31, product_bits=32, out_bits=8, dtype="int8"))
    with pytest.raises(IntegerOverflow, match=r"Shiftmax: F \* x: 1 of 1 elements do not fit int32"):
        run("Shiftmax", call, "raise")
    y, events = run("Shiftmax", call)
    assert y.tolist() == [-128]
    assert events == [Event("wrapped", "", "Shiftmax", "F * x", count=1, total=1, index=(0,), value=2**31)]


def test_shiftmax_of_the_paper_saturates_a_one_hot_row() -> None:
    x = np.array([[0, 0], [127, -128], [-128, 127]], "int8")
    y, events = run("Shiftmax", ((x,), PAPER.shiftmax(0.5)), "raise")
    np.testing.assert_array_equal(y, np.array([[64, 64], [127, 0], [0, 127]], "int8"), strict=True)
    assert events == [Event("saturated", "", "Shiftmax", "y", count=2, total=6, index=(1, 0), value=128)]


@pytest.mark.parametrize(("overflow", "step"), [("raise", "sum of exponentials"), ("wrap", r"IntDiv \(C5\)")])
def test_shiftmax_stops_where_a_wrapped_sum_makes_a_product_leave_int64(overflow: str, step: str) -> None:
    # i0 = 2**11: e = 2**42, and 1 for p near -41.5 * i0. The sum has the low bits of 1, so F * e = 2**31 * 2**42.
    chosen = attributes(i0=2**11, n=31, clamp=False, half="drop", sum="int32", numerator=2**31)
    with pytest.raises(IntegerOverflow, match=step):
        run("Shiftmax", ((row(0, -59124, dtype="int32"),), chosen), overflow)
