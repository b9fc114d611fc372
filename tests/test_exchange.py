from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import ivit_ref
from ivit_ref import Graph, GraphBuilder, Quant, load, run
from ivit_ref.dyadic import base_two_step
from ivit_ref.errors import GraphError, InputError
from ivit_ref.methods import METHODS, ROLES, methods

GRAPHS = Path(ivit_ref.__file__).parent.parent / "graphs"
EVERY = [(role, method.name) for role in ROLES for method in METHODS[role]]


@pytest.fixture(scope="module")
def vit() -> Graph:
    return load(GRAPHS / "digits_vit.onnx")


@pytest.fixture(scope="module")
def swin() -> Graph:
    return load(GRAPHS / "digits_swin.onnx")


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def attention(dtype: str = "int8", alpha: float = 1.0) -> Graph:
    """softmax(x) times v, requantized."""
    b = GraphBuilder("attention", profile="qat")
    x = b.input("x", dtype, (1, 3, 5), Quant((0.0625,)))
    v = b.input("v", "int8", (1, 5, 4), Quant((0.5,)))
    p = b.node("Shiftmax", x, name="p")
    y = b.node("MatMul", p, v, name="y", alpha=alpha)
    return b.finish([b.node("Requantize", y, name="z", dtype="int8", quant=Quant((0.25,)))])


def gelu(*, requantized: bool = True) -> Graph:
    b = GraphBuilder("gelu", profile="qat")
    x = b.input("x", "int8", (1, 8), Quant((0.03125,)))
    y = b.node("ShiftGELU", x, name="y")
    return b.finish([b.node("Requantize", y, name="z", dtype="int8", quant=Quant((0.03125,))) if requantized else y])


# --- Every method in a trained model


@pytest.mark.parametrize(("role", "name"), EVERY, ids=[f"{role}-{name}" for role, name in EVERY])
def test_every_method_keeps_a_trained_model_together(vit: Graph, role: str, name: str) -> None:
    """A wrong scale or multiplier anywhere turns classes into chance, one in ten. (ITA's int8 logits end at 2.8 either way.)"""
    graph = vit.with_methods(**{role: name})
    with np.load(GRAPHS / "digits_test.npz") as data:
        images, labels = data["images"][:100], data["labels"][:100]
    logits = run(graph, {"image": images}, overflow="wrap")["logits"]
    assert np.count_nonzero(logits.argmax(axis=1) == labels) >= (70 if name == "ita" else 90)
    assert graph.metadata[role] == name


@pytest.mark.parametrize(("role", "name"), [("softmax", "ibert"), ("softmax", "lis"), ("gelu", "ibert"), ("layernorm", "l1")])
def test_swin_too(swin: Graph, role: str, name: str) -> None:
    graph = swin.with_methods(**{role: name})
    with np.load(GRAPHS / "digits_swin_test.npz") as data:
        images, labels = data["images"][:32], data["labels"][:32]
    logits = run(graph, {"image": images}, overflow="wrap")["logits"]
    assert np.count_nonzero(logits.argmax(axis=1) == labels) >= 28


@pytest.mark.parametrize(("role", "name"), [(r, n) for r, n in EVERY if (r, n) != ("gelu", "tflite")])
def test_back_again_is_the_graph_that_it_was(vit: Graph, role: str, name: str) -> None:
    own = methods(role)[0]  # type: ignore[arg-type]
    there = vit.with_methods(**{role: name})
    back = there.with_methods(**{role: own})
    assert back.nodes == vit.nodes
    assert back.constants == vit.constants


TWICE = [(a, b) for a in methods("softmax") for b in methods("softmax") if (a, b) != ("ibert", "float")]
"""A float softmax has the bits of what it replaces: of I-BERT's 8, not 16."""


@pytest.mark.parametrize(("first", "second"), TWICE)
def test_only_the_last_choice_counts(first: str, second: str) -> None:
    assert attention().with_methods(softmax=first).with_methods(softmax=second) == attention().with_methods(softmax=second)


@pytest.mark.parametrize("softmax", ["lis", "ita", "tflite"])
@pytest.mark.parametrize("other", [{"gelu": "ibert"}, {"layernorm": "l1"}, {"requantize": "gemmlowp"}])
def test_one_role_after_the_other_is_both_at_once(vit: Graph, softmax: str, other: dict[str, str]) -> None:
    """Codes stay codes, and what is put before ITA's softmax is a requantization like the others."""
    assert vit.with_methods(softmax=softmax).with_methods(**other).nodes == vit.with_methods(softmax=softmax, **other).nodes


def shared_logits(op: str, *, shared: bool, **attributes: int) -> Graph:
    """A softmax behind a requantization of the name that an exchange gives; something else reads it, too."""
    b = GraphBuilder("shared", profile="qat")
    x = b.input("x", "int8", (3, 5), Quant((0.0625,)))
    logits = b.node("Requantize", x, name="p.logits", dtype="int8", quant=Quant((base_two_step(5),)))
    p = b.node(op, logits, name="p", **attributes)
    return b.finish([p, *([b.node("Center", logits, name="c", dtype="int16")] if shared else [])])


def test_logits_that_something_else_reads_stay() -> None:
    ita = shared_logits("ITASoftmax", shared=True, block=16, shift=5)
    assert ops(ita.with_methods(softmax="ibert")) == ["Requantize", "IBertSoftmax", "Center"]


def test_logits_that_no_exchange_made_stay() -> None:
    own = shared_logits("Shiftmax", shared=False)
    assert ops(own.with_methods(softmax="ibert")) == ["Requantize", "IBertSoftmax"]


# --- What is put around a node


def test_the_requantization_behind_follows_the_new_scale() -> None:
    """I-BERT's softmax has 256 steps, QAT's 2**15: the same ratio, 2**7 times as large."""
    before, after = (g.nodes[-1].attributes for g in (attention(), attention().with_methods(softmax="ibert")))

    def ratio(a: object) -> Fraction:
        assert isinstance(a, dict) or hasattr(a, "items")
        return Fraction(a["multiplier"][0], 2 ** a["shift"][0])  # type: ignore[index]

    assert ratio(before) == Fraction(1, 2**15) * 2
    assert ratio(after) == Fraction(1, 2**8) * 2


def test_tflite_has_its_zero_point_taken_away() -> None:
    graph = attention().with_methods(softmax="tflite")
    assert ops(graph) == ["TFLiteSoftmax", "Center", "MatMul", "Requantize"]
    center = graph.nodes[1]
    assert (center.output.name, center.attributes["zero_point"]) == ("p", -128)
    assert center.output.quant == Quant((2.0**-8,))


def test_codes_are_read_by_shifts() -> None:
    graph = attention(alpha=0.5).with_methods(softmax="lis")
    assert ops(graph) == ["LogIntSoftmax", "ShiftMatMul", "Requantize"]
    assert graph.nodes[1].attributes["bits"] == graph.nodes[0].attributes["bits"] == 4
    assert graph.nodes[1].output.quant == Quant((2.0**-15 * 0.5 * 0.5,))


def test_codes_that_anything_else_reads_are_refused() -> None:
    b = GraphBuilder("sum", profile="qat")
    x = b.input("x", "int8", (3, 5), Quant((0.0625,)))
    graph = b.finish([b.node("ReduceSum", b.node("Shiftmax", x, name="p"), name="s", axes=(1,))])
    with pytest.raises(GraphError, match=r"node 's' \(ReduceSum\): codes must be the first factor of MatMul, but found p$"):
        graph.with_methods(softmax="lis")


def test_codes_that_are_an_output_are_refused() -> None:
    b = GraphBuilder("out", profile="qat")
    x = b.input("x", "int8", (3, 5), Quant((0.0625,)))
    graph = b.finish([b.node("Shiftmax", x, name="p")])
    with pytest.raises(GraphError, match=r"codes"):
        graph.with_methods(softmax="lis")


def test_a_table_takes_the_place_of_both() -> None:
    graph = gelu().with_methods(gelu="tflite")
    assert ops(graph) == ["Lookup"]
    assert graph.outputs == ("z",)
    x = np.array([[-128, -64, -32, 0, 32, 64, 96, 127]], np.int8)
    # x * Phi(x) at -4, -2, -1, 0, 1, 2, 3 and 3.96875 by tables of the normal distribution, in steps of 1/32.
    real = [-0.000126685, -0.0455003, -0.158655, 0.0, 0.841345, 1.9545, 2.99595, 3.96861]
    assert run(graph, {"x": x})["z"].tolist() == [[round(r * 32) for r in real]]


def test_a_table_needs_a_requantization_behind_it() -> None:
    with pytest.raises(GraphError, match=r"node 'y' \(ShiftGELU\): its one reader must requantize .* but found none$"):
        gelu(requantized=False).with_methods(gelu="tflite")


def test_ita_gets_its_step() -> None:
    graph = attention().with_methods(softmax="ita")
    assert ops(graph) == ["Requantize", "ITASoftmax", "MatMul", "Requantize"]


# --- Floats are asked for


def test_floats_are_told_of_and_told_no_more(vit: Graph) -> None:
    floats = vit.with_methods(softmax="float")
    assert floats.metadata["floats"] == "allowed"
    assert "floats" not in floats.with_methods(softmax="shiftmax").metadata


# --- Refusals


def test_a_role_that_the_graph_does_not_have() -> None:
    with pytest.raises(GraphError, match=r"must have a node of the role, but found no gelu$"):
        attention().with_methods(gelu="ibert")


def test_an_unknown_method() -> None:
    with pytest.raises(InputError, match=r"softmax: the method must be one of shiftmax, .*, but found 'exact'$"):
        attention().with_methods(softmax="exact")


def test_constants_of_a_profile_need_one() -> None:
    graph = attention().with_methods(softmax="ibert").with_metadata(profile="mine")
    with pytest.raises(GraphError, match=r"the constants of shiftmax need the graph's profile, .* but found 'mine'$"):
        graph.with_methods(softmax="shiftmax")


def test_another_profile_takes_the_rounding_of_hawq_back() -> None:
    graph = attention().with_methods(requantize="hawq")
    assert graph.with_profile("ideal").metadata["requantize"] == "hawq"
    assert "requantize" not in graph.with_profile("tvm").metadata
