"""``explain`` finds every single parameter and every published profile from an operator's vectors alone.

What the backends here give comes from the operators' own functions with other attributes, and never from ``compare.variants``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from ivit_ref import ops, scales
from ivit_ref.compare.explain import Evidence, evidence
from ivit_ref.compare.explain import explain as explain_both
from ivit_ref.compare.settings import profiles, singles
from ivit_ref.errors import IvitError
from ivit_ref.events import Context
from ivit_ref.golden.case import Case
from ivit_ref.golden.make import suite_cases
from ivit_ref.integers import ROUNDINGS
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY

EXPONENTIAL: dict[str, tuple[Any, ...]] = {
    "n": (12, 14, 15, 16, 17, 20, 23, 24),
    "clamp": (True, False),
    "half": ("keep", "drop"),
    "quotient": ("floor", "truncate"),
    "exp_bits": (32, 64),
}
DIVISION: dict[str, tuple[Any, ...]] = {"numerator": (2**31, 2**31 - 1, 2**30), "product_bits": (32, 64)}
FLIPS: dict[str, dict[str, tuple[Any, ...]]] = {
    "ShiftExp": EXPONENTIAL,
    "IntDiv": {**DIVISION, "out_bits": (7, 8, 9, 15, 16)},
    "IntSqrt": {"start": (0, 2**15, 2**16, 2**17), "steps": (5, 9, 10, 11)},
    "Shiftmax": {**EXPONENTIAL, **DIVISION, "sum": ("exact", "clamped", "int32"), "out_bits": (7, 8, 9, 15, 16)},
    "ShiftGELU": {
        **EXPONENTIAL,
        **DIVISION,
        "sum": ("exact", "clamped", "int32"),
        "out_bits": (7, 8, 9),
        "sigmoid": ("folded", "shifts"),
    },
    "ILayerNorm": {
        "mean_rounding": ("half_even", "half_away", "truncate"),
        "mean_bits": (16, 64),
        "variance_bits": (32, 64),
        "sqrt_start": (0, 2**15, 2**16, 2**17),
        "sqrt_steps": (5, 9, 10, 11),
        "product_bits": (32, 64),
        "halving": ("floor", "truncate"),
    },
    "ReduceMean": {"rounding": ("half_even", "half_away", "truncate")},
    "Requantize": {"rounding": ROUNDINGS},
    "RequantizeAdd": {"rounding": ROUNDINGS},
}
CHANGES = [(op, name, value) for op, names in FLIPS.items() for name, values in names.items() for value in values]

Attributes = dict[str, Any]


@cache
def cases(op: str, profile: str) -> list[Case]:
    return list(suite_cases(op, [profile], 24, 0))


def run(op: str, case: Case, attributes: Attributes) -> Any:
    function = getattr(ops, REGISTRY[op].kernel.__name__)
    return function(*(case.tensors[n] for n in case.graph.nodes[0].inputs), **attributes, ctx=Context("wrap"))


def found_in(op: str, profile: str, changed: Any) -> list[Evidence]:
    """The cases that a backend with changed attributes gets wrong."""
    found = []
    for case in cases(op, profile):
        node = case.graph.nodes[0]
        try:
            got = run(op, case, changed(case, dict(node.attributes)))
        except IvitError:
            continue
        if (got != case.tensors["result"]).any():
            arrays = [case.tensors[name] for name in node.inputs]
            found.append(evidence(case.graph, node, arrays, np.asarray(got, np.int64), case.id))
    return found


def explain(found: list[Evidence]) -> list[tuple[str, ...]]:
    return explain_both(found)[0]


def settings_of(e: Evidence) -> dict[str, Attributes]:
    return {s.label: dict(s.attributes) for s in (*profiles(e.site), *singles(e.site)) if not s.choices}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("op", "name", "value"), CHANGES, ids=lambda v: str(v))
def test_a_single_attribute_is_found(op: str, name: str, value: Any, profile: str) -> None:
    def changed(case: Case, attributes: Attributes) -> Attributes:
        wide = name == "out_bits" and "dtype" in attributes and value > 8 and attributes["dtype"] == "int8"
        return {**attributes, name: value, **({"dtype": "int16"} if wide else {})}

    found = found_in(op, profile, changed)
    if not found:
        return  # it has that value, or no vector can tell: the mutation score says that those are equivalent
    known = settings_of(found[0])
    labels = [names for names in explain(found) if len(names) == 1]
    assert any(known.get(label, {}).get(name) == value for [label] in labels), labels


def test_almost_every_flip_is_seen_by_some_vector() -> None:
    """So that the test above cannot pass by finding nothing."""
    seen = [bool(found_in(op, "qat", lambda c, a, n=n, v=v: {**a, n: v})) for op, n, v in CHANGES]
    assert sum(seen) > 0.6 * len(CHANGES)


@pytest.mark.parametrize("golden", PROFILES)
@pytest.mark.parametrize("theirs", PROFILES)
@pytest.mark.parametrize("op", FLIPS)
def test_a_published_profile_is_found(op: str, golden: str, theirs: str) -> None:
    def changed(case: Case, attributes: Attributes) -> Attributes:
        quants = [case.graph.values[name].quant for name in case.graph.nodes[0].inputs]
        return {**attributes, **scales.follow_from_profile(op, PROFILES[theirs], attributes, quants)}

    found = found_in(op, golden, changed)
    assert (
        bool(found)
        or op not in ("ShiftExp", "Shiftmax", "ShiftGELU")
        or {golden, theirs} == {"qat", "ideal"}
        or golden == theirs
    )
    if found:
        assert (f"profile {theirs}",) in explain(found)


@pytest.mark.parametrize("op", ["ShiftExp", "Shiftmax", "ShiftGELU"])
@pytest.mark.parametrize("delta", [-1, 1])
def test_i0_that_is_off_by_one_is_found(op: str, delta: int) -> None:
    found = found_in(op, "qat", lambda case, attributes: {**attributes, "i0": max(1, attributes["i0"] + delta)})
    first = found[0].site.attributes["i0"]
    known = settings_of(found[0])
    assert any(known[label]["i0"] == first + delta for [label] in explain(found[:1]) if "i0" in known.get(label, {}))


def test_i0_from_a_scale_a_power_of_two_off_is_found() -> None:
    found = found_in("Shiftmax", "tvm", lambda case, a: {**a, "i0": 1 + int(1 / (4 * _scale(case)))})
    assert any("2**2 times as large" in label for [label] in explain(found))


def _scale(case: Case) -> float:
    quant = case.graph.inputs[0].quant
    assert quant is not None
    return quant.scale[0]


def test_two_parameters_are_found_where_no_single_one_explains() -> None:
    found = found_in("Shiftmax", "qat", lambda case, a: {**a, "n": 13, "half": "drop"})
    labels = explain(found)
    assert labels
    assert all(len(names) == 2 for names in labels)
    assert {"n 13", "half drop"} in [set(names) for names in labels]


def test_a_profile_with_one_parameter_changed_is_found() -> None:
    def changed(case: Case, attributes: Attributes) -> Attributes:
        return {**PROFILES["tvm"].shiftmax(_scale(case)), "half": "keep"}

    assert ("profile tvm", "half keep") in explain(found_in("Shiftmax", "qat", changed)[:3])


def test_noise_is_explained_by_nothing() -> None:
    def noisy(case: Case) -> Evidence:
        node = case.graph.nodes[0]
        noise = np.random.PCG64(1).random_raw(case.tensors["result"].size) % np.uint64(3)
        got = np.asarray(case.tensors["result"], np.int64) + np.asarray(noise, np.int64).reshape(case.tensors["result"].shape)
        return evidence(case.graph, node, [case.tensors[n] for n in node.inputs], got)

    for op in ("Shiftmax", "ILayerNorm", "Requantize"):
        assert explain([noisy(case) for case in cases(op, "qat")[:8]]) == []


def test_one_wrong_case_is_enough_to_refute_a_setting() -> None:
    right = found_in("Shiftmax", "qat", lambda case, a: {**a, "half": "drop"})
    assert ("half drop",) in explain(right)
    broken = right[-1].got.copy()
    broken.flat[0] += 1
    last = Evidence("broken", right[-1].site, right[-1].arrays, broken)
    assert ("half drop",) not in explain([*right[:-1], last])
