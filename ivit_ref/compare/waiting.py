"""Waiting for a function that may never return."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from ivit_ref.errors import InputError

T = TypeVar("T")

LONGEST = 10**5
"""Seconds of a time-out."""


class Hangs(InputError):
    """A backend did not answer in time."""

    def __init__(self, who: str, seconds: float) -> None:
        super().__init__(f"{who}: must answer within {seconds:g} seconds, but did not")


def check_timeout(timeout: float, who: str) -> None:
    """How long an answer may take."""
    if not isinstance(timeout, (int, float)) or not 0 < timeout <= LONGEST:
        raise InputError(f"{who}must be seconds above 0, at most {LONGEST}, but found {timeout!r}")


def within(seconds: float | None, call: Callable[[], T], who: str) -> T:
    """What the call gives; Hangs when it takes longer: its thread is left behind then, for nothing can stop it.

    None waits as long as it takes.
    """
    if seconds is None:
        return call()
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise Hangs(who, seconds) from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]
