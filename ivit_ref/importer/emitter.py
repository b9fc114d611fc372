"""Writing the integer graph: nodes with names of the source, and what is known of the integers on the way.

Nothing here knows of ONNX. Every method takes and gives values of the graph that is being built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from ivit_ref import dyadic
from ivit_ref.build import make_node
from ivit_ref.errors import GraphError
from ivit_ref.importer.choices import Entry, Report
from ivit_ref.integers import BOUNDS, Rounding, widen
from ivit_ref.ir import Array, Attribute, Constant, Graph, Node, Quant, Shape, TensorType, Value
from ivit_ref.profiles import Profile
from ivit_ref.verify import verify

INT32 = 2**31 - 1
MOST_PLACES = 2**16
NOTHING: Mapping[str, Attribute] = MappingProxyType({})


@dataclass(frozen=True)
class Target:
    """What a tensor is quantized to: the meaning of a step, and the dtype; another rounding than the profile's, if any."""

    quant: Quant
    dtype: str
    rounding: Rounding | None = None


class Emitter:
    """Collects constants and nodes; ``finish`` gives the verified graph of those that are needed."""

    def __init__(self, name: str, profile: Profile, report: Report) -> None:
        self.name, self.profile, self.report = name, profile, report
        self.inputs: list[Value] = []
        self.constants: dict[str, Constant] = {}
        self.nodes: list[Node] = []
        self.peaks: dict[str, int] = {}
        self.row_sums: dict[str, int] = {}
        self.entry = Entry("", "")
        self.owners: dict[str, Entry] = {}
        self.reserved: frozenset[str] = frozenset()
        self._names: set[str] = set()
        self._made: dict[object, Value] = {}

    # --- Names, inputs, constants

    def fresh(self, name: str, *, asked_for: bool = False) -> str:
        """A name that no value and no node has: printable, without white space; one of an output only if asked for."""
        plain = printable(name)
        found, n = plain, 1
        while found in self._names or (found in self.reserved and not asked_for):
            n += 1
            found = f"{plain}.{n}"
        self._names.add(found)
        return found

    def input(self, name: str, dtype: str, shape: Shape, quant: Quant | None) -> Value:
        """Declare an input."""
        self.inputs.append(Value(self.fresh(name, asked_for=True), TensorType(dtype, shape), quant))
        return self.inputs[-1]

    def constant(self, name: str, data: Array, quant: Quant | None) -> Value:
        """Add a constant, once."""
        data = np.ascontiguousarray(data).reshape(data.shape)
        key = ("constant", data.dtype.str, data.shape, data.tobytes(), quant)
        if key not in self._made:
            value = Value(self.fresh(name), TensorType(str(data.dtype), data.shape), quant)
            self.constants[value.name] = Constant(value, data)
            self._made[key] = value
            if data.dtype.kind in "iu" and quant is not None:
                self.peaks[value.name] = int(np.abs(widen(data) - quant.zero_point).max(initial=0))
        return self._made[key]

    # --- Nodes

    def node(
        self,
        op: str,
        *inputs: Value,
        name: str,
        output: str = "",
        quant: Quant | None = None,
        how: Mapping[str, Attribute] = NOTHING,
        **more: Attribute,
    ) -> Value:
        """Add a node; attributes that are not given are chosen by the profile. The same node is not made twice."""
        attributes = {**how, **more}
        own = output if output in self.reserved else ""
        key = (op, own, tuple(v.name for v in inputs), quant, tuple(sorted(attributes.items())))
        if key in self._made:
            return self._made[key]
        node = self._complete(op, inputs, output or name, quant, attributes)
        label = self.fresh(output or name, asked_for=bool(output))
        value = replace(node.output, name=label)
        self.nodes.append(replace(node, name=label, outputs=(value,)))
        self.owners.get(name, self.entry).operators.append(op)
        self._made[key] = value
        return value

    def _complete(
        self, op: str, inputs: tuple[Value, ...], name: str, quant: Quant | None, attributes: Mapping[str, Attribute]
    ) -> Node:
        """The node with the profile's attributes, but for those that are given."""
        node = make_node(op, inputs, name, quant, attributes, self.profile)
        changed = {k: v for k, v in attributes.items() if node.attributes[k] != v}
        return make_node(op, inputs, name, quant, {**node.attributes, **changed}, None) if changed else node

    def peak(self, v: Value) -> int:
        """The largest magnitude that ``integer - zero_point`` can have."""
        low, high = BOUNDS[v.type.dtype]
        zero = 0 if v.quant is None else v.quant.zero_point
        return self.peaks.get(v.name, max(high - zero, zero - low))

    def bound(self, v: Value) -> float:
        """The largest magnitude of the real numbers that a value can stand for."""
        return self.peak(v) * max(map(abs, quant_of(v).scale))

    def bounded(self, v: Value, peak: int) -> Value:
        """The value, known to be within so many steps; a bound beyond int32 is refused."""
        if peak > INT32 and v.type.dtype == "int32":
            raise GraphError(f"the accumulator {v.name!r} must fit int32, but its bound is {peak}")
        self.peaks[v.name] = min(peak, self.peak(v))
        return v

    # --- Meaning

    def requantize(self, v: Value, target: Target, name: str, output: str = "") -> Value:
        """The same real numbers at another quantization; the same value where it has that one."""
        if v.quant == target.quant and v.type.dtype == target.dtype:
            return v
        rounding: dict[str, Attribute] = {} if target.rounding is None else {"rounding": target.rounding}
        x = self.center(v, name)
        label = output or name
        y = self.node("Requantize", x, name=label, output=output, quant=target.quant, dtype=target.dtype, how=rounding)
        smallest = min(map(abs, target.quant.scale))
        self.peaks[y.name] = min(self.peak(y), int(self.bound(v) / smallest) + 1)
        return y

    def center(self, v: Value, name: str) -> Value:
        """The value with zero point 0 and a signed dtype."""
        q = quant_of(v)
        if q.zero_point == 0 and v.type.dtype in ("int8", "int16", "int32"):
            return v
        low, high = BOUNDS[v.type.dtype]
        small = max(high - q.zero_point, q.zero_point - low) < 2**15
        y = self.node("Center", v, name=f"{name}.centered", dtype="int16" if small else "int32")
        self.peaks[y.name] = self.peak(v)
        return y

    def at_most_16_bits(self, v: Value, name: str, largest: int = 2**15 - 1) -> Value:
        """The value centred in int8 or int16 with one scale; what is wider is requantized by what it can be at most."""
        x, largest = self.center(v, name), min(largest, 2**15 - 1)
        if x.type.dtype in ("int8", "int16") and quant_of(x).axis is None and self.peak(x) <= max(largest, 128):
            return x
        scale = dyadic.float32(max(self.bound(x) / largest, 2.0**-100))
        self.report.choose(f"{name}: int16 in steps of {scale:.6g}, by its bound; the source does not say")
        return self.requantize(x, Target(Quant((scale,)), "int16"), f"{name}.int16")

    def one_scale(self, v: Value, name: str) -> Value:
        """The value centred with one scale: int32 in the steps of the finest channel where it has several."""
        x = self.center(v, name)
        q = quant_of(x)
        if q.axis is None:
            return x
        scale = dyadic.float32(max(min(map(abs, q.scale)), self.bound(x) / 2**30))
        self.report.choose(f"{name}: int32 in steps of {scale:.6g}; the source does not say")
        return self.requantize(x, Target(Quant((scale,)), "int32"), f"{name}.int32")

    def within(self, v: Value, name: str, largest: int) -> Value:
        """The value centred with one scale, and no integer beyond the largest; int32 in coarser steps otherwise."""
        x = self.one_scale(v, name)
        if self.peak(x) <= largest:
            return x
        scale = dyadic.float32(self.bound(x) / largest * (1 + 2.0**-20))
        self.report.choose(f"{name}: int32 in steps of {scale:.6g}, so that its sum fits int32")
        y = self.requantize(x, Target(Quant((scale,)), "int32"), f"{name}.coarser")
        self.peaks[y.name] = largest
        return y

    def no_finer(self, v: Value, smallest: float, dtype: str, name: str) -> Value:
        """The value in steps of at least this size; 8-bit integers keep those that they have."""
        if quant_of(v).scale[0] >= smallest or self.peak(v) <= 255:
            return v
        self.report.choose(f"{name}: {dtype} in steps of {smallest:.6g}; the reciprocal behind it has few bits for finer ones")
        return self.requantize(v, Target(Quant((smallest,)), dtype), f"{name}.coarser")

    def rescale(self, v: Value, alpha: Iterable[float], name: str, axis: int = 0) -> Value:
        """The same integers worth alpha times as much."""
        numbers = tuple(alpha)
        if all(a == 1.0 for a in numbers):
            return v
        y = self.node("Rescale", v, name=f"{name}.rescaled", alpha=numbers, axis=axis)
        self.peaks[y.name] = self.peak(v)
        return y

    def worth(self, v: Value, scale: float, name: str) -> Value:
        """The same integers in steps of this size."""
        own = quant_of(v).scale
        if own == (scale,):
            return v
        first = dyadic.float32(scale / own[0])
        near = (first, float(np.nextafter(np.float32(first), np.float32(0))), float(np.nextafter(np.float32(first), np.inf)))
        exact = [a for a in near if len(own) == 1 and dyadic.product(own, (a,)) == (scale,)]
        return self.rescale(v, ((exact or [first])[0],), name)

    # --- Movement: the integers keep what they mean

    def reshaped(self, v: Value, shape: tuple[int, ...], name: str, output: str = "") -> Value:
        """In another shape; scales along an axis that does not stay become one."""
        axis, before = quant_of(v).axis, v.type.shape
        if axis is not None and before[: axis + 1] != shape[: axis + 1] and before[axis:] != shape[axis - len(before) :]:
            v = self.one_scale(v, name)
        return v if shape == before else self._moved("Reshape", v, name, output, shape=shape)

    def transposed(self, v: Value, perm: tuple[int, ...], name: str, output: str = "") -> Value:
        """With its axes in another order."""
        return v if perm == tuple(range(len(perm))) else self._moved("Transpose", v, name, output, perm=perm)

    def sliced(self, v: Value, axis: int, start: int, stop: int, name: str, output: str = "") -> Value:
        """A range of one axis."""
        whole = (start, stop) == (0, v.type.shape[axis])
        return v if whole else self._moved("Slice", v, name, output, axis=axis, start=start, stop=stop)

    def gathered(self, v: Value, axis: int, indices: Sequence[int], name: str, output: str = "") -> Value:
        """Elements of one axis; a run of neighbours is a slice."""
        first, last = indices[0], indices[-1]
        is_run = indices.step == 1 if isinstance(indices, range) else list(indices) == list(range(first, last + 1))
        if is_run:
            return self.sliced(v, axis, first, last + 1, name, output)
        if len(indices) > MOST_PLACES:
            raise GraphError(f"it must take at most 2**16 places, but found {len(indices)}")
        return self._moved("Take", v, name, output, axis=axis, indices=tuple(indices))

    def joined(self, parts: Sequence[Value], axis: int, name: str, output: str = "") -> Value:
        """Values of one meaning, one behind another."""
        y = parts[0]
        for n, part in enumerate(parts[1:], 2):
            y = self.node("Concat", y, part, name=name, output=output if n == len(parts) else "", axis=axis)
        return y

    def _moved(self, op: str, v: Value, name: str, output: str, **attributes: Attribute) -> Value:
        y = self.node(op, v, name=name, output=output, how=attributes)
        self.peaks[y.name] = self.peak(v)
        return y

    # --- The end

    def finish(self, outputs: list[Value], metadata: Mapping[str, str]) -> Graph:
        """The verified graph of the nodes that an output needs."""
        needed = {v.name for v in outputs}
        nodes: list[Node] = []
        for node in reversed(self.nodes):
            if node.output.name in needed:
                needed.update(node.inputs)
                nodes.append(node)
        constants = tuple(c for name, c in self.constants.items() if name in needed)
        names = tuple(v.name for v in outputs)
        graph = Graph(self.name, tuple(self.inputs), names, constants, tuple(reversed(nodes)), metadata)
        verify(graph)
        return graph


def quant_of(v: Value) -> Quant:
    """What the integers of a value stand for; in an imported graph that is known of every one."""
    if v.quant is None:
        raise GraphError(f"value {v.name!r}: what its integers stand for must be known, but found nothing")
    return v.quant


def lengths(shape: Shape) -> tuple[int, ...]:
    """A shape whose every axis is bound, as those of an imported graph are."""
    return tuple(d for d in shape if isinstance(d, int))


def printable(name: str) -> str:
    """A name that a graph may have."""
    return "".join(c if c.isprintable() and not c.isspace() else "_" for c in name) or "value"
