"""The published ways to compute softmax, GELU, LayerNorm and a requantization in integers: an operator each, by name.

``shiftmax``, ``shiftgelu``, ``ilayernorm`` and ``dyadic`` are I-ViT's own, whose constants a profile chooses. The others are
what the I-ViT paper compares itself with, and what deployed runtimes have; what they choose freely stands here, as
published, and what follows from a scale follows by the operator's own rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ivit_ref.errors import InputError
from ivit_ref.ir import Attribute, Quant, TensorType
from ivit_ref.profiles import Profile, profile_named
from ivit_ref.registry import lookup
from ivit_ref.scales import follow_from_profile

Role = Literal["softmax", "gelu", "layernorm", "requantize"]
ROLES: tuple[Role, ...] = get_args(Role)

Attributes = dict[str, Attribute]


def _nothing(x: TensorType) -> Attributes:
    return {}


@dataclass(frozen=True)
class Method:
    """An operator in a role, and the attributes that its publication fixes (for an input of the type given)."""

    name: str
    op: str
    fixed: Callable[[TensorType], Attributes] = field(default=_nothing)


METHODS: Mapping[Role, tuple[Method, ...]] = {
    "softmax": (Method("shiftmax", "Shiftmax"),),
    "gelu": (Method("shiftgelu", "ShiftGELU"),),
    "layernorm": (Method("ilayernorm", "ILayerNorm"),),
    "requantize": (Method("dyadic", "Requantize"),),
}


def methods(role: Role) -> tuple[str, ...]:
    """The names of the methods in a role, I-ViT's own first."""
    return tuple(method.name for method in METHODS[role])


def method_named(role: Role, name: str) -> Method:
    """The method of that name in a role."""
    for method in METHODS[role]:
        if method.name == name:
            return method
    raise InputError(f"{role}: the method must be one of {', '.join(methods(role))}, but found {name!r}")


def attributes(method: Method, quant: Quant | None, x: TensorType, profile: str | Profile, **chosen: Attribute) -> Attributes:
    """All attributes of a method's operator for an input of this type and scale; ``chosen`` replaces what is free."""
    free = follow_from_profile(method.op, profile_named(profile), chosen, [quant]) | method.fixed(x) | chosen
    rule = lookup(method.op).follows
    return free | (rule([quant], [x], free) if rule else {})
