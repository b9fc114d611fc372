"""``golden feed | program | golden check`` with real processes and pipes, and what the commands do when others leave."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ivit_ref.golden.read import find_cases
from tests.compare.building import FC, HERE, OUT, PAIR, RESULT, ROOT, SUMS, command, dump, pair_case, scratch, suites_tree, told

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def ready(capsys: Capture) -> None:
    """What making the cases prints is none of what is tested."""
    pair_case()
    capsys.readouterr()


PROGRAM = r'''
"""A program that knows the protocol and the arithmetic of the pair, and is wrong as it is told."""
import os, sys

mode = sys.argv[1] if len(sys.argv) > 1 else "exact"
words = sys.stdin.read().split()
given, at = {}, 0
while at < len(words):
    if words[at] in ("tensor", "constant", "want"):
        name, rank = words[at + 1], int(words[at + 3])
        lengths = [int(w) for w in words[at + 4 : at + 4 + rank]]
        if words[at] != "want":
            size, bits = 1, int(words[at + 2].lstrip("uint"))
            for length in lengths:
                size *= length
            raw = [int(w, 16) for w in words[at + 4 + rank : at + 4 + rank + size]]
            flat = [v - (1 << bits) if v >> (bits - 1) else v for v in raw]
            given[name] = (lengths, flat)
    at += 1
(rows, inner), x = given["x"]
(columns, _), weight = given["weight"]
bias = given["bias"][1]
sums = [
    sum(x[r * inner + k] * weight[c * inner + k] for k in range(inner)) + bias[c] for r in range(rows) for c in range(columns)
]
quarters = [round(s / 4) for s in sums]
if mode == "wrong":
    quarters[5] += 3
if mode == "dies early":
    sys.stdout.write("case models/test_pair_qat\ntensor block/out int8 2 2 4\n03 01\n")
    sys.stdout.flush()
    os._exit(3)
if mode == "silent":
    sys.exit(0)
if mode == "garbage":
    print("loading weights ...")
if mode == "bytes":
    sys.stdout.buffer.write(b"\xff\xfe\x00\n")
    sys.stdout.flush()
print("case models/test_pair_qat" if mode != "another case" else "case models/test_other")
if mode == "further":
    print("tensor block/fc int32 2 2 4", *(format(s % 2**32, "x") for s in sums))
print("tensor block/out int8 2 2 4" if mode != "another shape" else "tensor block/out int8 2 4 2")
if mode == "short":
    quarters.pop()
print(*(format(q % 256, "02x") if mode != "decimal" else str(q) for q in quarters))
if mode == "long":
    print("00")
print("end")
if mode == "extra":
    print("done in 3 ms")
'''


@cache
def program() -> str:
    path = scratch() / "dut.py"
    path.write_text(PROGRAM)
    return str(path)


@cache
def fed() -> bytes:
    """What the program reads, from the command itself."""
    line = [sys.executable, "-m", "ivit_ref", "golden", "feed", str(pair_case())]
    return subprocess.run(line, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout


def answered(mode: str) -> bytes:
    done = subprocess.run([sys.executable, program(), mode], input=fed(), capture_output=True, check=False, timeout=60)
    assert done.stderr == b""
    return done.stdout


def check(answer: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The command in this process: it reads a file where it would read a pipe."""
    (tmp_path / "answer").write_bytes(answer)
    with (tmp_path / "answer").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        return command("golden", "check", *arguments)


def in_a_row(mode: str) -> subprocess.CompletedProcess[str]:
    """``feed | program | check``: three processes, all at once."""
    line = [sys.executable, "-m", "ivit_ref", "golden"]
    with (
        subprocess.Popen([*line, "feed", str(pair_case())], cwd=ROOT, stdout=subprocess.PIPE) as feeding,
        subprocess.Popen([sys.executable, program(), mode], stdin=feeding.stdout, stdout=subprocess.PIPE) as answering,
    ):
        checking = [*line, "check", str(pair_case())]
        return subprocess.run(
            checking, stdin=answering.stdout, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )


def test_a_right_program_is_status_0() -> None:
    done = in_a_row("exact")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "1 of 1 cases equal: 1 tensors, 1 were not given\n")


def test_one_wrong_integer_is_status_1_and_named() -> None:
    done = in_a_row("wrong")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{PAIR}: 1 of 2 tensors differ, 0 are equal, 1 were not given" in done.stdout
    assert f"first divergent tensor: {OUT}: 1 of 8 differ, by at most 3; first at [1, 1]: got 3, want 0" in done.stdout


@pytest.mark.parametrize(
    ("mode", "words"), [("dies early", "line 3: element 2 of tensor"), ("silent", "but found the end of the answers")]
)
def test_a_program_that_leaves_is_status_2(mode: str, words: str) -> None:
    done = in_a_row(mode)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ivit-ref: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_the_program_agrees_with_the_sums_by_hand() -> None:
    words = answered("further").decode().split()
    assert words[words.index("2") + 3 : words.index("2") + 11] == [format(int(v) % 2**32, "x") for v in SUMS.flat]
    assert words[-9:-1] == [format(int(v) % 256, "02x") for v in RESULT.flat]


def test_further_tensors_are_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert check(answered("further"), tmp_path, monkeypatch, pair_case(), "--json") == 0
    [case] = json.loads(capsys.readouterr().out)["cases"]
    assert [(t["name"], t["verdict"]) for t in case["tensors"]] == [(FC, "equal"), (OUT, "equal")]


REFUSED = {
    "garbage": ("line 1: ", f"'case {PAIR}'", "but found 'loading'"),
    "bytes": ("line 1: ", f"'case {PAIR}'"),
    "short": ("element 7 of tensor 'block/out', int8[2,4]", "but found 'end'"),
    "long": ("behind the 8 elements of 'block/out'", "but found '00'"),
    "extra": ("after the last case there must be nothing, but found 'done'",),
    "decimal": ("element 2 of tensor 'block/out'", "must be hexadecimal with at most 2 digits, but found '-4'"),
    "another case": (f"'case {PAIR}'", "but found 'models/test_other'"),
    "another shape": ("'tensor block/out int8 2 2 4'", "but found '4'"),
    "silent": ("next there must be", "but found the end of the answers"),
    "dies early": ("line 3: ", "element 2 of tensor 'block/out'", "but found the end of the answers"),
}


@pytest.mark.parametrize("mode", REFUSED)
def test_an_answer_that_is_none_is_refused(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """And it leaves no report."""
    options = ("--json", "--junit", tmp_path / "out.xml")
    assert check(answered(mode), tmp_path, monkeypatch, pair_case(), *options) == 2
    told(capsys, *REFUSED[mode])
    assert [p.name for p in tmp_path.iterdir()] == ["answer"]


def test_a_case_that_is_not_answered_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    place = suites_tree() / "ReduceMean"
    capsys.readouterr()
    assert check(b"", tmp_path, monkeypatch, place) == 2
    told(capsys, f"case ReduceMean/{find_cases(place)[0].name}", "but found the end of the answers")


def test_no_stdin_is_refused() -> None:
    """``golden check DIR <&-``"""
    line = f'exec "{sys.executable}" -m ivit_ref golden check "{pair_case()}" <&-'
    done = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("ivit-ref: ")


def test_a_program_that_does_not_read_stops_the_feeding_without_a_word() -> None:
    line = [sys.executable, "-m", "ivit_ref", "golden", "feed", str(suites_tree())]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


# --- compare as a program


def test_a_reader_that_leaves_early_does_not_change_the_status(tmp_path: Path) -> None:
    place = dump(tmp_path / "a.npz", block_fc=SUMS, block_out=RESULT + np.int8(1))
    line = [sys.executable, "-m", "ivit_ref", "compare", str(pair_case()), str(place), "--json"]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 1


def test_a_module_is_looked_for_where_the_program_is_run(tmp_path: Path) -> None:
    (tmp_path / "engine_here.py").write_text(f"from {HERE} import exact\n")
    source = (
        f"import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.append({str(ROOT)!r}); from ivit_ref.cli import main; "
    )
    line = [sys.executable, "-c", source + "sys.exit(main())", "compare", str(pair_case()), "engine_here:exact"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 of 1 cases equal: 2 tensors\n", "")
