"""Quantized ONNX graphs from anywhere, as integer graphs: QDQ, QOperator and custom domains.

The way of a model: read (``source``), quantized operators taken apart (``qoperator``), constants folded, patterns recognised
(``patterns``), every node lowered (``lower`` and the rules beside it), written (``emitter``) and verified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from ivit_ref.errors import GraphError, InputError, IvitError
from ivit_ref.importer import edges, elementwise, ivit, linear, movement, nonlinear, qonnx, windows
from ivit_ref.importer.choices import Choices, Report
from ivit_ref.importer.constants import Constant
from ivit_ref.importer.lower import Coded, Image, Lowering, Rule
from ivit_ref.importer.patterns import recognised
from ivit_ref.importer.qoperator import rewritten
from ivit_ref.importer.refusals import FLOAT_MODEL, REFUSALS, is_quantized
from ivit_ref.importer.source import Edge, Foreign, Op, Source, named_axes, read_model
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Graph, Quant

__all__ = ["Choices", "Imported", "Report", "import_model"]

RULES: dict[str, Rule] = {
    **edges.RULES,
    **linear.RULES,
    **movement.RULES,
    **windows.RULES,
    **elementwise.RULES,
    **nonlinear.RULES,
    **ivit.RULES,
    **qonnx.RULES,
}


NOTES = {
    "QuantizeLinear": "rounded with its producer, or quantized so already",
    "DequantizeLinear": "a scale, no arithmetic",
}
"""Why a node that is lowered leaves no operator."""


@dataclass(frozen=True)
class Imported:
    """The integer graph, if every node has a place in it, and what became of each node."""

    graph: Graph | None
    report: Report


def import_model(
    model: ModelProto, dims: Mapping[str, int], choices: Choices | None = None, *, strict: bool = True
) -> Imported:
    """The integer graph of a quantized model with its named axes bound to ``dims``.

    Raises GraphError, naming the first node that has no exact integer form. With ``strict`` false, such nodes are collected in
    the report, there is no graph if there are any, and a named axis that ``dims`` leave out counts as 1.
    """
    if choices is not None and not isinstance(choices, Choices):
        raise InputError(f"choices: must be ivit_ref.Choices(...), but found {choices!r}")
    # Numbers of strangers may overflow in float32; what matters is checked to be finite where it becomes integers.
    with np.errstate(all="ignore"):
        return _import(model, dims, choices or Choices(), strict=strict)


def _import(model: ModelProto, dims: Mapping[str, int], chosen: Choices, *, strict: bool) -> Imported:
    report = Report()
    source = read_model(model, dims if strict else _completed(model, dims, report))
    _require_quantized(source, report, strict=strict)
    originals = [(op.name, op.type) for op in source.ops]
    ops = rewritten(source.ops, source.constants, source.opset)
    lowering = Lowering(source, chosen, RULES, REFUSALS, strict, report)
    for name, type_ in originals:
        report.entry(name, type_)
    ops = lowering.folded(ops)
    constants = {name: item for name, item in lowering.items.items() if isinstance(item, Constant)}
    ops = recognised(ops, constants, list(source.outputs), gelu=chosen.gelu == "shiftgelu")
    lowering.items |= constants
    _bind_inputs(lowering, source.inputs, ops)
    lowering.run(ops)
    _explain(report, ops)
    if report.refused:
        return Imported(None, report)
    return Imported(_finished(lowering, source, chosen, strict=strict), report)


def _completed(model: ModelProto, dims: Mapping[str, int], report: Report) -> dict[str, int]:
    """The lengths that are given, and 1 for every other named axis."""
    missing = {name: 1 for name in named_axes(model) if name not in dims}
    for name in missing:
        report.choose(f"the axis {name} counts as 1 here: it has no length")
    return {**missing, **dims}


def _finished(lowering: Lowering, source: Source, choices: Choices, *, strict: bool) -> Graph | None:
    metadata = {**choices.metadata(), "profile": lowering.emitter.profile.name, "source_opset": str(source.opset)}
    if source.producer:
        metadata["source_producer"] = source.producer
    try:
        graph = lowering.finish(metadata)
        return graph.with_metadata(chosen=str(len(lowering.report.chosen))) if lowering.report.chosen else graph
    except IvitError as error:
        if strict:
            raise
        lowering.report.unmade = str(error)
        return None


def _require_quantized(source: Source, report: Report, *, strict: bool) -> None:
    """A float model is refused as one, not node by node; one of integers throughout is none."""
    if any(is_quantized(op.type) for op in source.ops) or all(edge.dtype != "float32" for edge in source.inputs):
        return
    first = next((op for op in source.ops if op.type in ("Conv", "MatMul", "Gemm")), source.ops[0])
    message = FLOAT_MODEL + f"node {first.name!r} ({first.type})"
    if strict:
        raise GraphError(message)
    report.entry(first.name, first.type).refused = message


def _bind_inputs(lowering: Lowering, edges_: Iterable[Edge], ops: list[Op]) -> None:
    """Float inputs wait for their quantization; integer inputs mean what their first reader says."""
    e = lowering.emitter
    for edge in edges_:
        if edge.dtype == "float32":
            lowering.items[edge.name] = Image(edge, edge.shape)
        elif edge.dtype in BOUNDS and edge.dtype != "int64":
            quant = None if edge.dtype == "bool" else _declared(lowering, edge, ops)
            lowering.inputs[edge.name] = e.input(edge.name, edge.dtype, edge.shape, quant)
            lowering.items[edge.name] = Coded(lowering.inputs[edge.name])
        else:
            lowering.items[edge.name] = Foreign(edge.dtype)


def _declared(lowering: Lowering, edge: Edge, ops: list[Op]) -> Quant:
    """What an integer input stands for: scale and zero point of the node that reads it first, perhaps moved."""
    names = {edge.name}
    for op in ops:
        if not op.inputs or op.inputs[0] not in names:
            continue
        if op.type in movement.RULES or op.type in ("Identity", "Clip", "MaxPool", "Pad"):
            names.update(op.outputs)
        arrays = [x.array if isinstance(x, Constant) else None for x in map(lowering.items.get, op.inputs)]
        if op.type == "DequantizeLinear" and len(arrays) > 1 and arrays[1] is not None and arrays[1].size == 1:
            zero = arrays[2] if len(arrays) > 2 and arrays[2] is not None else np.zeros(1, np.int64)
            return lowering.target(arrays[1].reshape(-1), zero, 0, 1, edge.dtype).quant
        if op.type in ("MatMulInteger", "ConvInteger") and len(arrays) > 2 and arrays[2] is not None and arrays[2].size == 1:
            return lowering.target(np.ones(1, np.float32), arrays[2], 0, 1, edge.dtype).quant
    return Quant((1.0,))


def _explain(report: Report, ops: list[Op]) -> None:
    """A note for every node that left no operator behind."""
    left = {op.name for op in ops}
    for entry in report.entries.values():
        if not entry.operators and not entry.note and not entry.refused:
            entry.note = NOTES.get(entry.type, "no arithmetic") if entry.name in left else "folded, or part of a pattern"
