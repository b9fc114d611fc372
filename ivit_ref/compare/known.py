"""What can be said of a node whose difference no setting explains: signs, which inputs, only at ties, only where saturated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ivit_ref.compare.explain import Evidence
from ivit_ref.compare.setting import ROW_OPERATORS
from ivit_ref.compare.settings import profiles, singles
from ivit_ref.golden.notes import NOTES
from ivit_ref.integers import BOUNDS, Mask, multiply, widen
from ivit_ref.ir import Array
from ivit_ref.ops.requantize import along

SHOWN_ROWS = 4
COVERAGE = "coverage"
"""The kind of a flag that hunts nothing in particular."""


def known(found: Evidence) -> list[str]:
    """Sentences that are true of every element that differs."""
    want = found.answer(())
    if want is None or want.dtype.kind != "i" or found.got.dtype.kind != "i":
        return []
    wrong: Mask = want != found.got
    said = [_signs(found.got[wrong] > want[wrong])]
    for what, mask in _places(found, want):
        if not (wrong & ~mask).any() and not mask.all():
            said.append(f"differs only {what}: at {int(wrong.sum())} of {int(mask.sum())} such places")
    return [*said, *_axes(wrong), *_rows_said(found, wrong), *_nearest(found, int(wrong.sum()))]


def _signs(larger: Array) -> str:
    if larger.all():
        return "got is larger wherever it differs"
    if not larger.any():
        return "got is smaller wherever it differs"
    return f"got is larger at {int(larger.sum())} and smaller at {int((~larger).sum())} places"


def _places(found: Evidence, want: Array) -> Iterator[tuple[str, Mask]]:
    """Kinds of places, each as a mask in the shape of the result."""
    site, x = found.site, found.arrays[0]
    if site.dtype in BOUNDS:
        low, high = BOUNDS[site.dtype]
        yield "where the golden result is at the end of its range", (want == low) | (want == high)
    if x.shape == want.shape and x.dtype.kind in "iub":
        wide = widen(x)
        yield "where the input is negative", wide < 0
        yield "where the input is positive", wide > 0
        yield "where the input is odd", wide % 2 == 1
        if site.op in ROW_OPERATORS and x.ndim:
            yield "in rows without a positive number", _rows(wide.max(axis=-1, keepdims=True) <= 0, x)
            yield "at the largest number of a row", wide == wide.max(axis=-1, keepdims=True)
    if site.op == "Requantize":
        attributes: dict[str, Any] = dict(site.attributes)
        multiplier, shift = (along(attributes[key], attributes["axis"], x.ndim) for key in ("multiplier", "shift"))
        product = multiply(widen(x), multiplier)
        yield "at ties", (product & ((np.int64(1) << shift) - 1)) << 1 == np.int64(1) << shift
        yield "where the product is negative", product < 0
    yield "where the golden result is negative", want < 0
    yield "where the golden result is not 0", want != 0


def _rows(mask: Mask, like: Array) -> Mask:
    return np.broadcast_to(mask, like.shape)


def _axes(wrong: Mask) -> Iterator[str]:
    """Axes of which few indices hold everything that differs."""
    for axis, length in enumerate(wrong.shape):
        indices = np.flatnonzero(wrong.any(axis=tuple(a for a in range(wrong.ndim) if a != axis)))
        if length > 1 and 2 * len(indices) <= length:
            shown = ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")
            yield f"differs only at {len(indices)} of {length} indices of axis {axis}: {shown}"


def _rows_said(found: Evidence, wrong: Mask) -> Iterator[str]:
    """Of an operator's vectors: what the rows that differ are, and the bug that only they hunt."""
    if not found.rows or wrong.shape[:1] != (len(found.rows),):
        return
    differs = [bool(row.any()) for row in wrong]
    rows = [row for row, bad in zip(found.rows, differs, strict=True) if bad]
    right = {flag for row, bad in zip(found.rows, differs, strict=True) if not bad for flag in row.flags}
    if len(rows) < len(found.rows):
        shown = "; ".join(dict.fromkeys(row.comment for row in rows[:SHOWN_ROWS]))
        yield f"differs only in rows such as: {shown}"
    for flag in sorted(set.intersection(*(set(row.flags) for row in rows)) - right):
        if NOTES[flag].kind != COVERAGE:
            yield f"differs only in rows of the flag {flag}, which hunts this: {NOTES[flag].effect}"


def _nearest(found: Evidence, differing: int) -> Iterator[str]:
    """The setting that leaves the fewest differences, if it leaves less than half."""
    best, label = differing // 2, ""
    for setting in (*profiles(found.site), *singles(found.site)):
        given = found.answer((setting,))
        left = best if given is None or given.shape != found.got.shape else int(np.count_nonzero(given != found.got))
        if left < best:
            best, label = left, setting.label
    if label:
        yield f"the nearest setting is {label}, which leaves {best} of {differing} differences"
