"""Directed vectors of the operators that take elements by themselves, and of MaxPool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ivit_ref.golden.directed.linear import counted
from ivit_ref.golden.directed.making import case, single, stacked, step
from ivit_ref.golden.group import Group

LOW, HIGH = -(2**31), 2**31 - 1


def quantizations() -> Iterator[Group]:
    """Of Quantize: ties, ends, and numbers that a reciprocal and a division put on two sides of a tie."""
    cases = [
        case("ties", "tie", [0.25, 0.75, 1.25, 1.75, -0.25, -0.75, -1.25, -1.75]),
        case("both ends, and beyond", "full-scale", [63.5, 63.75, 64.0, 3.0e38, -64.0, -64.25, -64.5, -3.0e38]),
        case("smallest numbers", "zeros", [0.0, -0.0, 1e-45, -1e-45, 1e-38, -1e-38, 0.2, -0.2]),
    ]
    attributes: dict[str, Any] = {"scale": 0.5, "zero_point": 0, "dtype": "int8", "division": "reciprocal"}
    yield stacked("Quantize", "", "halves_int8", "steps of 1/2", "float32", cases, attributes)
    for division in ("reciprocal", "direct"):
        attributes = {"scale": step(0.1), "zero_point": 100, "dtype": "uint8", "division": division}
        values = [[k + 0.5 for k in range(j, j + 8)] for j in (-24, -4, 0, 32, 100)]
        flags = "zero-point float32-rounding"
        cases = [
            case("multiples of 0.05 in float32", flags, [float(np.float32(v) * np.float32(0.1)) for v in row]) for row in values
        ]
        yield stacked("Quantize", "", f"tenths_{division}", f"steps of 0.1, {division}", "float32", cases, attributes)


def dequantizations() -> Iterator[Group]:
    """Of Dequantize: integers that float32 does not hold, and a scale for each channel."""
    x = np.array([[0, 0, -1], [2**24 + 1, 2**24 + 3, -(2**24) - 1], [HIGH, LOW, HIGH - 64], [LOW + 1, 7, -7]], "int32")
    attributes: dict[str, Any] = {"scale": (step(0.1), -step(0.003), step(1e-6)), "axis": 1, "zero_point": 0}
    yield single("Dequantize", "", "logits_int32", "logits", "per-axis float32-rounding full-scale", attributes, x=x)
    attributes = {"scale": (step(0.1),), "axis": 0, "zero_point": 128}
    cases = [case("ends and the zero point", "zero-point full-scale", [0, 255, 128, 127, 129, 1, 254, 100])]
    yield stacked("Dequantize", "", "image_uint8", "an image", "uint8", cases, attributes)


def centers() -> Iterator[Group]:
    """Of Center: both ends of the dtype, from one of them as its zero point."""
    cases = [
        case("ends", "zero-point full-scale", [-128, 127, 0, 1, -1]),
        case("the zero point", "zero-point all-equal", [-128] * 5),
    ]
    yield stacked("Center", "", "int8", "zero point -128", "int8", cases, {"zero_point": -128, "dtype": "int16"})


def rescalings() -> Iterator[Group]:
    """Of Rescale: the integers stay, whatever the factors are."""
    x = np.array([[LOW, HIGH, 0], [1, -1, 7]], "int32")
    attributes: dict[str, Any] = {"alpha": (0.125, -1.0, 3.0), "axis": 1}
    yield single(
        "Rescale", "", "channels_int32", "a factor for each channel", "per-axis scale-only full-scale", attributes, x=x
    )


def clips() -> Iterator[Group]:
    """Of Clip: a Relu with a zero point, cut off above too."""
    cases = [case("a Relu", "full-scale", [-128, -4, -3, -2, 5, 100, 101, 126, 127])]
    yield stacked("Clip", "", "relu_int8", "from a zero point of -3", "int8", cases, {"low": -3, "high": 100})


def lookups() -> Iterator[Group]:
    """Of Lookup: every code, in tables of different numbers."""
    for dtype, low, result in (("int8", -128, "int32"), ("uint8", 0, "int8")):
        table = np.asarray(np.arange(256) * 167 % 256 - 128, result) * np.array(8388607 if result == "int32" else 1, result)
        codes = list(range(low, low + 256))
        cases = [case("every code upwards", "every-code", codes), case("every code downwards", "every-code", codes[::-1])]
        yield stacked("Lookup", "", f"codes_{dtype}", "every code", dtype, cases, {"low": low}, table=table)


def wheres() -> Iterator[Group]:
    """Of Where: both choices, and axes that repeat."""
    x, y = counted((2, 1, 4), "int32", 2**20 + 7, 2**31 - 1), counted((3, 1), "int32", 2**25 + 1, 2**31 - 1)
    condition = np.array([[True, False, True, False], [False, False, True, True], [True, True, True, True]])
    yield single("Where", "", "broadcast_int32", "axes that repeat", "broadcast order", {}, condition=condition, x=x, y=y)


def pools() -> Iterator[Group]:
    """Of MaxPool: padded negative numbers, and every attribute at another value."""
    x = np.array([[[[-128, -5, -9], [-7, -128, -3], [-100, -2, -50]]]], "int8")
    plain = {"kernel_shape": (2, 2), "strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1)}
    yield single("MaxPool", "", "negative_int8", "a pad is no 0", "padding all-negative extremes", plain, x=x)
    odd = {"kernel_shape": (2, 3), "strides": (2, 1), "pads": (0, 1, 1, 2), "dilations": (1, 2)}
    flags = "order padding stride dilation"
    yield single("MaxPool", "", "steps_uint8", "pads, steps and gaps", flags, odd, x=counted((2, 2, 5, 6), "uint8"))
