from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Context, Event
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import conv
from ivit_ref.oracle.conv import conv as oracle
from ivit_ref.oracle.widths import Overflow
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

PLAIN: dict[str, Any] = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "group": 1}
X = np.arange(1, 10, dtype=np.int8).reshape(1, 1, 3, 3)
CORNERS = np.array([[[[1, 10], [0, 100]]]], np.int8)
BIAS = np.array([1000], np.int32)
TYPES = [TensorType("int8", (1, 2, 4, 4)), TensorType("int8", (2, 2, 1, 1)), TensorType("int32", (2,))]


@settings(deadline=None)
@given(CALLS["Conv"])
def test_conv_equals_the_oracle_or_both_raise(call: Call) -> None:
    arrays, attributes = call
    lists = [array.tolist() for array in arrays]
    try:
        expected = oracle(*lists, **attributes)
    except Overflow:
        with pytest.raises(IntegerOverflow, match="Conv: accumulator"):
            conv(*arrays, **attributes)
        return
    np.testing.assert_array_equal(conv(*arrays, **attributes), np.array(expected, np.int32), strict=True)


@settings(deadline=None)
@given(CALLS["Conv"])
def test_conv_equals_the_oracle_when_it_wraps(call: Call) -> None:
    arrays, attributes = call
    lists = [array.tolist() for array in arrays]
    expected = np.array(oracle(*lists, **attributes, overflow="wrap"), np.int32)
    events: list[Event] = []
    y = conv(*arrays, **attributes, ctx=Context("wrap", emit=events.append))
    np.testing.assert_array_equal(y, expected, strict=True)
    try:
        oracle(*lists, **attributes)
    except Overflow:
        assert [event.kind for event in events] == ["wrapped"]
    else:
        assert events == []


def test_conv_correlates_and_does_not_flip_the_kernel() -> None:
    y = conv(X, CORNERS, BIAS, **PLAIN)
    expected = [[1 + 20 + 500, 2 + 30 + 600], [4 + 50 + 800, 5 + 60 + 900]]
    np.testing.assert_array_equal(y, np.array([[expected]], np.int32) + 1000, strict=True)


def test_conv_pads_are_top_left_bottom_right() -> None:
    one = np.array([[[[1]]]], np.int8)
    y = conv(one, one, np.array([7], np.int32), **{**PLAIN, "pads": (1, 2, 0, 3)})
    np.testing.assert_array_equal(y, np.array([[[[7, 7, 7, 7, 7, 7], [7, 7, 8, 7, 7, 7]]]], np.int32), strict=True)


def test_conv_of_uint8_reads_bytes_above_127() -> None:
    y = conv(np.array([[[[255]]]], np.uint8), np.array([[[[-128]]]], np.int8), BIAS, **PLAIN)
    assert y.tolist() == [[[[1000 - 255 * 128]]]]


@pytest.mark.parametrize("x", [-(2**15), -129, -1, 0, 255, 256, 2**15 - 1])
@pytest.mark.parametrize("weight", [-(2**15), -129, -64, -1, 63, 64, 4095, 4096, 2**15 - 1])
def test_conv_of_int16_multiplies_whole_numbers(x: int, weight: int) -> None:
    y = conv(np.full((1, 1, 1, 1), x, np.int16), np.full((1, 1, 1, 1), weight, np.int16), BIAS, **PLAIN)
    np.testing.assert_array_equal(y, np.array([[[[x * weight + 1000]]]], np.int32), strict=True)


def test_conv_of_int16_raises_beyond_int32() -> None:
    """Two products of the least int16 are 2**31; padded with zeros, one of them is left."""
    x, weight = np.full((1, 1, 1, 2), -(2**15), np.int16), np.full((1, 1, 1, 2), -(2**15), np.int16)
    assert conv(x, weight, np.array([-1], np.int32), **PLAIN).tolist() == [[[[2**31 - 1]]]]
    with pytest.raises(IntegerOverflow, match=r"Conv: accumulator: 1 of 3 elements do not fit int32; .*: 2147483648$"):
        conv(x, weight, np.array([0], np.int32), **{**PLAIN, "pads": (0, 1, 0, 1)})
    y = conv(x, weight, np.array([0], np.int32), **{**PLAIN, "pads": (0, 1, 0, 1)}, ctx=Context("wrap"))
    assert y.tolist() == [[[[2**30, -(2**31), 2**30]]]]


def test_conv_embeds_patches() -> None:
    image = np.arange(32, dtype=np.uint8).reshape(1, 2, 4, 4)
    weight = np.array([[[[1, 1], [1, 1]], [[0, 0], [0, 0]]], [[[0, 0], [0, 0]], [[1, 0], [0, 0]]]], np.int8)
    y = conv(image, weight, np.array([0, 0], np.int32), **{**PLAIN, "strides": (2, 2)})
    np.testing.assert_array_equal(y, np.array([[[[10, 18], [42, 50]], [[16, 18], [24, 26]]]], np.int32), strict=True)


def test_conv_groups_see_their_own_channels() -> None:
    image = np.array([1, 2, 3, 4], np.int8).reshape(1, 4, 1, 1)
    weight = np.array([[1, 10], [1, 0], [1, 10], [0, 1]], np.int8).reshape(4, 2, 1, 1)
    y = conv(image, weight, np.zeros(4, np.int32), **{**PLAIN, "group": 2})
    assert y.reshape(-1).tolist() == [21, 1, 43, 4]


def test_conv_wraps_and_says_where() -> None:
    image = np.array([[[[0, 1], [1, 0]]]], np.int8)
    weight = np.array([[[[0]]], [[[1]]]], np.int8)
    bias = np.array([2**31 - 1, 2**31 - 1], np.int32)
    events: list[Event] = []
    y = conv(image, weight, bias, **PLAIN, ctx=Context("wrap", node="embed", emit=events.append))
    assert y.reshape(-1).tolist() == [2**31 - 1] * 4 + [2**31 - 1, -(2**31), -(2**31), 2**31 - 1]
    assert events == [Event("wrapped", "embed", "Conv", "accumulator", 2, 8, (0, 1, 0, 1), 2**31)]
    with pytest.raises(IntegerOverflow) as caught:
        conv(image, weight, bias, **PLAIN)
    assert (caught.value.op, caught.value.count, caught.value.index) == ("Conv", 2, (0, 1, 0, 1))


def test_conv_c1_takes_x_up_to_int32_narrow_signed_weights_and_an_int32_bias() -> None:
    for dtype in ("int8", "uint8", "int16", "int32"):
        for weight in ("int8", "int16"):
            assert conv(X.astype(dtype), CORNERS.astype(weight), BIAS, **PLAIN)[0, 0, 0, 0] == 1521
    for dtype in ("bool", "uint16", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"Conv \(C1\): x "):
            conv(X.astype(dtype), CORNERS, BIAS, **PLAIN)
    for dtype in ("bool", "uint8", "uint16", "int32", "float32"):
        with pytest.raises(ConstraintError, match=r"Conv \(C1\): weight must be int8 or int16, but found "):
            conv(X, CORNERS.astype(dtype), BIAS, **PLAIN)
    for dtype in ("int8", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"Conv \(C1\): bias "):
            conv(X, CORNERS, BIAS.astype(dtype), **PLAIN)


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "bias_shape", "group"),
    [
        ((2, 3, 3), (1, 2, 1, 1), (1,), 1),
        ((1, 2, 3, 3), (2, 1, 1), (2,), 1),
        ((1, 2, 3, 3), (1, 1, 1, 1), (1,), 1),
        ((1, 2, 3, 3), (1, 2, 1, 1), (2,), 1),
        ((1, 2, 3, 3), (2, 2, 1, 1), (1, 2), 1),
        ((1, 4, 3, 3), (3, 2, 1, 1), (3,), 2),
        ((1, 3, 3, 3), (2, 1, 1, 1), (2,), 2),
        ((1, 2, 3, 3), (2, 2, 1, 1), (2,), 0),
        ((1, 2, 3, 3), (2, 2, 1, 1), (2,), -1),
    ],
)
def test_conv_c2_refuses_shapes_that_do_not_match(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], bias_shape: tuple[int, ...], group: int
) -> None:
    arrays = np.ones(x_shape, np.int8), np.ones(weight_shape, np.int8), np.ones(bias_shape, np.int32)
    with pytest.raises(ConstraintError, match=r"Conv \(C2\)"):
        conv(*arrays, **{**PLAIN, "group": group})


@pytest.mark.parametrize(("group", "per_group"), [(1, 4), (2, 2), (4, 1)])
def test_conv_c2_takes_groups_that_divide(group: int, per_group: int) -> None:
    arrays = np.ones((2, 4, 1, 1), np.int8), np.ones((4, per_group, 1, 1), np.int8), np.ones(4, np.int32)
    y = conv(*arrays, **{**PLAIN, "group": group})
    np.testing.assert_array_equal(y, np.full((2, 4, 1, 1), per_group + 1, np.int32), strict=True)


@pytest.mark.parametrize("name", ["strides", "dilations"])
def test_conv_c3_takes_two_positive_strides_and_dilations(name: str) -> None:
    assert conv(X, CORNERS, BIAS, **{**PLAIN, name: (1, 2)}).shape == (1, 1, 2, 1)
    for wrong in ((0, 1), (1, 0), (-1, 1), (1,), (1, 1, 1), ()):
        with pytest.raises(ConstraintError, match=r"Conv \(C3\)"):
            conv(X, CORNERS, BIAS, **{**PLAIN, name: wrong})


def test_conv_c3_takes_four_pads_from_zero_on() -> None:
    assert conv(X, CORNERS, BIAS, **{**PLAIN, "pads": (0, 0, 0, 1)}).shape == (1, 1, 2, 3)
    for wrong in ((0, 0, 0, -1), (-1, 0, 0, 0), (0, 0), (0, 0, 0), (0, 0, 0, 0, 0)):
        with pytest.raises(ConstraintError, match=r"Conv \(C3\)"):
            conv(X, CORNERS, BIAS, **{**PLAIN, "pads": wrong})


@pytest.mark.parametrize(
    ("height", "width", "changed"),
    [
        (2, 2, {}),
        (1, 2, {"pads": (1, 0, 0, 0)}),
        (1, 2, {"pads": (0, 0, 1, 0)}),
        (2, 1, {"pads": (0, 0, 0, 1)}),
        (2, 1, {"pads": (0, 1, 0, 0)}),
        (4, 2, {"dilations": (3, 1)}),
        (2, 3, {"dilations": (3, 4), "pads": (1, 1, 1, 1)}),
        (3, 3, {"strides": (2, 2)}),
    ],
)
def test_conv_c4_takes_a_kernel_that_just_fits(height: int, width: int, changed: dict[str, Any]) -> None:
    y = conv(np.ones((1, 1, height, width), np.int8), CORNERS, BIAS, **{**PLAIN, **changed})
    assert y.shape == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("height", "width", "changed"),
    [
        (1, 2, {}),
        (2, 1, {}),
        (1, 2, {"pads": (0, 1, 0, 1)}),
        (2, 1, {"pads": (1, 0, 1, 0)}),
        (3, 2, {"dilations": (3, 1)}),
        (2, 2, {"dilations": (3, 4), "pads": (1, 1, 1, 1)}),
        (1, 3, {"dilations": (3, 4), "pads": (1, 1, 1, 1)}),
        (1, 3, {"strides": (2, 2)}),
    ],
)
def test_conv_c4_refuses_a_kernel_that_does_not_fit(height: int, width: int, changed: dict[str, Any]) -> None:
    with pytest.raises(ConstraintError, match=r"Conv \(C4\)"):
        conv(np.ones((1, 1, height, width), np.int8), CORNERS, BIAS, **{**PLAIN, **changed})


def test_conv_refuses_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Conv \(no empty axes\)"):
        conv(np.ones((0, 1, 3, 3), np.int8), CORNERS, BIAS, **PLAIN)
    with pytest.raises(ConstraintError, match=r"Conv \(no empty axes\)"):
        conv(X, np.ones((0, 1, 2, 2), np.int8), np.ones(0, np.int32), **PLAIN)


def test_conv_scales_go_along_the_channels() -> None:
    quants = [Quant((0.5,)), Quant((0.25, -0.125), axis=0), Quant((0.125, -0.0625), axis=0)]
    assert REGISTRY["Conv"].result_quant(quants, TYPES, PLAIN) == Quant((0.125, -0.0625), axis=1)
    assert REGISTRY["Conv"].result_quant([Quant((0.5,)), Quant((0.25,)), None], TYPES, PLAIN) == Quant((0.125,))
    assert REGISTRY["Conv"].result_quant([None, Quant((0.25,)), None], TYPES, PLAIN) is None


def test_conv_scales_that_do_not_match_are_refused() -> None:
    for quants in (
        [Quant((0.5,), zero_point=1), Quant((0.25,)), None],
        [Quant((0.5,)), Quant((0.25, 0.25), axis=1), None],
        [Quant((0.5,)), Quant((0.25,)), Quant((0.25,))],
    ):
        with pytest.raises(ConstraintError, match=r"Conv \(scales\)"):
            REGISTRY["Conv"].result_quant(quants, TYPES, PLAIN)


def test_conv_c5_takes_int32_with_a_small_kernel() -> None:
    geometry = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "group": 2}
    for dtype, channels, fits in (("int32", 2**14, True), ("int32", 2**14 + 1, False), ("int16", 2**14 + 1, True)):
        image, kernel = TensorType(dtype, (1, 2 * channels, 2, 2)), TensorType("int16", (2, channels, 2, 2))
        types = [image, kernel, TensorType("int32", (2,))]
        if fits:
            assert REGISTRY["Conv"].result_type(types, geometry) == TensorType("int32", (1, 2, 1, 1))
        else:
            with pytest.raises(ConstraintError, match=r"^Conv \(C5\): .* for an int32 x, but found int16"):
                REGISTRY["Conv"].result_type(types, geometry)
