"""The search for an input on which a backend is wrong: calls are drawn, answered by both, and the first wrong one is shrunk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, Phase, Verbosity, given, reject, seed, settings
from hypothesis import strategies as st

from ivit_ref.errors import InputError, IvitError
from ivit_ref.golden.case import Case
from ivit_ref.golden.directed import profiled
from ivit_ref.golden.directed.making import observed
from ivit_ref.golden.group import Group, Row
from ivit_ref.golden.make import group_case
from ivit_ref.ir import Array, Attribute, Quant
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import lookup
from ivit_ref.scales import follow_from_profile
from ivit_ref.testing.calls import calls
from ivit_ref.testing.rows import rows, usual_scales
from ivit_ref.testing.smallest import smallest
from ivit_ref.testing.subject import FINAL, BadBackend, Fault, Subject, checked, differences, refuses

SCALED = ("ShiftExp", "Shiftmax", "ShiftGELU")
"""Operators whose attributes follow from what a step of the input is worth, in a profile."""

MOST_EXAMPLES = 10**9

ROUND = 1000
"""Examples after which a new seed is taken: Hypothesis remembers what it has drawn."""

SHRINKING = 30.0
"""Seconds after which the smallest example so far is good enough."""

MOST_EVIDENCE = 12


@dataclass(frozen=True)
class Example:
    """A call: the operator's arrays and attributes, and what a step of the input is worth where that was the reason for them."""

    op: str
    profile: str
    arrays: tuple[Array, ...]
    attributes: dict[str, Attribute]
    scale: float | None = None

    def case(self) -> Case:
        """The golden case of this call, confirmed by the twin; its id is made of its contents."""
        names = lookup(self.op).inputs
        inputs = dict(zip(names, self.arrays, strict=True))
        total = hashlib.sha256(repr((self.op, sorted(self.attributes.items()))).encode())
        for array in self.arrays:
            total.update(repr((str(array.dtype), array.tolist())).encode())
        quants = {} if self.scale is None else {names[0]: Quant((self.scale,))}
        row = (Row("found by a search"),)
        name, comment = f"fuzz_{total.hexdigest()[:8]}", "a backend was wrong here"
        group = Group(name, comment, self.op, self.profile, inputs, self.attributes, row, (), quants)
        return group_case(observed(group), {"kind": "graph"})


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

    ``found`` is the smallest so far; ``examples`` and ``settings`` tell what was tried until the first; ``evidence`` are cases with
    the backend's answers, right and wrong ones, which an explanation must hold for.
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

    def run(self, *, max_examples: int = MOST_EXAMPLES, seconds: float | None = None) -> None:
        """Search until so many examples or seconds are over, or a wrong answer is found and shrunk."""
        self._end = None if seconds is None else time.monotonic() + seconds
        number = self.seed
        while self.found is None and not self._is_over() and self.examples < max_examples:
            before = self.examples
            self._round(number, min(ROUND, max_examples - before))
            if self.examples == before:
                break  # there is nothing else
            number += 1
        if self.found is not None and self.found.fault not in FINAL:
            self._polish(self.found)

    def _round(self, number: int, count: int) -> None:
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
            seed(number)(options(drawn(lambda example: self._try(example))))()
        except _Stopped:
            return
        except Exception:
            if self.found is None:
                raise

    def _is_over(self) -> bool:
        return self._end is not None and time.monotonic() > self._end

    def _try(self, example: Example) -> None:
        """Raise what is wrong with the backend's answer."""
        if self._is_over():
            raise _Stopped
        case = answered(example)
        if case is None:
            reject()
        if self.found is None:
            self.examples += 1
            self.settings.add(repr(sorted(example.attributes.items())))
            self.done(self.examples)
        found = self._ask(example, case)
        if found is None:
            return
        if self.found is None:  # from here on the time is that of shrinking
            self._end = time.monotonic() + SHRINKING
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
        if len(self.evidence) < MOST_EVIDENCE or (verdict.verdict == "differs" and self.found is None):
            self.evidence.append((case, answer))
        if verdict.verdict == "equal":
            return None
        where = f"at {list(verdict.index)} it gives {verdict.got}, not {verdict.want}"
        return Found(
            example, case, "differs", f"{self.subject.name}: {verdict.differing} of {verdict.total} differ; {where}", answer
        )

    def _polish(self, found: Found) -> None:
        """Bring the numbers of the smallest example nearer to 0."""

        def fails(arrays: tuple[Array, ...]) -> bool:
            if self._is_over():
                return False
            example = replace(found.example, arrays=arrays)
            case = answered(example)
            tried = None if case is None else self._ask(example, case)
            if tried is None or tried.fault != found.fault:
                return False
            self.found = tried
            return True

        smallest(found.example.arrays, fails)


def answered(example: Example) -> Case | None:
    """The case of an example; None for a row that the operator refuses: no backend is given that."""
    try:
        return example.case()
    except IvitError as error:
        if refuses(error):
            return None
        raise


@st.composite
def examples(draw: st.DrawFn, op: str, profile: str | None) -> Example:
    """Calls of an operator in a profile, with the scale where attributes follow from it; without one, with any attributes."""
    if profile and op in SCALED:
        scale = draw(usual_scales())
        attributes = follow_from_profile(op, PROFILES[profile], {}, [Quant((scale,))])
        return Example(op, profile, (draw(rows(op)),), attributes, scale)
    arrays, attributes = draw(calls(op, profile=profile))
    return Example(op, profile if profile and profiled(op) else "", arrays, attributes)
