"""``ivit-ref error``: what it prints, and that it refuses bad input in one line, with status 2."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ivit_ref.cli import main
from ivit_ref.oracle.shiftmax import shiftmax
from ivit_ref.profiles import TVM

ROOT = Path(__file__).parents[2]


def command(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def facts_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    out, err = capsys.readouterr()
    assert err == ""
    facts: dict[str, Any] = json.loads(out)
    return facts


def test_text_has_a_block_for_each_subject(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("error", "shiftmax", "--scale", 0.05, "--profile", "tvm", "qat", "--rows", 5) == 0
    out, err = capsys.readouterr()
    assert err == ""
    blocks = out.split("\n\n")
    assert [block.splitlines()[0].split(":")[0] for block in blocks] == ["Shiftmax (shiftmax, tvm)", "Shiftmax (shiftmax, qat)"]
    lines = blocks[0].splitlines()
    assert lines[2].split() == ["inputs", "max", "mean", "rms", "max", "mean", "rms", "order", "min", "mean", "max"]
    assert lines[3].split()[:5] == ["every", "row", "of", "two", "131072"]
    assert len(max(lines, key=len)) <= 160


def test_json_has_every_number_of_the_worst_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("error", "Shiftmax", "--scale", 0.05, "--profile", "tvm", "--rows", 5, "--json") == 0
    facts = facts_of(capsys)
    [subject] = facts["subjects"]
    worst = subject["total"]["worst"]
    attributes: dict[str, Any] = TVM.shiftmax(0.05)
    assert subject["attributes"] == attributes
    assert shiftmax(worst["inputs"][0], **attributes)[worst["place"]] == worst["integer"]
    assert worst["error"] == worst["got"] - worst["want"]
    assert subject["total"]["real"]["max"] == abs(worst["error"])
    assert set(subject["groups"]) >= {"uniform", "one-hot", "ramps", "two maxima", "extremes", "bell-shaped", "random"}


def test_sweep_as_text_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("error", "ShiftGELU", "--sweep", "0.05:0.1:2", "--profile", "qat", "tvm") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["scale", "max", "mean", "rms", "order", "F", "limit"]
    assert [line.split()[0] for line in lines[2:4]] == ["0.05", "0.1"]
    assert lines[3].endswith("row maximum above n ln 2 / 1.702")
    assert command("error", "ShiftGELU", "--sweep", "0.05:0.1:2", "--json") == 0
    [subject] = facts_of(capsys)["subjects"]
    assert [point["factor"] for point in subject["points"]] == [10, 21]


def test_sweep_without_a_range(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("error", "IntDiv", "--sweep") == 0
    assert len(capsys.readouterr().out.splitlines()) == 12


def test_plot_comes_with_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("error", "ShiftExp", "--scale", 0.05, "--plot", tmp_path / "a.svg") == 0
    assert capsys.readouterr().out.startswith("ShiftExp (ShiftExp, qat): ")
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


EXAMPLES = [
    found
    for name in ("README.md", "docs/numerics.md")
    for found in re.findall(r"ivit-ref (error .*)\n```\n\n```text\n((?s:.*?))```", (ROOT / name).read_text())
]


@pytest.mark.parametrize(("line", "output"), EXAMPLES, ids=[line for line, _ in EXAMPLES])
def test_what_the_documents_show_is_what_is_printed(line: str, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*line.split()) == 0
    assert capsys.readouterr().out == output


def test_the_documents_show_four_examples() -> None:
    assert len(EXAMPLES) == 4


BAD: dict[str, tuple[list[object], str]] = {
    "no scale": (["Shiftmax"], "Shiftmax (scales): the scale (--scale) must be a finite float32 above 0, but found None"),
    "a scale of nothing": (["Shiftmax", "--scale", 0], "Shiftmax (scales): "),
    "no number": (["Shiftmax", "--scale", "x"], "argument --scale: invalid float value: 'x'"),
    "4 bits": (["Shiftmax", "--scale", 0.05, "--bits", 4], "Shiftmax (C1): the codes must have 8 or 16 bits, but found 4"),
    "a long row": (["ILayerNorm", "--length", 2**17], "ILayerNorm (C1): "),
    "an exponential without room": (["ShiftGELU", "--scale", 2.0**-26], "ShiftGELU (C3): "),
    "no profile": (["Shiftmax", "--scale", 0.05, "--profile", "x"], "argument --profile: invalid choice: 'x'"),
    "no method": (["Shiftmax", "--scale", 0.05, "--against", "x"], "softmax: the method must be one of "),
    "no operator": (["Softmax", "--scale", 0.05], "operator: must be one of "),
    "no range": (["Shiftmax", "--sweep", "1:2"], "--sweep: must be LOW:HIGH:COUNT, but found '1:2'"),
    "a range of words": (["Shiftmax", "--sweep", "a:b:c"], "--sweep: must be LOW:HIGH:COUNT, but found 'a:b:c'"),
    "a scale and a range": (["Shiftmax", "--sweep", "--scale", 0.05], "--scale: must be left out with --sweep"),
    "a picture and a range": (["Shiftmax", "--sweep", "--plot", "a.svg"], "--plot: must be left out with --sweep"),
    "a picture of no kind": (["ShiftExp", "--scale", 0.05, "--plot", "a.pdf"], "plot: the file must end in .svg or .png"),
}


@pytest.mark.parametrize(("bad", "part"), BAD.values(), ids=BAD)
def test_bad_input(bad: list[object], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status: object = command("error", *bad)
    except SystemExit as stopped:
        status = stopped.code
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert part in err


# --- Where a method does not take what the others do


def test_a_method_that_does_not_take_the_scale_is_told_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["error", "Shiftmax", "--scale", "0.1", "--rows", "1", "--against", "ita", "ibert"]) == 0
    out = capsys.readouterr().out
    assert "\nIBertSoftmax (ibert): int8;" in out
    assert out.splitlines()[-1].startswith("ita: refused: ITASoftmax (scales): a step of x must be worth ln(2) / 2**shift")
    assert main(["error", "Shiftmax", "--scale", "0.1", "--rows", "1", "--against", "ita", "ibert", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [s["method"] for s in facts["subjects"]] == ["shiftmax", "ibert"]
    assert list(facts["refused"]) == ["ita"]


def test_a_sweep_goes_on_where_a_scale_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["error", "IBertSoftmax", "--sweep", "0.1:10:2", "--rows", "1"]
    assert main([*options, "--json"]) == 0
    first, last = json.loads(capsys.readouterr().out)["subjects"][0]["points"]
    assert first["real"]["max"] < 0.1
    assert last["real"] is None
    assert last["limit"].startswith("refused: IBertSoftmax (scales): x must have a scale of at most 1.67")
    assert main(options) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ["10", "-"]


def test_a_sweep_without_a_scale_that_is_taken_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["error", "ITASoftmax", "--sweep", "0.1:0.2:2", "--rows", "1"]) == 2
    assert capsys.readouterr().err.startswith("ivit-ref: ITASoftmax (scales): ")
