"""``ivit-ref certify``: operators on every input where inputs can be enumerated, against an independent derivation."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ivit_ref.certify import CERTIFICATES, Certificate, Checked, Key, Line, certificates_named, finished, keys_of, lines_of
from ivit_ref.certify.record import read_record, source_digest, versions, write_record
from ivit_ref.certify.table import around_table, table_of, write_table
from ivit_ref.cli.common import Commands, Progress, add_json, counted, report, table
from ivit_ref.errors import InputError

MOST_JOBS = 1024
PAUSE = 1.0
"""Seconds at least between two writes of what is finished."""


def register(commands: Commands) -> None:
    """Declare the command."""
    summary = "prove operators right on every input where inputs can be enumerated"
    parser = commands.add_parser("certify", help=summary, description=__doc__)
    parser.add_argument("paths", nargs="*", metavar="CERTIFICATE", help=f"default: all of {', '.join(CERTIFICATES)}")
    parser.add_argument("--quick", action="store_true", help="only the chunks that are enumerated in CI")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes; default: one a core")
    parser.add_argument("--resume", metavar="FILE", help="keep finished chunks there, and go on with what is there")
    parser.add_argument("--against", metavar="FILE.jsonl", help="hold every digest against a record that --write made")
    parser.add_argument("--write", metavar="FILE.md", help="write the table into this file, the record beside it (.jsonl)")
    parser.add_argument("--list", action="store_true", help="say what is enumerated, and how it is derived again")
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it."""
    certificates = certificates_named(args.paths)
    if args.list:
        report(args, {"certificates": [_declared(c) for c in certificates]}, "\n\n".join(map(_listed, certificates)))
        return 0
    if not 1 <= args.jobs <= MOST_JOBS:
        raise InputError(f"--jobs: must be from 1 to {MOST_JOBS}, but found {args.jobs}")
    if args.write:
        _check_writable(args, certificates)
    recorded = read_record(args.against, certificates) if args.against else {}
    found = _run(args, certificates)
    lines = lines_of(certificates, found)
    findings = [line.wrong for line in lines if line.wrong]
    if args.against:
        findings += _differing(args.against, recorded, found)
    if args.write and not findings:
        write_table(args.write, table_of(lines, versions()))
        write_record(Path(args.write).with_suffix(".jsonl"), found, versions())
    report(args, _facts(lines, findings), _text(lines, findings))
    return 1 if findings else 0


def _check_writable(args: argparse.Namespace, certificates: Sequence[Certificate]) -> None:
    """Before minutes of work, and not after them."""
    if args.quick or len(certificates) < len(CERTIFICATES):
        found = "--quick" if args.quick else ", ".join(args.paths)
        raise InputError(f"--write: must be of all certificates, each complete, but found {found}")
    around_table(args.write)


def _run(args: argparse.Namespace, certificates: Sequence[Certificate]) -> dict[Key, Checked]:
    """The chunks that are asked for, finished; what is finished is kept whatever happens."""
    keys = keys_of(certificates, quick=args.quick)
    made_with = {**versions(), "source": source_digest()}
    kept: dict[Key, Checked] = {}
    if args.resume:
        kept = read_record(args.resume, list(CERTIFICATES.values()), made_with) if Path(args.resume).exists() else {}
        write_record(args.resume, kept, made_with)
    todo = [key for key in keys if key not in kept]
    progress = Progress(len(keys), "chunks")
    written = time.monotonic()
    try:
        with _processes(args.jobs if len(todo) > 1 else 1) as executor:
            for key, checked in finished(certificates, todo, executor):
                kept[key] = checked
                progress.update(sum(key in kept for key in keys))
                if args.resume and time.monotonic() - written > PAUSE:
                    write_record(args.resume, kept, made_with)
                    written = time.monotonic()
    finally:
        progress.close()
        if args.resume:
            write_record(args.resume, kept, made_with)
    return {key: kept[key] for key in keys}


@contextmanager
def _processes(jobs: int) -> Iterator[Executor | None]:
    """So many processes of our own, which end with the run or at an interrupt; None for one: this one."""
    if jobs == 1:
        yield None
        return
    executor = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_leave_interrupts_alone)
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _leave_interrupts_alone() -> None:
    """Ctrl-C goes to every process of the terminal; the first one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _differing(path: str, recorded: dict[Key, Checked], found: dict[Key, Checked]) -> list[str]:
    """What is not as recorded, though body and derivation agree: the results are others than they were, or new."""
    findings = []
    for (name, part, index), now in found.items():
        was = recorded.get((name, part, index))
        if now.wrong is None and was != now:
            must = f"the SHA-256 {was.digest[:16]}..." if was else "a line"
            findings.append(f"{name}, {part}, chunk {index}: must have {must} in {path}, but found {now.digest[:16]}...")
    return findings


def _declared(c: Certificate) -> dict[str, Any]:
    parts = [{"name": p.name, "chunks": p.chunks, "quick": list(p.quick)} for p in c.parts]
    return {"name": c.name, "inputs": c.inputs, "derivation": c.derivation, "parts": parts}


def _listed(c: Certificate) -> str:
    parts = "; ".join(f"{p.name} ({counted(p.chunks, 'chunk')}, {len(p.quick)} quick)" for p in c.parts)
    return f"{c.name}\n" + table([("  inputs", c.inputs), ("  derivation", c.derivation), ("  parts", parts)])


def _facts(lines: Sequence[Line], findings: list[str]) -> dict[str, Any]:
    rows = [
        {
            "certificate": i.certificate.name,
            "part": i.part.name,
            "results": i.count,
            "chunks": len(i.chunks),
            "of": i.part.chunks,
        }
        | {"sha256": i.digest, "wrong": [c.wrong.facts() for c in i.chunks if c.wrong][:1]}
        for i in lines
    ]
    return {"versions": versions(), "lines": rows, "findings": findings}


def _text(lines: Sequence[Line], findings: list[str]) -> str:
    rows = []
    for i in lines:
        verdict = "WRONG" if i.wrong else f"equal  {i.digest[:16]}"
        chunks = f"{len(i.chunks)} of {counted(i.part.chunks, 'chunk')}"
        rows.append((f"{i.certificate.name}, {i.part.name}", f"{i.count:>13,} results  {chunks:>16}  {verdict}"))
    signed = ", ".join(f"{name} {value}" for name, value in versions().items())
    total = f"{sum(i.count for i in lines):,} results; {signed}"
    return "\n".join([table(rows), *findings, total])
