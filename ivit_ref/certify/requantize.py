"""Requantize of every int16 accumulator at 1,000 ratios, and of every tie of an int32 accumulator, under all rounding rules.

The ratios, below one but for the first long one, as ``w / 2**d`` with an odd w; those of an odd number are negative
    0 to 53      d from 1 to 9: a tie at every other multiple of a small number
    54 to 399    d from 10 to 17, more ratios for a larger d, w spread evenly
    400 to 999   ``dyadic.from_real(1 / (1 + j**2 / 11))``, j from 0 to 599: multipliers of 31 bits, from 1 down to 2**-15
The zero point goes with the ratio; of each five the last gives int8, the others int16.

A tie of ``x * w / 2**d`` is ``x = u * 2**(d - 1)`` with an odd u, and no other x: the quotient is u * w / 2. Of the ratios from
54 on, all ties in int32 are there. Those before have up to 2**31 each: of them, all u from -2**16 to 2**16 and the 2**16 odd
ones nearest to either end of int32. Where the ratio is below one half, x - 1 and x + 1 are there, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.certify.certificate import Certificate, Checked, Part, Tally
from ivit_ref.integers import BOUNDS, ROUNDINGS, Rounding, Wide, narrow
from ivit_ref.ops import requantize

RATIOS, CHUNKS = 1000, 50
CODES = narrow(np.arange(-(2**15), 2**15), "int16")
COUNTS = (1, 2, 4, 8, 8, 8, 8, 8, 7, 2, 4, 8, 16, 32, 64, 128, 92)
"""How many ratios there are with d = 1, 2, 3, ..."""
WINDOW = 2**17
ONCE = 2**18
"""So many u at a time, half of them odd."""


def chunk(part: str, index: int) -> Checked:
    """20 ratios: each 50th from ``index`` on, so that chunks take about equally long."""
    domain, _, rule = part.partition(", ")
    rounding = ROUNDINGS[[*ROUNDINGS].index(rule)]  # type: ignore[arg-type]
    tally = Tally()
    for number in range(index, RATIOS, CHUNKS):
        (every_code if domain == "int16" else every_tie)(number, rounding, tally)
    return tally.checked()


def short_ratios() -> list[tuple[int, int]]:
    """w and d of the first 400 ratios."""
    return [(1 + 2 * (j * 2**d // (2 * count)), d) for d, count in enumerate(COUNTS, 1) for j in range(count)]


def ratio(number: int) -> tuple[int, int]:
    """The multiplier and the shift of a ratio."""
    short = short_ratios()
    if number < len(short):
        multiplier, shift = short[number]
    else:
        multiplier, shift = dyadic.from_real(1 / (1 + (number - len(short)) ** 2 / 11))
    return (-multiplier if number % 2 else multiplier), shift


def attributes_of(number: int, rounding: Rounding, zero_point: int, dtype: str) -> dict[str, Any]:
    """The attributes of Requantize."""
    multiplier, shift = ratio(number)
    dyadics = {"multiplier": (multiplier,), "shift": (shift,)}
    return {**dyadics, "rounding": rounding, "axis": 0, "zero_point": zero_point, "dtype": dtype}


# --- Every int16


def every_code(number: int, rounding: Rounding, tally: Tally) -> None:
    """All int16."""
    attributes = attributes_of(number, rounding, 37 * number % 256 - 128, "int8" if number % 5 == 4 else "int16")
    want = counted(*ratio(number), rounding, attributes["zero_point"], BOUNDS[attributes["dtype"]])
    tally.compare(requantize(CODES, **attributes), want, attributes, x=CODES)


def counted(multiplier: int, shift: int, rounding: Rounding, zero_point: int, bounds: tuple[int, int]) -> Wide:
    """The result of each int16: the smallest of all, and one more for each threshold that ``x * sign(multiplier)`` reaches."""
    reach = (abs(multiplier) << 15 >> shift) + 2
    low, high = max(bounds[0], zero_point - reach), min(bounds[1], zero_point + reach)
    thresholds = [threshold(y - zero_point, abs(multiplier), shift, rounding) for y in range(low + 1, high + 1)]
    y = low + np.searchsorted(thresholds, np.arange(-(2**15), 2**15 + 1), side="right")
    result: Wide = y[:-1] if multiplier > 0 else y[:0:-1]
    return result


def threshold(y: int, multiplier: int, shift: int, rounding: Rounding) -> int:
    """The smallest x, on Python's integers, at which ``x * multiplier / 2**shift`` is rounded to y or more."""
    nearest = rounding.startswith("half")
    reached = {"floor": True, "truncate": y > 0, "half_up": True, "half_away": y > 0, "half_even": y % 2 == 0}[rounding]
    edge = 2 * y - 1 if nearest else 2 * y if reached else 2 * y - 2
    bound: int = edge * 2**shift
    return -(-bound // (2 * multiplier)) if reached else bound // (2 * multiplier) + 1


# --- Every tie


def every_tie(number: int, rounding: Rounding, tally: Tally) -> None:
    """All ties, or those of the windows, to int32."""
    attributes = attributes_of(number, rounding, 0, "int32")
    multiplier, shift = ratio(number)
    zeros = (multiplier & -multiplier).bit_length() - 1
    w, d = multiplier >> zeros, shift - zeros
    offsets = (-1, 0, 1) if 2 * abs(w) < 2**d and d < 32 else (0,)
    for u in odd_numbers(d):
        x = np.add.outer(u << (d - 1), offsets)
        want = np.stack([beside(u * w, rounding, offset * w) for offset in offsets], axis=-1)
        x = narrow(x, "int32")
        tally.compare(requantize(x, **attributes), want, attributes, x=x)


def odd_numbers(d: int) -> Iterator[Wide]:
    """The odd u of all ties in int32, ``-2**31 <= u * 2**(d - 1) < 2**31``; for a small d those of three windows."""
    if not 1 <= d <= 32:
        return
    end = 2 ** (32 - d)
    windows = [(-end, end)] if d >= 10 else [(-end, WINDOW - end), (-WINDOW // 2, WINDOW // 2), (end - WINDOW, end)]
    for low, high in windows:
        for first in range(low, high, ONCE):
            yield np.arange(first | 1, min(first + ONCE, high), 2, dtype=np.int64)


def beside(a: Wide, rounding: Rounding, side: int) -> Wide:
    """a / 2 rounded, with an odd a (``side`` 0), or a number less than one half above it (``side`` > 0) or below it."""
    below, above = (a - 1) // 2, (a + 1) // 2
    if rounding == "floor":
        return below
    if rounding == "truncate":
        return np.where(a > 0, below, above)
    if side or rounding == "half_up":
        return below if side < 0 else above
    up = a > 0 if rounding == "half_away" else a % 4 == 3
    return np.where(up, above, below)


CERTIFICATE = Certificate(
    "Requantize",
    "every int16 accumulator at 1,000 ratios; every tie of an int32 accumulator at 946 of them, three windows of ties at 54, "
    "with both neighbours; five rounding rules",
    "the inverse function: for each result the smallest x that gives it, one exact division of Python integers; for ties "
    "number theory: x is made from an odd u, and the result from u * w alone, without the shift",
    tuple(Part(f"{domain}, {rule}", CHUNKS, (7,)) for domain in ("int16", "ties") for rule in ROUNDINGS),
    chunk,
)
