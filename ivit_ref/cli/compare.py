"""``ivit-ref compare`` and ``ivit-ref explain``: which integer of a backend is the first wrong one, and what explains it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ivit_ref.arrays import is_file, replace_file
from ivit_ref.cli.common import Commands, Progress, add_json, add_profile, report
from ivit_ref.compare.backend import Backend, backend_named
from ivit_ref.compare.dump import Layout, dumped
from ivit_ref.compare.findings import Compared, conclusions
from ivit_ref.compare.junit import junit
from ivit_ref.compare.report import compare, compare_alone, compare_dump_alone
from ivit_ref.compare.text import text
from ivit_ref.compare.waiting import check_timeout
from ivit_ref.errors import InputError
from ivit_ref.golden.case import Case
from ivit_ref.golden.read import find_cases, id_of, read_case
from ivit_ref.ir import Array

ACTUAL = "an .npz file or a folder of .npy or .bin files; module:function or file.py:function; or onnxruntime"


def register(commands: Commands) -> None:
    """Declare both commands."""
    parser = commands.add_parser("compare", help="compare a backend's tensors with golden ones", description=__doc__)
    _add_common(parser, _compare)
    parser.add_argument("--isolated", action="store_true", help="each node fed with golden inputs (a dump: with its own)")
    add_junit(parser)
    parser = commands.add_parser("explain", help="say which decision makes a backend differ", description=__doc__)
    _add_common(parser, _explain)


def _add_common(parser: argparse.ArgumentParser, command: Any) -> None:
    parser.add_argument("place", metavar="DIR", help="a case, a suite, or a tree of suites")
    parser.add_argument("actual", metavar="ACTUAL", help=ACTUAL)
    parser.add_argument("--map", metavar="FILE.json", help="how a dump names and lays out tensors (see: docs/format.md)")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="that an answer of a function may take; default: any")
    add_profile(parser, "only the cases of one version, and those in which no version has a say")
    add_json(parser)
    parser.set_defaults(command=command)


def add_junit(parser: argparse.ArgumentParser) -> None:
    """The option ``--junit``."""
    parser.add_argument("--junit", metavar="FILE.xml", help="write the report as JUnit XML, too")


def _compare(args: argparse.Namespace) -> int:
    backend = _backend(args)
    return conclude(args, list(_compared(args, backend, isolated=args.isolated)), backend)


def _explain(args: argparse.Namespace) -> int:
    backend = _backend(args)
    return conclude(args, list(_compared(args, backend, isolated=False)), backend, brief=True)


def _backend(args: argparse.Namespace) -> Backend | None:
    """What ACTUAL names, if it is no dump."""
    if args.timeout is not None:
        check_timeout(args.timeout, "--timeout: ")
    backend = backend_named(args.actual, args.timeout)
    if backend is None and args.timeout is not None:
        raise InputError("--timeout: is for a function, but ACTUAL is a dump")
    return backend


def _compared(args: argparse.Namespace, backend: Backend | None, *, isolated: bool) -> Iterator[Compared]:
    """Every case that the backend answers."""
    folders = find_cases(args.place)
    layout = Layout(args.map)
    if backend is not None and args.map is not None:
        raise InputError("--map: is for a dump, but ACTUAL is a function")
    if isolated and backend is not None and not backend.takes_graphs:
        raise InputError(f"--isolated: the function must take (inputs, graph), but {backend.name} takes inputs alone")
    places = [None] * len(folders) if backend else _places(args, folders)
    progress = Progress(len(folders), "cases")
    for count, (folder, place) in enumerate(zip(folders, places, strict=True)):
        if backend is not None or place is not None:
            case = read_case(folder)
            if args.profile in (None, case.profile) or not case.profile:
                yield _one(case, backend, place, layout, isolated)
        progress.update(count + 1)
    progress.close()


def _one(case: Case, backend: Backend | None, place: Path | None, layout: Layout, isolated: bool) -> Compared:
    if backend is not None:
        if isolated:
            return case, compare_alone(case, backend), {}, backend.name
        actual: Mapping[str, Array] = backend(case.inputs, case.graph, case.name)
        return case, compare(case, actual, f"backend {backend.name}"), actual, f"backend {backend.name}"
    assert place is not None
    actual = dumped(case, place, layout)
    compared = compare_dump_alone if isolated else compare
    return case, compared(case, actual, str(place)), actual, str(place)


def _places(args: argparse.Namespace, folders: list[Path]) -> list[Path | None]:
    """The dump of each case: of one case the path itself; of several, ``SUITE/ID`` or ``SUITE/ID.npz`` below it."""
    root = Path(args.actual)
    if folders == [Path(args.place)]:
        return [root]
    found: list[Path | None] = []
    for folder in folders:
        place = root / folder.resolve().parent.name / id_of(folder)
        both = [p for p in (place, Path(f"{place}.npz")) if is_file(p) or is_file(p, folder=True)]
        if len(both) > 1:
            raise InputError(f"{root}: must hold the dump of a case once, but found {both[0].name} and {both[1].name}")
        found.append(both[0] if both else None)
    _check_names(root, folders)
    if not any(found):
        wanted = Path(folders[0].resolve().parent.name) / id_of(folders[0])
        raise InputError(f"{root}: must hold the dump of a case, such as {wanted}.npz, but found none")
    return found


def _check_names(root: Path, folders: list[Path]) -> None:
    """A dump beside those of a suite's cases is one that was misnamed."""
    for suite in sorted({folder.resolve().parent for folder in folders}):
        known = {id_of(path) for path in find_cases(suite)}
        inner = root / suite.name
        for path in sorted(inner.iterdir()) if is_file(inner, folder=True) else ():
            if (path.suffix == ".npz" or path.is_dir()) and path.name.removesuffix(".npz") not in known:
                raise InputError(f"{inner}: a dump must be called as a case of the suite, but found {path.name!r}")


def conclude(args: argparse.Namespace, compared: Sequence[Compared], backend: Backend | None, *, brief: bool = False) -> int:
    """Explain what differs, tell everything, and give the exit status."""
    if compared and not any(row.verdict in ("equal", "differs") for _, r, _, _ in compared for row in r.rows):
        raise InputError(f"{args.place}: a tensor must be given for the cases, but none was")
    if not compared:
        raise InputError(
            f"{args.place}: must hold a case of the profile that --profile names, but found none of {args.profile}"
        )
    progress = Progress(0, "settings")
    findings = conclusions(compared, backend, progress.update)
    progress.close()
    reports = [report_ for _, report_, _, _ in compared]
    if getattr(args, "junit", None):
        data = junit(reports, text(reports, findings, brief=True))
        replace_file(args.junit, lambda stream: stream.write(data))
    facts = {
        "equal": not any(r.first for r in reports),
        "cases": [r.facts() for r in reports],
        "explanations": [f.facts() for f in findings],
    }
    report(args, facts, text(reports, findings, brief=brief))
    return int(not facts["equal"])
