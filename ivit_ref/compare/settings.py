"""What a backend may have done instead: for each operator, every setting that is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import permutations, product
from typing import Any, Literal, get_args, get_origin

import numpy as np

from ivit_ref import dyadic, registry, scales
from ivit_ref.compare.rows import BY_ROWS
from ivit_ref.compare.variants import ORDERS
from ivit_ref.errors import IvitError
from ivit_ref.integers import BOUNDS, ROUNDINGS, Rounding
from ivit_ref.ir import Array, Attribute, Quant
from ivit_ref.profiles import PROFILES

PROFILE = "profile"
ROW_OPERATORS = ("Shiftmax", "ShiftGELU", "ILayerNorm")
PRODUCTS = ("MatMul", "Linear", "Conv")
I0_RULES = get_args(dyadic.UnitRule)
POWERS = (*range(-8, 0), *range(1, 9), -16, 16)


@dataclass(frozen=True)
class Setting:
    """One departure from a node: other attributes, or choices outside them (see ``variants``), told as ``label``.

    Two settings of one ``parameter`` exclude each other. ``arranges``: the integers are the same, in other places.
    """

    parameter: str
    label: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    choices: Mapping[str, Any] = field(default_factory=dict)
    arranges: bool = False


@dataclass(frozen=True)
class Site:
    """What settings depend on: the operator, its attributes, what its inputs are worth, and its result."""

    op: str
    attributes: Mapping[str, Attribute]
    quants: tuple[Quant | None, ...]
    shape: tuple[int, ...]
    dtype: str


def profiles(site: Site) -> Iterator[Setting]:
    """The published versions, where a profile has a say and its rules have a scale to go by."""
    for profile in PROFILES.values():
        try:
            chosen = scales.follow_from_profile(site.op, profile, site.attributes, site.quants)
        except IvitError:
            continue
        if any(site.attributes.get(key) != value for key, value in chosen.items()):
            yield Setting(PROFILE, f"profile {profile.name}", chosen)


def departed(site: Site, setting: Setting) -> Site:
    """The site with the attributes of a setting."""
    return replace(site, attributes={**site.attributes, **setting.attributes})


def resolved(site: Site, labels: Sequence[str]) -> tuple[Setting, ...]:
    """The settings of these labels at a site, each a departure from what those before it make of the site.

    A label that is none here, because the site has that value already, changes nothing.
    """
    found = []
    for label in labels:
        setting = next((s for s in (*profiles(site), *singles(site)) if s.label == label), None)
        if setting is not None:
            found.append(setting)
            site = departed(site, setting) if setting.parameter == PROFILE else site
    return tuple(found)


def singles(site: Site) -> Iterator[Setting]:
    """Every departure in one parameter."""
    hints = registry.lookup(site.op).attributes
    for name, hint in hints.items():
        yield from _of_attribute(site, name, hint)
    if site.op in (*BY_ROWS, "Quantize"):
        usual = "half_even" if site.op == "Quantize" else "floor"
        what = "rounded by the rule {}" if site.op == "Quantize" else "{} in the last shift"
        named = ("floor", "truncate") if "halving" in site.attributes else (usual,)  # these are its attribute
        yield from (Setting("last", what.format(r), choices={"last": r}) for r in ROUNDINGS if r not in named)
    if site.op in ORDERS:
        yield from _of_order(site)
    yield from _of_rows(site)
    yield from _of_dyadics(site)
    yield from _of_products(site)
    yield from _of_the_result(site)


def _of_attribute(site: Site, name: str, hint: Any) -> Iterator[Setting]:
    value = site.attributes[name]
    if name == "i0":
        yield from _units(site)
    elif get_origin(hint) is Literal and name != "dtype":
        yield from (Setting(name, f"{name} {v}", {name: v}) for v in get_args(hint) if v != value)
    elif hint is bool:
        yield Setting(name, f"{'no ' if value else ''}{name}", {name: not value})
    elif name == "out_bits":
        yield from (Setting(name, f"out_bits {v}", {name: v, **_room(site, v)}) for v in range(2, 32) if v != value)
    elif name in NUMBERS and site.op != "Slice":
        yield from (Setting(name, f"{name} {told(v)}", {name: v}) for v in NUMBERS[name] if v != value)
    elif name == "zero_point" and site.op != "Quantize":
        yield from (Setting(name, f"zero point {v}", {name: v}) for v in {0, -int(str(value)), int(str(value)) ^ 128} - {value})


NUMBERS: Mapping[str, tuple[int, ...]] = {
    "n": tuple(range(32)),
    "numerator": (2**31, 2**31 - 1, 2**30, 2**30 - 1),
    "sqrt_start": (0, *(2**k for k in range(32))),
    "start": (0, *(2**k for k in range(32))),
    "sqrt_steps": tuple(range(65)),
    "steps": tuple(range(65)),
}
"""Integer attributes, and what else they are tried at."""


def _room(site: Site, bits: int) -> dict[str, Attribute]:
    """The dtype of the operator, or one that has room for so many bits."""
    dtype = site.attributes.get("dtype")
    if dtype is None or bits <= BOUNDS[str(dtype)][1].bit_length() + 1:
        return {}
    return {"dtype": "int16" if bits <= 16 else "int32"}


def told(number: int) -> str:
    """A power of two as one."""
    for offset in (0, -1):
        if number >= 2**12 and (number - offset).bit_count() == 1:
            return f"2**{(number - offset).bit_length() - 1}" + ("" if not offset else " - 1")
    return str(number)


def _units(site: Site) -> Iterator[Setting]:
    """Other i0: by the other rules, from a scale that is a power of two off, or off by one."""
    i0, found = int(str(site.attributes["i0"])), set[int | None]()
    scale = site.quants[0].scale[0] if site.quants and site.quants[0] else None
    sigmoid = site.attributes.get("sigmoid") == "folded"
    for power, rule, folded in product((0, *POWERS), I0_RULES, sorted({sigmoid, site.op == "ShiftGELU"})) if scale else ():
        value = _unit(scale, power, rule, folded)
        off = f" from a scale 2**{power} times as large" if power else ""
        times = "" if folded == sigmoid else " of 1.702 S" if folded else " of S, without 1.702"
        if value not in (None, i0):
            yield Setting("i0", f"i0 by the rule {rule}{times}{off}", {"i0": value})
        found.add(value)
    for delta in (-2, -1, 1, 2):
        if i0 + delta not in found:
            yield Setting("i0", f"i0 {'larger' if delta > 0 else 'smaller'} by {abs(delta)}", {"i0": i0 + delta})


def _unit(scale: Any, power: int, rule: Any, folded: bool) -> int | None:
    try:
        return dyadic.exp_unit(scale * 2.0**power, rule, sigmoid=folded)
    except IvitError:
        return None


def _of_order(site: Site) -> Iterator[Setting]:
    """The steps of a requantization in another order."""
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


def _of_products(site: Site) -> Iterator[Setting]:
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
