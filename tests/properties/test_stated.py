"""Every property that a text states has a test, and every test names one that is stated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ivit_ref.registry import REGISTRY

HERE = Path(__file__).parent


def module_of(op: str) -> str:
    return REGISTRY[op].kernel.__name__


def labels(op: str) -> list[str]:
    """P1, P2, ... in the order of the text."""
    return re.findall(r"^ +\((P\d+)\) ", REGISTRY[op].text, re.MULTILINE)


STATED = [op for op in REGISTRY if labels(op)]


def test_the_files_are_those_of_the_operators_with_properties() -> None:
    files = {path.stem.removeprefix("test_") for path in HERE.glob("test_*.py")} - {"stated"}
    assert files == {module_of(op) for op in STATED}
    assert {"Shiftmax", "ShiftGELU", "ILayerNorm", "IntSqrt", "IntDiv", "ShiftExp", "Requantize"} <= set(STATED)


@pytest.mark.parametrize("op", STATED)
def test_properties_are_numbered_and_stand_between_semantics_and_sources(op: str) -> None:
    assert labels(op) == [f"P{n}" for n in range(1, len(labels(op)) + 1)]
    text = REGISTRY[op].text
    places = [re.search(rf"^{title}\b", text, re.MULTILINE) for title in ("Semantics", "Properties", "Sources")]
    assert [place.start() for place in places if place] == sorted(place.start() for place in places if place)
    assert None not in places


@pytest.mark.parametrize("op", STATED)
def test_every_property_has_a_test(op: str) -> None:
    module = module_of(op)
    names = re.findall(rf"^def test_{module}_(\w+)", (HERE / f"test_{module}.py").read_text(), re.MULTILINE)
    tested = {label.upper() for name in names for label in re.findall(r"(?:^|_)(p\d+)(?=_|$)", name)}
    assert tested == set(labels(op))
