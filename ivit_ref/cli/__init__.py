"""The command ``ivit-ref``: one module a subcommand.

Exit status 0: fine; 1: a difference or a finding; 2: wrong use or a refused input, told in one line on stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from ivit_ref import __version__
from ivit_ref.cli import bench, certify, compare, convert, doctor, error, eval, fuzz, golden, inspect, ops, run
from ivit_ref.cli.common import silence
from ivit_ref.errors import IvitError

COMMANDS = (run, inspect, convert, doctor, golden, compare, fuzz, error, eval, certify, bench, ops)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = _parsed(argv)
    try:
        status: int = args.command(args)
        print(end="", flush=True)
        return status
    except BrokenPipeError:
        silence()
        return 0
    except (OSError, UnicodeEncodeError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            print(
                f"ivit-ref: {error.filename}: must be a file that can be read, but it cannot: {error.strerror}", file=sys.stderr
            )
            return 2
        print(f"ivit-ref: the report must be written, but it cannot: {' '.join(str(error).split())}", file=sys.stderr)
        sys.stdout = None  # what is left in its buffer cannot be written at exit either
        return 2
    except IvitError as error:
        print(f"ivit-ref: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError:
        print(
            "ivit-ref: memory: the run must fit into it, but it does not; give fewer images or a smaller graph", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        print("ivit-ref: interrupted", file=sys.stderr)
        return 130


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; argparse ends a list of paths at the first option, here they may stand on either side of one."""
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(args, "paths") or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.paths += rest
    return args


class _Parser(argparse.ArgumentParser):
    """Tells wrong use in one line, like everything else that is refused."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the options are listed."""
        self.exit(2, f"ivit-ref: {message} (see: {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="ivit-ref", description="The integer-only reference interpreter for I-ViT.")
    parser.add_argument("--version", action="version", version=f"ivit-ref {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.register(commands)
    return parser
