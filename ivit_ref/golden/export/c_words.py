"""Names and numbers as C99 writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ivit_ref.errors import InputError
from ivit_ref.ir import Array

C_TYPES: Mapping[str, str] = {
    **{dtype: f"{dtype}_t" for dtype in ("int8", "uint8", "int16", "uint16", "int32", "int64")},
    "bool": "uint8_t",
    "float32": "float",
}
"""The type of an element."""

LONGEST_IDENTIFIER = 40
"""With the longest prefix below 63, up to which C99 promises to tell identifiers apart."""

LONGEST_STRING = 400


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """The end of an identifier for each name: letters, digits and ``_``; unique, by a number where need be.

    It becomes an identifier behind a prefix, which also keeps it from being a keyword or beginning with a digit.
    """
    taken: set[str] = set()
    found = {}
    for name in names:
        base = re.sub(r"[^A-Za-z0-9_]", "_", name)[:LONGEST_IDENTIFIER]
        ending, k = base, 1
        while ending in taken:
            k += 1
            ending = f"{base}_{k}"
        taken.add(ending)
        found[name] = ending
    return found


def comment(text: str) -> str:
    """A comment of any text: in printable ASCII, and with nothing that ends or opens a comment or makes a trigraph."""
    plain = text.encode("unicode_escape").decode()
    return f"/* {re.sub('(?<=[/*?])(?=[/*?])', ' ', plain)} */"


def string(text: str) -> str:
    """A string literal, in UTF-8; one longer than ``LONGEST_STRING`` bytes is cut."""
    data = text.encode()[:LONGEST_STRING]
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in data) + '"'


def integer(value: int) -> str:
    """An integer of at most 64 bits, as an expression that any macro may stand for."""
    if value in (-(2**31), -(2**63)):
        return f"INT{32 if value == -(2**31) else 64}_MIN"  # its magnitude is no constant of that type
    return f"({value})" if value < 0 else str(value)


def real(value: float, who: str) -> str:
    """A float32, exactly, with the sign of a zero."""
    if math.isnan(value):
        raise InputError(f"export: a float must be a number, as C99 cannot write a NaN, but found one in {who}")
    if math.isinf(value):
        return "(-INFINITY)" if value < 0 else "INFINITY"
    written = re.sub(r"\.?0*p", "p", value.hex()) + "f"
    return f"({written})" if written.startswith("-") else written


def elements(array: Array, who: str) -> list[str]:
    """Each element of an array as an initialiser, the last axis fastest."""
    dtype = str(array.dtype)
    write: Callable[[Any], str] = str
    if dtype == "float32":
        write = partial(real, who=who)
    elif dtype == "bool":
        write = "{:d}".format
    elif dtype == "int64":
        write = _int64
    elif dtype == "int32":
        write = integer
    return [write(value) for value in array.reshape(-1).tolist()]


def _int64(value: int) -> str:
    if value == -(2**63):
        return "INT64_MIN"
    return f"INT64_C({value})" if value >= 0 else f"-INT64_C({-value})"
