"""``explain`` inside whole models: each single parameter and each published profile, from full and from partial dumps."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ivit_ref
from ivit_ref.compare.findings import Finding, conclusions
from ivit_ref.compare.report import compare
from ivit_ref.golden.case import Case
from ivit_ref.golden.make import made_case
from ivit_ref.ir import Array, Graph
from ivit_ref.profiles import PROFILES

GRAPHS = Path(__file__).parents[2] / "graphs"
MODELS = {"vit": ("digits_vit.onnx", "digits_test.npz"), "swin": ("digits_swin.onnx", "digits_swin_test.npz")}

CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("Shiftmax", {"half": "drop"}),
    ("Shiftmax", {"n": 13}),
    ("Shiftmax", {"clamp": False}),
    ("Shiftmax", {"numerator": 2**30}),
    ("ShiftGELU", {"half": "drop"}),
    ("ShiftGELU", {"n": 16}),
    ("ILayerNorm", {"halving": "truncate"}),
    ("ILayerNorm", {"mean_rounding": "truncate"}),
    ("ILayerNorm", {"mean_bits": 16}),
    ("ILayerNorm", {"sqrt_steps": 5}),
    ("ILayerNorm", {"sqrt_start": 2**12}),
    ("Requantize", {"rounding": "floor"}),
    ("Requantize", {"rounding": "truncate"}),
    ("RequantizeAdd", {"rounding": "floor"}),
]

FIRST = dict(reversed(CHANGES))
"""One change for each operator: a Swin takes several times as long."""

SPELLED = {2**30: "2**30", 2**12: "2**12"}


@cache
def golden(model: str, profile: str = "qat") -> Case:
    graph, images = MODELS[model]
    bound = ivit_ref.load(GRAPHS / graph, N=1).with_profile(profile)
    image = np.load(GRAPHS / images)["images"][:1]
    return made_case(bound, {"image": image}, generator={}, id="test", suite="models", comment="", flags=(), profile=profile)


def run(graph: Graph, case: Case) -> dict[str, Array]:
    return ivit_ref.Interpreter(graph, overflow="wrap").run(case.inputs, intermediates=True)


def found(case: Case, dump: dict[str, Array]) -> list[Finding]:
    return conclusions([(case, compare(case, dump, "dump"), dump, "dump")], None)


def named(op: str, change: dict[str, Any]) -> str:
    [(name, value)] = change.items()
    if isinstance(value, bool):
        return f"{'' if value else 'no '}{name}"
    return f"{name} {SPELLED.get(value, value)}"


@pytest.mark.parametrize(("model", "op", "change"), [*(("vit", *c) for c in CHANGES), *(("swin", *c) for c in FIRST.items())])
def test_a_single_parameter_is_found_in_a_full_dump(model: str, op: str, change: dict[str, Any]) -> None:
    case = golden(model)
    dump = run(case.graph.with_attributes(op, **change), case)
    if all(np.array_equal(dump[r.name], case.tensors[r.name]) for r in case.made):
        assert (model, op, *change) in UNSEEN
        return
    *whole, finding = found(case, dump)
    assert all(f.op == "every operator" for f in whole)  # of a Swin, another start may give what all of ``ideal`` gives
    assert finding.op == op
    assert (named(op, change),) in finding.settings


UNSEEN = {
    ("vit", "ILayerNorm", "sqrt_start"),
}
"""What one image of that model cannot show: none of its integers is another."""


@pytest.mark.parametrize(("model", "ours"), [*(("vit", profile) for profile in PROFILES), ("swin", "tvm")])
@pytest.mark.parametrize("theirs", PROFILES)
@pytest.mark.parametrize("what", ["everything", "outputs"])
def test_a_published_profile_is_found(model: str, ours: str, theirs: str, what: str) -> None:
    case = golden(model, ours)
    dump = run(case.graph.with_profile(theirs), case)
    dump = dump if what == "everything" else {name: dump[name] for name in case.graph.outputs}
    if all(np.array_equal(array, case.tensors[name]) for name, array in dump.items()):
        assert ours == theirs or {ours, theirs} == {"qat", "ideal"}
        return
    finding = found(case, dump)[0]
    assert finding.op == "every operator"
    assert (f"profile {theirs}",) in finding.settings


def test_one_wrong_node_is_named_alone() -> None:
    case = golden("vit")
    node = "blocks.2.attn.int_softmax"
    nodes = tuple(
        n if n.name != node else type(n)(n.op, n.inputs, n.outputs, {**n.attributes, "half": "drop"}, n.name)
        for n in case.graph.nodes
    )
    dump = run(Graph(case.graph.name, case.graph.inputs, case.graph.outputs, case.graph.constants, nodes), case)
    [finding] = found(case, dump)
    assert finding.nodes == (node,)
    assert ("half drop",) in finding.settings


def test_two_operators_that_are_wrong_are_two_findings() -> None:
    case = golden("vit")
    graph = case.graph.with_attributes("Shiftmax", n=13).with_attributes("ILayerNorm", halving="truncate")
    first, second = found(case, run(graph, case))
    assert (first.op, second.op) == ("ILayerNorm", "Shiftmax")
    assert ("halving truncate",) in first.settings
    assert ("n 13",) in second.settings


@pytest.mark.parametrize(("op", "change"), CHANGES[8:9], ids=str)
def test_a_single_parameter_is_found_from_the_outputs_alone(op: str, change: dict[str, Any]) -> None:
    case = golden("vit")
    full = run(case.graph.with_attributes(op, **change), case)
    [finding] = found(case, {name: full[name] for name in case.graph.outputs})
    assert finding.before
    assert (f"{op}: {named(op, change)}",) in finding.settings


def test_a_tensor_whose_inputs_are_not_given_is_explained_by_what_comes_before() -> None:
    case = golden("vit")
    full = run(case.graph.with_attributes("Shiftmax", half="drop"), case)
    kept = {name: y for i, (name, y) in enumerate(full.items()) if i % 2}
    finding = found(case, kept)[0]
    assert ("Shiftmax: half drop",) in finding.settings
