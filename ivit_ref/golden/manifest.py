"""The manifest of a tree: every file with its size and SHA-256."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from ivit_ref.arrays import file_digest, is_file
from ivit_ref.errors import FileError
from ivit_ref.golden.read import inside
from ivit_ref.golden.schema import read_json
from ivit_ref.golden.write import PROGRAM, TEMPORARY, write_json

MANIFEST = "manifest.json"


def write_manifest(root: Path) -> None:
    """Write the manifest of everything below ``root``."""
    files = {name: _facts(root / name) for name in files_below(root)}
    write_json(root / MANIFEST, {"format": "ivit_ref.manifest", "version": 1, "program": PROGRAM, "files": files})


def check_manifest(root: Path) -> int:
    """Hold every file below ``root`` against the manifest, and say how many there are; FileError names what differs."""
    claimed = read_json(root / MANIFEST, "manifest")["files"]
    for name, facts in claimed.items():
        try:
            path = inside(root, root / name)
        except FileError as error:
            raise FileError(f"{root / MANIFEST}: a file must be below its folder, but found {name[:80]!r}") from error
        if not is_file(path) or PurePosixPath(name).as_posix() != name or ".." in PurePosixPath(name).parts:
            raise FileError(f"{root / MANIFEST}: a file must be there, but there is no {name!r}")
        if path.stat().st_size != facts["bytes"]:
            raise FileError(f"{path}: must have {facts['bytes']} bytes, as the manifest says, but has {path.stat().st_size}")
        found = file_digest(path)
        if found != facts["sha256"]:
            raise FileError(f"{path}: must have the SHA-256 {facts['sha256']}, as the manifest says, but has {found}")
    for name in files_below(root):
        if name not in claimed:
            raise FileError(f"{root / MANIFEST}: every file must be in the manifest, but found {name!r}")
    return len(claimed)


def files_below(root: Path) -> list[str]:
    """The paths of all files below a folder, but for the manifest and what an interrupted run left."""
    names = []
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root).as_posix()
        if name != MANIFEST and not any(part.startswith(TEMPORARY) for part in path.relative_to(root).parts):
            inside(root, path)
            names.append(name)
    return names


def _facts(path: Path) -> dict[str, Any]:
    return {"sha256": file_digest(path), "bytes": path.stat().st_size}
