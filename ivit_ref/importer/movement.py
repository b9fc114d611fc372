"""Operators that move elements and leave them as they are."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ivit_ref.errors import GraphError
from ivit_ref.importer.constants import Constant
from ivit_ref.importer.emitter import lengths
from ivit_ref.importer.lower import Coded, Image, Item, Lowering, Rule
from ivit_ref.importer.pending import Joined, Moved
from ivit_ref.importer.reals import Held, Move, Real, Tabulated
from ivit_ref.importer.source import Op
from ivit_ref.ir import Value


def moved(state: Lowering, item: Item, move: Move, shape: tuple[int, ...], name: str, output: str) -> Item:
    """An item with its elements moved."""
    if isinstance(item, Image):
        return Image(item.edge, shape, (*item.moves, move))
    if isinstance(item, Coded):
        origin = item.origin and Tabulated(move(item.origin.source, name, ""), item.origin.results, name)
        return Coded(move(item.value, name, output), origin, item.linear)
    if isinstance(item, Held):
        origin = item.origin and Tabulated(move(item.origin.source, name, ""), item.origin.results, name)
        return Held(move(item.value, name, output), name, origin, item.linear)
    if isinstance(item, Tabulated):
        return Tabulated(move(item.source, name, ""), item.results, name)
    if isinstance(item, Real):
        return Moved(item, move, name, shape)
    raise GraphError("it must move a tensor, but found a constant with a shape that is computed")


def shape_of(item: Item) -> tuple[int, ...]:
    """The lengths of an item."""
    if isinstance(item, Coded):
        return lengths(item.value.type.shape)
    if isinstance(item, (Constant, Image)):
        return item.shape
    if isinstance(item, Real):
        return lengths(item.shape)
    raise GraphError("it must read a tensor, but found none")


def place(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise GraphError(f"an axis must be from {-rank} to {rank - 1}, but found {axis}")
    return axis % rank if rank else 0


def axes_of(state: Lowering, op: Op, where: int, rank: int) -> tuple[int, ...] | None:
    """The attribute ``axes``, or the input that took its place."""
    axes = op.ints("axes")
    if axes is None and op.has(where):
        axes = state.lengths(op, where)
    return None if axes is None else tuple(sorted({place(a, rank) for a in axes}))


def _reshape_to(state: Lowering, op: Op, target: Sequence[int]) -> Item:
    item = state.item(op, 0)
    shape = tuple(target)
    if prod(shape) != prod(shape_of(item)):
        raise GraphError(f"it must keep the elements of {list(shape_of(item))}, but found {list(shape)}")

    def move(v: Value, name: str, output: str) -> Value:
        return state.emitter.reshaped(v, shape, name, output)

    return moved(state, item, move, shape, op.output, op.output)


def reshape(state: Lowering, op: Op) -> Item:
    """Reshape, with 0 for an axis that stays and -1 for what is left."""
    before = shape_of(state.item(op, 0))
    target = list(op.ints("shape") or state.lengths(op, 1))
    if not op.get("allowzero", 0):
        target = [before[i] if d == 0 and i < len(before) else d for i, d in enumerate(target)]
    known = prod(d for d in target if d != -1)
    if target.count(-1) > 1 or any(d < -1 for d in target) or known <= 0 or prod(before) % known:
        raise GraphError(f"it must keep the elements of {list(before)}, but found {target}")
    return _reshape_to(state, op, [prod(before) // known if d == -1 else d for d in target])


def squeeze(state: Lowering, op: Op) -> Item:
    """Squeeze: axes of length one taken away."""
    before = shape_of(state.item(op, 0))
    axes = axes_of(state, op, 1, len(before))
    axes = tuple(i for i, d in enumerate(before) if d == 1) if axes is None else axes
    if any(before[a] != 1 for a in axes):
        raise GraphError(f"it must take away axes of length one from {list(before)}, but found {list(axes)}")
    return _reshape_to(state, op, [d for i, d in enumerate(before) if i not in axes])


def unsqueeze(state: Lowering, op: Op) -> Item:
    """Unsqueeze: axes of length one put in."""
    before = list(shape_of(state.item(op, 0)))
    given = op.ints("axes") or state.lengths(op, 1)
    for axis in sorted(place(a, len(before) + len(given)) for a in given):
        before.insert(axis, 1)
    return _reshape_to(state, op, before)


def flatten(state: Lowering, op: Op) -> Item:
    """Flatten: two axes."""
    before = shape_of(state.item(op, 0))
    axis = op.get("axis", 1)
    axis = axis + len(before) if axis < 0 else axis
    return _reshape_to(state, op, [prod(before[:axis]), prod(before[axis:])])


def transpose(state: Lowering, op: Op) -> Item:
    """Transpose."""
    item = state.item(op, 0)
    before = shape_of(item)
    perm = op.ints("perm") or tuple(range(len(before)))[::-1]
    if sorted(perm) != list(range(len(before))):
        raise GraphError(f"perm must order the axes of {list(before)}, but found {list(perm)}")

    def move(v: Value, name: str, output: str) -> Value:
        return state.emitter.transposed(v, perm, name, output)

    return moved(state, item, move, tuple(before[p] for p in perm), op.output, op.output)


def split(state: Lowering, op: Op) -> list[Item]:
    """Split: several ranges of one axis."""
    item = state.item(op, 0)
    before = shape_of(item)
    axis = place(op.get("axis", 0), len(before))
    sizes = op.ints("split") or (state.lengths(op, 1) if op.has(1) else None)
    if sizes is None:
        count = op.get("num_outputs", len(op.outputs))
        if count != len(op.outputs):
            raise GraphError(f"it must have as many outputs as num_outputs says, {len(op.outputs)}, but found {count}")
        size = -(-before[axis] // count)
        sizes = tuple(min(size, before[axis] - i * size) for i in range(count))
    if sum(sizes) != before[axis] or min(sizes, default=0) < 1 or len(sizes) < len(op.outputs):
        raise GraphError(f"its parts must make up axis {axis} of {list(before)}, but found {list(sizes)}")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [
        taken(state, item, axis, range(start, start + size), name)
        for start, size, name in zip(starts, sizes, op.outputs, strict=False)
    ]


def taken(state: Lowering, item: Item, axis: int, indices: Sequence[int], name: str) -> Item:
    """Elements of one axis."""
    before = shape_of(item)
    if not indices:
        raise GraphError(f"it must take an element of {list(before)}, but found none")
    if isinstance(item, Constant):
        return Constant(np.take(item.array, list(indices), axis=axis))

    def move(v: Value, label: str, output: str) -> Value:
        return state.emitter.gathered(v, axis, indices, label, output)

    shape = (*before[:axis], len(indices), *before[axis + 1 :])
    return moved(state, item, move, shape, name, name)


def slice_(state: Lowering, op: Op) -> Item:
    """Slice: ranges of axes, with steps of either sign."""
    item = state.item(op, 0)
    rank = len(shape_of(item))
    starts = op.ints("starts") or state.lengths(op, 1)
    ends = op.ints("ends") or state.lengths(op, 2)
    axes = op.ints("axes") or (state.lengths(op, 3) if op.has(3) else tuple(range(len(starts))))
    steps = state.lengths(op, 4) if op.has(4) else (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise GraphError(f"starts, ends, axes and steps must be equally many, but found {starts}, {ends}, {axes}, {steps}")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = place(axis, rank)
        indices = range(shape_of(item)[axis])[start : end if end > -(2**62) else None : step]
        item = taken(state, item, axis, indices, op.output)
    return item


def gather(state: Lowering, op: Op) -> Item:
    """Gather, by a constant list of places or one place."""
    item = state.item(op, 0)
    before = shape_of(item)
    axis = place(op.get("axis", 0), len(before))
    where = state.array(op, 1)
    if where.dtype.kind not in "iu" or where.size > 2**16:
        raise GraphError(f"its places must be at most 2**16 integers, but found {where.dtype}{list(where.shape)}")
    places = [int(i) for i in where.reshape(-1)]
    if any(not -before[axis] <= i < before[axis] for i in places):
        raise GraphError(f"its places must be within axis {axis} of {list(before)}, but found {places[:20]}")
    found = taken(state, item, axis, [i % before[axis] for i in places], op.output)
    if where.ndim == 1:
        return found
    shape = (*before[:axis], *where.shape, *before[axis + 1 :])

    def move(v: Value, name: str, output: str) -> Value:
        return state.emitter.reshaped(v, shape, name, output)

    return moved(state, found, move, shape, op.output, op.output)


def expand(state: Lowering, op: Op) -> Item:
    """Expand and Tile: axes repeated."""
    item = state.item(op, 0)
    before, wanted = list(shape_of(item)), list(state.lengths(op, 1))
    if op.type == "Tile":
        wanted = [d * n for d, n in zip(before, wanted, strict=False)]
    missing = len(wanted) - len(before)
    if missing > 0:
        before = [1] * missing + before
        item = _reshape_to(state, op, before)
    wanted = [1] * -missing + wanted if missing < 0 else wanted
    for axis, (d, n) in enumerate(zip(before, wanted, strict=True)):
        if n < 1 or (op.type == "Expand" and d != n and 1 not in (d, n)) or n > 2**16:
            raise GraphError(f"it must repeat axes of {before}, but found {wanted}")
        if n > d:
            item = taken(state, item, axis, [i % d for i in range(n)], op.output)
    return item


def concat(state: Lowering, op: Op) -> Item:
    """Concat: of integers as they are, of real tensors at the quantization that follows."""
    items = [state.item(op, i) for i in range(len(op.inputs))]
    shapes = [shape_of(item) for item in items]
    axis = place(op.get("axis", 0), len(shapes[0]))
    others = {(*s[:axis], *s[axis + 1 :]) for s in shapes}
    if len(others) != 1 or len({len(s) for s in shapes}) != 1:
        raise GraphError(f"its inputs must agree in all axes but {axis}, but found {[list(s) for s in shapes]}")
    shape = (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])
    if any(isinstance(item, Coded) for item in items):
        return _join_integers(state, op, items, axis)
    return Joined([state.real(op, i) for i in range(len(items))], axis, op.output, shape)


def _join_integers(state: Lowering, op: Op, items: list[Item], axis: int) -> Item:
    """Integers behind integers; they must all mean the same."""
    first = next(item.value for item in items if isinstance(item, Coded))
    values = []
    for i, item in enumerate(items):
        if isinstance(item, Constant) and str(item.array.dtype) == first.type.dtype:
            values.append(state.emitter.constant(op.inputs[i], item.array, first.quant))
        elif isinstance(item, Coded) and (item.value.quant, item.value.type.dtype) == (first.quant, first.type.dtype):
            values.append(item.value)
        else:
            raise GraphError(f"its integers must all be {first.type.dtype} with {first.quant}, but input {i} is not")
    return Coded(state.emitter.joined(values, axis, op.output, op.output))


def shape(state: Lowering, op: Op) -> Item:
    """Shape and Size: known, since every axis is bound."""
    found = shape_of(state.item(op, 0))
    if op.type == "Size":
        return Constant(np.array(prod(found), np.int64))
    part = found[slice(op.get("start", 0), op.attributes.get("end"))]
    return Constant(np.array(part, np.int64))


RULES: dict[str, Rule] = {
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Flatten": flatten,
    "Transpose": transpose,
    "Split": split,
    "Slice": slice_,
    "Gather": gather,
    "Expand": expand,
    "Tile": expand,
    "Concat": concat,
    "Shape": shape,
    "Size": shape,
}
