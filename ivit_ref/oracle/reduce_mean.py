"""ReduceMean on plain Python ints and nested lists."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

from ivit_ref.oracle.nested import Index, at, build, shape_of
from ivit_ref.oracle.rounding import rounded


def reduce_mean(x: Any, *, axes: tuple[int, ...], rounding: str) -> Any:
    shape = shape_of(x)

    def element(index: Index) -> int:
        places = product(*(range(n) if i in axes else (index[i],) for i, n in enumerate(shape)))
        elements = [at(x, place) for place in places]
        return rounded(Fraction(sum(elements), len(elements)), rounding)

    return build(tuple(1 if i in axes else n for i, n in enumerate(shape)), element)
