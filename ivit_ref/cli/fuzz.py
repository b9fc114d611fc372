"""``ivit-ref fuzz``: search for an input on which a backend is wrong, shrink it, and keep it as a golden case."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ivit_ref.cli.common import Commands, Progress, add_json, add_profile, report
from ivit_ref.errors import InputError
from ivit_ref.golden.write import write_case
from ivit_ref.testing.checks import check_search
from ivit_ref.testing.child import Child
from ivit_ref.testing.extra import needing_hypothesis
from ivit_ref.testing.fuzz import explanation, told
from ivit_ref.testing.piped import Piped

if TYPE_CHECKING:
    from ivit_ref.testing.search import Search

OUT = "counterexamples"
INTERRUPTED = 130


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("fuzz", help="search for an input on which a backend is wrong", description=__doc__)
    parser.add_argument("op", metavar="OPERATOR", help="which operator (see: ivit-ref ops)")
    backend = parser.add_mutually_exclusive_group(required=True)
    backend.add_argument("--backend", metavar="FUNCTION", help="module:function, file.py:function, or onnxruntime")
    backend.add_argument("--pipe", metavar="COMMAND", help="a program that answers on a pipe (see: docs/format.md)")
    add_profile(parser, "calls of one version; without, with any attributes")
    parser.add_argument(
        "--seconds",
        type=float,
        default=60.0,
        help="how long to search; to shrink what is found may take as long again; default: 60",
    )
    parser.add_argument("--seed", type=int, default=0, help="what the search begins with; default: 0")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds that an answer may take; default: 10")
    parser.add_argument("--out", default=OUT, metavar="FOLDER", help=f"where a counterexample is kept; default: {OUT}")
    add_json(parser)
    parser.set_defaults(command=_fuzz)


def _fuzz(args: argparse.Namespace) -> int:
    check_search(args.op, args.profile, args.seed, args.timeout, "fuzz: ")
    if not (math.isfinite(args.seconds) and args.seconds > 0):
        raise InputError(f"--seconds: must be a number above 0, but found {args.seconds}")
    _check_writable(Path(args.out) / args.op)
    with needing_hypothesis("fuzz"):
        from hypothesis.configuration import set_hypothesis_home_dir

        from ivit_ref.testing.search import Search
    subject = Child(args.backend, args.timeout) if args.backend is not None else Piped(args.pipe, args.timeout)
    progress = Progress(0, "examples")
    interruption = _Interruption(progress)
    search = Search(subject, args.op, args.profile, args.seed, interruption.heard)
    interrupted = False
    with tempfile.TemporaryDirectory() as home:
        set_hypothesis_home_dir(home)  # it would leave a folder here
        before = signal.signal(signal.SIGINT, interruption.come)
        try:
            subject.start()  # what cannot be started is wrong use, and no finding
            search.run(seconds=args.seconds)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            signal.signal(signal.SIGINT, before)
            set_hypothesis_home_dir(None)
            subject.close()
            progress.close()
    return _tell(args, search, interrupted)


class _Interruption:
    """Ctrl-C; in Hypothesis' callback of the garbage collector, which drops errors, it ends the search at the next example."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.is_here = progress, False

    def come(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler."""
        self.is_here = True
        if frame is None or frame.f_code.co_name != "gc_callback":
            raise KeyboardInterrupt

    def heard(self, examples: int) -> None:
        """Between two examples."""
        if self.is_here:
            raise KeyboardInterrupt
        self.progress.update(examples)


def _check_writable(folder: Path) -> None:
    """Before the search, so that what it finds is not lost."""
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise InputError(f"--out: must be a folder that can be written, but found {there}")


def _tell(args: argparse.Namespace, search: Search, interrupted: bool) -> int:
    """Report what was tried, and what was found; the exit status."""
    tried = f"{search.examples} examples, with {len(search.settings)} different sets of attributes"
    facts: dict[str, Any] = {
        "operator": args.op,
        "profile": args.profile,
        "seed": args.seed,
        "examples": search.examples,
        "attributes": len(search.settings),
        "interrupted": interrupted,
        "found": None,
    }
    if search.found is None:
        said = "interrupted after" if interrupted else "nothing found in"
        report(args, facts, f"{args.op}: {said} {tried}")
        return INTERRUPTED if interrupted else 0
    place = write_case(search.found.case, Path(args.out) / args.op)
    place = Path(args.out) / args.op / place.name
    following, why = _next(args, place), explanation(search)
    found = {"fault": search.found.fault, "message": search.found.message, "explanation": why}
    found |= {"case": str(place), "next": following}
    text = f"{told(search, why)}\n\nkept    {place}\nnext    {following}"
    report(args, facts | {"found": found}, text)
    return INTERRUPTED if interrupted else 1


def _next(args: argparse.Namespace, place: Path) -> str:
    """The command that shows the same again."""
    where = shlex.quote(str(place))
    if args.backend:
        return f"ivit-ref compare {where} {shlex.quote(args.backend)}"
    return f"ivit-ref golden feed {where} | {args.pipe} | ivit-ref golden check {where}"
