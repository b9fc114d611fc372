"""What makes a graph valid, one labelled function per rule. (Its structure, S1-S5, is checked by ``Graph`` itself.)

The edge rule is V3 to V5: what a producer emits - scale, zero point, bits - must be what its consumer assumes. It finds the
fault behind the chance-level results of the released deployment: a 7-bit Shiftmax whose consumer assumes steps of 2**-15.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ivit_ref import dyadic, registry, scales
from ivit_ref.errors import ConstraintError, GraphError, ScaleError
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Graph, Node, Quant, TensorType, Value
from ivit_ref.profiles import PROFILES

FLOATS, ALLOWED = "floats", "allowed"
"""The metadata of a graph that may compute in floats (V7)."""

MOVING = ("Reshape", "Transpose", "Slice", "Take", "Roll")
"""Operators that move the elements of one tensor and change none."""


def verify(graph: Graph, *, clash: bool = False) -> None:
    """Check every rule; GraphError names the first one that is broken, and where.

    ``clash`` leaves out V4, for a graph that reproduces the fault of the released deployment (``rewrite.with_claim``).
    """
    for value in graph.values.values():
        check_quant(value)
    check_float_edges(graph)
    check_codes(graph)
    for node in graph.nodes:
        for rule in CLASHING_RULES if clash else NODE_RULES:
            rule(graph, node)


def check_quant(value: Value) -> None:
    """(V1) scales go along an axis of the value and are as many as it is long; the zero point is a value of its dtype."""
    q = value.quant
    if q is None:
        return
    shape = value.type.shape
    if q.axis is not None and not (0 <= q.axis < len(shape) and shape[q.axis] == len(q.scale)):
        found = f"{len(q.scale)} along axis {q.axis}"
        raise GraphError(f"value {value.name!r} (V1): the scales must fit {value.type}, but found {found}")
    low, high = BOUNDS.get(value.type.dtype, (0, 0))
    if not low <= q.zero_point <= high:
        raise GraphError(f"value {value.name!r} (V1): the zero point must be {value.type.dtype}, but found {q.zero_point}")


def check_float_edges(graph: Graph) -> None:
    """(V2) a float is an input that only Quantize reads, or what Dequantize makes, which no node reads."""
    for constant in graph.constants:
        if constant.value.type.dtype == "float32":
            raise GraphError(f"constant {constant.value.name!r} (V2): must hold integers, but found {constant.value.type}")
    for node in graph.nodes:
        for name in node.inputs:
            if graph.values[name].type.dtype == "float32" and (node.op != "Quantize" or graph.producer(name)):
                raise GraphError(f"node {node.name!r} (V2): only Quantize may read a float, but found {node.op} of {name!r}")


def check_codes(graph: Graph) -> None:
    """(V8) the logarithmic codes of LogIntSoftmax only move, until ShiftMatMul of the same bits reads them."""
    codes: dict[str, object] = {}
    for node in graph.nodes:
        read = {name: codes[name] for name in node.inputs if name in codes}
        if node.op == "LogIntSoftmax":
            codes[node.output.name] = node.attributes["bits"]
        elif node.op in MOVING and read:
            codes[node.output.name] = read[node.inputs[0]]
        elif read and not (node.op == "ShiftMatMul" and read == {node.inputs[0]: node.attributes["bits"]}):
            must = "codes of LogIntSoftmax must be the first factor of a ShiftMatMul of the same bits"
            raise GraphError(f"{_at(node)} (V8): {must}, but found {', '.join(f'{n} of {b} bits' for n, b in read.items())}")


def check_type(graph: Graph, node: Node) -> None:
    """(V3) the operator's constraints hold, and the declared type of the output is the one that follows."""
    if len(node.outputs) != 1:
        raise GraphError(f"{_at(node)} (V3): there must be one output, but found {len(node.outputs)}")
    inferred = _definition(node).result_type(_types(graph, node), node.attributes)
    if inferred != node.output.type:
        raise GraphError(f"{_at(node)} (V3): the output must be {inferred}, but found {node.output.type}")


def check_edge_scale(graph: Graph, node: Node) -> None:
    """(V4) the output's scale and zero point are those that follow from the inputs and from the bits the node emits."""
    expected = _definition(node).result_quant(_quants(graph, node), _types(graph, node), node.attributes)
    found = node.output.quant
    if expected is not None and expected != found:
        raise GraphError(f"{_at(node)} (V4): the output must have {_exactly(expected)}, but found {_exactly(found)}")


def check_edge_constants(graph: Graph, node: Node) -> None:
    """(V5) the constants that follow from scales are those of the values on the node's edges."""
    quants, types = _quants(graph, node), _types(graph, node)
    followed = scales.follow_from_scales(node.op, node.attributes, quants, types, node.output.quant)
    for key, expected in followed.items():
        found = node.attributes[key]
        if expected != found:
            raise GraphError(f"{_at(node)} (V5): {key} must be {_short(expected)}, but found {_short(found)}")


def check_exponential_unit(graph: Graph, node: Node) -> None:
    """(V6) i0 is 1/S by one of the published rules, for the scale S that the producer emits."""
    if "i0" not in node.attributes:
        return
    q = graph.values[node.inputs[0]].quant
    if q is None:
        return
    # Only differences enter Shiftmax: a zero point drops out.
    if q.axis is not None or (q.zero_point and node.op != "Shiftmax"):
        raise GraphError(f"{_at(node)} (V6): the input must have one scale and zero point 0, but found {q}")
    folded = node.attributes.get("sigmoid") == "folded"
    if q.scale[0] <= 0:
        raise GraphError(f"{_at(node)} (V6): the scale of its input must be positive, but found {q.scale[0]!r}")
    units = _units(q.scale[0], folded)
    if node.attributes["i0"] not in units:
        must = f"i0 must be one of {sorted(units)} for the scale {q.scale[0]!r} of its input"
        raise GraphError(f"{_at(node)} (V6): {must}, but found {node.attributes['i0']}")


def check_floats(graph: Graph, node: Node) -> None:
    """(V7) an operator that computes in floats is in a graph whose metadata says that it may."""
    found = graph.metadata.get(FLOATS)
    if _definition(node).floats and found != ALLOWED:
        must = f"an operator that computes in floats needs a graph that allows it: graph.with_metadata({FLOATS}={ALLOWED!r})"
        raise GraphError(f"{_at(node)} (V7): {must}, but found {FLOATS} = {found!r}")


NodeRule = Callable[[Graph, Node], None]


def _refusing(rule: NodeRule) -> NodeRule:
    """The rule, with an operator's own refusals told as the graph's."""

    def checked(graph: Graph, node: Node) -> None:
        try:
            rule(graph, node)
        except (ConstraintError, ScaleError) as error:
            raise GraphError(f"{_at(node)}: {error}") from error

    return checked


NODE_RULES = tuple(map(_refusing, (check_type, check_edge_scale, check_edge_constants, check_exponential_unit, check_floats)))
CLASHING_RULES = tuple(map(_refusing, (check_type, check_edge_constants, check_exponential_unit, check_floats)))


def _at(node: Node) -> str:
    return f"node {node.name!r} ({node.op})"


def _definition(node: Node) -> registry.OpDef:
    return registry.lookup(node.op, f"node {node.name!r}: ")


def _types(graph: Graph, node: Node) -> list[TensorType]:
    return [graph.values[name].type for name in node.inputs]


def _quants(graph: Graph, node: Node) -> list[Quant | None]:
    return [graph.values[name].quant for name in node.inputs]


def _exactly(q: Quant | None) -> str:
    return "no scale" if q is None else f"scale {_short(q.scale)} zero point {q.zero_point} axis {q.axis}"


def _units(scale: float, folded: bool) -> set[int]:
    """1/S by each published rule that gives one."""
    units = set()
    for profile in PROFILES.values():
        with contextlib.suppress(ScaleError):
            units.add(dyadic.exp_unit(scale, profile.i0, sigmoid=folded))
    return units


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(repr, value[:3]))}{', ...' if len(value) > 3 else ''})"
    return repr(value)
