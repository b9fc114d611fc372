"""One pass over the source: every node becomes integer operators, is folded away, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from ivit_ref import dyadic
from ivit_ref.errors import GraphError, IvitError
from ivit_ref.importer.choices import Choices, Report
from ivit_ref.importer.constants import FOLDED, Constant, fold
from ivit_ref.importer.emitter import Emitter, Target, printable, quant_of
from ivit_ref.importer.malformed import MALFORMATIONS, Located, explained
from ivit_ref.importer.pending import Sum
from ivit_ref.importer.qoperator import MALFORMED
from ivit_ref.importer.reals import WHOLE, Held, Known, Move, Real, Tabulated
from ivit_ref.importer.source import Edge, Foreign, Op, Source, instead
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Array, Graph, Quant, Value
from ivit_ref.profiles import profile_named


@dataclass
class Coded:
    """An integer tensor as itself: what QuantizeLinear makes, and an integer input."""

    value: Value
    origin: Tabulated | None = None
    linear: bool = False


@dataclass
class Image:
    """A float input that is not quantized yet, and how its elements were moved so far."""

    edge: Edge
    shape: tuple[int, ...]
    moves: tuple[Move, ...] = ()


@dataclass
class Refused:
    """What a refused node would have made."""

    name: str


ON_CONSTANTS = (
    "QuantizeLinear",
    "DequantizeLinear",
    "qonnx.custom_op.general::Quant",
    "qonnx.custom_op.general::IntQuant",
)
"""What makes a quantized constant of a constant, besides the operators that are folded."""

Item: TypeAlias = "Constant | Foreign | Real | Coded | Image | Refused"
Rule: TypeAlias = "Callable[[Lowering, Op], Item | list[Item]]"


@dataclass
class Lowering:
    """The state of the pass: what every name of the source stands for."""

    source: Source
    choices: Choices
    rules: Mapping[str, Rule]
    refusals: Mapping[str, str]
    strict: bool
    report: Report = field(default_factory=Report)
    items: dict[str, Item] = field(default_factory=dict)
    inputs: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.emitter = Emitter(self.source.name or "imported", profile_named(self.choices.profile), self.report)
        self.emitter.reserved = frozenset(map(printable, self.source.outputs))
        for name, array in self.source.constants.items():
            self.items[name] = array if isinstance(array, Foreign) else Constant(array)

    # --- What a rule asks for

    def item(self, op: Op, place: int) -> Item:
        """What an input stands for."""
        if not op.has(place):
            raise GraphError(f"it must have an input {place}, but found {len(op.inputs)}")
        item = self.items[op.inputs[place]]
        if isinstance(item, Foreign):
            raise GraphError(f"its input {place} must hold {instead(item.dtype)}, but found {item.dtype}")
        return item

    def constant(self, op: Op, place: int) -> Constant:
        """A constant input."""
        item = self.item(op, place)
        if not isinstance(item, Constant):
            raise GraphError(f"its input {place} must be constant, but found {op.inputs[place]!r}, which is computed")
        return item

    def array(self, op: Op, place: int, default: Array | None = None) -> Array:
        """A constant input as an array."""
        return default if default is not None and not op.has(place) else self.constant(op, place).array

    def lengths(self, op: Op, place: int) -> tuple[int, ...]:
        """A constant input as integers: a shape, axes."""
        array = self.array(op, place)
        if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > 64:
            raise GraphError(f"its input {place} must be a short list of integers, but found {array.dtype}{list(array.shape)}")
        return tuple(int(n) for n in array.reshape(-1))

    def real(self, op: Op, place: int) -> Real:
        """An input as real numbers."""
        item, name = self.item(op, place), op.inputs[place]
        if isinstance(item, Real):
            return item
        if isinstance(item, Constant):
            return Known(item, name)
        if isinstance(item, Coded):
            return self.whole(item, name)
        raise GraphError(f"it must read integers (insert QuantizeLinear), but found the float input {name!r}")

    def whole(self, coded: Coded, name: str) -> Real:
        """Integers as the whole numbers that they are."""
        q = quant_of(coded.value)
        centred = Held(self.emitter.worth(self.emitter.center(coded.value, name), 1.0, name), name)
        if q.zero_point == 0:
            return centred
        zero = Known(Constant(np.array(q.zero_point, np.float32)), f"{name}.zero_point")
        return Sum(centred, zero, name, centred.shape)

    def target(self, scale: Array, zero_point: Array, axis: int, rank: int, dtype: str) -> Target:
        """The quantization that constants declare, every one of them checked."""
        if dtype not in BOUNDS or dtype in ("bool", "uint32", "int64"):
            raise GraphError(f"it must quantize to 8, 16 or 32 bits, but found {dtype}")
        scales = checked_scales(scale)
        zeros = sorted(set(zero_point.reshape(-1).tolist()))
        low, high = BOUNDS[dtype]
        if len(zeros) != 1 or not low <= zeros[0] <= high:
            raise GraphError(f"the zero point must be one value of {dtype}, but found {zeros[:3]}")
        along = (axis + rank if axis < 0 else axis) if len(scales) > 1 else None
        return Target(Quant(scales, int(zeros[0]), along), dtype)

    # --- The pass

    def folded(self, ops: list[Op]) -> list[Op]:
        """The operators that are left when all are computed that read constants only."""
        left = []
        for op in ops:
            known = all(isinstance(self.items.get(name), Constant) for name in op.inputs if name)
            if known and (op.type in FOLDED or op.type in ON_CONSTANTS):
                self._process(op)
            else:
                left.append(op)
        return left

    def run(self, ops: list[Op]) -> None:
        """Lower every node."""
        for op in ops:
            self._process(op)

    def _process(self, op: Op) -> None:
        entry = self.report.entry(op.name, op.type)
        self.emitter.entry = entry
        self.emitter.owners |= dict.fromkeys(op.outputs, entry)
        try:
            results = self._lower(op)
        except (IvitError, *MALFORMATIONS) as error:
            if isinstance(error, Located):
                entry = self.report.entry(error.node, error.type)
                entry.refused = entry.refused or error.why
            entry.refused = entry.refused or explained(error)
            if self.strict and isinstance(error, Located):
                raise
            if self.strict:
                raise GraphError(f"node {op.name!r} ({entry.type}): {explained(error)}") from error
            results = [Refused(name) for name in op.outputs]
        self.items |= {name: result for name, result in zip(op.outputs, results, strict=False) if name}

    def _lower(self, op: Op) -> list[Item]:
        inputs = [self.items[name] if name else None for name in op.inputs]
        missing = [item.name for item in inputs if isinstance(item, Refused)]
        if missing:
            self.emitter.entry.note = f"not reached: it needs {missing[0]!r}"
            return [Refused(name) for name in op.outputs]
        if all(item is None or isinstance(item, Constant) for item in inputs):
            folded = fold(op, [item if isinstance(item, Constant) else None for item in inputs])
            if folded is not None:
                self.emitter.entry.note = "folded: constant"
                return list(folded)
        if op.type == MALFORMED:
            raise GraphError(op.get("why", ""))
        if op.type in self.refusals:
            raise GraphError(self.refusals[op.type])
        if op.type not in self.rules:
            raise GraphError("it has no integer form here (see: docs/import.md), but the graph needs what it makes")
        result = self.rules[op.type](self, op)
        results = result if isinstance(result, list) else [result]
        if len(results) < len(op.outputs) and any(op.outputs[len(results) :]):
            raise GraphError(f"it must have {len(results)} output, but found {len(op.outputs)}")
        return results

    def finish(self, metadata: Mapping[str, str]) -> Graph:
        """The verified integer graph."""
        outputs = [self._output(name) for name in self.source.outputs]
        order = list(self.inputs.values())
        self.emitter.inputs.sort(key=order.index)
        return self.emitter.finish(outputs, metadata)

    def _output(self, name: str) -> Value:
        try:
            return self._made(name)
        except Located:
            raise
        except (IvitError, *MALFORMATIONS) as error:
            raise GraphError(f"output {name!r}: {explained(error)}") from error

    def _made(self, name: str) -> Value:
        item = self.items[name]
        if isinstance(item, Coded):
            v = item.value
            wanted = v if v.name == name else None
            return wanted or self.emitter.node("Reshape", v, name=name, output=name, shape=tuple(v.type.shape))  # type: ignore[arg-type]
        dtype = self.source.outputs[name]
        if isinstance(item, Real) and dtype in ("int8", "uint8", "int16", "uint16", "int32"):
            return item.at(self.emitter, Target(WHOLE, dtype), name)
        if isinstance(item, Real):
            return self.emitter.node("Dequantize", item.integers(self.emitter), name=name, output=name)
        raise GraphError("it must be computed from the inputs, but found a constant or an input")


def checked_scales(scale: Array) -> tuple[float, ...]:
    """Scales as float32 numbers: finite, positive, one or along one axis."""
    if scale.dtype.kind != "f" or scale.ndim > 1 or scale.size == 0:
        raise GraphError(f"the scale must be float32 with at most one axis, but found {scale.dtype}{list(scale.shape)}")
    scales = [dyadic.float32(s) for s in scale.reshape(-1).tolist()]
    for s in scales:
        if not 2.0**-126 <= s <= 2.0**126:
            raise GraphError(f"the scale must be positive and finite, from 2**-126 to 2**126, but found {s}")
    return tuple(scales)
