"""Rows that the non-linear operators trip over."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ivit_ref.errors import InputError
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Array
from ivit_ref.testing.elements import arrays

ROW_DTYPES = {
    "ShiftExp": ("int8", "int16", "int32"),
    "Shiftmax": ("int8", "int16", "int32"),
    "ShiftGELU": ("int8", "int16"),
    "ILayerNorm": ("int8", "int16", "uint8"),
    "IBertSoftmax": ("int8", "int16", "int32"),
    "LogIntSoftmax": ("int8", "int16", "int32"),
    "ITASoftmax": ("int8",),
    "TFLiteSoftmax": ("int8",),
    "FloatSoftmax": ("int8", "int16", "int32", "uint8"),
    "IBertGELU": ("int8", "int16", "int32"),
    "FloatGELU": ("int8", "int16"),
    "IBertLayerNorm": ("int8", "int16", "int32", "uint8"),
    "L1LayerNorm": ("int8", "int16", "uint8"),
    "FloatLayerNorm": ("int8", "int16", "uint8"),
}
"""What the non-linear operators take."""


def rows(op: str, *, dtype: str | None = None, min_side: int = 1, max_side: int = 64) -> st.SearchStrategy[Array]:
    """Arrays of one to three axes and at most about 64 elements, whose rows, along the last axis, stress the operator.

    Any numbers, ones near 0, the ends of the dtype, equal numbers, one that stands out, few different ones, none above 0. Rows
    have ``min_side`` to ``max_side`` elements; ``dtype`` is one that the operator takes, None any of them.
    """
    if op not in ROW_DTYPES:
        raise InputError(f"rows: the operator must be a non-linear one, {', '.join(ROW_DTYPES)}, but found {op!r}")
    if dtype is not None and dtype not in ROW_DTYPES[op]:
        raise InputError(f"rows: the dtype must be one that {op} takes, {', '.join(ROW_DTYPES[op])}, but found {dtype!r}")
    if type(min_side) is not int or type(max_side) is not int or not 1 <= min_side <= max_side <= 2**16:
        found = f"{min_side!r} and {max_side!r}"
        raise InputError(f"rows: min_side and max_side must be from 1 to 2**16, in this order, but found {found}")
    dtypes = st.sampled_from((dtype,) if dtype else ROW_DTYPES[op])
    drawn = st.tuples(dtypes, row_shapes(min_side, max_side)).flatmap(lambda pair: stressed(*pair))
    return st.one_of(drawn, drawn.map(lambda x: np.where(x > 0, -x, x))) if op == "ShiftExp" else drawn


def row_shapes(min_side: int = 1, max_side: int = 64) -> st.SearchStrategy[tuple[int, ...]]:
    """Of one to three axes, the last of that length; at most 64 elements or so."""
    one = st.tuples(st.integers(min_side, max_side))
    two = st.tuples(st.integers(1, 5), st.integers(min_side, max(min_side, min(max_side, 12))))
    three = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(min_side, max(min_side, min(max_side, 7))))
    return st.one_of(st.just((min_side,)), one, two, three)


@st.composite
def stressed(draw: st.DrawFn, dtype: str, shape: tuple[int, ...]) -> Array:
    """Rows as they come, and the rows that operators trip over; every dtype reaches both of its ends."""
    low, high = BOUNDS[dtype]
    anywhere, ends = st.integers(low, high), st.sampled_from([0, low, low + 1, high - 1, high])
    near_zero = st.integers(max(low, -40), 40)
    value = st.one_of(near_zero, anywhere, ends)
    kind = draw(st.sampled_from(["anywhere", "near zero", "ends", "equal rows", "one-hot rows", "ties", "negative"]))
    if kind == "equal rows":
        return np.repeat(draw(arrays(dtype, (*shape[:-1], 1), value)), shape[-1], axis=-1)
    if kind == "one-hot rows":
        x = np.full(shape, draw(value), dtype)
        x[..., draw(st.integers(0, shape[-1] - 1))] = draw(value)
        return x
    if kind == "ties":
        return draw(arrays(dtype, shape, st.sampled_from(draw(st.lists(value, min_size=2, max_size=3)))))
    elements = {"anywhere": anywhere, "near zero": near_zero, "ends": ends, "negative": st.integers(low, max(low, -1))}
    return draw(arrays(dtype, shape, elements[kind]))
