"""FloatGELU by decimal numbers of 50 digits and more."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

DIGITS = Context(prec=100, rounding=ROUND_HALF_EVEN)
"""The series loses up to 44 digits to its alternating signs where it ends, and 50 are left."""

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")
ENDS_AT = 10
"""From there on the error function is 1 within 44 digits, and the result is x or 0 to far below a half of a step."""


def float_gelu(x: list[int], *, scale: float, out_bits: int) -> list[int]:
    """The y of a list of elements."""
    with localcontext(DIGITS):
        root = Decimal(2).sqrt()
        phi = {value: (1 + erf(Decimal(scale) * value / root)) / 2 for value in set(x)}
        return [int((value * phi[value] * 2 ** (out_bits - 1)).to_integral_value()) for value in x]


def erf(u: Decimal) -> Decimal:
    """The error function by the power series of its integral, term by term."""
    if abs(u) >= ENDS_AT:
        return Decimal(1).copy_sign(u)
    power, total, k = u, Decimal(0), 0
    while abs(power) > Decimal(10) ** -60:
        total += power / (2 * k + 1)
        k += 1
        power *= -u * u / k
    return 2 * total / PI.sqrt()
