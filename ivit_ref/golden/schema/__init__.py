"""The JSON Schemas of the golden files (draft 2020-12), and the checker that holds a document against one of them.

The checker knows the keywords that these schemas use: a schema with any other is refused, so that none is silently ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ivit_ref.arrays import existing, telling
from ivit_ref.errors import FileError

LARGEST = 2**24
"""Bytes that a JSON file may have: 16 MiB."""

VERSION = 1
"""Of all three formats; a reader takes exactly this one."""

ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description"}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


@cache
def schema(name: str) -> dict[str, Any]:
    """The schema of that name: ``case``, ``suite``, ``manifest`` or ``map``."""
    text = resources.files(__name__).joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def read_json(path: str | Path, name: str) -> dict[str, Any]:
    """The document of a file, after every check; FileError names the field that is wrong."""
    path = existing(path)
    size = path.stat().st_size
    if size > LARGEST:
        raise FileError(f"{path}: must have at most {LARGEST} bytes, but has {size}")
    with telling(path, "a JSON file"):
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse, object_pairs_hook=_unique)
        json.dumps(document, ensure_ascii=False).encode()  # refuses half of a surrogate pair, which cannot be printed
    check(document, name, str(path))
    checked: dict[str, Any] = document
    return checked


def check(document: Any, name: str, who: str) -> None:
    """Hold a document against the schema of that name; its format and version come first."""
    root = schema(name)
    wanted = root["properties"]["format"]["const"]
    found = document.get("format") if isinstance(document, dict) else type(document).__name__
    if found != wanted:
        raise FileError(f"{who}: format must be {wanted!r}, but found {found!r}")
    version = document.get("version")
    if type(version) is not int or version != VERSION:
        raise FileError(f"{who}: version must be {VERSION}, the only one that this ivit_ref reads, but found {version!r}")
    _check(document, root, root, who, "")


def _check(value: Any, rule: dict[str, Any], root: dict[str, Any], who: str, where: str) -> None:
    for keyword, operand in rule.items():
        if keyword in ANNOTATIONS:
            continue
        if keyword == "$ref":
            _check(value, root["$defs"][operand.removeprefix("#/$defs/")], root, who, where)
        elif keyword == "properties" and isinstance(value, dict):
            _check_properties(value, rule, root, who, where)
        elif keyword == "items":
            for i, element in enumerate(value if isinstance(value, list) else ()):
                _check(element, operand, root, who, f"{where}[{i}]")
        elif keyword == "additionalProperties" and operand is not False:
            for key, element in value.items() if isinstance(value, dict) else ():
                _check(element, operand, root, who, f"{where}.{key}" if where else key)
        elif keyword not in ("additionalProperties", "properties", "required"):
            _check_keyword(value, keyword, operand, who, where)


def _check_properties(value: dict[str, Any], rule: dict[str, Any], root: dict[str, Any], who: str, where: str) -> None:
    known = rule["properties"]
    for key in rule.get("required", ()):
        if key not in value:
            raise FileError(f"{who}: {_at(where)} must have the field {key!r}, but found none")
    for key, element in value.items():
        if key in known:
            _check(element, known[key], root, who, f"{where}.{key}" if where else key)
        elif rule.get("additionalProperties") is False:
            raise FileError(f"{who}: {_at(where)} must have no other fields than {', '.join(known)}, but found {key!r}")


def _check_keyword(value: Any, keyword: str, operand: Any, who: str, where: str) -> None:
    """One keyword on one value; it has nothing to say of a value of another type than it is about."""
    holds: dict[str, Callable[[], bool]] = {
        "type": lambda: _is(value, operand),
        "const": lambda: type(value) is type(operand) and value == operand,
        "enum": lambda: value in operand,
        "pattern": lambda: not isinstance(value, str) or (re.search(operand, value) is not None and "\n" not in value),
        "minimum": lambda: not isinstance(value, int) or value >= operand,
        "maximum": lambda: not isinstance(value, int) or value <= operand,
        "minItems": lambda: not isinstance(value, list) or len(value) >= operand,
        "maxItems": lambda: not isinstance(value, list) or len(value) <= operand,
    }
    if keyword not in holds:
        raise FileError(f"schema: a keyword must be one that the checker knows, but found {keyword!r}")
    if not holds[keyword]():
        shown = repr(value)[:100]
        raise FileError(f"{who}: {_at(where)} must have {keyword} {operand}, but found {shown}")


def _is(value: Any, operand: str | list[str]) -> bool:
    names = [operand] if isinstance(operand, str) else operand
    allowed = tuple(t for name in names for t in TYPES[name])
    return isinstance(value, allowed) and (not isinstance(value, bool) or "boolean" in names)


def _at(where: str) -> str:
    return repr(where) if where else "the file"


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field occurs twice")
    return fields
