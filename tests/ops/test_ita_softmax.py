from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref import Quant, TensorType, dyadic
from ivit_ref.errors import ConstraintError
from ivit_ref.ops import ita_softmax
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls_baselines import ita_softmax_calls
from tests.agreement import Array, Call, assert_agrees, run


def softmax(*values: int, block: int = 16, shift: int = 0) -> list[int]:
    result: list[int] = ita_softmax(np.array(values, "int8"), block=block, shift=shift).tolist()
    return result


def in_one_piece(*values: int) -> list[int]:
    """The form of the release that is not streaming (``fastSoftmax``), with exact fractions: one sum, rounded down once."""
    distances = [max(values) - v for v in values]
    factor = 65280 // math.floor(sum((Fraction(256, 2**d) for d in distances), Fraction(0)))
    return [math.floor(Fraction(factor, 2**d)) for d in distances]


@given(call=ita_softmax_calls())
def test_ita_softmax_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("ITASoftmax", call)


def test_ita_softmax_agrees_with_its_twin_on_every_int8_pair() -> None:
    a, b = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    pairs = np.stack([a, b], axis=-1).astype("int8").reshape(-1, 2)
    for block, shift in ((16, 0), (1, 0), (1, 5)):
        assert_agrees("ITASoftmax", ((pairs[::61],), {"block": block, "shift": shift}))


# --- Facts: what PyITA/softmax.py of pulp-platform/ITA gives, run with its own 16 columns and a mask of nothing


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0, -9, -9], [255, 0, 0]),
        ([0, -64], [255, 0]),
        ([-9] * 16 + [0], [0] * 16 + [247]),
        ([0] + [-9] * 16, [255] + [0] * 16),
        ([7] * 255, [1] * 255),
        ([7] * 256, [0] * 256),
        ([0, 0], [127, 127]),
    ],
)
def test_ita_softmax_gives_what_the_release_gives(row: list[int], expected: list[int]) -> None:
    assert softmax(*row) == expected


def test_ita_softmax_differs_from_the_form_in_one_piece_from_three_elements_on() -> None:
    """Of every row of one and of two elements both make the same; (0, -9, -9) is the first of three at which they part."""
    assert all(softmax(-d, block=16) == in_one_piece(-d) == [255] for d in range(129))
    assert all(softmax(127, 127 - d) == in_one_piece(127, 127 - d) for d in range(256))
    differing = [d for d in product(range(20), repeat=2) if softmax(0, -d[0], -d[1]) != in_one_piece(0, -d[0], -d[1])]
    assert differing == [(9, 9)]
    assert (in_one_piece(0, -9, -9), softmax(0, -9, -9)) == ([254, 0, 0], [255, 0, 0])


def test_ita_softmax_takes_the_last_block_as_short_as_it_is() -> None:
    for length in range(1, 40):
        row = np.random.default_rng(length).integers(-12, 12, length)
        filled = [*row.tolist(), *[-128] * (-length % 16)]  # 2**-116 of the maximum and less: adds nothing
        assert softmax(*row.tolist()) == softmax(*filled)[:length]


def test_ita_softmax_rounds_distances_half_up() -> None:
    # 16 steps of 1/32 octave are one half, 15 are less: 65280 / (256 + 128) = 170, 65280 / 512 = 127.
    assert softmax(16, 0, shift=5) == [170, 85]
    assert softmax(15, 0, shift=5) == [127, 127]


@pytest.mark.parametrize(("shift", "step"), [(0, 0.6931472), (5, 0.021660849)])
def test_ita_softmax_is_exp_at_the_step_of_its_shift(shift: int, step: float) -> None:
    assert dyadic.base_two_step(shift) == pytest.approx(math.log(2) / 2**shift, rel=2**-24)
    assert dyadic.base_two_step(shift) == dyadic.float32(step)


# --- Properties


@given(call=ita_softmax_calls(), by=st.integers(-255, 255))
def test_ita_softmax_p1_does_not_see_a_shift(call: Call, by: int) -> None:
    (x,), attributes = call
    wide = x.astype("int64")
    by = max(-128 - int(wide.min()), min(127 - int(wide.max()), by))
    found = run("ITASoftmax", (((wide + by).astype("int8"),), attributes))[0]
    np.testing.assert_array_equal(found, run("ITASoftmax", call)[0])


@given(call=ita_softmax_calls())
def test_ita_softmax_p2_keeps_order(call: Call) -> None:
    (x,), _ = call
    y, events = run("ITASoftmax", call, "raise")
    order = np.argsort(x, axis=-1, kind="stable")
    assert (np.diff(np.take_along_axis(y.astype("int64"), order, axis=-1), axis=-1) >= 0).all()
    assert events == []


@given(call=ita_softmax_calls())
def test_ita_softmax_p3_adds_up_to_at_most_255_in_whole_octaves(call: Call) -> None:
    x, attributes = call
    y, _ = run("ITASoftmax", (x, {**attributes, "shift": 0}))
    assert int(y.sum(axis=-1, dtype="int64").max()) <= 255


def test_ita_softmax_p3_adds_up_to_more_where_distances_are_rounded_step_by_step() -> None:
    """At 32 steps to the octave, 16 and 16 steps are an octave each, and 32 are one."""
    row = [0] * 16 + [16] * 16 + [32]
    # ((16 * 256 >> 1) + 16 * 256 >> 1) + 256 = 3328, and 65280 / 3328 = 19.
    assert softmax(*row, shift=5) == [9] * 32 + [19]
    assert sum(softmax(*row, shift=5)) == 307


def test_ita_softmax_depends_on_the_order() -> None:
    """Beside the maximum 2**-9 is dropped sixteen times; in a block before it, 16 * 256 >> 9 is 8."""
    assert softmax(*[-9] * 16, 0)[-1] == 65280 // 264 == 247
    assert softmax(0, *[-9] * 16)[0] == 255


# --- Constraints


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "bool", "float32"])
def test_ita_softmax_c1_x_is_int8(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"^ITASoftmax \(C1\): x must be int8, but found"):
        ita_softmax(np.zeros(2, dtype), block=16, shift=0)


def test_ita_softmax_c1_the_last_axis_has_at_most_2_16_elements() -> None:
    for shape in ((2**16 + 1,), ()):
        with pytest.raises(ConstraintError, match=r"ITASoftmax \(C1\)"):
            ita_softmax(np.zeros(shape, "int8"), block=16, shift=0)
    assert not ita_softmax(np.zeros(2**16, "int8"), block=2**16, shift=0).any()


@pytest.mark.parametrize(("accepted", "refused"), [(1, 0), (1, -16), (2**16, 2**16 + 1)])
def test_ita_softmax_c2_block_is_from_1_to_2_16(accepted: int, refused: int) -> None:
    with pytest.raises(ConstraintError, match=rf"ITASoftmax \(C2\): .*, but found {refused}$"):
        softmax(0, -1, block=refused)
    assert softmax(0, -1, block=accepted) == [170, 85]


@pytest.mark.parametrize(("accepted", "refused", "expected"), [(0, -1, [170, 85]), (7, 8, [127, 127])])
def test_ita_softmax_c3_shift_is_from_0_to_7(accepted: int, refused: int, expected: list[int]) -> None:
    with pytest.raises(ConstraintError, match=rf"ITASoftmax \(C3\): .*, but found {refused}$"):
        softmax(0, -1, shift=refused)
    assert softmax(0, -1, shift=accepted) == expected


# --- Scales


def meaning(x: Quant | None, shift: int) -> Quant | None:
    return REGISTRY["ITASoftmax"].result_quant([x], [TensorType("int8", (3,))], {"block": 16, "shift": shift})


def test_ita_softmax_takes_the_scale_of_its_shift_alone() -> None:
    for shift in (0, 5):
        own = Quant((dyadic.base_two_step(shift),))
        assert meaning(own, shift) == meaning(None, shift) == Quant((dyadic.float32(1 / 255),))
        for wrong in (Quant((0.0625,)), Quant((dyadic.base_two_step(shift + 1),)), Quant(own.scale * 3, axis=0)):
            with pytest.raises(
                ConstraintError, match=r"^ITASoftmax \(scales\): a step of x must be worth ln\(2\) / 2\*\*shift"
            ):
                meaning(wrong, shift)


def test_ita_softmax_does_not_see_a_zero_point() -> None:
    assert meaning(Quant((dyadic.base_two_step(0),), zero_point=-7), 0) == meaning(None, 0)


def test_ita_softmax_of_each_row_by_itself() -> None:
    x: Array = np.random.default_rng(0).integers(-20, 20, (2, 3, 19)).astype("int8")
    y = ita_softmax(x, block=16, shift=0)
    for place in np.ndindex(2, 3):
        assert y[place].tolist() == softmax(*x[place].tolist())
