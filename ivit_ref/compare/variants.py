"""What an operator gives under another setting: other attributes, or a choice that is no attribute of ours.

The choices outside the attributes, by name:

``last``        the rounding of the last shift (IntDiv, Shiftmax, ShiftGELU), halving (ILayerNorm), quotient (Quantize)
``saturation``  ``wrap``: the result keeps its low bits instead of saturating
``order``       ``zero point first``: added before rounding; ``double``: rounded after 31 bits and again after the shift, as
                gemmlowp does; ``once``: both branches of a sum rounded together
``bias``        ``none``: left out
``accumulator`` the bits at which a product's sum wraps, or saturates where it is negative
``axis``        the axis that a row operator goes along
``power``       the result is 2**power times too large
``layout``      how the elements of the result are arranged
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivit_ref import registry
from ivit_ref.errors import IvitError
from ivit_ref.events import Context
from ivit_ref.integers import BOUNDS, Wide, divide, from_float, multiply, saturate, shift_right, truncating_divide, widen, wrap
from ivit_ref.ir import Array, Attribute, TensorType
from ivit_ref.ops.i_layer_norm import NUMERATOR, deviation
from ivit_ref.ops.int_sqrt import square_root
from ivit_ref.ops.requantize import along
from ivit_ref.ops.shift_exp import exponential
from ivit_ref.ops.shift_gelu import argument
from ivit_ref.ops.shiftmax import total

EXPONENTIAL = ("i0", "n", "clamp", "half", "quotient", "exp_bits")


@dataclass(frozen=True)
class Wrapping(Context):
    """Values wrap, and where the text says that they saturate, they wrap too."""

    def saturate(self, x: Wide, dtype: str, step: str) -> Wide:
        """The low bits."""
        return wrap(x, dtype)


def answer(
    op: str, arrays: Sequence[Array], attributes: Mapping[str, Attribute], choices: Mapping[str, Any], dtype: str
) -> Array | None:
    """What the operator gives as int64, or None where these settings cannot be run."""
    try:
        types = [TensorType(str(a.dtype), a.shape) for a in arrays]
        registry.lookup(op).result_type(types, attributes)
        with np.errstate(all="ignore"):
            return _arranged(_answer(op, arrays, attributes, choices, dtype), choices, dtype)
    except IvitError:
        return None


def _answer(
    op: str, arrays: Sequence[Array], attributes: Mapping[str, Attribute], choices: Mapping[str, Any], dtype: str
) -> Array:
    axis = choices.get("axis")
    if axis is not None:
        turned = [np.swapaxes(arrays[0], axis, -1), *arrays[1:]]
        rest = {key: value for key, value in choices.items() if key != "axis"}
        return np.swapaxes(_answer(op, turned, attributes, rest, dtype), axis, -1)
    ctx = Wrapping("wrap") if choices.get("saturation") == "wrap" else Context("wrap")
    if "bias" in choices:
        arrays = [*arrays[:-1], np.zeros_like(arrays[-1])]
    dtype = str(attributes.get("dtype", dtype))
    if "last" in choices:
        return widen(ctx.saturate(LAST[op](arrays, dict(attributes), ctx, choices["last"]), dtype, "y"))
    if "order" in choices:
        return widen(ctx.saturate(ORDERS[op](arrays, dict(attributes), choices["order"]), dtype, "y"))
    y = registry.lookup(op).run(arrays, attributes, ctx)
    if "accumulator" in choices:
        return _accumulated(widen(y), choices["accumulator"])
    return y if y.dtype == np.float32 else widen(y)


def _arranged(y: Array, choices: Mapping[str, Any], dtype: str) -> Array:
    """The result after ``power`` and ``layout``."""
    power = choices.get("power", 0)
    if power and y.dtype != np.float32:
        y = saturate(widen(y) << power, *BOUNDS[dtype]) if power > 0 else widen(y) >> -power
    layout = choices.get("layout")
    return y if layout is None else layout(y)


def _accumulated(y: Wide, bits: int) -> Wide:
    """A sum as an accumulator of so many bits leaves it; a negative number is one that saturates."""
    half = 1 << (abs(bits) - 1)
    return saturate(y, -half, half - 1) if bits < 0 else ((y + half) & (2 * half - 1)) - half


def _quotient(e: Wide, s: Wide, a: dict[str, Any], ctx: Context, last: Any) -> Wide:
    """IntDiv, with another rounding in its last shift."""
    product = multiply(e, truncating_divide(a["numerator"], s))
    if a["product_bits"] == 32:
        product = ctx.fit(product, "int32", "F * x")
    return shift_right(product, 32 - a["out_bits"], last)


def _exponential(x: Wide, a: dict[str, Any], ctx: Context) -> Wide:
    return exponential(x, ctx, "e", **{key: a[key] for key in EXPONENTIAL})


def _int_div(arrays: Sequence[Array], a: dict[str, Any], ctx: Context, last: Any) -> Wide:
    return _quotient(widen(arrays[0]), widen(arrays[1]), a, ctx, last)


def _shiftmax(arrays: Sequence[Array], a: dict[str, Any], ctx: Context, last: Any) -> Wide:
    x = widen(arrays[0])
    e = _exponential(x - x.max(axis=-1, keepdims=True), a, ctx)
    return _quotient(e, total(e.sum(axis=-1, keepdims=True), ctx, a["sum"]), a, ctx, last)


def _shift_gelu(arrays: Sequence[Array], a: dict[str, Any], ctx: Context, last: Any) -> Wide:
    x = widen(arrays[0])
    z = argument(x, a["sigmoid"])
    m = z.max(axis=-1, keepdims=True)
    e = _exponential(z - m, a, ctx)
    sigma = _quotient(e, total(e + _exponential(-m, a, ctx), ctx, a["sum"]), a, ctx, last)
    return ctx.fit(multiply(x, sigma), "int32", "x * sigma")


def _i_layer_norm(arrays: Sequence[Array], a: dict[str, Any], ctx: Context, last: Any) -> Wide:
    y = deviation(widen(arrays[0]), ctx, a["mean_rounding"], a["mean_bits"])
    v = np.sum(y * y, axis=-1, keepdims=True)
    v = ctx.fit(v, "uint32", "v") if a["variance_bits"] == 32 else v
    k = square_root(v, ctx, "root", start=a["sqrt_start"], steps=a["sqrt_steps"])
    product = y * (NUMERATOR // np.maximum(k, 1))
    product = ctx.fit(product, "int32", "F * y") if a["product_bits"] == 32 else product
    return ctx.fit(divide(product, 2, last) + widen(arrays[1]), "int32", "o + bias")


def _quantize(arrays: Sequence[Array], a: dict[str, Any], ctx: Context, last: Any) -> Wide:
    step = np.float32(a["scale"])
    quotient = arrays[0] / step if a["division"] == "direct" else arrays[0] * (np.float32(1) / step)
    fixed = np.floor(np.clip(quotient, -(2.0**24), 2.0**24) * np.float32(2.0**24))  # a quotient near 1/2 has no bits below
    return shift_right(from_float(fixed), 24, last) + int(a["zero_point"])


LAST = {"Quantize": _quantize, "IntDiv": _int_div, "Shiftmax": _shiftmax, "ShiftGELU": _shift_gelu, "ILayerNorm": _i_layer_norm}
"""The operators whose last rounding is no attribute."""


def _requantized(arrays: Sequence[Array], a: dict[str, Any], order: str) -> Wide:
    product, s = _scaled(arrays[0], a, "", arrays[0].ndim)
    if order == "double":
        high = shift_right(product, np.minimum(s, 31), "half_up")
        return shift_right(high, np.maximum(s - 31, 0), "half_away") + int(a["zero_point"])
    product = product + (np.full_like(s, a["zero_point"]) << s)
    return shift_right(product, s, a["rounding"])


def _added(arrays: Sequence[Array], a: dict[str, Any], order: str) -> Wide:
    rank = max(x.ndim for x in arrays)
    (first, p), (second, q) = (_scaled(x, a, prefix, rank) for x, prefix in zip(arrays, ("a_", "b_"), strict=True))
    if order == "once":
        s = np.maximum(p, q)
        exact = multiply(first, np.int64(1) << (s - p)) + multiply(second, np.int64(1) << (s - q))
        return shift_right(exact, s, a["rounding"]) + int(a["zero_point"])
    first = first + (np.full_like(p, a["zero_point"]) << p)
    return shift_right(first, p, a["rounding"]) + shift_right(second, q, a["rounding"])


def _scaled(x: Array, a: dict[str, Any], prefix: str, rank: int) -> tuple[Wide, Wide]:
    """``x * multiplier``, and the shifts."""
    m, s = (along(a[f"{prefix}{name}"], a["axis"], rank) for name in ("multiplier", "shift"))
    return widen(x) * m, s


ORDERS = {"Requantize": _requantized, "RequantizeAdd": _added}
"""The operators whose steps may come in another order."""
