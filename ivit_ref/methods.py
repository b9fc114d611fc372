"""The published ways to compute softmax, GELU, LayerNorm and a requantization in integers: an operator each, by name.

``shiftmax``, ``shiftgelu``, ``ilayernorm`` and ``dyadic`` are I-ViT's own, whose constants a profile chooses. The others are
what the I-ViT paper compares itself with, and what deployed runtimes have; what they choose freely stands here, as
published, and what follows from a scale follows by the operator's own rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ivit_ref import dyadic
from ivit_ref.errors import GraphError, InputError
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Array, Attribute, Node, Quant, TensorType
from ivit_ref.profiles import Profile, profile_named
from ivit_ref.registry import lookup
from ivit_ref.scales import follow_from_profile

Role = Literal["softmax", "gelu", "layernorm", "requantize"]
ROLES: tuple[Role, ...] = get_args(Role)

Attributes = dict[str, Attribute]


@dataclass(frozen=True)
class Method:
    """An operator in a role, and what its publication fixes."""

    name: str
    op: str
    fixed: Callable[[TensorType], Attributes] = field(default=lambda x: {})
    """Attributes, for an input of the type given."""
    kept: tuple[str, ...] = ()
    """Attributes that it takes over from the operator whose place it takes, where that has all of them."""
    step: float | None = None
    """What a step of its input must be worth; None: anything."""
    profiled: bool = False
    """Whether a profile chooses its constants."""


def _fixed(**attributes: Attribute) -> Callable[[TensorType], Attributes]:
    return lambda x: attributes


def row_length(x: TensorType) -> int:
    """The length of the last axis, which operators on rows need to know."""
    if not x.shape or not isinstance(x.shape[-1], int):
        raise GraphError(f"methods: the last axis must have a known length, but found {x}")
    return x.shape[-1]


def _l1_constant(x: TensorType) -> Attributes:
    multiplier, shift = dyadic.l1_constant(row_length(x))
    return {"multiplier": multiplier, "shift": shift}


def _safe_shift(x: TensorType) -> Attributes:
    """A shift at which no row of the type leaves uint32, even were each deviation the whole range of its dtype.

    The release has the smallest one for the rows that its training saw.
    """
    low, high = BOUNDS[x.dtype]
    shift = 0
    while row_length(x) * ((high - low) >> shift) ** 2 >= 2**32:
        shift += 1
    return {"shift": shift}


REQUANTIZED = ("axis", "dtype", "multiplier", "shift", "zero_point")
"""What one requantization takes over from another; where scales are known, all but the dtype follows from them."""

METHODS: Mapping[Role, tuple[Method, ...]] = {
    "softmax": (
        Method("shiftmax", "Shiftmax", profiled=True),
        Method("ibert", "IBertSoftmax", _fixed(n=30, out_bits=8, dtype="uint8")),
        Method("lis", "LogIntSoftmax", _fixed(n=30, bits=4)),
        Method("ita", "ITASoftmax", _fixed(block=16, shift=5), step=dyadic.base_two_step(5)),
        Method("ita-octaves", "ITASoftmax", _fixed(block=16, shift=0), step=dyadic.base_two_step(0)),
        Method("tflite", "TFLiteSoftmax", _fixed(dtype="int8")),
        Method("float", "FloatSoftmax", _fixed(out_bits=16, dtype="int16")),
    ),
    "gelu": (
        Method("shiftgelu", "ShiftGELU", profiled=True),
        Method("ibert", "IBertGELU", _fixed(shift=0)),
        Method("tflite", "Lookup", lambda x: {"low": BOUNDS[x.dtype][0]}),
        Method("float", "FloatGELU", _fixed(out_bits=8)),
    ),
    "layernorm": (
        Method("ilayernorm", "ILayerNorm", profiled=True),
        Method("ibert", "IBertLayerNorm", _safe_shift),
        Method("l1", "L1LayerNorm", _l1_constant),
        Method("float", "FloatLayerNorm"),
    ),
    "requantize": (
        Method("dyadic", "Requantize", kept=REQUANTIZED, profiled=True),
        Method("hawq", "Requantize", _fixed(rounding="half_even"), kept=REQUANTIZED),
        Method("gemmlowp", "GemmlowpRequantize", kept=REQUANTIZED),
        Method("tosa-single", "TosaRescale", _fixed(double_round=False), kept=REQUANTIZED),
        Method("tosa-double", "TosaRescale", _fixed(double_round=True), kept=REQUANTIZED),
    ),
}


def roles_of(op: str) -> tuple[Role, ...]:
    """The roles that an operator plays; Lookup plays none, since what its table holds is not known."""
    return tuple(role for role in ROLES if op != "Lookup" and any(method.op == op for method in METHODS[role]))


def methods(role: Role) -> tuple[str, ...]:
    """The names of the methods in a role, I-ViT's own first."""
    return tuple(method.name for method in METHODS[role])


def method_named(role: Role, name: str) -> Method:
    """The method of that name in a role."""
    for method in METHODS[role]:
        if method.name == name:
            return method
    raise InputError(f"{role}: the method must be one of {', '.join(methods(role))}, but found {name!r}")


def recognised(role: Role, node: Node, x: TensorType) -> str:
    """The name of the method that a node of the role is, for an input of this type; "other" where it fixes something else."""
    for method in METHODS[role]:
        fixed = {key: value for key, value in method.fixed(x).items() if key not in method.kept}
        if method.op == node.op and fixed.items() <= node.attributes.items():
            return method.name
    return "other"


def attributes(method: Method, quant: Quant | None, x: TensorType, profile: str | Profile, **chosen: Attribute) -> Attributes:
    """All attributes of a method's operator for an input of this type and scale; ``chosen`` replaces what is free."""
    free = follow_from_profile(method.op, profile_named(profile), chosen, [quant]) | method.fixed(x) | chosen
    rule = lookup(method.op).follows
    return free | (rule([quant], [x], free) if rule else {})


def attributes_for(
    role: Role, name: str, x: Array, *, scale: float | None = None, profile: str | Profile = "qat", **chosen: Attribute
) -> Attributes:
    """All attributes of the method of that name, to call its operator with on ``x``, a step of which is worth ``scale``.

    ``profile`` has a say only in I-ViT's own methods. ``chosen`` replaces what is free. InputError: something does not follow,
    as what a requantization goes to, or a constant where no scale is given; or the method is for one scale, and not for this.
    """
    method = method_named(role, name)
    quant = None if scale is None else Quant((dyadic.float32(scale),))
    if quant and method.step not in (None, quant.scale[0]):
        raise InputError(f"{role} {name}: a step of x must be worth {method.step!r}, but found {scale}")
    found = attributes(method, quant, TensorType(str(x.dtype), x.shape), profile, **chosen)
    missing = [key for key in lookup(method.op).attributes if key not in found]
    if missing:
        raise InputError(f"{role} {name}: a scale or a choice must give every attribute, but found no {', '.join(missing)}")
    return found
