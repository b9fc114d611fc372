from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context, Event
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import max_pool
from ivit_ref.oracle.max_pool import max_pool as oracle
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

PLAIN: dict[str, Any] = {"kernel_shape": (2, 2), "strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
X = np.array([[[[1, 2, 3], [6, 5, 4], [7, 9, 8]]]], np.int8)
TYPES = [TensorType("int8", (1, 2, 4, 4))]


@settings(deadline=None)
@given(CALLS["MaxPool"])
def test_max_pool_equals_the_oracle(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), x.dtype)
    events: list[Event] = []
    np.testing.assert_array_equal(max_pool(x, **attributes), expected, strict=True)
    np.testing.assert_array_equal(max_pool(x, **attributes, ctx=Context("wrap", emit=events.append)), expected, strict=True)
    assert events == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [[6, 5], [9, 9]]),
        ({"strides": (1, 2)}, [[6], [9]]),
        ({"strides": (2, 1)}, [[6, 5]]),
        ({"kernel_shape": (1, 3)}, [[3], [6], [9]]),
        ({"kernel_shape": (3, 1)}, [[7, 9, 8]]),
        ({"dilations": (2, 1)}, [[9, 9]]),
        ({"dilations": (1, 2)}, [[6], [8]]),
        ({"pads": (1, 0, 0, 0)}, [[2, 3], [6, 5], [9, 9]]),
        ({"pads": (0, 1, 0, 0)}, [[6, 6, 5], [7, 9, 9]]),
        ({"pads": (0, 0, 1, 0)}, [[6, 5], [9, 9], [9, 9]]),
        ({"pads": (0, 0, 0, 1)}, [[6, 5, 4], [9, 9, 8]]),
        ({"pads": (2, 2, 2, 2), "dilations": (2, 2), "strides": (2, 2)}, [[1, 3, 3], [7, 8, 8], [7, 8, 8]]),
    ],
)
def test_max_pool_by_hand(changed: dict[str, Any], expected: list[list[int]]) -> None:
    np.testing.assert_array_equal(max_pool(X, **{**PLAIN, **changed}), np.array([[expected]], np.int8), strict=True)


def test_max_pool_pads_are_no_zeros() -> None:
    y = max_pool(X - 100, **{**PLAIN, "pads": (1, 1, 1, 1)})
    expected = [[-99, -98, -97, -97], [-94, -94, -95, -96], [-93, -91, -91, -92], [-93, -91, -91, -92]]
    np.testing.assert_array_equal(y, np.array([[expected]], np.int8), strict=True)
    assert max_pool(np.full((1, 1, 1, 1), -128, np.int8), **{**PLAIN, "pads": (1, 1, 1, 1)}).tolist() == [[[[-128] * 2] * 2]]


def test_max_pool_of_uint8_reads_bytes_above_127() -> None:
    x = np.array([[[[128, 255], [127, 0]]]], np.uint8)
    np.testing.assert_array_equal(max_pool(x, **PLAIN), np.array([[[[255]]]], np.uint8), strict=True)


def test_max_pool_keeps_images_and_channels_apart() -> None:
    x = np.arange(24, dtype=np.int8).reshape(2, 3, 2, 2)
    expected = np.array([3, 7, 11, 15, 19, 23], np.int8).reshape(2, 3, 1, 1)
    np.testing.assert_array_equal(max_pool(x, **PLAIN), expected, strict=True)


def test_max_pool_c1_takes_bytes() -> None:
    for dtype in ("int8", "uint8"):
        y = max_pool(X.astype(dtype), **PLAIN)
        np.testing.assert_array_equal(y, np.array([[[[6, 5], [9, 9]]]], dtype), strict=True)
    for dtype in ("bool", "int16", "uint16", "int32", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"MaxPool \(C1\): x must be int8 or uint8, but found "):
            max_pool(X.astype(dtype), **PLAIN)


def test_max_pool_c1_takes_images_of_known_size() -> None:
    named = TensorType("int8", ("N", 2, 3, 4))
    assert REGISTRY["MaxPool"].result_type([named], PLAIN) == TensorType("int8", ("N", 2, 2, 3))
    for shape in (("N", "C", 3, 4), (1, 2, "H", 4), (1, 2, 3, "W"), (2, 3, 4), (1, 1, 2, 3, 4), (4,), ()):
        with pytest.raises(ConstraintError, match=r"MaxPool \(C1\): x must be \[N, C, H, W\] with known C, H and W"):
            REGISTRY["MaxPool"].result_type([TensorType("int8", shape)], PLAIN)


@pytest.mark.parametrize("name", ["kernel_shape", "strides", "dilations"])
def test_max_pool_c2_takes_two_positive_numbers(name: str) -> None:
    assert max_pool(X, **{**PLAIN, name: (1, 1)}).ndim == 4
    must = r"MaxPool \(C2\): kernel_shape, strides and dilations must be two positive integers, pads four from 0 on"
    for wrong in ((0, 1), (1, 0), (-1, 1), (1,), (1, 1, 1), ()):
        with pytest.raises(ConstraintError, match=must):
            max_pool(X, **{**PLAIN, name: wrong})


def test_max_pool_c2_takes_four_pads_from_zero_on() -> None:
    assert max_pool(X, **{**PLAIN, "pads": (0, 0, 0, 1)}).shape == (1, 1, 2, 3)
    for wrong in ((0, 0, 0, -1), (-1, 0, 0, 0), (0, 0), (0, 0, 0), (0, 0, 0, 0, 0), ()):
        with pytest.raises(ConstraintError, match=r"MaxPool \(C2\)"):
            max_pool(X, **{**PLAIN, "pads": wrong})


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 1), (3, 1), (2, 3)])
def test_max_pool_c3_pads_are_below_the_dilated_kernel(place: int, kernel: int, dilation: int) -> None:
    attributes = {**PLAIN, "kernel_shape": (kernel, kernel), "dilations": (dilation, dilation)}
    span = dilation * (kernel - 1) + 1
    x = np.ones((1, 1, 4, 4), np.int8)
    pads = [0, 0, 0, 0]
    pads[place] = span - 1
    assert set(max_pool(x, **attributes).reshape(-1).tolist()) == {1}
    assert set(max_pool(x, **{**attributes, "pads": tuple(pads)}).reshape(-1).tolist()) == {1}
    pads[place] = span
    must = r"MaxPool \(C3\): pads must be below the dilated kernel \[\d, \d\], which must fit into the padded image, but found "
    with pytest.raises(ConstraintError, match=must):
        max_pool(x, **{**attributes, "pads": tuple(pads)})


@pytest.mark.parametrize(
    ("height", "width", "changed"),
    [
        (2, 2, {}),
        (1, 2, {"pads": (1, 0, 0, 0)}),
        (2, 1, {"pads": (0, 0, 0, 1)}),
        (4, 2, {"dilations": (3, 1)}),
        (3, 3, {"dilations": (3, 3), "pads": (1, 0, 0, 1)}),
        (3, 3, {"strides": (2, 2)}),
    ],
)
def test_max_pool_c3_takes_a_kernel_that_just_fits(height: int, width: int, changed: dict[str, Any]) -> None:
    attributes = {**PLAIN, **changed}
    assert max_pool(np.ones((1, 1, height, width), np.int8), **attributes).tolist() == [[[[1]]]]
    for shape in ((height - 1, width), (height, width - 1)):
        if min(shape) > 0 and attributes["strides"] == (1, 1):
            with pytest.raises(ConstraintError, match=r"MaxPool \(C3\)"):
                max_pool(np.ones((1, 1, *shape), np.int8), **attributes)


@pytest.mark.parametrize("axis", [0, 1])
def test_max_pool_c4_no_dilation_is_longer_than_the_image(axis: int) -> None:
    """With taps at -1 and 2 the first window would step over an image of two."""
    x = np.moveaxis(np.array([[[[7], [8], [9]]]], np.int8), 2, 2 + axis)
    numbers = {"kernel_shape": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    numbers["kernel_shape"][axis], numbers["dilations"][axis] = 2, 3
    numbers["pads"][axis] = numbers["pads"][axis + 2] = 1
    attributes = {**PLAIN, **{name: tuple(n) for name, n in numbers.items()}}
    assert max_pool(x, **attributes).reshape(-1).tolist() == [9, 7]
    shorter = np.take(x, [0, 1], axis=2 + axis)
    must = r"MaxPool \(C4\): no dilation may be longer than the image, but found "
    with pytest.raises(ConstraintError, match=must):
        max_pool(shorter, **attributes)


def test_max_pool_every_window_that_is_allowed_meets_the_image() -> None:
    """All small geometries along one axis: the windows of those that are taken have a place inside."""
    taken = 0
    for length, kernel, stride, dilation in product(range(1, 5), range(1, 4), range(1, 4), range(1, 5)):
        for before, after in product(range(6), range(6)):
            geometry = {"kernel_shape": (1, kernel), "strides": (1, stride), "dilations": (1, dilation)}
            x = TensorType("int8", (1, 1, 1, length))
            try:
                y = REGISTRY["MaxPool"].result_type([x], {**geometry, "pads": (0, before, 0, after)})
            except ConstraintError:
                continue
            width = int(y.shape[3])
            for j in range(width):
                taps = [j * stride + v * dilation - before for v in range(kernel)]
                assert any(0 <= tap < length for tap in taps)
            assert width * stride + (kernel - 1) * dilation >= length + before + after > (width - 1) * stride
            taken += 1
    assert taken > 200


def test_max_pool_refuses_other_attributes_and_empty_axes() -> None:
    for name in PLAIN:
        with pytest.raises(ConstraintError, match=rf"MaxPool \(attributes\): {name}"):
            max_pool(X, **{**PLAIN, name: (1.0, 1.0)})
    with pytest.raises(ConstraintError, match=r"MaxPool \(no empty axes\)"):
        max_pool(np.ones((0, 1, 3, 3), np.int8), **PLAIN)


@pytest.mark.parametrize(
    "quant",
    [Quant((0.5,)), Quant((0.5,), zero_point=-7), Quant((0.5, 0.25), axis=1), Quant((0.5,), zero_point=3, axis=0), None],
)
def test_max_pool_scale_is_that_of_x(quant: Quant | None) -> None:
    assert REGISTRY["MaxPool"].result_quant([quant], TYPES, PLAIN) == quant


@pytest.mark.parametrize(
    "quant", [Quant((-0.5,)), Quant((0.5, -0.25), axis=1), Quant((0.5,) * 4, axis=2), Quant((0.5,) * 4, axis=3)]
)
def test_max_pool_scales_that_do_not_keep_the_order_are_refused(quant: Quant) -> None:
    must = r"MaxPool \(scales\): the scales must be positive and not go along the image"
    with pytest.raises(ConstraintError, match=must):
        REGISTRY["MaxPool"].result_quant([quant], TYPES, PLAIN)
