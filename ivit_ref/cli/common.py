"""What several commands share: options, JSON, progress."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any, TypeAlias

from ivit_ref.profiles import PROFILES

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_profile(parser: argparse.ArgumentParser, what: str) -> None:
    """The option ``--profile``."""
    parser.add_argument("--profile", choices=list(PROFILES), metavar="NAME", help=f"{what}: {', '.join(PROFILES)}")


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option ``--json``."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def report(args: argparse.Namespace, facts: dict[str, Any], text: str) -> None:
    """Print one or the other on stdout."""
    print(json.dumps(facts, indent=2) if args.json else text)


def table(rows: list[tuple[str, str]]) -> str:
    """Lines of a name and what is said of it."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


class Progress:
    """A line on the terminal that counts, from the first second on; silent where stderr is not a terminal."""

    def __init__(self, total: int, unit: str) -> None:
        self.total, self.unit = total, unit
        self.start = time.monotonic()
        self.shown = False

    def update(self, done: int) -> None:
        """So many are done."""
        if sys.stderr.isatty() and (time.monotonic() - self.start > 1 or self.shown):
            self.shown = True
            print(f"\r{done} of {self.total} {self.unit}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Clear the line."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
