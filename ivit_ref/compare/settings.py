"""What a backend may have done instead: for each operator, every setting that is tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Literal, get_args, get_origin

from ivit_ref import dyadic, registry, scales
from ivit_ref.compare.choices import choices
from ivit_ref.compare.setting import POWERS, Setting, Site
from ivit_ref.errors import IvitError
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Attribute
from ivit_ref.profiles import PROFILES

PROFILE = "profile"
I0_RULES = get_args(dyadic.UnitRule)


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
    yield from choices(site)


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
    elif name in CONSTANTS and hint is int:
        yield from (_off_by(name, int(str(value)), delta) for delta in (-2, -1, 1, 2))
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


CONSTANTS = ("x0", "b", "c", "one", "multiplier", "shift", "left_shift", "diff_min", "bits", "block")
"""Integers of the other methods, which are tried near what they are."""


def _off_by(name: str, value: int, delta: int) -> Setting:
    return Setting(name, f"{name} {'larger' if delta > 0 else 'smaller'} by {abs(delta)}", {name: value + delta})


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
            yield _off_by("i0", i0, delta)


def _unit(scale: Any, power: int, rule: Any, folded: bool) -> int | None:
    try:
        return dyadic.exp_unit(scale * 2.0**power, rule, sigmoid=folded)
    except IvitError:
        return None
