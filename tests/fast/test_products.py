"""MatMul, Linear and Conv where a sum of products is just within a float's exact integers, and just beyond."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivit_ref.events import Context
from ivit_ref.fast import KERNELS, products
from tests.fast.engines import Array, assert_engines_agree, runs_spec

MATMUL = {"alpha": 1.0}
CONV: dict[str, Any] = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "group": 1}
INT32_MAX = 2**31 - 1


def summands(total: int) -> Array:
    """As few int16 of one sign as add up to the total."""
    count, rest = divmod(abs(total), 2**15 - 1)
    sign = 1 if total > 0 else -1
    return np.array([sign * (2**15 - 1)] * count + [sign * rest], np.int16)


def ones(count: int) -> Array:
    return np.ones(count, np.int8)


def no_bias(count: int) -> Array:
    return np.zeros(count, np.int32)


# --- The type


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("total", "float_type"),
    [(2**24 - 1, np.float32), (2**24, np.float32), (2**24 + 1, np.float64), (2**24 + 3, np.float64)],
)
def test_sums_around_what_float32_holds(total: int, float_type: type, sign: int) -> None:
    row = summands(sign * total)[None, :]
    column, b = ones(row.size)[:, None], ones(row.size)[None, :]
    assert products.exact_type(row, column) == (total, float_type)
    assert products.exact_type(b, row.T) == (total, float_type)
    assert_engines_agree("MatMul", [row, column], MATMUL)
    assert_engines_agree("MatMul", [b, row.T], MATMUL)
    assert_engines_agree("MatMul", [-b, row.T], MATMUL)
    assert_engines_agree("Linear", [row, b, no_bias(1)], {})


@pytest.mark.parametrize(("count", "float_type"), [(1023, np.float32), (1024, np.float32), (1025, np.float64)])
def test_int8_products_qualify_by_their_dtypes_up_to_1024(count: int, float_type: type) -> None:
    row = np.full((1, count), -128, np.int8)
    row[0, -1] = 1
    assert products.exact_type(row, row.T)[1] is (np.float32 if count <= 1024 else np.float64)
    assert products.exact_type(row, row.T)[1] is float_type
    assert_engines_agree("MatMul", [row, row.T], MATMUL)
    assert_engines_agree("Linear", [row, row, no_bias(1)], {})


@pytest.mark.parametrize(("dtype", "count"), [("int8", 1025), ("uint8", 517)])
def test_a_convolution_of_an_odd_sum_beyond_float32(dtype: str, count: int) -> None:
    highest = -128 if dtype == "int8" else 255
    x = np.full((1, count, 1, 1), highest, dtype)
    weight = np.full((1, count, 1, 1), -128, np.int8)
    x[0, -1], weight[0, -1] = 1, -1 if dtype == "uint8" else 1
    total = abs(int((x.astype(np.int64) * weight).sum()))
    assert total > 2**24
    assert total % 2 == 1
    assert_engines_agree("Conv", [x, weight, no_bias(1)], CONV)


def test_the_largest_row_and_the_largest_column_decide() -> None:
    a, b = np.zeros((3, 600), np.int16), np.zeros((600, 3), np.int16)
    a[1] = b[:, 1] = -(2**15)
    a[1, -1] = b[-1, 1] = -1
    one = np.ones((3, 600), np.int8)
    assert products.exact_type(a, one.T)[1] is np.float64
    assert products.exact_type(one, b)[1] is np.float64
    assert_engines_agree("MatMul", [a, one.T], MATMUL)
    assert_engines_agree("MatMul", [one, b], MATMUL)


def test_rows_as_softmax_makes_them_stay_in_float32() -> None:
    a = np.zeros((197, 197), np.int16)
    np.fill_diagonal(a, 2**15 - 1)
    b = np.full((197, 64), -128, np.int8)
    assert products.exact_type(a, b) == ((2**15 - 1) * 128, np.float32)
    assert not runs_spec("MatMul", [a, b], MATMUL)
    assert_engines_agree("MatMul", [a, b], MATMUL)


def test_sums_around_what_float64_holds() -> None:
    row = np.full((1, 2**23), -(2**15), np.int16)
    assert products.exact_type(row, row.T) == (2**53, np.float64)
    assert_engines_agree("MatMul", [row, row.T], MATMUL)
    longer = np.append(row, np.int16(1))[None, :]
    assert products.exact_type(longer, longer.T) == (2**53 + 2**15, None)
    assert runs_spec("MatMul", [longer, longer.T], MATMUL)
    assert_engines_agree("MatMul", [longer, longer.T], MATMUL)


@pytest.mark.parametrize("name", ["MatMul", "Linear", "Conv"])
def test_what_qualifies_does_not_run_the_spec(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, weight = (rng.integers(-128, 128, (32, 32), np.int8) for _ in range(2))
    arrays: list[Array] = [x, weight] if name == "MatMul" else [x, weight, no_bias(32)]
    if name == "Conv":
        arrays[:2] = x.reshape(1, 2, 16, 32), weight.reshape(32, 2, 4, 4)
    attributes = {"MatMul": MATMUL, "Linear": {}, "Conv": CONV}[name]
    assert not runs_spec(name, arrays, attributes)
    monkeypatch.setattr(products, "FLOAT32_EXACT", 0)
    assert not runs_spec(name, arrays, attributes)
    assert_engines_agree(name, arrays, attributes)
    monkeypatch.setattr(products, "FLOAT64_EXACT", 0)
    assert runs_spec(name, arrays, attributes)
    assert_engines_agree(name, arrays, attributes)


# --- The accumulator


@pytest.mark.parametrize("total", [INT32_MAX, INT32_MAX + 1, -INT32_MAX, -INT32_MAX - 1, -INT32_MAX - 2])
def test_accumulators_at_the_ends_of_int32(total: int) -> None:
    row = summands(total)[None, :]
    assert_engines_agree("MatMul", [row, ones(row.size)[:, None]], MATMUL)
    assert_engines_agree("Linear", [row, ones(row.size)[None, :], no_bias(1)], {})


@pytest.mark.parametrize("x", [-(2**15), 2**15 - 1])
def test_two_products_of_int16_leave_int32(x: int) -> None:
    a = np.array([[-(2**15)] * 2, [1, 2], [x] * 2], np.int16)
    assert_engines_agree("MatMul", [a, a.T], MATMUL)


@pytest.mark.parametrize("offset", [-1, 0, 1, 2, 200])
@pytest.mark.parametrize("sign", [1, -1])
def test_biases_that_bring_an_accumulator_to_the_ends_of_int32(sign: int, offset: int) -> None:
    x, weight = np.array([[-128], [5]], np.int8), np.array([[-128 if sign > 0 else 127], [3]], np.int8)
    product = int(x[0, 0]) * int(weight[0, 0])
    bias = np.array([min(INT32_MAX, max(-(2**31), sign * (INT32_MAX + offset) - product)), 7], np.int32)
    assert_engines_agree("Linear", [x, weight, bias], {})
    image, kernels = x.reshape(2, 1, 1, 1), weight.reshape(2, 1, 1, 1)
    assert_engines_agree("Conv", [image, kernels, bias], CONV)


@pytest.mark.parametrize("bias", [-(2**31), INT32_MAX])
@pytest.mark.parametrize("x", [-1, 0, 1])
def test_extreme_biases(x: int, bias: int) -> None:
    row, weight = np.array([[0], [x]], np.int8), np.array([[1]], np.int8)
    assert_engines_agree("Linear", [row, weight, np.array([bias], np.int32)], {})
    assert_engines_agree("Conv", [row.reshape(2, 1, 1, 1), weight.reshape(1, 1, 1, 1), np.array([bias], np.int32)], CONV)


# --- Anything


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_long_sums_of_extreme_values(data: st.DataObject) -> None:
    dtypes = [data.draw(st.sampled_from(["int8", "uint8", "int16"])) for _ in range(2)]
    count = data.draw(st.integers(1, 2000))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    ends = [np.iinfo(dtype) for dtype in dtypes]
    choices = [[info.min, info.max] if data.draw(st.booleans()) else [info.max, info.max - 1, 1] for info in ends]
    a, b = (
        rng.choice(choice, shape).astype(d) for choice, shape, d in zip(choices, [(2, count), (count, 3)], dtypes, strict=True)
    )
    assert_engines_agree("MatMul", [a, b], MATMUL)


def test_leading_axes_broadcast() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(-(2**15), 2**15, (4, 1, 5, 7)).astype(np.int16)
    b = rng.integers(-128, 128, (3, 7, 2)).astype(np.int8)
    assert KERNELS["MatMul"]([a, b], MATMUL, Context()).shape == (4, 3, 5, 2)
    assert_engines_agree("MatMul", [a, b], MATMUL)
