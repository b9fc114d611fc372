"""The attributes of published methods, for a user who calls operators."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

import ivit_ref
from ivit_ref import methods, profiles
from ivit_ref.dyadic import base_two_step
from ivit_ref.errors import InputError
from ivit_ref.methods import METHODS, ROLES, Role
from ivit_ref.registry import REGISTRY

README = (Path(ivit_ref.__file__).parent.parent / "README.md").read_text()
ROWS = np.array([[127, 100, 64, 32, 0, -32, -64, -128]], "int8")
ROW_BY_ROW = [(role, m) for role in ROLES if role != "requantize" for m in METHODS[role]]


@pytest.mark.parametrize(("role", "method"), ROW_BY_ROW, ids=[f"{role}-{m.name}" for role, m in ROW_BY_ROW])
def test_attributes_for_are_all_that_the_operator_takes(role: Role, method: methods.Method) -> None:
    found = methods.attributes_for(role, method.name, ROWS, scale=method.step or 0.05)
    assert set(found) == set(REGISTRY[method.op].attributes)


def test_attributes_for_i_vits_own_are_those_of_a_profile() -> None:
    assert methods.attributes_for("softmax", "shiftmax", ROWS, scale=0.05, profile="tvm") == profiles.TVM.shiftmax(scale=0.05)


def test_attributes_for_depend_on_the_rows() -> None:
    """64 int16 numbers: (2**16 - 1 >> 3)**2 * 64 is below 2**32, and with a shift of 2 it is not. Two int8 need none."""
    assert methods.attributes_for("layernorm", "ibert", np.zeros((1, 64), "int16")) == {"shift": 3}
    assert methods.attributes_for("layernorm", "ibert", np.zeros((1, 2), "int8")) == {"shift": 0}


def test_attributes_for_take_a_choice() -> None:
    assert methods.attributes_for("softmax", "lis", ROWS, scale=0.05, bits=3)["bits"] == 3


def test_attributes_for_a_method_of_one_scale() -> None:
    assert methods.attributes_for("softmax", "ita", ROWS, scale=base_two_step(5)) == {"block": 16, "shift": 5}
    with pytest.raises(InputError, match=r"^softmax ita: a step of x must be worth 0\.0216\d+, but found 0\.05$"):
        methods.attributes_for("softmax", "ita", ROWS, scale=0.05)


def test_attributes_for_say_what_nothing_gives() -> None:
    with pytest.raises(
        InputError, match=r"^softmax ibert: a scale or a choice must .*, but found no x0, b, c, multiplier, shift$"
    ):
        methods.attributes_for("softmax", "ibert", ROWS)


def test_the_readme_shows_what_is_printed() -> None:
    """Behind each call stand the integers that it prints, up to the comma."""
    [block] = [b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "attributes_for" in b]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(block, {})
    shown = [re.findall(r"-?\d+", comment) for comment in re.findall(r"  # ([-\d ]+),", block)]
    assert len(shown) == 2
    assert [re.findall(r"-?\d+", line) for line in printed.getvalue().splitlines()] == shown
