"""One tensor beside the golden one: how many elements differ, how far, and where first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from ivit_ref.arrays import unequal
from ivit_ref.errors import InputError
from ivit_ref.golden.case import TensorRecord
from ivit_ref.integers import from_float, widen
from ivit_ref.ir import Array

Verdict = Literal["equal", "differs", "not given", "not judged"]
"""not judged: given, but what it is to be judged by was not."""

SHOWN_DIFFERENCES = 12

NAN = float("nan")
"""One object for all of them: a counter knows it by that."""


@dataclass(frozen=True)
class Difference:
    """Of ``total`` elements ``differing`` differ, by ``largest`` at most; the first at ``index`` is ``got``, not ``want``.

    ``histogram`` counts got - want: the most frequent differences, in ascending order; ``others`` are the rest.
    """

    name: str
    node: str
    op: str
    dtype: str
    shape: tuple[int, ...]
    verdict: Verdict
    total: int
    differing: int = 0
    largest: int | float = 0
    histogram: tuple[tuple[int | float, int], ...] = ()
    others: int = 0
    index: tuple[int, ...] = ()
    got: int | float = 0
    want: int | float = 0

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        lists = {"shape": list(self.shape), "index": list(self.index), "histogram": [[_plain(d), n] for d, n in self.histogram]}
        numbers = {key: _plain(getattr(self, key)) for key in ("largest", "got", "want")}
        return {**vars(self), **lists, **numbers}

    def __str__(self) -> str:
        if self.verdict != "differs":
            return f"{self.name}: {self.verdict}"
        where = f"first at {list(self.index)}: got {self.got}, want {self.want}"
        return f"{self.name}: {self.differing} of {self.total} differ, by at most {self.largest}; {where}"


def _plain(number: int | float) -> int | float | str:
    """JSON has no infinity and no NaN."""
    return number if isinstance(number, int) or np.isfinite(number) else str(number)


def difference(record: TensorRecord, got: Array | None, want: Array | None) -> Difference:
    """The verdict on one tensor; ``got`` has gone through ``integers_of``, and is None where the backend gave none."""
    facts = (record.name, record.node, record.op, record.dtype, record.shape)
    if got is None or want is None:
        return Difference(*facts, "not given" if got is None else "not judged", prod(record.shape))
    if got is want:
        return Difference(*facts, "equal", want.size)
    wrong = unequal(got, want)
    want = want if got.dtype.kind == "f" else widen(want)
    count = int(np.count_nonzero(wrong))
    if not count:
        return Difference(*facts, "equal", want.size)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
    histogram, others, largest = _histogram(got[wrong], want[wrong])
    first = got[index].item(), want[index].item()
    return Difference(*facts, "differs", want.size, count, largest, histogram, others, index, *first)


def _histogram(got: Array, want: Array) -> tuple[tuple[tuple[int | float, int], ...], int, int | float]:
    """The most frequent differences with their counts, how many others there are, and the largest magnitude."""
    if got.dtype.kind == "i" and max(abs(int(a)) for x in (got, want) for a in (x.min(), x.max())) < 2**62:
        deltas, counts = np.unique(got - want, return_counts=True)
        found = Counter(dict(zip(deltas.tolist(), counts.tolist(), strict=True)))
    else:
        deltas_of = (a - b for a, b in zip(got.tolist(), want.tolist(), strict=True))
        found = Counter(delta if delta == delta else NAN for delta in deltas_of)
    shown = found.most_common(SHOWN_DIFFERENCES)
    others = found.total() - sum(count for _, count in shown)
    largest = NAN if NAN in found else max(abs(delta) for delta in found)
    return tuple(sorted(shown, key=lambda pair: (pair[0] != pair[0], pair[0]))), others, largest


def integers_of(record: TensorRecord, array: object, who: str) -> Array:
    """A backend's tensor as int64 (float32 where the golden one is float32); InputError says why it cannot be one.

    Its shape must be the golden one. Its dtype may be another of the same sign, since another version may emit other bits, or
    one that holds every value of the golden dtype. Floats are taken where they hold integers exactly.
    """
    who = f"{who}: tensor {record.name!r}"
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{who} must be a NumPy array without a mask, but found {type(array).__name__}")
    array = np.asarray(array)
    found = f"{array.dtype}{list(array.shape)}"
    if array.shape != record.shape:
        same = sorted(array.shape) == sorted(record.shape)
        hint = " (the same lengths in another order: declare it with a map's transpose)" if same else ""
        if array.size == prod(record.shape) and array.ndim != len(record.shape):
            hint = " (as many elements: reshape it in the dump)"
        raise InputError(f"{who} must be {record.type}{hint}, but found {found}")
    if record.dtype == "float32":
        if array.dtype.newbyteorder("=") != np.float32:
            raise InputError(f"{who} must be {record.type}, but found {found}")
        return np.asarray(array, np.float32)
    if array.dtype.kind == "f":
        return _from_floats(array, record, who)
    if not _takes(array, record.dtype):
        must = f"must be {record.type}, or of another width with the same sign"
        raise InputError(f"{who} {must}, but found {found}")
    if array.dtype.kind == "u" and array.dtype.itemsize == 8:
        if array.size and int(array.max()) >= 2**63:
            raise InputError(f"{who} must hold numbers below 2**63, but found {array.max()}")
        return np.asarray(array, np.uint64).view(np.int64)
    return widen(array)


def _takes(array: Array, dtype: str) -> bool:
    """Whether integers of the array's dtype can stand for ones of the other, without reading a sign into them."""
    kind = np.dtype(dtype).kind
    if array.dtype.kind not in "iub":
        return False
    return array.dtype.kind == kind or np.can_cast(np.dtype(dtype), array.dtype, "safe")


def _from_floats(array: Array, record: TensorRecord, who: str) -> Array:
    """Floats as the integers that they are; past 2**24 (2**53) a float32 (float64) no longer tells neighbours apart."""
    exact = {2: 2.0**11, 4: 2.0**24, 8: 2.0**53}.get(array.dtype.itemsize, 0.0)
    wrong = ~(np.abs(array) <= exact) | (np.rint(array) != array)
    if wrong.any():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
        must = f"must hold integers ({record.dtype}), of at most {exact:.0f} where they come as {array.dtype}"
        raise InputError(f"{who} {must}, but at {list(index)} found {array[index]}")
    return from_float(array)
