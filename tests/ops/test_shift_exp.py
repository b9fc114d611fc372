from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Event
from ivit_ref.ops import shift_exp
from ivit_ref.profiles import IDEAL, PAPER, PROFILES, QAT, TVM, Profile
from ivit_ref.testing.calls import CALLS
from tests.agreement import Attributes, Call, assert_agrees, run

SCALES = [float(np.float32(2 ** (-k / 5))) for k in range(50)]
"""From 1 to 2**-9.8; one in five is a power of two."""

DELTAS = [0, -1, -5, -10, -20, -50, -100, -200, -255]


def attributes(**changes: Any) -> Attributes:
    return {"i0": 8, "n": 15, "clamp": True, "half": "keep", "quotient": "floor", "exp_bits": 64, **changes}


def column(*values: int, dtype: str = "int8") -> Any:
    return np.array(values, dtype)


def float32(scale: float) -> float:
    return float(np.float32(scale))


@given(call=CALLS["ShiftExp"])
def test_shift_exp_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("ShiftExp", call)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_shift_exp_agrees_with_its_twin_on_every_int8_difference(profile: Profile) -> None:
    deltas = np.arange(-255, 1, dtype="int16")
    for scale in SCALES:
        softmax = profile.shift_exp(scale)
        gelu = {key: profile.shift_gelu(scale)[key] for key in softmax}
        for chosen in (softmax, gelu):
            assert_agrees("ShiftExp", ((deltas,), chosen))


# --- Facts


@pytest.mark.parametrize(
    ("profile", "scale", "expected"),
    [
        (PAPER, 0.125, [262144, 229376, 131072, 81920, 24576, 512, 1, 0, 0]),
        (QAT, 0.125, [262144, 245760, 147456, 81920, 24576, 576, 8, 8, 8]),
        (TVM, 0.125, [589824, 524288, 327680, 196608, 65536, 2560, 10, 9, 9]),
        (PAPER, 0.05, [655360, 622592, 524288, 425984, 262144, 57344, 4608, 32, 2]),
        (QAT, 0.05, [655360, 638976, 540672, 425984, 262144, 59392, 4736, 33, 20]),
        (TVM, 0.05, [1310720, 1245184, 1048576, 851968, 524288, 114688, 9216, 64, 20]),
        (PAPER, 0.03, [1081344, 1048576, 950272, 851968, 622592, 245760, 55296, 2688, 496]),
        (QAT, 0.03, [1114112, 1097728, 999424, 884736, 655360, 266240, 62464, 3392, 656]),
        (TVM, 0.03, [2228224, 2162688, 1966080, 1769472, 1310720, 524288, 122880, 6656, 1280]),
    ],
    ids=lambda value: value.name if isinstance(value, Profile) else None,
)
def test_shift_exp_golden_vectors(profile: Profile, scale: float, expected: list[int]) -> None:
    y = shift_exp(column(*DELTAS, dtype="int16"), **profile.shift_exp(float32(scale)))
    np.testing.assert_array_equal(y, column(*expected, dtype="int64"), strict=True)


@pytest.mark.parametrize(("scale", "i0"), [(0.25, 4), (0.1, 10), (0.05, 20), (0.01, 100)])
def test_shift_exp_of_paper_and_qat_differ_by_at_most_half_a_unit(scale: float, i0: int) -> None:
    paper, qat = PAPER.shift_exp(float32(scale)), QAT.shift_exp(float32(scale))
    assert (paper["i0"], qat["i0"]) == (i0, i0)
    deltas = np.arange(-255, 1, dtype="int16")
    assert np.abs(shift_exp(deltas, **paper) - shift_exp(deltas, **qat)).max() == 2**15 // 2


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
@pytest.mark.parametrize(("profile", "expected"), [(PAPER, 262144), (QAT, 262144), (TVM, 589824), (IDEAL, 262144)])
def test_shift_exp_of_a_single_zero_is_the_unit(profile: Profile, expected: int, dtype: str) -> None:
    y = shift_exp(np.zeros((1, 1, 1), dtype), **profile.shift_exp(0.125))
    np.testing.assert_array_equal(y, np.full((1, 1, 1), expected, "int64"), strict=True)


@pytest.mark.parametrize(("i0", "fits"), [(255, True), (256, False)])
def test_shift_exp_of_tvm_with_n_23_leaves_int32_at_256(i0: int, fits: bool) -> None:
    call: Call = ((column(0),), {**TVM.shift_exp(0.125), "i0": i0, "n": 23})
    if fits:
        assert run("ShiftExp", call, "raise")[0].tolist() == [255 * 2**23]
        return
    with pytest.raises(IntegerOverflow, match=r"ShiftExp: y: 1 of 1 elements do not fit int32; .*: 2147483648$"):
        run("ShiftExp", call, "raise")
    assert run("ShiftExp", call, "wrap")[0].tolist() == [-(2**31)]


# --- Choices: x = 3 and i0 = 4 by hand, where every choice shows


@pytest.mark.parametrize(
    ("half", "quotient", "expected"),
    [
        # p = 3 + 1 - 0 = 4, 4 / -4 = -1 without a rest: e = 4 * 2
        ("keep", "floor", 8),
        ("drop", "truncate", 8),
    ],
)
def test_shift_exp_of_a_positive_x_that_divides(half: str, quotient: str, expected: int) -> None:
    assert shift_exp(column(3), **attributes(i0=4, n=0, half=half, quotient=quotient)).tolist() == [expected]


@pytest.mark.parametrize(
    ("half", "quotient", "expected"),
    [
        # p = 5 + 2 - 0 = 7; floor: q = -2, r = -1, i_b = 3.5 or 3, times 4
        ("keep", "floor", 14),
        ("drop", "floor", 12),
        # truncate: q = -1, r = 3, i_b = 5.5 or 5, times 2
        ("keep", "truncate", 11),
        ("drop", "truncate", 10),
    ],
)
def test_shift_exp_of_a_positive_x_with_a_rest(half: str, quotient: str, expected: int) -> None:
    assert shift_exp(column(5), **attributes(i0=4, n=0, half=half, quotient=quotient)).tolist() == [expected]


def test_shift_exp_without_clamp_goes_down_to_zero() -> None:
    # p = -14 (-10 - 5 + 1): q = 14, and 1 * 2**(3 - 14) is nothing; clamped to p = -3 it is 1
    assert shift_exp(column(-10), **attributes(i0=1, n=3, clamp=False)).tolist() == [0]
    assert shift_exp(column(-10), **attributes(i0=1, n=3, clamp=True)).tolist() == [1]


# --- Constraints


@pytest.mark.parametrize("dtype", ["int64", "uint8", "uint16", "bool", "float32"])
def test_shift_exp_c1_x_is_int8_int16_or_int32(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"ShiftExp \(C1\)"):
        shift_exp(np.zeros(2, dtype), **attributes())
    for accepted in ("int8", "int16", "int32"):
        assert shift_exp(np.zeros(2, accepted), **attributes()).tolist() == [2**18, 2**18]


@pytest.mark.parametrize(("accepted", "refused"), [(1, 0), (1, -1), (2**28, 2**28 + 1)])
def test_shift_exp_c2_i0_is_from_1_to_2_28(accepted: int, refused: int) -> None:
    with pytest.raises(ConstraintError, match=r"ShiftExp \(C2\)"):
        shift_exp(column(0), **attributes(i0=refused, n=0))
    assert shift_exp(column(0), **attributes(i0=accepted, n=0)).tolist() == [accepted]


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [((1, 0), (1, -1)), ((1, 31), (1, 32)), ((2**15, 31), (2**15 + 1, 31)), ((2**28, 18), (2**28, 19))],
)
def test_shift_exp_c3_n_is_from_0_to_31_and_the_unit_at_most_2_46(accepted: tuple[int, int], refused: tuple[int, int]) -> None:
    with pytest.raises(ConstraintError, match=r"ShiftExp \(C3\)"):
        shift_exp(column(0), **attributes(i0=refused[0], n=refused[1]))
    i0, n = accepted
    assert shift_exp(column(0), **attributes(i0=i0, n=n)).tolist() == [i0 * 2**n]


def test_shift_exp_refuses_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"ShiftExp \(no empty axes\).*\[2, 0\]"):
        shift_exp(np.zeros((2, 0), "int8"), **attributes())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_shift_exp_refuses_floats(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=dtype):
        shift_exp(np.zeros(2, dtype), **attributes())


# --- Events


def test_shift_exp_records_where_p_is_clamped() -> None:
    # With i0 = 8 and n = 2 the bound is -16; p is 0 and -7, -28 and -143. p = -16 itself (x = -11) is not cut off.
    call: Call = ((np.array([[0, -5, -11], [-11, -20, -100]], "int8"),), attributes(n=2))
    y, events = run("ShiftExp", call)
    assert y.tolist() == [[32, 18, 8], [8, 8, 8]]
    assert events == [Event("clamped", "", "ShiftExp", "y: p", count=2, total=6, index=(1, 1), value=-28)]


def test_shift_exp_stops_at_2_62_and_says_so() -> None:
    # i0 = 1: y = 2**(31 + p); p = 30 for x = 21 and 32 for x = 22.
    y, events = run("ShiftExp", ((column(21, 22, 127),), attributes(i0=1, n=31)))
    np.testing.assert_array_equal(y, column(2**61, 2**62, 2**62, dtype="int64"), strict=True)
    assert events == [Event("saturated", "", "ShiftExp", "y", count=2, total=3, index=(1,), value=2**62)]


def test_shift_exp_of_the_largest_x_stops_at_2_62() -> None:
    y, _ = run("ShiftExp", ((column(2**31 - 1, -(2**31), dtype="int32"),), attributes(i0=1, n=31, clamp=False)))
    assert y.tolist() == [2**62, 0]


def test_shift_exp_records_what_wraps() -> None:
    # i0 = 3 and n = 30: 3 * 2**30 has the low bits of -2**30.
    y, events = run("ShiftExp", ((column(-128, 0, 0),), attributes(i0=3, n=30, exp_bits=32)))
    assert y.tolist() == [3, -(2**30), -(2**30)]
    assert [(e.kind, e.step, e.count, e.total, e.index, e.value) for e in events] == [
        ("clamped", "y: p", 1, 3, (0,), -184),
        ("wrapped", "y", 2, 3, (1,), 3 * 2**30),
    ]


def test_shift_exp_with_32_bits_keeps_the_low_bits_of_any_x() -> None:
    # i0 = 1: y = 2**p, and its low 32 bits are 0 from p = 32 on (x = 22); p = 30 for x = 21.
    y, _ = run("ShiftExp", ((column(21, 22, 127),), attributes(i0=1, n=0, exp_bits=32)))
    assert y.tolist() == [2**30, 0, 0]
