"""The rules of the verifier, each broken on its own; and the rewrites, which must never break one."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref import Constant, Graph, GraphBuilder, Node, Quant, TensorType, Value, run, verify
from ivit_ref.errors import ConstraintError, GraphError
from ivit_ref.ir import Array
from ivit_ref.profiles import PROFILES, TVM
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.graphs import graphs, runs
from ivit_ref.testing.graphs import inputs as inputs_of

PROFILE_NAMES = sorted(PROFILES)


def attention(profile: str = "qat") -> Graph:
    """From an image to float: a linear layer with scales per channel, Shiftmax, and a product that reads it."""
    b = GraphBuilder("attention", profile)
    image = b.input("image", "float32", ("N", 3, 4))
    x = b.node("Quantize", image, name="quantize", scale=0.5, zero_point=0, dtype="int8", division="reciprocal")
    weight = b.constant("weight", np.arange(-4, 4, dtype=np.int8).reshape(2, 4), Quant((0.5, 0.25), axis=0))
    bias = b.constant("bias", np.array([5, -7], np.int32), Quant((0.25, 0.125), axis=0))
    x = b.node("Linear", x, weight, bias, name="linear")
    x = b.node("Requantize", x, name="logits", quant=Quant((0.25,)), dtype="int8")
    x = b.node("Shiftmax", x, name="softmax")
    values = b.constant("values", np.array([[3, -5], [7, 9]], np.int8), Quant((0.75,)))
    x = b.node("MatMul", x, values, name="weighted", alpha=1.0)
    x = b.node("Requantize", x, name="requantize", quant=Quant((0.5,)), dtype="int8")
    return b.finish([b.node("Dequantize", x, name="dequantize", output="result")])


def changed(graph: Graph, name: str, **changes: Any) -> Graph:
    """The graph with the node of that name changed: ``attributes`` and ``quant`` and ``type`` of its output, or any field."""
    return replace(graph, nodes=tuple(_changed(n, **changes) if n.name == name else n for n in graph.nodes))


def _changed(node: Node, *, attributes: dict[str, Any] | None = None, **changes: Any) -> Node:
    output = {key: changes.pop(key) for key in ("quant", "type") if key in changes}
    node = replace(node, attributes={**node.attributes, **(attributes or {})}, **changes)
    return replace(node, outputs=(replace(node.output, **output),)) if output else node


def with_constant(graph: Graph, name: str, quant: Quant) -> Graph:
    """The graph with another meaning of one constant."""
    made = tuple(Constant(replace(c.value, quant=quant), c.data) if c.value.name == name else c for c in graph.constants)
    return replace(graph, constants=made)


def refused(graph: Graph, message: str) -> None:
    """The graph is refused, in one line that matches."""
    with pytest.raises(GraphError, match=message) as caught:
        verify(graph)
    assert "\n" not in str(caught.value)


# --- V1: scales fit the value


def test_v1_scales_are_as_many_as_the_axis_is_long() -> None:
    graph = with_constant(attention(), "weight", Quant((0.5, 0.25, 0.5), axis=0))
    refused(graph, r"^value 'weight' \(V1\): the scales must fit int8\[2,4\], but found 3 along axis 0$")


@pytest.mark.parametrize("axis", [1, -1])
def test_v1_scales_go_along_an_axis_of_the_value(axis: int) -> None:
    graph = with_constant(attention(), "bias", Quant((0.25, 0.125), axis=axis))
    refused(graph, rf"^value 'bias' \(V1\): the scales must fit int32\[2\], but found 2 along axis {axis}$")


def test_v1_scales_do_not_go_along_a_named_axis() -> None:
    b = GraphBuilder("g")
    x = b.input("x", "int8", ("N", 2), Quant((0.5,)))
    graph = b.finish([b.node("Transpose", x, name="flip", perm=(1, 0))])
    graph = replace(graph, inputs=(replace(x, quant=Quant((0.5,), axis=0)),))
    refused(graph, r"^value 'x' \(V1\): the scales must fit int8\[N,2\], but found 1 along axis 0$")


@pytest.mark.parametrize(("dtype", "zero_point"), [("int8", 128), ("int8", -129), ("uint8", -1), ("int16", 2**15)])
def test_v1_the_zero_point_is_a_value_of_the_dtype(dtype: str, zero_point: int) -> None:
    b = GraphBuilder("g")
    x = b.input("x", dtype, (2, 3), Quant((0.5,)))
    graph = b.finish([b.node("Transpose", x, name="flip", perm=(1, 0))])
    meant = Quant((0.5,), zero_point)
    graph = changed(replace(graph, inputs=(replace(x, quant=meant),)), "flip", quant=meant)
    refused(graph, rf"^value 'x' \(V1\): the zero point must be {dtype}, but found {zero_point}$")


@pytest.mark.parametrize(("dtype", "zero_point"), [("int8", 127), ("int8", -128), ("uint8", 255), ("int16", -(2**15))])
def test_v1_the_zero_point_may_be_any_value_of_the_dtype(dtype: str, zero_point: int) -> None:
    b = GraphBuilder("g")
    x = b.input("x", dtype, (2, 3), Quant((0.5,), zero_point))
    assert b.finish([b.node("Transpose", x, name="flip", perm=(1, 0))]).values["flip"].quant == x.quant


def test_a_builder_finishes_with_the_verifier() -> None:
    b = GraphBuilder("g")
    x = b.input("x", "int8", (2, 3), Quant((0.5,), 300))
    y = b.node("Transpose", x, name="flip", perm=(1, 0))
    with pytest.raises(GraphError, match=r"^value 'x' \(V1\): the zero point must be int8, but found 300$"):
        b.finish([y])


# --- V2: floats at the edges only


def test_v2_a_constant_holds_integers() -> None:
    value = Value("values_float", TensorType("float32", (2,)))
    graph = attention()
    graph = replace(graph, constants=(*graph.constants, Constant(value, np.zeros(2, np.float32))))
    refused(graph, r"^constant 'values_float' \(V2\): must hold integers, but found float32\[2\]$")


def test_v2_only_quantize_reads_a_float() -> None:
    graph = attention()
    node = Node("Transpose", ("image",), (Value("flip", TensorType("float32", ("N", 4, 3))),), {"perm": (0, 2, 1)}, "flip")
    graph = replace(graph, nodes=(node, *graph.nodes))
    refused(graph, r"^node 'flip' \(V2\): only Quantize may read a float, but found Transpose of 'image'$")


def test_v2_nothing_reads_what_dequantize_makes() -> None:
    """Not even Quantize: a float inside is no edge."""
    graph = attention()
    again = replace(graph.nodes[0], inputs=("result",), outputs=(replace(graph.nodes[0].output, name="again"),), name="again")
    graph = replace(graph, nodes=(*graph.nodes, again), outputs=("again",))
    refused(graph, r"^node 'again' \(V2\): only Quantize may read a float, but found Quantize of 'result'$")


# --- V3: types and constraints


def test_v3_the_output_has_the_type_that_follows() -> None:
    for wrong in (TensorType("int16", ("N", 3, 2)), TensorType("int32", ("N", 3, 3)), TensorType("int32", (1, 3, 2))):
        found = str(wrong).replace("[", r"\[")
        graph = changed(attention(), "linear", type=wrong, quant=None)
        refused(graph, rf"^node 'linear' \(Linear\) \(V3\): the output must be int32\[N,3,2\], but found {found}$")


def test_v3_there_is_one_output() -> None:
    graph = attention()
    other = Value("other", graph.nodes[1].output.type)
    two = changed(graph, "linear", outputs=(graph.nodes[1].output, other))
    refused(two, r"^node 'linear' \(Linear\) \(V3\): there must be one output, but found 2$")
    none = replace(graph, nodes=(replace(graph.nodes[0], outputs=()),), outputs=("image",))
    refused(none, r"^node 'quantize' \(Quantize\) \(V3\): there must be one output, but found 0$")


def test_v3_the_constraints_of_the_operator_hold() -> None:
    graph = changed(attention(), "softmax", attributes={"n": 32})
    refused(graph, r"^node 'softmax' \(Shiftmax\): Shiftmax \(C3\): n must be from 0 to 31 ")


@pytest.mark.parametrize("attributes", [{"clamp": 1}, {"i0": 4.0}, {"half": "round"}, {"i0": (4,)}, {"more": 1}])
def test_v3_attributes_are_those_of_the_operator(attributes: dict[str, Any]) -> None:
    refused(changed(attention(), "softmax", attributes=attributes), r"^node 'softmax' \(Shiftmax\): Shiftmax \(attributes\): ")


def test_v3_the_inputs_are_as_many_as_the_operator_has() -> None:
    graph = changed(attention(), "linear", inputs=("quantize", "weight"))
    refused(graph, r"^node 'linear' \(Linear\): Linear: the inputs must be \(x, weight, bias\), but found 2$")


def test_v3_the_operator_is_one_of_ours() -> None:
    refused(
        changed(attention(), "softmax", op="Softmax"), r"^node 'softmax': the operator must be one of ai\.ivit .*'Softmax'$"
    )


def test_nodes_out_of_order_are_refused() -> None:
    """(S2), which the graph itself checks."""
    graph = attention()
    nodes = list(graph.nodes)
    nodes[3], nodes[4] = nodes[4], nodes[3]
    with pytest.raises(GraphError, match=r"^node 'weighted' \(S2\): an input must exist before the node, but found 'softmax'$"):
        replace(graph, nodes=tuple(nodes))


# --- V4: the scale that a producer emits


def test_v4_finds_the_fault_of_the_released_deployment() -> None:
    """Shiftmax emits 8 bits, and everything after it was computed for 16."""
    graph = attention()
    assert graph.values["softmax"].quant == Quant((2.0**-15,))
    graph = changed(graph, "softmax", attributes={"out_bits": 8})
    refused(
        graph,
        r"^node 'softmax' \(Shiftmax\) \(V4\): the output must have scale \(0\.0078125\) zero point 0 axis None, "
        r"but found scale \(3\.0517578125e-05\) zero point 0 axis None$",
    )


@pytest.mark.parametrize(
    ("name", "quant"),
    [
        ("quantize", Quant((0.25,))),
        ("quantize", Quant((0.5,), 1)),
        ("linear", Quant((0.25, 0.25), axis=2)),
        ("linear", Quant((0.25,))),
        ("softmax", Quant((2.0**-7,))),
        ("softmax", Quant((2.0**-15,), 1)),
        ("weighted", Quant((2.0**-15,))),
        ("weighted", Quant((0.75 * 2.0**-15, 0.75 * 2.0**-15), axis=2)),
    ],
)
def test_v4_the_output_means_what_follows(name: str, quant: Quant) -> None:
    refused(changed(attention(), name, quant=quant), rf"^node '{name}' \([A-Za-z]+\) \(V4\): the output must have scale ")


def test_v4_scales_go_along_the_axis_that_follows() -> None:
    b = GraphBuilder("g")
    x = b.input("x", "int8", (2, 2), Quant((0.5, 0.25), axis=0))
    graph = b.finish([b.node("Transpose", x, name="flip", perm=(1, 0))])
    wrong = changed(graph, "flip", quant=Quant((0.5, 0.25), axis=0))
    refused(wrong, r"^node 'flip' \(Transpose\) \(V4\): .* zero point 0 axis 1, but found .* zero point 0 axis 0$")


@pytest.mark.parametrize("name", ["quantize", "linear", "softmax", "weighted"])
def test_v4_a_meaning_that_follows_is_declared(name: str) -> None:
    """Without one, nothing would hold its consumers to what is emitted."""
    refused(changed(attention(), name, quant=None), rf"^node '{name}' .* \(V4\): the output must have .*, but found no scale$")


def test_v4_a_scale_one_float32_beside_is_refused() -> None:
    graph = attention()
    weighted = graph.values["weighted"].quant
    assert weighted is not None
    beside = float(np.nextafter(np.float32(weighted.scale[0]), np.float32(1)))
    refused(changed(graph, "weighted", quant=Quant((beside,))), r"^node 'weighted' \(MatMul\) \(V4\): ")


def test_v4_the_bias_comes_in_steps_of_its_layer() -> None:
    graph = with_constant(attention(), "bias", Quant((0.25, 0.25), axis=0))
    refused(graph, r"^node 'linear' \(Linear\): Linear \(scales\): the bias must come in steps of S_x \* S_weight")


def test_v4_products_have_no_zero_points() -> None:
    graph = with_constant(attention(), "values", Quant((0.75,), 3))
    refused(graph, r"^node 'weighted' \(MatMul\): MatMul \(scales\): must be per tensor with zero point 0")


def test_v4_of_an_unknown_scale_nothing_follows() -> None:
    b = GraphBuilder("g")
    x = b.input("x", "int8", (2, 3))
    y = b.node("MatMul", x, b.constant("w", np.ones((3, 2), np.int8)), name="product", alpha=1.0, quant=Quant((0.5,)))
    assert b.finish([y]).values["product"].quant == Quant((0.5,))


# --- V5: the constants that follow from scales


@pytest.mark.parametrize(("attribute", "value"), [("multiplier", (2**30, 2**30 + 1)), ("shift", (30, 30)), ("axis", 0)])
def test_v5_a_dyadic_number_is_that_of_the_scales(attribute: str, value: Any) -> None:
    b = GraphBuilder("g", "qat")
    x = b.input("x", "int8", (2, 2), Quant((0.5, 0.25), axis=1))
    graph = b.finish([b.node("Requantize", x, name="y", quant=Quant((0.5,)), dtype="int8")])
    expected = {"multiplier": (2**30, 2**30), "shift": (30, 31), "axis": 1}
    assert {key: graph.nodes[0].attributes[key] for key in expected} == expected
    wrong = changed(graph, "y", attributes={attribute: value})
    refused(wrong, rf"^node 'y' \(Requantize\) \(V5\): {attribute} must be ")


def test_v5_names_the_constant_and_both_values() -> None:
    graph = changed(attention(), "logits", attributes={"multiplier": (2**30, 2**30 + 1)})
    refused(
        graph,
        r"^node 'logits' \(Requantize\) \(V5\): multiplier must be \(1073741824, 1073741824\), "
        r"but found \(1073741824, 1073741825\)$",
    )


def test_v5_another_scale_of_the_output_needs_another_dyadic_number() -> None:
    graph = changed(attention(), "requantize", quant=Quant((0.25,)))
    refused(graph, r"^node 'requantize' \(Requantize\) \(V5\): (multiplier|shift) must be ")


@pytest.mark.parametrize("rounds", ["each", "once"])
@pytest.mark.parametrize("attribute", ["a_multiplier", "a_shift", "b_multiplier", "b_shift"])
def test_v5_a_residual_connection_has_two_dyadic_numbers(attribute: str, rounds: str) -> None:
    b = GraphBuilder("residual", "qat")
    x, y = (b.input(name, "int8", (2, 3), Quant((scale,))) for name, scale in (("x", 0.5), ("y", 0.375)))
    added = b.node("RequantizeAdd", x, y, name="added", quant=Quant((0.25,)), rounds=rounds, dtype="int16")
    graph = b.finish([added])
    value = graph.nodes[0].attributes[attribute]
    assert isinstance(value, tuple)
    shifts = {"a_shift": (20,), "b_shift": (20,)} if attribute.endswith("shift") and rounds == "once" else {}
    wrong = changed(graph, "added", attributes={attribute: (int(value[0]) - 1,), **shifts})
    refused(wrong, r"^node 'added' \(RequantizeAdd\) \(V5\): [ab]_(multiplier|shift) must be ")


@pytest.mark.parametrize(("attribute", "value"), [("scale", (0.25,)), ("zero_point", 1), ("axis", 1)])
def test_v5_dequantize_gives_the_numbers_that_its_input_stands_for(attribute: str, value: Any) -> None:
    graph = changed(attention(), "dequantize", attributes={attribute: value})
    refused(graph, rf"^node 'dequantize' \(Dequantize\) \(V5\): {attribute} must be .*, but found .*$")


def test_v5_dequantize_subtracts_the_zero_point_of_its_input() -> None:
    b = GraphBuilder("g")
    x = b.input("x", "uint8", (2, 3), Quant((0.5, 0.25, 0.125), 7, axis=1))
    graph = b.finish([b.node("Dequantize", x, name="real")])
    assert dict(graph.nodes[0].attributes) == {"axis": 1, "scale": (0.5, 0.25, 0.125), "zero_point": 7}
    refused(changed(graph, "real", attributes={"zero_point": 0}), r"^node 'real' .* \(V5\): zero_point must be 7, but found 0$")


def test_v5_center_takes_the_zero_point_of_its_input_away() -> None:
    b = GraphBuilder("centered", "qat")
    x = b.input("x", "uint8", (2,), Quant((0.5,), zero_point=7))
    graph = b.finish([b.node("Center", x, name="centered", dtype="int16")])
    wrong = changed(graph, "centered", attributes={"zero_point": 0})
    refused(wrong, r"^node 'centered' \(Center\) \(V5\): zero_point must be 7, but found 0$")


def test_v5_where_a_scale_is_unknown_any_dyadic_number_will_do() -> None:
    b = GraphBuilder("g")
    x = b.input("x", "int8", (2, 3))
    numbers: dict[str, Any] = {"multiplier": (3,), "shift": (1,), "axis": 0, "zero_point": 0}
    y = b.node("Requantize", x, name="y", quant=Quant((0.5,)), dtype="int8", rounding="floor", **numbers)
    assert b.finish([y]).nodes[0].attributes["multiplier"] == (3,)


@pytest.mark.parametrize("name", ["logits", "requantize"])
def test_v5_the_zero_point_that_is_added_is_that_of_the_output(name: str) -> None:
    added = changed(attention(), name, attributes={"zero_point": 7})
    refused(added, rf"^node '{name}' \(Requantize\) \(V5\): zero_point must be 0, but found 7$")
    meant = changed(attention(), name, quant=Quant((0.25,), 1))
    refused(meant, rf"^node '{name}' \(Requantize\) \(V5\): ")


def test_v5_a_requantization_may_add_a_zero_point() -> None:
    b = GraphBuilder("g", "qat")
    x = b.input("x", "int8", (2, 3), Quant((0.5,)))
    graph = b.finish([b.node("Requantize", x, name="y", quant=Quant((0.25,), 7), dtype="uint8")])
    assert run(graph, {"x": np.full((2, 3), 10, np.int8)})["y"].tolist() == [[27] * 3] * 2


@pytest.mark.parametrize("op", ["Requantize", "RequantizeAdd"])
def test_v5_the_inputs_of_a_requantization_have_no_zero_points(op: str) -> None:
    b = GraphBuilder("g", "qat")
    x = b.input("x", "int8", (2, 3), Quant((0.5,)))
    facts: dict[str, Any] = {"rounds": "each"} if op == "RequantizeAdd" else {}
    node = b.node(op, *([x, x] if facts else [x]), name="y", quant=Quant((0.25,)), dtype="int8", **facts)
    graph = replace(b.finish([node]), inputs=(replace(x, quant=Quant((0.5,), 1)),))
    refused(graph, rf"^node 'y' \({op}\).* zero point .* must be 0, but found 1$")


# --- V6: the unit of an exponential


def test_v6_i0_is_that_of_the_scale() -> None:
    graph = attention()
    assert graph.nodes[3].attributes["i0"] == 4
    refused(
        changed(graph, "softmax", attributes={"i0": 16}),
        r"^node 'softmax' \(Shiftmax\) \(V6\): i0 must be one of \[4, 5\] for the scale 0\.25 of its input, but found 16$",
    )


@pytest.mark.parametrize("i0", [4, 5])
def test_v6_i0_may_follow_any_published_rule(i0: int) -> None:
    graph = changed(attention(), "softmax", attributes={"i0": i0})
    verify(graph)
    assert graph.nodes[3].attributes["i0"] == i0


def test_v6_the_input_has_one_scale() -> None:
    b = GraphBuilder("g", "qat")
    x = b.input("x", "int8", (2, 3), Quant((0.25,)))
    graph = b.finish([b.node("Shiftmax", x, name="softmax")])
    graph = replace(graph, inputs=(replace(x, quant=Quant((0.25, 0.25, 0.25), axis=1)),))
    refused(graph, r"^node 'softmax' \(Shiftmax\) \(V6\): the input must have one scale and zero point 0, but found scale=")


@pytest.mark.parametrize("op", ["ShiftGELU", "ShiftExp"])
def test_v6_the_input_has_no_zero_point(op: str) -> None:
    b = GraphBuilder("g", "qat")
    x = b.input("x", "int8", (2, 3), Quant((0.25,)))
    graph = b.finish([b.node(op, x, name="node")])
    graph = replace(graph, inputs=(replace(x, quant=Quant((0.25,), 1)),))
    refused(graph, rf"^node 'node' \({op}\) \(V6\): the input must have one scale and zero point 0, but found scale=")


def test_v6_from_shiftmax_a_zero_point_drops_out() -> None:
    b = GraphBuilder("g", "qat")
    x, y = (b.input(name, "int8", (2, 3), Quant((0.25,), zero_point)) for name, zero_point in (("x", 0), ("y", 100)))
    graph = b.finish([b.node("Shiftmax", v, name=f"softmax_{v.name}") for v in (x, y)])
    data = np.array([[-30, 2, 5], [1, 1, 0]], np.int8)
    outputs = run(graph, {"x": data, "y": data + np.int8(100)})
    assert outputs["softmax_x"].tolist() == outputs["softmax_y"].tolist()


def test_v6_a_negative_scale_has_no_unit() -> None:
    b = GraphBuilder("g", "qat")
    x = b.input("x", "int8", (2, 3), Quant((0.25,)))
    graph = b.finish([b.node("Shiftmax", x, name="softmax")])
    graph = replace(graph, inputs=(replace(x, quant=Quant((-0.25,))),))
    refused(graph, r"^node 'softmax' \(Shiftmax\) \(V6\): the scale of its input must be positive, but found -0.25$")


@pytest.mark.parametrize(("profile", "units", "wrong"), [("qat", [2, 3], 4), ("paper", [4, 5], 2)])
def test_v6_the_unit_of_shift_gelu_follows_its_sigmoid(profile: str, units: list[int], wrong: int) -> None:
    """1 / (1.702 * 0.25) = 2.35 where 1.702 is folded into the unit, 1 / 0.25 = 4 where it is made of shifts."""
    b = GraphBuilder("g", profile)
    x = b.input("x", "int8", (2, 3), Quant((0.25,)))
    graph = b.finish([b.node("ShiftGELU", x, name="gelu")])
    for unit in units:
        verify(changed(graph, "gelu", attributes={"i0": unit}))
    other = changed(graph, "gelu", attributes={"i0": wrong})
    refused(other, rf"^node 'gelu' \(ShiftGELU\) \(V6\): i0 must be one of \{units} for the scale 0\.25 .* found {wrong}$")


def test_v6_holds_for_shift_exp() -> None:
    b = GraphBuilder("g", "qat")
    x = b.input("x", "int8", (2, 3), Quant((0.25,)))
    graph = b.finish([b.node("ShiftExp", x, name="exp")])
    refused(changed(graph, "exp", attributes={"i0": 16}), r"^node 'exp' \(ShiftExp\) \(V6\): i0 must be one of \[4, 5\]")


def test_v6_of_an_unknown_scale_any_unit_will_do() -> None:
    b = GraphBuilder("g")
    x = b.input("x", "int8", (2, 3))
    y = b.node("Shiftmax", x, name="softmax", **TVM.shiftmax(0.25) | {"i0": 99})
    assert b.finish([y]).nodes[0].attributes["i0"] == 99


def test_v6_a_unit_of_one_rule_needs_no_other_rule() -> None:
    """ceil(1 / 2.5) is 1 and round(1 / 2.5) is 0, which is no unit: that is for the paper's profile only to refuse."""
    b = GraphBuilder("g", "qat")
    x = b.input("x", "int8", (2, 3), Quant((2.5,)))
    assert b.finish([b.node("Shiftmax", x, name="softmax")]).nodes[0].attributes["i0"] == 1


# --- Scales of operators that keep or join them


def test_per_channel_scales_of_a_lower_rank_go_along_the_last_axis() -> None:
    """A bias of four channels added to rows of four: its scales belong to the columns of the result."""
    b = GraphBuilder("g", "qat")
    x = b.input("x", "int8", (4, 4), Quant((1.0,)))
    bias = b.constant("bias", np.ones(4, np.int8), Quant((1.0, 2.0, 4.0, 8.0), axis=0))
    facts: dict[str, Any] = {"rounds": "each", "dtype": "int8"}
    graph = b.finish([b.node("RequantizeAdd", x, bias, name="added", quant=Quant((1.0,)), **facts)])
    added = run(graph, {"x": np.zeros((4, 4), np.int8)})["added"]
    assert added.tolist() == [[1, 2, 4, 8]] * 4


def test_a_quotient_without_its_bits_is_refused() -> None:
    """They are no choice of a profile."""
    b = GraphBuilder("g", "qat")
    x, y = b.input("x", "int32", (2,)), b.input("y", "int32", (2,))
    with pytest.raises(GraphError, match=r"^node 'quotient' \(IntDiv\): .*out_bits"):
        b.node("IntDiv", x, y, name="quotient")


@pytest.mark.parametrize("axes", [(0, 1, None), (0, None, 1), (None, 0, 1)])
def test_scales_along_two_axes_have_no_dyadic_numbers(axes: tuple[int | None, ...]) -> None:
    b = GraphBuilder("g", "qat")
    first, second, result = (Quant((0.5,) if axis is None else (0.5, 0.25), axis=axis) for axis in axes)
    x, y = b.input("x", "int8", (2, 2), first), b.input("y", "int8", (2, 2), second)
    must = r"^node 'added' \(RequantizeAdd\): RequantizeAdd \(scales\): scales must go along one axis, but found \[0, 1\]$"
    with pytest.raises(GraphError, match=must):
        b.node("RequantizeAdd", x, y, name="added", quant=result, rounds="each", dtype="int8")


def test_layer_norm_takes_a_bias_with_one_scale() -> None:
    b = GraphBuilder("g", "qat")
    x = b.input("x", "int8", (2, 3), Quant((0.5,)))
    bias = b.constant("bias", np.zeros(3, np.int32), Quant((2.0**-20,)))
    graph = b.finish([b.node("ILayerNorm", x, bias, name="norm")])
    assert graph.values["norm"].quant == Quant((2.0**-20,))


def test_layer_norm_refuses_scales_along_its_axis() -> None:
    """Numbers of different steps have no mean."""
    b = GraphBuilder("g", "qat")
    x = b.input("x", "int8", (2, 3), Quant((0.5, 0.25, 0.125), axis=1))
    bias = b.constant("bias", np.zeros(3, np.int32), Quant((0.5, 0.5, 0.5), axis=0))
    with pytest.raises(GraphError, match=r"^node 'norm' \(ILayerNorm\): ILayerNorm \(scales\): "):
        b.node("ILayerNorm", x, bias, name="norm")


@pytest.mark.parametrize("op", ["ShiftGELU", "ShiftExp"])
def test_a_refusal_of_scales_names_the_node(op: str) -> None:
    b = GraphBuilder("g", "qat")
    x = b.input("x", "int8", (2, 3), Quant((0.25,)))
    graph = b.finish([b.node(op, x, name="node")])
    graph = replace(graph, inputs=(replace(x, quant=Quant((0.25, 0.5, 0.5), axis=1)),))
    refused(graph, rf"^node 'node' \({op}\)")


# --- The rewrites


def finished(graph: Graph, inputs: dict[str, Array]) -> dict[str, Array] | None:
    """The outputs of a run; None where it stops at a sum that is 0: all that can stop one when overflow wraps."""
    try:
        return run(graph, inputs, overflow="wrap", engine="spec")
    except ConstraintError as error:
        if "IntDiv (C2)" in str(error):
            return None
        raise


@given(graphs())
def test_drawn_graphs_are_valid(graph: Graph) -> None:
    verify(graph)
    assert graph.metadata["profile"] in PROFILES


@given(st.data())
@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_with_profile_gives_a_valid_graph_that_runs(profile: str, data: st.DataObject) -> None:
    graph, inputs = data.draw(runs())
    other = graph.with_profile(profile)
    verify(other)
    assert other.metadata["profile"] == profile
    assert [(n.name, n.op, n.inputs) for n in other.nodes] == [(n.name, n.op, n.inputs) for n in graph.nodes]
    assert (other.inputs, other.outputs, other.constants) == (graph.inputs, graph.outputs, graph.constants)
    outputs = finished(other, inputs)
    stopped = outputs is None
    assert (stopped and profile in ("tvm", "paper")) or list(outputs or {}) == list(graph.outputs)


@given(graphs(), st.sampled_from(PROFILE_NAMES), st.sampled_from(PROFILE_NAMES))
def test_with_profile_forgets_the_profile_before(graph: Graph, first: str, second: str) -> None:
    assert graph.with_profile(first).with_profile(second) == graph.with_profile(second)


@given(graphs())
def test_with_the_same_profile_nothing_changes(graph: Graph) -> None:
    assert graph.with_profile(graph.metadata["profile"]) == graph


def test_with_profile_takes_a_profile_of_ones_own() -> None:
    graph = attention().with_profile(replace(TVM, name="mine", softmax_n=12))
    assert graph.metadata["profile"] == "mine"
    assert graph.nodes[3].attributes["n"] == 12


def test_with_profile_refuses_other_names() -> None:
    with pytest.raises(GraphError, match=r"^profile: must be one of paper, qat, tvm, ideal, but found 'deit'$"):
        attention().with_profile("deit")


def test_with_profile_writes_every_choice_of_the_profile() -> None:
    for name, profile in PROFILES.items():
        graph = attention().with_profile(name)
        assert dict(graph.nodes[3].attributes) == profile.shiftmax(0.25)
        assert graph.nodes[2].attributes["rounding"] == graph.nodes[5].attributes["rounding"] == profile.rounding


def test_with_attributes_changes_what_it_says() -> None:
    graph = attention()
    other = graph.with_attributes("Shiftmax", n=12, clamp=False)
    assert dict(other.nodes[3].attributes) == {**graph.nodes[3].attributes, "n": 12, "clamp": False}
    assert other.nodes[:3] + other.nodes[4:] == graph.nodes[:3] + graph.nodes[4:]
    assert dict(other.metadata) == {"profile": "qat", "changed.Shiftmax.clamp": "False", "changed.Shiftmax.n": "12"}


def test_with_attributes_changes_every_node_of_the_operator() -> None:
    other = attention().with_attributes("Requantize", rounding="floor")
    assert [n.attributes["rounding"] for n in other.nodes if n.op == "Requantize"] == ["floor", "floor"]


def test_with_attributes_adds_to_what_was_changed_before() -> None:
    other = attention().with_attributes("Shiftmax", n=12).with_attributes("Requantize", rounding="floor")
    other = other.with_attributes("Shiftmax", n=13)
    changes = {"changed.Shiftmax.n": "13", "changed.Requantize.rounding": "floor"}
    assert dict(other.metadata) == {"profile": "qat", **changes}


def test_with_profile_takes_back_what_it_writes_over() -> None:
    """A graph does not say that it was changed where it is as its profile has it."""
    graph = attention()
    assert graph.with_attributes("Shiftmax", n=12).with_profile("qat") == graph
    other = graph.with_attributes("Shiftmax", n=16).with_attributes("Requantize", dtype="int16").with_profile("tvm")
    assert dict(other.metadata) == {
        "profile": "tvm",
        "changed.Shiftmax.n": "16",
        "changed.Requantize.dtype": "int16",
    }


def test_with_attributes_refuses_an_operator_that_is_not_there() -> None:
    with pytest.raises(GraphError, match=r"^with_attributes: the graph must have a node of the operator, but found no 'Conv'$"):
        attention().with_attributes("Conv", group=1)


def test_with_attributes_refuses_attributes_and_values_that_the_operator_does_not_have() -> None:
    with pytest.raises(GraphError, match=r"^node 'softmax' \(Shiftmax\): Shiftmax \(attributes\): "):
        attention().with_attributes("Shiftmax", rounding="floor")
    with pytest.raises(GraphError, match=r"^node 'softmax' \(Shiftmax\): Shiftmax \(C5\): "):
        attention().with_attributes("Shiftmax", out_bits=17)
    with pytest.raises(GraphError, match=r"^node 'softmax' \(Shiftmax\) \(V6\): "):
        attention().with_attributes("Shiftmax", i0=77)


def test_with_attributes_refuses_what_follows_from_scales() -> None:
    """The dyadic number would be written over at once, and the metadata would tell of a change that is none."""
    with pytest.raises(GraphError, match="shift"):
        attention().with_attributes("Requantize", shift=(5,))


# --- Scales that follow, by arithmetic of our own


def float32(value: float) -> float:
    """The nearest float32; exact for the product of two, which a double holds."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def dyadic_of(source: float, target: float) -> tuple[int, int]:
    """31 bits of the float64 quotient, half away from zero, and a power of two; the least there is where that exceeds 2**62."""
    ratio = Fraction(float(Fraction(source) / Fraction(target)))
    shift = 0
    while ratio * 2**shift < 2**30 - Fraction(1, 2):
        shift += 1
    multiplier = floor(ratio * 2**shift + Fraction(1, 2))
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    return (multiplier, shift) if shift <= 62 else (1, 62)


@pytest.mark.parametrize(
    "rewrite",
    [lambda g: g.with_attributes("Shiftmax", out_bits=8), lambda g: g.with_profile("tvm"), lambda g: g.with_profile("paper")],
    ids=["out_bits", "tvm", "paper"],
)
def test_what_follows_from_the_bits_of_shiftmax_follows(rewrite: Callable[[Graph], Graph]) -> None:
    graph, other = attention(), rewrite(attention())
    for bits, g in ((16, graph), (8, other)):
        emitted = 2.0 ** (1 - bits)
        assert g.values["softmax"].quant == Quant((emitted,))
        weighted = float32(emitted * 0.75)
        assert g.values["weighted"].quant == Quant((weighted,))
        multiplier, shift = dyadic_of(weighted, 0.5)
        found = g.nodes[5].attributes
        assert (found["multiplier"], found["shift"]) == ((multiplier,), (shift,))
        assert Fraction(multiplier, 2**shift) == Fraction(weighted) / Fraction(1, 2)
    assert [g.nodes[5].attributes["shift"] for g in (graph, other)] == [(45,), (37,)]


@given(
    st.floats(2.0**-12, 1.0, width=32),
    st.floats(2.0**-12, 1.0, width=32),
    st.floats(2.0**-6, 1.0, width=32),
    st.sampled_from([16, 8]),
)
def test_scales_that_follow_are_rounded_as_released(values: float, target: float, alpha: float, bits: int) -> None:
    """Products of scales in float32, factor by factor; ratios in float64; 31 bits of them."""
    b = GraphBuilder("follow", "qat")
    x = b.node("Shiftmax", b.input("x", "int8", (2, 3), Quant((0.25,))), name="softmax")
    x = b.node("MatMul", x, b.input("v", "int8", (3, 2), Quant((values,))), name="weighted", alpha=alpha)
    x = b.node("Requantize", x, name="requantize", quant=Quant((target,)), dtype="int8")
    graph = b.finish([x]).with_attributes("Shiftmax", out_bits=bits)
    weighted = float32(float32(2.0 ** (1 - bits) * values) * alpha)
    multiplier, shift = dyadic_of(weighted, target)
    assert graph.values["weighted"].quant == Quant((weighted,))
    assert (graph.nodes[2].attributes["multiplier"], graph.nodes[2].attributes["shift"]) == ((multiplier,), (shift,))


SCALES = st.floats(2.0**-12, 1.0, width=32)


@given(SCALES, SCALES, SCALES)
def test_products_of_scales_are_rounded_after_each_factor(first: float, second: float, alpha: float) -> None:
    b = GraphBuilder("product")
    x, y = b.input("x", "int8", (2, 3), Quant((first,))), b.input("y", "int8", (3, 2), Quant((second,)))
    assert b.node("MatMul", x, y, name="z", alpha=alpha).quant == Quant((float32(float32(first * second) * alpha),))


@given(st.data())
def test_bind_gives_a_valid_graph_with_the_same_result(data: st.DataObject) -> None:
    graph, inputs = data.draw(runs())
    dims = {name: len(inputs[v.name]) for v in graph.inputs for name in graph.dims if v.type.shape[0] == name}
    bound = graph.bind(**dims)
    verify(bound)
    first, second = finished(graph, inputs), finished(bound, inputs)
    assert (first is None) == (second is None)
    for name, array in (first or {}).items():
        np.testing.assert_array_equal(array, (second or {})[name], strict=True)


@given(st.data())
def test_rewritten_graphs_take_the_inputs_of_the_first(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    inputs = data.draw(inputs_of(graph))
    assert set(inputs) == {v.name for v in graph.with_profile("tvm").inputs}


# --- V7


def with_float(**metadata: str) -> Graph:
    """The attention with its softmax in floats, on the same grid."""
    graph = attention().with_metadata(**metadata)
    attributes = {"scale": 0.25, "out_bits": 16, "dtype": "int16"}
    node = next(n for n in graph.nodes if n.name == "softmax")
    instead = Node("FloatSoftmax", node.inputs, node.outputs, attributes, node.name)
    return replace(graph, nodes=tuple(instead if n is node else n for n in graph.nodes))


@pytest.mark.parametrize("metadata", [{}, {"floats": "no"}, {"floats": ""}])
def test_v7_an_operator_in_floats_is_no_part_of_an_integer_graph(metadata: dict[str, str]) -> None:
    found = repr(metadata.get("floats"))
    message = (
        rf"^node 'softmax' \(FloatSoftmax\) \(V7\): .*graph\.with_metadata\(floats='allowed'\), but found floats = {found}$"
    )
    refused(with_float(**metadata), message)


def test_v7_a_graph_that_allows_floats_has_them() -> None:
    verify(with_float(floats="allowed"))
    refused(
        changed(with_float(floats="allowed"), "softmax", attributes={"scale": 0.5}), r"V5\): scale must be 0.25, but found 0.5"
    )


def test_v7_holds_where_scales_may_clash() -> None:
    with pytest.raises(GraphError, match=r"\(V7\)"):
        verify(with_float(), clash=True)


def test_v7_is_about_these_operators() -> None:
    assert {op for op, definition in REGISTRY.items() if definition.floats} == {"FloatSoftmax", "FloatGELU", "FloatLayerNorm"}


# --- V8


def with_codes(reader: str, *inputs: str, through: str = "", **attributes: Any) -> Graph:
    """Codes of four bits, moved or not, and a node that reads them."""
    b = GraphBuilder("codes")
    x = b.input("x", "int8", (2, 4), Quant((0.0625,)))
    v = b.input("v", "int8", (4, 2), Quant((0.5,)))
    codes = b.node("LogIntSoftmax", x, name="codes", n=30, bits=4)
    if through:
        codes = b.node("Reshape", codes, name="moved", shape=(2, 4))
    values = {"codes": codes, "v": v}
    return b.finish([b.node(reader, *(values[name] for name in inputs), name="reader", **attributes)])


def test_v8_codes_are_read_by_a_shift_mat_mul_of_the_same_bits() -> None:
    verify(with_codes("ShiftMatMul", "codes", "v", bits=4, alpha=1.0))
    verify(with_codes("ShiftMatMul", "codes", "v", through="Reshape", bits=4, alpha=1.0))


@pytest.mark.parametrize("through", ["", "Reshape"])
@pytest.mark.parametrize(
    ("reader", "inputs", "attributes"),
    [
        ("ShiftMatMul", ("codes", "v"), {"bits": 3, "alpha": 1.0}),
        ("MatMul", ("codes", "v"), {"alpha": 1.0}),
        ("MatMul", ("v", "codes"), {"alpha": 1.0}),
        ("ReduceSum", ("codes",), {"axes": (1,)}),
        ("Mul", ("codes", "codes"), {}),
    ],
)
def test_v8_anything_else_takes_a_logarithm_for_a_number(
    reader: str, inputs: tuple[str, ...], attributes: dict[str, Any], through: str
) -> None:
    name = "moved" if through else "codes"
    with pytest.raises(GraphError, match=rf"^node 'reader' \({reader}\) \(V8\): .* but found {name} of 4 bits$"):
        with_codes(reader, *inputs, through=through, **attributes)
