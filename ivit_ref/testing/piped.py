"""A program behind a pipe, which speaks the language of ``golden feed`` and ``golden check`` (docs/format.md), case by case."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

from ivit_ref.compare.waiting import Hangs, within
from ivit_ref.errors import InputError
from ivit_ref.golden.case import Case
from ivit_ref.golden.pipe import LONGEST_LINE, feed, read_answers
from ivit_ref.ir import Array
from ivit_ref.testing.child import ended
from ivit_ref.testing.subject import BadBackend


class Piped:
    """One process that is fed all cases; it is started when it is first asked, and after a death or a wrong word."""

    def __init__(self, command: str, timeout: float) -> None:
        self.command, self.timeout = command, timeout
        try:
            self.words = shlex.split(command)
        except ValueError as error:
            raise InputError(f"--pipe: must be a command as a shell takes it, but {error}: {command!r}") from error
        if not self.words:
            raise InputError(f"--pipe: must be a command, but found {command!r}")
        self._process: subprocess.Popen[str] | None = None

    @property
    def name(self) -> str:
        """The program."""
        return f"program {self.words[0]}"

    def start(self) -> None:
        """Start it; InputError says why that cannot be done."""
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(self.words, stdin=pipe, stdout=pipe, encoding="utf-8", errors="replace")
        except OSError as error:
            raise InputError(f"{self.name}: must be a program that can be run, but it cannot: {error.strerror}") from error

    def ask(self, case: Case) -> dict[str, Array]:
        """Feed it a case, and read as far as the word that ends the answer."""
        who = f"{self.name} ({case.name})"
        if self._process is None:
            self.start()
        process = self._process
        assert process is not None
        try:
            return within(self.timeout, lambda: _converse(process, case), who)
        except Hangs as error:
            self.close()
            message = f"{error} (each case must be answered, and the output flushed, at its 'end')"
            raise BadBackend("hangs", message) from None
        except InputError as error:
            raise self._fault(process, who, error) from None
        except OSError as error:
            raise self._fault(process, who, InputError(str(error))) from None

    def close(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    _open(stream).close()

    def _fault(self, process: subprocess.Popen[str], who: str, error: InputError) -> InputError:
        """Its death, if that is why the answer ends; otherwise what was wrong with a word."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)
        code = process.poll()
        self.close()
        if code is not None:
            return BadBackend("dies", f"{who}: must answer, but {ended(code)}: {error}")
        return InputError(f"{who}: {error}")


def _converse(process: subprocess.Popen[str], case: Case) -> dict[str, Array]:
    stdin = _open(process.stdin)
    stdin.writelines(line + "\n" for line in feed(case))
    stdin.flush()
    [(_, answer)] = read_answers(_lines(_open(process.stdout)), [case])
    return answer


def _lines(stream: IO[str]) -> Iterator[str]:
    """As far as the word that ends a case, and no further: nothing more comes before the next one is fed."""
    while line := stream.readline(LONGEST_LINE + 1):
        yield line
        if line.split()[-1:] == ["end"]:
            return


def _open(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
