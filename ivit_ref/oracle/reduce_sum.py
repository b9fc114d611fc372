"""ReduceSum on plain Python ints and nested lists."""

from __future__ import annotations

from itertools import product
from typing import Any

from ivit_ref.oracle.nested import Index, at, build, shape_of
from ivit_ref.oracle.widths import fit


def reduce_sum(x: Any, *, axes: tuple[int, ...], overflow: str = "raise") -> Any:
    shape = shape_of(x)

    def element(index: Index) -> int:
        places = product(*(range(n) if i in axes else (index[i],) for i, n in enumerate(shape)))
        return fit(sum(at(x, place) for place in places), 32, overflow=overflow)

    return build(tuple(1 if i in axes else n for i, n in enumerate(shape)), element)
