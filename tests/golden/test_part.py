"""A part of a graph: the same nodes on the same tensors give the same integers as in the whole."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import ivit_ref
from ivit_ref import Graph, GraphBuilder, Quant
from ivit_ref.errors import GraphError
from ivit_ref.golden.case import evaluated
from ivit_ref.ir import Array
from ivit_ref.part import matching, part
from ivit_ref.verify import verify
from tests.golden.building import DIGITS, DIGITS_IMAGES, TINY_X, tiny_graph


@cache
def digits() -> tuple[Graph, dict[str, Array]]:
    """The digits ViT for two images, and every tensor of its run."""
    graph = ivit_ref.load(DIGITS, N=2)
    with np.load(DIGITS_IMAGES) as archive:
        return graph, evaluated(graph, {"image": archive["images"][:2]})[0]


def names(graph: Graph, pattern: str) -> list[str]:
    return [node.name for node in matching(graph, pattern)]


@pytest.mark.parametrize(
    "pattern", ["*", "blocks.0.*", "blocks.3.attn.*", "patch_embed*", "*norm1", "blocks.[12].mlp.*", "head*", "blocks.0.*qkv"]
)
def test_a_part_gives_the_integers_of_the_whole(pattern: str) -> None:
    graph, values = digits()
    cut = part(graph, matching(graph, pattern), "cut")
    verify(cut)
    found = evaluated(cut, {v.name: values[v.name] for v in cut.inputs})[0]
    assert {node.output.name for node in cut.nodes} <= set(found)
    for name, array in found.items():
        np.testing.assert_array_equal(array, values[name], strict=True)


def test_every_single_node_is_a_part() -> None:
    graph, values = digits()
    for node in graph.nodes:
        cut = part(graph, [node], node.name)
        verify(cut)
        assert cut.nodes == (node,)
        assert cut.outputs == (node.output.name,)
        constants = [c.value.name for c in cut.constants]
        assert sorted([v.name for v in cut.inputs] + constants) == sorted(set(node.inputs))
        made = evaluated(cut, {v.name: values[v.name] for v in cut.inputs})[0][node.output.name]
        np.testing.assert_array_equal(made, values[node.output.name], strict=True)


def test_the_ends_of_a_block_are_what_crosses_them() -> None:
    """What others read is an output, what is read and not made is an input, once, and constants stay constants."""
    graph, _ = digits()
    chosen = set(names(graph, "blocks.1.*"))
    cut = part(graph, matching(graph, "blocks.1.*"), "block")
    made = {n.output.name for n in graph.nodes if n.name in chosen}
    constants = {c.value.name for c in graph.constants}
    read = {name for n in graph.nodes if n.name in chosen for name in n.inputs}
    elsewhere = {name for n in graph.nodes if n.name not in chosen for name in n.inputs} | set(graph.outputs)
    assert [v.name for v in cut.inputs] == list(dict.fromkeys(v.name for v in cut.inputs))
    assert {v.name for v in cut.inputs} == read - made - constants
    assert {c.value.name for c in cut.constants} == read & constants
    assert set(cut.outputs) == made & elsewhere != set()


def test_the_whole_is_a_part_of_itself() -> None:
    graph, _ = digits()
    cut = part(graph, graph.nodes, graph.name)
    assert (cut.inputs, cut.nodes) == (graph.inputs, graph.nodes)
    assert set(cut.outputs) == set(graph.outputs)
    assert {c.value.name for c in cut.constants} == {c.value.name for c in graph.constants}


def test_nodes_come_in_the_order_of_the_graph_and_are_matched_by_case() -> None:
    graph, _ = digits()
    assert names(graph, "blocks.0.*") == [n.name for n in graph.nodes if n.name.startswith("blocks.0.")]
    assert names(graph, "*") == [n.name for n in graph.nodes]
    with pytest.raises(GraphError):
        matching(graph, "BLOCKS.0.*")


@pytest.mark.parametrize("pattern", ["", "blocks.9.*", "blocks.0", "[", "fc*"])
def test_a_pattern_that_matches_no_node_is_refused_in_one_line(pattern: str) -> None:
    with pytest.raises(GraphError) as caught:
        matching(digits()[0], pattern)
    assert repr(pattern) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_output_of_the_graph_that_the_part_also_reads_stays_an_output() -> None:
    """Both results of a part are outputs where the graph gives out the first and only the part reads it further."""
    b = GraphBuilder("two", profile="qat")
    x = b.input("x", "int32", ("N", 2), Quant((0.25,)))
    first = b.node("Requantize", x, name="first", dtype="int8", quant=Quant((0.5,)))
    graph = b.finish([first, b.node("Requantize", first, name="second", dtype="int8", quant=Quant((1.0,)))]).bind(N=1)
    assert part(graph, graph.nodes, "both").outputs == ("first", "second")
    assert part(graph, graph.nodes[:1], "one").outputs == ("first",)
    assert [v.name for v in part(graph, graph.nodes[1:], "other").inputs] == ["first"]


def test_a_node_that_reads_constants_alone_is_given_them() -> None:
    """A graph needs an input, so what was a constant is one."""
    b = GraphBuilder("fixed", profile="qat")
    x = b.input("x", "int8", ("N", 2), Quant((0.5,)))
    table = np.array([[1000, -7], [6, 3]], np.int32)
    fixed = b.node("Requantize", b.constant("table", table, Quant((0.125,))), name="fixed", dtype="int8", quant=Quant((0.5,)))
    graph = b.finish([b.node("MatMul", x, fixed, name="product", alpha=1.0)]).bind(N=1)
    cut = part(graph, matching(graph, "fixed"), "cut")
    verify(cut)
    assert [v.name for v in cut.inputs] == ["table"]
    assert cut.constants == ()
    quarters = [[min(round(int(v) / 4), 127) for v in row] for row in table]
    assert evaluated(cut, {"table": table})[0]["fixed"].tolist() == quarters == [[127, -2], [2, 1]]
    found = evaluated(graph, {"x": np.array([[1, 1]], np.int8)})[0]
    assert found["product"].tolist() == [[129, -1]]


def test_a_part_keeps_its_inner_tensors_inner() -> None:
    graph = tiny_graph().bind(N=2)
    cut = part(graph, matching(graph, "fc*"), "cut")
    assert cut.outputs == ("fc.out",)
    assert part(graph, matching(graph, "fc"), "cut").outputs == ("fc",)
    assert evaluated(cut, {"x": TINY_X})[0].keys() == {"x", "weight", "bias", "fc", "fc.out"}
