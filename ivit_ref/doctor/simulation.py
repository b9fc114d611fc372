"""One node of a graph as the released PyTorch simulation computes it: in float32, on quotients that are never rounded.

A tensor is a pair of real numbers and the scale that they are multiples of, up to float32's error; ``x / scale`` is what the
release takes for integers. This is the one place of the project where an operator is computed in float32: it explains
differences, and nothing is built on it. A sum of float32 depends on the order in which it is taken, which is PyTorch's own:
``ulps`` moves the sums of a row - the one for the mean, the one for root or quotient - by so many units in the last place of
the sum of magnitudes.

Sources
    zkkli/I-ViT models/quantization_utils/quant_modules.py, ``QuantLinear``, ``QuantConv2d``, ``QuantMatMul``, ``QuantAct``,
    ``IntLayerNorm``, ``IntGELU``, ``IntSoftmax``; quant_utils.py, ``fixedpoint_mul``, ``batch_frexp``
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ivit_ref import registry
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Array, Node, Quant
from ivit_ref.models.swin import MASK

Floats = npt.NDArray[np.float32]
ONE = np.float32(1)


@dataclass(frozen=True)
class Simulated:
    """Real numbers, and their scale, which broadcasts against them; ``parameter`` where the release holds integers itself."""

    x: Floats
    scale: Floats
    parameter: Floats | None = None

    @property
    def quotient(self) -> Floats:
        """What the release takes for integers."""
        return np.asarray(self.x / self.scale, np.float32) if self.parameter is None else self.parameter

    @property
    def steps(self) -> npt.NDArray[np.float64]:
        """The integers that are nearest."""
        return np.rint(np.asarray(self.x, np.float64) / np.asarray(self.scale, np.float64))


Rule = Callable[[Node, Sequence[Simulated]], Simulated]
SummingRule = Callable[[Node, Sequence[Simulated], int, int], Simulated]


def simulate(node: Node, inputs: Sequence[Simulated], ulps: tuple[int, int] = (0, 0)) -> Simulated | None:
    """What the node gives; None where the release has no counterpart. ``ulps`` matter for ``SUMMING`` only."""
    with np.errstate(all="ignore"):
        if node.op in SUMMING:
            return SUMMING[node.op](node, inputs, *ulps)
        return RULES[node.op](node, inputs) if node.op in RULES else None


def parameter(q: Array, quant: Quant) -> Simulated:
    """A constant of a graph as the simulation holds it."""
    scale, integers = along(quant.scale, quant.axis, q.ndim), np.asarray(q, np.float32)
    return Simulated(integers * scale, scale, integers)


def along(scale: npt.ArrayLike, axis: int | None, rank: int) -> Floats:
    """Scales in a shape that broadcasts: one for the tensor, or one for each index of an axis."""
    s = np.asarray(scale, np.float32)
    return s.reshape(()) if axis is None else s.reshape(-1, *(1,) * (rank - 1 - axis))


def _moved(node: Node, inputs: Sequence[Simulated]) -> Simulated:
    """The same elements elsewhere; a scale for each channel is moved as the elements are."""
    run = registry.lookup(node.op).kernel
    first = inputs[0]
    if node.op == "Expand":
        return Simulated(np.broadcast_to(first.x, (len(inputs[1].x), *first.x.shape[1:])), first.scale)
    x = run(*(i.x for i in inputs), **node.attributes)
    scale = first.scale if first.scale.ndim == 0 else run(np.broadcast_to(first.scale, first.x.shape), **node.attributes)
    return Simulated(x, scale)


def _linear(node: Node, inputs: Sequence[Simulated]) -> Simulated:
    x, weight, bias = inputs
    scale = bias.scale.reshape(-1)
    return Simulated((x.quotient @ weight.quotient.T + bias.quotient) * scale, scale)


def _conv(node: Node, inputs: Sequence[Simulated]) -> Simulated:
    """A convolution whose stride is its kernel, as every patch embedding is."""
    x, weight, bias = inputs
    (n, c, h, w), (down, across) = x.x.shape, weight.x.shape[2:]
    patches = x.quotient[:, :, : h - h % down, : w - w % across].reshape(n, c, h // down, down, w // across, across)
    y = np.einsum("nchiwj,ocij->nohw", patches, weight.quotient, dtype=np.float32, optimize=True)
    scale = bias.scale.reshape(1, -1, 1, 1)
    return Simulated((y + bias.quotient.reshape(1, -1, 1, 1)) * scale, scale)


def _matmul(node: Node, inputs: Sequence[Simulated]) -> Simulated:
    a, b = inputs
    scale = a.scale * b.scale
    return Simulated((a.quotient @ b.quotient) * scale, scale)


def _quantize(node: Node, inputs: Sequence[Simulated]) -> Simulated:
    scale = np.float32(node.output.quant.scale[0]) if node.output.quant else ONE
    steps = _clipped(np.rint(ONE / scale * inputs[0].x), str(node.attributes["dtype"]))
    return Simulated(steps * scale, np.asarray(scale))


def _requantize(node: Node, inputs: Sequence[Simulated]) -> Simulated:
    if node.attributes["dtype"] == "int32":  # the mask of a shifted window, which the release adds to real logits
        return Simulated(inputs[0].x + np.where(inputs[1].x < 0, np.float32(MASK), np.float32(0)), inputs[0].scale)
    assert node.output.quant is not None
    scale = np.float32(node.output.quant.scale[0])
    total = sum((_fixed_point(x, scale) for x in inputs), start=np.float64(0))
    steps = _clipped(np.asarray(total), str(node.attributes["dtype"]))
    return Simulated(steps * scale, np.asarray(scale))


def _fixed_point(x: Simulated, scale: np.float32) -> npt.NDArray[np.float64]:
    """``fixedpoint_mul``: the rounded quotient times a 31-bit mantissa, in double."""
    mantissa, exponent = np.frexp(np.asarray(x.scale, np.float64) / np.float64(scale))
    mantissa = np.floor(np.abs(mantissa) * 2.0**31 + 0.5) * np.sign(mantissa)
    return np.asarray(np.rint(np.asarray(np.rint(x.quotient), np.float64) * mantissa / 2.0 ** (31.0 - exponent)))


def _clipped(steps: npt.NDArray[np.floating], dtype: str) -> Floats:
    low, high = BOUNDS[dtype]
    return np.clip(np.asarray(steps, np.float32), np.float32(low), np.float32(high))


def _exponential(x: Floats, scale: Floats, n: int) -> Floats:
    x = x + np.floor(x / 2) - np.floor(x / 16)
    x0 = np.floor(-ONE / scale)
    x = np.maximum(x, n * x0)
    q = np.floor(x / x0)
    r = x - x0 * q
    return np.asarray(np.maximum(np.floor((r / 2 - x0) * np.float32(2) ** (n - q)), 0), np.float32)


def _divided(e: Floats, total: Floats, bits: int) -> Floats:
    """2**31 - 1, the numerator and the largest sum, is 2**31 in float32."""
    largest = np.float32(2**31)
    factor = np.floor(largest / np.minimum(total, largest))
    return np.asarray(np.floor(e * factor / np.float32(2 ** (32 - bits))), np.float32)


def _sum(x: Floats, ulps: int) -> Floats:
    total, size = (y.sum(axis=-1, keepdims=True, dtype=np.float32) for y in (x, np.abs(x)))
    return np.asarray(total + np.float32(ulps) * np.spacing(size), np.float32)


def _shiftmax(node: Node, inputs: Sequence[Simulated], _: int, ulps: int) -> Simulated:
    q, bits = inputs[0].quotient, _integer(node, "out_bits")
    e = _exponential(q - q.max(axis=-1, keepdims=True), inputs[0].scale, _integer(node, "n"))
    scale = np.asarray(2.0 ** (1 - bits), np.float32)
    return Simulated(_divided(e, _sum(e, ulps), bits) * scale, scale)


def _shift_gelu(node: Node, inputs: Sequence[Simulated]) -> Simulated:
    q, n, sigmoid = inputs[0].quotient, _integer(node, "n"), inputs[0].scale * np.float32(1.702)
    largest = q.max(axis=-1, keepdims=True)
    e = _exponential(q - largest, sigmoid, n)
    bits = _integer(node, "out_bits")
    sigma = _divided(e, e + _exponential(-largest, sigmoid, n), bits)
    scale = inputs[0].scale * np.float32(2.0 ** (1 - bits))
    return Simulated(q * sigma * scale, scale)


def _layer_norm(node: Node, inputs: Sequence[Simulated], mean_ulps: int, ulps: int) -> Simulated:
    q = inputs[0].quotient
    y = q - np.rint(_sum(q, mean_ulps) / np.float32(q.shape[-1]))
    variance = _sum(y**2, ulps)
    root = np.full_like(variance, 2**16)
    for _ in range(10):
        root = np.floor((root + np.floor(variance / root)) / 2)
    steps = np.floor(y * np.floor(np.float32(2**31) / root) / 2) + inputs[1].quotient
    return Simulated(steps * inputs[1].scale, inputs[1].scale)


def _mean(node: Node, inputs: Sequence[Simulated]) -> Simulated:
    """The release takes the mean of real numbers and keeps their scale: no integers any more."""
    axes = node.attributes["axes"]
    assert isinstance(axes, tuple)
    return Simulated(inputs[0].x.mean(axis=tuple(map(int, axes)), keepdims=True, dtype=np.float32), inputs[0].scale)


def _integer(node: Node, attribute: str) -> int:
    value = node.attributes[attribute]
    assert isinstance(value, int)
    return value


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("Reshape", "Transpose", "Slice", "Concat", "Expand", "Roll"), _moved),
    "Quantize": _quantize,
    "Conv": _conv,
    "Linear": _linear,
    "MatMul": _matmul,
    "Requantize": _requantize,
    "RequantizeAdd": _requantize,
    "ShiftGELU": _shift_gelu,
    "ReduceMean": _mean,
}
SUMMING: Mapping[str, SummingRule] = {"Shiftmax": _shiftmax, "ILayerNorm": _layer_norm}
"""Operators that add up a row."""
