"""Products: MatMul, Gemm, Conv and their integer forms, with accumulators that provably fit int32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt

import numpy as np

from ivit_ref import dyadic
from ivit_ref.errors import GraphError
from ivit_ref.importer.constants import Codes, Constant, float32s
from ivit_ref.importer.emitter import INT32, Emitter, Target, lengths, quant_of
from ivit_ref.importer.lower import Coded, Item, Lowering, Rule
from ivit_ref.importer.pending import Sum
from ivit_ref.importer.reals import Held, Known, Real, narrowest
from ivit_ref.importer.source import Op
from ivit_ref.importer.windows import window_pads
from ivit_ref.integers import Ints, from_float, narrow, widen
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

    def at(self, e: Emitter, target: Target, output: str = "") -> Value:
        """The accumulator requantized."""
        return e.requantize(self.integers(e), target, self.name, output)

    def integers(self, e: Emitter) -> Value:
        """The accumulator, in steps of S_x * S_weight."""
        w = self.weight
        scale = tuple(w.scale.tolist())
        weights = e.constant(f"{self.name}.weight", w.integers, Quant(scale, axis=0 if len(scale) > 1 else None))
        steps = dyadic.product(scale, quant_of(self.x).scale)
        bias = self._bias(np.asarray(steps, np.float64), len(w.integers))
        biases = e.constant(f"{self.name}.bias", bias, Quant(steps, axis=0 if len(steps) > 1 else None))
        y = e.node(self.op, self.x, weights, biases, name=self.name, how=self.geometry)
        sums = np.abs(widen(w.integers)).reshape(len(bias), -1).sum(axis=1)
        return e.bounded(y, int((sums * e.peak(self.x) + np.abs(widen(bias))).max()))

    def _bias(self, steps: Array, outputs: int) -> Ints:
        """The bias in steps of the accumulator: its own integers where it came in those."""
        if self.bias is None:
            return np.zeros(outputs, np.int32)
        codes = self.bias.codes
        if codes is not None and np.allclose(np.float64(codes.scale) / steps, 1, rtol=2.0**-20, atol=0):
            whole = codes.centred().reshape(-1)
        else:
            whole = from_float(np.clip(np.rint(np.float64(self.bias.array).reshape(-1) / steps), -(2.0**40), 2.0**40))
        if np.abs(whole).max() > INT32:
            raise GraphError(f"its bias must fit int32 in steps of S_x * S_weight, but found {int(np.abs(whole).max())}")
        return narrow(np.broadcast_to(whole, (outputs,)), "int32")


def weight_codes(constant: Constant, output_axis: int, what: str) -> Codes:
    """Weights as int8 or int16 with zero point 0, their scales along the axis of the outputs."""
    codes = constant.codes
    if codes is None:
        if constant.array.dtype.kind in "iu":
            codes = Codes(constant.array, np.ones(1, np.float32), np.zeros(1, np.int64), None)
        else:
            raise GraphError(
                f"its {what} must be quantized (quantize the weights too), but found float32{list(constant.shape)}"
            )
    if codes.axis is not None and codes.axis != output_axis:
        raise GraphError(f"the scales of its {what} must go along its outputs, axis {output_axis}, but found axis {codes.axis}")
    whole = narrowest(codes.centred())
    if whole.dtype == np.int32:
        raise GraphError(f"its {what} must fit int16, but found {int(np.abs(widen(whole)).max())}")
    return Codes(whole, codes.scale, np.zeros(1, np.int64), codes.axis)


def matmul(state: Lowering, op: Op) -> Item:
    """MatMul: of a tensor and weights, or of two tensors."""
    return _matmul(state, state.real(op, 0), state.real(op, 1), op)


def _matmul(state: Lowering, a: Real, b: Real, op: Op) -> Item:
    if isinstance(b, Known) and len(b.shape) == 2 and len(a.shape) >= 1:
        return product(state, a, b.constant, 1, op)
    return matmul_of(state, a, b, op.output)


def product(state: Lowering, x: Real, weight: Constant, output_axis: int, op: Op, bias: Constant | None = None) -> Product:
    """Linear: the weights go in as [outputs, inputs]."""
    codes = weight_codes(weight, output_axis, "weight")
    if output_axis == 1:
        codes = replace(codes, integers=np.ascontiguousarray(codes.integers.T), axis=None if codes.axis is None else 0)
    value = _factor(state, x)
    if not value.type.shape or value.type.shape[-1] != codes.integers.shape[1]:
        raise GraphError(f"its weight must go with {value.type}, but found {list(weight.shape)}")
    shape = (*value.type.shape[:-1], len(codes.integers))
    return Product("Linear", value, codes, bias, {}, op.output, shape)


def _factor(state: Lowering, x: Real, largest: int = 2**15 - 1) -> Value:
    """What a product can take: centred integers of 8 or 16 bits; what is wider is narrowed."""
    e = state.emitter
    value = e.center(x.integers(e), x.name)
    if e.peak(value) < 2**16 and quant_of(value).axis is None:
        return value
    return e.at_most_16_bits(value, x.name, largest)


def matmul_of(state: Lowering, a: Real, b: Real, name: str) -> Real:
    """The product of two tensors; factors of 16 bits go in two parts where one accumulator could leave int32."""
    e = state.emitter
    if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] != b.shape[-2]:
        raise GraphError(f"its inputs must match as [..., i, k] and [..., k, j], but found {list(a.shape)} and {list(b.shape)}")
    k = lengths(a.shape)[-1]
    x, y = (_factor(state, side, isqrt(INT32 // k)) for side in (a, b))
    bound = min(k * e.peak(x), e.row_sums.get(x.name, INT32)) * e.peak(y)
    if bound > INT32 and max(e.peak(x), e.peak(y)) > 255:
        return _in_two_parts(state, x, y, name)
    return Held(e.bounded(e.node("MatMul", x, y, name=name, alpha=1.0), bound), name)


def _in_two_parts(state: Lowering, x: Value, y: Value, name: str) -> Sum:
    """x is 256 times its upper part plus its lower part; their products are added where they are requantized, exactly."""
    e, scale, k = state.emitter, quant_of(x).scale[0], lengths(x.type.shape)[-1]
    upper = e.requantize(x, Target(Quant((scale * 256,)), "int16", "floor"), f"{name}.upper")
    parts = Sum(
        Held(x, f"{name}.x"), Held(e.rescale(upper, (-1.0,), f"{name}.minus_upper"), name), f"{name}.lower", x.type.shape
    )
    lower = parts.at(e, Target(Quant((scale,)), "int16", "half_even"))
    e.peaks[lower.name] = 255
    products = [
        e.node("MatMul", part, y, name=f"{name}.{n}_product", alpha=1.0) for part, n in ((upper, "upper"), (lower, "lower"))
    ]
    for part, product_ in zip((upper, lower), products, strict=True):
        bound = k * e.peak(part) * e.peak(y)
        if bound > INT32:
            state.report.choose(f"{name}: its accumulator could reach {bound}; a run in which it leaves int32 says so")
        e.bounded(product_, min(bound, INT32))
    first, second = (Held(p, name) for p in products)
    return Sum(first, second, name, first.shape)


def gemm(state: Lowering, op: Op) -> Item:
    """Gemm: a product with a bias, either side transposed."""
    alpha, beta = op.get("alpha", 1.0), op.get("beta", 1.0)
    weight = state.item(op, 1)
    a = state.real(op, 0)
    if op.get("transA", 0):
        a = Held(state.emitter.transposed(a.integers(state.emitter), (1, 0), f"{a.name}.transposed"), a.name)
    if not isinstance(weight, Constant) or len(weight.shape) != 2:
        raise GraphError("its weight must be a constant of two axes, but found another tensor")
    y: Real = product(state, a, weight, 0 if op.get("transB", 0) else 1, op)
    if alpha != 1.0:
        y = Held(state.emitter.rescale(y.integers(state.emitter), (dyadic.float32(alpha),), op.output), op.output)
    if not op.has(2):
        return y
    c = state.real(op, 2)
    if beta != 1.0:
        if not isinstance(c, Known):
            raise GraphError(f"its beta must be 1 for a bias that is computed, but found {beta}")
        c = Known(Constant(float32s(c.constant.array * float32s(beta))), c.name)
    return add(state, y, c, op.output)


def add(state: Lowering, a: Real, b: Real, name: str) -> Real:
    """The sum of two tensors; a constant with one number for each output is the bias of a product."""
    if isinstance(a, Known) and not isinstance(b, Known):
        a, b = b, a
    if isinstance(a, Product) and isinstance(b, Known) and a.bias is None and _is_bias(a, b.shape):
        return replace(a, bias=b.constant, name=name)
    shape = np.broadcast_shapes(lengths(a.shape), lengths(b.shape)) if _broadcast(a, b) else None
    if shape is None:
        raise GraphError(f"its inputs must broadcast, but found {list(a.shape)} and {list(b.shape)}")
    return Sum(a, b, name, shape)


def _broadcast(a: Real, b: Real) -> bool:
    pairs = zip(reversed(a.shape), reversed(b.shape), strict=False)
    return all(m == n or 1 in (m, n) for m, n in pairs)


def _is_bias(x: Product, shape: Shape) -> bool:
    """Whether a constant of that shape has one number, or one along the outputs of the product."""
    outputs = len(x.weight.integers)
    behind = 0 if x.op == "Linear" else 2
    place = len(shape) - 1 - behind
    return len(shape) <= len(x.shape) and all(d == 1 or (i == place and d == outputs) for i, d in enumerate(shape))


def conv(state: Lowering, op: Op) -> Item:
    """Conv, of images."""
    bias = state.constant(op, 2) if op.has(2) else None
    return _conv(state, state.real(op, 0), state.constant(op, 1), bias, op)


def _conv(state: Lowering, x: Real, weight: Constant, bias: Constant | None, op: Op) -> Product:
    codes = weight_codes(weight, 0, "weight")
    value = _factor(state, x)
    shape, kernel = lengths(value.type.shape), codes.integers.shape
    if len(shape) != 4 or len(kernel) != 4:
        raise GraphError(f"it must be a convolution of images [N, C, H, W], but found {value.type} and {list(kernel)}")
    strides, dilations = op.ints("strides", (1, 1)) or (), op.ints("dilations", (1, 1)) or ()
    if len(strides) != 2 or len(dilations) != 2 or min(*strides, *dilations) < 1:
        raise GraphError(f"strides and dilations must be two positive integers, but found {strides} and {dilations}")
    pads = window_pads(op, shape[2:], kernel[2:], strides, dilations)
    geometry: dict[str, Attribute] = {"strides": strides, "pads": pads, "dilations": dilations, "group": op.get("group", 1)}
    size = [(shape[2 + i] + pads[i] + pads[i + 2] - dilations[i] * (kernel[2 + i] - 1) - 1) // strides[i] + 1 for i in (0, 1)]
    return Product("Conv", value, codes, bias, geometry, op.output, (shape[0], kernel[0], *size))


def integer_product(state: Lowering, op: Op) -> Item:
    """MatMulInteger and ConvInteger: products of integers less their zero points, as they are."""
    a, b = (_less_zero_point(state, op, place) for place in (0, 1))
    if op.type == "MatMulInteger":
        return _matmul(state, a, b, op)
    if not isinstance(b, Known):
        raise GraphError(f"its weight must be constant, but found {op.inputs[1]!r}, which is computed")
    return _conv(state, a, b.constant, None, op)


def _less_zero_point(state: Lowering, op: Op, place: int) -> Real:
    item, name, e = state.item(op, place), op.inputs[place], state.emitter
    zero = state.array(op, place + 2, np.zeros(1, np.int64))
    if isinstance(item, Constant):
        if item.array.dtype.kind not in "iu":
            raise GraphError(f"its input {place} must be integers, but found {item.array.dtype}")
        axis = None if zero.size == 1 else (0 if op.type == "ConvInteger" else len(item.shape) - 1)
        codes = Codes(item.array, np.ones(1, np.float32), widen(zero.reshape(-1)), axis)
        centred = narrowest(codes.centred())
        return Known(Constant(centred, Codes(centred, np.ones(1, np.float32), np.zeros(1, np.int64), None)), name)
    if not isinstance(item, Coded):
        raise GraphError(f"its input {place} must be integers, but found the real tensor {name!r}")
    own = quant_of(item.value).zero_point
    if zero.size != 1 or int(zero.reshape(-1)[0]) != own:
        raise GraphError(
            f"its zero point {place + 2} must be that of its producer, {own}, but found {zero.reshape(-1)[:3].tolist()}"
        )
    return Held(e.worth(e.center(item.value, name), 1.0, name), name)


RULES: dict[str, Rule] = {
    "MatMul": matmul,
    "Gemm": gemm,
    "Conv": conv,
    "MatMulInteger": integer_product,
    "ConvInteger": integer_product,
}
