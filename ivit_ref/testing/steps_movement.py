"""Steps of a drawn graph that choose and move elements: each takes a value that it applies to, and gives a new one."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import strategies as st

from ivit_ref.ir import Quant, Value
from ivit_ref.testing.drawing import (
    LARGEST_RANK,
    Applies,
    Drawing,
    Step,
    free_axes,
    is_image,
    known,
    lengths,
)


def reshape(d: Drawing, x: Value) -> Value:
    """With 0, -1 and a further axis."""
    rank = len(x.type.shape)
    targets: list[tuple[int, ...]] = [(*(0,) * rank, 1)] if rank < LARGEST_RANK else [(0,) * rank]
    if x.quant is None or x.quant.axis is None:
        last = lengths(x.type.shape[-1:])
        targets += [(0, -1)] if rank >= 2 and known(*x.type.shape[1:]) else []
        targets += [(*(0,) * (rank - 1), n, -1) for n in range(1, 5) if last and last[0] % n == 0 and rank < LARGEST_RANK]
        targets += [(prod(lengths(x.type.shape)),)] if known(*x.type.shape) else []
    return d.node("Reshape", x, shape=d.choose(targets))


def transpose(d: Drawing, x: Value) -> Value:
    """Any order of the axes."""
    return d.node("Transpose", x, perm=tuple(d.draw(st.permutations(range(len(x.type.shape))))))


def slice_range(d: Drawing, x: Value) -> Value:
    """Of any axis."""
    axis = d.choose([i for i, n in enumerate(x.type.shape) if known(n)])
    (length,) = lengths((x.type.shape[axis],))
    start = d.draw(st.integers(0, length - 1))
    return d.node("Slice", x, axis=axis, start=start, stop=d.draw(st.integers(start + 1, length)))


def concat(d: Drawing, x: Value) -> Value:
    """With itself, or with a constant of the same meaning."""
    axis = d.choose(free_axes(x))
    others = [x]
    if known(*x.type.shape) and x.name not in d.profiled:
        longer = (*x.type.shape[:axis], d.draw(st.integers(1, 3)), *x.type.shape[axis + 1 :])
        others.append(d.constant(x.type.dtype, lengths(longer), x.quant))
    other = d.choose(others)
    return d.node("Concat", *d.choose([(x, other), (other, x)]), axis=axis)


def expand(d: Drawing, x: Value) -> Value:
    """An axis of length one as long as that of another value; or a constant, as many times as there are images."""
    ones = [i for i, n in enumerate(x.type.shape) if n == 1 and (x.quant is None or x.quant.axis != i)]
    likes = [y for y in d.pool if len(y.type.shape) == len(x.type.shape)]
    if ones:
        return d.node("Expand", x, d.choose(likes), axes=tuple(sorted({d.choose(ones), d.choose(ones)})))
    token = d.constant("int16", (1, *(d.draw(st.integers(1, 3)) for _ in x.type.shape[1:])), Quant((d.scale(),)))
    return d.node("Expand", token, x, axes=(0,))


def max_pool(d: Drawing, x: Value) -> Value:
    """Windows that may lie in the padding for the most part."""
    image = lengths(x.type.shape[2:])
    kernel = [d.draw(st.integers(1, n)) for n in image]
    dilations = [d.draw(st.integers(1, n)) if k == 1 or n > 2 else 1 for n, k in zip(image, kernel, strict=True)]
    spans = [a * (k - 1) + 1 for a, k in zip(dilations, kernel, strict=True)]
    lacking = [max(0, span - n) for span, n in zip(spans, image, strict=True)]
    ends = [d.draw(st.integers(lacking[i], spans[i] - 1)) for i in (0, 1)]
    pads = (*(d.draw(st.integers(0, span - 1)) for span in spans), *ends)
    strides = (d.draw(st.integers(1, 2)), d.draw(st.integers(1, 2)))
    return d.node("MaxPool", x, kernel_shape=tuple(kernel), strides=strides, pads=pads, dilations=tuple(dilations))


def where(d: Drawing, x: Value) -> Value:
    """With a constant of the same meaning, as a constant mask says that lacks the leading axes."""
    tails = [x.type.shape[i:] for i in range(len(x.type.shape) + 1) if known(*x.type.shape[i:])]
    other = d.constant(x.type.dtype, lengths(d.choose(tails)), x.quant)
    mask = np.random.default_rng(d.draw(st.integers(0, 2**32 - 1))).random(lengths(d.choose(tails))) < 0.5
    condition = d.builder.constant(f"constant_{len(d.builder.constants)}", np.asarray(mask))
    return d.node("Where", condition, *d.choose([(x, other), (other, x)]))


def take(d: Drawing, x: Value) -> Value:
    """Any elements of an axis, in any order."""
    axis = d.choose([i for i, n in enumerate(x.type.shape) if known(n)])
    (length,) = lengths((x.type.shape[axis],))
    return d.node("Take", x, axis=axis, indices=tuple(d.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=4))))


def roll(d: Drawing, x: Value) -> Value:
    """Along any axis."""
    axis = d.choose([i for i, n in enumerate(x.type.shape) if known(n)])
    (length,) = lengths((x.type.shape[axis],))
    return d.node("Roll", x, axis=axis, shift=d.draw(st.integers(0, length - 1)))


MOVEMENT: dict[Step, Applies] = {
    reshape: lambda d, x: True,
    transpose: lambda d, x: True,
    slice_range: lambda d, x: any(known(n) for n in x.type.shape),
    concat: lambda d, x: prod(lengths(x.type.shape)) <= 128 and bool(free_axes(x)),
    expand: lambda d, x: True,
    max_pool: lambda d, x: is_image(x) and x.name not in d.profiled,
    where: lambda d, x: x.name not in d.profiled and (x.quant is None or x.quant.axis is None),
    take: lambda d, x: any(known(n) for n in x.type.shape),
    roll: lambda d, x: any(known(n) for n in x.type.shape),
}
"""Each step, and the values that it applies to."""
