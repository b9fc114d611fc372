"""Directed vectors of the products: MatMul, Linear, Conv, Mul and ReduceSum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ivit_ref.golden.directed.making import case, single, stacked
from ivit_ref.golden.group import Group
from ivit_ref.ir import Array, Attribute

LOW, HIGH = -(2**31), 2**31 - 1


def counted(shape: tuple[int, ...], dtype: str, factor: int = 37, modulus: int = 251) -> Array:
    """Numbers that differ from their neighbours along every axis, of both signs where the dtype has them."""
    count = np.arange(int(np.prod(shape))).reshape(shape) * factor % modulus
    return np.asarray(count - (0 if dtype.startswith("u") else modulus // 2), dtype)


def matmuls() -> Iterator[Group]:
    """Of MatMul: ends that leave int32, matrices by matrices, and an int32 factor."""
    b = np.array([[127, -128, 1], [127, 127, -1], [-128, -128, 1], [0, 5, -1]], "int8")
    cases = [
        case("both ends", "full-scale scale-only", [[-128, -128, 127, 127], [127, 127, -128, -128]]),
        case("zeros and ones", "zeros scale-only", [[0, 0, 0, 0], [0, 1, 0, 0]]),
        case("different numbers", "order scale-only", [[1, 2, 3, 4], [-5, 6, -7, 8]]),
    ]
    yield stacked("MatMul", "", "int8", "an attention score, 1/8 in its scale", "int8", cases, {"alpha": 0.125}, b=b)
    x, y = counted((2, 1, 3, 4), "int8"), counted((3, 4, 2), "int16", 4099, 65521)
    yield single("MatMul", "", "batched_int16", "leading axes broadcast", "batched broadcast order", {"alpha": 1.0}, a=x, b=y)
    x = np.array([[HIGH, LOW, 1], [LOW, LOW, LOW], [2**20, -(2**20), 5], [HIGH, HIGH, HIGH]], "int32")
    y = np.array([[255, 1], [255, 0], [255, 0]], "uint8")
    yield single("MatMul", "", "wraps_int32", "accumulators beyond int32", "full-scale", {"alpha": 1.0}, a=x, b=y)


def linears() -> Iterator[Group]:
    """Of Linear: an int8 layer, and one whose accumulators leave int32 by the bias alone or by their products."""
    weight = np.array([[127, 127, 127, 127], [-128, -128, -128, -128], [1, -1, 2, -2], [0, 0, 0, 1]], "int8")
    bias = np.array([2**20, -(2**20), 0, HIGH], "int32")
    cases = [
        case("both ends", "full-scale bias", [-128, 127, -128, 127]),
        case("zeros: the bias alone", "zeros bias", [0, 0, 0, 0]),
        case("one above the largest accumulator", "bias", [0, 0, 0, 1]),
        case("different numbers", "order bias", [1, -2, 3, -4]),
    ]
    yield stacked("Linear", "", "int8", "a layer with a bias", "int8", cases, {}, weight=weight, bias=bias)
    weight = np.array([[-32768, -32768, -32768], [32767, -32768, 5]], "int16")
    cases = [
        case("ends of int16 weights", "full-scale", [HIGH, LOW, HIGH]),
        case("products that meet 2**31", "", [-65536, 0, 0]),
        case("within int32", "order", [1000, -2000, 3]),
    ]
    bias = np.array([0, -1], "int32")
    yield stacked("Linear", "", "int32_by_int16", "wide inputs", "int32", cases, {}, weight=weight, bias=bias)


def convs() -> Iterator[Group]:
    """Of Conv: a patch embedding, a window with every attribute at another value, and accumulators beyond int32."""
    plain: dict[str, Attribute] = {"strides": (2, 2), "pads": (0, 0, 0, 0), "dilations": (1, 1), "group": 1}
    x, weight, bias = counted((2, 3, 4, 4), "uint8"), counted((2, 3, 2, 2), "int8"), np.array([-1000, 2000], "int32")
    yield single("Conv", "", "patches_uint8", "a patch embedding", "order bias", plain, x=x, weight=weight, bias=bias)
    odd: dict[str, Attribute] = {"strides": (2, 1), "pads": (0, 1, 2, 3), "dilations": (1, 2), "group": 2}
    x, weight, bias = counted((1, 4, 5, 4), "int8"), counted((4, 2, 2, 3), "int8"), np.array([1, 10, 100, 1000], "int32")
    flags = "order bias padding stride dilation grouped"
    yield single("Conv", "", "grouped_int8", "groups, pads, steps and gaps", flags, odd, x=x, weight=weight, bias=bias)
    x = np.array([[[[LOW, HIGH], [LOW, 1]]]], "int32")
    weight, bias = np.array([[[[-32768, 32767]]], [[[1, 0]]]], "int16"), np.array([-1, LOW], "int32")
    plain["strides"] = (1, 1)
    yield single(
        "Conv", "", "wraps_int32", "accumulators beyond int32", "full-scale bias", plain, x=x, weight=weight, bias=bias
    )


def products() -> Iterator[Group]:
    """Of Mul: ends of each width, and axes that repeat."""
    cases = [
        case(
            "ends of int32",
            "full-scale",
            [LOW, LOW, HIGH, HIGH, LOW, 65536, 46341, -46341],
            [LOW, -1, HIGH, -1, 1, 32768, 46341, 46341],
        ),
        case("zeros and ones", "zeros", [0, 1, -1, 7, -7, 0, HIGH, LOW], [5, -5, 1, 0, -1, 0, 1, 1]),
        case(
            "just within int32",
            "",
            [46340, -46341, 65536, -65536, 2, HIGH, 3, -3],
            [46340, 46340, 32767, 32768, 2**29, 1, 7, 7],
        ),
    ]
    yield stacked("Mul", "", "int32", "products", "int32 int32", cases, {})
    a, b = counted((2, 3, 1), "int16", 9973, 65521), counted((4,), "uint8")
    yield single("Mul", "", "broadcast_int16", "axes that repeat", "broadcast order", {}, a=a, b=b)


def sums() -> Iterator[Group]:
    """Of ReduceSum: a sum within int32, and one beyond."""
    flags = "order"
    yield single("ReduceSum", "", "two_axes_int16", "over two axes", flags, {"axes": (0, 2)}, x=counted((3, 4, 2), "int16"))
    x = np.array([[HIGH, 1, 0], [LOW, -1, 0], [HIGH, HIGH, HIGH], [LOW, LOW, 0], [HIGH, LOW, 5]], "int32")
    yield single("ReduceSum", "", "wraps_int32", "sums beyond int32", "full-scale", {"axes": (1,)}, x=x)
