"""What a certificate is: inputs that are enumerated completely, and an independent derivation of every result.

The inputs fall into parts (the lines of the table), and a part into chunks. A chunk is a pure function of a certificate, a
part and a number: it runs in any process, on any machine, in any order, and gives the same digest everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivit_ref.arrays import little_endian
from ivit_ref.integers import Ints


@dataclass(frozen=True)
class Wrong:
    """The first input of a chunk at which the NumPy body and the derivation differ."""

    attributes: Mapping[str, Any]
    inputs: Mapping[str, int]
    got: str
    want: str

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {"attributes": dict(self.attributes), "inputs": dict(self.inputs), "got": self.got, "want": self.want}

    def __str__(self) -> str:
        at = ", ".join(f"{name} = {value}" for name, value in self.inputs.items())
        given = ", ".join(f"{name} {value}" for name, value in self.attributes.items())
        return f"{at} ({given}): got {self.got}, want {self.want}"


@dataclass(frozen=True)
class Checked:
    """What a chunk found: how many results it compared, their SHA-256, and the first wrong one."""

    count: int
    digest: str
    wrong: Wrong | None = None


@dataclass(frozen=True)
class Part:
    """One line of the table: ``chunks`` are numbered from 0; those of ``quick`` are enumerated in CI."""

    name: str
    chunks: int
    quick: tuple[int, ...]


@dataclass(frozen=True)
class Certificate:
    """One operator.

    ``chunk`` takes the name of a part and the number of a chunk. It must be a function at the top of a module, so that it can
    be sent to another process.
    """

    name: str
    inputs: str
    derivation: str
    parts: tuple[Part, ...]
    chunk: Callable[[str, int], Checked]


class Tally:
    """Compares results block by block, and keeps what ``Checked`` has of them."""

    def __init__(self) -> None:
        self._count = 0
        self._digest = hashlib.sha256()
        self._wrong: Wrong | None = None

    def compare(self, got: Ints, want: Ints, attributes: Mapping[str, Any], **inputs: Ints) -> None:
        """Count and digest the results; ``inputs`` have the shape of the results."""
        self._digest.update(little_endian(got))
        self._count += got.size
        if self._wrong is None and got.shape != want.shape:
            self._wrong = Wrong(attributes, {}, f"shape {list(got.shape)}", f"shape {list(want.shape)}")
        if self._wrong is None and (got != want).any():
            first = int(np.argmax(got != want))
            at = {name: int(x.flat[first]) for name, x in inputs.items()}
            self._wrong = Wrong(attributes, at, str(got.flat[first]), str(want.flat[first]))

    def checked(self) -> Checked:
        """The result of the chunk."""
        return Checked(self._count, self._digest.hexdigest(), self._wrong)


def run_chunk(chunk: Callable[[str, int], Checked], part: str, index: int) -> Checked:
    """The chunk; a body that raises where it must not is wrong, too."""
    try:
        return chunk(part, index)
    except Exception as error:  # whatever a wrong body raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Checked(0, "", Wrong({}, {"chunk": index}, reason, "results"))
