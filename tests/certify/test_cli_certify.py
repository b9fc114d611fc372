"""``ivit-ref certify``: what it prints and writes, that it resumes, and that it ends well when it is interrupted."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import pytest

import ivit_ref.certify
import ivit_ref.cli.certify
from ivit_ref import ops
from ivit_ref.certify import Part, int_sqrt, running, shift_exp
from ivit_ref.certify.table import BEGIN, END
from ivit_ref.cli import main

Capture: TypeAlias = pytest.CaptureFixture[str]

ROOT = Path(__file__).parents[2]
SMALL = MappingProxyType(
    {
        "ShiftExp": replace(shift_exp.CERTIFICATE, parts=(Part("paper", 3, (1,)), Part("tvm", 2, (0, 1)))),
        "IntSqrt": replace(int_sqrt.CERTIFICATE, parts=(Part("ideal: 0 to 2**24", 1, (0,)),)),
    }
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two certificates of six chunks in all."""
    monkeypatch.setattr(ivit_ref.certify, "CERTIFICATES", SMALL)
    monkeypatch.setattr(ivit_ref.cli.certify, "CERTIFICATES", SMALL)


def certified(capsys: Capture, *args: str, status: int = 0) -> dict[str, Any]:
    assert main(["certify", *args, "--json", "--jobs", "1"]) == status
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    return facts


def refused(capsys: Capture, *args: str) -> str:
    try:
        status = main(["certify", *args])
    except SystemExit as exit_:
        status = int(str(exit_.code))
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    return str(err)


def test_it_prints_one_line_for_each_part(capsys: Capture) -> None:
    assert main(["certify", "--jobs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[:3]] == ["ShiftExp, paper", "ShiftExp, tvm", "IntSqrt, ideal: 0 to 2**24"]
    assert "3 of 3 chunks  equal" in lines[0]
    assert lines[3].endswith(f"onnx {__import__('onnx').__version__}")


def test_names_choose_certificates(capsys: Capture) -> None:
    facts = certified(capsys, "IntSqrt")
    assert [(i["certificate"], i["results"], i["wrong"]) for i in facts["lines"]] == [("IntSqrt", 2**18, [])]
    assert facts["findings"] == []


def test_quick_enumerates_chunks_of_the_whole(capsys: Capture) -> None:
    assert [(i["chunks"], i["of"]) for i in certified(capsys, "--quick")["lines"]] == [(1, 3), (2, 2), (1, 1)]


def test_processes_give_the_same(capsys: Capture) -> None:
    one = certified(capsys)
    assert main(["certify", "--json", "--jobs", "2"]) == 0
    assert json.loads(capsys.readouterr().out) == one


def test_list_says_what_is_enumerated(capsys: Capture) -> None:
    assert main(["certify", "--list"]) == 0
    out = capsys.readouterr().out
    assert "ShiftExp\n  inputs      every x <= 0, at every float32 scale from 2**-12 up\n" in out
    assert "paper (3 chunks, 1 quick)" in out
    assert [c["name"] for c in certified(capsys, "--list")["certificates"]] == ["ShiftExp", "IntSqrt"]


def test_a_wrong_value_is_a_finding(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(int_sqrt, "int_sqrt", lambda v, **a: ops.int_sqrt(v, **a) + (v == 77))
    facts = certified(capsys, "IntSqrt", status=1)
    assert facts["findings"] == ["IntSqrt, ideal: 0 to 2**24: v = 77 (start 0, steps 0): got 9, want 8"]
    wrong = {"attributes": {"start": 0, "steps": 0}, "inputs": {"v": 77}, "got": "9", "want": "8"}
    assert facts["lines"][0]["wrong"] == [wrong]
    docs = tmp_path / "docs.md"
    docs.write_text(f"{BEGIN}\n{END}")
    certified(capsys, "--write", str(docs), status=1)
    assert docs.read_text() == f"{BEGIN}\n{END}"
    assert not docs.with_suffix(".jsonl").exists()


def test_write_writes_the_table_and_the_record(capsys: Capture, tmp_path: Path) -> None:
    docs = tmp_path / "docs.md"
    docs.write_text(f"before\n{BEGIN}\n{END}\nbehind\n")
    certified(capsys, "--write", str(docs))
    assert docs.read_text().startswith(f"before\n{BEGIN}\n| certificate |")
    assert docs.read_text().endswith(f"\n{END}\nbehind\n")
    assert certified(capsys, "--quick", "--against", str(docs.with_suffix(".jsonl")))["findings"] == []


def test_a_digest_that_is_not_the_recorded_one_is_a_finding(capsys: Capture, tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    certified(capsys, "IntSqrt", "--resume", str(record))
    was = certified(capsys, "IntSqrt", "--against", str(record))
    assert was["findings"] == []
    other = {("IntSqrt", "ideal: 0 to 2**24", 0): running.Checked(2**18, "ab" * 32)}
    ivit_ref.certify.record.write_record(record, other, {})
    [finding] = certified(capsys, "IntSqrt", "--against", str(record), status=1)["findings"]
    assert finding.startswith("IntSqrt, ideal: 0 to 2**24, chunk 0: must have the SHA-256 abababababababab... in ")
    [finding] = certified(capsys, "ShiftExp", "--quick", "--against", str(record), status=1)["findings"][:1]
    assert finding.startswith(f"ShiftExp, paper, chunk 1: must have a line in {record}, but found ")


# --- Resuming


def test_a_run_goes_on_where_it_was_interrupted(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = certified(capsys)
    record, run_chunk, calls = tmp_path / "record.jsonl", running.run_chunk, []

    def interrupted(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run_chunk(*args)

    monkeypatch.setattr(running, "run_chunk", interrupted)
    assert main(["certify", "--jobs", "1", "--resume", str(record)]) == 130
    assert capsys.readouterr().err == "ivit-ref: interrupted\n"
    assert certified(capsys, "--resume", str(record)) == whole
    assert len(calls) == 3 + 1 + 3
    assert certified(capsys, "--resume", str(record)) == whole
    assert certified(capsys, "--quick", "--resume", str(record))["findings"] == []
    assert len(calls) == 7


def test_an_interrupt_ends_the_processes_and_keeps_what_is_finished(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    command = [sys.executable, "-m", "ivit_ref", "certify", "IntSqrt", "--jobs", "2", "--resume", str(record)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (record.exists() and record.read_bytes().count(b"\n") > 1):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "ivit-ref: interrupted\n"
    assert process.returncode == 130
    while _lives(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert record.read_bytes().count(b"\n") > 1


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# --- What is refused


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["Shiftexp"], "certificate: must be one of ShiftExp, IntSqrt, but found 'Shiftexp'"),
        (["--jobs", "0"], "--jobs: must be from 1 to 1024, but found 0"),
        (["--jobs", "1025"], "--jobs: must be from 1 to 1024, but found 1025"),
        (["--jobs", "two"], "argument --jobs: invalid int value: 'two'"),
        (["--against", "none.jsonl"], "none.jsonl: must be a file, but there is none"),
        (["--write", "none.md"], "none.md: must be a file, but there is none"),
        (["--write", "none.md", "--quick"], "--write: must be of all certificates, each complete, but found --quick"),
        (["--write", "none.md", "IntSqrt"], "--write: must be of all certificates, each complete, but found IntSqrt"),
        (["--resume", "."], ": must be a file, but there is a folder"),
        (["--resume", "no/such/folder"], "must be a place that can be written, but it cannot"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    args: list[str], message: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "run_chunk", None)
    assert message in refused(capsys, *args)


def test_a_damaged_file_to_resume_from_is_refused_and_left_alone(capsys: Capture, tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    certified(capsys, "IntSqrt", "--resume", str(record))
    whole = record.read_bytes()
    for damaged in (whole[:-2], whole.replace(b'"source": "', b'"source": "0'), b"\x00"):
        record.write_bytes(damaged)
        assert f"{record}: must " in refused(capsys, "IntSqrt", "--resume", str(record))
        assert record.read_bytes() == damaged


@pytest.mark.parametrize("chunk", ['0, Infinity, "HEX"', '0, true, "HEX"', '0, -1, "HEX"', '0, 1, "00"', "0, 1, 2"])
def test_a_record_with_its_own_sha256_is_read_with_care_all_the_same(chunk: str, capsys: Capture, tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    certified(capsys, "IntSqrt", "--resume", str(record))
    header = json.loads(record.read_bytes().partition(b"\n")[0])
    body = f'{{"certificate": "IntSqrt", "part": "squares", "chunks": [[{chunk.replace("HEX", "00" * 32)}]]}}\n'.encode()
    record.write_bytes(json.dumps(header | {"sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n" + body)
    assert "must be a record of certificates, but is damaged" in refused(capsys, "IntSqrt", "--resume", str(record))
