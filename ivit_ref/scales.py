"""The constants of a node that follow from scales: from a profile's rules, or from the scales alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from ivit_ref import dyadic
from ivit_ref.errors import ConstraintError
from ivit_ref.ir import Attribute, Quant, TensorType
from ivit_ref.profiles import Profile
from ivit_ref.registry import lookup

between = lru_cache(maxsize=1024)(dyadic.between)
"""A graph has the same ratios when it is built, verified and rewritten in another profile: thousands of channels each."""

Attributes = dict[str, Attribute]
Quants = Sequence["Quant | None"]

SCALING: Mapping[str, tuple[str, ...]] = {
    "Requantize": ("",),
    "RequantizeAdd": ("a_", "b_"),
    "GemmlowpRequantize": ("",),
    "TosaRescale": ("",),
}
"""The operators that bring integers to the scale chosen for their result, and how the names of each input's number begin.

What follows for them depends on that choice, so no rule of theirs (``follows``) could say it.
"""


def follow_from_scales(
    op: str, attributes: Mapping[str, Attribute], inputs: Quants, types: Sequence[TensorType], output: Quant | None
) -> Attributes:
    """The dyadic numbers of the operators in ``SCALING``, the scales of ``Dequantize``, the zero point of ``Center``.

    Other operators have a rule of their own (``follows``), or none. Nothing follows where a scale is not known.
    """
    rule = lookup(op).follows
    if rule is not None:
        return rule(inputs, types, attributes)
    known = [q for q in inputs if q is not None]
    if len(known) < len(inputs):
        return {}
    if op == "Dequantize":
        return {"scale": known[0].scale, "axis": known[0].axis or 0, "zero_point": known[0].zero_point}
    if op == "Center":
        return {"zero_point": known[0].zero_point}
    if op not in SCALING or output is None:
        return {}
    followed: Attributes = {"axis": _common_axis(op, known, types, output), "zero_point": output.zero_point}
    once = attributes.get("rounds") == "once"
    numbers = [between(q.scale, output.scale, f"the ratio of scales of {op}", any_shift=once) for q in known]
    if once:
        numbers = list(dyadic.common_shift(*_equally_many(numbers)))
    for prefix, (multipliers, shifts) in zip(SCALING[op], numbers, strict=True):
        followed |= {f"{prefix}multiplier": multipliers, f"{prefix}shift": shifts}
    return followed


def _equally_many(numbers: list[dyadic.Dyadics]) -> list[dyadic.Dyadics]:
    """Each multiplier and shift repeated to as many channels as the other branch has."""
    channels = max(len(multipliers) for multipliers, _ in numbers)
    return [(m * (channels // len(m)), s * (channels // len(s))) for m, s in numbers]


def _common_axis(op: str, known: Sequence[Quant], types: Sequence[TensorType], output: Quant) -> int:
    """The one axis of the result along which scales go; 0 where all are per tensor."""
    rank = max(len(t.shape) for t in types)
    axes = {q.axis + rank - len(t.shape) for q, t in zip(known, types, strict=True) if q.axis is not None}
    axes |= {output.axis} if output.axis is not None else set()
    if len(axes) > 1:
        raise ConstraintError(f"{op} (scales): scales must go along one axis, but found {sorted(axes)}")
    for q in known:
        if q.zero_point:
            raise ConstraintError(f"{op} (scales): the zero point of an input must be 0, but found {q.zero_point}")
    return axes.pop() if axes else 0


def follow_from_profile(op: str, profile: Profile, attributes: Mapping[str, Attribute], inputs: Quants) -> Attributes:
    """The attributes that a profile chooses; those which need the scale of the input refuse an input without one."""
    rules: dict[str, Callable[[], Attributes]] = {
        "ShiftExp": lambda: profile.shift_exp(_scale(op, inputs)),
        "Shiftmax": lambda: profile.shiftmax(_scale(op, inputs)),
        "ShiftGELU": lambda: profile.shift_gelu(_scale(op, inputs)),
        "IntDiv": lambda: profile.int_div(_integer(attributes.get("out_bits", ""))),
        "IntSqrt": profile.int_sqrt,
        "ILayerNorm": profile.i_layer_norm,
        "ReduceMean": lambda: {"rounding": profile.mean_rounding},
        "Requantize": lambda: {"rounding": profile.rounding},
        "RequantizeAdd": lambda: {"rounding": profile.rounding},
    }
    return rules[op]() if op in rules else {}


def _scale(op: str, inputs: Quants) -> float:
    q = inputs[0]
    if q is None or q.axis is not None or q.scale[0] <= 0:
        raise ConstraintError(
            f"{op} (scales): its input must have one positive scale for a profile to choose i0, but found {q}"
        )
    return q.scale[0]


def _integer(value: Attribute) -> int:
    if not isinstance(value, int):
        raise ConstraintError(f"out_bits: must be an integer, but found {value!r}")
    return value
