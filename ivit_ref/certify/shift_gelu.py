"""ShiftGELU at every pair of an int8 x and a row maximum, at every scale that gives i0 from 1 to 256.

An element depends on itself and on the maximum of its row only. Those scales are all float32 ones from 0.0023 up, or from 2**-8
up where the sigmoid is made by shifts: i0 falls where the scale rises. Values wrap, as under ``overflow="wrap"``.

Where the sum of both exponentials is 0, at x or at the maximum itself, the operator stops the run by IntDiv (C2): in the
paper's profile where both are too small to have a bit left, in tvm where both wrap. Each such pair must stop, and is digested
as 2**62.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ivit_ref.certify.certificate import Certificate, Checked, Part, Tally
from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context
from ivit_ref.integers import Mask, Wide, narrow, widen
from ivit_ref.ops import shift_gelu
from ivit_ref.oracle.shift_exp import shift_exp
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY

UNITS, BLOCK = 256, 8
LOW, HIGH = -128, 127
STOPS = 2**62
CODES = np.arange(LOW, HIGH + 1)
X, M = np.meshgrid(CODES, CODES)
PAIRS: Mask = X <= M
"""Row by row the pairs of one maximum."""


def chunk(part: str, index: int) -> Checked:
    """8 units."""
    tally = Tally()
    for i0 in range(BLOCK * index + 1, BLOCK * (index + 1) + 1):
        attributes = PROFILES[part].shift_gelu(1.0) | {"i0": i0}
        want = np.array(expected(attributes), np.int64)
        tally.compare(found(attributes, want == STOPS), want, attributes, x=X[PAIRS], row_maximum=M[PAIRS])
    return tally.checked()


def found(attributes: dict[str, Any], stops: Mask) -> Wide:
    """The body's result for each pair: a row for each maximum, without the x that must stop; each of these alone."""
    stopping = np.zeros(X.shape, np.bool_)
    stopping[PAIRS] = stops
    runs = ~np.diagonal(stopping)
    rows = narrow(np.where(PAIRS & ~stopping, X, M), "int8")
    y = np.full(X.shape, STOPS)
    y[runs] = shift_gelu(rows[runs], **attributes, ctx=Context("wrap"))
    y[stopping] = [_alone([x, m], attributes) for x, m in zip(X[stopping].tolist(), M[stopping].tolist(), strict=True)]
    return widen(y[PAIRS])


def _alone(row: list[int], attributes: dict[str, Any]) -> int:
    """The body of one pair, without the checks of types and attributes, which cost more than it does."""
    try:
        return int(REGISTRY["ShiftGELU"].kernel(np.array(row, np.int8), **attributes, ctx=Context("wrap"))[0])
    except ConstraintError as error:
        return STOPS if str(error).startswith("IntDiv (C2)") else STOPS - 1


def expected(attributes: dict[str, Any]) -> list[int]:
    """y of each pair, on Python's integers: both exponentials are looked up by the difference and by the maximum.

    A row that the pair of its maximum with itself stops has no result at all.
    """
    names = ("i0", "n", "clamp", "half", "quotient", "exp_bits")
    given = {name: attributes[name] for name in names}
    folded = attributes["sigmoid"] == "folded"
    z = {x: x if folded else x + (x // 2) + (x // 8) + (x // 16) for x in range(LOW, HIGH + 1)}
    wanted = sorted({z[x] - z[m] for m in z for x in range(LOW, m + 1)} | {-v for v in z.values()})
    exponential = dict(zip(wanted, shift_exp(wanted, **given, overflow="wrap"), strict=True))
    results: list[int] = []
    for m in z:
        row = [_element(x, exponential[z[x] - z[m]], exponential[-z[m]], attributes) for x in range(LOW, m + 1)]
        results += row if row[-1] != STOPS else [STOPS] * len(row)
    return results


def _element(x: int, e: int, e_m: int, attributes: dict[str, Any]) -> int:
    """``x * sigma``; nothing here has a width but where the text says so."""
    s = e + e_m
    if attributes["sum"] != "exact":
        s = min(s, 2**31 - 1) if attributes["sum"] == "clamped" else _wrapped(s)
    if s == 0:
        return STOPS
    numerator: int = attributes["numerator"]
    product = (numerator // s if s > 0 else -(numerator // -s)) * e
    if attributes["product_bits"] == 32:
        product = _wrapped(product)
    return _wrapped(x * (product // 2 ** (32 - attributes["out_bits"])))


def _wrapped(v: int) -> int:
    return (v + 2**31) % 2**32 - 2**31


CERTIFICATE = Certificate(
    "ShiftGELU",
    "every pair of an int8 x and an int8 row maximum, at every float32 scale that gives i0 <= 256",
    "Python's unbounded integers, pair by pair, with the exponentials of the twin (exact fractions) tabulated by difference "
    "and by maximum; the NumPy body sees whole rows",
    tuple(Part(name, UNITS // BLOCK, (2,)) for name in PROFILES),
    chunk,
)
