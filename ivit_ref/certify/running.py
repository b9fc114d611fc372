"""Running chunks, in this process or on any ``concurrent.futures.Executor``, and what they say together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, as_completed
from dataclasses import dataclass
from typing import TypeAlias

from ivit_ref.certify.certificate import Certificate, Checked, Part, run_chunk
from ivit_ref.errors import IvitError

Key: TypeAlias = tuple[str, str, int]
"""Certificate, part, number of the chunk."""


@dataclass(frozen=True)
class Line:
    """One line of the table: what the chunks of a part found, in their order."""

    certificate: Certificate
    part: Part
    chunks: tuple[Checked, ...]

    @property
    def count(self) -> int:
        """How many results were compared."""
        return sum(chunk.count for chunk in self.chunks)

    @property
    def digest(self) -> str:
        """The SHA-256 of the SHA-256 of each chunk, in the order of the chunks."""
        return hashlib.sha256(b"".join(bytes.fromhex(chunk.digest) for chunk in self.chunks)).hexdigest()

    @property
    def wrong(self) -> str:
        """The first wrong value; empty where there is none."""
        return next((f"{self.certificate.name}, {self.part.name}: {c.wrong}" for c in self.chunks if c.wrong is not None), "")


def keys_of(certificates: Sequence[Certificate], *, quick: bool = False) -> list[Key]:
    """The chunks of certificates in the order of the table: all of them, or those that are enumerated in CI."""
    return [(c.name, p.name, i) for c in certificates for p in c.parts for i in (p.quick if quick else range(p.chunks))]


def certify(certificates: Sequence[Certificate], *, executor: Executor | None = None, quick: bool = False) -> list[Line]:
    """Run certificates, in this process or on any executor; ``wrong`` of a line is empty where all is equal."""
    keys = keys_of(certificates, quick=quick)
    return lines_of(certificates, dict(finished(certificates, keys, executor)))


def finished(
    certificates: Sequence[Certificate], keys: Sequence[Key], executor: Executor | None
) -> Iterator[tuple[Key, Checked]]:
    """These chunks with what they found, in the order in which they come back. What is not begun is cancelled at an error."""
    chunks = {c.name: c.chunk for c in certificates}
    if executor is None:
        for name, part, index in keys:
            yield (name, part, index), run_chunk(chunks[name], part, index)
        return
    futures = {executor.submit(run_chunk, chunks[name], part, index): (name, part, index) for name, part, index in keys}
    try:
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    except BrokenExecutor as error:
        raise IvitError(f"certify: every process must live until its chunk is done, but one has ended: {error}") from error
    finally:
        for future in futures:
            future.cancel()


def lines_of(certificates: Sequence[Certificate], found: Mapping[Key, Checked]) -> list[Line]:
    """The lines of the parts of which any chunk was found."""
    lines = []
    for certificate in certificates:
        for part in certificate.parts:
            keys = [(certificate.name, part.name, index) for index in range(part.chunks)]
            chunks = tuple(found[key] for key in keys if key in found)
            lines += [Line(certificate, part, chunks)] if chunks else []
    return lines
