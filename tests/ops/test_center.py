from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.build import GraphBuilder
from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context, Event
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import center
from ivit_ref.oracle.center import center as oracle
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

ROW = np.array([0, 5, 127], np.int8)


@settings(deadline=None)
@given(CALLS["Center"])
def test_center_equals_the_oracle(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), attributes["dtype"])
    events: list[Event] = []
    np.testing.assert_array_equal(center(x, **attributes), expected, strict=True)
    np.testing.assert_array_equal(center(x, **attributes, ctx=Context("wrap", emit=events.append)), expected, strict=True)
    assert events == []


def test_center_takes_the_zero_point_away() -> None:
    y = center(np.array([[0, 3, 255]], np.uint8), zero_point=3, dtype="int16")
    np.testing.assert_array_equal(y, np.array([[-3, 0, 252]], np.int16), strict=True)
    y = center(np.array([-128, -1, 127], np.int8), zero_point=-1, dtype="int32")
    np.testing.assert_array_equal(y, np.array([-127, 0, 128], np.int32), strict=True)


@pytest.mark.parametrize(
    ("dtype", "zero_point", "result", "ends"),
    [
        ("int8", 127, "int16", (-255, 0)),
        ("int8", -128, "int16", (0, 255)),
        ("uint8", 255, "int16", (-255, 0)),
        ("uint8", 0, "int16", (0, 255)),
        ("int16", 2**15 - 1, "int32", (1 - 2**16, 0)),
        ("int16", -(2**15), "int32", (0, 2**16 - 1)),
        ("uint16", 2**16 - 1, "int32", (1 - 2**16, 0)),
        ("uint16", 0, "int32", (0, 2**16 - 1)),
    ],
)
def test_center_has_room_for_both_ends(dtype: str, zero_point: int, result: str, ends: tuple[int, int]) -> None:
    x = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    np.testing.assert_array_equal(center(x, zero_point=zero_point, dtype=result), np.array(ends, result), strict=True)


def test_center_c1_takes_8_and_16_bits() -> None:
    for dtype in ("int8", "uint8", "int16", "uint16"):
        y = center(ROW.astype(dtype), zero_point=5, dtype="int32")
        np.testing.assert_array_equal(y, np.array([-5, 0, 122], np.int32), strict=True)
    for dtype in ("bool", "int32", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"Center \(C1\): x must be int8 or uint8 or int16 or uint16, but found "):
            center(ROW.astype(dtype), zero_point=0, dtype="int32")


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("int8", -128, 127), ("uint8", 0, 255), ("int16", -(2**15), 2**15 - 1), ("uint16", 0, 2**16 - 1)],
)
def test_center_c2_zero_point_is_a_value_of_the_dtype_of_x(dtype: str, low: int, high: int) -> None:
    for zero_point in (low, high):
        y = center(np.array([zero_point], dtype), zero_point=zero_point, dtype="int32")
        np.testing.assert_array_equal(y, np.array([0], np.int32), strict=True)
    for zero_point in (low - 1, high + 1):
        with pytest.raises(
            ConstraintError, match=rf"Center \(C2\): zero_point must be a value of {dtype}, but found {zero_point}$"
        ):
            center(np.array([0], dtype), zero_point=zero_point, dtype="int32")


@pytest.mark.parametrize(("dtype", "zero_point"), [("int16", 0), ("uint16", 2**15)])
def test_center_c3_dtype_holds_every_difference(dtype: str, zero_point: int) -> None:
    x = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    y = center(x, zero_point=zero_point, dtype="int16")
    np.testing.assert_array_equal(y, np.array([-(2**15), 2**15 - 1], np.int16), strict=True)
    for beside in (zero_point - 1, zero_point + 1):
        must = rf"Center \(C3\): dtype must hold {dtype} less {beside}, but found int16"
        with pytest.raises(ConstraintError, match=must):
            center(x, zero_point=beside, dtype="int16")
        assert center(x, zero_point=beside, dtype="int32").tolist() == [int(v) - beside for v in x.tolist()]


def test_center_c3_is_about_the_dtype_and_not_the_values() -> None:
    with pytest.raises(ConstraintError, match=r"Center \(C3\)"):
        center(np.array([0], np.uint16), zero_point=0, dtype="int16")


@pytest.mark.parametrize(
    ("name", "value"), [("dtype", "int8"), ("dtype", "int64"), ("dtype", "uint16"), ("zero_point", 0.0), ("zero_point", True)]
)
def test_center_refuses_other_attributes(name: str, value: object) -> None:
    attributes: dict[str, object] = {"zero_point": 0, "dtype": "int16", name: value}
    with pytest.raises(ConstraintError, match=rf"Center \(attributes\): {name}"):
        center(ROW, **attributes)  # type: ignore[arg-type]


def test_center_refuses_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Center \(no empty axes\)"):
        center(np.zeros((2, 0), np.int8), zero_point=0, dtype="int16")


def test_center_scale_stays_and_the_zero_point_goes() -> None:
    types = [TensorType("uint8", (2, 2))]
    attributes = {"zero_point": 3, "dtype": "int16"}
    for before, after in (
        (Quant((0.5,), zero_point=3), Quant((0.5,))),
        (Quant((0.5,)), Quant((0.5,))),
        (Quant((0.5, -0.25), zero_point=3, axis=1), Quant((0.5, -0.25), axis=1)),
        (None, None),
    ):
        assert REGISTRY["Center"].result_quant([before], types, attributes) == after


def test_center_zero_point_follows_from_the_scale() -> None:
    b = GraphBuilder("centered")
    x = b.input("x", "uint8", (2,), Quant((0.5,), zero_point=200))
    y = b.node("Center", x, name="y", dtype="int16")
    assert y.quant == Quant((0.5,))
    assert dict(b.nodes[0].attributes) == {"zero_point": 200, "dtype": "int16"}
