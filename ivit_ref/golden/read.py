"""Reading a case: every claim of ``case.json`` is held against the graph, and every array against its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ivit_ref.arrays import LazyArrays, NpzArrays, existing
from ivit_ref.errors import FileError
from ivit_ref.events import Event
from ivit_ref.golden.case import MODEL, ON_DEMAND, TENSORS, Case, TensorRecord, described, evaluated, held
from ivit_ref.golden.group import Row
from ivit_ref.golden.recipe import again
from ivit_ref.golden.schema import read_json
from ivit_ref.golden.write import CASE, TEMPORARY
from ivit_ref.ir import Array, Graph
from ivit_ref.onnx_io import load

Values = Callable[[], Mapping[str, Array]]


def read_case(folder: str | Path) -> Case:
    """The case of a folder; FileError names what is missing or does not hold. Tensors are read when they are asked for."""
    folder = Path(folder)
    inside(folder, folder / CASE)
    facts = read_json(folder / CASE, "case")
    _check_name(folder, facts)
    records = tuple(TensorRecord(**{**fields, "shape": tuple(fields["shape"])}) for fields in facts["tensors"])
    graph, made = _graph(folder, facts)
    _check_records(str(folder), graph, records, facts)
    case = Case(
        id=facts["id"],
        suite=facts["suite"],
        comment=facts["comment"],
        flags=tuple(facts["flags"]),
        profile=facts["profile"],
        generator={k: v for k, v in facts["generator"].items() if k != "program"},
        confirmed_by=facts["confirmed_by"],
        graph=graph,
        records=records,
        events=tuple(Event(**{**event, "index": tuple(event["index"])}) for event in facts["events"]),
        tensors=_tensors(folder, graph, records, made),
        rows=tuple(Row(row["comment"], tuple(row["flags"])) for row in facts["rows"]),
        stacked=tuple(facts["stacked"]),
        place=str(folder),
    )
    _check_case(case, facts)
    return case


def find_cases(place: str | Path) -> list[Path]:
    """The folders of all cases at a place: a case, a suite, or a tree of suites."""
    place = Path(place)
    if (place / CASE).is_file():
        return [place]
    found = sorted(p.parent for depth in ("*", "*/*") for p in place.glob(f"{depth}/{CASE}") if TEMPORARY not in str(p))
    if not found:
        what = "a folder without one" if place.is_dir() else "none"
        raise FileError(f"{place}: must be a case, a suite or a tree of suites (see: ivit-ref golden make), but found {what}")
    return found


def inside(folder: Path, path: Path) -> Path:
    """The path, if it stays in the folder when links are followed."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise FileError(f"{path}: must stay in its folder, but leads to {path.resolve()}")
    return path


def _check_name(folder: Path, facts: Mapping[str, Any]) -> None:
    place = folder.absolute()
    for key, found in (("id", place.name), ("suite", place.parent.name)):
        if facts[key] != found:
            raise FileError(f"{folder / CASE}: {key} must be the name of the folder, {found!r}, but found {facts[key]!r}")


def _graph(folder: Path, facts: Mapping[str, Any]) -> tuple[Graph, Values | None]:
    """The graph; for a case that is made on demand, with what makes its inputs."""
    if facts["model"] is None:
        graph, inputs = again(facts["suite"], facts["profile"], facts["generator"], str(folder / CASE))
        return graph, lambda: inputs
    path = existing(inside(folder, folder / MODEL))
    size = path.stat().st_size
    if size != facts["model"]["bytes"]:
        raise FileError(f"{path}: must have {facts['model']['bytes']} bytes, as case.json says, but has {size}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != facts["model"]["sha256"]:
        raise FileError(f"{path}: must have the SHA-256 {facts['model']['sha256']}, as case.json says, but has {found}")
    return load(path), None


def _check_records(who: str, graph: Graph, records: tuple[TensorRecord, ...], facts: Mapping[str, Any]) -> None:
    """Names, order, roles and types are those of the graph."""
    for key, names in (("inputs", [v.name for v in graph.inputs]), ("outputs", list(graph.outputs))):
        if facts[key] != names:
            raise FileError(f"{who}: {key} must be those of the graph, {', '.join(names)}, but found {facts[key]}")
    wanted = described(graph)
    if len(wanted) != len(records):
        raise FileError(f"{who}: tensors must be the {len(wanted)} of the graph, in its order, but found {len(records)}")
    for record, claims in zip(records, wanted, strict=True):
        for key, claim in claims.items():
            if getattr(record, key) != claim:
                where = f"{who}: tensor {claims['name']!r}: {key}"
                raise FileError(f"{where} must be {claim!r}, as in the graph, but case.json says {getattr(record, key)!r}")


def _tensors(folder: Path, graph: Graph, records: tuple[TensorRecord, ...], made: Values | None) -> LazyArrays:
    """Every tensor by name, from where its record says."""
    by_name = {r.name: r for r in records}
    stored = {r.name for r in records if r.where == TENSORS}
    archive = NpzArrays(inside(folder, folder / TENSORS)) if stored else {}
    if set(archive) != stored:
        wrong = min(set(archive) ^ stored)
        raise FileError(f"{folder / TENSORS}: must hold the tensors that case.json says, but {wrong!r} is in one of them only")
    constants = {c.value.name: c.data for c in graph.constants}

    @cache
    def everything() -> Mapping[str, Array]:
        inputs = made() if made else {v.name: read(v.name) for v in graph.inputs}
        return evaluated(graph, inputs)[0]

    def read(name: str) -> Array:
        if name in constants and by_name[name].where != TENSORS:
            array = constants[name]
        else:
            array = archive[name] if name in stored else everything()[name]
        return held(by_name[name], array, str(folder))

    return LazyArrays(by_name, read)


def _check_case(case: Case, facts: Mapping[str, Any]) -> None:
    """What the file says of the whole."""
    who = case.place
    for record in case.records:
        constant = record.role == "constant"
        wrong = record.where == MODEL and not (constant and facts["model"])
        wrong |= record.where == ON_DEMAND and record.role == "input" and bool(facts["model"])
        wrong |= record.where == TENSORS and facts["model"] is None
        if wrong:
            raise FileError(f"{who}: tensor {record.name!r} must be somewhere, but case.json says {record.where!r}")
    if facts["verdict"] != case.verdict:
        raise FileError(f"{who}: the verdict must be {case.verdict!r}, as the events say, but found {facts['verdict']!r}")
    for name in case.stacked:
        value = case.graph.values.get(name)
        if value is None or value.type.shape[:1] != (len(case.rows),):
            raise FileError(f"{who}: a stacked input must have one index for each of {len(case.rows)} rows, but found {name!r}")


def read_cases(place: str | Path) -> Iterator[Case]:
    """Every case at a place."""
    return map(read_case, find_cases(place))
