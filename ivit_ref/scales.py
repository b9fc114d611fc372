"""The constants of a node that follow from scales: from a profile's rules, or from the scales alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ivit_ref import dyadic
from ivit_ref.errors import GraphError
from ivit_ref.ir import Attribute, Quant
from ivit_ref.profiles import Profile

Attributes = dict[str, Attribute]
Quants = Sequence["Quant | None"]


def follow_from_scales(op: str, attributes: Mapping[str, Attribute], inputs: Quants, output: Quant | None) -> Attributes:
    """The dyadic numbers of ``Requantize`` and ``RequantizeAdd``, the scales of ``Dequantize``; nothing for other operators.

    Nothing follows where a scale is not known.
    """
    if op == "Dequantize" and inputs[0] is not None:
        return {"scale": inputs[0].scale, "axis": inputs[0].axis or 0, "zero_point": inputs[0].zero_point}
    if op not in ("Requantize", "RequantizeAdd") or output is None or any(q is None for q in inputs):
        return {}
    known = [q for q in inputs if q is not None]
    for q in (*known, output):
        if q.zero_point:
            raise GraphError(f"{op} (scales): a zero point must be 0, but found {q.zero_point}")
    axes = {q.axis for q in (*known, output) if q.axis is not None}
    if len(axes) > 1:
        raise GraphError(f"{op} (scales): scales must go along one axis, but found {sorted(axes)}")
    axis = {"axis": axes.pop() if axes else 0}
    numbers = [dyadic.between(q.scale, output.scale, f"the ratio of scales of {op}") for q in known]
    if op == "Requantize":
        (multiplier, shift), *_ = numbers
        return {**axis, "multiplier": multiplier, "shift": shift}
    first, second = numbers
    if attributes.get("rounds") == "once":
        first, second = dyadic.common_shift(first, second)
    return {**axis, "a_multiplier": first[0], "a_shift": first[1], "b_multiplier": second[0], "b_shift": second[1]}


def follow_from_profile(op: str, profile: Profile, attributes: Mapping[str, Attribute], inputs: Quants) -> Attributes:
    """The attributes that a profile chooses; those which need the scale of the input refuse an input without one."""
    rules: dict[str, Callable[[], Attributes]] = {
        "ShiftExp": lambda: profile.shift_exp(_scale(op, inputs)),
        "Shiftmax": lambda: profile.shiftmax(_scale(op, inputs)),
        "ShiftGELU": lambda: profile.shift_gelu(_scale(op, inputs)),
        "IntDiv": lambda: profile.int_div(_integer(attributes["out_bits"])),
        "IntSqrt": profile.int_sqrt,
        "ILayerNorm": profile.i_layer_norm,
        "Requantize": lambda: {"rounding": profile.rounding},
        "RequantizeAdd": lambda: {"rounding": profile.rounding},
    }
    return rules[op]() if op in rules else {}


def _scale(op: str, inputs: Quants) -> float:
    q = inputs[0]
    if q is None or q.axis is not None or q.scale[0] <= 0:
        raise GraphError(f"{op} (scales): its input must have one positive scale for a profile to choose i0, but found {q}")
    return q.scale[0]


def _integer(value: Attribute) -> int:
    if not isinstance(value, int):
        raise GraphError(f"out_bits: must be an integer, but found {value!r}")
    return value
