"""A backend under test: it is asked, within a time, and what is no answer is named with what was done wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ivit_ref.arrays import identical
from ivit_ref.compare.backend import Backend
from ivit_ref.compare.difference import Difference, difference, integers_of
from ivit_ref.compare.waiting import Hangs
from ivit_ref.errors import InputError
from ivit_ref.events import Context
from ivit_ref.golden.case import Case
from ivit_ref.ir import Array
from ivit_ref.registry import lookup

Fault = Literal["differs", "no answer", "hangs", "changes", "writes", "view", "dies"]
"""differs: other integers. no answer: it raises, or gives no arrays of the right names, shapes and dtypes. changes: the same
input gives something else when it comes again. writes: into its inputs. view: of its inputs, where the operator makes new
numbers. dies: so does its process."""

FINAL: tuple[Fault, ...] = ("hangs", "changes")
"""Faults after which a backend is not asked again: the next answer would say nothing."""


class BadBackend(InputError):
    """A backend does not answer as one must; ``fault`` says in which way. ``case``: the one that a search found."""

    def __init__(self, fault: Fault, message: str, case: Case | None = None) -> None:
        super().__init__(message)
        self.fault, self.case = fault, case


class Subject(Protocol):
    """What is asked: a function here, one in another process, or a program behind a pipe."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def ask(self, case: Case) -> dict[str, Array]:
        """Its arrays by name for the inputs of a case; BadBackend or InputError where there are none."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True)
class InProcess:
    """A function of this process. ``strict``: it must leave its inputs alone, and share no memory with them."""

    backend: Backend
    strict: bool = True

    @property
    def name(self) -> str:
        """What the function is called."""
        return f"backend {self.backend.name}"

    def ask(self, case: Case) -> dict[str, Array]:
        """Ask it."""
        try:
            return watched(self.backend, case) if self.strict else self.backend(case.inputs, case.graph, case.name)
        except Hangs as error:
            raise BadBackend("hangs", str(error)) from None

    def close(self) -> None:
        """There is nothing to let go of."""


def watched(backend: Backend, case: Case) -> dict[str, Array]:
    """What a function answers that must leave its inputs alone and share no memory with them."""
    given = {name: array.copy() for name, array in case.inputs.items()}
    answer = backend.answer(dict(given), case.graph, case.name)
    who = backend.at(case.name)
    for name, array in given.items():
        if array.tobytes() != case.inputs[name].tobytes():
            raise BadBackend("writes", f"{who}: must leave its inputs alone, but wrote into {name!r}")
    plain = {name: a for name, a in answer.items() if isinstance(a, np.ndarray)}
    if not _may_share(case):
        for name, array in plain.items():
            if name in case.graph.outputs and any(np.shares_memory(array, a) for a in given.values()):
                raise BadBackend("view", f"{who}: must give an array of its own, but {name!r} is a view of its input")
    return answer | {name: a.copy() for name, a in plain.items() if not isinstance(a, np.ma.MaskedArray)}


def _may_share(case: Case) -> bool:
    """Whether the operator's own body gives a view of its inputs: it only moves elements, or leaves them as they are."""
    [node] = case.graph.nodes
    arrays = [case.tensors[name] for name in node.inputs]
    own = lookup(node.op).run(arrays, node.attributes, Context("wrap", op=node.op))
    return any(np.shares_memory(own, array) for array in arrays)


def checked(subject: Subject, case: Case) -> dict[str, Array]:
    """What a backend answers twice in the same way: arrays of the names, shapes and dtypes of the case."""
    first = _named(subject, case)
    second = _named(subject, case)
    for name in first:
        if name not in second or not _same(first[name], second[name]):
            message = f"{subject.name} ({case.name}): must answer the same when it is asked again, but {name!r} is another"
            raise BadBackend("changes", message)
    return first


def _named(subject: Subject, case: Case) -> dict[str, Array]:
    answer = subject.ask(case)
    if not answer:
        raise InputError(f"{subject.name} ({case.name}): must give the output 'result', but gave none")
    return answer


def _same(first: object, second: object) -> bool:
    """Bit by bit; what is no array of numbers is refused later, for what it is."""
    if not isinstance(first, np.ndarray) or not isinstance(second, np.ndarray) or first.dtype.hasobject:
        return True
    return identical(first, second)


def differences(case: Case, answer: Mapping[str, Array], source: str) -> Difference:
    """The verdict on the one result of a case."""
    [record] = case.made
    return difference(record, integers_of(record, answer[record.name], source), case.tensors[record.name])
