"""Verifying goldens: everything is computed again, by both computations, and every file is held against what it claims."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ivit_ref.arrays import is_file, unequal
from ivit_ref.errors import FileError
from ivit_ref.golden.bodies import check_bodies
from ivit_ref.golden.case import MODEL, ON_DEMAND, TENSORS, Case, evaluated, held
from ivit_ref.golden.directed import refusals
from ivit_ref.golden.group import flags_of
from ivit_ref.golden.manifest import check_manifest
from ivit_ref.golden.read import find_cases, inside, read_case, read_cases
from ivit_ref.golden.recipe import again, node_graph, the_group
from ivit_ref.golden.schema import read_json
from ivit_ref.golden.second import confirm
from ivit_ref.golden.suite import REFUSED, SUITE, check_refused, suite_document
from ivit_ref.golden.write import CASE, TEMPORARY, case_files, is_stored, to_json
from ivit_ref.registry import REGISTRY


def verify_tree(place: str | Path, done: Callable[[int], None] = lambda count: None) -> dict[str, Any]:
    """Verify a case, a suite or a tree, and say how much was there; an error names the first thing that is wrong."""
    place = Path(place)
    folders = find_cases(place)
    is_tree = any(folder.parent.parent == place for folder in folders)
    files = check_manifest(place) if is_tree else 0
    tensors = 0
    for count, folder in enumerate(folders):
        tensors += verify_case(read_case(folder))
        done(count + 1)
    suites = sorted({f.parent for f in folders if f != place})
    vectors = sum(verify_suite(suite) for suite in suites)
    return {"cases": len(folders), "tensors": tensors, "suites": len(suites), "vectors": vectors, "files": files}


def verify_case(case: Case) -> int:
    """Compute a case again and compare; the number of its tensors."""
    values, events = evaluated(case.graph, case.inputs)
    for record in case.records:
        held(record, values[record.name], f"{case.place}: computed again")
        if record.where != ON_DEMAND:
            held(record, case.tensors[record.name], case.place)
    if events != case.events:
        different = next(iter(set(events) ^ set(case.events)), "another order")
        raise FileError(f"{case.place}: the events must be those of the run, but found {different}")
    by = confirm(case.graph, values)
    if by != case.confirmed_by:
        raise FileError(f"{case.place}: confirmed_by must be {by!r}, but found {case.confirmed_by!r}")
    if is_stored(case):
        _check_generator(case)
        _check_files(case)
        check_bodies(case)
    return len(case.records)


def _check_generator(case: Case) -> None:
    """Where the generator can make the case again, it makes this one, with the same comment, rows and flags."""
    kind = case.generator["kind"]
    if kind == "graph":
        return
    if kind == "model":
        graph, inputs = again(case.suite, case.profile, case.generator, case.place)
        same = True
    else:
        group = the_group(case.suite, case.profile, case.generator, case.id, case.place)
        graph, inputs = node_graph(group)
        same = (case.comment, case.rows, case.stacked) == (group.comment, group.rows, group.stacked)
        same = same and case.flags == flags_of(group)
    same = same and all(not unequal(a, case.tensors[n]).any() for n, a in inputs.items())
    if not same or (graph.inputs, graph.nodes, graph.constants) != (case.graph.inputs, case.graph.nodes, case.graph.constants):
        raise FileError(f"{case.place}: the generator must make this case, but makes another: {dict(case.generator)}")


def _check_files(case: Case) -> None:
    """The folder holds what a case has, and ONNX's files hold the same tensors."""
    folder = Path(case.place)
    files = case_files(case)
    for name in sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()):
        inside(folder, folder / name)
        if name not in (*files, TENSORS):
            raise FileError(f"{folder}: must have the files of a case, but found {name!r}")
    for name in sorted({*files} - {CASE, MODEL}):
        path = folder / name
        if not is_file(path) or path.stat().st_size != len(files[name]) or path.read_bytes() != files[name]:
            raise FileError(f"{path}: must hold what case.json says, but does not")


def verify_suite(folder: Path) -> int:
    """Hold ``suite.json`` against the cases beside it; the number of its vectors."""
    path = inside(folder, folder / SUITE)
    facts = read_json(path, "suite")
    name = folder.resolve().name
    cases = list(read_cases(folder))
    _check_entries(folder, {Path(case.place).name for case in cases} | {SUITE})
    wanted = suite_document(name, cases)
    for key in ("suite", "notes"):
        if facts[key] != wanted[key]:
            raise FileError(f"{path}: {key} must be that of the cases, but found another")
    vectors = [group for group in facts["groups"] if group["id"] != REFUSED]
    if [group["id"] for group in vectors] != [group["id"] for group in wanted["groups"]]:
        wrong = {group["id"] for group in vectors} ^ {group["id"] for group in wanted["groups"]}
        which = min(wrong, default="one that is there twice, or in another place")
        raise FileError(f"{path}: there must be a group for each case, in the same order, but there is none for {which}")
    for group, right in zip(vectors, wanted["groups"], strict=True):
        if to_json(_without_ids(group)) != to_json(_without_ids(right)):
            raise FileError(f"{path}: a group must hold the vectors of {right['id']}, but found others in {group['id']!r}")
    refused = [group for group in facts["groups"] if group["id"] == REFUSED]
    for group in refused:
        check_refused(facts["suite"], group, str(path))
    named = {test["constraint"] for group in refused for test in group["tests"]}
    for refusal in refusals(name) if name in REGISTRY else ():
        if refusal.label not in named:
            raise FileError(f"{path}: there must be a call that {refusal.label} refuses, but found none")
    return _count(facts, path)


def _check_entries(folder: Path, known: set[str]) -> None:
    for path in sorted(folder.iterdir()):
        if path.name not in known and not path.name.startswith(TEMPORARY):
            raise FileError(f"{folder}: must have cases and {SUITE} alone, but found {path.name!r}")


def _without_ids(group: dict[str, Any]) -> dict[str, Any]:
    return {**group, "tests": [{**test, "id": 0} for test in group["tests"]]}


def _count(facts: dict[str, Any], path: Path) -> int:
    ids = [test["id"] for group in facts["groups"] for test in group["tests"]]
    if facts["number_of_tests"] != len(ids) or len(set(ids)) != len(ids):
        raise FileError(f"{path}: number_of_tests must count {len(ids)} different ids, but found {facts['number_of_tests']}")
    return len(ids)
