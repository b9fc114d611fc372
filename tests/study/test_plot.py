"""Pictures: whole, labelled, the same twice, and one clear line without matplotlib."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from ivit_ref.errors import FileError, InputError, MissingExtra
from ivit_ref.study import plot
from ivit_ref.study.corpus import Size
from ivit_ref.study.drawing import COLOURS, DASHES, PANELS
from ivit_ref.study.subject import subjects

OPERATORS = ("Shiftmax", "ShiftGELU", "ILayerNorm", "ShiftExp", "Requantize", "IntSqrt", "IntDiv")


@pytest.mark.parametrize("op", OPERATORS)
def test_svg_is_the_same_twice_and_without_a_date(op: str, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        plot(tmp_path / name, op, scale=0.05, profiles=["qat", "tvm"], rows=5)
    first = (tmp_path / "a.svg").read_text()
    assert first == (tmp_path / "b.svg").read_text()
    assert "<dc:date>" not in first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.svg", "b.svg"]
    assert all(colour.lower() in first.lower() for colour in COLOURS[:2])


def test_png_is_one(tmp_path: Path) -> None:
    plot(tmp_path / "a.png", "ShiftExp", scale=0.05)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("op", OPERATORS)
def test_axes_say_what_they_show_and_in_what(op: str) -> None:
    [subject] = subjects(op, scale=0.05)
    for panel in PANELS[subject.kind](subject, Size(rows=3)):
        assert re.search(r"\(.+\)$", panel.x_label)
        assert re.search(r"error.*\(.+\)$", panel.y_label)
        x, y = panel.curve(subject)
        assert len(x) == len(y) > 30


def test_curves_differ_in_more_than_colour() -> None:
    assert len(set(map(str, DASHES))) == len(DASHES) == len(set(COLOURS)) == len(COLOURS)


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"plot: needs matplotlib, but it is missing: pip install 'ivit-ref\[plot\]'"):
        plot(tmp_path / "a.svg", "ShiftExp", scale=0.05)
    assert list(tmp_path.iterdir()) == []


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in \.svg or \.png, but found a\.pdf"):
        plot(tmp_path / "a.pdf", "ShiftExp", scale=0.05)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="must be a place that can be written"):
        plot(tmp_path / "none" / "a.svg", "ShiftExp", scale=0.05)
