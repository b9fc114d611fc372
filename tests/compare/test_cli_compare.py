"""``compare`` and ``explain`` as commands: the exit status, what is printed, and one line for whatever is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ivit_ref.golden.read import find_cases, read_case
from tests.compare.building import (
    FC,
    HERE,
    OUT,
    PAIR,
    RESULT,
    SUMS,
    WRONG,
    X,
    command,
    digits_case,
    dump,
    mapped,
    pair_case,
    suites_tree,
    told,
)

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def ready(capsys: Capture) -> None:
    """What making the cases prints is none of what is tested."""
    pair_case(), digits_case(), suites_tree()
    capsys.readouterr()


@pytest.fixture
def unexplained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for a reason takes seconds."""
    monkeypatch.setattr("ivit_ref.cli.compare.conclusions", lambda *arguments: [])


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")


def facts(capsys: Capture) -> dict[str, Any]:
    """What was printed, as JSON that every reader takes; and nothing else was."""
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, Any] = json.loads(out, parse_constant=refuse)
    return found


def off_by_one() -> Any:
    bad = RESULT.copy()
    bad[1, 0] += 1
    return bad


# --- Status 0 and 1


def test_an_equal_dump_is_status_0(tmp_path: Path, capsys: Capture) -> None:
    assert command("compare", pair_case(), dump(tmp_path / "a.npz", block_fc=SUMS, block_out=RESULT)) == 0
    assert capsys.readouterr() == ("1 of 1 cases equal: 2 tensors\n", "")


def test_a_partial_dump_that_is_equal_is_status_0(tmp_path: Path, capsys: Capture) -> None:
    assert command("compare", pair_case(), dump(tmp_path / "a.npz", block_out=RESULT)) == 0
    assert capsys.readouterr() == ("1 of 1 cases equal: 1 tensors, 1 were not given\n", "")


def test_a_difference_is_status_1_and_told_at_length(tmp_path: Path, capsys: Capture) -> None:
    assert command("compare", pair_case(), dump(tmp_path / "a.npz", block_fc=SUMS, block_out=off_by_one())) == 1
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == f"{PAIR}: 1 of 2 tensors differ, 1 are equal"
    assert lines[2] == f"{PAIR} (cumulative)"
    assert lines[3].split() == ["tensor", "operator", "differ", "of", "largest", "first", "at", "got", "want"]
    assert lines[4].split() == [OUT, "Requantize", "1", "8", "1", "[1,", "0]", "3", "2"]
    assert f"first divergent tensor: {OUT}: 1 of 8 differ, by at most 1; first at [1, 0]: got 3, want 2" in lines
    assert "got - want: +1: 1" in lines


def test_the_report_as_json(tmp_path: Path, capsys: Capture) -> None:
    assert command("compare", pair_case(), dump(tmp_path / "a.npz", block_out=off_by_one()), "--json") == 1
    found = facts(capsys)
    assert found["equal"] is False
    [case] = found["cases"]
    rows = case.pop("tensors")
    assert case == {"case": PAIR, "mode": "cumulative", "equal": 0, "differs": 1, "not_given": 1, "not_judged": 0, "first": OUT}
    assert [(r["name"], r["verdict"]) for r in rows] == [(FC, "not given"), (OUT, "differs")]
    wanted = {"name": OUT, "node": OUT, "op": "Requantize", "dtype": "int8", "shape": [2, 4], "verdict": "differs", "total": 8}
    assert rows[1] == {
        **wanted, "differing": 1, "largest": 1, "histogram": [[1, 1]], "others": 0, "index": [1, 0], "got": 3, "want": 2
    }  # fmt: skip
    assert isinstance(found["explanations"], list)


def test_isolated_blames_one_node_where_cumulative_blames_many(capsys: Capture, unexplained: None) -> None:
    found = {}
    for options in ([], ["--isolated"]):
        assert command("compare", digits_case(), f"{HERE}:wrong", "--json", *options) == 1
        [case] = facts(capsys)["cases"]
        assert case["first"] == WRONG
        found[case["mode"]] = case["differs"]
    assert found["isolated"] == 1
    assert found["cumulative"] > 50


def test_isolated_that_can_judge_no_tensor_of_a_wrong_dump_is_not_equal(tmp_path: Path) -> None:
    """The only tensor is wrong, and what goes into its node was not dumped."""
    assert command("compare", pair_case(), dump(tmp_path / "a.npz", block_out=off_by_one()), "--isolated") != 0


@pytest.mark.parametrize("options", [[], ["--isolated"]])
def test_onnxruntime_is_equal(options: list[str], capsys: Capture) -> None:
    assert command("compare", pair_case(), "onnxruntime", *options) == 0
    assert capsys.readouterr() == ("1 of 1 cases equal: 2 tensors\n", "")


@pytest.mark.parametrize("options", [[], ["--isolated"]])
def test_infinities_are_words_in_json(options: list[str], capsys: Capture, unexplained: None) -> None:
    assert command("compare", digits_case(), f"{HERE}:infinite", "--json", *options) == 1
    [case] = facts(capsys)["cases"]
    [row] = [r for r in case["tensors"] if r["verdict"] == "differs"]
    assert (case["first"], row["largest"]) == ("logits", "inf")
    assert row["got"] in ("inf", "-inf", "nan")


def test_a_backend_that_prints_does_not_break_the_json(capsys: Capture) -> None:
    assert command("compare", pair_case(), f"{HERE}:chatty", "--json") == 0
    assert json.loads(capsys.readouterr().out)["equal"] is True


# --- Several cases


def write_dumps(root: Path, form: str, wrong: str = "") -> list[str]:
    """Exact dumps of two cases of Shiftmax, of which one may be wrong in its last element."""
    names = []
    for folder in find_cases(suites_tree() / "Shiftmax")[:2]:
        case = read_case(folder)
        array = case.tensors["result"].copy()
        if case.id == wrong:
            array.flat[-1] -= 1
        place = root / case.suite / case.id
        place.parent.mkdir(parents=True, exist_ok=True)
        if form == "npz":
            np.savez(f"{place}.npz", result=array)
        else:
            place.mkdir()
            np.save(place / "result.npy", array)
        names.append(case.name)
    return names


@pytest.mark.parametrize("form", ["npz", "folder"])
@pytest.mark.parametrize("whole", [True, False])
def test_of_several_cases_those_are_compared_that_have_a_dump(form: str, whole: bool, tmp_path: Path, capsys: Capture) -> None:
    names = write_dumps(tmp_path, form)
    place = suites_tree() if whole else suites_tree() / "Shiftmax"
    assert command("compare", place, tmp_path, "--json") == 0
    found = facts(capsys)
    assert [case["case"] for case in found["cases"]] == names
    assert len(find_cases(suites_tree())) > 2


def test_a_suite_may_be_the_folder_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    names = write_dumps(tmp_path, "npz")
    monkeypatch.chdir(suites_tree() / "Shiftmax")
    assert command("compare", ".", tmp_path, "--json") == 0
    assert [case["case"] for case in facts(capsys)["cases"]] == names


@pytest.mark.parametrize("command_name", ["compare", "explain"])
def test_one_wrong_dump_of_several_is_status_1(command_name: str, tmp_path: Path, capsys: Capture) -> None:
    second = find_cases(suites_tree() / "Shiftmax")[1].name
    names = write_dumps(tmp_path, "npz", second)
    assert command(command_name, suites_tree(), tmp_path) == 1
    out = capsys.readouterr().out
    assert names[1] in out
    assert ("1 of 2 cases equal" in out) == (command_name == "compare")


def test_an_exact_backend_answers_all_cases_of_a_tree(capsys: Capture) -> None:
    assert command("compare", suites_tree(), f"{HERE}:exact", "--isolated", "--json") == 0
    assert {c["case"] for c in facts(capsys)["cases"]} == {f"{p.parent.name}/{p.name}" for p in find_cases(suites_tree())}


# --- explain


def test_there_is_nothing_to_explain_where_all_is_equal(tmp_path: Path, capsys: Capture) -> None:
    for actual in (dump(tmp_path / "a.npz", block_out=RESULT), f"{HERE}:exact"):
        assert command("explain", pair_case(), actual) == 0
        assert capsys.readouterr() == ("equal: there is nothing to explain\n", "")


def test_explain_names_the_setting(capsys: Capture) -> None:
    assert command("explain", suites_tree() / "Shiftmax", f"{HERE}:half_dropped") == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[0].startswith("Shiftmax/test_")
    assert "exactly what it gives with\n  half drop\n" in out
    assert command("explain", suites_tree() / "Shiftmax", f"{HERE}:half_dropped", "--json") == 1
    [finding] = facts(capsys)["explanations"]
    assert (finding["op"], finding["settings"]) == ("Shiftmax", [["half drop"]])


def test_explain_takes_no_isolated(tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        command("explain", pair_case(), dump(tmp_path / "a.npz", block_out=RESULT), "--isolated")
    assert caught.value.code == 2
    told(capsys, "--isolated")


# --- Status 2


def nan() -> Any:
    array = RESULT.astype(np.float32)
    array[0, 1] = np.nan
    return array


DUMPS: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": ({"block_out": nan()}, "at [0, 1] found nan"),
    "a fraction": ({"block_out": RESULT + 0.5}, "at [0, 0] found 3.5"),
    "an extra tensor": ({"block_out": RESULT, "debug": X}, "but found 'debug'"),
    "a misnamed tensor": ({"block_outt": RESULT}, f"the nearest name is '{OUT}'"),
    "a transposed tensor": ({"block_out": RESULT.T}, "declare it with a map's transpose"),
    "a flat tensor": ({"block_out": RESULT.ravel()}, "but found int8[8]"),
    "another sign": ({"block_out": RESULT.view(np.uint8)}, "but found uint8[2, 4]"),
    "truths": ({"block_out": RESULT > 0}, "but found bool[2, 4]"),
    "text": ({"block_out": RESULT.astype(str)}, "but found <U4[2, 4]"),
    "objects": ({"block_out": RESULT.astype(object)}, "Python objects"),
    "other inputs": ({"x": X + 1, "block_out": RESULT}, "input must be that of the case"),
    "nothing": ({}, "but found none"),
}


@pytest.mark.parametrize("name", ["compare", "explain", "isolated"])
@pytest.mark.parametrize("bad", DUMPS)
def test_a_bad_dump_is_refused(bad: str, name: str, tmp_path: Path, capsys: Capture) -> None:
    arrays, words = DUMPS[bad]
    options = ["compare", "--isolated"] if name == "isolated" else [name]
    assert command(options[0], pair_case(), dump(tmp_path / "a.npz", **arrays), *options[1:]) == 2
    told(capsys, "a.npz", words)


def test_a_function_of_inputs_alone_cannot_be_run_node_by_node(capsys: Capture) -> None:
    assert command("compare", pair_case(), f"{HERE}:inputs_alone", "--isolated") == 2
    told(capsys, "--isolated", f"{HERE}:inputs_alone takes inputs alone")
    assert command("compare", pair_case(), f"{HERE}:inputs_alone") == 0


@pytest.mark.parametrize("how", ["compare", "explain"])
def test_a_function_that_takes_too_long_is_named_with_its_case(how: str, capsys: Capture) -> None:
    out = sys.stdout
    assert command(how, pair_case(), f"{HERE}:hanging", "--timeout", "0.1") == 2
    assert sys.stdout is out
    told(capsys, f"backend {HERE}:hanging ({PAIR}): must answer within 0.1 seconds, but did not")
    assert command(how, pair_case(), f"{HERE}:exact", "--timeout", "60") == 0


def test_a_time_out_is_for_a_function_and_above_0(tmp_path: Path, capsys: Capture) -> None:
    assert command("compare", pair_case(), dump(tmp_path / "a.npz", block_out=RESULT), "--timeout", "1") == 2
    told(capsys, "--timeout: is for a function")
    assert command("compare", pair_case(), f"{HERE}:exact", "--timeout", "0") == 2
    told(capsys, "--timeout: must be seconds above 0, at most 100000, but found 0.0")


def test_a_map_is_for_a_dump(tmp_path: Path, capsys: Capture) -> None:
    assert command("compare", pair_case(), f"{HERE}:exact", "--map", mapped(tmp_path / "m.json")) == 2
    told(capsys, "--map: is for a dump")


def test_a_map_is_used(tmp_path: Path, capsys: Capture) -> None:
    layout = mapped(tmp_path / "m.json", tensors={FC: {"name": "ln", "transpose": [1, 0]}}, ignore=["debug"])
    assert command("compare", pair_case(), dump(tmp_path / "a.npz", ln=SUMS.T, debug=X), "--map", layout) == 0
    assert capsys.readouterr().out == "1 of 1 cases equal: 1 tensors, 1 were not given\n"


def test_places_that_are_no_cases_are_refused(tmp_path: Path, capsys: Capture) -> None:
    for place in (tmp_path, tmp_path / "nowhere", Path(__file__)):
        assert command("compare", place, f"{HERE}:exact") == 2
        told(capsys, str(place), "must be a case, a suite or a tree of suites")


def test_a_tree_of_which_no_case_has_a_dump_is_refused(tmp_path: Path, capsys: Capture) -> None:
    for actual in (tmp_path, dump(tmp_path / "a.npz", result=RESULT), tmp_path / "nowhere"):
        assert command("compare", suites_tree(), actual) == 2
        told(capsys, f"{actual}: must hold the dump of a case, such as ReduceMean/test_", ".npz, but found none")
