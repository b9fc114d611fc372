"""A graph as text and as facts: one line a node, nothing rounded in the facts, dyadic numbers that are what they say."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from ivit_ref import Graph, GraphBuilder, Node, Quant
from ivit_ref.testing.graphs import graphs
from ivit_ref.text import SHOWN, format_attributes, format_graph, format_node, graph_facts

DYADICS = {"dyadic": ("multiplier", "shift"), "a_dyadic": ("a_multiplier", "a_shift"), "b_dyadic": ("b_multiplier", "b_shift")}


def small() -> Graph:
    """A requantization by 3/2 and -3/4, and a sum of two branches, by 1/2 and 3."""
    b = GraphBuilder("small", "qat")
    x = b.input("x", "int8", ("N", 2), Quant((0.75, -0.375), axis=1))
    y = b.node("Requantize", x, name="y", quant=Quant((0.5,)), zero_point=0, dtype="int16")
    c = b.constant("c", np.array([1, 2], np.int16), Quant((3.0,)))
    facts: dict[str, Any] = {"rounds": "each", "zero_point": 0, "dtype": "int8"}
    z = b.node("RequantizeAdd", y, c, name="add", output="z", quant=Quant((1.0,)), **facts)
    return b.finish([z], {"source": "here"})


def shown_dyadics(node: Node) -> dict[str, list[Fraction]]:
    """The dyadic numbers in a node's line, as exact fractions."""
    found = re.findall(r"(\w*dyadic)=(?:\[(.*?)\]|(\S+))", format_node(node))
    numbers = {key: re.findall(r"(-?\d+)/2\^(\d+)", several or single) for key, several, single in found}
    return {key: [Fraction(int(m), 2 ** int(s)) for m, s in pairs] for key, pairs in numbers.items()}


def dyadics(node: Node) -> dict[str, list[Fraction]]:
    """The same from the attributes, all of them."""
    result = {}
    for key, names in DYADICS.items():
        if set(names) <= set(node.attributes):
            both = (node.attributes[name] for name in names)
            multipliers, shifts = (a if isinstance(a, tuple) else (a,) for a in both)
            result[key] = [Fraction(int(m), 2 ** int(s)) for m, s in zip(multipliers, shifts, strict=True)]
    return result


def test_the_text_of_a_small_graph() -> None:
    assert format_graph(small()).splitlines() == [
        "graph small",
        "  profile = qat",
        "  source = here",
        "input x: int8[N,2] scale=[2 along axis 1]",
        "constant c: int16[2] scale=3",
        "y: int16[N,2] scale=0.5 = Requantize(x) axis=1 dtype=int16 dyadic=[1610612736/2^30, -1610612736/2^31]"
        " rounding=half_even zero_point=0",
        "z: int8[N,2] scale=1 = RequantizeAdd(y, c) name=add a_dyadic=1073741824/2^31 axis=0 b_dyadic=1610612736/2^29"
        " dtype=int8 rounding=half_even rounds=each zero_point=0",
        "output z",
    ]


def test_a_dyadic_number_is_the_ratio_of_its_scales() -> None:
    first, second = small().nodes
    assert shown_dyadics(first) == {"dyadic": [Fraction(3, 4) / Fraction(1, 2), Fraction(-3, 8) / Fraction(1, 2)]}
    assert shown_dyadics(second) == {"a_dyadic": [Fraction(1, 2)], "b_dyadic": [Fraction(3)]}


@given(graphs())
def test_every_node_has_one_line_with_its_type_and_scale(graph: Graph) -> None:
    lines = format_graph(graph).splitlines()
    heads = [
        "graph ",
        *("  " for _ in graph.metadata),
        *("input " for _ in graph.inputs),
        *("constant " for _ in graph.constants),
    ]
    assert len(lines) == len(heads) + len(graph.nodes) + len(graph.outputs)
    assert all(line.startswith(head) for line, head in zip(lines, heads, strict=False))
    for line, node in zip(lines[len(heads) :], graph.nodes, strict=False):
        out = node.output
        scale = f" {out.quant}" if out.quant else ""
        assert line.startswith(f"{out.name}: {out.type}{scale} = {node.op}({', '.join(node.inputs)})")
        assert line == format_node(node)
    assert lines[len(lines) - len(graph.outputs) :] == [f"output {name}" for name in graph.outputs]


@given(graphs())
def test_shown_dyadics_are_those_of_the_attributes(graph: Graph) -> None:
    for node in graph.nodes:
        assert shown_dyadics(node) == {key: numbers[:SHOWN] for key, numbers in dyadics(node).items()}


@given(graphs())
def test_every_attribute_is_shown(graph: Graph) -> None:
    for node in graph.nodes:
        shown = re.findall(r"(\w+)=", format_attributes(node.attributes))
        inside = {name for key in dyadics(node) for name in DYADICS[key]}
        assert sorted(shown) == sorted([*(set(node.attributes) - inside), *dyadics(node)])


@given(graphs())
def test_facts_round_through_json(graph: Graph) -> None:
    facts = graph_facts(graph)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


@given(graphs())
def test_facts_hold_every_number_in_full(graph: Graph) -> None:
    facts = json.loads(json.dumps(graph_facts(graph)))
    assert (facts["name"], facts["metadata"], facts["outputs"]) == (graph.name, dict(graph.metadata), list(graph.outputs))
    described = [*facts["inputs"], *facts["constants"], *(node["output"] for node in facts["nodes"])]
    assert [v["name"] for v in described] == list(graph.values)
    for value in described:
        found = graph.values[value["name"]]
        assert (value["dtype"], tuple(value["shape"])) == (found.type.dtype, found.type.shape)
        q = value["quant"]
        assert found.quant == (None if q is None else Quant(tuple(q["scale"]), q["zero_point"], q["axis"]))
    for node, known in zip(facts["nodes"], graph.nodes, strict=True):
        assert (node["name"], node["op"], tuple(node["inputs"])) == (known.name, known.op, known.inputs)
        attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in node["attributes"].items()}
        assert attributes == known.attributes


@given(graphs())
def test_facts_tell_the_real_value_of_each_dyadic_number(graph: Graph) -> None:
    for facts, node in zip(graph_facts(graph)["nodes"], graph.nodes, strict=True):
        reals = {key: facts[key] for key in facts if key.endswith("real")}
        assert reals == {key.replace("dyadic", "real"): [float(f) for f in numbers] for key, numbers in dyadics(node).items()}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ((1, 2, 3, 4), "[1, 2, 3, 4]"),
        ((1, 2, 3, 4, 5), "[1, 2, 3, 4, 1 more]"),
        (tuple(range(104)), "[0, 1, 2, 3, 100 more]"),
        ((7,), "7"),
        ((), "[]"),
        (0.1, "0.1"),
        (1 / 3, "0.333333333"),
        (True, "True"),
        ("floor", "floor"),
        (-5, "-5"),
        ((0.5, -0.25), "[0.5, -0.25]"),
    ],
)
def test_attributes_are_shown_short(value: Any, shown: str) -> None:
    assert format_attributes({"key": value}) == f"key={shown}"


def test_a_long_list_of_dyadic_numbers_is_cut() -> None:
    attributes = {"multiplier": (1, 2, 3, 4, -5, 6), "shift": (0, 1, 2, 3, 4, 5)}
    assert format_attributes(attributes) == "dyadic=[1/2^0, 2/2^1, 3/2^2, 4/2^3, 2 more]"


def test_the_name_of_a_node_is_shown_where_it_is_not_that_of_its_output() -> None:
    first, second = small().nodes
    assert " name=" not in format_node(first)
    assert " name=add " in format_node(second)


def test_one_dyadic_number_is_shown_as_one() -> None:
    """That of L1LayerNorm."""
    assert format_attributes({"multiplier": 3, "shift": 4}) == "dyadic=3/2^4"


def test_a_multiplier_without_a_right_shift_is_a_number() -> None:
    """That of TFLiteSoftmax: ``multiplier * 2**left_shift``."""
    attributes = {"multiplier": 2**30, "left_shift": 5, "diff_min": -124, "dtype": "int8"}
    assert format_attributes(attributes) == "multiplier=1073741824 left_shift=5 diff_min=-124 dtype=int8"
