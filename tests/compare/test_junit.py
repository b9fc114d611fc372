"""JUnit XML: every reader parses it, it counts what the report counts, and it is whole or not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from ivit_ref.compare.difference import Difference
from ivit_ref.compare.junit import junit
from ivit_ref.compare.report import Report, compare
from ivit_ref.errors import GraphError
from ivit_ref.golden.read import read_case
from ivit_ref.ir import Graph, TensorType, Value
from tests.compare.building import FC, OUT, PAIR, RESULT, SUMS, command, dump, pair_case, told

NASTY = ["a/b", "<a>", "a&b", 'a"b', "a'b", "]]>", "é☃", "&amp;", "<!--", "😀", "a%00b"]


def row(name: str, verdict: str = "equal") -> Difference:
    return Difference(name, "node", "Op", "int8", (2,), verdict, 2)  # type: ignore[arg-type]


def parsed(*reports: Report) -> ET.Element:
    root = ET.fromstring(junit(reports))
    assert root.tag == "testsuites"
    return root


def test_a_suite_for_a_case_and_a_test_for_a_tensor() -> None:
    case = read_case(pair_case())
    bad = RESULT.copy()
    bad[0, 1] = 7
    reports = [compare(case, given, "dump") for given in ({FC: SUMS, OUT: bad}, {OUT: RESULT})]
    first, second = parsed(*reports)
    assert first.attrib == {"name": PAIR, "tests": "2", "failures": "1", "skipped": "0"}
    assert second.attrib == {"name": PAIR, "tests": "2", "failures": "0", "skipped": "1"}
    assert [test.attrib for test in first] == [{"classname": f"{PAIR} (cumulative)", "name": name} for name in (FC, OUT)]
    assert [[inner.tag for inner in test] for test in first] == [[], ["failure"]]
    assert [[inner.tag for inner in test] for test in second] == [["skipped"], []]
    [failure] = first.iter("failure")
    assert failure.get("message") == f"{OUT}: 1 of 8 differ, by at most 6; first at [0, 1]: got 7, want 1"


@pytest.mark.parametrize("counts", [(0, 0, 0), (3, 0, 0), (0, 3, 0), (0, 0, 3), (2, 3, 4)])
def test_the_counts_are_those_of_the_elements(counts: tuple[int, int, int]) -> None:
    verdicts = [v for v, n in zip(("equal", "differs", "not given"), counts, strict=True) for _ in range(n)]
    [suite] = parsed(Report("s/c", "isolated", tuple(row(f"t{k}", v) for k, v in enumerate(verdicts))))
    assert int(suite.attrib["tests"]) == sum(counts) == len(suite.findall("testcase"))
    assert int(suite.attrib["failures"]) == counts[1] == len(suite.findall("testcase/failure"))
    assert int(suite.attrib["skipped"]) == counts[2] == len(suite.findall("testcase/skipped"))


def test_no_case_is_an_empty_document() -> None:
    assert list(parsed()) == []


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_name_comes_out_as_it_went_in(name: str) -> None:
    [suite] = parsed(Report(name, "cumulative", (row(name, "differs"),)))
    assert suite.get("name") == name
    [test] = suite
    assert (test.get("name"), test.get("classname")) == (name, f"{name} (cumulative)")
    assert str(test[0].get("message")).startswith(f"{name}: ")


@pytest.mark.parametrize(
    "letter", [chr(k) for k in (*range(33), 0x7F, 0x85, 0xA0, 0xAD, 0x2028, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF)]
)
def test_what_xml_cannot_carry_is_no_part_of_a_name(letter: str) -> None:
    """A graph refuses it; and should it come from elsewhere, the document can be parsed all the same."""
    value = Value(f"a{letter}b", TensorType("int8", (1,)))
    with pytest.raises(GraphError, match="must be printable and without white space"):
        Graph("g", (value,), (value.name,), (), ())
    [suite] = parsed(Report(f"a{letter}b", "cumulative", (row(f"a{letter}b", "differs"),)))
    assert suite.get("name") in ("a?b", f"a{letter}b")


def test_every_printable_character_of_the_first_plane_can_be_carried() -> None:
    name = "".join(chr(k) for k in range(0x10000) if chr(k).isprintable())
    [suite] = parsed(Report(name, "cumulative", ()))
    assert suite.get("name") == name


def test_infinity_is_told_in_words() -> None:
    found = Difference("t", "n", "Dequantize", "float32", (1,), "differs", 1, 1, np.inf, ((np.inf, 1),), 0, (0,), np.inf, 1.0)
    [failure] = parsed(Report("s/c", "cumulative", (found,))).iter("failure")
    assert failure.get("message") == "t: 1 of 1 differ, by at most inf; first at [0]: got inf, want 1.0"


# --- The file


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    return dump(tmp_path / "bad.npz", block_fc=SUMS, block_out=RESULT + 1)


def test_the_file_is_written_with_the_report(bad: Path, tmp_path: Path) -> None:
    assert command("compare", pair_case(), bad, "--junit", tmp_path / "out.xml") == 1
    [suite] = ET.parse(tmp_path / "out.xml").getroot()
    assert (suite.get("name"), suite.get("failures")) == (PAIR, "1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.npz", "out.xml"]


def test_the_same_report_is_the_same_bytes(bad: Path, tmp_path: Path) -> None:
    for name in ("a.xml", "b.xml"):
        command("compare", pair_case(), bad, "--junit", tmp_path / name)
    assert (tmp_path / "a.xml").read_bytes() == (tmp_path / "b.xml").read_bytes()


def test_an_older_file_is_replaced(bad: Path, tmp_path: Path) -> None:
    (tmp_path / "out.xml").write_text("x" * 10**5)
    command("compare", pair_case(), bad, "--junit", tmp_path / "out.xml")
    assert ET.parse(tmp_path / "out.xml").getroot().tag == "testsuites"


def test_an_older_file_stays_where_the_input_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out.xml").write_text("older")
    nan = dump(tmp_path / "nan.npz", block_out=np.full((2, 4), np.nan))
    assert command("compare", pair_case(), nan, "--junit", tmp_path / "out.xml") == 2
    told(capsys, "must hold integers (int8)", "nan")
    assert (tmp_path / "out.xml").read_text() == "older"


def test_an_older_file_stays_where_writing_fails(bad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out.xml").write_text("older")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert command("compare", pair_case(), bad, "--junit", tmp_path / "out.xml") == 2
    assert (tmp_path / "out.xml").read_text() == "older"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.npz", "out.xml"]


PLACES: dict[str, Callable[[Path], Path]] = {
    "a folder": lambda folder: folder,
    "a folder that is not there": lambda folder: folder / "no" / "out.xml",
    "below a file": lambda folder: folder / "bad.npz" / "out.xml",
    "a name that is too long": lambda folder: folder / ("x" * 300),
    "a device": lambda folder: Path("/dev/null"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_cannot_be_written_is_refused(place: str, bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = PLACES[place](bad.parent)
    pair_case()
    capsys.readouterr()
    assert command("compare", pair_case(), bad, "--junit", path) == 2
    told(capsys, str(path)[:200], "must be a place that can be written, but it")
