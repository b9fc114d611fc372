"""The vectors of an operator as one JSON file, in the style of cryptographic test vectors, for consumers without Python."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ivit_ref import ops
from ivit_ref.errors import ConstraintError, FileError, IntegerOverflow, IvitError
from ivit_ref.events import Context
from ivit_ref.golden.case import Case
from ivit_ref.golden.group import Refusal, Row
from ivit_ref.golden.notes import NOTES
from ivit_ref.golden.write import PROGRAM, is_stored, write_json
from ivit_ref.ir import Array
from ivit_ref.registry import lookup

SUITE = "suite.json"
REFUSED = "refused"
"""The id of a group whose call must not be answered."""


def suite_document(name: str, cases: Sequence[Case], refusals: Iterable[Refusal] = ()) -> dict[str, Any]:
    """What ``suite.json`` holds: notes on every flag, and the vectors of each case of one node, then the refusals."""
    ids = count(1)
    inline = [case for case in cases if is_stored(case) and len(case.graph.nodes) == 1 and case.graph.nodes[0].op == name]
    groups = [_group(case, ids) for case in inline]
    groups += [_refused(refusal, ids) for refusal in refusals]
    flags = {flag for case in cases for flag in case.flags}
    return {
        "format": "ivit_ref.suite",
        "version": 1,
        "suite": name,
        "program": PROGRAM,
        "number_of_tests": sum(len(group["tests"]) for group in groups),
        "notes": {flag: asdict(NOTES[flag]) for flag in sorted(flags)},
        "groups": groups,
    }


def write_suite(folder: Path, name: str, cases: Sequence[Case], refusals: Iterable[Refusal] = ()) -> None:
    """Write ``suite.json`` into the folder of a suite."""
    write_json(folder / SUITE, suite_document(name, cases, refusals))


def _group(case: Case, ids: Iterator[int]) -> dict[str, Any]:
    """A case as a group: what all of its vectors share, then the vectors."""
    [node] = case.graph.nodes
    rows = case.rows or (Row(case.comment, case.flags),)
    stacked = case.stacked
    tensors = {name: case.tensors[name] for name in (*node.inputs, node.output.name)}  # each is read once
    shared = {name: tensors[name].tolist() for name in node.inputs if stacked and name not in stacked}
    tests = [_test(case, tensors, i, row, next(ids)) for i, row in enumerate(rows)]
    output = case.graph.values[node.output.name].type
    return {
        "id": case.id,
        "comment": case.comment,
        "profile": case.profile,
        "attributes": _attributes(node.attributes),
        "inputs": {name: _type(tensors[name].dtype, tensors[name].shape[name in stacked :]) for name in node.inputs},
        "output": _type(output.dtype, output.shape[bool(stacked) :]),
        "shared": shared,
        "tests": tests,
    }


def _test(case: Case, tensors: Mapping[str, Array], i: int, row: Row, number: int) -> dict[str, Any]:
    """One vector; one that leaves a declared width says where, and what wrapping gives."""
    [node] = case.graph.nodes
    cut = slice(i, i + 1)
    arrays = [tensors[n][cut] if n in case.stacked else tensors[n] for n in node.inputs]
    own = {n: a for n, a in zip(node.inputs, arrays, strict=True) if n in case.stacked or not case.stacked}
    expected = tensors[node.output.name]
    facts: dict[str, Any] = {
        "id": number,
        "comment": row.comment,
        "flags": list(row.flags),
        "inputs": {n: (a[0] if case.stacked else a).tolist() for n, a in own.items()},
        "result": "valid",
        "expected": (expected[i] if case.stacked else expected).tolist(),
    }
    try:
        lookup(node.op).run(arrays, node.attributes, Context("raise"))
    except IntegerOverflow as error:
        index = error.index[1:] if case.stacked and len(error.index) == expected.ndim else error.index
        verdict = {key: getattr(error, key) for key in ("step", "dtype", "count", "value")}
        facts |= {"result": "overflow", "overflow": {**verdict, "index": list(index)}}
    return facts


def _refused(refusal: Refusal, ids: Iterator[int]) -> dict[str, Any]:
    """A refusal as a group of one vector; IvitError if the call is answered after all, or refused for another reason."""
    found = refused_by(refusal.op, list(refusal.inputs.values()), refusal.attributes)
    if refusal.label not in found:
        raise IvitError(f"{refusal.op}: {refusal.comment!r} must be refused by {refusal.label}, but found {found}")
    return {
        "id": REFUSED,
        "comment": refusal.comment,
        "profile": "",
        "attributes": _attributes(refusal.attributes),
        "inputs": {name: _type(array.dtype, array.shape) for name, array in refusal.inputs.items()},
        "shared": {},
        "tests": [
            {
                "id": next(ids),
                "comment": refusal.comment,
                "flags": [],
                "inputs": {name: _spelled(array.tolist()) for name, array in refusal.inputs.items()},
                "result": "refused",
                "constraint": refusal.label,
            }
        ],
    }


def check_refused(op: str, group: Mapping[str, Any], who: str) -> None:
    """Hold a group of the file against the operator: each call is refused by the constraint that is named."""
    for test in group["tests"]:
        attributes = {key: tuple(v) if isinstance(v, list) else v for key, v in group["attributes"].items()}
        said = refused_by(op, [_array(test["inputs"].get(name), t, who) for name, t in group["inputs"].items()], attributes)
        named = test.get("constraint")
        if test["result"] != REFUSED or "expected" in test or not named or f"{named}:" not in said:
            raise FileError(f"{who}: test {test['id']} must be refused by {named}, but the operator says {said!r}")


def _array(values: Any, type_: Mapping[str, Any], who: str) -> Array:
    try:
        array: Array = np.array(values, type_["dtype"]).reshape(type_["shape"])
        return array
    except (ValueError, TypeError, OverflowError) as error:
        raise FileError(f"{who}: values must be {type_['dtype']}{type_['shape']}, but found {str(values)[:40]}") from error


def refused_by(op: str, arrays: Sequence[Array], attributes: Mapping[str, Any]) -> str:
    """What an operator says to a call that it refuses."""
    try:
        getattr(ops, lookup(op).kernel.__name__)(*arrays, **attributes)
    except (ConstraintError, IntegerOverflow) as error:
        return str(error)
    return "an answer"


def _attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _spelled(list(value) if isinstance(value, tuple) else value) for key, value in attributes.items()}


def _spelled(value: Any) -> Any:
    """JSON has no NaN and no infinity: they are words."""
    if isinstance(value, list):
        return [_spelled(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _type(dtype: Any, shape: Sequence[Any]) -> dict[str, Any]:
    return {"dtype": str(dtype), "shape": list(shape)}
