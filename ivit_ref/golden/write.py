"""Writing a case: an ONNX backend-test folder with more in it, which appears whole or not at all and is never overwritten."""

from __future__ import annotations

import filecmp
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from onnx import numpy_helper

from ivit_ref import __version__
from ivit_ref.arrays import replace_file, write_npz
from ivit_ref.errors import FileError
from ivit_ref.golden.case import MODEL, TENSORS, Case, document
from ivit_ref.ir import Array
from ivit_ref.onnx_io import to_model

PROGRAM = f"ivit_ref {__version__}"
CASE = "case.json"
DATA = "data.json"
DATA_SET = "test_data_set_0"
EXACT = {"atol": 0, "rtol": 0}
"""What ``data.json`` holds: onnx's own runner would otherwise allow a thousandth."""

ON_DEMAND_FILE = ".case.json"
"""Behind the id of a case that is kept as seed and digests: a file, since ONNX's loader expects a model in every folder."""

FROZEN = "goldens are frozen: what is there must be the same, or be removed first"

TEMPORARY = ".ivit-ref-"
NAME = r"[A-Za-z0-9][A-Za-z0-9_]{0,120}"
LONGEST_LINE = 4096
"""Characters up to which a JSON list of plain values stays on one line."""


def write_case(case: Case, suite: Path) -> Path:
    """Write the case into the folder of its suite: a folder, or a file if seed and digests are all that is kept."""
    for name in (case.id, case.suite):
        if not re.fullmatch(NAME, name):
            raise FileError(f"{suite}: the name of a case must be letters, digits and underscores, but found {name!r}")
    files = case_files(case)
    if not is_stored(case):
        return _write_on_demand(suite / f"{case.id}{ON_DEMAND_FILE}", files[CASE])
    return write_folder(suite / case.id, lambda folder: _write_files(folder, case, files))


def _write_on_demand(path: Path, data: bytes) -> Path:
    if path.is_file():
        if path.read_bytes() != data:
            raise FileError(f"{path}: {FROZEN}, but found another")
        return path
    make_folder(path.parent)
    replace_file(path, lambda stream: stream.write(data))
    return path


def make_folder(path: Path) -> None:
    """The folder, and those above it, if they are not there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{path}: must be a place that can be written, but it cannot: {error.strerror}") from error


def case_files(case: Case) -> dict[str, bytes]:
    """What is not ``tensors.npz``, by path."""
    files: dict[str, bytes] = {}
    model = None
    if is_stored(case):
        data = to_model(case.graph).SerializeToString(deterministic=True)
        model = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        files = {MODEL: data, DATA: to_json(EXACT)} | _data_set(case)
    return files | {CASE: to_json(document(case, PROGRAM, model))}


def is_stored(case: Case) -> bool:
    """Whether bytes are kept, and not seed and digests alone."""
    return any(record.where == TENSORS for record in case.records)


def _data_set(case: Case) -> dict[str, bytes]:
    """Inputs and outputs as ONNX's backend tests have them."""
    files = {}
    for kind, names in (("input", [v.name for v in case.graph.inputs]), ("output", case.graph.outputs)):
        for k, name in enumerate(names):
            tensor = numpy_helper.from_array(case.tensors[name], name)
            files[f"{DATA_SET}/{kind}_{k}.pb"] = tensor.SerializeToString(deterministic=True)
    return files


def _write_files(folder: Path, case: Case, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    kept: dict[str, Array] = {r.name: case.tensors[r.name] for r in case.records if r.where == TENSORS}
    if kept:
        write_npz(folder / TENSORS, kept)


def write_folder(path: Path, fill: Callable[[Path], None]) -> Path:
    """A folder, filled beside its place and moved there. One with the same files stays; one with others is not touched."""
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=TEMPORARY, ignore_cleanup_errors=True) as temporary:
            folder = Path(temporary) / path.name
            folder.mkdir()
            fill(folder)
            if path.exists():
                _check_same(path, folder)
            else:
                folder.rename(path)
    except OSError as error:
        raise FileError(f"{path}: must be a place that can be written, but it cannot: {error.strerror or error}") from error
    return path


def _check_same(path: Path, other: Path) -> None:
    names = sorted(p.relative_to(other).as_posix() for p in other.rglob("*") if p.is_file())
    there = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    _, different, unreadable = filecmp.cmpfiles(path, other, names, shallow=False)
    changed = [*different, *unreadable, *(set(names) ^ set(there))]
    if changed:
        raise FileError(f"{path}: {FROZEN}, but found another {min(changed)}")


def to_json(document: Any) -> bytes:
    """Readable JSON: a list of numbers stays on one line."""
    return (_json(document, "") + "\n").encode()


def write_json(path: Path, document: Any) -> None:
    """The same into a file, whole or not at all."""
    data = to_json(document)
    replace_file(path, lambda stream: stream.write(data))


def _json(value: Any, indent: str) -> str:
    inner = indent + "  "
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not isinstance(value, (dict, list)) or not value or (_is_flat(value) and len(plain) < LONGEST_LINE):
        return plain
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(key, ensure_ascii=False)}: {_json(v, inner)}" for key, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + _json(v, inner) for v in value) + f"\n{indent}]"


def _is_flat(value: Any) -> bool:
    """A list without lists or objects inside, or a small object of such."""
    if isinstance(value, list):
        return not any(isinstance(v, (dict, list)) for v in value)
    return len(value) <= 8 and all(not isinstance(v, dict) and (not isinstance(v, list) or _is_flat(v)) for v in value.values())
