"""MatMul on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.nested import Index, at, broadcast, build, repeated, shape_of
from ivit_ref.oracle.widths import fit


def matmul(a: Any, b: Any, *, alpha: float, overflow: str = "raise") -> Any:
    *a_leading, rows, inner = shape_of(a)
    *b_leading, _, columns = shape_of(b)
    leading = broadcast(tuple(a_leading), tuple(b_leading))

    def element(index: Index) -> int:
        *place, i, j = index
        a_matrix = at(a, repeated(tuple(a_leading), tuple(place)))
        b_matrix = at(b, repeated(tuple(b_leading), tuple(place)))
        return fit(sum(a_matrix[i][k] * b_matrix[k][j] for k in range(inner)), 32, overflow=overflow)

    return build((*leading, rows, columns), element)
