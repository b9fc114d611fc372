"""What running a graph costs: multiply-accumulates."""

from __future__ import annotations

from math import prod

from ivit_ref.errors import GraphError
from ivit_ref.ir import Graph, Node, Shape


def macs(graph: Graph) -> int:
    """The multiplications of all products of a graph whose dimensions are bound."""
    if graph.dims:
        raise GraphError(f"macs: every dimension must be bound (see: Graph.bind), but found {graph.dims[0]!r}")
    return sum(_macs(graph, node) for node in graph.nodes)


def _macs(graph: Graph, node: Node) -> int:
    """For each result of a product, the length of what is summed up."""
    shapes = [graph.values[name].type.shape for name in node.inputs]
    if node.op in ("MatMul", "Linear"):
        summed = shapes[0][-1:]
    elif node.op == "Conv":
        summed = shapes[1][1:]
    else:
        return 0
    return _product(node.output.type.shape) * _product(summed)


def _product(shape: Shape) -> int:
    return prod(length for length in shape if isinstance(length, int))
