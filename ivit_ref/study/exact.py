"""exp, the normal distribution and quotients to 50 digits, at equally spaced points: what a float64 is rounded from once.

The conversion of a ``Decimal`` to a float rounds to nearest, so every value that leaves this module's callers is the float64
nearest to the real one (but for a tie that 50 digits cannot tell, of which none is known).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from functools import lru_cache

DIGITS = 50
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")

NEGLIGIBLE = Decimal("1e-400")
"""Far below the smallest float64: what is smaller counts as 0."""

WIDTH = Decimal(1) / 3
"""The width of a strip in the trapezoidal rule for erfc: its error is about exp(-(pi / WIDTH)**2), below 1e-38."""

STRIPS = 29
"""The strips that count: exp(-(WIDTH * k)**2) is below 1e-40 for the next."""


@contextmanager
def digits() -> Iterator[None]:
    """Decimals of 50 digits and any exponent."""
    with localcontext(Context(prec=DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN)):
        yield


@lru_cache(maxsize=8)
def exponentials(step: float, count: int) -> tuple[Decimal, ...]:
    """``exp(-step * k)`` for k = 0, 1, ... below ``count``, as far as it is not negligible."""
    with digits():
        return tuple(_powers((-Decimal(step)).exp(), count))


@lru_cache(maxsize=8)
def lower_tail(step: float, count: int) -> tuple[Decimal, ...]:
    """The normal distribution at ``-step * k`` for k = 0, 1, ... below ``count``, as far as it is not negligible.

    ``erfc(z) / 2`` at ``z = step * k / sqrt(2)`` by the trapezoidal rule with the term of its pole (Chiarella and Reichel,
    On the evaluation of integrals related to the error function, Mathematics of Computation 22, 1968).
    """
    with digits():
        unit = Decimal(step) / Decimal(2).sqrt()
        squares = [(WIDTH * k) ** 2 for k in range(1, STRIPS + 1)]
        weights = [(-square).exp() for square in squares]
        ratio, factor, bell = (-2 * unit * unit).exp(), (-unit * unit).exp(), Decimal(1)
        pole, growth = Decimal(1), (2 * PI * unit / WIDTH).exp()
        tail = [Decimal("0.5")]
        for k in range(1, count):
            bell, factor, pole = bell * factor, factor * ratio, pole * growth
            if bell < NEGLIGIBLE:
                break
            z = unit * k
            strips = sum((w / (z * z + s) for w, s in zip(weights, squares, strict=True)), 1 / (2 * z * z))
            tail.append(WIDTH * z * bell / PI * strips - 1 / (pole - 1))
        return tuple(tail)


def _powers(base: Decimal, count: int) -> Iterator[Decimal]:
    power = Decimal(1)
    for _ in range(count):
        if power < NEGLIGIBLE:
            return
        yield power
        power *= base
