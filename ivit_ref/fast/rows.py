"""Shiftmax and ShiftGELU of int8 rows by small tables, which the spec's own functions fill.

An exponential in Shiftmax depends only on max - x, which has 256 values for int8. A result of ShiftGELU depends only on x and
on the maximum of its row. So the spec computes each value that can occur once, and the rows look theirs up: equal by
construction. A table whose making meets anything but the usual clamp of p (a width left, a sum clamped) is not used: then the
spec body runs on the rows themselves, and tells what really happened there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ivit_ref.errors import IvitError
from ivit_ref.events import Context, Event
from ivit_ref.integers import Ints, Wide, narrow
from ivit_ref.ir import Array
from ivit_ref.ops.int_div import divide
from ivit_ref.ops.shift_exp import base_two, exponential
from ivit_ref.ops.shift_gelu import argument
from ivit_ref.ops.shiftmax import total
from ivit_ref.registry import REGISTRY

EXPONENTIAL = ("i0", "n", "clamp", "half", "quotient", "exp_bits")
DIVISION = ("numerator", "out_bits", "product_bits")
EVERY_INT8 = np.arange(-128, 128)


def shiftmax(arrays: Sequence[Array], attributes: Mapping[str, Any], ctx: Context) -> Array:
    """Softmax of the last axis."""
    (x,) = arrays
    differences = -np.arange(256)
    table = _quietly(lambda ctx: exponential(differences, ctx, "e", **_some(attributes, EXPONENTIAL)))
    if x.dtype != np.int8 or table is None:
        return REGISTRY["Shiftmax"].run(arrays, attributes, ctx)
    below = np.subtract(x.max(axis=-1, keepdims=True), x, dtype=np.intp)
    _tell_clamped(differences, below, attributes, ctx, "e")
    e = table.take(below)
    s = total(e.sum(axis=-1, keepdims=True), ctx, attributes["sum"])
    y = divide(e, s, ctx, **_some(attributes, DIVISION))
    return narrow(ctx.saturate(y, attributes["dtype"], "y"), attributes["dtype"])


def shift_gelu(arrays: Sequence[Array], attributes: Mapping[str, Any], ctx: Context) -> Array:
    """``x * sigmoid(1.702 x)``."""
    (x,) = arrays
    if x.dtype != np.int8:
        return REGISTRY["ShiftGELU"].run(arrays, attributes, ctx)
    maxima, row = np.unique(x.max(axis=-1, keepdims=True), return_inverse=True)
    rows = np.minimum(EVERY_INT8, maxima[:, None]).astype(np.int8)
    table = _quietly(lambda ctx: REGISTRY["ShiftGELU"].run([rows], attributes, ctx))
    if table is None:
        return REGISTRY["ShiftGELU"].run(arrays, attributes, ctx)
    place = row.reshape(*x.shape[:-1], 1) * 256 + 128 + x
    z = argument(rows.astype(np.int64), attributes["sigmoid"])
    m = z.max(axis=-1, keepdims=True)
    _tell_clamped(z - m, place, attributes, ctx, "e")
    _tell_clamped(-m, row.reshape(*x.shape[:-1], 1), attributes, ctx, "e_m")
    return table.take(place)


def _quietly(make: Callable[[Context], Ints]) -> Ints | None:
    """What ``make`` gives where nothing happens but that p is clamped; None otherwise."""
    events: list[Event] = []
    try:
        table = make(Context(overflow="raise", emit=events.append))
    except IvitError:
        return None
    return table if all(event.step in ("e: p", "e_m: p") for event in events) else None


def _tell_clamped(x: Wide, place: Wide, attributes: Mapping[str, Any], ctx: Context, step: str) -> None:
    """The event of the clamp of p, for rows whose exponents are ``x.take(place)``."""
    p = base_two(x)
    clamped = p < -attributes["n"] * attributes["i0"]
    if ctx.emit is not None and attributes["clamp"] and clamped.any():
        ctx.record("clamped", clamped.take(place), p.take(place), f"{step}: p")


def _some(attributes: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: attributes[name] for name in names}
