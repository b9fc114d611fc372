"""The mutation score: which wrong values of an operator's parameters a set of vectors would tell from the right ones.

Each published parameter of each node is changed, one at a time, and the operator is run again on every stored case. A change
that no case shows is a hole in the vectors, unless it is among the ``EQUIVALENT``: changes that no input could show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import numpy as np

from ivit_ref import dyadic
from ivit_ref.errors import IvitError, ScaleError
from ivit_ref.events import Context
from ivit_ref.ir import Array, Attribute, TensorType
from ivit_ref.registry import REGISTRY

Attributes = Mapping[str, Attribute]
Mutation = Callable[["Vectors"], Attributes | None]
"""What becomes of the attributes of a case; None where the mutation changes nothing there, or breaks a constraint."""


@dataclass(frozen=True)
class Vectors:
    """One stored case of one node; ``scale`` is what a step of its first input is worth, where that is known."""

    op: str
    profile: str
    attributes: Attributes
    arrays: tuple[Array, ...]
    expected: Array
    scale: float | None


@dataclass(frozen=True)
class Mutant:
    """A wrong value of one parameter, and whether a case shows it; ``reason`` says why none can."""

    op: str
    profile: str
    parameter: str
    value: str
    killed: bool
    reason: str


@dataclass(frozen=True)
class Excuse:
    """Why no input at all shows that a parameter has another value: where ``holds`` says yes of a node's attributes."""

    ops: tuple[str, ...]
    parameter: str
    reason: str
    holds: Callable[[Attributes], bool] = lambda _: True


def _quotient_below_one(a: Attributes) -> bool:
    return a["sum"] == "exact" and a["exp_bits"] == 64 and a["numerator"] == 2**31 - 1


EQUIVALENT: tuple[Excuse, ...] = (
    Excuse(
        ("Shiftmax",),
        "quotient",
        "The exponents are never above 0, since the maximum has been taken away: floor and truncation are the same there.",
    ),
    Excuse(
        ("Shiftmax", "ShiftGELU"),
        "product_bits",
        "An exact sum is at least each of its exponentials, so the reciprocal times one is at most 2**31 - 1.",
        _quotient_below_one,
    ),
    Excuse(
        ("ShiftGELU",),
        "exp_bits",
        "The sum and the product keep their low 32 bits, which are the same for exponentials that have kept theirs.",
        lambda a: a["sum"] == "int32" and a["product_bits"] == 32,
    ),
    Excuse(
        ("ILayerNorm",),
        "product_bits",
        "With an exact sum of squares the root is at least every deviation, so the product is at most 2**31 - 1.",
        lambda a: a["variance_bits"] == 64,
    ),
)
"""The changes that nothing can show, and why."""

STEPS = ("i0", "n", "out_bits", "steps", "sqrt_steps", "zero_point")
STEPPED_EACH: Mapping[str, tuple[int, int]] = {
    f"{branch}{name}": bounds
    for branch in ("", "a_", "b_")
    for name, bounds in (("multiplier", (1 - 2**31, 2**31 - 1)), ("shift", (0, dyadic.LARGEST_SHIFT)))
}
"""What has one entry for each channel, with the bounds of its constraint: an entry at one stays there."""

CHOICES: Mapping[str, tuple[int, ...]] = {
    "numerator": (2**31 - 1, 2**31),
    "start": (0, 2**15, 2**16),
    "sqrt_start": (0, 2**15, 2**16),
}
NAMED = (
    *("half", "quotient", "exp_bits", "sum", "product_bits", "sigmoid"),
    *("mean_rounding", "mean_bits", "variance_bits", "halving", "rounding", "rounds"),
)

SCORED = ("ShiftExp", "IntDiv", "IntSqrt", "Shiftmax", "ShiftGELU", "ILayerNorm", "ReduceMean", "Requantize", "RequantizeAdd")
"""The operators with parameters that a profile or a scale chooses."""


def score(vectors: Iterable[Vectors]) -> list[Mutant]:
    """Every mutant of the operators and profiles that the vectors have, in their order."""
    cases: dict[tuple[str, str], list[Vectors]] = {}
    for v in vectors:
        if v.op in SCORED:
            cases.setdefault((v.op, v.profile), []).append(v)
    return [mutant for (op, profile), found in cases.items() for mutant in _mutants(op, profile, found)]


def _mutants(op: str, profile: str, cases: list[Vectors]) -> Iterator[Mutant]:
    for parameter, value, mutate in _mutations(op):
        changed = [(v, attributes) for v in cases if (attributes := _allowed(v, mutate)) is not None]
        if changed:
            killed = any(_shows(v, attributes) for v, attributes in changed)
            yield Mutant(op, profile, parameter, value, killed, _reason(op, parameter, [v for v, _ in changed]))


def _mutations(op: str) -> Iterator[tuple[str, str, Mutation]]:
    """Parameter, value and what it does, for each mutation of an operator."""
    for name, hint in REGISTRY[op].attributes.items():
        if name in STEPS or name in STEPPED_EACH:
            yield from ((name, f"{k:+d}", _step(name, k)) for k in (1, -1))
        if name == "i0":
            yield from ((name, rule, _unit(rule)) for rule in get_args(dyadic.UnitRule))
        for value in _values(name, hint):
            yield name, str(value), _set(name, value)


def _values(name: str, hint: Any) -> tuple[Attribute, ...]:
    if name in NAMED:
        assert get_origin(hint) is Literal
        return get_args(hint)
    return CHOICES.get(name, (False, True) if hint is bool else ())


def _set(name: str, value: Attribute) -> Mutation:
    return lambda v: {**v.attributes, name: value}


def _step(name: str, by: int) -> Mutation:
    def mutate(v: Vectors) -> Attributes:
        before: Any = v.attributes[name]
        if not isinstance(before, tuple):
            return {**v.attributes, name: before + by}
        low, high = STEPPED_EACH[name]
        return {**v.attributes, name: tuple(min(max(x + by, low), high) for x in before)}

    return mutate


def _unit(rule: dyadic.UnitRule) -> Mutation:
    """i0 as another published rule has it, where the scale is known."""

    def mutate(v: Vectors) -> Attributes | None:
        if v.scale is None:
            return None
        try:
            unit = dyadic.exp_unit(v.scale, rule, sigmoid=v.attributes.get("sigmoid") == "folded")
        except ScaleError:
            return None
        return {**v.attributes, "i0": unit}

    return mutate


def _allowed(v: Vectors, mutate: Mutation) -> Attributes | None:
    """The mutated attributes, where they differ and keep the constraints."""
    attributes = mutate(v)
    if attributes is None or attributes == v.attributes:
        return None
    try:
        REGISTRY[v.op].result_type([TensorType(str(x.dtype), x.shape) for x in v.arrays], attributes)
    except IvitError:
        return None
    return attributes


def _shows(v: Vectors, attributes: Attributes) -> bool:
    """Whether the case has another result, or none: a run that stops is told from one that does not."""
    try:
        found = REGISTRY[v.op].run(v.arrays, attributes, Context(overflow="wrap"))
    except IvitError:
        return True
    return not np.array_equal(found, v.expected)


def _reason(op: str, parameter: str, cases: list[Vectors]) -> str:
    for excuse in EQUIVALENT:
        if op in excuse.ops and parameter == excuse.parameter and all(excuse.holds(v.attributes) for v in cases):
            return excuse.reason
    return ""
