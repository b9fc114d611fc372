"""Results of float operators that wait for their quantization, to be rounded once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ivit_ref import dyadic
from ivit_ref.errors import GraphError
from ivit_ref.importer.constants import float32s
from ivit_ref.importer.emitter import Emitter, Target, quant_of
from ivit_ref.importer.reals import WHOLE, Known, Move, Real, Tabulated, require_one_scale
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Quant, Shape, Value


@dataclass
class Sum(Real):
    """The sum of two tensors; it is rounded once, at the quantization that follows."""

    a: Real
    b: Real
    name: str
    shape: Shape

    def at(self, e: Emitter, target: Target, output: str = "") -> Value:
        a, b = _comparable(e, *(e.center(x.integers(e), x.name) for x in (self.a, self.b)))
        y = e.node("RequantizeAdd", a, b, name=self.name, output=output, quant=target.quant, dtype=target.dtype, rounds="once")
        smallest = min(map(abs, target.quant.scale))
        e.peaks[y.name] = min(e.peak(y), int((e.bound(a) + e.bound(b)) / smallest) + 1)
        return y

    def own(self, e: Emitter) -> Value:
        a, b = (x.integers(e) for x in (self.a, self.b))
        finest = min(_finest(a), _finest(b))
        scale = dyadic.float32(max(finest, (e.bound(a) + e.bound(b)) / 2**30))
        if any(e.bound(v) > 2.0**-20 and scale > max(LOST * _finest(v), e.bound(v) / LOST) for v in (a, b)):
            must = "it must be quantized, since a step of one branch is lost in the range of the other"
            raise GraphError(f"{must}, but found steps of {finest:.6g} in a range of {max(e.bound(a), e.bound(b)):.6g}")
        e.report.choose(f"{self.name}: int32 in steps of {scale:.6g}; the source does not say")
        return self.at(e, Target(Quant((scale,)), "int32"))

    def table(self, e: Emitter) -> Tabulated | None:
        a, b = self.a, self.b
        if isinstance(a, Known):
            a, b = b, a
        if isinstance(a, Known) or not (isinstance(b, Known) and b.constant.is_scalar):
            return None
        table = a.table(e)
        return table and Tabulated(table.source, table.results + np.float32(b.constant.number()), self.name)


@dataclass
class Clipped(Real):
    """A tensor within bounds: quantization keeps order, so the bounds can be applied after it."""

    x: Real
    low: float
    high: float
    name: str

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.x.shape

    def at(self, e: Emitter, target: Target, output: str = "") -> Value:
        low, high = _bounds(self, target)
        if (low, high) == BOUNDS[target.dtype]:
            return self.x.at(e, target, output)
        return _clip(e, self.x.at(e, target), low, high, self.name, output)

    def own(self, e: Emitter) -> Value:
        x = e.one_scale(self.x.integers(e), self.name) if quant_of(self.x.integers(e)).axis is not None else self.x.integers(e)
        low, high = _bounds(self, Target(quant_of(x), x.type.dtype))
        return _clip(e, x, low, high, self.name, "")

    def table(self, e: Emitter) -> Tabulated | None:
        table = self.x.table(e)
        return table and Tabulated(table.source, np.clip(table.results, np.float32(self.low), np.float32(self.high)), self.name)


@dataclass
class Rounded(Real):
    """A tensor rounded to whole numbers."""

    x: Real
    name: str

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.x.shape

    def at(self, e: Emitter, target: Target, output: str = "") -> Value:
        if target.quant == WHOLE:
            return self.x.at(e, target, output)
        return e.requantize(self.integers(e), target, self.name, output)

    def own(self, e: Emitter) -> Value:
        return self.x.at(e, Target(WHOLE, "int32", "half_even"))


@dataclass
class Joined(Real):
    """Tensors one behind another."""

    parts: list[Real]
    axis: int
    name: str
    shape: Shape

    def at(self, e: Emitter, target: Target, output: str = "") -> Value:
        require_one_scale(target)
        parts = [part.at(e, target) for part in self.parts]
        y = e.joined(parts, self.axis, self.name, output)
        e.peaks[y.name] = max(map(e.peak, parts))
        return y

    def own(self, e: Emitter) -> Value:
        return self.at(e, common_target(e, self.parts, self.name))


@dataclass
class Chosen(Real):
    """Elements of one tensor or another."""

    condition: Value
    a: Real
    b: Real
    name: str
    shape: Shape

    def at(self, e: Emitter, target: Target, output: str = "") -> Value:
        require_one_scale(target)
        a, b = self.a.at(e, target), self.b.at(e, target)
        y = e.node("Where", self.condition, a, b, name=self.name, output=output)
        e.peaks[y.name] = max(e.peak(a), e.peak(b))
        return y

    def own(self, e: Emitter) -> Value:
        return self.at(e, common_target(e, [self.a, self.b], self.name))


@dataclass
class Moved(Real):
    """A tensor that is not quantized yet, with its elements moved."""

    x: Real
    move: Move
    name: str
    shape: Shape

    def at(self, e: Emitter, target: Target, output: str = "") -> Value:
        require_one_scale(target)
        return self.move(self.x.at(e, target), self.name, output)

    def own(self, e: Emitter) -> Value:
        return self.move(self.x.integers(e), self.name, "")


def common_target(e: Emitter, parts: list[Real], name: str) -> Target:
    """One quantization for several tensors: that of all of them, or int32 in the finest of their steps."""
    values = [part.integers(e) for part in parts if not isinstance(part, Known)]
    if not values:
        raise GraphError("it must read a tensor that is not constant, but found constants only")
    first = values[0]
    alike = len(values) == len(parts) and quant_of(first).axis is None
    if alike and all((v.quant, v.type.dtype) == (first.quant, first.type.dtype) for v in values):
        return Target(quant_of(first), first.type.dtype)
    finest = min(map(_finest, values)) / (1 if len(values) == len(parts) else 256)
    largest = [float(np.abs(part.constant.array).max(initial=0)) for part in parts if isinstance(part, Known)]
    scale = dyadic.float32(max(finest, max(*(e.bound(v) for v in values), *largest, 0.0) / 2**30))
    e.report.choose(f"{name}: int32 in steps of {scale:.6g}; the source does not say")
    return Target(Quant((scale,)), "int32")


def _comparable(e: Emitter, a: Value, b: Value) -> tuple[Value, Value]:
    """Two branches of a sum on one shift: the one in large steps gets finer ones, exactly, or the other's dyadic number would
    be left with few bits."""
    (fine, coarse), turned = ((a, b), False) if _step(a) <= _step(b) else ((b, a), True)
    lost = int(np.log2(_step(coarse) / _step(fine)))
    spare = 29 - e.peak(coarse).bit_length()
    if lost > 4 and e.peak(fine) >= 2**12 and spare > 0 and quant_of(coarse).axis is None:
        scale = quant_of(coarse).scale[0] / 2 ** min(lost, spare)
        coarse = e.requantize(coarse, Target(Quant((scale,)), "int32"), f"{coarse.name}.finer")
    return (coarse, fine) if turned else (fine, coarse)


LOST = 64
"""A branch of a sum may lose so much of its resolution to the range of the other, if it keeps as many steps."""


def _finest(v: Value) -> float:
    """The smallest step of a value, but no channel's that hardly counts beside the others."""
    return max(min(map(abs, quant_of(v).scale)), _step(v) / 2**10)


def _step(v: Value) -> float:
    return max(map(abs, quant_of(v).scale))


def _bounds(x: Clipped, target: Target) -> tuple[int, int]:
    """What the bounds are in integers; a negative scale turns them round."""
    require_one_scale(target)
    low, high = BOUNDS[target.dtype]
    steps = np.rint(float32s([x.low, x.high]) / float32s(target.quant.scale[0])) + target.quant.zero_point
    if np.isnan(steps).any() or x.low > x.high:
        raise GraphError(f"its bounds must be numbers in order, but found {x.low} and {x.high}")
    first, last = sorted(int(min(max(s, low), high)) for s in steps.tolist())
    return first, last


def _clip(e: Emitter, x: Value, low: int, high: int, name: str, output: str) -> Value:
    y = e.node("Clip", x, name=name, output=output, low=low, high=high)
    e.peaks[y.name] = e.peak(x)
    return y
