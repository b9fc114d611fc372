"""Shapes with named dimensions: a name is equal to itself only."""

from __future__ import annotations

from math import prod

from ivit_ref.ir import Dim, Shape


def broadcasts_to(shape: Shape, target: Shape) -> bool:
    """Whether ``shape`` becomes ``target`` by repeating axes of length one."""
    if len(shape) > len(target):
        return False
    return all(s in (1, t) for s, t in zip(reversed(shape), reversed(target), strict=False))


def broadcast(first: Shape, second: Shape) -> Shape | None:
    """The shape that both broadcast to; None if there is none."""
    rank = max(len(first), len(second))
    padded = [(1,) * (rank - len(s)) + s for s in (first, second)]
    dims: list[Dim] = []
    for a, b in zip(*padded, strict=True):
        if a != b and 1 not in (a, b):
            return None
        dims.append(b if a == 1 else a)
    return tuple(dims)


def reshaped(shape: Shape, target: tuple[int, ...]) -> Shape | None:
    """``shape`` reshaped to ``target``, where 0 keeps the dimension of that place and one -1 takes what is left."""
    dims: list[Dim] = [shape[i] if d == 0 and i < len(shape) else d for i, d in enumerate(target)]
    if dims.count(-1) > 1 or any(d == 0 or (isinstance(d, int) and d < -1) for d in dims):
        return None
    names = sorted(d for d in shape if isinstance(d, str))
    total = prod(d for d in shape if isinstance(d, int))
    kept = sorted(d for d in dims if isinstance(d, str))
    known = prod(d for d in dims if isinstance(d, int) and d != -1)
    if -1 not in dims:
        return tuple(dims) if (kept, known) == (names, total) else None
    rest: Dim
    if kept == names and total % known == 0:
        rest = total // known
    elif len(names) == len(kept) + 1 and known == total and all(names.count(d) >= kept.count(d) for d in kept):
        rest = next(d for d in names if names.count(d) > kept.count(d))
    else:
        return None
    dims[dims.index(-1)] = rest
    return tuple(dims)
