"""MatMul and Linear through floating-point BLAS, where the actual operands prove that nothing is rounded.

NumPy multiplies integer matrices one element at a time; only floats go to BLAS. A float32 holds every integer up to 2**24 in
magnitude, a float64 every one up to 2**53. BLAS adds the products a[i, k] * b[k, j] in an order, a blocking and a fusing of its
own choice; but whatever it chooses, each product and each partial sum is an integer of at most

    sum over k of |a[i, k]| * |b[k, j]|

in magnitude. Where that is within the type for every i and j, no operation has anything to round, and the result is exact.

Upper bounds of it, cheapest first: k * max|a| * max|b| from the dtypes alone, then from the elements; then, to stay in float32,
the largest row sum of |a| times max|b|, and max|a| times the largest column sum of |b|. A row of Shiftmax adds up to 2**15 at
most, so its product with int8 values stays in float32 although its elements reach 2**15 themselves.

Between 2**24 and 2**53 the product is taken in float64. Cutting k into float32 pieces instead needs as many products as pieces
and a pass over the result for each; at the sizes of a DeiT-Tiny two pieces took longer than one product in float64. Above 2**53
the spec body multiplies in int64.

A copy of the weight as floats is made on every call: it takes a hundredth of the product's own time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ivit_ref.events import Context
from ivit_ref.integers import BOUNDS, Ints, peak, widen
from ivit_ref.ir import Array, Attribute
from ivit_ref.ops.matmul import accumulate
from ivit_ref.registry import REGISTRY

FloatType: TypeAlias = "type[np.float32] | type[np.float64]"

FLOAT32_EXACT = 2**24
FLOAT64_EXACT = 2**53
INT32_MAX = 2**31 - 1


def matmul(arrays: Sequence[Array], attributes: Mapping[str, Attribute], ctx: Context) -> Array:
    """``a @ b``, the int32 accumulators."""
    a, b = arrays
    bound, float_type = exact_type(a, b)
    if float_type is None:
        return REGISTRY["MatMul"].run(arrays, attributes, ctx)
    y = np.matmul(a.astype(float_type), b.astype(float_type))
    return y.astype(np.int32) if bound <= INT32_MAX else accumulate(y.astype(np.int64), ctx)


def linear(arrays: Sequence[Array], attributes: Mapping[str, Attribute], ctx: Context) -> Array:
    """``x @ weight.T + bias``, the int32 accumulators."""
    x, weight, bias = arrays
    bound, float_type = exact_type(x, weight.T)
    if float_type is None:
        return REGISTRY["Linear"].run(arrays, attributes, ctx)
    rows = x.reshape(-1, x.shape[-1]).astype(float_type)
    y = np.matmul(rows, weight.astype(float_type).T)
    return with_bias(y.reshape(*x.shape[:-1], len(weight)), bound, bias, ctx)


def with_bias(y: npt.NDArray[Any], bound: int, bias: Ints, ctx: Context) -> Ints:
    """Float accumulators of at most ``bound`` in magnitude, and the bias, as int32; added in integers of sufficient width."""
    if bound + peak(bias) <= INT32_MAX:
        total: Ints = y.astype(np.int32)
        total += bias
        return total
    return accumulate(y.astype(np.int64) + widen(bias), ctx)


def exact_type(a: Ints, b: Ints) -> tuple[int, FloatType | None]:
    """A bound on the sum over k of |a| * |b|, and the narrowest float type that it proves exact; None where none is."""
    smallest = 2**63
    for bound in _bounds(a, b):
        smallest = min(smallest, bound)
        if smallest <= FLOAT32_EXACT:
            return smallest, np.float32
    return smallest, np.float64 if smallest <= FLOAT64_EXACT else None


def _bounds(a: Ints, b: Ints) -> Iterator[int]:
    """Bounds on the sum over k of |a| * |b|, each dearer than the one before."""
    k = a.shape[-1]
    yield k * _widest(a) * _widest(b)
    peak_a, peak_b = peak(a), peak(b)
    yield k * peak_a * peak_b
    yield _largest_sum(a, axis=-1) * peak_b
    yield peak_a * _largest_sum(b, axis=-2)


def _widest(x: Ints) -> int:
    """The largest magnitude that the dtype holds."""
    low, high = BOUNDS[str(x.dtype)]
    return max(high, -low)


def _largest_sum(x: Ints, axis: int) -> int:
    """The largest sum of magnitudes along the axis; the next wider dtype holds the magnitude of the lowest integer."""
    wide = np.int64 if x.dtype == np.int32 else np.int32
    return int(np.abs(x, dtype=wide).sum(axis=axis, dtype=np.int64).max())
