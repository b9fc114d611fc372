"""Graphs from graphs: in another profile, with other attributes, with named dimensions bound.

Each rewrite goes through the nodes in order and makes every one anew, so that types, scales and the dyadic numbers that
follow from them stay true, and verifies the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ivit_ref.build import make_node
from ivit_ref.errors import GraphError
from ivit_ref.ir import Attribute, Graph, Node, Quant, Value
from ivit_ref.profiles import Profile, fitted, profile_named
from ivit_ref.registry import plain
from ivit_ref.verify import verify

CHANGED = "changed."
"""The metadata of an attribute that was replaced: ``changed.ILayerNorm.mean_bits = 64``."""


def with_profile(graph: Graph, profile: str | Profile) -> Graph:
    """The graph in another profile."""
    chosen = fitted(profile_named(profile), graph.metadata)
    result = _remade(graph, lambda node: node.attributes, chosen, {**graph.metadata, "profile": chosen.name})
    return replace(result, metadata={k: v for k, v in result.metadata.items() if _still_true(result, k, v)})


def with_attributes(graph: Graph, op: str, attributes: Mapping[str, Attribute]) -> Graph:
    """The graph with some attributes of every ``op`` node replaced; the metadata says so."""
    if not any(node.op == op for node in graph.nodes):
        raise GraphError(f"with_attributes: the graph must have a node of the operator, but found no {op!r}")
    changes = {f"{CHANGED}{op}.{key}": str(plain(value)) for key, value in attributes.items()}
    result = _remade(
        graph,
        lambda node: {**node.attributes, **attributes} if node.op == op else node.attributes,
        None,
        {**graph.metadata, **changes},
    )
    for key, value in attributes.items():
        if any(node.op == op and node.attributes[key] != plain(value) for node in result.nodes):
            raise GraphError(f"with_attributes: an attribute must be a choice, but {key} of {op} follows from the scales")
    return result


def _still_true(graph: Graph, key: str, value: str) -> bool:
    """Whether a change that the metadata tell of has not been written over."""
    if (key, value) == ("requantize", "hawq"):
        return all(node.attributes["rounding"] == "half_even" for node in graph.nodes if node.op == "Requantize")
    if not key.startswith(CHANGED):
        return True
    op, _, attribute = key.removeprefix(CHANGED).partition(".")
    return all(str(node.attributes[attribute]) == value for node in graph.nodes if node.op == op)


def bind(graph: Graph, dims: Mapping[str, int]) -> Graph:
    """The graph with named dimensions replaced by integers."""
    for name, length in dims.items():
        if name not in graph.dims:
            raise GraphError(f"bind: a dimension must be one of {', '.join(graph.dims) or 'none'}, but found {name!r}")
        if isinstance(length, str):
            raise GraphError(f"bind: {name} must be a length, but found {length!r}")
    inputs = tuple(replace(v, type=v.type.bind(dims)) for v in graph.inputs)
    return _remade(replace(graph, inputs=inputs), lambda node: node.attributes, None, graph.metadata)


def with_claim(graph: Graph, op: str, quant: Quant) -> Graph:
    """The graph in which every ``op`` node claims that its output is worth ``quant``, and its consumers believe it.

    It breaks the edge rule (V4), which is its purpose: ``Interpreter(..., clash=True)`` runs it, nothing else takes it.
    """

    def claiming(node: Node) -> Node:
        return replace(node, outputs=(replace(node.output, quant=quant),)) if node.op == op else node

    return _rebuilt(graph, lambda node: node.attributes, None, graph.metadata, claiming)


def _remade(
    graph: Graph,
    attributes: Callable[[Node], Mapping[str, Attribute]],
    profile: Profile | None,
    metadata: Mapping[str, str],
) -> Graph:
    result = _rebuilt(graph, attributes, profile, metadata, lambda node: node)
    verify(result)
    return result


def _rebuilt(
    graph: Graph,
    attributes: Callable[[Node], Mapping[str, Attribute]],
    profile: Profile | None,
    metadata: Mapping[str, str],
    finished: Callable[[Node], Node],
) -> Graph:
    values: dict[str, Value] = {v.name: v for v in graph.inputs} | {c.value.name: c.value for c in graph.constants}
    nodes = []
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        out = node.output
        made = finished(make_node(node.op, inputs, node.name, out.quant, attributes(node), profile, out.name))
        values[out.name] = made.output
        nodes.append(made)
    return replace(graph, nodes=tuple(nodes), metadata=metadata)
