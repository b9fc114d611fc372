"""The real functions that the integer operators stand for, of integers whose step is worth ``step``: the nearest float64.

=============  =====================================================================
``softmax``    of ``step * x``, along each row
``gelu``       ``x * Phi(x)`` of ``step * x``, with the error function, not a tanh
``layernorm``  ``(x - mean) / std`` along each row, without an epsilon; 0 for a row of equal numbers
``exp``        of ``step * x``
``requantize`` ``step * x``
``sqrt``       of ``x``, worth ``step``
``quotient``   ``x / d``
=============  =====================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ivit_ref.integers import Wide
from ivit_ref.study import exact

Reals: TypeAlias = npt.NDArray[np.float64]
_OfCodes: TypeAlias = "Callable[[float, range], Iterator[float]]"
Kind = Literal["softmax", "gelu", "layernorm", "requantize", "exp", "sqrt", "quotient"]

ZERO = Decimal(0)


def softmax(x: Wide, step: float) -> Reals:
    """Along each row of [rows, length]."""
    below = x.max(axis=-1, keepdims=True) - x
    table = exact.exponentials(step, int(below.max()) + 1)

    def row(distances: list[int]) -> list[float]:
        parts = [table[k] if k < len(table) else ZERO for k in distances]
        total = sum(parts, ZERO)
        return [float(part / total) for part in parts]

    return _by_rows(below, row)


def layernorm(x: Wide, step: float) -> Reals:
    """Along each row of [rows, length]; the step drops out."""

    def row(numbers: list[int]) -> list[float]:
        total = sum(numbers)
        from_mean = [len(numbers) * number - total for number in numbers]
        squares = sum(d * d for d in from_mean)
        factor = (Decimal(len(numbers)) / squares).sqrt() if squares else ZERO
        return [float(d * factor) for d in from_mean]

    return _by_rows(x - x.min(axis=-1, keepdims=True), row)


def gelu(x: Wide, step: float) -> Reals:
    """Each element."""
    return _by_codes(_gelu, x, step)


def exp(x: Wide, step: float) -> Reals:
    """Each element; infinite where float64 is."""
    return _by_codes(_exp, x, step)


def requantize(x: Wide, step: float) -> Reals:
    """Each element."""
    return _by_codes(_times, x, step)


def sqrt(x: Wide, step: float) -> Reals:
    """Each element."""
    codes, place = np.unique(x, return_inverse=True)
    with exact.digits():
        roots = [float(Decimal(step) * Decimal(v).sqrt()) for v in codes.tolist()]
    return _taken(roots, codes.shape, place.reshape(x.shape))


def quotient(x: Wide, step: float, d: Wide) -> Reals:
    """Each element; Python's division of integers rounds once."""
    pairs = zip(x.ravel().tolist(), np.broadcast_to(d, x.shape).ravel().tolist(), strict=True)
    return np.array([a / b for a, b in pairs], np.float64).reshape(x.shape)


FUNCTIONS: Mapping[Kind, Callable[..., Reals]] = {
    "softmax": softmax,
    "gelu": gelu,
    "layernorm": layernorm,
    "requantize": requantize,
    "exp": exp,
    "sqrt": sqrt,
    "quotient": quotient,
}


def _by_rows(x: Wide, row: Callable[[list[int]], list[float]]) -> Reals:
    """A function of rows, each different one computed once."""
    rows, place = np.unique(x, axis=0, return_inverse=True)
    with exact.digits():
        values = [value for numbers in rows.tolist() for value in row(numbers)]
    return _taken(values, rows.shape, place.ravel())


def _taken(values: list[float], shape: tuple[int, ...], place: npt.NDArray[Any]) -> Reals:
    result: Reals = np.array(values, np.float64).reshape(shape)[place]
    return result


def _by_codes(function: _OfCodes, x: Wide, step: float) -> Reals:
    """A function of elements, computed once for every code that is not larger than the largest."""
    largest = int(np.abs(x).max())
    return _table(function, step, largest)[x + largest]


@lru_cache(maxsize=4)
def _table(function: _OfCodes, step: float, largest: int) -> Reals:
    with exact.digits():
        return np.array(list(function(step, range(-largest, largest + 1))), np.float64)


def _gelu(step: float, codes: range) -> Iterator[float]:
    tails = exact.lower_tail(step, codes.stop)
    for code in codes:
        tail = tails[abs(code)] if abs(code) < len(tails) else ZERO
        yield float(Decimal(step) * code * (tail if code <= 0 else 1 - tail))


def _exp(step: float, codes: range) -> Iterator[float]:
    powers = exact.exponentials(step, codes.stop)
    for code in codes:
        power = powers[abs(code)] if abs(code) < len(powers) else ZERO
        yield float(power) if code <= 0 else float(1 / power) if power else math.inf


def _times(step: float, codes: range) -> Iterator[float]:
    return (float(Decimal(step) * code) for code in codes)
