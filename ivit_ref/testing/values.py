"""Tensors whose elements are boundary-heavy, and what their integers may be worth."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from ivit_ref.errors import InputError
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import LARGEST_FLOAT32, Array, Quant
from ivit_ref.testing.elements import INTEGERS, arrays, between, shapes

USUAL = tuple(float(np.float32(s)) for s in (0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.006, 0.004, 0.001))
"""Scales as trained models have them."""

MOST_DIMS = 8


def tensors(
    dtype: str,
    *,
    shape: tuple[int, ...] | None = None,
    min_dims: int = 1,
    max_dims: int = 3,
    max_side: int = 4,
    min_value: int | None = None,
    max_value: int | None = None,
) -> st.SearchStrategy[Array]:
    """Arrays of an integer dtype, or bool, from ``min_value`` to ``max_value`` (by default all that the dtype holds).

    Of that ``shape``, or of any with ``min_dims`` to ``max_dims`` axes, each of length 1 to ``max_side``. Elements are often at
    the ends of what is allowed, beside them, around 0, and at powers of two and beside those. Shrinks to few zeros.
    """
    if dtype not in INTEGERS:
        raise InputError(f"tensors: the dtype must be one of {', '.join(INTEGERS)}, but found {dtype!r}")
    low, high = _values("tensors", dtype, min_value, max_value)
    if shape is None:
        _ordered("tensors", "min_dims", "max_dims", min_dims, max_dims, 0, MOST_DIMS)
        _ordered("tensors", "1", "max_side", 1, max_side, 1, 2**16)
        return shapes(min_dims, max_dims, max_side).flatmap(lambda drawn: arrays(dtype, drawn, between(low, high)))
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 1 for n in shape):
        raise InputError(f"tensors: the shape must be a tuple of positive integers, but found {shape!r}")
    return arrays(dtype, shape, between(low, high))


def scales(*, min_value: float = 2.0**-15, max_value: float = 1.0) -> st.SearchStrategy[float]:
    """What a step may be worth: powers of two, values as models have them, anything; float32, above 0.

    By default those for which every profile has an i0. Shrinks to the largest power of two.
    """
    low, high = _scales("scales", min_value, max_value)
    powers = [2.0**e for e in range(math.floor(math.log2(high)), math.ceil(math.log2(low)) - 1, -1)]
    choices = [s for s in (powers, [s for s in USUAL if low <= s <= high]) if s]
    return st.one_of(*(st.sampled_from(s) for s in choices), st.floats(low, high, width=32))


def quants(
    dtype: str,
    *,
    symmetric: bool = False,
    axis: int | None = None,
    channels: int = 1,
    min_scale: float = 2.0**-15,
    max_scale: float = 1.0,
) -> st.SearchStrategy[Quant]:
    """What integers of a dtype stand for: one scale, or ``channels`` of them along an axis, and a zero point.

    The zero point is any value of the dtype, and 0 half of the time; always 0 where it is ``symmetric``.
    """
    if dtype not in INTEGERS:
        raise InputError(f"quants: the dtype must be one of {', '.join(INTEGERS)}, but found {dtype!r}")
    low, high = _scales("quants", min_scale, max_scale)
    if type(channels) is not int or channels < 1 or (axis is None and channels != 1):
        raise InputError(f"quants: channels must be a number from 1, and 1 without an axis, but found {channels!r}")
    if axis is not None and (type(axis) is not int or axis < 0):
        raise InputError(f"quants: the axis must be a number from 0, or None, but found {axis!r}")
    several = st.lists(scales(min_value=low, max_value=high), min_size=channels, max_size=channels).map(tuple)
    zero_points = st.just(0) if symmetric else st.just(0) | between(*BOUNDS[dtype])
    return st.builds(lambda s, z: Quant(s, z, axis), several, zero_points)


def _values(who: str, dtype: str, low: int | None, high: int | None) -> tuple[int, int]:
    """Both bounds, within the dtype and in order."""
    least, most = BOUNDS[dtype]
    low, high = least if low is None else low, most if high is None else high
    _ordered(who, "min_value", "max_value", low, high, least, most)
    return low, high


def _ordered(who: str, first: str, second: str, low: object, high: object, least: int, most: int) -> None:
    if type(low) is not int or type(high) is not int or not least <= low <= high <= most:
        raise InputError(f"{who}: must have {least} <= {first} <= {second} <= {most}, but found {low!r} and {high!r}")


def _scales(who: str, low: float, high: float) -> tuple[float, float]:
    """Both bounds, as the outermost float32 between them."""
    both = [float(v) if isinstance(v, (int, float)) and not isinstance(v, bool) else math.nan for v in (low, high)]
    if 2.0**-149 <= both[0] <= both[1] <= LARGEST_FLOAT32:
        least, most = np.float32(both[0]), np.float32(both[1])
        least = np.nextafter(least, np.float32(math.inf)) if float(least) < both[0] else least
        most = np.nextafter(most, np.float32(0)) if float(most) > both[1] else most
        if least <= most:
            return float(least), float(most)
    raise InputError(f"{who}: there must be a float32 above 0 between the bounds, but found {low!r} and {high!r}")
