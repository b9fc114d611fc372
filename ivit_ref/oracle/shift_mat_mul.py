"""ShiftMatMul on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.nested import Index, at, broadcast, build, repeated, shape_of
from ivit_ref.oracle.widths import fit


def shift_mat_mul(codes: Any, v: Any, *, bits: int, alpha: float, overflow: str = "raise") -> Any:
    *c_leading, rows, inner = shape_of(codes)
    *v_leading, _, columns = shape_of(v)
    leading = broadcast(tuple(c_leading), tuple(v_leading))

    def element(index: Index) -> int:
        *place, i, j = index
        row = at(codes, repeated(tuple(c_leading), tuple(place)))[i]
        matrix = at(v, repeated(tuple(v_leading), tuple(place)))
        shifted = [matrix[k][j] << (2**bits - 1 - row[k]) for k in range(inner) if row[k] != 2**bits]
        return fit(sum(shifted), 32, overflow=overflow)

    return build((*leading, rows, columns), element)
