"""Graphs from graphs: in another profile, with other attributes, with named dimensions bound.

Each rewrite goes through the nodes in order and makes every one anew, so that types, scales and the dyadic numbers that
follow from them stay true, and verifies the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ivit_ref.build import make_node
from ivit_ref.errors import GraphError
from ivit_ref.ir import Attribute, Graph, Node, Value
from ivit_ref.profiles import Profile, profile_named
from ivit_ref.registry import plain
from ivit_ref.verify import verify


def with_profile(graph: Graph, profile: str | Profile) -> Graph:
    """The graph in another profile."""
    chosen = profile_named(profile)
    return _remade(graph, lambda node: node.attributes, chosen, {**graph.metadata, "profile": chosen.name})


def with_attributes(graph: Graph, op: str, attributes: Mapping[str, Attribute]) -> Graph:
    """The graph with some attributes of every ``op`` node replaced; the metadata says so."""
    if not any(node.op == op for node in graph.nodes):
        raise GraphError(f"with_attributes: the graph must have a node of the operator, but found no {op!r}")
    note = ", ".join(f"{op}.{key}={value}" for key, value in sorted(attributes.items()))
    changed = ", ".join(filter(None, [graph.metadata.get("changed", ""), note]))
    result = _remade(
        graph,
        lambda node: {**node.attributes, **attributes} if node.op == op else node.attributes,
        None,
        {**graph.metadata, "changed": changed},
    )
    for key, value in attributes.items():
        if any(node.op == op and node.attributes[key] != plain(value) for node in result.nodes):
            raise GraphError(f"with_attributes: an attribute must be a choice, but {key} of {op} follows from the scales")
    return result


def bind(graph: Graph, dims: Mapping[str, int]) -> Graph:
    """The graph with named dimensions replaced by integers."""
    unknown = sorted(set(dims) - set(graph.dims))
    if unknown:
        raise GraphError(f"bind: a dimension must be one of {', '.join(graph.dims) or 'none'}, but found {unknown[0]!r}")
    inputs = tuple(replace(v, type=v.type.bind(dims)) for v in graph.inputs)
    return _remade(replace(graph, inputs=inputs), lambda node: node.attributes, None, graph.metadata)


def _remade(
    graph: Graph,
    attributes: Callable[[Node], Mapping[str, Attribute]],
    profile: Profile | None,
    metadata: Mapping[str, str],
) -> Graph:
    values: dict[str, Value] = {v.name: v for v in graph.inputs} | {c.value.name: c.value for c in graph.constants}
    nodes = []
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        out = node.output
        made = make_node(node.op, inputs, node.name, out.quant, attributes(node), profile, out.name)
        values[out.name] = made.output
        nodes.append(made)
    result = replace(graph, nodes=tuple(nodes), metadata=metadata)
    verify(result)
    return result
