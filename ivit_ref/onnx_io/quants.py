"""What integers stand for, as text in ``metadata_props``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from onnx import StringStringEntryProto

from ivit_ref.errors import FileError
from ivit_ref.ir import Quant
from ivit_ref.onnx_types import text

PREFIX = "ai.ivit."
QUANT_KEY = PREFIX + "quant"


def entry(key: str, value: str) -> StringStringEntryProto:
    """One entry of ``metadata_props``."""
    return StringStringEntryProto(key=key, value=value)


def quant_entries(quant: Quant | None) -> list[StringStringEntryProto]:
    """The entry for a value; none where nothing is known."""
    if quant is None:
        return []
    facts = {"scale": list(quant.scale), "zero_point": quant.zero_point, "axis": quant.axis}
    return [entry(QUANT_KEY, json.dumps(facts))]


def quant_of(name: str, properties: Iterable[StringStringEntryProto]) -> Quant | None:
    """The Quant that ``metadata_props`` of a value hold."""
    found = {text(p.key, f"metadata of {name!r}"): text(p.value, f"metadata of {name!r}") for p in properties}
    if QUANT_KEY not in found:
        return None
    try:
        facts: Any = json.loads(found[QUANT_KEY])
        scale, zero_point, axis = facts.pop("scale"), facts.pop("zero_point"), facts.pop("axis")
        if facts or type(zero_point) is not int or not (axis is None or type(axis) is int):
            raise ValueError(found)
        return Quant(tuple(float(s) for s in scale), zero_point, axis)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        must = "must have scale, zero_point and axis in its metadata ai.ivit.quant"
        raise FileError(f"value {name!r}: {must}, but found {found[QUANT_KEY][:80]!r}") from error
