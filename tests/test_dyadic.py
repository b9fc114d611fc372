from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ivit_ref import dyadic
from ivit_ref.errors import ScaleError
from ivit_ref.oracle.rounding import float32, rounded
from ivit_ref.testing.elements import anywhere

ROUNDINGS = ("floor", "truncate", "half_up", "half_away", "half_even")
HALF = Fraction(1, 2)


def batch_frexp(ratio: float) -> tuple[int, int]:
    """The released function, for one number: multiplier and shift, neither brought into a range."""
    mantissa, exponent = math.frexp(ratio)
    return int(Decimal(mantissa * 2**31).quantize(Decimal("1"), rounding=ROUND_HALF_UP)), 31 - exponent


def ratios(low: float = 2.0**-32, high: float = 2.0**31) -> st.SearchStrategy[float]:
    """Both signs; mantissas with few bits, with ties behind the 31st bit, and just below a power of two."""
    magnitudes = st.floats(low, high)
    mantissas = st.builds(lambda n, tail: (n + tail) / 2.0**31, anywhere(2**30, 2**31 - 1), st.sampled_from([0.0, 0.25, 0.5]))
    top = st.integers(1, 2**23).map(lambda n: 1.0 - n * 2.0**-53)
    exponents = st.integers(math.frexp(low)[1], math.frexp(high)[1])
    built = st.builds(math.ldexp, mantissas | top, exponents).filter(lambda r: low <= r <= high)
    return st.builds(lambda sign, r: sign * r, st.sampled_from([-1.0, 1.0]), magnitudes | built)


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(ratios())
def test_from_real_is_the_released_function(ratio: float) -> None:
    multiplier, shift = batch_frexp(ratio)
    if abs(multiplier) == 2**31:
        multiplier, shift = multiplier // 2, shift - 1
    assume(shift >= 0)
    assert dyadic.from_real(ratio) == (multiplier, shift)
    assert abs(multiplier) < 2**31
    assert 0 <= shift <= 62


@pytest.mark.parametrize(
    ("ratio", "multiplier", "shift"),
    [
        (1.0, 2**30, 30),
        (0.0625, 2**30, 34),
        (-3.0, -3 * 2**29, 29),
        (2.0**-32, 2**30, 62),
        (-(2.0**-32), -(2**30), 62),
        (2.0**30, 2**30, 0),
        (2.0**31 - 1, 2**31 - 1, 0),
        (2.0**31 - 0.5 - 2.0**-22, 2**31 - 1, 0),
        # A tie behind the 31st bit, away from zero.
        (2.0**30 + 0.5, 2**30 + 1, 0),
        (-(2.0**30) - 0.5, -(2**30) - 1, 0),
        (2.0**30 + 1.5, 2**30 + 2, 0),
        (2.0**30 + 0.5 - 2.0**-22, 2**30, 0),
        # A mantissa that rounds up to 2**31 is the next power of two.
        (1 - 2.0**-53, 2**30, 30),
        (1 - 2.0**-32, 2**30, 30),
        (1 - 2.0**-32 - 2.0**-53, 2**31 - 1, 31),
        (-1 + 2.0**-53, -(2**30), 30),
        # One with a shift of 63 before and of 62 after.
        (2.0**-32 - 2.0**-85, 2**30, 62),
    ],
)
def test_from_real_by_hand(ratio: float, multiplier: int, shift: int) -> None:
    assert dyadic.from_real(ratio) == (multiplier, shift)


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(
    ratios(5e-324, math.nextafter(2.0**-32, 0)),
    st.lists(st.sampled_from([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1]) | anywhere(-(2**31), 2**31 - 1), max_size=4),
)
def test_a_ratio_below_2_to_the_minus_32_gives_the_same_integers(ratio: float, values: list[int]) -> None:
    multiplier, shift = batch_frexp(ratio)
    released = Fraction(multiplier, 2**shift)
    ours = dyadic.to_fraction(*dyadic.from_real(ratio))
    for x in (-(2**31), 2**31 - 1, -1, 1, *values):
        for rounding in ROUNDINGS:
            assert rounded(x * ours, rounding) == rounded(x * released, rounding)


@pytest.mark.parametrize("ratio", [2.0**-33, 2.0**-32 - 2.0**-63, 2.0**-62, 1e-300, 5e-324])
def test_a_ratio_below_2_to_the_minus_32_is_one_step(ratio: float) -> None:
    assert dyadic.from_real(ratio) == (1, 62)
    assert dyadic.from_real(-ratio) == (-1, 62)


@pytest.mark.parametrize("ratio", [0.0, -0.0, math.nan, math.inf, -math.inf])
def test_a_ratio_is_finite_and_not_zero(ratio: float) -> None:
    with pytest.raises(ScaleError, match="dyadic: the gain must be finite and not zero, but found"):
        dyadic.from_real(ratio, "the gain")


@pytest.mark.parametrize("ratio", [2.0**31, -(2.0**31), 2.0**31 - 0.5, 1e300])
def test_a_ratio_that_reaches_2_to_the_31_is_refused(ratio: float) -> None:
    with pytest.raises(ScaleError, match=r"dyadic: the gain must be below 2\*\*31 in magnitude"):
        dyadic.from_real(ratio, "the gain")


def test_to_fraction_is_exact() -> None:
    assert dyadic.to_fraction(-3, 62) == Fraction(-3, 2**62)
    assert dyadic.to_fraction(2**30, 30) == 1


def steps() -> st.SearchStrategy[float]:
    return st.builds(lambda sign, s: sign * s, st.sampled_from([-1, 1]), st.floats(2.0**-14, 2.0**14, width=32))


@settings(deadline=None)
@given(st.lists(st.tuples(steps(), steps()), min_size=1, max_size=4))
def test_between_divides_in_float64(pairs: list[tuple[float, float]]) -> None:
    source, target = [s for s, _ in pairs], [t for _, t in pairs]
    expected = [dyadic.from_real(float(Fraction(s) / Fraction(t))) for s, t in pairs]
    assert dyadic.between(source, target) == (tuple(m for m, _ in expected), tuple(s for _, s in expected))


def test_between_repeats_a_single_scale() -> None:
    expected = ((2**30, 2**30, 2**30), (30, 31, 32))
    assert dyadic.between([0.5, 0.25, 0.125], [0.5]) == expected
    assert dyadic.between([0.5], [0.5, 1.0, 2.0]) == expected
    assert dyadic.between((0.5,), (1.0,)) == ((2**30,), (31,))


@pytest.mark.parametrize("wrong", [0.0, math.nan, math.inf, -math.inf])
def test_between_refuses_what_is_no_scale(wrong: float) -> None:
    for source, target in (([1.0, wrong], [1.0]), ([1.0], [wrong]), ([1.0], [1.0, wrong])):
        with pytest.raises(ScaleError, match=r"dyadic: the gain must be of finite scales other than zero, but found .* / "):
            dyadic.between(source, target, "the gain")


def test_between_refuses_ratios_out_of_range() -> None:
    for source, target in ((1e-300, 1e300), (1e300, 1e-300), (2.0**31, 1.0)):
        with pytest.raises(ScaleError, match="dyadic: the gain must be"):
            dyadic.between([source], [target], "the gain")


def dyadics() -> st.SearchStrategy[tuple[int, int]]:
    small = st.integers(-9, 9)
    any_multiplier = st.sampled_from([0, 2**31 - 1, 1 - 2**31]) | small | anywhere(1 - 2**31, 2**31 - 1)
    return st.tuples(any_multiplier, st.sampled_from([0, 62]) | st.integers(30, 33) | st.integers(0, 62))


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(st.lists(st.tuples(dyadics(), dyadics()), min_size=1, max_size=4))
def test_common_shift_loses_half_a_step_at_most(pairs: list[tuple[tuple[int, int], tuple[int, int]]]) -> None:
    first, second = ((tuple(pair[i][0] for pair in pairs), tuple(pair[i][1] for pair in pairs)) for i in (0, 1))
    after = dyadic.common_shift(first, second)
    shifts = tuple(min(a[1], b[1]) for a, b in pairs)
    for i in (0, 1):
        assert after[i][1] == shifts
        for multiplier, common, (old, old_shift) in zip(*after[i], (pair[i] for pair in pairs), strict=True):
            assert type(multiplier) is int
            assert abs(multiplier) < 2**31
            exact = Fraction(old, 2**old_shift)
            assert abs(Fraction(multiplier, 2**common) - exact) <= Fraction(1, 2 ** (common + 1))
            assert multiplier == rounded(exact * 2**common, "half_away")


def test_common_shift_by_hand() -> None:
    """Half a step goes away from zero; each channel has its own shift."""
    first = ((3, -3, 5, -5, 5, 7), (5, 5, 5, 5, 6, 2))
    second = ((1, 1, 1, 1, 1, 9), (4, 4, 4, 4, 4, 4))
    shifts = (4, 4, 4, 4, 4, 2)
    assert dyadic.common_shift(first, second) == (((2, -2, 3, -3, 1, 7), shifts), ((1, 1, 1, 1, 1, 2), shifts))


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(st.lists(steps(), min_size=1, max_size=5))
def test_product_rounds_to_float32_after_each_factor(factors: list[float]) -> None:
    expected = factors[0]
    for factor in factors[1:]:
        expected = float32(Fraction(expected) * Fraction(factor))
    assert dyadic.product(*([factor] for factor in factors)) == (expected,)


@settings(deadline=None)
@given(st.lists(st.floats(2.0**-100, 2.0**-50, width=32), min_size=2, max_size=2))
def test_product_may_be_subnormal_but_not_zero(factors: list[float]) -> None:
    expected = float32(Fraction(factors[0]) * Fraction(factors[1]))
    if expected:
        assert dyadic.product([factors[0]], [factors[1]]) == (expected,)
    else:
        with pytest.raises(ScaleError, match=r"product: scales must have a product within float32, but found 0\.0"):
            dyadic.product([factors[0]], [factors[1]])


def test_product_stays_within_float32() -> None:
    assert dyadic.product([2.0**100], [-(2.0**27)]) == (-(2.0**127),)
    assert dyadic.product([2.0**-100], [2.0**-49]) == (2.0**-149,)
    for factor in (2.0**28, -(2.0**28)):
        with pytest.raises(ScaleError, match=r"product: scales must have a product within float32, but found -?inf"):
            dyadic.product([1.0, 2.0**100], [factor])
    with pytest.raises(ScaleError, match=r"product: scales must have a product within float32, but found 0\.0"):
        dyadic.product([1.0, 2.0**-100], [2.0**-50])


def test_product_rounds_its_factors_first() -> None:
    tenth = float32(Fraction(1, 10))
    assert dyadic.product([0.1]) == (tenth,)
    assert dyadic.product([0.1], [0.1]) == (float32(Fraction(tenth) ** 2),)


def test_product_repeats_single_scales() -> None:
    assert dyadic.product([0.5, 0.25], [0.5], [-2.0]) == (-0.5, -0.25)
    assert dyadic.product([0.5], [0.5, 0.25]) == (0.25, 0.125)


@given(st.floats(-(2.0**127), 2.0**127))
def test_float32_is_the_nearest(value: float) -> None:
    assert dyadic.float32(value) == float32(Fraction(value))
    assert type(dyadic.float32(value)) is float


def test_float32_of_what_is_beyond_it() -> None:
    assert dyadic.float32(1e300) == math.inf
    assert dyadic.float32(-1e-300) == 0


def test_power_of_two() -> None:
    assert dyadic.power_of_two(-15) == (2.0**-15,)
    assert dyadic.power_of_two(3) == (8.0,)


SCALES = {text: float32(Fraction(text)) for text in ("1", "1/2", "1/8", "1/1024", "1/20", "3/100", "1/127")}


@pytest.mark.parametrize(
    ("scale", "rounds_to", "ceil", "floor_plus_one"),
    [
        ("1", 1, 1, 2),
        ("1/2", 2, 2, 3),
        ("1/8", 8, 8, 9),
        ("1/1024", 1024, 1024, 1025),
        # The float32 next to 1/20 is above it: its reciprocal is below 20 in float64 and 20 in float32.
        ("1/20", 20, 20, 20),
        ("3/100", 33, 34, 34),
        # The float32 next to 1/127 is below it: its reciprocal is above 127 in float64 and 127 in float32.
        ("1/127", 127, 127, 128),
    ],
)
def test_exp_unit_of_known_scales(scale: str, rounds_to: int, ceil: int, floor_plus_one: int) -> None:
    assert dyadic.exp_unit(SCALES[scale], "round") == rounds_to
    assert dyadic.exp_unit(SCALES[scale], "ceil") == ceil
    assert dyadic.exp_unit(SCALES[scale], "floor_plus_one") == floor_plus_one


@pytest.mark.parametrize(("k", "half"), [(0, "2"), (1, "2/3"), (7, "2/15")])
def test_exp_unit_rounds_exactly(k: int, half: str) -> None:
    """1 / (2 / (2k + 1)) is k + 1/2; the float32 next to it is above or below, but for k = 0, a tie that goes up."""
    scale = float32(Fraction(half))
    expected = k if Fraction(scale) > Fraction(half) else k + 1
    assert dyadic.exp_unit(scale, "round") == expected


def test_exp_unit_of_the_sigmoid_by_hand() -> None:
    """1 / (1.702 / 8) is 4.7; 1 / (1.702 / 1024) is 601.6."""
    for scale, below in ((0.125, 4), (2.0**-10, 601)):
        assert dyadic.exp_unit(scale, "round", sigmoid=True) == below + 1
        assert dyadic.exp_unit(scale, "ceil", sigmoid=True) == below + 1
        assert dyadic.exp_unit(scale, "floor_plus_one", sigmoid=True) == below + 1


def units() -> st.SearchStrategy[float]:
    """Float32 scales, those next to unit fractions more often."""
    near = st.builds(lambda n, part: float32(Fraction(part).limit_denominator(2000) / n), st.integers(1, 5000), parts())
    return (st.floats(2.0**-28, 1.0, width=32) | near).filter(lambda s: 2.0**-28 <= s <= 1.0)


def parts() -> st.SearchStrategy[Fraction]:
    return st.sampled_from([Fraction(1), Fraction(1000, 1702), Fraction(2, 3)])


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(units(), st.booleans())
def test_exp_unit_round_is_exact(scale: float, sigmoid: bool) -> None:
    real = Fraction(scale) * (Fraction(1702, 1000) if sigmoid else 1)
    assert dyadic.exp_unit(scale, "round", sigmoid) == math.floor(1 / real + HALF)


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(units(), st.booleans())
def test_exp_unit_ceil_is_in_float32(scale: float, sigmoid: bool) -> None:
    folded = float32(Fraction(scale) * Fraction(float32(Fraction(1702, 1000)))) if sigmoid else scale
    assert dyadic.exp_unit(scale, "ceil", sigmoid) == -math.floor(float32(-1 / Fraction(folded)))


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(units(), st.booleans())
def test_exp_unit_floor_plus_one_is_in_float64(scale: float, sigmoid: bool) -> None:
    """``float`` of a fraction is the nearest float64."""
    folded = float(Fraction(scale) * Fraction(1.702)) if sigmoid else scale
    reciprocal = float(1 / Fraction(folded))
    assert dyadic.exp_unit(scale, "floor_plus_one", sigmoid) == math.floor(float(Fraction(reciprocal) + 1))


@pytest.mark.parametrize("rule", ["round", "ceil", "floor_plus_one"])
def test_exp_unit_refuses_scales_that_are_too_small(rule: dyadic.UnitRule) -> None:
    assert dyadic.exp_unit(2.0**-28, rule) == 2**28 + (rule == "floor_plus_one")
    for scale in (float(np.nextafter(np.float32(2.0**-28), np.float32(0))), 0.0, -1.0, math.nan, math.inf, -math.inf, 5e-324):
        with pytest.raises(ScaleError, match=r"i0: the scale must be finite, positive and at least 2\*\*-28, but found"):
            dyadic.exp_unit(scale, rule)


def test_exp_unit_refuses_scales_that_are_too_large() -> None:
    assert dyadic.exp_unit(2.0, "round") == 1
    with pytest.raises(ScaleError, match="i0: the scale must give i0 >= 1, but i0 is 0"):
        dyadic.exp_unit(2.0 + 2.0**-22, "round")
    assert dyadic.exp_unit(1.0, "round", sigmoid=True) == 1
    with pytest.raises(ScaleError, match="i0: the scale must give i0 >= 1, but i0 is 0"):
        dyadic.exp_unit(2.0, "round", sigmoid=True)
    for rule in ("ceil", "floor_plus_one"):
        assert dyadic.exp_unit(2.0**100, rule) == 1


@given(st.floats(2.0**-20, 2.0, width=32), st.sampled_from([-0.6931, 2.7, 2.8, -1.769]), st.sampled_from([1, 2]))
def test_unit_constant_rounds_like_torch(scale: float, value: float, power: Literal[1, 2]) -> None:
    """The power, its reciprocal and the product with the number: each is rounded to float32."""
    raised = Fraction(float32(Fraction(scale) ** power))
    reciprocal = Fraction(float32(1 / raised))
    product = Fraction(float32(reciprocal * Fraction(float32(Fraction(value)))))
    assert dyadic.unit_constant(value, scale, power) == math.floor(product)


def test_unit_constant_divides_through_the_reciprocal() -> None:
    found = [
        s for s in np.linspace(0.003, 0.03, 9001, dtype=np.float32) if math.floor(np.float32(2.7921147) / (s * s)) != via(s)
    ]
    assert found
    assert all(dyadic.unit_constant(2.7921147, float(s), 2) == via(s) for s in found)


def via(scale: np.float32) -> int:
    return math.floor(np.float32(1) / (scale * scale) * np.float32(2.7921147))


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, 1e-30])
def test_unit_constant_refuses_scales_without_a_finite_constant(scale: float) -> None:
    with pytest.raises(ScaleError, match=r"^constant: the scale must "):
        dyadic.unit_constant(2.0, scale, 2)


# --- Constants of the peers


@pytest.mark.parametrize("length", [1, 2, 48, 192, 384, 768, 1024])
def test_the_l1_constant_is_the_root_of_half_pi_over_the_length(length: int) -> None:
    found = dyadic.to_fraction(*dyadic.l1_constant(length))
    assert abs(float(found) ** 2 * 2 * length / math.pi - 1) < 2**-29
    assert dyadic.l1_constant(length, 1.0) == dyadic.from_real(1 / math.sqrt(length))


@pytest.mark.parametrize(("length", "constant"), [(0, 1.0), (-1, 1.0), (8, 0.0), (8, -1.25), (8, math.nan), (8, math.inf)])
def test_the_l1_constant_refuses(length: int, constant: float) -> None:
    with pytest.raises(ScaleError, match=r"^dyadic: the (length of a row|constant of L1LayerNorm) must be"):
        dyadic.l1_constant(length, constant)


def test_the_base_two_step_is_the_nearest_float32() -> None:
    for shift in range(8):
        step = Fraction(dyadic.base_two_step(shift)) * 2**shift
        assert abs(float(step) - math.log(2)) <= 2**-25
        assert step == Fraction(11629080, 2**24)
