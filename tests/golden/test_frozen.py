"""The frozen core set in ``golden/``: whole, sound, within its size, and still what the operators give."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from ivit_ref.golden.case import Case
from ivit_ref.golden.directed import profiled
from ivit_ref.golden.lint import lint
from ivit_ref.golden.make import suite_cases
from ivit_ref.golden.read import read_cases
from ivit_ref.golden.verify import verify_tree
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY

GOLDEN = Path(__file__).parents[2] / "golden"
LARGEST = 12 * 2**20


@cache
def frozen() -> dict[str, Case]:
    return {case.name: case for case in read_cases(GOLDEN)}


def test_every_file_is_what_the_manifest_says_and_every_case_computes_again() -> None:
    facts = verify_tree(GOLDEN)
    assert facts["cases"] == len(frozen())
    assert facts["suites"] == len(REGISTRY) + 1
    assert facts["files"] == sum(p.is_file() for p in GOLDEN.rglob("*")) - 1  # the manifest itself


def test_it_is_at_most_12_mb() -> None:
    assert sum(p.stat().st_size for p in GOLDEN.rglob("*") if p.is_file()) <= LARGEST


@pytest.mark.parametrize("op", REGISTRY)
def test_every_operator_is_there_in_every_profile(op: str) -> None:
    found = {case.profile for case in frozen().values() if case.suite == op}
    assert found - {""} == (set(PROFILES) if profiled(op) else set())
    assert found


def test_a_block_and_the_whole_digits_vit_are_there_in_every_profile() -> None:
    models = [case for case in frozen().values() if case.suite == "models"]
    assert {(c.profile, len(c.graph.nodes) > 100) for c in models} == {(p, w) for p in PROFILES for w in (True, False)}
    assert all(record.where != "on demand" for case in models for record in case.records)


def test_lint_finds_nothing_and_every_mutant_is_shown() -> None:
    found = lint(frozen().values())
    assert found.findings == ()
    assert found.killed + found.equivalent == len(found.mutants) > 300


@pytest.mark.parametrize("op", REGISTRY)
def test_the_vectors_that_are_made_today_have_the_frozen_integers(op: str) -> None:
    """A change here is a change of the numbers: a commit of its own, with a line in CHANGELOG.md under "numeric"."""
    made = {case.name: case for case in suite_cases(op, PROFILES, 24, 0)}
    assert set(made) == {name for name, case in frozen().items() if case.suite == op}
    for name, case in made.items():
        assert [r.sha256 for r in case.records] == [r.sha256 for r in frozen()[name].records]
        assert case.events == frozen()[name].events
