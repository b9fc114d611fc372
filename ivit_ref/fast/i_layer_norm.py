"""ILayerNorm in float64, where every number on the way is an integer or a half that it holds.

x has at most 16 bits and C is at most 2**16, so the sum of x is within int32, the mean is within 2**16 and the deviation y
within 2**17 (after a wrap to 16 bits, within less). Hence

- the sum of y**2 has partial sums of at most 2**16 * 2**34 = 2**50: exact in float64 in any order of addition;
- F is below 2**31, so F * y is below 2**48: exact, and so are its half, that half rounded, and its sum with a 32-bit bias.

What is small - one number for each row - is computed by the spec's own functions in int64, and where a number leaves its
declared width, ``ctx.fit`` of the spec has it as int64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ivit_ref.events import Context
from ivit_ref.integers import BOUNDS, divide
from ivit_ref.ir import Array
from ivit_ref.ops.i_layer_norm import NUMERATOR
from ivit_ref.ops.int_sqrt import square_root

Reals: TypeAlias = npt.NDArray[np.float64]


def i_layer_norm(arrays: Sequence[Array], attributes: Mapping[str, Any], ctx: Context) -> Array:
    """``(x - mean) / sqrt(sum of squares)`` in units of 2**-30, plus bias."""
    x, bias = arrays
    y = _deviation(x, attributes["mean_rounding"], attributes["mean_bits"], ctx)
    v = np.einsum("...i,...i->...", y, y)[..., None].astype(np.int64)
    if attributes["variance_bits"] == 32:
        v = ctx.fit(v, "uint32", "sum of squares")
    k = square_root(v, ctx, "root", start=attributes["sqrt_start"], steps=attributes["sqrt_steps"])
    y *= NUMERATOR // np.maximum(k, 1)
    if attributes["product_bits"] == 32:
        y = _fit(y, "int32", "F * y", ctx)
    y *= 0.5
    o = np.floor(y, out=y) if attributes["halving"] == "floor" else np.trunc(y, out=y)
    o += bias
    return _fit(o, "int32", "o + bias", ctx).astype(np.int32)


def _deviation(x: Array, mean_rounding: Any, mean_bits: int, ctx: Context) -> Reals:
    """x less the rounded mean of its row."""
    s = x.sum(axis=-1, keepdims=True, dtype=np.int32).astype(np.int64)
    if mean_bits == 16:
        s = ctx.fit(s, "int16", "sum of x")
    y: Reals = x.astype(np.float64)
    y -= divide(s, x.shape[-1], mean_rounding)
    return _fit(y, "int16", "x - mean", ctx) if mean_bits == 16 else y


def _fit(x: Reals, dtype: str, step: str, ctx: Context) -> Reals:
    """``ctx.fit`` of integers in float64."""
    low, high = BOUNDS[dtype]
    if float(x.min()) >= low and float(x.max()) <= high:
        return x
    return ctx.fit(x.astype(np.int64), dtype, step).astype(np.float64)
