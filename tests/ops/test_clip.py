from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context, Event
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import clip
from ivit_ref.oracle.clip import clip as oracle
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

ROW = np.array([0, 1, 2, 3, 4], np.int8)
DTYPES = [
    ("int8", -128, 127),
    ("uint8", 0, 255),
    ("int16", -(2**15), 2**15 - 1),
    ("uint16", 0, 2**16 - 1),
    ("int32", -(2**31), 2**31 - 1),
]


@settings(deadline=None)
@given(CALLS["Clip"])
def test_clip_equals_the_oracle(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), x.dtype)
    events: list[Event] = []
    np.testing.assert_array_equal(clip(x, **attributes), expected, strict=True)
    np.testing.assert_array_equal(clip(x, **attributes, ctx=Context("wrap", emit=events.append)), expected, strict=True)
    assert events == []


def test_clip_holds_both_sides() -> None:
    np.testing.assert_array_equal(clip(ROW, low=1, high=3), np.array([1, 1, 2, 3, 3], np.int8), strict=True)
    np.testing.assert_array_equal(clip(ROW, low=2, high=2), np.array([2] * 5, np.int8), strict=True)


def test_clip_is_relu_from_the_zero_point_on() -> None:
    x = np.array([[-128, -3, -2, 127]], np.int8)
    np.testing.assert_array_equal(clip(x, low=-2, high=127), np.array([[-2, -2, -2, 127]], np.int8), strict=True)


def test_clip_is_no_saturation() -> None:
    events: list[Event] = []
    clip(ROW, low=1, high=3, ctx=Context(emit=events.append))
    assert events == []


@pytest.mark.parametrize(("dtype", "low", "high"), DTYPES)
def test_clip_c1_takes_integers_up_to_int32(dtype: str, low: int, high: int) -> None:
    x = np.array([low, low + 1, high - 1, high], dtype)
    y = clip(x, low=low + 1, high=high - 1)
    np.testing.assert_array_equal(y, np.array([low + 1, low + 1, high - 1, high - 1], dtype), strict=True)


@pytest.mark.parametrize("dtype", ["bool", "int64", "float32"])
def test_clip_c1_refuses_other_dtypes(dtype: str) -> None:
    must = r"Clip \(C1\): x must be int8 or uint8 or int16 or uint16 or int32, but found "
    with pytest.raises(ConstraintError, match=must):
        clip(ROW.astype(dtype), low=0, high=1)


@pytest.mark.parametrize(("dtype", "low", "high"), DTYPES)
def test_clip_c2_bounds_are_values_of_the_dtype(dtype: str, low: int, high: int) -> None:
    x = np.array([low, 1, high], dtype)
    np.testing.assert_array_equal(clip(x, low=low, high=high), x, strict=True)
    assert clip(x, low=low, high=low).tolist() == [low] * 3
    assert clip(x, low=high, high=high).tolist() == [high] * 3
    for bad_low, bad_high in ((low - 1, high), (low, high + 1)):
        must = rf"Clip \(C2\): low and high must be in this order and within {dtype}, but found {bad_low} and {bad_high}$"
        with pytest.raises(ConstraintError, match=must):
            clip(x, low=bad_low, high=bad_high)


def test_clip_c2_low_is_not_above_high() -> None:
    assert clip(ROW, low=3, high=3).tolist() == [3] * 5
    with pytest.raises(ConstraintError, match=r"Clip \(C2\): .* but found 3 and 2$"):
        clip(ROW, low=3, high=2)


def test_clip_refuses_other_attributes_and_empty_axes() -> None:
    for name in ("low", "high"):
        bounds: dict[str, object] = {"low": 0, "high": 1, name: 0.5}
        with pytest.raises(ConstraintError, match=rf"Clip \(attributes\): {name}"):
            clip(ROW, **bounds)  # type: ignore[arg-type]
    with pytest.raises(ConstraintError, match=r"Clip \(no empty axes\)"):
        clip(np.ones((2, 0), np.int8), low=0, high=1)


@pytest.mark.parametrize(
    "quant", [Quant((0.5,)), Quant((-0.5,), zero_point=3), Quant((0.5, -0.25), zero_point=-3, axis=1), None]
)
def test_clip_scale_is_that_of_x(quant: Quant | None) -> None:
    types = [TensorType("int8", (3, 2))]
    assert REGISTRY["Clip"].result_quant([quant], types, {"low": -3, "high": 5}) == quant
