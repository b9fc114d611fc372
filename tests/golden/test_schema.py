"""The schemas: sound by themselves, met by what is written, and our own checker agrees with ``jsonschema`` about any document.

It is stricter in one place only: an integer is written without a point, so ``1.0`` is none.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given
from jsonschema import Draft202012Validator

from ivit_ref.errors import FileError
from ivit_ref.golden.schema import check, read_json, schema
from tests.golden.building import ANY, digests_tree, full_tree, places, small_tree, spoiled, tiny_tree

NAMES = ("case", "suite", "manifest", "map")
MAP = {
    "format": "ivit_ref.map",
    "version": 1,
    "tensors": {"fc": {"name": "dense", "transpose": [1, 0]}, "x": {}},
    "ignore": ["scratch"],
}


def shipped(name: str) -> dict[str, Any]:
    """The schema as a file of the package, read without its own reader."""
    loaded: dict[str, Any] = json.loads((resources.files("ivit_ref.golden.schema") / f"{name}.schema.json").read_text())
    return loaded


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(shipped(name))


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def written() -> Iterator[tuple[str, Path]]:
    """The JSON files of a full tree (every fifth case, and the digits ViT), of digests, and of a case with an inner tensor."""
    for tree in (full_tree(), digests_tree(), tiny_tree()):
        yield "manifest", tree / "manifest.json"
        for name in ("case", "suite"):
            paths = sorted(tree.rglob(f"{name}.json"))
            few = name == "suite" or len(paths) < 100
            yield from ((name, path) for i, path in enumerate(paths) if few or i % 5 == 0 or "digits" in str(path))


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one_of_draft_2020_12(name: str) -> None:
    assert shipped(name)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(shipped(name))
    assert schema(name) == shipped(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_object_is_closed_or_says_what_any_field_holds(name: str) -> None:
    def visit(rule: Any) -> None:
        if isinstance(rule, list):
            for inner in rule:
                visit(inner)
        if isinstance(rule, dict):
            if "object" in ([rule.get("type")] if isinstance(rule.get("type"), str) else rule.get("type", [])):
                assert rule["additionalProperties"] is False or isinstance(rule["additionalProperties"], dict)
            for inner in rule.values():
                visit(inner)

    visit(shipped(name))


@pytest.mark.parametrize("name", ["case", "suite", "manifest"])
def test_what_is_written_meets_its_schema(name: str) -> None:
    paths = [path for kind, path in written() if kind == name]
    assert len(paths) >= 3
    for path in paths:
        assert [error.message for error in validator(name).iter_errors(read(path))] == [], path
        assert read_json(path, name) == read(path)


@cache
def sound() -> dict[str, tuple[dict[str, Any], ...]]:
    """Documents to spoil, without the length of the large ones."""
    tree = small_tree()
    case = read(tree / "ReduceMean" / "test_qat_pairs_int8" / "case.json")
    on_demand = read(next(iter(sorted(digests_tree().glob("ReduceMean/*random*")))))
    tiny = read(tiny_tree() / "models" / "test_tiny_qat" / "case.json")
    suite = read(tree / "ReduceSum" / "suite.json")
    manifest = read(tiny_tree() / "manifest.json")
    return {"case": (case, on_demand, tiny), "suite": (suite,), "manifest": (manifest,), "map": (MAP,)}


def accepts(name: str, document: Any) -> bool:
    """Whether our own checker does; a refusal is one line."""
    try:
        check(document, name, "file")
    except FileError as error:
        said = str(error)
    else:
        return True
    assert said.startswith("file: ")
    assert "\n" not in said
    return False


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_our_checker_and_jsonschema_agree_about_spoiled_documents(name: str, data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(sound()[name]))
    assert accepts(name, document)
    for _ in range(data.draw(st.integers(1, 2))):
        document = spoiled(data, document)
    assert accepts(name, document) == validator(name).is_valid(document)


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_needed_or_known_and_none_other(name: str) -> None:
    """Without any one value, and with one more field in any object, the two agree; one of them is refused somewhere."""
    refused = 0
    for document in sound()[name]:
        for path in places(document)[1:]:
            changed = copy.deepcopy(document)
            parent = changed
            for key in path[:-1]:
                parent = parent[key]
            if isinstance(parent[path[-1]], dict):
                parent[path[-1]]["unknown field"] = []
                assert accepts(name, changed) == validator(name).is_valid(changed), path
            del parent[path[-1]]
            assert accepts(name, changed) == validator(name).is_valid(changed), path
            refused += not accepts(name, changed)
    assert refused


@pytest.mark.parametrize("name", NAMES)
@given(value=ANY)
@example(1)
@example("text")
@example([])
def test_what_is_no_document_at_all_is_refused(name: str, value: Any) -> None:
    assert not accepts(name, value)
    assert not validator(name).is_valid(value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", [0, 2, "1", True, 1.0, None, [1]])
def test_another_version_is_named_before_anything_else(name: str, version: Any) -> None:
    with pytest.raises(FileError, match=r"^file: version must be 1, .*found "):
        check({"format": f"ivit_ref.{name}", "version": version, "unknown": 1}, name, "file")


def test_an_integer_with_a_point_is_none() -> None:
    """JSON Schema would take 1.0 for an integer; a reader in another language would not."""
    [document] = sound()["map"]
    changed = copy.deepcopy(document)
    changed["tensors"]["fc"]["transpose"] = [1.0, 0]
    assert validator("map").is_valid(changed)
    assert not accepts("map", changed)


@pytest.mark.parametrize("keyword", ["oneOf", "format", "multipleOf"])
def test_a_keyword_that_the_checker_does_not_know_is_refused(keyword: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = shipped("map")
    rule["properties"]["ignore"][keyword] = 1
    monkeypatch.setattr("ivit_ref.golden.schema.schema", lambda name: rule)
    with pytest.raises(FileError, match=keyword):
        check(MAP, "map", "file")
