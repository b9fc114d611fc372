"""What an operator is measured on: its whole input domain where that can be enumerated, directed and random rows where not.

softmax, layernorm
    every row of two int8 (of int16: the largest with every other); of each length, rows that are hard and rows from a seed
gelu
    every x in a row whose maximum is the largest code, and in rows of every smaller maximum (of int16: those next to powers of
    two): of a row, only the maximum has a say in ShiftGELU
exp
    every difference of two codes, none of them positive; apart from these, every positive code
requantize
    every code
sqrt
    every v below 2**16; about 64 squares of each size to 2**62, and their neighbours
quotient
    of each size of the denominator, three, with 129 numerators from 0 to the denominator
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ivit_ref.golden.random_groups import Stream
from ivit_ref.integers import BOUNDS, Wide, divide, saturate
from ivit_ref.study.reals import Kind

LENGTHS = (2, 8, 197)
"""Of rows: the smallest, a short one, and the tokens of a ViT."""

BELL = 12
"""The standard deviation of bell-shaped rows, where int8 is all there is; int16 has it 256 times as large."""


@dataclass(frozen=True)
class Batch:
    """Rows of one length: the operator's first input, and its others."""

    x: Wide
    others: tuple[Wide, ...] = ()


@dataclass(frozen=True)
class Group:
    """Rows of one kind; those from outside the domain that the operator is derived for are no part of the whole."""

    name: str
    batches: tuple[Batch, ...]
    outside: bool = False


@dataclass(frozen=True)
class Size:
    """How much is measured: the width of the codes, the lengths of rows, how many random rows of each, and their seed."""

    bits: int = 8
    lengths: tuple[int, ...] = LENGTHS
    rows: int = 100
    seed: int = 0

    @property
    def bounds(self) -> tuple[int, int]:
        """The smallest and the largest code."""
        return BOUNDS[f"int{self.bits}"]


def corpus(kind: Kind, size: Size) -> list[Group]:
    """Everything that an operator of this kind is measured on."""
    return MAKERS.get(kind, _rows)(size)


def bell(stream: Stream, deviation: int, rows: int, length: int) -> Wide:
    """Integers about normal, of mean 0: each the sum of twelve uniform ones, whose variances add up to ``deviation**2 - 1``."""
    total = np.full((rows, length), -6 * (deviation - 1))
    for _ in range(12):
        total += stream.integers(0, deviation - 1, rows, length)
    return total


def _rows(size: Size) -> list[Group]:
    low, high = size.bounds
    every = [Group("every row of two" if size.bits == 8 else "the largest, another", (Batch(_pairs(low, high)),))]
    directed = [
        Group(name, tuple(Batch(np.array(make(low, high, length), np.int64)) for length in size.lengths))
        for name, make in DIRECTED.items()
    ]
    stream = Stream("study", f"int{size.bits}", size.seed)
    drawn = {
        "bell-shaped": [saturate(bell(stream, BELL * (high + 1) // 128, size.rows, n), low, high) for n in size.lengths],
        "random": [np.asarray(stream.mixed(low, high, size.rows, n), np.int64) for n in size.lengths],
    }
    return every + directed + [Group(name, tuple(map(Batch, xs))) for name, xs in drawn.items()]


def _pairs(low: int, high: int) -> Wide:
    """Every row of two where they are few, otherwise those that have the largest code."""
    codes = np.arange(low, high + 1)
    first = codes if high < 2**8 else codes[-1:]
    return np.stack(np.meshgrid(first, codes, indexing="ij"), axis=-1).reshape(-1, 2)


def _uniform(low: int, high: int, length: int) -> Iterator[Sequence[int]]:
    yield from ([code] * length for code in (low, -1, 0, 1, high))


def _one_hot(low: int, high: int, length: int) -> Iterator[Sequence[int]]:
    for rest, hot in ((low, high), (0, 1), (0, high), (low, low + 1), (low, 0)):
        yield [hot] + [rest] * (length - 1)
        yield [rest] * (length - 1) + [hot]


def _ramps(low: int, high: int, length: int) -> Iterator[Sequence[int]]:
    whole = [low + (high - low) * i // max(length - 1, 1) for i in range(length)]
    steps = [min(max(i - length // 2, low), high) for i in range(length)]
    yield from (whole, whole[::-1], steps, [high - i % (high - low + 1) for i in range(length)])


def _two_maxima(low: int, high: int, length: int) -> Iterator[Sequence[int]]:
    for rest, top in ((low, high), (0, high), (high - 1, high), (-1, 0)):
        yield [top, top] + [rest] * (length - 2)
        yield [top] + [rest] * (length - 2) + [top]


def _extremes(low: int, high: int, length: int) -> Iterator[Sequence[int]]:
    yield [(low, high)[i % 2] for i in range(length)]
    yield [(low, 0, high)[i % 3] for i in range(length)]
    yield [low] + [high] * (length - 1)
    yield [high] + [high - 1] * (length - 1)


def _listed(make: Callable[[int, int, int], Iterator[Sequence[int]]]) -> Callable[[int, int, int], list[Sequence[int]]]:
    """Rows cut to their length: two maxima in a row of one are one."""
    return lambda low, high, length: [row[:length] for row in make(low, high, length)]


DIRECTED: Mapping[str, Callable[[int, int, int], list[Sequence[int]]]] = {
    "uniform": _listed(_uniform),
    "one-hot": _listed(_one_hot),
    "ramps": _listed(_ramps),
    "two maxima": _listed(_two_maxima),
    "extremes": _listed(_extremes),
}


def _by_maximum(size: Size) -> list[Group]:
    low, high = size.bounds
    every = range(low, high + 1)
    few = sorted({2**k - 1 for k in range(size.bits)} | {-(2**k) for k in range(0, size.bits, 5)})
    rows = {top: Batch(np.arange(low, top + 1)[None]) for top in (every if size.bits == 8 else few)}
    return [
        Group(f"row maximum {high}", (rows.pop(high),)),
        Group("smaller maxima", tuple(row for top, row in rows.items() if top >= 0)),
        Group("negative maxima", tuple(row for top, row in rows.items() if top < 0)),
    ]


def _differences(size: Size) -> list[Group]:
    low, high = size.bounds
    return [
        Group("x <= 0", (Batch(np.arange(low - high, 1)[None]),)),
        Group("x > 0", (Batch(np.arange(1, high + 1)[None]),), outside=True),
    ]


def _codes(size: Size) -> list[Group]:
    low, high = size.bounds
    return [Group("every code", (Batch(np.arange(low, high + 1)[None]),))]


def _radicands(size: Size) -> list[Group]:
    roots = sorted({2**j + (i << j >> 6) for j in range(31) for i in range(64)})
    near = sorted({root**2 + d for root in roots for d in (-1, 0, 1)})
    return [Group("v < 2**16", (Batch(np.arange(2**16)[None]),)), Group("squares to 2**62", (Batch(np.array(near)[None]),))]


def _quotients(size: Size) -> list[Group]:
    divisors = np.array(sorted({m << k for m in (4, 5, 7) for k in range(29)} | {2**31 - 1}), np.int64)[:, None]
    numerators = divide(divisors * np.arange(129), 128)
    return [Group("0 <= x <= d", (Batch(numerators, (divisors,)),))]


MAKERS: Mapping[Kind, Callable[[Size], list[Group]]] = {
    "gelu": _by_maximum,
    "exp": _differences,
    "requantize": _codes,
    "sqrt": _radicands,
    "quotient": _quotients,
}
