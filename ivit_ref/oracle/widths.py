"""Widths on plain Python ints: what every twin says with the words "must fit" and "saturate"."""

from __future__ import annotations


class Overflow(Exception):
    """A value left its declared width, and the policy is to raise."""


def bounds(bits: int, signed: bool = True) -> tuple[int, int]:
    """The smallest and the largest integer of that width."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def fit(value: int, bits: int, signed: bool = True, overflow: str = "raise") -> int:
    """``value`` if it has that width; otherwise Overflow, or the low bits as two's complement."""
    low, high = bounds(bits, signed)
    if low <= value <= high:
        return value
    if overflow == "raise":
        raise Overflow(f"{value} does not fit {'int' if signed else 'uint'}{bits}")
    return (value - low) % (1 << bits) + low


def saturate(value: int, dtype: str) -> int:
    """The nearest integer that ``dtype`` can hold."""
    low, high = bounds(int(dtype.removeprefix("u").removeprefix("int")), signed=not dtype.startswith("u"))
    return min(max(value, low), high)
