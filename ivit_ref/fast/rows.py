"""Shiftmax and ShiftGELU of int8 rows by small tables, which the spec's own functions fill.

An exponential in Shiftmax depends only on max - x, which has 256 values for int8; a result of ShiftGELU only on x and on the
maximum of its row. So the spec computes each value that can occur once, and every element looks its own up: equal by
construction. A table whose making meets anything but the usual clamp of p - a width left, a denominator of zero - is not used:
then the spec body runs on the rows themselves, and tells what really happens there. What the clamp of p does to the rows is
told from the same tables: whether p was clamped depends on what e depends on.

Shiftmax goes on in uint32 where no row of exponentials can add up to 2**31, so that no rule for sums has anything to do. The
exponential of 0 is i0 * 2**n, and none of a number below is negative: a row's sum s is not 0, and no exponential e in it is
larger. With F = floor(numerator / s) the product F * e is then at most the numerator, which is at most 2**31: it stays in
uint32, and where the numerator is smaller, in int32. Other rows run the spec body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ivit_ref.errors import IvitError
from ivit_ref.events import Context, Event
from ivit_ref.fast.requantize import saturated
from ivit_ref.integers import Ints, Wide, widen
from ivit_ref.ir import Array
from ivit_ref.ops.shift_exp import base_two, exponential
from ivit_ref.ops.shift_gelu import argument
from ivit_ref.registry import REGISTRY

EXPONENTIAL = ("i0", "n", "clamp", "half", "quotient", "exp_bits")
DIFFERENCES = -np.arange(256)
"""What an int8 can be less than the maximum of its row."""

EVERY_INT8 = np.arange(256).astype(np.uint8).view(np.int8)
"""In the order of the same bits without a sign, which serve as places in a table."""

LARGEST_SUM = 2**31 - 1


def shiftmax(arrays: Sequence[Array], attributes: Mapping[str, Any], ctx: Context) -> Array:
    """Softmax of the last axis."""
    (x,) = arrays
    table = _exponentials(x, attributes)
    if table is None:
        return REGISTRY["Shiftmax"].run(arrays, attributes, ctx)
    # The difference of two int8 is right modulo 2**8, and from 0 to 255.
    below = x.max(axis=-1, keepdims=True).view(np.uint8) - x.view(np.uint8)
    e = table.take(below)
    s = widen(e.sum(axis=-1, keepdims=True, dtype=np.uint32))
    if ctx.emit is not None:
        _tell_clamped(DIFFERENCES, below, attributes, ctx, "e")
    e *= (attributes["numerator"] // s).astype(np.uint32)
    e >>= np.uint32(32 - attributes["out_bits"])
    return saturated(e.view(np.int32), attributes["dtype"], ctx)


def shift_gelu(arrays: Sequence[Array], attributes: Mapping[str, Any], ctx: Context) -> Array:
    """``x * sigmoid(1.702 x)``."""
    (x,) = arrays
    if x.dtype != np.int8:
        return REGISTRY["ShiftGELU"].run(arrays, attributes, ctx)
    maxima, row = np.unique(x.max(axis=-1, keepdims=True), return_inverse=True)
    pairs = np.minimum(EVERY_INT8, maxima[:, None])
    table = _quietly(lambda ctx: REGISTRY["ShiftGELU"].run([pairs], attributes, ctx))
    if table is None:
        return REGISTRY["ShiftGELU"].run(arrays, attributes, ctx)
    row = row.reshape(*x.shape[:-1], 1)
    place = x.view(np.uint8).astype(np.uint16)
    place += (row * 256).astype(np.uint16)
    if ctx.emit is not None:
        z = argument(widen(pairs), attributes["sigmoid"])
        m = z.max(axis=-1, keepdims=True)
        _tell_clamped(z - m, place, attributes, ctx, "e")
        _tell_clamped(-m, row, attributes, ctx, "e_m")
    return table.take(place)


def _exponentials(x: Ints, attributes: Mapping[str, Any]) -> npt.NDArray[np.uint32] | None:
    """The exponentials of DIFFERENCES; None where rows of x cannot go on in uint32 with them."""
    if x.dtype != np.int8 or (attributes["numerator"] == 2**31 and attributes["product_bits"] == 32):
        return None
    keywords = {name: attributes[name] for name in EXPONENTIAL}
    table = _quietly(lambda ctx: exponential(DIFFERENCES, ctx, "e", **keywords))
    if table is None or int(table.max()) * x.shape[-1] > LARGEST_SUM:
        return None
    return table.astype(np.uint32)


def _quietly(make: Callable[[Context], Ints]) -> Ints | None:
    """What ``make`` gives where nothing happens but that p is clamped; None otherwise."""
    events: list[Event] = []
    try:
        table = make(Context(overflow="raise", emit=events.append))
    except IvitError:
        return None
    return table if all(event.step.endswith(": p") for event in events) else None


def _tell_clamped(x: Wide, place: Ints, attributes: Mapping[str, Any], ctx: Context, step: str) -> None:
    """The event of the clamp of p, for rows whose exponents are ``x.take(place)``."""
    p = base_two(x)
    clamped = p < -attributes["n"] * attributes["i0"]
    if attributes["clamp"] and clamped.any():
        ctx.record("clamped", clamped.take(place), p.take(place), f"{step}: p")
