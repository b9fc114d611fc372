"""A function in a process of its own: one that hangs, or takes its process with it, can be ended and named."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ivit_ref.compare.backend import Backend, backend_named
from ivit_ref.compare.waiting import Hangs
from ivit_ref.errors import InputError, IvitError
from ivit_ref.golden.case import Case
from ivit_ref.golden.group import Group
from ivit_ref.golden.make import group_case
from ivit_ref.ir import Array
from ivit_ref.testing.subject import BadBackend, watched

START = 120.0
"""Seconds that importing a backend may take."""


class Child:
    """The backend that ``module:function`` names, in a child process: started when it is first asked, and after a death."""

    def __init__(self, actual: str, timeout: float) -> None:
        self.actual, self.timeout = actual, timeout
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection[Any, Any] | None = None

    @property
    def name(self) -> str:
        """What the function is called."""
        return f"backend {self.actual}"

    def start(self) -> None:
        """Import it; InputError says why that cannot be done."""
        spawning = multiprocessing.get_context("spawn")
        self._pipe, other = spawning.Pipe()
        self._process = spawning.Process(target=serve, args=(other, self.actual), daemon=True)
        self._process.start()
        other.close()
        self._receive(START, f"{self.name}: must be importable")

    def ask(self, case: Case) -> dict[str, Array]:
        """Send it a case, and wait."""
        if self._pipe is None:
            self.start()
        assert self._pipe is not None
        [node] = case.graph.nodes
        quants = {value.name: value.quant for value in case.graph.inputs if value.quant is not None}
        name = case.id.removeprefix("test_").removeprefix(f"{case.profile}_")
        self._pipe.send(Group(name, "", node.op, case.profile, case.inputs, dict(node.attributes), case.rows, (), quants))
        answer: dict[str, Array] = self._receive(self.timeout, f"{self.name} ({case.name})")
        return answer

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _receive(self, timeout: float, who: str) -> Any:
        assert self._pipe is not None
        try:
            if not self._pipe.poll(timeout):
                self.close()
                raise BadBackend("hangs", str(Hangs(who, timeout)))
            kind, content = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise BadBackend("dies", f"{who}: must answer, but {self._death()}") from None
        if kind == "answer":
            return content
        raise InputError(content) if kind == "no answer" else BadBackend(kind, content)

    def _death(self) -> str:
        """How the process ended."""
        assert self._process is not None
        self._process.join()
        code = self._process.exitcode
        self.close()
        return ended(code)


def ended(code: int | None) -> str:
    """An exit status in words."""
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit status {code}"


def serve(pipe: Connection[Any, Any], actual: str) -> None:
    """What the child process does: answer until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, too, and ends this process
    os.dup2(2, 1)  # stdout is the report's, and compiled code has no other
    try:
        backend = backend_named(actual)
        if backend is None:
            raise InputError(f"backend: must be module:function or FILE.py:function, but found {actual!r}")
    except IvitError as error:
        pipe.send(("no answer", str(error)))
        return
    pipe.send(("answer", {}))
    with suppress(EOFError, ConnectionError):
        while True:
            pipe.send(_answer(backend, pipe.recv()))


def _answer(backend: Backend, group: Group) -> tuple[str, Any]:
    """Arrays by name, or what was done wrong and what to say of it."""
    case = group_case(group, {"kind": "graph"})
    try:
        answer = watched(backend, case)
        for name, array in answer.items():
            plain = isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray)
            if not plain or array.dtype.hasobject:
                must = f"{backend.at(case.name)}: tensor {name!r} must be a NumPy array of numbers, without a mask"
                raise InputError(f"{must}, but found {array.dtype if plain else type(array).__name__}")
        return "answer", {name: np.array(array) for name, array in answer.items()}
    except BadBackend as error:
        return error.fault, str(error)
    except IvitError as error:
        return "no answer", str(error)
    except KeyboardInterrupt:  # of its own making, since signals are ignored here
        return "no answer", f"{backend.at(case.name)}: must answer, but raised KeyboardInterrupt"
