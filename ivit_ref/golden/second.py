"""The second opinion: every operator by its twin on Python integers, or a whole graph in another runtime.

A vector that both do not agree on is never written.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import prod
from typing import Any, Literal

import numpy as np
from onnx.reference import ReferenceEvaluator

from ivit_ref import registry
from ivit_ref.arrays import identical, unequal
from ivit_ref.cost import macs
from ivit_ref.errors import IvitError
from ivit_ref.ir import Array, Attribute, Graph, Node
from ivit_ref.onnx_io import to_model

Confirmation = Literal["twin", "onnx"]
"""twin: Python integers. onnx: the ONNX function bodies, in onnx's own evaluator."""

MOST_WORK_OF_A_TWIN = 2**27
"""In products, of which a twin makes some ten million a second."""

WORK_OF_AN_ELEMENT = 50
"""In products: what a twin needs for an element of a tensor, which it makes of fractions."""

ROW_BY_ROW = frozenset(
    {
        *("ShiftExp", "IntDiv", "IntSqrt", "Shiftmax", "ShiftGELU", "ILayerNorm", "Lookup"),
        *("IBertSoftmax", "IBertGELU", "IBertLayerNorm", "LogIntSoftmax", "TFLiteSoftmax", "L1LayerNorm", "ITASoftmax"),
        *("FloatSoftmax", "FloatGELU", "FloatLayerNorm"),
    }
)
"""Operators whose twins take a row as a flat list; the others take nested lists."""


def confirmation(graph: Graph) -> Confirmation:
    """Who confirms the vectors of a graph."""
    elements = sum(prod(length for length in n.output.type.shape if isinstance(length, int)) for n in graph.nodes)
    return "twin" if macs(graph) + WORK_OF_AN_ELEMENT * elements <= MOST_WORK_OF_A_TWIN else "onnx"


def twin(op: str, arrays: Sequence[Array], attributes: Mapping[str, Attribute], dtype: str) -> Array:
    """What the twin of an operator answers where values wrap, as an array of ``dtype``."""
    function, wraps = twin_of(op)
    keywords: dict[str, Any] = {**attributes, **({"overflow": "wrap"} if wraps else {})}
    answers = [function(*each, **keywords) for each in arguments(op, arrays)]
    return np.array(answers, dtype).reshape(arrays[0].shape) if op in ROW_BY_ROW else np.array(answers[0], dtype)


def arguments(op: str, arrays: Sequence[Array]) -> Iterator[list[Any]]:
    """What the twin of an operator is given: once, or for each row of the first array."""
    if op not in ROW_BY_ROW:
        yield [a.tolist() for a in arrays]
        return
    behind = [_rows(np.broadcast_to(a, arrays[0].shape)) if op == "IntDiv" else None for a in arrays[1:]]
    for i, row in enumerate(_rows(arrays[0])):
        yield [row, *(b[i] if b else a.tolist() for a, b in zip(arrays[1:], behind, strict=True))]


@cache
def twin_of(op: str) -> tuple[Callable[..., Any], bool]:
    """The twin, and whether it has widths that wrap."""
    kernel = registry.lookup(op).kernel
    module = importlib.import_module(f"ivit_ref.oracle.{kernel.__module__.rpartition('.')[2]}")
    function = getattr(module, kernel.__name__)
    return function, "overflow" in inspect.signature(function).parameters


def _rows(x: Array) -> list[Any]:
    rows: list[Any] = x.reshape(-1, x.shape[-1] if x.ndim else 1).tolist()
    return rows


def confirm(graph: Graph, values: Mapping[str, Array]) -> Confirmation:
    """Hold every tensor that a node makes against the second opinion; IvitError names the first that differs.

    ``values`` are all tensors of the graph by name. A twin is given the tensors that the engine made: each node is confirmed on
    its own, and so is the whole.
    """
    by = confirmation(graph)
    other = _in_onnx(graph, values) if by == "onnx" else {}
    for node in graph.nodes:
        arrays = [values[name] for name in node.inputs]
        dtype = node.output.type.dtype
        answer = other[node.output.name] if by == "onnx" else twin(node.op, arrays, node.attributes, dtype)
        _agree(node, values[node.output.name], answer, by)
    return by


def _agree(node: Node, ours: Array, theirs: Array, by: str) -> None:
    if identical(ours, theirs):
        return
    who = f"node {node.name!r} ({node.op}): both computations must agree before a vector is written"
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        raise IvitError(f"{who}, but {by} gives {theirs.dtype}{list(theirs.shape)}: a bug of ivit_ref")
    index = tuple(int(i) for i in np.argwhere(unequal(ours, theirs))[0])
    raise IvitError(f"{who}, but at {list(index)} they give {ours[index]} and, by {by}, {theirs[index]}: a bug of ivit_ref")


def _in_onnx(graph: Graph, values: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor in onnx's own evaluator."""
    names = [node.output.name for node in graph.nodes]
    evaluator = ReferenceEvaluator(to_model(replace(graph, outputs=tuple(names))))
    results = evaluator.run(None, {v.name: values[v.name] for v in graph.inputs})
    return dict(zip(names, results, strict=True))
