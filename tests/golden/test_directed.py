"""The directed and the random vectors: complete, within the constraints, confirmed by the twins, and what they claim to be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from zlib import crc32

import numpy as np
import pytest

from ivit_ref import ops
from ivit_ref.errors import ConstraintError, GraphError, IntegerOverflow
from ivit_ref.events import Context
from ivit_ref.golden.directed import PLAIN, PROFILED, groups, profiled, refusals
from ivit_ref.golden.directed.making import OF_EVENTS, calls, events_of
from ivit_ref.golden.group import Group
from ivit_ref.golden.notes import NOTES
from ivit_ref.golden.random_groups import Stream, random_groups
from ivit_ref.golden.second import twin
from ivit_ref.ir import Array, TensorType
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY
from ivit_ref.scales import follow_from_profile
from tests.golden.claims import CLAIMS

SEED, COUNT = 7, 40
SUITES = [(op, profile) for op in REGISTRY for profile in (["", *PROFILES] if profiled(op) else [""])]

EXEMPT = {"IntDiv (C5)", "Linear (C3)", "Conv (C5)"}
"""Constraints without a refusal: a product beyond int64 is an overflow, and two need more than 2**16 numbers to break."""

suites = pytest.mark.parametrize(("op", "profile"), SUITES)


def both(op: str, profile: str) -> Iterator[Group]:
    """The directed groups, then random ones."""
    yield from groups(op, profile)
    yield from random_groups(op, profile, SEED, COUNT)


def result_type(group: Group) -> TensorType:
    types = [TensorType(str(x.dtype), x.shape) for x in group.inputs.values()]
    return REGISTRY[group.op].result_type(types, group.attributes)


# --- Complete


def test_every_operator_has_groups() -> None:
    assert set(PLAIN) | set(PROFILED) == set(REGISTRY)
    assert set(PLAIN) & set(PROFILED) == set()
    assert {op for op in REGISTRY if profiled(op)} == set(PROFILED)


def test_an_operator_is_profiled_if_a_profile_chooses_attributes_of_it() -> None:
    chosen = {op for op in REGISTRY if op in ("ShiftExp", "Shiftmax", "ShiftGELU")}
    chosen |= {op for op in set(REGISTRY) - chosen if follow_from_profile(op, PROFILES["qat"], {"out_bits": 8}, [])}
    assert chosen == set(PROFILED)


@suites
def test_groups_are_named(op: str, profile: str) -> None:
    found = list(both(op, profile))
    names = [g.name for g in found]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names)
    assert {(g.op, g.profile) for g in found} <= {(op, profile)}
    assert found or (profile == "" and profiled(op))


def test_an_operator_without_profiles_has_the_same_groups_in_each() -> None:
    for op in PLAIN:
        assert [g.name for g in groups(op, "tvm")] == [g.name for g in groups(op, "")]
        assert {g.profile for g in groups(op, "tvm")} == {""}


def test_a_profile_must_be_one() -> None:
    with pytest.raises(GraphError, match=r"^profile: must be one of"):
        groups("MatMul", "torch")


def test_directed_vectors_are_few_and_small() -> None:
    found = [g for op, profile in SUITES for g in groups(op, profile)]
    assert len(found) < 250
    assert sum(x.nbytes for g in found for x in g.inputs.values()) < 100_000


def test_every_flag_has_a_note_and_every_note_a_use() -> None:
    used = {flag for op, profile in SUITES for g in both(op, profile) for row in g.rows for flag in row.flags}
    assert used == set(NOTES) == set(CLAIMS) | set(OF_EVENTS.values())


# --- Within the constraints


@suites
def test_groups_keep_the_constraints(op: str, profile: str) -> None:
    for group in both(op, profile):
        assert tuple(group.inputs) == REGISTRY[op].inputs
        expected = result_type(group)
        found = REGISTRY[op].run(tuple(group.inputs.values()), group.attributes, Context(overflow="wrap"))
        assert TensorType(str(found.dtype), found.shape) == expected


@suites
def test_rows_are_stacked(op: str, profile: str) -> None:
    for group in both(op, profile):
        assert set(group.stacked) <= set(group.inputs)
        assert {len(group.inputs[name]) for name in group.stacked} <= {len(group.rows)}
        assert group.stacked or len(group.rows) == 1


@suites
def test_a_row_alone_gives_what_it_gives_among_others(op: str, profile: str) -> None:
    for group in both(op, profile):
        whole = REGISTRY[op].run(tuple(group.inputs.values()), group.attributes, Context(overflow="wrap"))
        function = getattr(ops, REGISTRY[op].kernel.__name__)
        rows = [function(*call, **group.attributes, ctx=Context(overflow="wrap")) for call in calls(group)]
        assert np.array_equal(np.array(rows) if group.stacked else rows[0], whole)


@pytest.mark.parametrize(("op", "profile"), [s for s in SUITES if s[0] in PROFILED and s[1]])
def test_the_profile_chose_the_attributes(op: str, profile: str) -> None:
    for group in both(op, profile):
        quants = [group.quants.get(name) for name in group.inputs]
        chosen = follow_from_profile(op, PROFILES[profile], group.attributes, quants)
        if op == "Shiftmax":
            assert chosen == group.attributes
        assert chosen.items() <= group.attributes.items()


@pytest.mark.parametrize("op", REGISTRY)
def test_every_constraint_has_a_refusal(op: str) -> None:
    labels = {f"{op} ({c})" for c in re.findall(r"^ +\((C\d+)\) ", REGISTRY[op].text, re.MULTILINE)}
    assert {r.label for r in refusals(op)} >= labels - EXEMPT


@pytest.mark.parametrize("op", REGISTRY)
@pytest.mark.parametrize("overflow", ["raise", "wrap"])
def test_refusals_are_refused(op: str, overflow: str) -> None:
    function = getattr(ops, REGISTRY[op].kernel.__name__)
    for refusal in refusals(op):
        assert (refusal.op, tuple(refusal.inputs)) == (op, REGISTRY[op].inputs)
        with pytest.raises(ConstraintError, match=re.escape(refusal.label) + ": "):
            function(*refusal.inputs.values(), **refusal.attributes, ctx=Context(overflow=overflow))  # type: ignore[arg-type]


# --- Confirmed


@suites
def test_the_twin_confirms(op: str, profile: str) -> None:
    for group in both(op, profile):
        arrays = tuple(group.inputs.values())
        found = REGISTRY[op].run(arrays, group.attributes, Context(overflow="wrap"))
        expected = twin(op, arrays, group.attributes, str(found.dtype))
        assert np.array_equal(found, expected)


# --- True


@suites
def test_flags_are_true(op: str, profile: str) -> None:
    for group in both(op, profile):
        for row, call in zip(group.rows, calls(group), strict=True):
            claimed = [flag for flag in row.flags if flag in CLAIMS]
            assert [flag for flag in claimed if not CLAIMS[flag](group, call)] == [], f"{group.name}: {row.comment}"


@suites
def test_flags_of_events_are_the_events(op: str, profile: str) -> None:
    for group in both(op, profile):
        for row, call in zip(group.rows, calls(group), strict=True):
            happened = {OF_EVENTS[event.kind] for event in events_of(group, call)}
            assert happened == set(row.flags) & set(OF_EVENTS.values())


def stops(group: Group, call: tuple[Array, ...]) -> bool:
    """Whether the call raises where values may not wrap."""
    try:
        REGISTRY[group.op].run(call, group.attributes, Context())
    except IntegerOverflow:
        return True
    return False


@suites
def test_overflow_is_what_raises(op: str, profile: str) -> None:
    for group in groups(op, profile):
        for row, call in zip(group.rows, calls(group), strict=True):
            assert stops(group, call) == ("overflow" in row.flags)


@pytest.mark.parametrize(
    ("op", "profile", "flags"),
    [
        ("Shiftmax", "tvm", "overflow clamp integer-unit all-equal one-hot two-maxima all-negative half-bit multiple-of-i0"),
        ("Shiftmax", "qat", "clamp saturation integer-unit all-equal one-hot two-maxima all-negative half-bit multiple-of-i0"),
        ("Shiftmax", "paper", "saturation far-tail integer-unit one-hot multiple-of-i0"),
        ("Shiftmax", "ideal", "clamp integer-unit all-equal one-hot"),
        ("ShiftGELU", "tvm", "overflow clamp above-limit all-negative every-code"),
        ("ShiftGELU", "qat", "clamp above-limit all-negative every-code saturation"),
        ("ShiftExp", "paper", "saturation far-tail multiple-of-i0"),
        ("ShiftExp", "tvm", "overflow clamp multiple-of-i0"),
        ("ILayerNorm", "tvm", "overflow not-converged tie zero-variance negative-odd full-scale"),
        ("ILayerNorm", "qat", "overflow not-converged tie zero-variance negative-odd full-scale"),
        ("ILayerNorm", "ideal", "tie zero-variance negative-odd full-scale"),
        ("IntSqrt", "tvm", "not-converged boundary-square"),
        *((op, p, "property") for op in ("Shiftmax", "ShiftGELU", "ILayerNorm", "IntSqrt") for p in ("qat", "tvm")),
        *(("Requantize", p, "property") for p in ("paper", "tvm")),
        ("IntDiv", "tvm", "overflow negative power-of-two"),
        ("IntDiv", "paper", "saturation negative power-of-two"),
        ("MatMul", "", "overflow"),
        ("Linear", "", "overflow"),
        ("Conv", "", "overflow"),
        ("Mul", "", "overflow"),
        ("ReduceSum", "", "overflow"),
        ("Quantize", "", "saturation tie"),
        *(("Requantize", p, "saturation tie per-axis full-scale shift-ends") for p in ("", *PROFILES)),
        *(("RequantizeAdd", p, "saturation tie rounds-once full-scale") for p in ("", *PROFILES)),
    ],
)
def test_what_must_be_hunted_is(op: str, profile: str, flags: str) -> None:
    found = {flag for group in groups(op, profile) for row in group.rows for flag in row.flags}
    assert set(flags.split()) <= found


# --- Random


@suites
def test_a_seed_gives_the_same_arrays_for_ever(op: str, profile: str) -> None:
    first, again, other = (list(random_groups(op, profile, seed, COUNT)) for seed in (SEED, SEED, SEED + 1))
    assert [g.name for g in first] == [g.name for g in again] == [g.name for g in other]
    assert [g.attributes for g in first] == [g.attributes for g in again]
    for a, b, c in zip(first, again, other, strict=True):
        assert all(np.array_equal(a.inputs[n], b.inputs[n]) for n in a.inputs)
        assert not all(np.array_equal(a.inputs[n], c.inputs[n]) for n in a.inputs)


def test_numbers_are_remainders_of_the_raw_stream() -> None:
    raw = [int(v) for v in np.random.PCG64([SEED, crc32(b"MatMul ")]).random_raw(6)]
    drawn = Stream("MatMul", "", SEED).integers(-128, 127, 2, 3)
    assert drawn.ravel().tolist() == [v % 256 - 128 for v in raw]
    group = next(iter(random_groups("MatMul", "", SEED, COUNT)))
    assert group.inputs["a"].ravel()[:6].tolist() == [v % 256 - 128 for v in raw]


def test_the_count_is_that_of_rows() -> None:
    for op, profile in SUITES:
        found = list(random_groups(op, profile, SEED, 23))
        if any(g.stacked for g in found):
            assert sum(len(g.rows) for g in found) == 23
        assert list(random_groups(op, profile, SEED, 0)) == []


@pytest.mark.parametrize("seed", range(5))
def test_no_seed_meets_a_refusal(seed: int) -> None:
    """A sum that became 0 would stop the run."""
    for op in ("Shiftmax", "ShiftGELU", "IntDiv", "ILayerNorm"):
        for profile in PROFILES:
            assert list(random_groups(op, profile, seed, 100))
