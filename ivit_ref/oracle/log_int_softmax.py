"""LogIntSoftmax on plain Python ints."""

from __future__ import annotations

from fractions import Fraction

from ivit_ref.oracle.i_bert_softmax import exponential
from ivit_ref.oracle.rounding import rounded


def log_int_softmax(x: list[int], *, x0: int, b: int, c: int, n: int, bits: int) -> list[int]:
    """The codes of one row x."""
    e = []
    for value in x:
        z, q = exponential(value - max(x), x0, b, c, n)
        e.append(z * 2 ** (n - q))
    return [code(Fraction(sum(e), value), bits) if value else 2**bits for value in e]


def code(ratio: Fraction, bits: int) -> int:
    """How many powers of two the rounded ratio reaches, in the sense of the text."""
    return sum(2 * rounded(ratio, "half_even") >= 3 * 2**k for k in range(2**bits))
