"""Numbers brought nearer to 0 while a backend stays wrong: what Hypothesis leaves, which shrinks what it drew and not arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ivit_ref.ir import Array

MOST_ELEMENTS = 64
"""Of an array with more, elements are not tried one by one."""

Arrays = tuple[Array, ...]


def smallest(arrays: Arrays, fails: Callable[[Arrays], bool]) -> Arrays:
    """The arrays with every integer as near to 0 as it can be, alone, while ``fails`` holds."""
    changed = True
    while changed:
        changed = False
        for which, array in enumerate(arrays):
            for index in np.ndindex(array.shape) if array.size <= MOST_ELEMENTS and array.dtype.kind in "iu" else ():
                for value in _nearer(int(arrays[which][index])):
                    trial = tuple(_with(a, index, value) if k == which else a for k, a in enumerate(arrays))
                    if fails(trial):
                        arrays, changed = trial, True
                        break
    return arrays


def _nearer(value: int) -> Iterator[int]:
    """0, then less and less far from the value: half of it, three quarters, ... one beside it."""
    distance = abs(value)
    sign = 1 if value > 0 else -1
    while distance:
        yield value - sign * distance
        distance //= 2


def _with(array: Array, index: tuple[int, ...], value: int) -> Array:
    changed: Array = array.copy()
    changed[index] = value
    return changed
