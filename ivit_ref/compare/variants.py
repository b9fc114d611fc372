"""What an operator gives under another setting: other attributes, or a choice that is no attribute of ours.

The choices outside the attributes, by name:

``last``         the rounding of the last shift (IntDiv, Shiftmax, ShiftGELU), halving (ILayerNorm), quotient (Quantize)
``denominator``  ``0``: a quotient by 0 is 0 (IntDiv, Shiftmax, ShiftGELU)
``maximum``      ``tensor``: over everything, not a row (Shiftmax, ShiftGELU); ``zero``: one that begins at 0
``variance``     ``divided``: by C; ``int32``, ``int31``: a sum of squares that wraps, saturates at 2**31 (ILayerNorm)
``root``         ``float``: rounded from a float (ILayerNorm)
``saturation``   ``wrap``: the result keeps its low bits instead of saturating; ``everywhere``: what would wrap saturates
``order``        ``zero point first``: added before rounding; ``double``: rounded after 31 bits and again after the shift, as
                 gemmlowp does; ``once``: both branches of a sum rounded together
``bias``         ``none``: left out
``width``        the bits at which an int32 result wraps, or saturates where the number is negative
``axis``         the axis that a row operator goes along
``power``        the result is 2**power times too large
``layout``       how the elements of the result are arranged
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivit_ref import registry
from ivit_ref.compare.rows import BY_ROWS, ROW_CHOICES, along_axis
from ivit_ref.errors import IvitError
from ivit_ref.events import Context
from ivit_ref.integers import BOUNDS, Wide, from_float, multiply, outside, saturate, shift_right, widen, wrap
from ivit_ref.ir import Array, Attribute, TensorType
from ivit_ref.ops.requantize import along


@dataclass(frozen=True)
class Wrapping(Context):
    """Values wrap, and where the text says that they saturate, they wrap too."""

    def saturate(self, x: Wide, dtype: str, step: str) -> Wide:
        """The low bits."""
        return wrap(x, dtype)


@dataclass(frozen=True)
class Saturating(Context):
    """Where the text says that values must fit, they saturate."""

    def fit(self, x: Wide, dtype: str, step: str) -> Wide:
        """The nearest value of the width."""
        return x if outside(x, dtype) is None else saturate(x, *BOUNDS[dtype])


CONTEXTS = {"wrap": Wrapping("wrap"), "everywhere": Saturating("wrap")}


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
    if "axis" in choices:
        rest = {key: value for key, value in choices.items() if key != "axis"}
        return along_axis(lambda inputs: _answer(op, inputs, attributes, rest, dtype), op, arrays, choices["axis"])
    ctx = CONTEXTS.get(str(choices.get("saturation")), Context("wrap"))
    if "bias" in choices:
        arrays = [*arrays[:-1], np.zeros_like(arrays[-1])]
    dtype = str(attributes.get("dtype", dtype))
    if ROW_CHOICES & set(choices) and op in BY_ROWS:
        return widen(ctx.saturate(BY_ROWS[op](arrays, dict(attributes), ctx, choices), dtype, "y"))
    if "last" in choices:
        return widen(ctx.saturate(_quantize(arrays, dict(attributes), choices["last"]), dtype, "y"))
    if "order" in choices:
        return widen(ctx.saturate(ORDERS[op](arrays, dict(attributes), choices["order"]), dtype, "y"))
    y = registry.lookup(op).run(arrays, attributes, ctx)
    if "width" in choices:
        return _cut(widen(y), choices["width"])
    return y if y.dtype == np.float32 else widen(y)


def _arranged(y: Array, choices: Mapping[str, Any], dtype: str) -> Array:
    """The result after ``power`` and ``layout``."""
    power = choices.get("power", 0)
    if power and y.dtype != np.float32:
        y = saturate(widen(y) << power, *BOUNDS[dtype]) if power > 0 else widen(y) >> -power
    layout = choices.get("layout")
    return y if layout is None else layout(y)


def _cut(y: Wide, bits: int) -> Wide:
    """A result as so many bits hold it; a negative number is one that saturates."""
    half = 1 << (abs(bits) - 1)
    return saturate(y, -half, half - 1) if bits < 0 else ((y + half) & (2 * half - 1)) - half


def _quantize(arrays: Sequence[Array], a: dict[str, Any], last: Any) -> Wide:
    step = np.float32(a["scale"])
    quotient = arrays[0] / step if a["division"] == "direct" else arrays[0] * (np.float32(1) / step)
    fixed = np.floor(np.clip(quotient, -(2.0**24), 2.0**24) * np.float32(2.0**24))  # a quotient near 1/2 has no bits below
    return shift_right(from_float(fixed), 24, last) + int(a["zero_point"])


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
