"""A tensor times constant weights, with accumulators that provably fit int32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ivit_ref import dyadic
from ivit_ref.errors import GraphError, IvitError
from ivit_ref.importer.constants import Codes, Constant, float32s, quantized
from ivit_ref.importer.emitter import INT32, Emitter, Target, quant_of
from ivit_ref.importer.lower import Lowering
from ivit_ref.importer.malformed import MALFORMATIONS, Located, explained
from ivit_ref.importer.pending import Sum
from ivit_ref.importer.reals import Held, Real, narrowest
from ivit_ref.importer.source import Op
from ivit_ref.integers import Ints, Wide, from_float, narrow, widen
from ivit_ref.ir import Array, Attribute, Quant, Shape, Value


@dataclass
class Product(Real):
    """A tensor times constant weights, waiting for a bias: ``Linear`` or ``Conv``."""

    op: str
    x: Value
    weight: Codes
    bias: Constant | None
    geometry: dict[str, Attribute]
    name: str
    shape: Shape
    where: Op

    def at(self, e: Emitter, target: Target, output: str = "") -> Value:
        """The accumulator requantized."""
        first, *second = self._accumulators(e)
        if not second:
            return e.requantize(first, target, self.name, output)
        return Sum(Held(first, self.name), Held(second[0], self.name), self.name, self.shape).at(e, target, output)

    def own(self, e: Emitter) -> Value:
        """The accumulator, in steps of S_x * S_weight."""
        first, *second = self._accumulators(e)
        if not second:
            return first
        return Sum(Held(first, self.name), Held(second[0], self.name), self.name, self.shape).integers(e)

    def _accumulators(self, e: Emitter) -> list[Value]:
        """Its accumulators; what is wrong with them is told of its own node, not of the one that asks."""
        try:
            return self._made(e)
        except (IvitError, *MALFORMATIONS) as error:
            raise Located(self.where.name, self.where.type, explained(error)) from error

    def _made(self, e: Emitter) -> list[Value]:
        """One, or two where x has 16 bits and one could leave int32: of the upper and of the lower part of x."""
        if e.peak(self.x) <= 255 or int(self._sums().max()) * e.peak(self.x) <= INT32:
            return [self._accumulator(e, self.x, self.name, self.bias)]
        upper, lower = in_two_parts(e, self.x, self.name)
        names = f"{self.name}.upper_product", f"{self.name}.lower_product"
        return [self._accumulator(e, upper, names[0], None), self._accumulator(e, lower, names[1], self.bias)]

    def _sums(self) -> Wide:
        """What the weights of each output add up to in magnitude: times the peak of x, a bound of its products' sum."""
        w = self.weight.integers
        sums: Wide = np.abs(widen(w)).reshape(len(w), -1).sum(axis=1)
        return sums

    def _accumulator(self, e: Emitter, x: Value, name: str, bias: Constant | None) -> Value:
        w = self.weight
        scale = tuple(w.scale.tolist())
        weights = e.constant(f"{self.name}.weight", w.integers, Quant(scale, axis=0 if len(scale) > 1 else None))
        steps = dyadic.product(scale, quant_of(x).scale)
        integers = _bias(bias, np.asarray(steps, np.float64), len(w.integers))
        biases = e.constant(f"{name}.bias", integers, Quant(steps, axis=0 if len(steps) > 1 else None))
        y = e.node(self.op, x, weights, biases, name=name, how=self.geometry)
        return e.bounded(y, int((self._sums() * e.peak(x) + np.abs(widen(integers))).max()))


def _bias(constant: Constant | None, steps: Array, outputs: int) -> Ints:
    """A bias in steps of the accumulator: its own integers where it came in those."""
    if constant is None:
        return np.zeros(outputs, np.int32)
    codes = constant.codes
    if constant.array.size not in (1, outputs) or not np.isfinite(constant.array).all():
        raise GraphError(f"its bias must be {outputs} finite numbers, but found {constant.array.dtype}{list(constant.shape)}")
    if codes is not None and np.allclose(np.float64(codes.scale) / steps, 1, rtol=2.0**-20, atol=0):
        whole = codes.centred().reshape(-1)
    else:
        whole = from_float(np.clip(np.rint(np.float64(constant.array).reshape(-1) / steps), -(2.0**40), 2.0**40))
    if np.abs(whole).max() > INT32:
        raise GraphError(f"its bias must fit int32 in steps of S_x * S_weight, but found {int(np.abs(whole).max())}")
    return narrow(np.broadcast_to(whole, (outputs,)), "int32")


def _per_output(array: Array, axis: int) -> Codes:
    """Float weights as int8, by the largest one of each output."""
    weights = float32s(array)
    largest = np.abs(weights).max(axis=tuple(i for i in range(weights.ndim) if i != axis), initial=0)
    if not np.isfinite(largest).all():
        raise GraphError("its weight must be finite, but found infinity or NaN")
    scale = float32s(np.maximum(largest / np.float32(127), np.float32(2.0**-100)))
    like = Codes(np.zeros(weights.shape, np.int64), scale, np.zeros(1, np.int64), axis)
    return quantized(weights, like, "int8", -127, 127)


def weight_codes(state: Lowering, constant: Constant, output_axis: int, what: str) -> Codes:
    """Weights as int8 or int16 with zero point 0, their scales along the axis of the outputs."""
    codes = constant.codes
    if codes is None and constant.array.dtype.kind in "iu":
        codes = Codes(constant.array, np.ones(1, np.float32), np.zeros(1, np.int64), None)
    if codes is None:
        state.report.choose(f"{what}: int8, one scale for each output; the source leaves it in float32")
        codes = _per_output(constant.array, output_axis)
    if codes.axis is not None and codes.axis != output_axis:
        raise GraphError(f"the scales of {what} must go along its outputs, axis {output_axis}, but found axis {codes.axis}")
    whole = narrowest(codes.centred())
    if whole.dtype == np.int32:
        raise GraphError(f"{what} must fit int16, but found {int(np.abs(widen(whole)).max())}")
    return Codes(whole, codes.scale, np.zeros(1, np.int64), codes.axis)


def in_two_parts(e: Emitter, x: Value, name: str) -> tuple[Value, Value]:
    """x as 256 times its upper part plus its lower part, which is from 0 to 255; both exact."""
    scale = quant_of(x).scale[0]
    upper = e.requantize(x, Target(Quant((scale * 256,)), "int16", "floor"), f"{name}.upper")
    minus = Held(e.rescale(upper, (-1.0,), f"{name}.minus_upper"), name)
    lower = Sum(Held(x, name), minus, f"{name}.lower", x.type.shape).at(e, Target(Quant((scale,)), "int16", "half_even"))
    e.peaks[lower.name] = 255
    return upper, lower
