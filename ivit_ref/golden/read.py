"""Reading a case: every claim of ``case.json`` is held against the graph, and every array against its digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ivit_ref.arrays import LazyArrays, NpzArrays, existing, file_digest, is_file
from ivit_ref.errors import FileError
from ivit_ref.events import Event
from ivit_ref.golden.case import MODEL, ON_DEMAND, TENSORS, Case, TensorRecord, described, evaluated, held
from ivit_ref.golden.group import Row
from ivit_ref.golden.notes import NOTES
from ivit_ref.golden.recipe import again
from ivit_ref.golden.schema import read_json
from ivit_ref.golden.write import CASE, ON_DEMAND_FILE, TEMPORARY
from ivit_ref.ir import Array, Graph
from ivit_ref.onnx_io import load

Values = Callable[[], Mapping[str, Array]]


def read_case(place: str | Path) -> Case:
    """The case of a folder, or of a file ``ID.case.json`` that keeps seed and digests; FileError names what does not hold.

    Tensors are read, or made, when they are asked for.
    """
    place = Path(place).resolve()
    path = inside(place.parent, place / CASE if place.is_dir() else place)
    facts = read_json(path, "case")
    _check_name(place, facts)
    records = tuple(TensorRecord(**{**fields, "shape": tuple(fields["shape"])}) for fields in facts["tensors"])
    graph, made = _graph(place, facts)
    _check_records(str(place), graph, records, facts)
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
        tensors=_tensors(place, graph, records, made),
        rows=tuple(Row(row["comment"], tuple(row["flags"])) for row in facts["rows"]),
        stacked=tuple(facts["stacked"]),
        place=str(place),
    )
    _check_case(case, facts)
    return case


def find_cases(place: str | Path) -> list[Path]:
    """All cases at a place: a case, a suite, or a tree of suites."""
    place = Path(place)
    if is_file(place / CASE) or (is_file(place) and place.name.endswith(ON_DEMAND_FILE)):
        return [place]
    is_folder = is_file(place, folder=True) and str(place)
    found = _below(place, 2) if is_folder else []
    for path in found:
        inside(place, path)
    if not found:
        what = "a folder without one" if is_folder else "none"
        raise FileError(f"{place}: must be a case, a suite or a tree of suites (see: ivit-ref golden make), but found {what}")
    return found


def _below(folder: Path, depth: int) -> list[Path]:
    """The cases so many folders down; what cannot be looked into is no empty folder."""
    found: list[Path] = []
    try:
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith(TEMPORARY))
        for path in entries:
            if is_file(path / CASE) or path.name.endswith(ON_DEMAND_FILE):
                found.append(path)
            elif depth > 1 and path.is_dir():
                found += _below(path, depth - 1)
            elif path.is_dir():
                any(path.iterdir())
    except OSError as error:
        raise FileError(f"{error.filename}: must be a folder that can be read, but it cannot: {error.strerror}") from error
    return found


def id_of(place: Path) -> str:
    """The id that the place of a case claims."""
    return place.name.removesuffix(ON_DEMAND_FILE)


def inside(folder: Path, path: Path) -> Path:
    """The path, if it stays in the folder when links are followed."""
    try:
        found = path.resolve()
        stays = found.is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise FileError(f"{folder}: a file must have a path that can be followed, but found {str(path.name)[:80]!r}") from error
    if not stays:
        raise FileError(f"{path}: must stay in its folder, but leads to {found}")
    return path


def _check_name(place: Path, facts: Mapping[str, Any]) -> None:
    for key, found in (("id", id_of(place)), ("suite", place.parent.name)):
        if facts[key] != found:
            raise FileError(f"{place}: {key} must be the name of its place, {found!r}, but case.json says {facts[key]!r}")
    if place.is_dir() == (facts["model"] is None):
        raise FileError(f"{place}: a case must have a model and a folder, or neither, but found one of them")


def _graph(place: Path, facts: Mapping[str, Any]) -> tuple[Graph, Values | None]:
    """The graph; for a case that is made on demand, with what makes its inputs."""
    if facts["model"] is None:
        graph, inputs = again(facts["suite"], facts["profile"], facts["generator"], str(place))
        return graph, lambda: inputs
    path = existing(inside(place, place / MODEL))
    size = path.stat().st_size
    if size != facts["model"]["bytes"]:
        raise FileError(f"{path}: must have {facts['model']['bytes']} bytes, as case.json says, but has {size}")
    found = file_digest(path)
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
        wanted = {"input": (TENSORS,), "constant": (MODEL,)}.get(record.role, (TENSORS, ON_DEMAND))
        if record.where not in (wanted if facts["model"] else (ON_DEMAND,)):
            raise FileError(f"{who}: tensor {record.name!r} must be in {wanted[0]}, but case.json says {record.where!r}")
    for key, wanted_value in (("verdict", case.verdict), ("profile", case.graph.metadata.get("profile", ""))):
        if facts[key] != wanted_value:
            raise FileError(f"{who}: {key} must be {wanted_value!r}, as the run and the graph say, but found {facts[key]!r}")
    for flag in (*case.flags, *(flag for row in case.rows for flag in row.flags)):
        if flag not in NOTES:
            raise FileError(f"{who}: a flag must be one that is explained, but found {flag!r}")
    if len(set(case.stacked)) < len(case.stacked):
        raise FileError(f"{who}: a stacked input must be named once, but found {', '.join(case.stacked)}")
    for name in (*case.stacked, *(case.graph.outputs if case.stacked else ())):
        value = case.graph.values.get(name)
        if value is None or value.type.shape[:1] != (len(case.rows),):
            raise FileError(f"{who}: what is stacked must have one index for each of {len(case.rows)} rows, but found {name!r}")


def read_cases(place: str | Path, profile: str | None = None) -> Iterator[Case]:
    """Every case at a place; of one profile, with those in which no profile has a say, where one is given."""
    for folder in find_cases(place):
        case = read_case(folder)
        if profile is None or case.profile in (profile, ""):
            yield case
