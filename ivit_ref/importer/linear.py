"""Products: MatMul, Gemm, Conv and their integer forms, with accumulators that provably fit int32."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt

import numpy as np

from ivit_ref import dyadic
from ivit_ref.errors import GraphError
from ivit_ref.importer.constants import Codes, Constant, float32s, fold
from ivit_ref.importer.emitter import INT32, lengths, quant_of
from ivit_ref.importer.lower import Coded, Item, Lowering, Rule
from ivit_ref.importer.pending import Sum
from ivit_ref.importer.product import Product, in_two_parts, weight_codes
from ivit_ref.importer.reals import Held, Known, Real, narrowest
from ivit_ref.importer.source import Op
from ivit_ref.importer.windows import window_pads
from ivit_ref.integers import widen
from ivit_ref.ir import Attribute, Shape, Value
from ivit_ref.ops.conv import output_size


def matmul(state: Lowering, op: Op) -> Item:
    """MatMul: of a tensor and weights, or of two tensors."""
    return _matmul(state, state.real(op, 0), state.real(op, 1), op)


def _matmul(state: Lowering, a: Real, b: Real, op: Op) -> Real:
    if isinstance(b, Known) and len(b.shape) == 2 and len(a.shape) >= 1:
        return product(state, a, b.constant, 1, op)
    return matmul_of(state, a, b, op.output)


def product(state: Lowering, x: Real, weight: Constant, output_axis: int, op: Op, bias: Constant | None = None) -> Product:
    """Linear: the weights go in as [outputs, inputs]."""
    codes = weight_codes(state, weight, output_axis, f"the weight of {op.name}")
    if output_axis == 1:
        codes = replace(codes, integers=np.ascontiguousarray(codes.integers.T), axis=None if codes.axis is None else 0)
    value = _factor(state, x)
    if not value.type.shape or value.type.shape[-1] != codes.integers.shape[1]:
        raise GraphError(f"its weight must go with {value.type}, but found {list(weight.shape)}")
    shape = (*value.type.shape[:-1], len(codes.integers))
    return Product("Linear", value, codes, bias, {}, op.output, shape, op)


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
        return _in_two_products(state, x, y, name)
    return Held(e.bounded(e.node("MatMul", x, y, name=name, alpha=1.0), bound), name)


def _in_two_products(state: Lowering, x: Value, y: Value, name: str) -> Sum:
    """The products of both parts of x, added where they are requantized."""
    e, k = state.emitter, lengths(x.type.shape)[-1]
    products = []
    for part, which in zip(in_two_parts(e, x, name), ("upper", "lower"), strict=True):
        bound = k * e.peak(part) * e.peak(y)
        if bound > INT32:
            state.report.choose(f"{name}: its accumulator could reach {bound}; a run in which it leaves int32 says so")
        z = e.node("MatMul", part, y, name=f"{name}.{which}_product", alpha=1.0)
        products.append(Held(e.bounded(z, min(bound, INT32)), name))
    return Sum(products[0], products[1], name, products[0].shape)


def fused_matmul(state: Lowering, op: Op) -> Item:
    """com.microsoft's FusedMatMul: either side transposed, times a number."""
    if op.get("transBatchA", 0) or op.get("transBatchB", 0):
        raise GraphError("it must transpose the last two axes only, but found transBatchA or transBatchB")
    a, b = (_last_two_swapped(state, op, place) for place in (0, 1))
    y = _matmul(state, a, b, op)
    alpha = dyadic.float32(op.get("alpha", 1.0))
    return y if alpha == 1.0 else Held(state.emitter.rescale(y.integers(state.emitter), (alpha,), op.output), op.output)


def _last_two_swapped(state: Lowering, op: Op, place: int) -> Real:
    item, rank = state.item(op, place), len(state.real(op, place).shape)
    if not op.get("transA" if place == 0 else "transB", 0):
        return state.real(op, place)
    perm = (*range(rank - 2), rank - 1, rank - 2)
    if isinstance(item, Constant):
        (moved,) = fold(Op("Transpose", op.inputs[place : place + 1], (op.output,), {"perm": perm}, op.name, 13), [item]) or []
        return Known(moved, op.inputs[place])
    x = state.real(op, place)
    return Held(state.emitter.transposed(x.integers(state.emitter), perm, f"{x.name}.transposed"), x.name)


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
    codes = weight_codes(state, weight, 0, f"the weight of {op.name}")
    value = _factor(state, x)
    shape, kernel = lengths(value.type.shape), codes.integers.shape
    if len(shape) != 4 or len(kernel) != 4:
        raise GraphError(f"it must be a convolution of images [N, C, H, W], but found {value.type} and {list(kernel)}")
    strides, dilations = op.ints("strides", (1, 1)) or (), op.ints("dilations", (1, 1)) or ()
    if len(strides) != 2 or len(dilations) != 2 or min(*strides, *dilations) < 1:
        raise GraphError(f"strides and dilations must be two positive integers, but found {strides} and {dilations}")
    pads = window_pads(op, shape[2:], kernel[2:], strides, dilations)
    geometry: dict[str, Attribute] = {"strides": strides, "pads": pads, "dilations": dilations, "group": op.get("group", 1)}
    size = output_size(shape[2:], kernel[2:], strides, pads, dilations)
    return Product("Conv", value, codes, bias, geometry, op.output, (shape[0], kernel[0], *size), op)


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
    "com.microsoft::FusedMatMul": fused_matmul,
    "MatMulInteger": integer_product,
    "ConvInteger": integer_product,
}
