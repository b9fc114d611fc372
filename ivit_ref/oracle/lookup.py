"""Lookup on plain Python ints."""

from __future__ import annotations


def lookup(x: list[int], table: list[int], *, low: int) -> list[int]:
    """Each y of a list of x."""
    return [table[value - low] for value in x]
