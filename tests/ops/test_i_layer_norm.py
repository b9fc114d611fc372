from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Event
from ivit_ref.ops import i_layer_norm
from ivit_ref.profiles import IDEAL, PAPER, PROFILES, QAT, TVM, Profile
from ivit_ref.testing.calls import CALLS
from tests.agreement import Array, Attributes, Call, assert_agrees, run

ROW = [120, -40, 7, 0, -3, 55, -90, 33]
LARGEST = 2**31 - 1


def attributes(**changes: Any) -> Attributes:
    return {**IDEAL.i_layer_norm(), **changes}


def row(*values: int, dtype: str = "int16") -> Array:
    return np.array(values, dtype)


def unbiased(x: Array) -> tuple[Array, Array]:
    return x, np.zeros(x.shape[-1], "int32")


def normalised(*values: int, dtype: str = "int16", **changes: Any) -> list[int]:
    return i_layer_norm(*unbiased(row(*values, dtype=dtype)), **attributes(**changes)).tolist()


@given(call=CALLS["ILayerNorm"])
def test_i_layer_norm_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("ILayerNorm", call)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_i_layer_norm_agrees_with_its_twin_on_every_int8_pair(profile: Profile) -> None:
    a, b = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    pairs = np.stack([a, b], axis=-1).astype("int8").reshape(-1, 2)
    # One pair in 37: the twin takes its time.
    assert_agrees("ILayerNorm", ((pairs[::37], row(5, -5, dtype="int32")), profile.i_layer_norm()))


# --- Facts


def test_i_layer_norm_golden_vector() -> None:
    # The mean is 10, the sum of squares 27432, and the root as released 167 (165 is right): F = 12859183.
    expected = [707255065, -321479575, -19288774, -64295915, -83584689, 289331617, -642959150, 147880604]
    y = i_layer_norm(*unbiased(row(*ROW, dtype="int8")), **TVM.i_layer_norm())
    np.testing.assert_array_equal(y, row(*expected, dtype="int32"), strict=True)


def test_i_layer_norm_golden_vector_of_qat_floors_the_halves() -> None:
    # 12859183 * -3 and * -13 are odd and negative: one less than TVM's.
    expected = [707255065, -321479575, -19288775, -64295915, -83584690, 289331617, -642959150, 147880604]
    y = i_layer_norm(*unbiased(row(*ROW, dtype="int8")), **QAT.i_layer_norm())
    np.testing.assert_array_equal(y, row(*expected, dtype="int32"), strict=True)


def test_i_layer_norm_golden_vector_of_the_exact_root() -> None:
    # 165**2 = 27225 <= 27432 < 166**2: F = 2147483647 // 165 = 13015052, and y = x - 10.
    expected = [(13015052 * (x - 10)) // 2 for x in ROW]
    for profile in (IDEAL, PAPER):
        y = i_layer_norm(*unbiased(row(*ROW, dtype="int8")), **profile.i_layer_norm())
        np.testing.assert_array_equal(y, row(*expected, dtype="int32"), strict=True)


@pytest.mark.parametrize("profile", [TVM, QAT], ids=lambda profile: profile.name)
def test_i_layer_norm_golden_vector_of_a_wide_row(profile: Profile) -> None:
    # x * 200: the mean is 2050 and the root 33124; 2147483647 // 33124 = 64831 times an even number.
    expected = [711520225, -325775775, -21070075, -66451775, -85901075, 290118725, -649930775, 147490525]
    y = i_layer_norm(*unbiased(row(*(200 * x for x in ROW))), **profile.i_layer_norm())
    np.testing.assert_array_equal(y, row(*expected, dtype="int32"), strict=True)


def test_i_layer_norm_of_tvm_wraps_the_sum_of_a_constant_row() -> None:
    # 171 * 192 = 32832 wraps to -32704: the mean is -170 and not 171.
    constant = np.full((1, 192), 171, "int16")
    with pytest.raises(IntegerOverflow, match=r"ILayerNorm: sum of x: 1 of 1 elements do not fit int16; .*: 32832$"):
        run("ILayerNorm", (unbiased(constant), TVM.i_layer_norm()), "raise")
    y, events = run("ILayerNorm", (unbiased(constant), TVM.i_layer_norm()))
    np.testing.assert_array_equal(y, np.full((1, 192), 77491056, "int32"), strict=True)
    assert [(e.kind, e.step) for e in events] == [("wrapped", "sum of x")]
    assert not i_layer_norm(*unbiased(constant), **QAT.i_layer_norm()).any()


@pytest.mark.parametrize(("length", "largest"), [(192, 170), (384, 85), (768, 42)])
def test_i_layer_norm_of_tvm_holds_means_up_to(length: int, largest: int) -> None:
    assert not i_layer_norm(*unbiased(np.full(length, largest, "int16")), **TVM.i_layer_norm()).any()
    with pytest.raises(IntegerOverflow, match="sum of x"):
        i_layer_norm(*unbiased(np.full(length, largest + 1, "int16")), **TVM.i_layer_norm())


def test_i_layer_norm_of_tvm_wraps_a_dominant_element() -> None:
    # The mean is -5433 / 192 = -28: 32767 + 28 wraps to -32741 and takes the wrong sign. v = 32741**2 + 191 * 172**2.
    x = row(32767, *[-200] * 191)
    with pytest.raises(IntegerOverflow, match=r"ILayerNorm: x - mean: 1 of 192 elements do not fit int16; .*: 32795$"):
        run("ILayerNorm", (unbiased(x), TVM.i_layer_norm()), "raise")
    y, _ = run("ILayerNorm", (unbiased(x), TVM.i_layer_norm()))
    reciprocal = LARGEST // math.isqrt(32741**2 + 191 * 172**2)
    assert y.tolist() == [-(reciprocal * 32741 // 2)] + [-(reciprocal * 172 // 2)] * 191
    assert round(int(y[0]) / 1e9, 4) == -1.0709
    right = i_layer_norm(*unbiased(x), **QAT.i_layer_norm())
    assert round(int(right[0]) / 1e9, 4) == 1.0709


def test_i_layer_norm_of_tvm_wraps_the_sum_of_squares() -> None:
    # 192 * 4730**2 is just above 2**32. The root is 793 and not 65540, so F is 2708049 and F * y leaves int32.
    x = np.tile(row(4730, -4730), 96)
    with pytest.raises(IntegerOverflow, match=r"ILayerNorm: sum of squares: 1 of 1 elements do not fit uint32"):
        run("ILayerNorm", (unbiased(x), TVM.i_layer_norm()), "raise")
    y, events = run("ILayerNorm", (unbiased(x), TVM.i_layer_norm()))
    product = (2708049 * 4730 + 2**31) % 2**32 - 2**31
    assert product < 0
    assert y.tolist() == [-(-product // 2), -product // 2] * 96
    assert [(e.kind, e.step, e.count) for e in events] == [
        ("wrapped", "sum of squares", 1),
        ("wrapped", "F * y", 192),
    ]
    right = [32766 * 4730 // 2, -(32766 * 4730 // 2)]
    assert LARGEST // 65540 == 32766
    assert i_layer_norm(*unbiased(x), **QAT.i_layer_norm()).tolist() == right * 96


@pytest.mark.parametrize(("length", "largest"), [(192, 4729), (384, 3344), (768, 2364)])
def test_i_layer_norm_of_tvm_holds_an_rms_up_to(length: int, largest: int) -> None:
    y = i_layer_norm(*unbiased(np.tile(row(largest, -largest), length // 2)), **TVM.i_layer_norm())
    reciprocal = LARGEST // math.isqrt(largest**2 * length)
    assert y.tolist() == [reciprocal * largest // 2, -(reciprocal * largest // 2)] * (length // 2)
    with pytest.raises(IntegerOverflow, match="sum of squares"):
        i_layer_norm(*unbiased(np.tile(row(largest + 1, -largest - 1), length // 2)), **TVM.i_layer_norm())


def test_i_layer_norm_as_released_is_off_for_a_small_variance() -> None:
    # v = 768: the root is 67 where 27.7 is right, so a row of +-1 (times the deviation) comes out as +-0.41.
    x = np.tile(row(2, -2, dtype="int8"), 96)
    y, events = run("ILayerNorm", (unbiased(x), QAT.i_layer_norm()), "raise")
    assert y.tolist() == [LARGEST // 67, -(LARGEST // 67)] * 96
    assert [(e.kind, e.step, e.value) for e in events] == [("not_converged", "root", 768)]
    assert round(int(y[0]) / 2**30 * math.sqrt(192), 2) == 0.41
    right = i_layer_norm(*unbiased(x), **IDEAL.i_layer_norm())
    assert right.tolist() == [LARGEST // 27, -(LARGEST // 27)] * 96


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_i_layer_norm_of_a_single_element_is_its_bias(profile: Profile, dtype: str) -> None:
    for bias in (-(2**31), -1, 0, 2**31 - 1):
        x = np.full((1, 1, 1), 99, dtype)
        y = i_layer_norm(x, row(bias, dtype="int32"), **profile.i_layer_norm())
        np.testing.assert_array_equal(y, np.full((1, 1, 1), bias, "int32"), strict=True)


# --- Choices


@pytest.mark.parametrize(
    ("x", "rounding", "mean"),
    [
        ((0, 1), "half_even", 0),
        ((1, 2), "half_even", 2),
        ((-1, 0), "half_even", 0),
        ((-2, -1), "half_even", -2),
        ((-3, 0, -1, -1), "half_even", -1),
        ((0, 1), "half_away", 1),
        ((1, 2), "half_away", 2),
        ((2, 3), "half_away", 3),
        ((-1, 0), "half_away", -1),
        ((-2, -1), "half_away", -2),
        ((-3, -2), "half_away", -3),
        ((0, 0, 1), "half_away", 0),
        ((0, 1, 1), "half_away", 1),
        ((0, 0, -1), "half_away", 0),
        ((0, -1, -1), "half_away", -1),
        ((2, 0, 0, 0), "half_away", 1),
        ((-2, 0, 0, 0), "half_away", -1),
        ((1, 0, 2, 4), "half_even", 2),
        ((1, 2), "truncate", 1),
        ((-2, -1), "truncate", -1),
        ((1, 2, 2), "truncate", 1),
        ((-1, -2, -2), "truncate", -1),
    ],
)
def test_i_layer_norm_rounds_the_mean(x: tuple[int, ...], rounding: str, mean: int) -> None:
    deviations = [value - mean for value in x]
    reciprocal = LARGEST // math.isqrt(sum(d * d for d in deviations))
    assert normalised(*x, mean_rounding=rounding) == [(reciprocal * d) // 2 for d in deviations]


def test_i_layer_norm_rules_of_the_mean_differ_at_ties() -> None:
    # The mean is 0.5 or -0.5: y = (0, 1) or (-1, 0), v = 1 and F = 2**31 - 1.
    half = 2**30 - 1
    assert normalised(0, 1, mean_rounding="half_even", halving="truncate") == [0, half]
    assert normalised(0, 1, mean_rounding="half_away", halving="truncate") == [-half, 0]
    assert normalised(0, -1, mean_rounding="half_even", halving="truncate") == [0, -half]
    assert normalised(0, -1, mean_rounding="half_away", halving="truncate") == [half, 0]


def test_i_layer_norm_refuses_other_rules_of_the_mean() -> None:
    for rule in ("floor", "half_up"):
        with pytest.raises(ConstraintError, match=r"ILayerNorm \(attributes\): mean_rounding"):
            normalised(0, 1, mean_rounding=rule)


def test_i_layer_norm_halves_by_its_rule() -> None:
    # y = -1, 0, 1 with v = 2, k = 1: F * y is odd.
    assert normalised(-1, 0, 1, halving="floor") == [-(2**30), 0, 2**30 - 1]
    assert normalised(-1, 0, 1, halving="truncate") == [-(2**30) + 1, 0, 2**30 - 1]


@pytest.mark.parametrize(("start", "steps"), [(0, 0), (0, 10), (2**16, 10)])
def test_i_layer_norm_of_a_constant_row_is_its_bias(start: int, steps: int) -> None:
    y = i_layer_norm(
        row(-7, -7, -7, dtype="int8"), row(3, -4, 5, dtype="int32"), **attributes(sqrt_start=start, sqrt_steps=steps)
    )
    np.testing.assert_array_equal(y, row(3, -4, 5, dtype="int32"), strict=True)


def test_i_layer_norm_of_uint8_goes_beyond_127() -> None:
    # The mean is 170, and v = 2 * 85**2 + 170**2 = 43350, which is above 208**2 and below 209**2.
    reciprocal = LARGEST // 208
    assert normalised(255, 255, 0, dtype="uint8") == [reciprocal * 85 // 2, reciprocal * 85 // 2, -reciprocal * 85]


def test_i_layer_norm_normalises_each_row_by_itself_and_adds_the_bias_by_channel() -> None:
    x = np.array([[[1, 2, 3], [30, 20, 10]], [[7, 7, 7], [-1, 0, 1]]], "int8")
    bias = row(10, 20, 30, dtype="int32")
    y = i_layer_norm(x, bias, **attributes())
    assert y.shape == (2, 2, 3)
    for i, j in np.ndindex(2, 2):
        alone = i_layer_norm(x[i, j], np.zeros(3, "int32"), **attributes())
        np.testing.assert_array_equal(y[i, j], alone + bias, strict=True)
    assert y[1, 0].tolist() == [10, 20, 30]


# --- Constraints


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16", "bool", "float32"])
def test_i_layer_norm_c1_x_is_int8_uint8_or_int16(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"ILayerNorm \(C1\)"):
        i_layer_norm(*unbiased(row(1, 1, dtype=dtype)), **attributes())
    for accepted in ("int8", "uint8", "int16"):
        assert normalised(0, 2, dtype=accepted) == [-(2**30), 2**30 - 1]


def test_i_layer_norm_c1_the_last_axis_has_at_most_2_16_elements() -> None:
    with pytest.raises(ConstraintError, match=r"ILayerNorm \(C1\)"):
        i_layer_norm(*unbiased(np.zeros((1, 2**16 + 1), "int8")), **attributes())
    with pytest.raises(ConstraintError, match=r"ILayerNorm \(C1\)"):
        i_layer_norm(np.array(0, "int8"), np.zeros((), "int32"), **attributes())
    y = i_layer_norm(*unbiased(np.tile(row(127, -128, dtype="int8"), 2**15)), **attributes(mean_rounding="truncate"))
    reciprocal = LARGEST // math.isqrt(2**15 * (127**2 + 128**2))
    assert set(y.tolist()) == {reciprocal * 127 // 2, -(reciprocal * 128 // 2)}


@pytest.mark.parametrize("shape", [(2,), (4,), (1,), (), (1, 3), (3, 1)])
def test_i_layer_norm_c2_bias_has_c_elements(shape: tuple[int, ...]) -> None:
    x = row(0, 2, 4)
    with pytest.raises(ConstraintError, match=r"ILayerNorm \(C2\): bias must be int32\[3\]"):
        i_layer_norm(x, np.zeros(shape, "int32"), **attributes())
    assert i_layer_norm(x, np.zeros(3, "int32"), **attributes()).shape == (3,)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int64", "bool", "float32"])
def test_i_layer_norm_c2_bias_is_int32(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"ILayerNorm \(C2\): bias must be int32\[2\]"):
        i_layer_norm(row(0, 2), np.zeros(2, dtype), **attributes())
    assert i_layer_norm(row(0, 2), np.ones(2, "int32"), **attributes()).tolist() == [1 - 2**30, 2**30]


@pytest.mark.parametrize(("accepted", "refused"), [(0, -1), (2**31, 2**31 + 1)])
def test_i_layer_norm_c3_sqrt_start_is_from_0_to_2_31(accepted: int, refused: int) -> None:
    with pytest.raises(ConstraintError, match=r"ILayerNorm \(C3\)"):
        normalised(0, 0, 4, 4, sqrt_start=refused, sqrt_steps=64)
    # v = 16 and k = 4
    y = normalised(0, 0, 4, 4, sqrt_start=accepted, sqrt_steps=64)
    assert y == [-(LARGEST // 4)] * 2 + [LARGEST // 4] * 2


@pytest.mark.parametrize(("accepted", "refused"), [((0, 0), (1, 0)), ((0, 0), (0, -1)), ((2, 1), (2, 0)), ((2, 64), (2, 65))])
def test_i_layer_norm_c4_sqrt_steps_are_from_0_to_64_and_0_goes_with_start_0(
    accepted: tuple[int, int], refused: tuple[int, int]
) -> None:
    with pytest.raises(ConstraintError, match=r"ILayerNorm \(C4\)"):
        normalised(0, 0, 4, 4, sqrt_start=refused[0], sqrt_steps=refused[1])
    # v = 16 and k = 4, or (2 + 16 / 2) / 2 = 5 after one step from 2
    k = 5 if accepted == (2, 1) else 4
    y = normalised(0, 0, 4, 4, sqrt_start=accepted[0], sqrt_steps=accepted[1])
    assert y == [-(LARGEST // k)] * 2 + [LARGEST // k] * 2


def test_i_layer_norm_refuses_empty_axes() -> None:
    for shape in ((0,), (2, 0), (0, 2)):
        with pytest.raises(ConstraintError, match=r"ILayerNorm \(no empty axes\)"):
            i_layer_norm(*unbiased(np.zeros(shape, "int8")), **attributes())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_i_layer_norm_refuses_floats(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=dtype):
        i_layer_norm(np.ones(2, dtype), np.zeros(2, "int32"), **attributes())
    with pytest.raises(ConstraintError, match=dtype):
        i_layer_norm(np.ones(2, "int8"), np.zeros(2, dtype), **attributes())


# --- Events


def test_i_layer_norm_records_each_width_that_is_left() -> None:
    x = np.array([[0, 0, 0], [32767, 1, -32768], [32767, 32767, 32767]], "int16")
    _, events = run("ILayerNorm", (unbiased(x), TVM.i_layer_norm()))
    # 3 * 32767 = 98301 wraps to 32765, of which a third is 10921: 21846 is left, three times.
    assert [(e.kind, e.step, e.count, e.total, e.index, e.value) for e in events] == [
        ("wrapped", "sum of x", 1, 3, (2, 0), 98301),
        ("not_converged", "root", 1, 3, (0, 0), 0),
    ]


def test_i_layer_norm_records_a_deviation_that_wraps() -> None:
    x = np.array([[0, 0, 0], [32767, -32768, -32768]], "int16")
    _, events = run("ILayerNorm", (unbiased(x), TVM.i_layer_norm()))
    # The sum -32769 wraps to 32767, of which a third is 10922: -32768 - 10922 leaves int16 twice.
    found = [(e.step, e.count, e.total, e.index, e.value) for e in events if e.kind == "wrapped"]
    assert found[:2] == [("sum of x", 1, 2, (1, 0), -32769), ("x - mean", 2, 6, (1, 1), -43690)]


@pytest.mark.parametrize(
    ("bias", "fits"), [(0, True), (2**30, True), (2**30 + 1, False), (-(2**30), True), (-(2**30) - 1, False)]
)
def test_i_layer_norm_records_results_that_wrap(bias: int, fits: bool) -> None:
    # o is -(2**30) and 2**30 - 1: with a bias of 2**30 the larger is just 2**31 - 1.
    call: Call = ((row(0, 2), np.full(2, bias, "int32")), attributes())
    o = [-(2**30), 2**30 - 1]
    if fits:
        assert run("ILayerNorm", call, "raise")[0].tolist() == [value + bias for value in o]
        return
    with pytest.raises(IntegerOverflow, match=r"ILayerNorm: o \+ bias: 1 of 2 elements do not fit int32"):
        run("ILayerNorm", call, "raise")
    y, events = run("ILayerNorm", call)
    place, wraps_to = (1, -(2**31)) if bias > 0 else (0, 2**31 - 1)
    exact = o[place] + bias
    assert y[place] == wraps_to
    assert events == [Event("wrapped", "", "ILayerNorm", "o + bias", count=1, total=2, index=(place,), value=exact)]
