"""What a backend may have done that is no attribute: orders, roundings, widths, arrangements; and other dyadic numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from ivit_ref.compare.rows import BY_ROWS
from ivit_ref.compare.setting import POWERS, ROW_OPERATORS, Setting, Site
from ivit_ref.compare.variants import ORDERS
from ivit_ref.integers import ROUNDINGS, Rounding
from ivit_ref.ir import Array

PRODUCTS = ("MatMul", "Linear", "Conv")


def choices(site: Site) -> Iterator[Setting]:
    """Every departure that is no attribute with a list of values."""
    yield from _of_the_last_rounding(site)
    yield from _of_order(site)
    yield from _of_rows(site)
    yield from _of_dyadics(site)
    yield from _of_widths(site)
    yield from _of_the_result(site)


def _of_the_last_rounding(site: Site) -> Iterator[Setting]:
    if site.op in (*BY_ROWS, "Quantize"):
        usual = "half_even" if site.op == "Quantize" else "floor"
        what = "rounded by the rule {}" if site.op == "Quantize" else "{} in the last shift"
        named = ("floor", "truncate") if "halving" in site.attributes else (usual,)  # these are its attribute
        yield from (Setting("last", what.format(r), choices={"last": r}) for r in ROUNDINGS if r not in named)


def _of_order(site: Site) -> Iterator[Setting]:
    """The steps of a requantization in another order."""
    if site.op not in ORDERS:
        return
    if site.attributes["zero_point"]:
        yield Setting("order", "the zero point added before rounding", choices={"order": "zero point first"})
    if site.op == "Requantize":
        yield Setting("order", "rounded twice, as gemmlowp does", choices={"order": "double"})
    elif site.attributes["rounds"] == "each":
        yield Setting("order", "both branches rounded once, together", choices={"order": "once"})


def _of_rows(site: Site) -> Iterator[Setting]:
    """What goes wrong inside the operators along a row."""
    for prefix in ("", "sqrt_"):
        if site.op in ("IntSqrt", "ILayerNorm") and site.attributes.get(f"{prefix}steps"):
            yield Setting("root", "the exact square root", {f"{prefix}start": 0, f"{prefix}steps": 0})
    for parameter, choice, label in CHOICES.get(site.op, ()):
        yield Setting(parameter, label, choices={parameter: choice})


MAXIMA = (
    ("maximum", "tensor", "the maximum of the whole tensor"),
    ("maximum", "zero", "a maximum that begins at 0"),
    ("denominator", "0", "0 where a denominator is 0"),
)
CHOICES = {
    "IntDiv": MAXIMA[2:],
    "Shiftmax": MAXIMA,
    "ShiftGELU": MAXIMA,
    "ILayerNorm": (
        ("root", "float", "a square root rounded from a float"),
        ("variance", "divided", "a variance divided by the length of the row"),
        ("variance", "int32", "a sum of squares in int32, which wraps"),
        ("variance", "int31", "a sum of squares in int32, which saturates"),
    ),
}
"""Choices by operator: the parameter, its value, what it is told as."""


def _of_dyadics(site: Site) -> Iterator[Setting]:
    """Multipliers of fewer bits, one for all channels, and shifts off by a power of two."""
    for prefix in ("", "a_", "b_"):
        multiplier, shift = site.attributes.get(f"{prefix}multiplier"), site.attributes.get(f"{prefix}shift")
        if not isinstance(multiplier, tuple) or not isinstance(shift, tuple):
            continue
        of = f" of {prefix[0]}" if prefix else ""
        yield from _fewer_bits(prefix, of, multiplier)
        if len(multiplier) > 1:
            one = {f"{prefix}multiplier": multiplier[:1] * len(multiplier), f"{prefix}shift": shift[:1] * len(shift)}
            yield Setting(f"{prefix}multiplier", f"the dyadic number{of} of the first channel for all", one)
        for power in POWERS:
            moved = tuple(int(s) - power for s in shift)
            yield Setting(f"{prefix}shift", f"the scale{of} off by 2**{power}", {f"{prefix}shift": moved})


def _fewer_bits(prefix: str, of: str, multipliers: tuple[Any, ...]) -> Iterator[Setting]:
    for bits in range(30, 5, -1):
        for rounds in ("half_up", "floor"):
            kept = tuple(_kept(int(m), bits, rounds) for m in multipliers)
            if kept != multipliers:
                how = "rounded" if rounds == "half_up" else "cut"
                yield Setting(f"{prefix}multiplier", f"the multiplier{of} {how} to {bits} bits", {f"{prefix}multiplier": kept})


def _kept(multiplier: int, bits: int, rounds: Rounding | str) -> int:
    """The leading bits of a multiplier, in its place."""
    dropped = max(0, abs(multiplier).bit_length() - bits)
    half = (1 << dropped >> 1) if rounds == "half_up" else 0
    kept = min((abs(multiplier) + half) >> dropped << dropped, 2**31 - (1 << dropped) if dropped else 2**31 - 1)
    return kept if multiplier >= 0 else -kept


def _of_widths(site: Site) -> Iterator[Setting]:
    if site.op in ("Linear", "Conv", "ILayerNorm"):
        yield Setting("bias", "no bias", choices={"bias": "none"})
    if site.dtype == "int32":
        what = "an accumulator" if site.op in PRODUCTS else "a result"
        for bits in (8, 16, 18, 20, 24, 28):
            yield Setting("width", f"{what} of {bits} bits, which wraps", choices={"width": bits})
            yield Setting("width", f"{what} of {bits} bits, which saturates", choices={"width": -bits})


def _of_the_result(site: Site) -> Iterator[Setting]:
    """What can happen to any result."""
    if site.op in ("IntDiv", "Shiftmax", "Requantize", "RequantizeAdd") and site.dtype != "int32":
        yield Setting("saturation", "no saturation", {"dtype": "int32"})
    if site.dtype != "float32":
        yield Setting("saturation", "wrap instead of saturate", choices={"saturation": "wrap"})
        yield Setting("saturation", "saturate instead of wrap", choices={"saturation": "everywhere"})
        for power in POWERS:
            yield Setting("power", f"the result 2**{power} times as large", choices={"power": power})
    if site.op in ROW_OPERATORS:
        for axis in range(len(site.shape) - 1):
            yield Setting("axis", f"along axis {axis} instead of the last", choices={"axis": axis})
    for label, arrange in layouts(site.shape):
        yield Setting("layout", label, choices={"layout": arrange}, arranges=True)
    if site.dtype in ("int16", "uint16", "int32", "int64"):
        swap = partial(_swapped, dtype=site.dtype)
        yield Setting("layout", "the bytes in the other order", choices={"layout": swap})


def layouts(shape: tuple[int, ...]) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Other arrangements of a tensor: transposed in memory, moved along an axis, reversed."""
    rank = len(shape)
    seen = [[a for a in range(rank) if shape[a] > 1]]
    for axes in permutations(range(rank)) if rank <= 4 else ():
        moved = [a for a in axes if shape[a] > 1]
        if moved not in seen:  # an axis of length one may stand anywhere
            seen.append(moved)
            yield f"laid out as transpose {list(axes)}", partial(_laid_out, axes=axes)
    for axis, length in enumerate(shape):
        if length > 1:
            yield f"axis {axis} reversed", partial(np.flip, axis=axis)
        for step in (-2, -1, 1, 2) if length > 2 else ():
            yield f"axis {axis} moved on by {step}", partial(np.roll, shift=step, axis=axis)


def _laid_out(y: Array, axes: tuple[int, ...]) -> Array:
    return np.transpose(y, axes).reshape(y.shape)


def _swapped(y: Array, dtype: str) -> Array:
    swapped: Array = np.array(y, dtype).byteswap()
    return swapped
