"""The command ``ivit-ref``: one module a subcommand.

Exit status 0: fine; 1: a difference or a finding; 2: wrong use or a refused input, told in one line on stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ivit_ref import __version__
from ivit_ref.cli import bench, convert, inspect, ops, run
from ivit_ref.errors import IvitError

COMMANDS = (run, inspect, convert, bench, ops)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        status: int = args.command(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ivit-ref", description="The integer-only reference interpreter for I-ViT.")
    parser.add_argument("--version", action="version", version=f"ivit-ref {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.register(commands)
    return parser
