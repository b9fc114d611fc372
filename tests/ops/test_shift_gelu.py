from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Event
from ivit_ref.ops import shift_gelu
from ivit_ref.profiles import IDEAL, PAPER, PROFILES, QAT, TVM, Profile
from ivit_ref.testing.calls import CALLS
from tests.agreement import Array, Attributes, Call, assert_agrees, run

INPUTS = [127, 100, 64, 32, 0, -32, -64, -128]


def attributes(**changes: Any) -> Attributes:
    """With i0 = 5: 1 / (1.702 / 8) = 4.7."""
    return {**IDEAL.shift_gelu(0.125), **changes}


def row(*values: int, dtype: str = "int8") -> Array:
    return np.array(values, dtype)


def float32(scale: float) -> float:
    return float(np.float32(scale))


def times(x: list[int], sigma: list[int]) -> Array:
    return np.array([a * b for a, b in zip(x, sigma, strict=True)], "int32")


@given(call=CALLS["ShiftGELU"])
def test_shift_gelu_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("ShiftGELU", call)


@pytest.mark.parametrize("scale", [0.0625, 0.05])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_shift_gelu_agrees_with_its_twin_on_every_int8_pair(profile: Profile, scale: float) -> None:
    """Each pair in one order at one scale, and in the other order at the other."""
    a, b = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    pairs = np.stack([a, b], axis=-1).astype("int8")[a <= b if scale == 0.05 else a >= b]
    assert_agrees("ShiftGELU", ((pairs,), profile.shift_gelu(float32(scale))))


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_shift_gelu_agrees_with_its_twin_on_every_int8_under_every_maximum_and_small_scales(profile: Profile) -> None:
    """Every other maximum at either scale."""
    rows = np.stack([np.minimum(np.arange(-128, 128), highest) for highest in range(-128, 128)]).astype("int8")
    for i, scale in enumerate((0.004, 0.002)):
        assert_agrees("ShiftGELU", ((rows[i::2],), profile.shift_gelu(float32(scale))))


# --- Facts


@pytest.mark.parametrize(
    ("profile", "scale", "sigma"),
    [
        (PAPER, 0.05, [120, 127, 127, 119, 63, 7, 0, 0]),
        (QAT, 0.05, [126, 127, 127, 119, 63, 8, 0, 0]),
        (TVM, 0.05, [126, 127, 127, 119, 63, 8, 0, 0]),
        (PAPER, 0.03, [115, 126, 123, 106, 63, 21, 4, 0]),
        (QAT, 0.03, [120, 126, 122, 106, 63, 22, 5, 0]),
        (TVM, 0.03, [120, 125, 122, 106, 63, 22, 5, 0]),
    ],
    ids=lambda value: value.name if isinstance(value, Profile) else None,
)
def test_shift_gelu_golden_vectors(profile: Profile, scale: float, sigma: list[int]) -> None:
    y = shift_gelu(row(*INPUTS), **profile.shift_gelu(float32(scale)))
    np.testing.assert_array_equal(y, times(INPUTS, sigma), strict=True)


@pytest.mark.parametrize(
    ("profile", "sigma"),
    [
        # The released float32 code gives 64 for the last five: its numerator rounds to 2**31. In integers they are 63.
        (QAT, [126, 127, 105, 63, 63, 63, 63, 63]),
        (TVM, [126, 127, 102, 63, 63, 63, 63, 63]),
    ],
    ids=lambda value: value.name if isinstance(value, Profile) else None,
)
def test_shift_gelu_is_half_of_every_small_x_beside_a_large_one(profile: Profile, sigma: list[int]) -> None:
    x = [127, 60, 40, 20, 0, -20, -60, -128]
    y = shift_gelu(row(*x), **profile.shift_gelu(float32(0.1)))
    np.testing.assert_array_equal(y, times(x, sigma), strict=True)


@pytest.mark.parametrize(("i0", "fits"), [(127, True), (128, False)])
def test_shift_gelu_of_tvm_wraps_the_sum_from_i0_128_on(i0: int, fits: bool) -> None:
    call: Call = ((row(0, -128),), {**TVM.shift_gelu(0.125), "i0": i0})
    if fits:
        # For 0 the sum is 2 * 127 * 2**23, of which 2**31 - 1 holds one.
        assert run("ShiftGELU", call, "raise")[0][0] == 0
        return
    with pytest.raises(
        IntegerOverflow, match=r"ShiftGELU: sum of exponentials: 1 of 2 elements do not fit int32; .*: 2147483648$"
    ):
        run("ShiftGELU", call, "raise")


def test_shift_gelu_of_tvm_is_beside_itself_where_sums_wrap() -> None:
    # i0 = 147. For x = -1, p = -1 and e = (147 - 1) * 2**23; e_m = 147 * 2**23: the sum wraps to (293 - 512) * 2**23 =
    # -1837105152, F = -1 (truncated) and sigma = -(146 * 2**23) >> 24 = -73, where 64 would be right.
    x = list(range(-128, 1))
    y, _ = run("ShiftGELU", ((row(*x),), TVM.shift_gelu(float32(0.004))))
    sigma = [b // a for a, b in zip(x[:-1], y.tolist(), strict=False)]
    assert (sigma[-1], min(sigma)) == (-73, -73)
    errors = [abs(s - 128 / (1 + math.exp(-1.702 * 0.004 * a))) for a, s in zip(x, sigma, strict=False)]
    assert (errors.index(max(errors)), math.floor(max(errors))) == (127, 136)


@pytest.mark.parametrize(("i0", "fits"), [(255, True), (256, False)])
def test_shift_gelu_of_tvm_wraps_the_exponential_from_i0_256_on(i0: int, fits: bool) -> None:
    call: Call = ((row(0),), {**TVM.shift_gelu(0.125), "i0": i0})
    with pytest.raises(IntegerOverflow, match="sum of exponentials" if fits else "ShiftGELU: e: .*: 2147483648$"):
        run("ShiftGELU", call, "raise")


def test_shift_gelu_of_tvm_for_a_row_of_negative_numbers() -> None:
    # The maximum is -60 and i0 = 5: for 60, p = 87 and q = -17, so e_m is shifted by 40 and keeps no bit: sigma is 1, not 0.
    x = list(range(-128, -59))
    call: Call = ((row(*x),), TVM.shift_gelu(0.125))
    with pytest.raises(IntegerOverflow, match=r"ShiftGELU: e_m: 1 of 1 elements do not fit int32"):
        run("ShiftGELU", call, "raise")
    y, events = run("ShiftGELU", call)
    np.testing.assert_array_equal(y, times(x, [127] * 66 + [126, 126, 127]), strict=True)
    assert [(e.kind, e.step, e.index) for e in events if e.kind == "wrapped"] == [("wrapped", "e_m", (0,))]


def test_shift_gelu_of_qat_for_a_row_of_negative_numbers() -> None:
    # The sum is clamped, F = 1 and sigma(-60) = (5 * 2**23) >> 24 = 2: -60 * 2 in steps of 0.125 / 128 is -0.12, not 0.
    x = list(range(-128, -59))
    y, events = run("ShiftGELU", ((row(*x),), QAT.shift_gelu(0.125)), "raise")
    np.testing.assert_array_equal(y, times(x, [0] * 63 + [1, 1, 1, 2, 2, 2]), strict=True)
    assert round(int(y[-1]) * 0.125 / 128, 2) == -0.12
    assert [(e.kind, e.step, e.count) for e in events] == [("clamped", "sum of exponentials", 69)]


def test_shift_gelu_of_the_paper_divides_nothing_by_nothing() -> None:
    # For x = 0 and a maximum of 127, both exponentials are exp(-212 steps): p = -304, q = 38, and 8 * 2**(23 - 38) is 0.
    with pytest.raises(ConstraintError, match=r"IntDiv \(C2\)"):
        shift_gelu(row(127, 0), **PAPER.shift_gelu(0.125))
    # Clamped, both are 8: F = 2**31 / (2**26 + 8) = 31, and 31 * 2**26 >> 24 = 124.
    assert shift_gelu(row(127, 0), **{**PAPER.shift_gelu(0.125), "clamp": True}).tolist() == [127 * 124, 0]


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        # e = 5 * 2**23 and e_m = 5 (clamped): F = 51, and 51 * e >> 24 = 127.
        (QAT, 127 * 127),
        (TVM, 127 * 127),
        (IDEAL, 127 * 127),
        # e = 8 * 2**23 and e_m = 0: F = 32, and 32 * e >> 24 = 128, which is not saturated.
        (PAPER, 127 * 128),
    ],
    ids=lambda value: value.name if isinstance(value, Profile) else None,
)
def test_shift_gelu_of_a_single_element(profile: Profile, expected: int) -> None:
    y = shift_gelu(np.full((1, 1, 1), 127, "int8"), **profile.shift_gelu(0.125))
    np.testing.assert_array_equal(y, np.full((1, 1, 1), expected, "int32"), strict=True)


@pytest.mark.parametrize("x", [-7, -1, 0, 1, 7, 100])
def test_shift_gelu_by_shifts_is_1_6875_with_each_shift_floored(x: int) -> None:
    # n = 0 and i0 = 2**20: e = i0 + p / 2, where p is 1.4375 * (z - m), and e_m likewise; the row [x, x] has e = i0.
    z = x + math.floor(x / 2) + math.floor(x / 8) + math.floor(x / 16)
    p = -z + math.floor(-z / 2) - math.floor(-z / 16)
    below = p - 2**20 if p > 0 else p
    e_m = (2**20 + below // 2) * (2 if p > 0 else 1)
    sigma = (2**31 // (2**20 + e_m) * 2**20) >> 1
    wide = attributes(i0=2**20, n=0, half="drop", clamp=False, numerator=2**31, out_bits=31, sigmoid="shifts")
    y, _ = run("ShiftGELU", ((row(x),), wide))
    assert y.tolist() == [(x * sigma + 2**31) % 2**32 - 2**31]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_shift_gelu_takes_the_maximum_of_its_own_row(profile: Profile) -> None:
    x = np.array([[[5, -3, 0], [100, 92, 95]], [[60, 58, 5], [3, 8, 5]]], "int8")
    chosen = profile.shift_gelu(float32(0.05))
    separate = [[shift_gelu(x[i, j], **chosen).tolist() for j in range(2)] for i in range(2)]
    np.testing.assert_array_equal(shift_gelu(x, **chosen), np.array(separate, "int32"), strict=True)


# --- Constraints


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "uint16", "bool", "float32"])
def test_shift_gelu_c1_x_is_int8_or_int16(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"ShiftGELU \(C1\)"):
        shift_gelu(row(0, 0, dtype=dtype), **attributes())
    for accepted in ("int8", "int16"):
        assert shift_gelu(row(127, dtype=accepted), **attributes()).tolist() == [127 * 127]


def test_shift_gelu_c1_the_last_axis_has_at_most_2_16_elements() -> None:
    with pytest.raises(ConstraintError, match=r"ShiftGELU \(C1\)"):
        shift_gelu(np.zeros((1, 2**16 + 1), "int8"), **attributes())
    with pytest.raises(ConstraintError, match=r"ShiftGELU \(C1\)"):
        shift_gelu(np.array(0, "int8"), **attributes())
    y = shift_gelu(np.full((1, 2**16), 127, "int8"), **attributes())
    np.testing.assert_array_equal(y, np.full((1, 2**16), 127 * 127, "int32"), strict=True)


@pytest.mark.parametrize(("accepted", "refused"), [(1, 0), (1, -1), (2**28, 2**28 + 1)])
def test_shift_gelu_c2_i0_is_from_1_to_2_28(accepted: int, refused: int) -> None:
    with pytest.raises(ConstraintError, match=r"ShiftGELU \(C2\)"):
        shift_gelu(row(0), **attributes(i0=refused, n=0))
    assert shift_gelu(row(0), **attributes(i0=accepted, n=0)).tolist() == [0]


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [((1, 0), (1, -1)), ((1, 31), (1, 32)), ((2**15, 31), (2**15 + 1, 31)), ((2**28, 18), (2**28, 19))],
)
def test_shift_gelu_c3_n_is_from_0_to_31_and_the_unit_at_most_2_46(accepted: tuple[int, int], refused: tuple[int, int]) -> None:
    with pytest.raises(ConstraintError, match=r"ShiftGELU \(C3\)"):
        shift_gelu(row(0), **attributes(i0=refused[0], n=refused[1]))
    i0, n = accepted
    assert shift_gelu(row(0), **attributes(i0=i0, n=n)).tolist() == [0]


@pytest.mark.parametrize(("accepted", "refused", "sigma"), [(1, 0, 0), (1, -1, 0), (2**31, 2**31 + 1, 127)])
def test_shift_gelu_c4_the_numerator_is_from_1_to_2_31(accepted: int, refused: int, sigma: int) -> None:
    with pytest.raises(ConstraintError, match=r"ShiftGELU \(C4\)"):
        shift_gelu(row(127), **attributes(numerator=refused))
    assert shift_gelu(row(127), **attributes(numerator=accepted)).tolist() == [127 * sigma]


@pytest.mark.parametrize(
    ("accepted", "refused", "expected"),
    # F * e = 51 * 5 * 2**23 = 2139095040, shifted right by 30 or by 1; the latter times 127 leaves int32.
    [(2, 1, 127), (31, 32, None)],
)
def test_shift_gelu_c5_out_bits_are_from_2_to_31(accepted: int, refused: int, expected: int | None) -> None:
    with pytest.raises(ConstraintError, match=r"ShiftGELU \(C5\)"):
        shift_gelu(row(127), **attributes(out_bits=refused))
    if expected is not None:
        assert shift_gelu(row(127), **attributes(out_bits=accepted)).tolist() == [expected]
        return
    y, _ = run("ShiftGELU", ((row(127),), attributes(out_bits=accepted)))
    assert y.tolist() == [127 * 1069547520 - 32 * 2**32]


def test_shift_gelu_refuses_empty_axes() -> None:
    for shape in ((0,), (2, 0), (0, 2)):
        with pytest.raises(ConstraintError, match=r"ShiftGELU \(no empty axes\)"):
            shift_gelu(np.zeros(shape, "int8"), **attributes())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shift_gelu_refuses_floats(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=dtype):
        shift_gelu(np.zeros(2, dtype), **attributes())


# --- Events


def test_shift_gelu_records_where_p_is_clamped() -> None:
    # i0 = 5 and n = 23: the bound is -115. Of the maximum 127, p = -183; of 127 - 127, 47 - 127 and -128 - 127: 0, -115, -367.
    x = np.array([[127, 47, -128], [0, 0, 0]], "int8")
    _, events = run("ShiftGELU", ((x,), attributes()), "raise")
    assert events == [
        Event("clamped", "", "ShiftGELU", "e: p", count=1, total=6, index=(0, 2), value=-367),
        Event("clamped", "", "ShiftGELU", "e_m: p", count=1, total=2, index=(0, 0), value=-183),
    ]


def test_shift_gelu_records_where_the_sum_is_clamped() -> None:
    # i0 = 128 and the maximum 0: e_m = 2**30, so a sum of 2**31 is clamped, and one of less is not.
    x = np.array([[-1, 0], [-1, -1]], "int8") * np.array([[1], [0]], "int8")
    y, events = run("ShiftGELU", ((x,), attributes(i0=128, sum="clamped")), "raise")
    # e(-1) = 127.5 * 2**23 gives F = 1 too, and sigma = 63
    assert y.tolist() == [[-63, 0], [0, 0]]
    assert events == [Event("clamped", "", "ShiftGELU", "sum of exponentials", count=3, total=4, index=(0, 1), value=2**31)]


def test_shift_gelu_records_an_exponential_that_stops() -> None:
    # i0 = 1 and n = 31: of the maximum -127, p = 183. Then F = 0.
    x = np.array([[0, 0], [-127, -128]], "int8")
    y, events = run("ShiftGELU", ((x,), attributes(i0=1, n=31)), "raise")
    assert y.tolist() == [[0, 0], [0, 0]]
    assert events == [Event("saturated", "", "ShiftGELU", "e_m", count=1, total=2, index=(1, 0), value=2**62)]


def test_shift_gelu_records_sums_that_wrap() -> None:
    # e = e_m = 2**30, and e = 2**30 - 2**22 for x = -1: 2**31 wraps to -2**31, F = 0.
    call: Call = ((row(-1, 0),), {**TVM.shift_gelu(0.125), "i0": 128})
    _, events = run("ShiftGELU", call)
    assert events == [Event("wrapped", "", "ShiftGELU", "sum of exponentials", count=1, total=2, index=(1,), value=2**31)]


def test_shift_gelu_with_32_bits_records_products_that_wrap() -> None:
    # e_m = 0 for the maximum 127 (see above), so F * e = 2**31 with the paper's numerator; -2**31 >> 24 = -128.
    call: Call = ((row(127),), {**PAPER.shift_gelu(0.125), "product_bits": 32})
    with pytest.raises(IntegerOverflow, match=r"ShiftGELU: F \* x: 1 of 1 elements do not fit int32"):
        run("ShiftGELU", call, "raise")
    y, events = run("ShiftGELU", call)
    assert y.tolist() == [-127 * 128]
    assert events == [Event("wrapped", "", "ShiftGELU", "F * x", count=1, total=1, index=(0,), value=2**31)]


def test_shift_gelu_records_results_that_wrap() -> None:
    # sigma = 2139095040 >> 1 = 1069547520: twice that fits int32, 127 times that does not.
    chosen = attributes(out_bits=31)
    call: Call = ((np.array([[127], [100]], "int8"),), chosen)
    with pytest.raises(IntegerOverflow, match=r"ShiftGELU: x \* sigma: 2 of 2 elements do not fit int32"):
        run("ShiftGELU", call, "raise")
    y, events = run("ShiftGELU", call)
    assert y[0].tolist() == [127 * 1069547520 - 32 * 2**32]
    last = [event for event in events if event.step == "x * sigma"]
    assert last == [Event("wrapped", "", "ShiftGELU", "x * sigma", count=2, total=2, index=(0, 0), value=127 * 1069547520)]
