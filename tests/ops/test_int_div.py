from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Event
from ivit_ref.ops import int_div
from ivit_ref.oracle.shift_exp import shift_exp as shift_exp_twin
from ivit_ref.profiles import PROFILES, Profile
from ivit_ref.testing.calls import CALLS
from tests.agreement import Array, Attributes, Call, assert_agrees, run


def attributes(**changes: Any) -> Attributes:
    return {"numerator": 2**31 - 1, "out_bits": 8, "product_bits": 64, "dtype": "int8", **changes}


def row(*values: int, dtype: str = "int64") -> Array:
    return np.array(values, dtype)


@given(call=CALLS["IntDiv"])
def test_int_div_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("IntDiv", call)


@pytest.mark.parametrize("scale", [0.125, float(np.float32(0.05)), float(np.float32(0.01))])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_int_div_agrees_with_its_twin_on_the_exponentials_of_every_int8_pair(profile: Profile, scale: float) -> None:
    # Of a pair [a, b] only b - a matters, and the larger one has e_0.
    e = shift_exp_twin(list(range(-255, 1)), **profile.shift_exp(scale))
    pairs = row(*((e[-1], smaller) for smaller in e))
    for bits in (8, 16):
        call: Call = ((pairs, pairs.sum(axis=1, keepdims=True)), profile.int_div(bits))
        assert_agrees("IntDiv", call)


# --- Facts


@pytest.mark.parametrize(
    ("i0", "reciprocal", "sigma"), [(6, 21, 63), (12, 10, 60), (20, 6, 60), (30, 4, 60), (59, 2, 59), (74, 1, 37)]
)
def test_int_div_is_coarse_where_the_denominator_nears_2_31(i0: int, reciprocal: int, sigma: int) -> None:
    # One half, as ShiftGELU meets it for x = 0, in units of 1/128: both exponentials are i0 * 2**23.
    e = i0 * 2**23
    assert (2**31 - 1) // (2 * e) == reciprocal
    assert int_div(row(e), row(2 * e), **attributes()).tolist() == [sigma]


def test_int_div_at_8_bits_makes_zeros_of_a_long_uniform_row() -> None:
    assert int_div(row(1), row(197), **attributes()).tolist() == [0]
    assert int_div(row(1), row(197), **attributes(out_bits=16, dtype="int16")).tolist() == [166]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize(("bits", "expected"), [(8, 127), (16, 32767)])
def test_int_div_of_one_by_one_is_the_largest_quotient(profile: Profile, bits: int, expected: int) -> None:
    # The paper's numerator gives one more, which saturates.
    chosen = {**profile.int_div(bits), "product_bits": 64}
    y = int_div(row(1, dtype="int32"), row(1, dtype="int32"), **chosen)
    np.testing.assert_array_equal(y, row(expected, dtype=f"int{bits}"), strict=True)


@pytest.mark.parametrize(
    ("x", "d", "expected"),
    [
        # 100 / 7 = 14, 100 / -7 = -14 (truncated; floored it is -15); then >> 2, which floors
        (3, 7, 10),
        (3, -7, -11),
        (-3, 7, -11),
        (-3, -7, 10),
        (1, 101, 0),
        (1, -101, 0),
    ],
)
def test_int_div_truncates_the_reciprocal_and_floors_the_shift(x: int, d: int, expected: int) -> None:
    assert int_div(row(x), row(d), **attributes(numerator=100, out_bits=30, dtype="int32")).tolist() == [expected]


def test_int_div_broadcasts_d_to_x() -> None:
    x = np.arange(12).reshape(2, 2, 3)
    for d in (row(8), np.array(8), row(1, 8, 8), np.array([[8], [1]]), np.full((2, 2, 3), 8)):
        # 2**31 / 8 * x >> 24 = 16 x; for d = 1 it is 128 x
        expected = x * np.where(np.broadcast_to(d, x.shape) == 8, 16, 128)
        y = int_div(x, d, **attributes(numerator=2**31, dtype="int32"))
        np.testing.assert_array_equal(y, expected.astype("int32"), strict=True)


# --- Constraints


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint8", "uint16", "bool", "float32"])
def test_int_div_c1_x_and_d_are_int32_or_int64(dtype: str) -> None:
    good, bad = row(1, 1), row(1, 1, dtype=dtype)
    with pytest.raises(ConstraintError, match=r"IntDiv \(C1\): x"):
        int_div(bad, good, **attributes())
    with pytest.raises(ConstraintError, match=r"IntDiv \(C1\): d"):
        int_div(good, bad, **attributes())
    for x, d in (("int32", "int32"), ("int32", "int64"), ("int64", "int32"), ("int64", "int64")):
        assert int_div(row(1, dtype=x), row(1, dtype=d), **attributes()).tolist() == [127]


@pytest.mark.parametrize("shape", [(3,), (2,), (2, 4, 1), (1, 2, 3, 4)])
def test_int_div_c1_d_broadcasts_to_x(shape: tuple[int, ...]) -> None:
    x = np.ones((2, 3, 4), "int64")
    with pytest.raises(ConstraintError, match=r"IntDiv \(C1\): d must broadcast to x"):
        int_div(x, np.ones(shape, "int64"), **attributes())
    for accepted in ((), (1,), (4,), (3, 1), (1, 3, 4), (2, 3, 4)):
        assert int_div(x, np.ones(accepted, "int64"), **attributes()).shape == (2, 3, 4)


def test_int_div_c2_d_has_no_zero() -> None:
    with pytest.raises(ConstraintError, match=r"IntDiv \(C2\)"):
        int_div(row(1, 1, 1), row(1, 0, -1), **attributes())
    # 2**31 - 1 and its negative, shifted right by 24, which floors
    assert int_div(row(1, 1, 1), row(1, 2**40, -1), **attributes()).tolist() == [127, 0, -128]


def test_int_div_c2_holds_under_wrap_too() -> None:
    with pytest.raises(ConstraintError, match=r"IntDiv \(C2\)"):
        run("IntDiv", ((row(0, dtype="int32"), row(0, dtype="int32")), attributes()), "wrap")


@pytest.mark.parametrize(("accepted", "refused", "expected"), [(1, 0, 0), (1, -1, 0), (2**31, 2**31 + 1, 64)])
def test_int_div_c3_the_numerator_is_from_1_to_2_31(accepted: int, refused: int, expected: int) -> None:
    with pytest.raises(ConstraintError, match=r"IntDiv \(C3\)"):
        int_div(row(1), row(2), **attributes(numerator=refused))
    assert int_div(row(1), row(2), **attributes(numerator=accepted)).tolist() == [expected]


@pytest.mark.parametrize(("accepted", "refused", "expected"), [(2, 1, 1), (31, 32, 2**29)])
def test_int_div_c4_out_bits_are_from_2_to_31(accepted: int, refused: int, expected: int) -> None:
    with pytest.raises(ConstraintError, match=r"IntDiv \(C4\)"):
        int_div(row(1), row(2), **attributes(numerator=2**31, out_bits=refused, dtype="int32"))
    y = int_div(row(1), row(2), **attributes(numerator=2**31, out_bits=accepted, dtype="int32"))
    assert y.tolist() == [expected]


@pytest.mark.parametrize(("dtype", "bits"), [("int8", 8), ("uint8", 8), ("int16", 16), ("uint16", 16)])
def test_int_div_c4_the_dtype_has_room_for_out_bits(dtype: str, bits: int) -> None:
    with pytest.raises(ConstraintError, match=rf"IntDiv \(C4\).*{dtype}$"):
        int_div(row(1), row(2), **attributes(out_bits=bits + 1, dtype=dtype))
    y = int_div(row(1), row(2), **attributes(numerator=2**31, out_bits=bits, dtype=dtype))
    np.testing.assert_array_equal(y, row(2 ** (bits - 2), dtype=dtype), strict=True)


@pytest.mark.parametrize("overflow", ["raise", "wrap"])
@pytest.mark.parametrize(
    ("accepted", "expected", "refused", "product"),
    [
        ((2**32 - 1, 1), 2**31 - 1, (2**32, 1), 2**63),
        ((1 - 2**32, 1), -(2**31), (2**32 + 1, -1), -(2**63) - 2**31),
        ((2**32 - 1, -1), -(2**31), (-(2**32), -1), 2**63),
    ],
)
def test_int_div_c5_every_product_fits_int64(
    accepted: tuple[int, int], expected: int, refused: tuple[int, int], product: int, overflow: str
) -> None:
    # F is 2**31 or -(2**31); the quotient is the product >> 1, held within int32.
    chosen = attributes(numerator=2**31, out_bits=31, dtype="int32")
    with pytest.raises(IntegerOverflow, match=rf"^IntDiv \(C5\): .*1 of 2 elements do not fit int64; .*: {product}$"):
        run("IntDiv", ((row(1, refused[0]), row(1, refused[1])), chosen), overflow)
    y, _ = run("IntDiv", ((row(1, accepted[0]), row(1, accepted[1])), chosen), overflow)
    assert y.tolist() == [2**30, expected]


def test_int_div_c5_is_about_each_product_and_not_about_the_largest_factors() -> None:
    # F is 1 for 2**31 and 2**31 for 1: the products are +-(2**63 - 1) and +-(2**63 - 2**31).
    x = row(2**63 - 1, 1 - 2**63, 2**32 - 1, 1 - 2**32)
    d = row(2**31, 2**31, 1, 1)
    y = int_div(x, d, **attributes(numerator=2**31, out_bits=31, dtype="int32"))
    assert y.tolist() == [2**31 - 1, -(2**31)] * 2
    assert int_div(row(2**33 + 5, 7), row(2**31, 1), **attributes(numerator=2**31, out_bits=2, dtype="int32")).tolist() == [
        8,
        14,
    ]


@pytest.mark.parametrize("overflow", ["raise", "wrap"])
def test_int_div_c5_refuses_products_of_the_least_int64(overflow: str) -> None:
    # The product of -2**63 and 2**31 has no bit within int64: it must not pass for 0.
    with pytest.raises(IntegerOverflow, match=rf"^IntDiv \(C5\): .*: -{2**94}$"):
        run("IntDiv", ((row(-(2**63), 1), row(1)), attributes(numerator=2**31)), overflow)


@pytest.mark.parametrize("d", [-(2**63), 2**63 - 1])
def test_int_div_by_the_ends_of_int64_is_zero(d: int) -> None:
    assert int_div(row(5, 2**40, -(2**63)), row(d), **attributes()).tolist() == [0, 0, 0]


def test_int_div_refuses_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"IntDiv \(no empty axes\).*\[0\]"):
        int_div(row(), row(1), **attributes())
    with pytest.raises(ConstraintError, match=r"IntDiv \(no empty axes\).*\[0\]"):
        int_div(row(1), row(), **attributes())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_int_div_refuses_floats(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=dtype):
        int_div(row(1), row(1, dtype=dtype), **attributes())


# --- Events


def test_int_div_records_what_saturates() -> None:
    # The paper's numerator: 1 / 1 is 128, one too many for int8 and not for uint8.
    call: Call = ((np.array([[1, 0], [1, 2]]), row(1)), attributes(numerator=2**31))
    y, events = run("IntDiv", call, "raise")
    np.testing.assert_array_equal(y, np.array([[127, 0], [127, 127]], "int8"), strict=True)
    assert events == [Event("saturated", "", "IntDiv", "y", count=3, total=4, index=(0, 0), value=128)]
    y, events = run("IntDiv", (call[0], attributes(numerator=2**31, dtype="uint8")), "raise")
    np.testing.assert_array_equal(y, np.array([[128, 0], [128, 255]], "uint8"), strict=True)
    assert [(e.count, e.index, e.value) for e in events] == [(1, (1, 1), 256)]


def test_int_div_saturates_at_zero_for_unsigned_dtypes() -> None:
    y, events = run("IntDiv", ((row(1, -1), row(2)), attributes(numerator=2**31, dtype="uint8")))
    assert y.tolist() == [64, 0]
    assert [(e.kind, e.count, e.index, e.value) for e in events] == [("saturated", 1, (1,), -64)]


def test_int_div_with_32_bits_records_products_that_wrap() -> None:
    # F = 2**30, times 1, 2 and 3: 2**31 has the low bits of -2**31, and 3 * 2**30 those of -2**30.
    call: Call = ((row(1, 2, 3, -2), row(2)), attributes(numerator=2**31, product_bits=32))
    with pytest.raises(IntegerOverflow, match=r"IntDiv: F \* x: 2 of 4 elements do not fit int32"):
        run("IntDiv", call, "raise")
    y, events = run("IntDiv", call)
    assert y.tolist() == [64, -128, -64, -128]
    assert events == [Event("wrapped", "", "IntDiv", "F * x", count=2, total=4, index=(1,), value=2**31)]
