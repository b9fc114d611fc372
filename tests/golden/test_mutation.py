"""The directed vectors tell every published parameter from its other values, but where no input could."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from ivit_ref.events import Context
from ivit_ref.golden.directed import groups
from ivit_ref.golden.mutation import EQUIVALENT, SCORED, Mutant, Vectors, score
from ivit_ref.golden.random_groups import random_groups
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY
from tests.golden.test_directed import SUITES, Group, profiled


def vectors(group: Group) -> Vectors:
    arrays = tuple(group.inputs.values())
    expected = REGISTRY[group.op].run(arrays, group.attributes, Context(overflow="wrap"))
    quant = group.quants.get(next(iter(group.inputs)))
    return Vectors(group.op, group.profile, group.attributes, arrays, expected, quant.scale[0] if quant else None)


@cache
def directed() -> tuple[Vectors, ...]:
    return tuple(vectors(g) for op, profile in SUITES for g in groups(op, profile))


@cache
def mutants() -> tuple[Mutant, ...]:
    return tuple(score(directed()))


def test_no_mutant_survives_without_a_reason() -> None:
    assert [m for m in mutants() if not m.killed and not m.reason] == []


def test_no_reason_is_wrong() -> None:
    """Nor with random vectors besides."""
    more = [vectors(g) for op, profile in SUITES for seed in range(4) for g in random_groups(op, profile, seed, 60)]
    assert [m for m in score([*directed(), *more]) if m.killed and m.reason] == []


def test_every_reason_is_needed() -> None:
    assert {m.reason for m in mutants() if m.reason} == {excuse.reason for excuse in EQUIVALENT}


def test_excuses_are_few() -> None:
    excused = [(m.op, m.profile, m.parameter) for m in mutants() if m.reason]
    assert sorted(set(excused)) == [
        ("ILayerNorm", "ideal", "product_bits"),
        ("ILayerNorm", "paper", "product_bits"),
        ("ILayerNorm", "qat", "product_bits"),
        ("ShiftGELU", "ideal", "product_bits"),
        ("ShiftGELU", "tvm", "exp_bits"),
        ("Shiftmax", "ideal", "product_bits"),
        ("Shiftmax", "ideal", "quotient"),
        ("Shiftmax", "paper", "quotient"),
        ("Shiftmax", "qat", "quotient"),
        ("Shiftmax", "tvm", "quotient"),
    ]


# --- What is mutated


UNPUBLISHED = {"axis", "axes", "dtype"}
"""Attributes that say what a call is about, not how it is computed."""


@pytest.mark.parametrize("op", SCORED)
def test_every_parameter_is_mutated(op: str) -> None:
    mutated = {m.parameter for m in mutants() if m.op == op}
    assert mutated == set(REGISTRY[op].attributes) - UNPUBLISHED


@pytest.mark.parametrize("op", ["ShiftExp", "Shiftmax", "ShiftGELU"])
@pytest.mark.parametrize("profile", PROFILES)
def test_the_unit_is_told_from_those_of_the_other_rules(op: str, profile: str) -> None:
    rules = {m.value for m in mutants() if (m.op, m.profile, m.parameter) == (op, profile, "i0")}
    assert rules == {"+1", "-1", "round", "ceil", "floor_plus_one"} - {PROFILES[profile].i0}


def test_only_operators_with_parameters_of_profiles_are_scored() -> None:
    assert {op for op in REGISTRY if profiled(op)} == set(SCORED)
    assert {(m.op, m.profile) for m in mutants()} == {(v.op, v.profile) for v in directed() if v.op in SCORED}


def test_a_value_is_mutated_to_every_other() -> None:
    found = {m.value for m in mutants() if (m.op, m.profile, m.parameter) == ("Requantize", "tvm", "rounding")}
    assert found == {"floor", "truncate", "half_away", "half_even"}
    found = {m.value for m in mutants() if (m.op, m.profile, m.parameter) == ("Shiftmax", "qat", "clamp")}
    assert found == {"False"}


# --- What kills


def requantize(x: list[int]) -> Vectors:
    attributes = {"multiplier": (1,), "shift": (1,), "rounding": "half_even", "axis": 0, "zero_point": 0, "dtype": "int8"}
    array = np.array(x, "int8")
    expected = REGISTRY["Requantize"].run((array,), attributes, Context())
    return Vectors("Requantize", "", attributes, (array,), expected, None)


def survivors(*cases: Vectors) -> set[tuple[str, str]]:
    return {(m.parameter, m.value) for m in score(cases) if not m.killed}


def test_vectors_without_ties_leave_survivors() -> None:
    roundings = {("rounding", r) for r in ("floor", "truncate", "half_up", "half_away")}
    assert survivors(requantize([4, 8, -6])) == roundings
    assert survivors(requantize([5])) == {("rounding", "floor"), ("rounding", "truncate")}
    assert survivors(requantize([5]), requantize([3, -1])) == set()


def test_a_mutant_that_stops_the_run_is_killed() -> None:
    """In a product of 64 bits a wide exponential times its reciprocal leaves int64, which the golden one does not."""
    x, d = np.array([2**62 - 1], "int64"), np.array([2**62 - 1], "int64")
    attributes = {**PROFILES["qat"].int_div(8), "numerator": 1}
    expected = REGISTRY["IntDiv"].run((x, d), attributes, Context())
    assert expected.tolist() == [0]
    runs = replace(vectors_of("IntDiv", (x, np.array([1], "int64")), expected), attributes=attributes)
    assert ("numerator", str(2**31 - 1)) not in survivors(runs)


def vectors_of(op: str, arrays: tuple[np.ndarray, ...], expected: np.ndarray) -> Vectors:  # type: ignore[type-arg]
    return Vectors(op, "", {}, arrays, expected, None)


def test_values_outside_the_constraints_are_no_mutants() -> None:
    values = {m.value for m in mutants() if (m.op, m.parameter) == ("Shiftmax", "out_bits")}
    assert values == {"-1"}
