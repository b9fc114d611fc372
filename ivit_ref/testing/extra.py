"""Hypothesis is an extra: what needs it says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ivit_ref.errors import MissingExtra


@contextmanager
def needing_hypothesis(who: str) -> Iterator[None]:
    """Around imports that need it: MissingExtra says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "hypothesis":
            raise
        raise MissingExtra(f"{who}: needs hypothesis, but it is missing: pip install 'ivit-ref[testing]'") from error
