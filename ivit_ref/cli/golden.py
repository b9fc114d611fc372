"""``ivit-ref golden``: golden vectors - make, verify, lint and export them, feed them to a program and check its answers."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from ivit_ref.cli import golden_make
from ivit_ref.cli.common import Commands, Progress, add_json, add_profile, report, table
from ivit_ref.cli.compare import add_junit, conclude
from ivit_ref.compare.report import compare
from ivit_ref.errors import InputError
from ivit_ref.golden.export import FORMATS, export
from ivit_ref.golden.lint import lint
from ivit_ref.golden.pipe import LONGEST_LINE, feed, read_answers
from ivit_ref.golden.read import find_cases, read_case, read_cases
from ivit_ref.golden.verify import verify_tree

PLACE = "a case, a suite, or a tree of suites"
TREE = f"{PLACE}; default: {golden_make.TREE}"


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("golden", help="make, verify, export and feed golden vectors", description=__doc__)
    inner = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    golden_make.register(inner)
    _add(inner, "verify", _verify, "compute every case again, and check digests and schemas", TREE)
    _add(inner, "lint", _lint, "say which vectors cannot fail, and the mutation score", TREE)
    exporting = _add(inner, "export", _export, "write a case in another format", "a case", json=False)
    exporting.add_argument("out", nargs="?", metavar="OUT", help="a new folder; default: ID_FORMAT here")
    exporting.add_argument("--to", required=True, choices=FORMATS)
    feeding = _add(inner, "feed", _feed, "print cases for a program to read from a pipe", PLACE, json=False)
    checking = _add(inner, "check", _check, "compare what a program answers on a pipe", PLACE)
    for piping in (feeding, checking):
        add_profile(piping, "only the cases of one version, and those in which no version has a say")
    add_junit(checking)


def _add(inner: Any, name: str, command: Any, what: str, place: str, json: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = inner.add_parser(name, help=what, description=f"ivit-ref golden {name}: {what}.")
    optional: Any = {"nargs": "?", "default": golden_make.TREE} if place == TREE else {}
    parser.add_argument("place", metavar="CASE" if place == "a case" else "DIR", help=place, **optional)
    if json:
        add_json(parser)
    parser.set_defaults(command=command)
    return parser


def _verify(args: argparse.Namespace) -> int:
    progress = Progress(len(find_cases(args.place)), "cases")
    facts = verify_tree(args.place, progress.update)
    progress.close()
    report(args, facts, ", ".join(f"{count} {what}" for what, count in facts.items()) + ": all as they were")
    return 0


def _lint(args: argparse.Namespace) -> int:
    found = lint(read_cases(args.place))
    report(args, found.facts(), _lint_text(found))
    return int(bool(found.findings))


def _lint_text(found: Any) -> str:
    lines = list(found.findings)
    possible = len(found.mutants) - found.equivalent
    if found.mutants:
        score = f"{found.killed} of {possible} ({found.equivalent} more are equivalent, see: --json)"
        lines.append(table([("mutants shown by a vector", score)]))
    return "\n".join(lines) or "no findings"


def _export(args: argparse.Namespace) -> int:
    case = read_case(args.place)
    out = Path(args.out or f"{case.id}_{args.to}")
    if out.resolve().is_relative_to(Path(case.place).parent):
        raise InputError(f"golden export: must be written outside the suite of the case, but found {out}")
    written = export(case, args.to, out)
    print(f"{written}: {len(list(written.rglob('*')))} files")
    return 0


def _feed(args: argparse.Namespace) -> int:
    if sys.stdout is None:
        raise InputError("golden feed: must write to a pipe, but stdout is none")
    for case in read_cases(args.place, args.profile):
        for line in feed(case):
            sys.stdout.write(line + "\n")
    return 0


def _check(args: argparse.Namespace) -> int:
    """Cases are compared while they come in; what is not text in UTF-8 is no answer."""
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("golden check: must read answers from a pipe (see: ivit-ref golden feed), but stdin is none")
    with os.fdopen(sys.stdin.fileno(), encoding="utf-8", errors="replace", closefd=False) as stream:
        lines = iter(lambda: stream.readline(LONGEST_LINE + 1), "")  # no more than what is then refused
        cases = read_cases(args.place, args.profile)
        compared = [(c, compare(c, actual, "stdin"), actual, "stdin") for c, actual in read_answers(lines, cases)]
    return conclude(args, compared, None)
