"""ILayerNorm in float64, which is exact there, and in fewer passes.

With x of at most 16 bits the deviation y has at most 17. C is at most 2**16, so the sum of squares has partial sums of at most
2**50: exact in float64. F is below 2**31, so F * y is below 2**48: exact, as is its half, and floor is the halving by
definition. Adding a 32-bit bias keeps that. Whatever a width could change - a 16-bit mean, a 32-bit variance or product - and
truncating choices run the spec body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ivit_ref.events import Context
from ivit_ref.integers import BOUNDS, divide
from ivit_ref.ir import Array
from ivit_ref.ops.i_layer_norm import NUMERATOR
from ivit_ref.ops.int_sqrt import square_root
from ivit_ref.registry import REGISTRY

WIDE = {"mean_bits": 64, "variance_bits": 64, "product_bits": 64, "halving": "floor", "mean_rounding": "half_even"}


def i_layer_norm(arrays: Sequence[Array], attributes: Mapping[str, Any], ctx: Context) -> Array:
    """``(x - mean) / sqrt(sum of squares)`` in units of 2**-30, plus bias."""
    x, bias = arrays
    if any(attributes[name] != value for name, value in WIDE.items()):
        return REGISTRY["ILayerNorm"].run(arrays, attributes, ctx)
    mean = divide(x.sum(axis=-1, keepdims=True, dtype=np.int64), x.shape[-1], "half_even")
    y = np.subtract(x, mean, dtype=np.float64)
    v = np.einsum("...i,...i->...", y, y)[..., None].astype(np.int64)
    k = square_root(v, ctx, "root", start=attributes["sqrt_start"], steps=attributes["sqrt_steps"])
    y *= NUMERATOR // np.maximum(k, 1) * 0.5
    o = np.floor(y, out=y)
    o += bias
    low, high = BOUNDS["int32"]
    if float(o.min()) < low or float(o.max()) > high:
        return ctx.fit(o.astype(np.int64), "int32", "o + bias").astype(np.int32)
    return o.astype(np.int32)
