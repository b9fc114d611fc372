"""Finished chunks in a file of JSON lines: what a run resumes from, and what a later run is held against.

The first line has the versions that made them and the SHA-256 of the lines that follow; each of these has the chunks of one
part, ``[number, count, SHA-256]``. A chunk with a wrong value is never kept.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

import ivit_ref
from ivit_ref.arrays import existing, replace_file
from ivit_ref.certify.certificate import Certificate, Checked
from ivit_ref.certify.running import Key, keys_of
from ivit_ref.errors import FileError

FORMAT, VERSION = "ivit_ref.certificates", 1
LARGEST = 2**24
"""No record has as many bytes."""


def versions() -> dict[str, str]:
    """What a certificate is signed off with."""
    numpy_, onnx = np.__version__, version("onnx")
    return {"ivit_ref": ivit_ref.__version__, "python": platform.python_version(), "numpy": numpy_, "onnx": onnx}


@cache
def source_digest() -> str:
    """The SHA-256 of the package's own sources: the same version with other sources may have other results."""
    total = hashlib.sha256()
    root = Path(ivit_ref.__file__).parent
    for path in sorted(root.rglob("*.py")):
        total.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return total.hexdigest()


def write_record(path: str | Path, found: Mapping[Key, Checked], made_with: Mapping[str, str]) -> None:
    """Write finished chunks, whole or not at all; in order, so that the same chunks give the same bytes."""
    lines = []
    for (certificate, part), keys in groupby(sorted(key for key in found if found[key].wrong is None), lambda key: key[:2]):
        chunks = [
            [index, found[certificate, part, index].count, found[certificate, part, index].digest] for _, _, index in keys
        ]
        lines.append(json.dumps({"certificate": certificate, "part": part, "chunks": chunks}) + "\n")
    body = "".join(lines).encode()
    header = {"format": FORMAT, "version": VERSION, **made_with, "sha256": hashlib.sha256(body).hexdigest()}
    replace_file(path, lambda stream: stream.write(json.dumps(header).encode() + b"\n" + body))


def read_record(
    path: str | Path, certificates: Sequence[Certificate], made_with: Mapping[str, str] | None = None
) -> dict[Key, Checked]:
    """The chunks of a file that are chunks of these certificates; FileError if it is damaged, or made with other versions."""
    path = existing(path)
    if path.stat().st_size > LARGEST:
        raise FileError(f"{path}: must have at most {LARGEST} bytes, but has {path.stat().st_size}")
    first, _, body = path.read_bytes().partition(b"\n")
    try:
        header = json.loads(first)
        if header["format"] != FORMAT or header["version"] != VERSION:
            raise FileError(f"{path}: must be {FORMAT} {VERSION}, but found {header['format']!r:.60} {header['version']!r:.60}")
        _check_versions(path, header, made_with or {})
        if header["sha256"] != hashlib.sha256(body).hexdigest():
            raise FileError(f"{path}: must have the SHA-256 that its first line says, but is damaged")
        found = {key: checked for line in body.splitlines() for key, checked in _chunks(json.loads(line)).items()}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path}: must be a record of certificates, but is damaged: {type(error).__name__}") from error
    return {key: found[key] for key in keys_of(certificates) if key in found}


def _check_versions(path: Path, header: Mapping[str, Any], made_with: Mapping[str, str]) -> None:
    for name, value in made_with.items():
        if header[name] != value:
            raise FileError(f"{path}: must be made with {name} {value}, as this run is, but found {header[name]!r:.80}")


def _chunks(line: dict[str, Any]) -> dict[Key, Checked]:
    return {(line["certificate"], line["part"], i): _checked(n, d) for i, n, d in line["chunks"]}


def _checked(count: object, digest: str) -> Checked:
    sha256 = bytes.fromhex(digest)
    if type(count) is not int or count < 1 or len(sha256) != hashlib.sha256().digest_size:
        raise ValueError
    return Checked(count, sha256.hex())
