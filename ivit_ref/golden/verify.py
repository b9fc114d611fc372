"""Verifying goldens: everything is computed again, by both computations, and every file is held against what it claims."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ivit_ref.errors import FileError
from ivit_ref.golden.case import MODEL, TENSORS, Case, evaluated, held
from ivit_ref.golden.manifest import MANIFEST, check_manifest
from ivit_ref.golden.read import find_cases, read_case
from ivit_ref.golden.schema import read_json
from ivit_ref.golden.second import confirm
from ivit_ref.golden.suite import SUITE, suite_document
from ivit_ref.golden.write import CASE, case_files


def verify_tree(place: str | Path, done: Callable[[int], None] = lambda count: None) -> dict[str, Any]:
    """Verify a case, a suite or a tree, and say how much was there; an error names the first thing that is wrong."""
    place = Path(place)
    folders = find_cases(place)
    files = check_manifest(place) if (place / MANIFEST).is_file() else 0
    tensors = 0
    for count, folder in enumerate(folders):
        tensors += verify_case(read_case(folder))
        done(count + 1)
    suites = sorted({folder.parent for folder in folders if (folder.parent / SUITE).is_file()} if place not in folders else ())
    vectors = sum(verify_suite(suite) for suite in suites)
    return {"cases": len(folders), "tensors": tensors, "suites": len(suites), "vectors": vectors, "files": files}


def verify_case(case: Case) -> int:
    """Compute a case again and compare; the number of its tensors."""
    values, events = evaluated(case.graph, case.inputs)
    for record in case.records:
        held(record, values[record.name], f"{case.place}: computed again")
        held(record, case.tensors[record.name], case.place)
    if events != case.events:
        different = next(iter(set(events) ^ set(case.events)), "another order")
        raise FileError(f"{case.place}: the events must be those of the run, but found {different}")
    by = confirm(case.graph, values)
    if by != case.confirmed_by:
        raise FileError(f"{case.place}: confirmed_by must be {by!r}, but found {case.confirmed_by!r}")
    _check_files(case)
    return len(case.records)


def _check_files(case: Case) -> None:
    """The folder holds what a case has, and ONNX's files hold the same tensors."""
    folder = Path(case.place)
    files = case_files(case)
    known = {*files, TENSORS}
    for path in sorted({*files} - {CASE, MODEL}):
        if not (folder / path).is_file() or (folder / path).read_bytes() != files[path]:
            raise FileError(f"{folder / path}: must hold what case.json says, but does not")
    for name in sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()):
        if name not in known:
            raise FileError(f"{folder}: must have the files of a case, but found {name!r}")


def verify_suite(folder: Path) -> int:
    """Hold ``suite.json`` against the cases beside it; the number of its vectors."""
    path = folder / SUITE
    facts = read_json(path, "suite")
    cases = {case.id: case for case in map(read_case, find_cases(folder))}
    wanted = json.loads(json.dumps(suite_document(folder.name, list(cases.values()))))
    groups = {group["id"]: group for group in facts["groups"] if group["id"] != "refused"}
    for group in wanted["groups"]:
        found = groups.pop(group["id"], None)
        if found is None or _without_ids(found) != _without_ids(group):
            raise FileError(f"{path}: a group must hold the vectors of its case, but found another {group['id']!r}")
    if groups:
        raise FileError(f"{path}: a group must have a case beside it, but found none for {min(groups)!r}")
    if facts["notes"] != wanted["notes"]:
        raise FileError(f"{path}: notes must explain the flags of the cases, but found {', '.join(facts['notes'])}")
    return _count(facts, path)


def _without_ids(group: dict[str, Any]) -> dict[str, Any]:
    return {**group, "tests": [{**test, "id": 0} for test in group["tests"]]}


def _count(facts: dict[str, Any], path: Path) -> int:
    ids = [test["id"] for group in facts["groups"] for test in group["tests"]]
    if facts["number_of_tests"] != len(ids) or len(set(ids)) != len(ids):
        raise FileError(f"{path}: number_of_tests must count {len(ids)} different ids, but found {facts['number_of_tests']}")
    return len(ids)
