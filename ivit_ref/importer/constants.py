"""Constants on their way through the graph: real arrays, and the integers that they were quantized to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper
from onnx.reference import ReferenceEvaluator

from ivit_ref.errors import GraphError
from ivit_ref.importer.source import Foreign, Op
from ivit_ref.integers import Ints, Wide, from_float, narrow, saturate, widen
from ivit_ref.ir import Array

Reals = npt.NDArray[np.float32]

MOST = 2**24
"""No folded constant grows beyond so many elements, unless what it is made of is as large."""

# fmt: off
FOLDED = frozenset((
    "Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Cos", "CumSum", "Div",
    "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual",
    "Identity", "IsNaN", "Less", "LessOrEqual", "Log", "MatMul", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pad", "Pow",
    "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Resize",
    "Round", "ScatterElements", "ScatterND", "Shape", "Sigmoid", "Sign", "Sin", "Size", "Slice", "Split", "Sqrt", "Squeeze",
    "Sub", "Tanh", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
))
# fmt: on
"""The operators that are computed when all of their inputs are constant."""

MOVING = ("Transpose", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Slice", "Split", "Gather")


def float32s(x: npt.ArrayLike) -> Reals:
    """Numbers as float32."""
    return np.asarray(x, np.float32)


@dataclass(frozen=True)
class Codes:
    """Integers and what they stand for: ``scale * (integers - zero_point)``; along ``axis`` where there are many."""

    integers: Ints
    scale: Reals
    zero_point: Wide
    axis: int | None

    def along(self, numbers: Array) -> Array:
        """One number per channel, in the shape that broadcasts with the integers."""
        return numbers.reshape([] if self.axis is None else [-1] + [1] * (self.integers.ndim - self.axis - 1))

    def centred(self) -> Wide:
        """The integers less their zero points."""
        return widen(self.integers) - widen(self.along(self.zero_point))

    def real(self) -> Reals:
        """What they stand for, as DequantizeLinear computes it."""
        real: Reals = float32s(self.centred()) * self.along(self.scale)
        return real


@dataclass(frozen=True)
class Spread:
    """Integers whose scales may go along no single axis: each has the number of the channel that it belongs to."""

    integers: Wide
    dtype: str
    channels: Wide
    scale: Reals
    zero_point: Wide


@dataclass(frozen=True)
class Constant:
    """An array as ONNX has it, with its codes where it was dequantized; or, while these go along no axis, spread."""

    array: Array
    codes: Codes | None = None
    spread: Spread | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its lengths."""
        return self.array.shape

    @property
    def is_scalar(self) -> bool:
        """One number, whatever its rank."""
        return self.array.size == 1

    def number(self) -> float:
        """The only number."""
        return float(self.array.reshape(-1)[0])


def fold(op: Op, inputs: list[Constant | None]) -> list[Constant] | None:
    """The outputs of an operator whose inputs are all constant; None for one that is not computed."""
    if op.type in ("QuantizeLinear", "DequantizeLinear"):
        return None
    if op.type not in FOLDED or any(x is None and op.has(i) for i, x in enumerate(inputs)):
        return None
    first = inputs[0] if inputs else None
    arrays = [None if x is None else x.array for x in inputs]
    if first is not None and op.type in MOVING and (first.codes or first.spread):
        return _moved(op, first.spread or _spread(first.codes), arrays[1:])
    return [Constant(y) for y in evaluate(op, arrays)]


def _spread(codes: Codes | None) -> Spread:
    assert codes is not None
    channels = np.broadcast_to(codes.along(np.arange(codes.scale.size)), codes.integers.shape)
    zeros = np.broadcast_to(codes.zero_point, codes.scale.shape)
    return Spread(widen(codes.integers), dtype_of(codes), channels, codes.scale, zeros)


def _moved(op: Op, x: Spread, arrays: list[Array | None]) -> list[Constant]:
    """A quantized constant with its elements moved: its integers move, and so do the channels that they belong to."""
    pairs = zip(evaluate(op, [x.integers, *arrays]), evaluate(op, [x.channels, *arrays]), strict=True)
    return [_along_an_axis(replace(x, integers=integers, channels=channels)) for integers, channels in pairs]


def _along_an_axis(x: Spread) -> Constant:
    """The constant, with codes if its channels go along one axis or are all the same."""
    real = float32s(x.integers - x.zero_point[x.channels]) * x.scale[x.channels]
    for axis in (None, *range(x.channels.ndim)):
        rows = (
            x.channels.reshape(1, -1) if axis is None else np.moveaxis(x.channels, axis, 0).reshape(x.channels.shape[axis], -1)
        )
        if rows.size and (rows == rows[:, :1]).all():
            order = rows[:, 0]
            return Constant(real, Codes(narrow(x.integers, x.dtype), x.scale[order], x.zero_point[order], axis))
    return Constant(real, spread=x)


def evaluate(op: Op, arrays: list[Array | None]) -> list[Array]:
    """One standard operator on arrays, by onnx's reference implementation."""
    if op.type == "Constant":
        return [_constant(op)]
    _check_growth(op, arrays)
    given = {f"i{i}": x for i, x in enumerate(arrays) if x is not None}
    names = [f"i{i}" if x is not None else "" for i, x in enumerate(arrays)]
    outputs = [f"o{i}" if name else "" for i, name in enumerate(op.outputs)]
    attributes = {key: _proto(value) for key, value in op.attributes.items()}
    try:
        node = helper.make_node(op.type, names, outputs, **attributes)
        infos = [_info(name, x) for name, x in given.items()]
        results = [helper.make_empty_tensor_value_info(o) for o in filter(None, outputs)]
        graph = helper.make_graph([node], "one", infos, results)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", max(op.version, 1))])
        found = ReferenceEvaluator(model).run(None, given)
        return [np.asarray(y) for y in found]
    except MemoryError:
        raise
    except Exception as error:  # whatever a third party's evaluator raises for attributes and shapes of strangers
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise GraphError(f"it must be computable from its constants, but onnx's evaluator says: {reason}") from error


def _info(name: str, x: Array) -> Any:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)


def _proto(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return helper.make_tensor("value", helper.np_dtype_to_tensor_dtype(value.dtype), value.shape, value.tobytes(), raw=True)
    if isinstance(value, Foreign):
        raise GraphError(f"an attribute must be a number, a text or a list of them, but found {value.dtype}")
    return value


def _constant(op: Op) -> Array:
    """The value of a Constant node."""
    for key in ("value_int", "value_ints", "value_float", "value_floats"):
        if key in op.attributes:
            return np.asarray(op.attributes[key], np.int64 if "int" in key else np.float32)
    value = op.attributes.get("value")
    if not isinstance(value, np.ndarray):
        found = value.dtype if isinstance(value, Foreign) else ", ".join(op.attributes) or "nothing"
        raise GraphError(f"its value must be an array of float32 or integers, but found {found}")
    return value


def _check_growth(op: Op, arrays: list[Array | None]) -> None:
    """No result is much larger than what it is made of: that is checked before it is made."""
    given = [x for x in arrays if x is not None]
    size = _result_size(op, given)
    if size > max([MOST, *(x.size for x in given)]):
        raise GraphError(f"a constant must have at most 2**24 elements, but found a result of {size}")


def _result_size(op: Op, given: list[Array]) -> int:
    first = given[0] if given else np.zeros(0)
    if op.type == "ConstantOfShape":
        return _product(first)
    if op.type in ("Expand", "Reshape", "Tile") and len(given) > 1:
        times = _product(given[1])
        return first.size * times if op.type == "Tile" else max(times, first.size) * (first.size if op.type == "Expand" else 1)
    if op.type == "Resize":
        sizes = [x for x in given[1:] if x.size == first.ndim]
        return _product(sizes[-1]) if sizes and sizes[-1].dtype.kind == "i" else int(first.size * np.prod([*sizes[-1:]] or 1))
    if op.type == "Range" and len(given) == 3:
        start, limit, delta = (float(x.reshape(-1)[0]) if x.size else 0.0 for x in given)
        return int(min(2**62, abs((limit - start) / delta))) if delta and np.isfinite([start, limit, delta]).all() else 0
    if op.type == "Pad":
        added = int(np.abs(given[1] if len(given) > 1 else op.ints("pads") or ()).sum())
        return prod(d + added for d in first.shape)
    if op.type in ("Gather", "GatherElements", "GatherND"):
        return first.size * max((x.size for x in given[1:]), default=1)
    if op.type == "MatMul" and len(given) == 2:
        return first.size * given[1].shape[-1] if given[1].ndim else first.size
    if op.type == "Concat":
        return sum(x.size for x in given)
    return prod(max(d, default=1) for d in zip(*_padded(given), strict=True))


def _padded(given: list[Array]) -> list[tuple[int, ...]]:
    rank = max((x.ndim for x in given), default=0)
    return [(1,) * (rank - x.ndim) + x.shape for x in given]


def _product(lengths: Array) -> int:
    return prod(abs(int(d)) for d in lengths.reshape(-1)[:64]) if lengths.dtype.kind in "iu" else 0


def quantized(array: Array, codes_like: Codes, dtype: str, low: int, high: int) -> Codes:
    """Real numbers as QuantizeLinear makes them, with the scale and zero point of ``codes_like``."""
    steps = np.rint(float32s(array) / codes_like.along(codes_like.scale))
    if np.isnan(steps).any():
        raise GraphError("a constant must be finite to be quantized, but found NaN")
    whole = from_float(np.clip(steps, -(2.0**40), 2.0**40)) + widen(codes_like.along(codes_like.zero_point))
    return replace(codes_like, integers=narrow(saturate(whole, low, high), dtype))


def dtype_of(codes: Codes) -> str:
    """The name of their dtype."""
    return str(codes.integers.dtype)
