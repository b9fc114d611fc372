"""Every property that a text states has a test, and every test names one that is stated.

Those of I-ViT's operators are held against all profiles, in files of their own; those of the others are among their tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ivit_ref import dyadic
from ivit_ref.errors import ConstraintError
from ivit_ref.profiles import PROFILES, Profile
from ivit_ref.registry import REGISTRY
from tests.properties.building import Attributes, result

HERE = Path(__file__).parent
NUMERICS = (HERE.parents[1] / "docs" / "numerics.md").read_text()
DTYPES = {"Requantize": "int32", "IntSqrt": "int64"}


def module_of(op: str) -> str:
    return REGISTRY[op].kernel.__name__


def labels(op: str) -> list[str]:
    """P1, P2, ... in the order of the text."""
    return re.findall(r"^ +\((P\d+)\) ", REGISTRY[op].text, re.MULTILINE)


STATED = [op for op in REGISTRY if labels(op)]


def file_of(op: str) -> Path:
    """The file with the tests of its properties."""
    here = HERE / f"test_{module_of(op)}.py"
    return here if here.exists() else HERE.parent / "ops" / here.name


def test_every_file_belongs_to_an_operator_with_properties() -> None:
    assert {*HERE.glob("test_*.py")} - {Path(__file__)} == {file_of(op) for op in STATED if file_of(op).parent == HERE}
    assert {"Shiftmax", "ShiftGELU", "ILayerNorm", "IntSqrt", "IntDiv", "ShiftExp", "Requantize"} <= set(STATED)


def test_every_operator_with_properties_numbers_them() -> None:
    assert [op for op in REGISTRY if re.search(r"^Properties\b", REGISTRY[op].text, re.MULTILINE)] == STATED


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
    names = re.findall(rf"^def test_{module}_(\w+)", file_of(op).read_text(), re.MULTILINE)
    tested = {label.upper() for name in names for label in re.findall(r"(?:^|_)(p\d+)(?=_|$)", name)}
    assert tested == set(labels(op))


# --- The counterexamples in the documentation


def counterexamples() -> list[tuple[str, str, str, str, str]]:
    """Operator, profile, scale, row and result of each line of the table."""
    pattern = r"^\| \d+ \| (\w+) \| (.*?) \| (.*?) ?\| (.*?) \| (.*?) \|"
    found = re.findall(pattern, NUMERICS, re.MULTILINE)
    return [(op, name, scale, x, y) for op, names, scale, x, y in found for name in re.findall(r"`(\w+)`", names)]


def chosen(op: str, profile: Profile, scale: str) -> Attributes:
    numbers = {"multiplier": (1,), "shift": (1,), "axis": 0, "zero_point": 0, "dtype": "int32", "rounding": profile.rounding}
    step = dyadic.float32(2.0**-14 if scale == "2^-14" else float(scale)) if scale and scale != "1/2" else 1.0
    made: dict[str, Callable[[], Attributes]] = {
        "Shiftmax": lambda: profile.shiftmax(step),
        "ShiftGELU": lambda: profile.shift_gelu(step),
        "IntSqrt": profile.int_sqrt,
        "ILayerNorm": profile.i_layer_norm,
        "Requantize": lambda: numbers,
    }
    return made[op]()


def listed(text: str) -> list[int]:
    """`[1, 2] * 3` as a list."""
    found = re.fullmatch(r"`\[(.*)\](?: \* (\d+))?`", text)
    assert found
    return [int(v) for v in found[1].split(", ")] * int(found[2] or 1)


def test_the_table_of_counterexamples_has_all_of_them() -> None:
    numbers = [int(n) for n in re.findall(r"^\| (\d+) \|", NUMERICS, re.MULTILINE)]
    assert numbers == list(range(1, 23))
    cited = re.findall(r"no: ([\d, ]+)", NUMERICS)
    assert {int(n) for cell in cited for n in cell.split(", ")} == set(numbers)


@pytest.mark.parametrize(("op", "name", "scale", "x", "expected"), counterexamples())
def test_a_counterexample_gives_what_the_documentation_says(op: str, name: str, scale: str, x: str, expected: str) -> None:
    inputs = [np.array(listed(x), DTYPES.get(op, "int16"))]
    if op == "ILayerNorm":
        inputs.append(np.zeros(inputs[0].size, "int32"))
    a = chosen(op, PROFILES[name], scale)
    if expected.startswith("`"):
        assert result(op, *inputs, **a).tolist() == listed(expected)
    else:
        with pytest.raises(ConstraintError, match=re.escape(expected)):
            result(op, *inputs, **a)
