"""The C program of the documentation answers every case of Shiftmax through the pipe."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.golden.case import Case
from ivit_ref.golden.directed import groups
from ivit_ref.golden.make import group_case
from ivit_ref.golden.pipe import feed, read_answers
from ivit_ref.golden.random_groups import random_groups
from ivit_ref.ir import Array
from ivit_ref.profiles import PROFILES
from ivit_ref.testing.calls import CALLS
from tests.golden.samples import compiled, needs_cc, one_node, same

SOURCE = Path(__file__).parents[2] / "docs" / "examples" / "shiftmax.c"


@pytest.fixture(scope="module")
def shiftmax(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the documentation; what C leaves undefined stops it."""
    return compiled(tmp_path_factory.mktemp("shiftmax"), [SOURCE], "-fsanitize=undefined", "-fno-sanitize-recover")


def check_answers(program: Path, cases: list[Case]) -> None:
    """Every case goes through the program, and its answers are the integers of the case."""
    lines = [line for case in cases for line in feed(case)]
    done = subprocess.run([program], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    answers = list(read_answers(done.stdout.splitlines(), cases))
    assert len(answers) == len(cases)
    for case, found in answers:
        (name,) = found
        assert same(found[name], case.tensors[name]), case.name


@needs_cc
@pytest.mark.parametrize("profile", PROFILES)
def test_the_c_program_answers_random_vectors(profile: str, shiftmax: Path) -> None:
    check_answers(shiftmax, [group_case(group, {"kind": "random"}) for group in random_groups("Shiftmax", profile, 1, 64)])


@needs_cc
@pytest.mark.parametrize("profile", PROFILES)
def test_the_c_program_answers_directed_vectors(profile: str, shiftmax: Path) -> None:
    check_answers(shiftmax, [group_case(group, {"kind": "directed"}) for group in groups("Shiftmax", profile)])


CHOICES = {
    "clamp": (False, True),
    "half": ("keep", "drop"),
    "quotient": ("floor", "truncate"),
    "exp_bits": (32, 64),
    "sum": ("exact", "clamped", "int32"),
    "product_bits": (32, 64),
    "out_bits": (2, 8, 16),
}
DTYPES_OF_BITS = {2: ("int8", "uint8", "int32"), 8: ("int8", "uint16"), 16: ("int16", "uint16", "int32")}
UNITS = ((1, 0), (1, 31), (21, 15), (1000, 0), (2**15, 31), (2**28, 18))


def made_shiftmax() -> Iterator[Case]:
    """Every combination of choices, in units, dtypes and numerators that come in turn; what no machine answers is left out."""
    rng = np.random.default_rng(7)
    for k, values in enumerate(product(*CHOICES.values())):
        attributes: dict[str, Any] = dict(zip(CHOICES, values, strict=True))
        dtypes = DTYPES_OF_BITS[attributes["out_bits"]]
        i0, n = UNITS[k % len(UNITS)]
        attributes |= {"i0": i0, "n": n, "numerator": (2**31, 2**31 - 1, 1, 12345)[k % 4], "dtype": dtypes[k % len(dtypes)]}
        info = np.iinfo(("int8", "int16", "int32")[k % 3])
        x = rng.integers(info.min, info.max, (2, 2, 1 + k % 9), info.dtype, endpoint=True)
        x[0] = np.array(x[0] >> (info.bits // 2), x.dtype)
        with suppress(ConstraintError, IntegerOverflow):
            yield one_node("Shiftmax", {"x": x}, attributes, id=f"test_{k}")


@needs_cc
def test_the_c_program_answers_every_choice(shiftmax: Path) -> None:
    cases = list(made_shiftmax())
    assert len(cases) > 200
    check_answers(shiftmax, cases)


@needs_cc
@given(CALLS["Shiftmax"])
def test_the_c_program_answers_any_call(shiftmax: Path, call: tuple[tuple[Array, ...], dict[str, Any]]) -> None:
    (x,), attributes = call
    try:
        case = one_node("Shiftmax", {"x": x}, attributes)
    except (ConstraintError, IntegerOverflow):
        reject()
    check_answers(shiftmax, [case])


@needs_cc
def test_the_c_program_refuses_what_is_not_shiftmax(shiftmax: Path) -> None:
    clip = one_node("Clip", {"x": np.array([[1]], np.int8)}, {"low": -1, "high": 3})
    done = subprocess.run([shiftmax], input="\n".join(feed(clip)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "shiftmax: the operator is another\n")
