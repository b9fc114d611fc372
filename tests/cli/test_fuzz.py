"""``ivit-ref fuzz``: functions in another process, programs behind a pipe, what is kept, and the exit statuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ivit_ref.cli import main
from ivit_ref.golden.read import read_case
from ivit_ref.golden.verify import verify_tree
from tests.golden.samples import compiled, needs_cc

Capture = pytest.CaptureFixture[str]

SOURCE = Path(__file__).parents[2] / "docs" / "examples" / "shiftmax.c"

BACKENDS = """
import ctypes, os, time
import numpy as np
import ivit_ref
from ivit_ref.events import Context
from ivit_ref.registry import lookup


def exact(inputs, graph):
    return ivit_ref.run(graph, inputs, overflow="wrap")


def noting(inputs, graph):
    open("asked", "w").close()
    return exact(inputs, graph)


def one_less(inputs, graph):
    [node] = graph.nodes
    attributes = {**node.attributes, "n": node.attributes["n"] - 1}
    return {"result": lookup(node.op).run([inputs["x"]], attributes, Context("wrap"))}


def hangs(inputs, graph):
    time.sleep(100)


def dies(inputs, graph):
    os._exit(3)


def crashes(inputs, graph):
    os.kill(os.getpid(), 11)


def raises(inputs, graph):
    print("not in the report")
    raise ValueError("no way")


def lists(inputs, graph):
    return {"result": [1, 2]}


def objects(inputs, graph):
    return {"result": exact(inputs, graph)["result"].astype(object)}


def masked(inputs, graph):
    return {"result": np.ma.masked_array(exact(inputs, graph)["result"], mask=True)}


def view(inputs, graph):
    return {"result": inputs["x"]}


def interrupts(inputs, graph):
    raise KeyboardInterrupt


def compiled(inputs, graph):
    os.write(1, b"from a printf")
    return exact(inputs, graph)
"""

PROGRAM = r'''
"""Answers the words of one tensor as they are: right for Clip between the ends of a dtype, wrong otherwise."""
import os, sys, time

mode = sys.argv[1]
lines = []
for line in sys.stdin:
    lines.append(line)
    if line.strip() != "end":
        continue
    if mode == "hangs":
        time.sleep(100)
    if mode == "dies":
        os._exit(3)
    if mode == "silent":
        sys.exit(0)
    at = next(k for k, text in enumerate(lines) if text.startswith("tensor "))
    stop = next(k for k, text in enumerate(lines) if text.startswith("want "))
    head = "tensor result " + lines[stop].split(None, 2)[2]
    body = ["zz\n"] if mode == "garbage" else lines[at + 1 : stop]
    sys.stdout.write("".join([lines[0], head, *body, "end\n"]))
    sys.stdout.flush()
    lines = []
'''


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(BACKENDS)
    (tmp_path / "dut.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fuzz(*words: Any) -> int:
    return main(["fuzz", *map(str, words)])


def piped(mode: str) -> tuple[str, str]:
    return "--pipe", f"{sys.executable} dut.py {mode}"


def test_nothing_found_is_status_0(here: Path, capsys: Capture) -> None:
    assert fuzz("Shiftmax", "--backend", "mine.py:exact", "--profile", "tvm", "--seconds", 2, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["found"] is None
    assert facts["examples"] >= facts["attributes"] > 1
    assert {p.name for p in here.iterdir()} - {"__pycache__"} == {"mine.py", "dut.py"}


def test_what_a_backend_prints_is_no_part_of_the_report(here: Path) -> None:
    words = ["fuzz", "Clip", "--backend", "mine.py:compiled", "--seconds", "1", "--json"]
    root = str(Path(__file__).parents[2])
    run = subprocess.run(
        [sys.executable, "-m", "ivit_ref", *words], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    assert json.loads(run.stdout)["found"] is None
    assert "from a printf" in run.stderr


def test_a_counterexample_is_status_1_and_a_golden_case(here: Path, capsys: Capture) -> None:
    assert fuzz("Shiftmax", "--backend", "mine.py:one_less", "--profile", "tvm", "--json") == 1
    found = json.loads(capsys.readouterr().out)["found"]
    assert found["fault"] == "differs"
    assert found["explanation"] == "exactly what it gives with n 15"
    assert verify_tree(found["case"])["cases"] == 1
    assert read_case(found["case"]).tensors["x"].size == 1
    words = found["next"].split()
    assert words[0] == "ivit-ref"
    assert main(words[1:]) == 1  # the next command shows the same
    assert "n 15" in capsys.readouterr().out
    assert main([*words[1:-1], "mine.py:exact"]) == 0


BAD = {
    "hangs": ("hangs", "must answer within 1 seconds, but did not"),
    "dies": ("dies", "must answer, but its process ended with exit status 3"),
    "crashes": ("dies", "must answer, but its process was ended by SIGSEGV"),
    "raises": ("no answer", "must answer, but raised ValueError: no way (mine.py:"),
    "interrupts": ("no answer", "must answer, but raised KeyboardInterrupt"),
    "lists": ("no answer", "'result' must be a NumPy array of numbers, without a mask, but found list"),
    "objects": ("no answer", "'result' must be a NumPy array of numbers, without a mask, but found object"),
    "masked": ("no answer", "'result' must be a NumPy array of numbers, without a mask, but found MaskedArray"),
    "view": ("view", "'result' is a view of its input"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_answer_is_named_and_kept(name: str, here: Path, capsys: Capture) -> None:
    fault, expected = BAD[name]
    options = ("--profile", "tvm", "--timeout", 1 if name == "hangs" else 30, "--json", "--out", "kept")
    assert fuzz("Shiftmax", "--backend", f"mine.py:{name}", *options) == 1
    found = json.loads(capsys.readouterr().out)["found"]
    assert found["fault"] == fault
    assert expected in found["message"]
    assert read_case(here / found["case"]).tensors["x"].size == 1


@needs_cc
def test_a_program_behind_a_pipe_is_asked_in_one_process(here: Path, capsys: Capture) -> None:
    program = compiled(here, [SOURCE])
    assert fuzz("Shiftmax", "--pipe", program, "--seconds", 2, "--profile", "qat") == 0
    assert "Shiftmax: nothing found in" in capsys.readouterr().out


BAD_PROGRAMS = {
    "wrong": ("differs", "program "),
    "hangs": ("hangs", "must answer within 1 seconds, but did not (each case must be answered"),
    "dies": ("dies", "its process ended with exit status 3"),
    "silent": ("dies", "its process ended with exit status 0: line 0: next there must be 'case Clip/"),
    "garbage": ("no answer", "line 3: element 0 of tensor 'result', "),
}


@pytest.mark.parametrize("mode", BAD_PROGRAMS)
def test_what_a_program_does_wrong_is_named(mode: str, here: Path, capsys: Capture) -> None:
    fault, expected = BAD_PROGRAMS[mode]
    assert fuzz("Clip", *piped(mode), "--timeout", 1 if mode == "hangs" else 30, "--json") == 1
    found = json.loads(capsys.readouterr().out)["found"]
    assert found["fault"] == fault
    assert expected in found["message"]
    where = found["case"]
    _, command = piped(mode)
    assert found["next"] == f"ivit-ref golden feed {where} | {command} | ivit-ref golden check {where}"


def test_an_interruption_tells_what_was_done(here: Path) -> None:
    words = [sys.executable, "-m", "ivit_ref", "fuzz", "Clip", "--backend", "mine.py:noting", "--json"]
    root = str(Path(__file__).parents[2])
    run = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    while not (here / "asked").exists():
        assert run.poll() is None
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (130, "")
    facts = json.loads(out)
    assert facts["interrupted"]
    assert facts["examples"] > 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("Softmax", "--backend", "mine.py:exact"), "fuzz: the operator must be one of"),
        (("Clip", "--backend", "mine.py:nobody"), "mine.py must have a function of that name, but found no 'nobody'"),
        (("Clip", "--backend", "nothing.at.all:f"), "must be importable, but raised ModuleNotFoundError"),
        (("Clip", "--backend", "mine.py"), "must be module:function or FILE.py:function, but found 'mine.py'"),
        (("Clip", "--pipe", "./no-such-program"), "must be a program that can be run, but it cannot: No such file"),
        (("Clip", "--pipe", "a 'b"), "--pipe: must be a command as a shell takes it"),
        (("Clip", "--pipe", " "), "--pipe: must be a command, but found ' '"),
        (("Clip", "--backend", ""), "backend: must be module:function or FILE.py:function, but found ''"),
        (("Clip", "--pipe", "cat", "--out", "mine.py/kept"), "--out: must be a folder that can be written, but found"),
        (("Clip", "--pipe", "cat", "--seconds", "0"), "--seconds: must be a number above 0, but found 0.0"),
        (("Clip", "--pipe", "cat", "--seconds", "nan"), "--seconds: must be a number above 0, but found nan"),
        (("Clip", "--pipe", "cat", "--timeout", "0"), "timeout must be seconds above 0"),
        (("Clip", "--pipe", "cat", "--seed", "-1"), "fuzz: seed must be from 0"),
    ],
)
def test_wrong_use_is_status_2_in_one_line(words: tuple[str, ...], expected: str, here: Path, capsys: Capture) -> None:
    assert fuzz(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ivit-ref: ")
    assert err.count("\n") == 1
    assert expected in err


@pytest.mark.parametrize("words", [("Clip",), ("Clip", "--pipe", "cat", "--backend", "x:y"), ()])
def test_one_operator_and_one_backend_must_be_named(words: tuple[str, ...], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        fuzz(*words)
    assert caught.value.code == 2
    assert "(see: ivit-ref fuzz --help)" in capsys.readouterr().err
