"""The graph: immutable, hashable, and refusing what is not well formed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref import Constant, Graph, GraphBuilder, Node, Quant, TensorType, Value
from ivit_ref.errors import GraphError
from ivit_ref.ir import DTYPES
from ivit_ref.testing.graphs import graphs

INT8 = TensorType("int8", (2, 3))
X = Value("x", INT8)
Y = Value("y", TensorType("int8", (3, 2)))
FLIP = Node("Transpose", ("x",), (Y,), {"perm": (1, 0)}, "flip")


def graph_of(
    nodes: Sequence[Node] = (FLIP,),
    inputs: Sequence[Value] = (X,),
    outputs: Sequence[str] = ("y",),
    constants: Sequence[Constant] = (),
    **metadata: str,
) -> Graph:
    return Graph("g", tuple(inputs), tuple(outputs), tuple(constants), tuple(nodes), metadata)


def constant(name: str = "c", data: Any = (1, 2)) -> Constant:
    array = np.array(data, np.int8)
    return Constant(Value(name, TensorType("int8", array.shape)), array)


def named_graph() -> Graph:
    b = GraphBuilder("named")
    x = b.input("x", "int8", ("N", "T", 4))
    y = b.input("y", "int8", ("T", "C"))
    flat = b.node("Reshape", x, name="flat", shape=(0, -1, 2, 2))
    return b.finish([flat, b.node("Transpose", y, name="flip", perm=(1, 0))])


# --- Immutable


@pytest.mark.parametrize(
    ("thing", "attribute"),
    [
        (INT8, "dtype"),
        (Quant((0.5,)), "scale"),
        (X, "name"),
        (constant(), "data"),
        (FLIP, "attributes"),
        (graph_of(), "nodes"),
        (graph_of(), "metadata"),
        (graph_of(), "values"),
    ],
)
def test_fields_cannot_be_set(thing: Any, attribute: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(thing, attribute, getattr(thing, attribute))


@pytest.mark.parametrize("mapping", [FLIP.attributes, graph_of(k="v").metadata, graph_of().values])
def test_mappings_cannot_be_changed(mapping: Any) -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        mapping["perm"] = 1
    assert len(mapping) == len(dict(mapping)) > 0


def test_attributes_are_a_copy_in_alphabetical_order() -> None:
    given: dict[str, Any] = {"stop": 2, "axis": 0, "start": 1}
    node = Node("Slice", ("x",), (Y,), given, "s")
    given["axis"] = 9
    assert list(node.attributes.items()) == [("axis", 0), ("start", 1), ("stop", 2)]


def test_metadata_is_a_copy_in_alphabetical_order() -> None:
    given = {"profile": "qat", "heads": "3"}
    graph = Graph("g", (X,), ("y",), (), (FLIP,), given)
    given["heads"] = "9"
    assert list(graph.metadata.items()) == [("heads", "3"), ("profile", "qat")]


def test_constant_data_is_a_read_only_copy() -> None:
    data = np.array([[1, 2, 3], [4, 5, 6]], np.int8)
    made = Constant(X, data)
    data[0, 0] = 100
    assert made.data.tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(ValueError, match="read-only"):
        made.data[0, 0] = 7


def test_shapes_and_scales_given_as_lists_are_kept_as_tuples() -> None:
    shape: Any = [2, "N"]
    scale: Any = [0.5, 0.25]
    assert (TensorType("int8", shape), Quant(scale, axis=0)) == (TensorType("int8", (2, "N")), Quant((0.5, 0.25), axis=0))
    shape.append(3)
    scale.append(0.125)
    assert hash(TensorType("int8", (2, "N"))) == hash(TensorType("int8", shape[:2]))
    assert hash(Quant((0.5, 0.25), axis=0)) == hash(Quant(scale[:2], axis=0))


def test_a_deep_copy_of_a_graph_is_the_graph() -> None:
    graph = graph_of(constants=(constant(),), note="a")
    assert copy.deepcopy([graph])[0] is graph


def test_constant_data_is_contiguous() -> None:
    data = np.arange(6, dtype=np.int8).reshape(3, 2).T
    made = Constant(X, data)
    assert made.data.flags.c_contiguous
    assert made.data.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_with_metadata_leaves_the_graph_as_it_was() -> None:
    graph = graph_of(source="a", heads="3")
    assert dict(graph.with_metadata(source="b", note="c").metadata) == {"heads": "3", "note": "c", "source": "b"}
    assert dict(graph.metadata) == {"heads": "3", "source": "a"}


# --- S1 to S5


@pytest.mark.parametrize(
    "make",
    [
        lambda: graph_of(inputs=(X, X)),
        lambda: graph_of(inputs=(X, Y)),
        lambda: graph_of(constants=(constant("x"),)),
        lambda: graph_of(constants=(constant("y"),)),
        lambda: graph_of(constants=(constant("c"), constant("c"))),
        lambda: graph_of(nodes=(FLIP, replace(FLIP, name="again"))),
        lambda: graph_of(nodes=(replace(FLIP, outputs=(Y, Y)),)),
    ],
    ids=["inputs", "input and node", "input and constant", "constant and node", "constants", "nodes", "one node"],
)
def test_s1_a_value_has_one_producer(make: Callable[[], Graph]) -> None:
    with pytest.raises(GraphError, match=r"^graph \(S1\): .* but found two of '[cxy]'$"):
        make()


def test_s1_a_name_is_not_empty() -> None:
    with pytest.raises(GraphError, match=r"^graph \(S[15]\): .* but found ''$"):
        graph_of(nodes=(), inputs=(replace(X, name=""),), outputs=("",))


def test_s2_a_node_reads_what_exists() -> None:
    with pytest.raises(GraphError, match=r"^node 'flip' \(S2\): an input must exist before the node, but found 'z'$"):
        graph_of(nodes=(replace(FLIP, inputs=("z",)),))


def test_s2_a_node_reads_what_exists_before_it() -> None:
    back = Node("Transpose", ("y",), (Value("z", INT8),), {"perm": (1, 0)}, "back")
    assert graph_of(nodes=(FLIP, back), outputs=("z",)).values["z"].type == INT8
    with pytest.raises(GraphError, match=r"^node 'back' \(S2\): .* but found 'y'$"):
        graph_of(nodes=(back, FLIP), outputs=("z",))


def test_s2_a_node_does_not_read_itself() -> None:
    with pytest.raises(GraphError, match=r"^node 'flip' \(S2\): .* but found 'y'$"):
        graph_of(nodes=(replace(FLIP, inputs=("y",)),))


@pytest.mark.parametrize("name", ["flip", ""])
def test_s3_names_of_nodes_are_unique_and_not_empty(name: str) -> None:
    other = replace(FLIP, name=name, outputs=(replace(Y, name="z"),))
    with pytest.raises(GraphError, match=rf"^graph \(S3\): .* but found '{name}' again$"):
        graph_of(nodes=(FLIP, other))


def test_s4_every_output_exists() -> None:
    with pytest.raises(GraphError, match=r"^graph \(S4\): an output must be a value of the graph, but found 'flip'$"):
        graph_of(outputs=("y", "flip"))


def test_s4_there_is_an_output() -> None:
    with pytest.raises(GraphError, match=r"^graph \(S4\): there must be an output, but found none$"):
        graph_of(outputs=())


UNPRINTABLE = ["a b", "a\tb", "a\nb", " ", "a\u00a0b", "a\u2028b", "a\x00b", "a\x7f", "\u200b"]


@pytest.mark.parametrize("name", UNPRINTABLE)
def test_s5_a_name_of_a_value_is_printable_and_without_white_space(name: str) -> None:
    with pytest.raises(GraphError, match=r"^graph \(S5\): [^\n]* but found '[^\n]*'$"):
        graph_of(inputs=(X, replace(X, name=name)))


@pytest.mark.parametrize("name", UNPRINTABLE)
def test_s5_a_name_of_a_node_is_printable_and_without_white_space(name: str) -> None:
    """Messages and the text of a graph name nodes, each within one line."""
    with pytest.raises(GraphError, match=r"\(S5\): [^\n]* but found '[^\n]*'$"):
        graph_of(nodes=(replace(FLIP, name=name),))


@pytest.mark.parametrize("name", ["blocks.0.attn/qkv:0", "größe", "数", "0"])
def test_s5_a_name_may_be_anything_else(name: str) -> None:
    assert graph_of(inputs=(X, replace(X, name=name))).values[name].type == INT8


# --- Types, quants, constants


@pytest.mark.parametrize("dtype", DTYPES)
def test_type_takes_each_dtype_and_prints(dtype: str) -> None:
    assert str(TensorType(dtype, ("N", 17, 64))) == f"{dtype}[N,17,64]"
    assert str(TensorType(dtype, ())) == f"{dtype}[]"


@pytest.mark.parametrize("dtype", ["float64", "float16", "uint32", "uint64", "int4", "INT8", "", "object"])
def test_type_refuses_other_dtypes(dtype: str) -> None:
    with pytest.raises(GraphError, match=rf"^type: the dtype must be one of bool, int8, .*, but found '{dtype}'$"):
        TensorType(dtype, (1,))


@pytest.mark.parametrize("dim", [0, -1, 1.0, True, None, "", "2N", "N-1", "a b", np.int64(3)])
def test_type_refuses_dimensions_that_are_neither_positive_nor_named(dim: Any) -> None:
    with pytest.raises(GraphError, match=r"^type: a dimension must be a positive integer or a name, but found "):
        TensorType("int8", (1, dim))


def test_type_bind_replaces_names_everywhere() -> None:
    bound = TensorType("int8", ("N", 3, "M", "N")).bind({"N": 5, "K": 7})
    assert bound == TensorType("int8", (5, 3, "M", 5))


@pytest.mark.parametrize("scale", [0.0, -0.0, float("nan"), float("inf"), -float("inf"), 0.1, 1e-50, 1 + 2.0**-24])
def test_quant_scales_are_finite_float32_other_than_zero(scale: float) -> None:
    with pytest.raises(GraphError, match=r"^quant: a scale must be a finite float32 other than zero \(.*\), but found "):
        Quant((0.5, scale), axis=0)


def test_quant_refuses_a_scale_beyond_float32() -> None:
    with pytest.raises(GraphError, match=r"^quant: a scale must be a finite float32 .*, but found 1e\+300$"):
        Quant((1e300,))


@pytest.mark.parametrize("scale", [2.0**-149, -(2.0**-149), -0.5, float(np.float32(0.1)), (2 - 2.0**-23) * 2.0**127])
def test_quant_takes_every_other_float32(scale: float) -> None:
    assert Quant((scale,)).scale == (scale,)


def test_quant_has_one_scale_or_an_axis() -> None:
    assert Quant((0.5, 0.25), axis=1).axis == 1
    assert Quant((0.5,), axis=0).axis == 0
    with pytest.raises(GraphError, match=r"^quant: without an axis there must be one scale, but found 2$"):
        Quant((0.5, 0.25))
    for axis in (None, 0):
        with pytest.raises(GraphError, match=r"^quant: without an axis there must be one scale, but found 0$"):
            Quant((), axis=axis)


def test_quant_prints() -> None:
    assert str(Quant((0.5,))) == "scale=0.5"
    assert str(Quant((2.0**-15,), 3)) == "scale=3.05176e-05 zero_point=3"
    assert str(Quant((0.5, 0.25), -1, axis=1)) == "scale=[2 along axis 1] zero_point=-1"


@pytest.mark.parametrize("data", [np.zeros((2, 3), np.int16), np.zeros((3, 2), np.int8), np.zeros(6, np.int8)])
def test_constant_data_has_the_type_of_its_value(data: Any) -> None:
    found = rf"{data.dtype}\[{', '.join(map(str, data.shape))}\]"
    with pytest.raises(GraphError, match=rf"^constant 'x': the array must be int8\[2,3\], but found {found}$"):
        Constant(X, data)


def test_constant_has_no_named_dimension() -> None:
    with pytest.raises(GraphError, match=r"^constant 'x': the array must be int8\[N,3\]"):
        Constant(Value("x", TensorType("int8", ("N", 3))), np.zeros((2, 3), np.int8))


# --- Equality and hash


def test_equal_graphs_have_equal_hashes() -> None:
    first, second = (graph_of(constants=(constant(),), note="a") for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert hash(first.constants[0]) == hash(second.constants[0])


@given(graphs())
def test_a_copy_of_a_drawn_graph_is_equal(graph: Graph) -> None:
    constants = tuple(Constant(c.value, c.data.copy()) for c in graph.constants)
    nodes = tuple(replace(n, attributes=dict(n.attributes)) for n in graph.nodes)
    other = replace(graph, constants=constants, nodes=nodes, metadata=dict(graph.metadata))
    assert other == graph
    assert hash(other) == hash(graph)
    assert {other: 1}[graph] == 1


@pytest.mark.parametrize(
    "other",
    [
        graph_of(constants=(constant(data=(1, 3)),), note="a"),
        graph_of(constants=(constant("d"),), note="a"),
        graph_of(constants=(constant(),), note="b"),
        graph_of(constants=(constant(),)),
        graph_of(),
        graph_of(constants=(constant(),), outputs=("x",), note="a"),
        graph_of(constants=(constant(),), nodes=(replace(FLIP, name="f"),), note="a"),
        graph_of(constants=(constant(),), inputs=(replace(X, quant=Quant((0.5,))),), note="a"),
        replace(graph_of(constants=(constant(),), note="a"), name="h"),
    ],
)
def test_graphs_that_differ_are_not_equal(other: Graph) -> None:
    assert graph_of(constants=(constant(),), note="a") != other


def test_nodes_that_differ_in_an_attribute_are_not_equal() -> None:
    assert replace(FLIP, attributes={"perm": (1, 0)}) == FLIP
    assert replace(FLIP, attributes={"perm": (0, 1)}) != FLIP


def test_a_constant_is_not_equal_to_other_things() -> None:
    assert constant() == constant()
    assert constant() != "c"
    assert constant() != constant().value


# --- What a graph knows


def test_values_are_inputs_constants_and_outputs_of_nodes() -> None:
    graph = graph_of(constants=(constant(),))
    assert list(graph.values.items()) == [("x", X), ("c", constant().value), ("y", Y)]


def test_producer_is_the_node_that_makes_a_value() -> None:
    graph = graph_of(constants=(constant(),))
    assert graph.producer("y") is graph.nodes[0]
    assert [graph.producer(name) for name in ("x", "c", "z")] == [None, None, None]


def test_output_of_a_node_is_its_first() -> None:
    assert FLIP.output is Y


def test_dims_are_the_names_in_order_of_appearance() -> None:
    assert named_graph().dims == ("N", "T", "C")
    assert graph_of().dims == ()


# --- Binding


def test_bind_gives_every_value_its_lengths() -> None:
    bound = named_graph().bind(N=5, T=2)
    assert bound.dims == ("C",)
    shapes = {name: value.type.shape for name, value in bound.values.items()}
    assert shapes == {"x": (5, 2, 4), "y": (2, "C"), "flat": (5, 2, 2, 2), "flip": ("C", 2)}


def test_bind_in_two_steps_is_bind_in_one() -> None:
    assert named_graph().bind(C=1).bind(T=3, N=2) == named_graph().bind(N=2, T=3, C=1)


def test_bind_of_nothing_is_the_same_graph() -> None:
    assert named_graph().bind() == named_graph()


def test_bind_refuses_names_that_are_not_there() -> None:
    with pytest.raises(GraphError, match=r"^bind: a dimension must be one of N, T, C, but found 'M'$"):
        named_graph().bind(N=1, M=2)
    with pytest.raises(GraphError, match=r"^bind: a dimension must be one of none, but found 'N'$"):
        graph_of().bind(N=1)


def test_bind_refuses_another_name() -> None:
    with pytest.raises(GraphError, match=r"^bind: N must be a length, but found 'M'$"):
        named_graph().bind(N="M")  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [0, -1, 1.5, True])
def test_bind_refuses_what_is_no_length(length: Any) -> None:
    with pytest.raises(GraphError, match=r"^type: a dimension must be a positive integer or a name, but found "):
        named_graph().bind(N=length)


@given(graphs(), st.integers(1, 4))
def test_bind_of_a_drawn_graph_binds_every_type_and_nothing_else(graph: Graph, length: int) -> None:
    bound = graph.bind(**dict.fromkeys(graph.dims, length))
    assert bound.dims == ()
    for name, value in graph.values.items():
        assert bound.values[name] == replace(value, type=value.type.bind({"N": length}))
    assert [n.attributes for n in bound.nodes] == [n.attributes for n in graph.nodes]
    assert bound.metadata == graph.metadata
