"""What is concluded from several nodes and cases: nothing that does not hold for all that is named, and nothing left out."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from ivit_ref import Interpreter, ops
from ivit_ref.compare.findings import Compared, Finding, conclusions
from ivit_ref.compare.report import compare
from ivit_ref.events import Context
from ivit_ref.golden.case import Case
from ivit_ref.golden.make import suite_cases
from ivit_ref.ir import Array
from ivit_ref.registry import REGISTRY
from tests.compare.test_explain_models import golden, run


@cache
def cases(op: str) -> dict[str, Case]:
    return {case.id: case for case in suite_cases(op, ["qat"], 24, 0)}


def answered(op: str, case: Case, **changed: Any) -> dict[str, Array]:
    """What the operator gives with other attributes."""
    [node] = case.graph.nodes
    function = getattr(ops, REGISTRY[op].kernel.__name__)
    arrays = [case.tensors[name] for name in node.inputs]
    return {"result": function(*arrays, **{**node.attributes, **changed}, ctx=Context("wrap"))}


def concluded(*pairs: tuple[Case, dict[str, Array]]) -> list[Finding]:
    compared: list[Compared] = [(case, compare(case, dump, "dump"), dump, "dump") for case, dump in pairs]
    return conclusions(compared, None)


def test_cases_that_are_wrong_in_two_ways_are_two_findings() -> None:
    """And no finding names a setting that one of its cases refutes."""
    found = cases("ILayerNorm")
    ways = {"half_away": [], "truncate": []}  # type: dict[str, list[str]]
    pairs = []
    for i, case in enumerate(found.values()):
        way = ("half_away", "truncate")[i % 2]
        dump = answered("ILayerNorm", case, mean_rounding=way)
        if (dump["result"] != case.tensors["result"]).any():
            ways[way].append(case.name)
            pairs.append((case, dump))
    findings = concluded(*pairs)
    assert sorted(name for f in findings for name in f.nodes) == sorted(ways["half_away"] + ways["truncate"])
    for finding in findings:
        for way, names in ways.items():
            if (f"mean_rounding {way}",) in finding.settings:
                assert set(finding.nodes) <= set(names)
        assert finding.settings


def test_a_case_that_a_profile_explains_hides_no_other() -> None:
    vit, case = golden("vit"), cases("Shiftmax")["test_qat_s0_032_int16"]
    whole = run(vit.graph.with_profile("paper"), vit)
    first, second = concluded((vit, whole), (case, answered("Shiftmax", case, half="drop")))
    assert (first.op, first.nodes, first.settings) == ("every operator", (vit.name,), (("profile paper",),))
    assert second.nodes == (case.name,)
    assert ("half drop",) in second.settings


def test_a_tensor_that_is_equal_is_not_accused_of_its_wrong_input() -> None:
    case = golden("vit")
    dump = run(case.graph, case)
    dump["blocks.0.norm1"] = np.ascontiguousarray(np.roll(dump["blocks.0.norm1"], 1, 2))
    [finding] = concluded((case, dump))
    assert finding.nodes == ("blocks.0.norm1",)
    assert ("axis 2 moved on by 1",) in finding.settings


def test_other_tensors_that_are_given_rule_settings_out() -> None:
    """From the class alone several n would do; a tensor far behind the first divergent one tells them apart."""
    case = golden("vit")
    full = run(case.graph.with_attributes("ShiftGELU", n=15), case)
    few = {name: full[name] for name in ("blocks.0.mlp.qact1", "blocks.3.mlp.act", "logits_int")}
    [finding] = concluded((case, few))
    assert ("ShiftGELU: n 15",) in finding.settings
    for [label] in finding.settings:
        n = int(label.removeprefix("ShiftGELU: n "))
        again = Interpreter(case.graph.with_attributes("ShiftGELU", n=n), overflow="wrap").run(case.inputs, intermediates=True)
        assert all(np.array_equal(again[name], few[name]) for name in few)


@pytest.mark.parametrize("wrong", ["the floats", "no integers", "NaN"])
def test_of_wrong_floats_at_the_end_it_is_said_what_they_stand_for(wrong: str) -> None:
    case = golden("vit")
    logits = case.tensors["logits"]
    bad = {
        "the floats": np.nextafter(logits, np.float32(99)),
        "no integers": logits + np.float32(0.3) * np.float32(logits[0, 0] / case.tensors["logits_int"][0, 0]),
        "NaN": np.where(logits == logits.max(), np.float32("nan"), logits),
    }[wrong]
    [finding] = concluded((case, {"logits": bad}))
    assert finding.settings == ()
    said = "its integers are right" if wrong == "the floats" else "a float is no integer of its scale"
    assert any(said in sentence for sentence in finding.known)


def test_a_parameter_is_found_from_the_floats_alone() -> None:
    case = golden("vit")
    full = run(case.graph.with_attributes("Shiftmax", half="drop"), case)
    [finding] = concluded((case, {"logits": full["logits"]}))
    assert ("Shiftmax: half drop",) in finding.settings
