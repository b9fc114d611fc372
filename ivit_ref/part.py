"""A part of a graph as a graph of its own: one block of a model, or a single node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

from ivit_ref.errors import GraphError
from ivit_ref.ir import Graph, Node


def matching(graph: Graph, pattern: str) -> tuple[Node, ...]:
    """The nodes whose name matches a pattern such as ``blocks.0.*``."""
    nodes = tuple(node for node in graph.nodes if fnmatchcase(node.name, pattern))
    if not nodes:
        raise GraphError(f"part: a node's name must match, such as {graph.nodes[0].name!r}, but found none for {pattern!r}")
    return nodes


def part(graph: Graph, nodes: Iterable[Node], name: str) -> Graph:
    """Some nodes of a graph, in its order.

    What they read and do not make becomes an input, unless it is a constant; what others read, or the graph gives out, becomes
    an output.
    """
    chosen = tuple(nodes)
    made = {value.name for node in chosen for value in node.outputs}
    names = {node.name for node in chosen}
    read = dict.fromkeys(name for node in chosen for name in node.inputs if name not in made)
    constants = {c.value.name: c for c in graph.constants}
    inputs = tuple(graph.values[n] for n in read if n not in constants)
    kept = tuple(constants[n] for n in read if n in constants)
    wanted = {n for node in graph.nodes if node.name not in names for n in node.inputs} | set(graph.outputs)
    outputs = tuple(v.name for node in chosen for v in node.outputs if v.name in wanted)
    if not inputs:  # a part that reads constants alone is given them
        inputs, kept = tuple(c.value for c in kept), ()
    return replace(graph, name=name, inputs=inputs, outputs=outputs or (chosen[-1].output.name,), constants=kept, nodes=chosen)
