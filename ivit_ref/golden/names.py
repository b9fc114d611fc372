"""Names of tensors as names of files."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote


def file_name(name: str) -> str:
    """The name with every character outside ``[A-Za-z0-9._-]``, and a leading ``.``, percent-encoded in UTF-8.

    Different names stay different; on a file system that ignores case, ``file_names`` keeps those apart that differ in it.
    """
    encoded = quote(name, safe="").replace("~", "%7E")
    return "%2E" + encoded[1:] if encoded.startswith(".") else encoded


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A ``file_name`` for each name; of those that differ in case only, the second gets ``~2`` behind it, and so on.

    No encoded name has a ``~``, so that a number never makes a name that another has.
    """
    seen: dict[str, int] = {}
    files = {}
    for name in names:
        plain = file_name(name)
        count = seen[plain.lower()] = seen.get(plain.lower(), 0) + 1
        files[name] = plain if count == 1 else f"{plain}~{count}"
    return files
