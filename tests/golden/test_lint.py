"""``golden lint``: it finds vectors that cannot fail, and those that are missing once they are taken away."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ivit_ref.golden.case import Case
from ivit_ref.golden.lint import lint
from ivit_ref.golden.read import read_cases
from tests.golden.building import DIGITS, TINY_X, command, full_tree, tiny_graph, told
from tests.golden.samples import memory_case, one_node

Capture = pytest.CaptureFixture[str]


def clip(*rows: list[int], low: int = -2, high: int = 2, **facts: Any) -> Case:
    return one_node("Clip", {"x": np.array(rows, np.int8)}, {"low": low, "high": high}, **facts)


def found(capsys: Capture, status: int, place: Path) -> dict[str, Any]:
    capsys.readouterr()
    assert command("golden", "lint", place, "--json") == status
    out, err = capsys.readouterr()
    assert err == ""
    facts: dict[str, Any] = json.loads(out)
    return facts


# --- In memory


def test_vectors_that_can_fail_have_no_findings() -> None:
    assert lint([clip([-3, 3, 1])]).findings == ()


@pytest.mark.parametrize(("rows", "named"), [([[0, 0]], "'x' is all zero"), ([[2, 2], [2, 2]], "'x' is all 2")])
def test_a_constant_input_is_named(rows: list[list[int]], named: str) -> None:
    findings = lint([clip(*rows, id="test_flat")]).findings
    assert any("Clip/test_flat: " in f and named in f for f in findings)


def test_a_constant_result_is_named_although_its_input_is_none() -> None:
    findings = lint([clip([3, 4, 5], id="test_flat")]).findings
    assert any("Clip/test_flat: " in f and "'y' is all 2" in f for f in findings)
    assert not any("'x'" in f for f in findings)


def test_a_single_element_is_no_constant() -> None:
    assert not any("different elements" in f for f in lint([clip([5])]).findings)


def test_the_same_case_under_another_name_is_found() -> None:
    first, second, other = clip([-3, 3], id="test_a"), clip([-3, 3], id="test_b"), clip([-3, 4], id="test_c")
    assert lint([first, other]).findings == ()
    [finding] = lint([first, other, second]).findings
    assert "Clip/test_b" in finding
    assert "Clip/test_a" in finding


def test_other_attributes_and_other_profiles_make_another_case() -> None:
    assert lint([clip([-9, 9, 1]), clip([-9, 9, 1], high=3, id="test_b")]).findings == ()
    assert lint([clip([-9, 9, 1]), clip([-9, 9, 1], profile="qat", id="test_b")]).findings == ()


def test_an_end_that_no_vector_reaches_is_named() -> None:
    [finding] = lint([clip([-3, 1])]).findings
    assert "Clip (no profile)" in finding
    assert "the high end of the range" in finding


def test_operators_of_a_model_are_not_asked_to_reach_everything() -> None:
    """A case of several nodes is looked at for constants and repetition alone."""
    case = memory_case(tiny_graph().bind(N=2), {"x": TINY_X})
    assert lint([case]) == lint([])
    assert len(lint([case, replace(case, id="test_again")]).findings) == 1


# --- The command


def test_a_full_tree_has_no_findings(capsys: Capture) -> None:
    facts = found(capsys, 0, full_tree())
    assert facts["findings"] == []
    assert facts["mutants"] == facts["killed"] + facts["equivalent"]
    assert len(facts["survivors"]) == facts["equivalent"]
    assert facts["killed"] > 300


def test_directed_vectors_alone_have_no_findings(tmp_path: Path, capsys: Capture) -> None:
    assert command("golden", "make", tmp_path, "--random", 0) == 0
    assert found(capsys, 0, tmp_path)["findings"] == []


def test_what_is_found_is_printed_with_the_score_and_status_one(tmp_path: Path, capsys: Capture) -> None:
    shutil.copytree(full_tree() / "Requantize", tmp_path / "Requantize")
    shutil.rmtree(next((tmp_path / "Requantize").glob("test_*")))
    twin = next((tmp_path / "Requantize").glob("test_*"))
    again = twin.with_name("test_again")
    shutil.copytree(twin, again)
    (again / "case.json").write_text((again / "case.json").read_text().replace(f'"id": "{twin.name}"', '"id": "test_again"'))
    capsys.readouterr()
    assert command("golden", "lint", tmp_path) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert "test_again" in out
    assert "mutants shown by a vector  " in out


REMOVED = {
    "a clamp": ("ShiftGELU", "qat", "the clamp at -n*i0"),
    "a clamp of a sum": ("Shiftmax", "qat", "the clamp of the sum"),
    "a direction": ("Requantize", "", "remainder"),
    "an end": ("Quantize", "", "end of the range"),
    "a mutant": ("ShiftGELU", "qat", "a vector must show"),
}


@pytest.mark.parametrize("what", REMOVED)
def test_what_nothing_reaches_any_more_is_told_once_cases_are_deleted(what: str, tmp_path: Path, capsys: Capture) -> None:
    """All cases of an operator reach it; of the cases of one profile, one is left, and some one alone does not."""
    op, profile, word = REMOVED[what]
    cases = [case for case in read_cases(full_tree() / op) if profile in ("", case.profile)]
    assert not any(word in finding for finding in lint(cases).findings)
    alone = {case.id: [f for f in lint([case]).findings if word in f and f.startswith(f"{op} (")] for case in cases}
    kept = next(id_ for id_, findings in alone.items() if findings)
    shutil.copytree(full_tree() / op / kept, tmp_path / op / kept)
    assert set(alone[kept]) <= set(found(capsys, 1, tmp_path)["findings"])


def test_a_model_on_a_black_image_has_constant_tensors(tmp_path: Path, capsys: Capture) -> None:
    np.savez(tmp_path / "black.npz", images=np.zeros((1, 1, 8, 8), np.float32))
    options = ("--graph", DIGITS, "--images", tmp_path / "black.npz")
    assert command("golden", "make", tmp_path / "tree", *options) == 0
    findings = found(capsys, 1, tmp_path / "tree")["findings"]
    assert any("models/test_digits_vit_qat: " in f and "'image' is all zero" in f for f in findings)


def test_a_place_without_cases_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert command("golden", "lint", tmp_path) == 2
    told(capsys, str(tmp_path))
