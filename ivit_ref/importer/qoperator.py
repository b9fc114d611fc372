"""Quantized operators as what they are: DequantizeLinear, a float operator, QuantizeLinear.

One rewriting serves ONNX's own QLinear operators and those of ``com.microsoft``; the integers that follow are the same, since
each of them is defined as that sequence. Fused operators of ``com.microsoft`` are taken apart as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ivit_ref.errors import GraphError, IvitError
from ivit_ref.importer.constants import float32s
from ivit_ref.importer.malformed import MALFORMATIONS, explained
from ivit_ref.importer.refusals import DYNAMIC
from ivit_ref.importer.source import Op
from ivit_ref.ir import Array

MS = "com.microsoft::"
MALFORMED = "malformed"
"""The type of an operator that could not be taken apart; its attribute ``why`` says why, when it is lowered."""

Rewriting = Callable[[Op, "Scribe"], Iterator[Op]]


class Scribe:
    """Writes the operators that stand for another one; their names and constants belong to it."""

    def __init__(self, op: Op, constants: dict[str, Any], opset: int) -> None:
        self.op, self.constants, self.opset = op, constants, opset

    def name(self, suffix: str) -> str:
        """A name for something in between."""
        return f"{self.op.output}.{suffix}"

    def constant(self, suffix: str, array: Array) -> str:
        """A new constant."""
        self.constants[self.name(suffix)] = array
        return self.name(suffix)

    def make(self, type_: str, inputs: Sequence[str], output: str, **attributes: Any) -> Op:
        """One standard operator in its place."""
        return Op(type_, tuple(inputs), (output,), attributes, self.op.name, self.opset)

    def dequantized(self, place: int, suffix: str, axis: int = 1) -> tuple[Op, str]:
        """x, scale and zero point, from this place on, as a real tensor."""
        inputs = self.op.inputs[place : place + 3]
        if len(inputs) < 2 or not inputs[0] or not inputs[1]:
            raise GraphError(f"it must have an input {place} with a scale, but found none")
        name = self.name(suffix)
        return self.make("DequantizeLinear", inputs, name, axis=axis), name

    def quantized(self, real: str, place: int) -> Op:
        """The result, with scale and zero point from this place on; uint8 where there is no zero point."""
        return self.make("QuantizeLinear", (real, *self.op.inputs[place : place + 2]), self.op.output)


def rewritten(ops: list[Op], constants: dict[str, Any], opset: int) -> list[Op]:
    """The operators, with every quantized or fused one taken apart."""
    result: list[Op] = []
    for op in ops:
        rewriting = REWRITINGS.get(op.type)
        try:
            result += [op] if rewriting is None else list(rewriting(op, Scribe(op, constants, opset)))
        except (IvitError, *MALFORMATIONS) as error:
            result.append(replace(op, type=MALFORMED, attributes={"why": explained(error)}))
    return result


def _binary(type_: str) -> Rewriting:
    def rewriting(op: Op, s: Scribe) -> Iterator[Op]:
        first, a = s.dequantized(0, "a")
        second, b = s.dequantized(3, "b")
        yield from (first, second, s.make(type_, (a, b), s.name("real")), s.quantized(s.name("real"), 6))

    return rewriting


def _qlinear_matmul(op: Op, s: Scribe) -> Iterator[Op]:
    first, a = s.dequantized(0, "a")
    second, b = s.dequantized(3, "b", axis=-1)
    yield from (first, second, s.make("MatMul", (a, b), s.name("real")), s.quantized(s.name("real"), 6))


def _qlinear_conv(op: Op, s: Scribe) -> Iterator[Op]:
    first, x = s.dequantized(0, "x")
    second, w = s.dequantized(3, "w", axis=0)
    yield from (first, second)
    biases = _bias(op, s, 8)
    yield from biases
    inputs = [x, w, *(b.output for b in biases)]
    if op.get("channels_last", 0):
        yield s.make("Transpose", (x,), s.name("channels_first"), perm=(0, 3, 1, 2))
        inputs[0] = s.name("channels_first")
    attributes = {key: value for key, value in op.attributes.items() if key != "channels_last"}
    yield replace(s.make("Conv", inputs, s.name("real")), attributes=attributes)
    if not op.get("channels_last", 0):
        yield s.quantized(s.name("real"), 6)
        return
    yield s.make("Transpose", (s.name("real"),), s.name("channels_last"), perm=(0, 2, 3, 1))
    yield s.quantized(s.name("channels_last"), 6)


def _qgemm(op: Op, s: Scribe) -> Iterator[Op]:
    first, a = s.dequantized(0, "a")
    second, b = s.dequantized(3, "b", axis=0 if op.get("transB", 0) else 1)
    yield from (first, second)
    biases = _bias(op, s, 6)
    yield from biases
    inputs = [a, b, *(o.output for o in biases)]
    real = s.name("real") if op.has(7) else op.output
    yield replace(s.make("Gemm", inputs, real), attributes=op.attributes)
    if op.has(7):
        yield s.quantized(real, 7)


def _bias(op: Op, s: Scribe, place: int) -> list[Op]:
    """An int32 bias, if there is one, in steps of S_x * S_weight (inputs 1 and 4), times alpha where the product is."""
    if not op.has(place):
        return []
    found = [s.constants.get(op.inputs[i]) for i in (1, 4)]
    arrays = [x for x in found if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
    if len(arrays) != 2:
        raise GraphError(f"its scales must be constants, but found {op.inputs[1]!r}")
    steps = float32s(arrays[0]).reshape(-1) * float32s(arrays[1]).reshape(-1) * np.float32(op.get("alpha", 1.0))
    scale = s.constant("bias_scale", steps)
    return [s.make("DequantizeLinear", (op.inputs[place], scale), s.name("bias"), axis=0)]


def _unary(type_: str, *kept: str) -> Rewriting:
    """Inputs: x, its scale and zero point, the scale and zero point of the result."""

    def rewriting(op: Op, s: Scribe) -> Iterator[Op]:
        first, x = s.dequantized(0, "x")
        attributes = {key: op.attributes[key] for key in kept if key in op.attributes}
        made = s.make(type_, (x,), s.name("real"), **attributes)
        version = op.attributes.get("opset") if type_ == "Softmax" else None
        yield from (first, replace(made, version=version) if isinstance(version, int) else made)
        yield s.quantized(s.name("real"), 3)

    return rewriting


def _pool(op: Op, s: Scribe) -> Iterator[Op]:
    """A mean over the image, wherever the channels are."""
    axes = (1, 2) if op.get("channels_last", 0) else (2, 3)
    yield from _reduce_mean(replace(op, attributes={"axes": axes, "keepdims": 1}), s)


def _reduce_mean(op: Op, s: Scribe) -> Iterator[Op]:
    yield from (replace(o, version=13) for o in _unary("ReduceMean", "axes", "keepdims")(op, s))


def _matmul_to_float(op: Op, s: Scribe) -> Iterator[Op]:
    """Inputs: a, b, their scales, their zero points, bias. With scales from data it is dynamic quantization."""
    if any(not isinstance(s.constants.get(name), np.ndarray) for name in op.inputs[2:4]):
        raise GraphError(DYNAMIC)
    for place, name in enumerate(("a", "b")):
        parts = [op.inputs[i] for i in (place, place + 2, place + 4) if op.has(i)]
        yield s.make("DequantizeLinear", parts, s.name(name), axis=-1)
    product = s.name("product") if op.has(6) else op.output
    yield s.make("MatMul", (s.name("a"), s.name("b")), product)
    if op.has(6):
        yield s.make("Add", (product, op.inputs[6]), op.output)


def _concat(op: Op, s: Scribe) -> Iterator[Op]:
    """Inputs: the scale and zero point of the result, then x, scale and zero point of each part."""
    names = []
    for n, place in enumerate(range(2, len(op.inputs), 3)):
        part, name = s.dequantized(place, f"part{n}")
        names.append(name)
        yield part
    yield s.make("Concat", names, s.name("real"), axis=op.get("axis", 0))
    yield s.make("QuantizeLinear", (s.name("real"), *op.inputs[:2]), op.output)


def _where(op: Op, s: Scribe) -> Iterator[Op]:
    first, x = s.dequantized(1, "x")
    second, y = s.dequantized(4, "y")
    yield from (first, second, s.make("Where", (op.inputs[0], x, y), s.name("real")), s.quantized(s.name("real"), 7))


def _bias_gelu(op: Op, s: Scribe) -> Iterator[Op]:
    tanh = {"approximate": "tanh"} if op.type.endswith("FastGelu") else {}
    if op.has(1):
        yield s.make("Add", op.inputs[:2], s.name("sum"))
        yield s.make("Gelu", (s.name("sum"),), op.output, **tanh)
    else:
        yield s.make("Gelu", op.inputs[:1], op.output, **tanh)


def _quick_gelu(op: Op, s: Scribe) -> Iterator[Op]:
    alpha = s.constant("alpha", np.array(op.get("alpha", 1.702), np.float32))
    yield s.make("Mul", (op.inputs[0], alpha), s.name("scaled"))
    yield s.make("Sigmoid", (s.name("scaled"),), s.name("sigmoid"))
    yield s.make("Mul", (op.inputs[0], s.name("sigmoid")), op.output)


def _skip_layer_norm(op: Op, s: Scribe) -> Iterator[Op]:
    """Inputs: x, skip, gain, beta, bias; outputs: the norm, and as the fourth the sum."""
    if any(op.outputs[1:3]):
        raise GraphError(f"it must not give out its mean, but found {op.outputs[1:3]}")
    total = op.outputs[3] if len(op.outputs) > 3 and op.outputs[3] else s.name("sum")
    first = s.name("first") if op.has(4) else total
    yield s.make("Add", op.inputs[:2], first)
    if op.has(4):
        yield s.make("Add", (first, op.inputs[4]), total)
    norm = [total, *(name for name in op.inputs[2:4] if name)]
    yield s.make("LayerNormalization", norm, op.output, axis=-1)


def _standard(op: Op, s: Scribe) -> Iterator[Op]:
    """What com.microsoft has before ONNX has it for 16 bits."""
    yield replace(op, type=op.type.removeprefix(MS), version=max(s.opset, 21))


REWRITINGS: dict[str, Rewriting] = {
    MS + "QuantizeLinear": _standard,
    MS + "DequantizeLinear": _standard,
    "QLinearMatMul": _qlinear_matmul,
    "QLinearConv": _qlinear_conv,
    MS + "QLinearConv": _qlinear_conv,
    MS + "QGemm": _qgemm,
    MS + "QLinearAdd": _binary("Add"),
    MS + "QLinearMul": _binary("Mul"),
    MS + "QLinearConcat": _concat,
    MS + "QLinearSoftmax": _unary("Softmax", "axis"),
    MS + "QLinearSigmoid": _unary("Sigmoid"),
    MS + "QLinearLeakyRelu": _unary("LeakyRelu", "alpha"),
    MS + "QLinearReduceMean": _reduce_mean,
    MS + "QLinearGlobalAveragePool": _pool,
    MS + "QLinearWhere": _where,
    MS + "MatMulIntegerToFloat": _matmul_to_float,
    MS + "BiasGelu": _bias_gelu,
    MS + "FastGelu": _bias_gelu,
    MS + "Gelu": _bias_gelu,
    MS + "QuickGelu": _quick_gelu,
    MS + "SkipLayerNormalization": _skip_layer_norm,
}
