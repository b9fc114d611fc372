"""IntSqrt of every integer from 0 to 2**24, of every k**2 - 1, k**2 and k**2 + 1 up to k = 2**24, and around larger squares.

No v that ILayerNorm adds up is beyond 2**48: 2**16 squares of 16 bits and a sign. The operator itself takes v < 2**62, so k up
to 2**31 - 1: of those beyond 2**24, all with at most 12 significant bits and their neighbours k - 1 and k + 1 are there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ivit_ref.certify.certificate import Certificate, Checked, Part, Tally
from ivit_ref.integers import Wide
from ivit_ref.ops import int_sqrt
from ivit_ref.profiles import IDEAL, PAPER, QAT

BLOCK = 2**18
LAST = 2**24
PROFILES = {"paper": PAPER, "qat, tvm": QAT, "ideal": IDEAL}
ALL, SQUARES = "0 to 2**24", "squares"


def chunk(part: str, index: int) -> Checked:
    """2**18 integers, or 2**18 squares with their neighbours; the last chunk of the squares has those beyond 2**48."""
    name, _, domain = part.rpartition(": ")
    attributes: dict[str, Any] = PROFILES[name].int_sqrt()
    v = integers(index) if domain == ALL else around(roots(index))
    start, steps = attributes["start"], attributes["steps"]
    want = [math.isqrt(x) if steps == 0 else newton(x, start, steps) for x in v.tolist()]
    tally = Tally()
    tally.compare(int_sqrt(v, **attributes), np.array(want), attributes, v=v)
    return tally.checked()


def integers(index: int) -> Wide:
    """2**18 integers; the last chunk has one more, 2**24."""
    first = BLOCK * index
    return np.arange(first, first + BLOCK + (first + BLOCK == LAST), dtype=np.int64)


def roots(index: int) -> Wide:
    """k from 1 to 2**24, and behind them the larger ones."""
    if index < LAST // BLOCK:
        return np.arange(BLOCK * index + 1, BLOCK * (index + 1) + 1, dtype=np.int64)
    short = np.arange(2**11, 2**12, dtype=np.int64)
    exact = np.concatenate([short << e for e in range(13, 20)])
    return np.unique(np.concatenate([exact - 1, exact, exact + 1, [2**31 - 1]]))


def around(k: Wide) -> Wide:
    """k**2 - 1, k**2, k**2 + 1 of each k, but none beyond the operator's domain."""
    v = (k * k)[:, None] + np.arange(-1, 2)
    return v[v < 2**62]


def newton(v: int, start: int, steps: int) -> int:
    """The text, on one Python integer."""
    k = start or 1 << (v.bit_length() // 2)
    for _ in range(steps):
        k = (k + v // k) >> 1 if k else 0
    return k


CERTIFICATE = Certificate(
    "IntSqrt",
    "every v from 0 to 2**24; every k**2 - 1, k**2, k**2 + 1 up to k = 2**24, and larger k with short binary forms",
    "Python's unbounded integers, one at a time: math.isqrt where the root is exact, otherwise the iteration, its start from "
    "int.bit_length (the NumPy body searches a table of powers of two, and finds an exact root bit by bit)",
    tuple(
        Part(f"{name}: {domain}", chunks, (quick,))
        for name in PROFILES
        for domain, chunks, quick in ((ALL, LAST // BLOCK, 0), (SQUARES, LAST // BLOCK + 1, LAST // BLOCK))
    ),
    chunk,
)
