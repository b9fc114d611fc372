"""The operators along a row once more, with the choices that are no attributes; each follows the body of its operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ivit_ref.events import Context
from ivit_ref.integers import BOUNDS, Wide, divide, from_float, multiply, saturate, shift_right, truncating_divide, widen, wrap
from ivit_ref.ir import Array
from ivit_ref.ops.i_layer_norm import NUMERATOR, deviation
from ivit_ref.ops.int_sqrt import square_root
from ivit_ref.ops.shift_exp import exponential
from ivit_ref.ops.shift_gelu import argument
from ivit_ref.ops.shiftmax import total
from ivit_ref.registry import require

EXPONENTIAL = ("i0", "n", "clamp", "half", "quotient", "exp_bits")
ROW_CHOICES = {"last", "denominator", "maximum", "variance", "root"}

Choices = Mapping[str, Any]


def _quotient(e: Wide, s: Wide, a: dict[str, Any], ctx: Context, choices: Choices) -> Wide:
    """IntDiv, with another rounding in its last shift, or an answer where the denominator is 0."""
    require(s.all() or "denominator" in choices, "IntDiv (C2)", "a denominator must not be zero", 0)
    factor = np.where(s == 0, 0, truncating_divide(a["numerator"], np.where(s == 0, 1, s)))
    product = multiply(e, factor)
    if a["product_bits"] == 32:
        product = ctx.fit(product, "int32", "F * x")
    return shift_right(product, 32 - a["out_bits"], choices.get("last", "floor"))


def _exponential(x: Wide, a: dict[str, Any], ctx: Context) -> Wide:
    return exponential(x, ctx, "e", **{key: a[key] for key in EXPONENTIAL})


def _maximum(x: Wide, choices: Choices) -> Wide:
    m: Wide = x.max(axis=-1, keepdims=True)
    kind = choices.get("maximum")
    if kind == "tensor":
        return np.full_like(m, x.max())
    return np.maximum(m, 0) if kind == "zero" else m


def _int_div(arrays: Sequence[Array], a: dict[str, Any], ctx: Context, choices: Choices) -> Wide:
    return _quotient(widen(arrays[0]), widen(arrays[1]), a, ctx, choices)


def _shiftmax(arrays: Sequence[Array], a: dict[str, Any], ctx: Context, choices: Choices) -> Wide:
    x = widen(arrays[0])
    e = _exponential(x - _maximum(x, choices), a, ctx)
    return _quotient(e, total(e.sum(axis=-1, keepdims=True), ctx, a["sum"]), a, ctx, choices)


def _shift_gelu(arrays: Sequence[Array], a: dict[str, Any], ctx: Context, choices: Choices) -> Wide:
    x = widen(arrays[0])
    z = argument(x, a["sigmoid"])
    m = _maximum(z, choices)
    e = _exponential(z - m, a, ctx)
    sigma = _quotient(e, total(e + _exponential(-m, a, ctx), ctx, a["sum"]), a, ctx, choices)
    return ctx.fit(multiply(x, sigma), "int32", "x * sigma")


def _i_layer_norm(arrays: Sequence[Array], a: dict[str, Any], ctx: Context, choices: Choices) -> Wide:
    y = deviation(widen(arrays[0]), ctx, a["mean_rounding"], a["mean_bits"])
    k = _root(_variance(y, a, ctx, choices), a, choices)
    product = y * (NUMERATOR // np.maximum(k, 1))
    product = ctx.fit(product, "int32", "F * y") if a["product_bits"] == 32 else product
    o = divide(product, 2, choices.get("last", a["halving"]))
    return ctx.fit(o + widen(arrays[1]), "int32", "o + bias")


def _variance(y: Wide, a: dict[str, Any], ctx: Context, choices: Choices) -> Wide:
    v: Wide = np.sum(y * y, axis=-1, keepdims=True)
    kind = choices.get("variance")
    if kind == "divided":
        return divide(v, y.shape[-1])
    if kind == "int32":
        return np.maximum(wrap(v, "int32"), 0)
    if kind == "int31":
        return saturate(v, *BOUNDS["int32"])
    return ctx.fit(v, "uint32", "sum of squares") if a["variance_bits"] == 32 else v


def _root(v: Wide, a: dict[str, Any], choices: Choices) -> Wide:
    if choices.get("root") == "float":
        return from_float(np.rint(np.sqrt(v)))
    return square_root(v, Context("wrap"), "root", start=a["sqrt_start"], steps=a["sqrt_steps"])


BY_ROWS = {"IntDiv": _int_div, "Shiftmax": _shiftmax, "ShiftGELU": _shift_gelu, "ILayerNorm": _i_layer_norm}


def along_axis(run: Callable[[Sequence[Array]], Array], op: str, arrays: Sequence[Array], axis: int) -> Array:
    """A row operator along another axis; a bias still belongs to the last one."""
    x = np.ascontiguousarray(np.swapaxes(arrays[0], axis, -1))
    if op != "ILayerNorm":
        return np.swapaxes(run([x, *arrays[1:]]), axis, -1)
    y = np.swapaxes(run([x, np.zeros(x.shape[-1], np.int32)]), axis, -1)
    return wrap(widen(y) + widen(arrays[1]), "int32")
