from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivit_ref import dyadic, scales
from ivit_ref.errors import ConstraintError, ScaleError
from ivit_ref.events import Context, Event
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import tflite_softmax
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls_runtimes import CALLS
from ivit_ref.testing.elements import Call
from tests.agreement import assert_agrees

LOGITS = [127, 100, 64, 32, 0, -32, -64, -128]


def at(scale: float, dtype: str = "int8") -> dict[str, Any]:
    multiplier, left_shift, diff_min = dyadic.softmax_multiplier(scale)
    return {"multiplier": multiplier, "left_shift": left_shift, "diff_min": diff_min, "dtype": dtype}


def softmax(*row: int, **attributes: Any) -> list[int]:
    result: list[int] = tflite_softmax(np.array(row, np.int8), **attributes).tolist()
    return result


@settings(deadline=None, max_examples=2 * settings().max_examples)
@given(CALLS["TFLiteSoftmax"])
def test_tflite_softmax_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("TFLiteSoftmax", call)


@pytest.mark.parametrize("scale", [0.05, 0.25])
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_tflite_softmax_agrees_with_its_twin_on_every_difference(scale: float, dtype: str) -> None:
    pairs = np.stack([np.full(256, 127), np.arange(-128, 128)], axis=-1).astype(np.int8)
    assert_agrees("TFLiteSoftmax", ((pairs,), at(scale, dtype)))


@pytest.mark.parametrize(
    ("scale", "constants", "narrow", "fine"),
    [
        (
            0.25,
            (1073741824, 25, -62),
            [127, -128, -128, -128, -128, -128, -128, -128],
            [32691, -32691, -32768, -32768, -32768, -32768, -32768, -32768],
        ),
        (
            0.05,
            (1717986944, 22, -496),
            [67, -77, -120, -126, -128, -128, -128, -128],
            [17148, -19828, -30629, -32336, -32681, -32750, -32764, -32768],
        ),
        (
            0.03,
            (2061584256, 21, -992),
            [24, -61, -105, -119, -125, -127, -128, -128],
            [6054, -15498, -26903, -30522, -31908, -32439, -32642, -32750],
        ),
        (
            0.01,
            (1374389504, 20, -1984),
            [-53, -70, -88, -99, -107, -113, -117, -122],
            [-13457, -18026, -22483, -25299, -27345, -28830, -29908, -31260],
        ),
    ],
)
def test_tflite_softmax_gives_what_the_compiled_source_gives(
    scale: float, constants: tuple[int, int, int], narrow: list[int], fine: list[int]
) -> None:
    """tensorflow/tflite-micro at 90b983c, ``PreprocessSoftmaxScaling`` and ``reference_ops::Softmax``, built with g++."""
    assert dyadic.softmax_multiplier(scale) == constants
    assert softmax(*LOGITS, **at(scale)) == narrow
    assert softmax(*LOGITS, **at(scale, "int16")) == fine


def test_tflite_softmax_leaves_out_what_is_below_diff_min() -> None:
    assert at(0.25)["diff_min"] == -62
    assert softmax(0, -62, -63, **at(0.25, "int16")) == [32767, -32768, -32768]
    assert softmax(0, -1, -2, **{**at(0.25, "int16"), "diff_min": -1}) == [*softmax(0, -1, **at(0.25, "int16")), -32768]


# --- Properties


def real(x: npt.NDArray[np.int8], scale: float) -> npt.NDArray[np.float64]:
    e = np.exp(scale * (x.astype(np.float64) - x.max(axis=-1, keepdims=True)))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize(("dtype", "bound"), [("int8", 0.501), ("int16", 25.0)])
@pytest.mark.parametrize("scale", [2.0**-11, 0.01, 0.05, 0.25, 1.0, 4.0])
def test_tflite_softmax_p3_is_near_the_real_softmax(scale: float, dtype: str, bound: float) -> None:
    levels = 2.0 ** (8 if dtype == "int8" else 16)
    rng = np.random.default_rng(0)
    for length in (1, 2, 17, 197, 400):
        x = rng.integers(-128, 128, (50, length)).astype(np.int8)
        x[:20] //= 16
        attributes = at(dyadic.float32(scale), dtype)
        p = tflite_softmax(x, **attributes) + levels / 2
        assert np.abs(p - np.minimum(real(x, dyadic.float32(scale)) * levels, levels - 1)).max() <= bound


@settings(deadline=None)
@given(CALLS["TFLiteSoftmax"], st.data())
def test_tflite_softmax_p1_p2_keeps_order_and_places(call: Call, data: st.DataObject) -> None:
    (x,), attributes = call
    y = tflite_softmax(x, **attributes)
    order = np.argsort(x, axis=-1, kind="stable")
    assert (np.diff(np.take_along_axis(y, order, axis=-1).astype(np.int64), axis=-1) >= 0).all()
    assert (y.max(axis=-1) > np.iinfo(y.dtype).min).all()
    permutation = np.array(data.draw(st.permutations(range(x.shape[-1]))))
    np.testing.assert_array_equal(tflite_softmax(x[..., permutation], **attributes), y[..., permutation])
    room = data.draw(st.integers(-128 - int(x.min()), 127 - int(x.max())))
    np.testing.assert_array_equal(tflite_softmax((x.astype(np.int64) + room).astype(np.int8), **attributes), y)


@pytest.mark.parametrize(("length", "total"), [(1, 255), (2, 256), (171, 171), (197, 197), (511, 511)])
def test_tflite_softmax_p3_of_equal_logits_adds_up_to(length: int, total: int) -> None:
    y = tflite_softmax(np.full(length, -3, np.int8), **at(0.05))
    assert int((y.astype(np.int64) + 128).sum()) == total


def test_tflite_softmax_p2_keeps_the_maximum_at_the_largest_sum() -> None:
    """511 equal logits and a tail that brings the sum next to 2**28: 256 / 511.9 is still rounded up to 1."""
    row = [0] * 511 + [-45] * 9
    y = softmax(*row, **at(0.05))
    assert y[0] == -127
    assert set(y[511:]) == {-128}


# --- What follows from the scale


def test_tflite_softmax_follows_from_the_scale_and_has_a_zero_point() -> None:
    types = [TensorType("int8", (1, 8))]
    followed = scales.follow_from_scales("TFLiteSoftmax", {}, [Quant((0.25,), zero_point=5)], types, None)
    assert followed == {"multiplier": 2**30, "left_shift": 25, "diff_min": -62}
    assert scales.follow_from_scales("TFLiteSoftmax", {}, [None], types, None) == {}
    quant = REGISTRY["TFLiteSoftmax"].result_quant
    assert quant([None], types, at(0.25)) == Quant((2.0**-8,), zero_point=-128)
    assert quant([None], types, at(0.25, "int16")) == Quant((2.0**-16,), zero_point=-32768)


def test_tflite_softmax_needs_one_scale() -> None:
    types = [TensorType("int8", (1, 2))]
    for quant in (Quant((0.25, 0.5), axis=1), Quant((-0.25,))):
        with pytest.raises(ConstraintError, match=r"^TFLiteSoftmax \(scales\): x must have one positive scale, but found"):
            scales.follow_from_scales("TFLiteSoftmax", {}, [quant], types, None)


@pytest.mark.parametrize("scale", [2.0**-26, 0.0, -0.25, float("inf"), float("nan")])
def test_softmax_multiplier_refuses_scales(scale: float) -> None:
    with pytest.raises(ScaleError, match=r"^softmax: the scale must be finite and above 2\*\*-26, but found "):
        dyadic.softmax_multiplier(scale)


@pytest.mark.parametrize("scale", [32.0, 1e9])
def test_softmax_multiplier_has_a_ceiling(scale: float) -> None:
    assert dyadic.softmax_multiplier(scale) == (2**31 - 1, 31, 0)
    assert softmax(5, 4, 5, **at(scale)) == [0, -128, 0]


# --- Constraints


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "bool", "float32"])
def test_tflite_softmax_c1_x_is_int8(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"^TFLiteSoftmax \(C1\): "):
        tflite_softmax(np.zeros(2, dtype), **at(0.25))


@pytest.mark.parametrize("shape", [(), (1, 2**16 + 1)])
def test_tflite_softmax_c1_there_is_a_row_of_at_most_2_16(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConstraintError, match=r"^TFLiteSoftmax \(C1\): "):
        tflite_softmax(np.zeros(shape, np.int8), **at(0.25))


@pytest.mark.parametrize("changed", [{"multiplier": -1}, {"multiplier": 2**31}, {"left_shift": -1}, {"left_shift": 32}])
def test_tflite_softmax_c2_the_multiplier_and_its_shift_have_bounds(changed: dict[str, int]) -> None:
    with pytest.raises(ConstraintError, match=r"^TFLiteSoftmax \(C2\): "):
        softmax(0, 0, **{**at(0.25), "diff_min": 0, **changed})


@pytest.mark.parametrize(("left_shift", "refused"), [(25, 1), (25, -63), (26, -32), (31, -1)])
def test_tflite_softmax_c3_no_difference_leaves_q5_26(left_shift: int, refused: int) -> None:
    attributes = {**at(0.25), "left_shift": left_shift}
    with pytest.raises(ConstraintError, match=r"^TFLiteSoftmax \(C3\): diff_min must be from -?\d+ to 0, but found "):
        softmax(0, 0, **{**attributes, "diff_min": refused})
    assert softmax(0, -1, **{**attributes, "diff_min": min(refused + 1, 0)})[0] > 0


def test_tflite_softmax_refuses_other_results() -> None:
    with pytest.raises(ConstraintError, match=r"dtype: must be one of int8, int16, but found 'uint8'"):
        softmax(0, 0, **{**at(0.25), "dtype": "uint8"})


@pytest.mark.parametrize(("dtype", "longest"), [("int8", 511), ("int16", 4095)])
def test_tflite_softmax_c4_the_sum_has_room(dtype: str, longest: int) -> None:
    y = tflite_softmax(np.zeros(longest, np.int8), **at(0.25, dtype))
    assert y.min() == y.max() > np.iinfo(dtype).min
    total = (longest + 1) * 2**19
    for overflow in ("raise", "wrap"):
        with pytest.raises(ConstraintError, match=rf"^TFLiteSoftmax \(C4\): .* for {dtype}, but found {total}$"):
            tflite_softmax(np.zeros(longest + 1, np.int8), **at(0.25, dtype), ctx=Context(overflow))  # type: ignore[arg-type]


# --- Events


def test_tflite_softmax_saturates_a_one_hot_row_and_says_so() -> None:
    events: list[Event] = []
    x = np.array([[0, 0], [-128, 127]], np.int8)
    assert tflite_softmax(x, **at(0.25), ctx=Context(emit=events.append)).tolist() == [[0, 0], [-128, 127]]
    assert events == [Event("saturated", "", "TFLiteSoftmax", "y", 1, 4, (1, 1), 128)]
