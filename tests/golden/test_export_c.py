"""The C header and its main: valid C99 without a warning, right numbers, and a comparison that tells what differs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import InputError
from ivit_ref.golden.case import Case
from ivit_ref.golden.export import export
from ivit_ref.golden.export.c_words import identifiers
from ivit_ref.ir import Array
from tests.golden.readers import read_c
from tests.golden.samples import (
    NASTY,
    any_arrays,
    case_of_arrays,
    check_all,
    compiled,
    digits,
    edges,
    everything,
    needs_cc,
    one_node,
)

cases = pytest.mark.parametrize("case", ["everything", "edges", "digits"], indirect=True)


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    return {"everything": everything, "edges": edges, "digits": digits}[request.param]()


# --- The header


@needs_cc
@cases
def test_a_c_compiler_reads_the_same_bits(case: Case, tmp_path: Path) -> None:
    check_all(case, read_c(export(case, "c", tmp_path / "out"), case, tmp_path))


@needs_cc
@settings(max_examples=10)
@given(any_arrays())
def test_any_arrays_have_the_same_bits_in_c(tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, Array]) -> None:
    case, folder = case_of_arrays(arrays), tmp_path_factory.mktemp("any")
    check_all(case, read_c(export(case, "c", folder / "c"), case, folder))


def printed(folder: Path, work: Path, formats: dict[str, str]) -> list[str]:
    """What macros and elements of the header are worth."""
    lines = [f'    printf("{form}\\n", {what});\n' for what, form in formats.items()]
    (work / "show.c").write_text(
        '#include <stdio.h>\n#include "case.h"\nint main(void)\n{\n' + "".join(lines) + "    return 0;\n}\n"
    )
    program = compiled(work, [work / "show.c"], f"-I{folder}")
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()


@needs_cc
def test_the_header_has_scales_and_attributes(tmp_path: Path) -> None:
    case = everything()
    folder = export(case, "c", tmp_path / "out")
    ends = identifiers(record.name for record in case.records)
    q = ends[case.graph.nodes[7].output.name]
    expected = {
        f"SCALE_{q}": ("%a", (0.5).hex()),
        f"ZERO_{q}": ("%d", "3"),
        "AXIS_constant_int8": ("%d", "0"),
        "ZERO_constant_int8": ("%d", "-128"),
        "SCALES_constant_int8[1]": ("%a", (-0.25).hex()),
        "NODE0_COUNT_perm": ("%d", "2"),
        "(int)NODE0_perm[0]": ("%d", "1"),
        "NODE7_scale": ("%a", (0.5).hex()),
        "NODE7_zero_point": ("%d", "3"),
        "NODE7_division": ("%s", "direct"),
        "NODE7_IS_division_direct": ("%d", "1"),
        "NODE8_scale[2]": ("%a", (2.0**-100).hex()),
    }
    found = printed(folder, tmp_path, {what: form for what, (form, _) in expected.items()})
    reals = {k for k, (form, _) in enumerate(expected.values()) if form == "%a"}
    for k, (text, (_, must)) in enumerate(zip(found, expected.values(), strict=True)):
        assert (float.fromhex(text) == float.fromhex(must)) if k in reals else text == must


@needs_cc
def test_integers_that_c_cannot_write_plainly(tmp_path: Path) -> None:
    rows = np.array([[-(2**31), 2**31 - 1]], np.int32)
    case = one_node("Clip", {"x": rows}, {"low": -(2**31), "high": 2**31 - 1})
    folder = export(case, "c", tmp_path / "out")
    names = {"(long long)NODE0_low": "%lld", "(long long)NODE0_high": "%lld", "(long long)tensor_y[0]": "%lld"}
    assert printed(folder, tmp_path, names) == [str(-(2**31)), str(2**31 - 1), str(-(2**31))]
    assert "INT32_MIN" in (folder / "case.h").read_text()


def test_the_header_says_where_it_comes_from(tmp_path: Path) -> None:
    header = (export(everything(), "c", tmp_path / "out") / "case.h").read_text(encoding="ascii")
    assert re.match(r"/\* A golden case, written by ivit_ref \d+\.\d+", header)
    assert "/* case    models/test_made */" in header
    assert "/* profile qat */" in header
    assert "/* flags   extremes names */" in header
    assert r"/* comment a / *comment* / with ? ? / and\nlines, an \xe9 and a \\ */" in header
    assert "??" not in header


# --- main.c


def backend(folder: Path, case: Case, body: str) -> Path:
    """A user's file with that function body."""
    prototype = re.search(r"^void ivit_run\([^;]*\)", (folder / "case.h").read_text(), re.MULTILINE)
    assert prototype
    ends = identifiers(record.name for record in case.records)
    unused = "".join(f"    (void)input_{ends[v.name]};\n" for v in case.graph.inputs)
    unused += "".join(f"    (void)output_{ends[name]};\n" for name in case.graph.outputs)
    path = folder.parent / "yours.c"
    path.write_text(f'#include <string.h>\n#include "case.h"\n{prototype[0]}\n{{\n{unused}{body}}}\n')
    return path


def right(case: Case) -> str:
    ends = identifiers(record.name for record in case.records)
    return "".join(f"    memcpy(output_{ends[n]}, tensor_{ends[n]}, sizeof tensor_{ends[n]});\n" for n in case.graph.outputs)


def run_main(folder: Path, case: Case, body: str) -> tuple[int, list[str]]:
    flags = (f"-I{folder}", "-fsanitize=undefined")
    program = compiled(folder.parent, [folder / "main.c", backend(folder, case, body)], *flags)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


@needs_cc
@cases
def test_main_accepts_the_right_answer(case: Case, tmp_path: Path) -> None:
    assert run_main(export(case, "c", tmp_path / "out"), case, right(case)) == (0, ["equal"])


@needs_cc
def test_main_names_the_first_element_that_differs(tmp_path: Path) -> None:
    case = everything()
    folder = export(case, "c", tmp_path / "out")
    name = case.graph.outputs[2]
    end = identifiers(record.name for record in case.records)[name]
    wrong = f"    output_{end}[3] = 5;\n    output_{end}[4] = 6;\n    output_reals[1] = -1.5f;\n"
    code, lines = run_main(folder, case, right(case) + wrong)
    want, real = case.tensors[name][1, 1], float(case.tensors["reals"][1])
    assert code == 1
    assert re.fullmatch(r"reals\[1\]: got -0x1\.8p\+0, want (\S+); 1 of 3 differ", lines[0])
    assert float.fromhex(lines[0].split("want ")[1].split(";")[0]) == real
    assert lines[1:] == [f"{name}[1, 1]: got 5, want {want}; 2 of 6 differ"]


@needs_cc
def test_main_refuses_a_function_that_writes_nothing(tmp_path: Path) -> None:
    case = everything()
    code, lines = run_main(export(case, "c", tmp_path / "out"), case, "")
    assert code == 1
    counts = [(case.tensors[name].size,) * 2 for name in case.graph.outputs]
    assert [tuple(map(int, re.findall(r"; (\d+) of (\d+) differ$", line)[0])) for line in lines] == counts


@needs_cc
def test_a_result_without_axes(tmp_path: Path) -> None:
    case = case_of_arrays({"x": np.array(-5, np.int16)})
    folder = export(case, "c", tmp_path / "out")
    assert run_main(folder, case, right(case)) == (0, ["equal"])
    (tmp_path / "program").unlink()
    assert run_main(folder, case, "    *output_x = 7;\n") == (1, ["x[]: got 7, want -5; 1 of 1 differ"])


def test_a_nan_is_refused(tmp_path: Path) -> None:
    case = case_of_arrays({"x": np.array([np.nan], np.float32)})
    with pytest.raises(InputError, match=r"^export: a float must be a number, .* one in tensor 'x'$"):
        export(case, "c", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_identifiers_are_unique_valid_and_short() -> None:
    ends = identifiers(NASTY)
    assert len(set(ends.values())) == len(NASTY)
    assert all(re.fullmatch(r"[A-Za-z0-9_]{1,45}", end) for end in ends.values())
    assert list(identifiers(["a.b", "a_b", "a/b", "a_b_2"]).values()) == ["a_b", "a_b_2", "a_b_3", "a_b_2_2"]
