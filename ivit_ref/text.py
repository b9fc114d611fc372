"""Text that a person can read and diff: a graph, one line a node, with types, scales and dyadic numbers; and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ivit_ref.dyadic import to_fraction
from ivit_ref.ir import Attribute, Graph, Node, Quant, Value

DYADICS = {"multiplier": "shift", "a_multiplier": "a_shift", "b_multiplier": "b_shift"}
SHOWN = 4
"""How many entries of a long list are shown."""


def format_graph(graph: Graph) -> str:
    """The whole graph."""
    lines = [f"graph {graph.name}"]
    lines += [f"  {key} = {value}" for key, value in graph.metadata.items()]
    lines += [f"input {_value(v)}" for v in graph.inputs]
    lines += [f"constant {_value(c.value)}" for c in graph.constants]
    lines += [format_node(node) for node in graph.nodes]
    lines += [f"output {name}" for name in graph.outputs]
    return "\n".join(lines)


def format_node(node: Node) -> str:
    """``output: type scale = Op(inputs) attributes``; the node's own name only where it is not its output's."""
    attributes = format_attributes(node.attributes)
    name = "" if node.name == node.output.name else f" name={node.name}"
    return f"{_value(node.output)} = {node.op}({', '.join(node.inputs)}){name}{' ' if attributes else ''}{attributes}"


def format_attributes(attributes: Mapping[str, Attribute]) -> str:
    """``key=value``, with each multiplier and shift as one dyadic number ``m/2^s``."""
    dyadics = _dyadics(attributes)
    inside = {DYADICS[key] for key in dyadics}
    parts = []
    for key, value in attributes.items():
        if key in dyadics:
            shown = _some([f"{m}/2^{s}" for m, s in dyadics[key]])
            parts.append(f"{key.removesuffix('multiplier')}dyadic={shown}")
        elif key not in inside:
            parts.append(f"{key}={_some([_plain(v) for v in value]) if isinstance(value, tuple) else _plain(value)}")
    return " ".join(parts)


def columns(rows: Sequence[Sequence[str]], left: Sequence[int]) -> Iterator[str]:
    """Lines of cells as wide as their columns; numbers flush right, but the columns ``left`` (-1 is the last) flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [">"] * len(widths)
    for place in left:
        sides[place] = "<"
    for row in rows:
        yield "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()


def graph_facts(graph: Graph) -> dict[str, Any]:
    """The same as data for JSON, with every number in full."""
    return {
        "name": graph.name,
        "metadata": dict(graph.metadata),
        "inputs": [_facts(v) for v in graph.inputs],
        "constants": [_facts(c.value) for c in graph.constants],
        "nodes": [_node_facts(node) for node in graph.nodes],
        "outputs": list(graph.outputs),
    }


def _node_facts(node: Node) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": node.name, "op": node.op, "inputs": list(node.inputs), "output": _facts(node.output)}
    facts["attributes"] = {k: list(v) if isinstance(v, tuple) else v for k, v in node.attributes.items()}
    for key, numbers in _dyadics(node.attributes).items():
        facts[f"{key.removesuffix('multiplier')}real"] = [float(to_fraction(m, s)) for m, s in numbers]
    return facts


def _facts(value: Value) -> dict[str, Any]:
    q: Quant | None = value.quant
    quant = None if q is None else {"scale": list(q.scale), "zero_point": q.zero_point, "axis": q.axis}
    return {"name": value.name, "dtype": value.type.dtype, "shape": list(value.type.shape), "quant": quant}


def _value(value: Value) -> str:
    return f"{value.name}: {value.type}" + (f" {value.quant}" if value.quant else "")


def _dyadics(attributes: Mapping[str, Attribute]) -> dict[str, list[tuple[int, int]]]:
    """Multipliers with their shifts; the multiplier of TFLiteSoftmax has none."""
    pairs = {key: shift for key, shift in DYADICS.items() if key in attributes and shift in attributes}
    return {key: list(zip(_numbers(attributes[key]), _numbers(attributes[s]), strict=True)) for key, s in pairs.items()}


def _numbers(value: Attribute) -> list[int]:
    return [int(v) for v in (value if isinstance(value, tuple) else (value,))]


def _plain(value: object) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _some(items: list[str]) -> str:
    if len(items) == 1:
        return items[0]
    hidden = len(items) - SHOWN
    return f"[{', '.join(items[:SHOWN])}{f', {hidden} more' if hidden > 0 else ''}]"
