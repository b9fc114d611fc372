"""Real tensors of the source, as the integers that can stand for them.

A float operator between DequantizeLinear and QuantizeLinear has no integers of its own until it is known what they are
quantized to. A ``Real`` waits for that: ``at(target)`` gives integers at the quantization that the source asks for, rounded
once; ``integers()`` gives integers at a scale of their own, which is exact (an accumulator), or chosen and reported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ivit_ref import dyadic
from ivit_ref.errors import GraphError
from ivit_ref.importer.constants import Codes, Constant, Reals, float32s, quantized
from ivit_ref.importer.emitter import Emitter, Target, quant_of
from ivit_ref.integers import BOUNDS, Wide, from_float, narrow
from ivit_ref.ir import Array, Quant, Shape, Value

Move = Callable[[Value, str, str], Value]
"""Moves the elements of a value: (value, name, name of the output)."""


class Real(ABC):
    """A real tensor; ``name`` is what the source calls it."""

    name: str
    shape: Shape
    _integers: Value | None = None

    @abstractmethod
    def at(self, e: Emitter, target: Target, output: str = "") -> Value:
        """Integers at this quantization."""

    @abstractmethod
    def own(self, e: Emitter) -> Value:
        """Integers at a scale of their own, made."""

    def integers(self, e: Emitter) -> Value:
        """Integers at a scale of their own; made once, since a sum of sums asks for them again and again."""
        if self._integers is None:
            self._integers = self.own(e)
        return self._integers

    def table(self, e: Emitter) -> Tabulated | None:
        """As a function of one 8-bit tensor, where it is one."""
        return None


@dataclass
class Held(Real):
    """A tensor that is there: integers and what they stand for.

    ``origin`` has them as a function of another tensor; ``linear``, if that is no more than a factor.
    """

    value: Value
    name: str
    origin: Tabulated | None = None
    linear: bool = False

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.value.type.shape

    def at(self, e: Emitter, target: Target, output: str = "") -> Value:
        same = self.value.quant == target.quant and self.value.type.dtype == target.dtype
        if self.origin is not None and not self.linear and not same and target.quant.axis is None:
            return self.origin.at(e, target, output)
        return e.requantize(self.value, target, self.name, output)

    def own(self, e: Emitter) -> Value:
        return self.value

    def table(self, e: Emitter) -> Tabulated | None:
        q, dtype = quant_of(self.value), self.value.type.dtype
        if self.origin is not None:
            return self.origin
        if dtype not in ("int8", "uint8") or q.axis is not None:
            return None
        low, high = BOUNDS[dtype]
        reals = float32s(np.arange(low, high + 1) - q.zero_point) * float32s(q.scale[0])
        return Tabulated(self.value, reals, self.name)


@dataclass
class Tabulated(Real):
    """An element-wise function of an 8-bit tensor, as its 256 results in float32."""

    source: Value
    results: Reals
    name: str

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.source.type.shape

    def codes(self, target: Target) -> Codes:
        """The results, quantized; what is not a number becomes the zero point."""
        require_one_scale(target)
        like = Codes(np.zeros(256, np.int64), float32s(target.quant.scale), np.array([target.quant.zero_point]), None)
        results = np.nan_to_num(self.results, nan=0.0, posinf=np.inf, neginf=-np.inf)
        return quantized(results, like, target.dtype, *BOUNDS[target.dtype])

    def at(self, e: Emitter, target: Target, output: str = "") -> Value:
        if np.isnan(self.results).any():
            e.report.choose(f"{self.name}: is not a number for some integers; the result for them is the zero point")
        codes = self.codes(target)
        table = e.constant(f"{output or self.name}.table", codes.integers, None)
        first = BOUNDS[self.source.type.dtype][0]
        y = e.node("Lookup", self.source, table, name=self.name, output=output, quant=target.quant, low=first)
        e.peaks[y.name] = int(np.abs(codes.centred()).max())
        return y

    def own(self, e: Emitter) -> Value:
        largest = float(np.nanmax(np.abs(self.results)))
        if not np.isfinite(largest):
            raise GraphError("its results must be finite for every input, but found infinity or NaN")
        scale = dyadic.float32(max(largest / (2**15 - 1), 2.0**-100))
        e.report.choose(f"{self.name}: int16 in steps of {scale:.6g}, by its range; the source does not say")
        return self.at(e, Target(Quant((scale,)), "int16"))

    def table(self, e: Emitter) -> Tabulated | None:
        return self


@dataclass
class Known(Real):
    """A constant among tensors."""

    constant: Constant
    name: str

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.constant.shape

    def at(self, e: Emitter, target: Target, output: str = "") -> Value:
        q = target.quant
        like = Codes(np.zeros(self.constant.shape, np.int64), float32s(q.scale), np.array([q.zero_point]), q.axis)
        codes = quantized(self.constant.array, like, target.dtype, *BOUNDS[target.dtype])
        return e.constant(output or self.name, codes.integers, q)

    def own(self, e: Emitter) -> Value:
        codes = self.constant.codes
        if codes is None:
            return self.fine(e, "int32", 2**24)
        scale = codes.scale.reshape(-1)
        quant = Quant(tuple(scale.tolist()), axis=codes.axis if scale.size > 1 else None)
        return e.constant(self.name, narrowest(codes.centred()), quant)

    def fine(self, e: Emitter, dtype: str, peak: int) -> Value:
        """Integers in steps as fine as the dtype allows."""
        array = np.float64(self.constant.array)
        largest = float(np.abs(array).max(initial=0))
        if not np.isfinite(largest):
            raise GraphError(f"the constant {self.name!r} must be finite, but found infinity or NaN")
        scale = dyadic.float32(max(largest / peak, 2.0**-100))
        return e.constant(self.name, narrow(from_float(np.rint(array / scale)), dtype), Quant((scale,)))


WHOLE = Quant((1.0,))
"""Integers that stand for themselves."""


def narrowest(x: Wide) -> Array:
    """Integers in the narrowest of int8, int16 and int32 that holds them."""
    for dtype in ("int8", "int16", "int32"):
        low, high = BOUNDS[dtype]
        if x.size == 0 or (low <= int(x.min()) and int(x.max()) <= high):
            return narrow(x, dtype)
    raise GraphError(f"a constant less its zero point must fit int32, but found {int(np.abs(x).max())}")


def require_one_scale(target: Target) -> None:
    """Per-channel scales are for weights; tensors that are joined or looked up have one."""
    if target.quant.axis is not None:
        raise GraphError(f"it must be quantized per tensor, but found {target.quant}")
