"""MatMul and Linear through floating-point BLAS, where the actual operands prove the result exact.

NumPy multiplies integer matrices one element at a time; only floats go to BLAS. A float32 holds every integer up to 2**24 in
magnitude and a float64 up to 2**53. If a bound on the sum over k of |a| * |b| is within that, then every product and every
partial sum - whatever order or blocking BLAS chooses, fused or not - is an integer that the type holds, so nothing is ever
rounded and the result is exact.

Bounds, cheapest first: from the dtypes alone; from the largest magnitudes; from the largest row sum of |a| and the largest
column sum of |b|. Above 2**24 float64 is taken: splitting k to stay in float32 costs a product and an addition for each part,
which is more than the factor of two between the types as soon as there are two parts. Above 2**53 the spec body runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ivit_ref.events import Context
from ivit_ref.integers import BOUNDS, Ints, peak, widen
from ivit_ref.ir import Array, Attribute
from ivit_ref.ops.matmul import accumulate
from ivit_ref.registry import REGISTRY

FLOAT32_EXACT = 2**24
FLOAT64_EXACT = 2**53
INT32_MAX = 2**31 - 1


def matmul(arrays: Sequence[Array], attributes: Mapping[str, Attribute], ctx: Context) -> Array:
    """``a @ b``, the int32 accumulators."""
    a, b = arrays
    bound, float_type = exact_type(a, b)
    if float_type is None:
        return REGISTRY["MatMul"].run(arrays, attributes, ctx)
    y = np.matmul(a.astype(float_type, order="C"), b.astype(float_type, order="C"))
    return y.astype(np.int32) if bound <= INT32_MAX else accumulate(y.astype(np.int64), ctx)


def linear(arrays: Sequence[Array], attributes: Mapping[str, Attribute], ctx: Context) -> Array:
    """``x @ weight.T + bias``, the int32 accumulators."""
    x, weight, bias = arrays
    bound, float_type = exact_type(x, weight.T)
    if float_type is None:
        return REGISTRY["Linear"].run(arrays, attributes, ctx)
    rows = x.reshape(-1, x.shape[-1]).astype(float_type)
    y = (rows @ weight.astype(float_type).T).reshape(*x.shape[:-1], len(weight))
    return add_bias(y, bound, bias, ctx)


def add_bias(y: npt.NDArray[Any], bound: int, bias: Ints, ctx: Context) -> Ints:
    """Exact float accumulators of at most ``bound`` in magnitude, with the bias added, as int32."""
    if bound + peak(bias) <= INT32_MAX:
        total: Ints = y.astype(np.int32)
        total += bias
        return total
    return accumulate(y.astype(np.int64) + widen(bias), ctx)


def exact_type(a: Ints, b: Ints) -> tuple[int, type[np.float32] | type[np.float64] | None]:
    """A bound on the sum over k of |a| * |b|, and the narrowest float type that it proves exact; None if none does."""
    smallest = 2**63
    for bound in _bounds(a, b):
        smallest = min(smallest, bound)
        if smallest <= FLOAT32_EXACT:
            return smallest, np.float32
    return smallest, np.float64 if smallest <= FLOAT64_EXACT else None


def _bounds(a: Ints, b: Ints) -> Iterator[int]:
    k = a.shape[-1]
    yield k * -_lowest(a) * -_lowest(b)
    peak_a, peak_b = peak(a), peak(b)
    yield k * peak_a * peak_b
    yield int(np.abs(a, dtype=np.int32).sum(axis=-1, dtype=np.int64).max()) * peak_b
    yield int(np.abs(b, dtype=np.int32).sum(axis=-2, dtype=np.int64).max()) * peak_a


def _lowest(x: Ints) -> int:
    """Minus the largest magnitude that the dtype holds."""
    low, high = BOUNDS[str(x.dtype)]
    return min(low, -high)
