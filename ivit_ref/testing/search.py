"""The search for an input on which a backend is wrong: calls are drawn, answered by both, and the first wrong one is shrunk."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, Phase, Verbosity, given, reject, seed, settings

from ivit_ref.errors import InputError, IvitError
from ivit_ref.golden.case import Case
from ivit_ref.ir import Array
from ivit_ref.testing.example import Example, answered, examples
from ivit_ref.testing.smallest import smallest
from ivit_ref.testing.subject import FINAL, BadBackend, Fault, Subject, checked, differences
from ivit_ref.testing.values import USUAL

MOST_EXAMPLES = 10**9

ROUND = 1000
"""Examples after which a new seed is taken: Hypothesis remembers what it has drawn."""

SHRINKING, MOST_SHRINKS = 60.0, 1000
"""Seconds, and questions to the backend, after which the smallest example so far is good enough."""

PATIENCE = 200
"""Examples after one in which a value wraps, until no other is waited for."""

MOST_EVIDENCE = 24

SIMPLE = (*(2.0**-e for e in range(9)), *USUAL)
"""Scales that are simpler than any other, the simplest first."""


@dataclass(frozen=True)
class Found:
    """A case on which a backend is wrong, in which way, and what it answered, if anything."""

    example: Example
    case: Case
    fault: Fault
    message: str
    answer: dict[str, Array] | None = None
    cause: Exception | None = None


class _Stopped(BaseException):
    """Leaves Hypothesis at once: there is nothing more to ask, or no time."""


class Search:
    """A search for an input on which a backend is wrong.

    ``found`` is the smallest example so far; ``examples`` and ``settings`` tell what was tried until the first; ``seed`` is
    that of the round. ``evidence`` are cases with the backend's answers, right and wrong ones; an explanation holds for all.
    """

    def __init__(
        self,
        subject: Subject,
        op: str,
        profile: str | None,
        seed: int,
        done: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.subject, self.op, self.profile, self.seed, self.done = subject, op, profile, seed, done
        self.examples = 0
        self.settings: set[str] = set()
        self.found: Found | None = None
        self.evidence: list[tuple[Case, dict[str, Array]]] = []
        self._end: float | None = None
        self._shrinks = 0
        self._wrapped: tuple[Found, int, int] | None = None
        self._takes_wrapped = False

    def run(self, *, max_examples: int = MOST_EXAMPLES, seconds: float | None = None) -> None:
        """Search until so many examples or seconds are over, or a wrong answer is found and shrunk."""
        self._end = None if seconds is None else time.monotonic() + seconds
        while self.found is None and self._goes_on() and self.examples < max_examples:
            before = self.examples
            self._round(min(ROUND, max_examples - before), self._try)
            if self.examples == before:
                break  # there is nothing else
            self.seed += 1
        if self.found is None and self._wrapped is not None:
            self._again(*self._wrapped)
        if self.found is not None and self.found.fault not in FINAL:
            self._polish()
        if self.found is not None and self.found.fault == "differs":
            self._end = None
            self._round(MOST_EVIDENCE, self._keep)

    def _again(self, found: Found, number: int, examples: int) -> None:
        """Come to an example again in which a value wraps, the only kind that was found, and shrink it."""
        self._takes_wrapped, self.seed, self.examples = True, number, 0
        self._end = time.monotonic() + SHRINKING
        self._round(ROUND, self._try)
        self.examples, self.found = examples, self.found or found

    def _round(self, count: int, each: Callable[[Example], None]) -> None:
        """One run of Hypothesis; what it raises is what was noted, or else an error of the search itself."""
        options = settings(
            max_examples=count,
            database=None,
            deadline=None,
            derandomize=False,
            verbosity=Verbosity.quiet,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
        )
        drawn = given(examples(self.op, self.profile))
        try:
            seed(self.seed)(options(drawn(lambda example: each(example))))()
        except _Stopped:
            return
        except Exception:
            if self.found is None:
                raise

    def _is_over(self) -> bool:
        return self._end is not None and time.monotonic() > self._end

    def _goes_on(self) -> bool:
        return not self._is_over() and (
            self._takes_wrapped or self._wrapped is None or self.examples <= self._wrapped[2] + PATIENCE
        )

    def _try(self, example: Example) -> None:
        """Raise what is wrong with the backend's answer.

        Where a value wraps on the way, two things may be wrong at once: such an example is looked at when there is no other.
        """
        if not self._goes_on():
            raise _Stopped
        case = answered(example)
        if case is None:
            reject()
        if self.found is None:
            self.examples += 1
            self.settings.add(repr(sorted(example.attributes.items())))
            self.done(self.examples)
        elif self._shrinks == MOST_SHRINKS:
            raise _Stopped
        else:
            self._shrinks += 1
        found = self._ask(example, case)
        if found is None:
            return
        if found.fault == "differs" and case.verdict == "overflow" and not self._takes_wrapped:
            self._wrapped = self._wrapped or (found, self.seed, self.examples)
            return
        if self.found is None:  # from here on the time is that of shrinking
            self._end = time.monotonic() + SHRINKING
        elif found.fault not in (self.found.fault, *FINAL):
            return  # one thing at a time
        self.found = found
        if found.fault in FINAL:
            raise _Stopped
        raise IvitError(found.fault) from found.cause

    def _ask(self, example: Example, case: Case) -> Found | None:
        """What is wrong with the backend's answer to a case; None if nothing is."""
        try:
            answer = checked(self.subject, case)
            verdict = differences(case, answer, f"{self.subject.name} ({case.name})")
        except BadBackend as error:
            return Found(example, case, error.fault, str(error), cause=error)
        except InputError as error:
            return Found(example, case, "no answer", str(error), cause=error)
        if verdict.verdict == "equal":
            return None
        where = f"at {list(verdict.index)} it gives {verdict.got}, not {verdict.want}"
        return Found(
            example, case, "differs", f"{self.subject.name}: {verdict.differing} of {verdict.total} differ; {where}", answer
        )

    def _keep(self, example: Example) -> None:
        """Note what the backend makes of an example, right or wrong."""
        case = answered(example)
        if case is None or (case.verdict == "overflow" and not self._takes_wrapped):
            return
        with suppress(InputError):
            answer = checked(self.subject, case)
            differences(case, answer, self.subject.name)  # what cannot be compared is no evidence
            self.evidence.append((case, answer))

    def _polish(self) -> None:
        """A simpler scale, fewer elements, numbers nearer to 0: as long as the backend is wrong in the same way."""
        assert self.found is not None
        if self.found.example.scale is not None:
            any(self._still(self.found.example.at(scale)) for scale in SIMPLE)
        smallest(self.found.example.arrays, self._fails)

    def _fails(self, arrays: tuple[Array, ...]) -> bool:
        assert self.found is not None
        return self._still(replace(self.found.example, arrays=arrays))

    def _still(self, example: Example) -> bool:
        """Whether the backend is wrong in the same way; then this is the smallest example."""
        assert self.found is not None
        case = None if self._is_over() else answered(example)
        tried = None if case is None else self._ask(example, case)
        if tried is None or (tried.fault, tried.case.verdict) != (self.found.fault, self.found.case.verdict):
            return False
        self.found = tried
        return True
