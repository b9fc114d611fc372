"""Where real numbers become integers and integers real: QuantizeLinear, DequantizeLinear, Cast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import TensorProto

from ivit_ref.errors import GraphError
from ivit_ref.importer.constants import Codes, Constant, float32s, quantized
from ivit_ref.importer.emitter import Target, quant_of
from ivit_ref.importer.lower import Coded, Image, Item, Lowering, Rule, checked_scales
from ivit_ref.importer.pending import Clipped, Rounded, Sum
from ivit_ref.importer.product import Product
from ivit_ref.importer.reals import WHOLE, Held, Known, Real, Tabulated, require_one_scale
from ivit_ref.importer.source import Op, instead
from ivit_ref.integers import BOUNDS, widen
from ivit_ref.ir import Value
from ivit_ref.onnx_types import DTYPE_NAMES, type_name

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)


def quantize(state: Lowering, op: Op) -> Item:
    """QuantizeLinear."""
    item = state.item(op, 0)
    shape = item.shape if isinstance(item, (Constant, Real, Image)) else ()
    target = _target(state, op, len(shape))
    if isinstance(item, Constant):
        like = _codes_like(state, op, item, target.dtype)
        return Constant(quantized(item.array, like, target.dtype, *BOUNDS[target.dtype]).integers)
    if isinstance(item, Image):
        return Coded(quantize_image(state, item, target, op.output))
    real = state.real(op, 0)
    value = real.at(state.emitter, target, op.output)
    return Coded(value, _origin(state, real, value, target), isinstance(real, Held) and real.linear)


def quantize_image(state: Lowering, image: Image, target: Target, output: str) -> Value:
    """A float input is quantized first and moved after."""
    require_one_scale(target)
    e, q = state.emitter, target.quant
    name = image.edge.name
    if name not in state.inputs:
        state.inputs[name] = e.input(name, "float32", image.edge.shape, None)
    value = state.inputs[name]
    first, last = (f"{name}.quantized", "") if image.moves else (output or name, output)
    y = e.node(
        "Quantize",
        value,
        name=first,
        output=last,
        scale=q.scale[0],
        zero_point=q.zero_point,
        dtype=target.dtype,
        division="direct",
    )
    for n, move in enumerate(image.moves, 1):
        y = move(y, output or name, output if n == len(image.moves) else "")
    return y


def _origin(state: Lowering, real: Real, value: Value, target: Target) -> Tabulated | None:
    """The quantized results as a function of the tensor that they were looked up from."""
    is_function = isinstance(real, (Tabulated, Clipped, Sum)) or (isinstance(real, Held) and real.origin is not None)
    table = real.table(state.emitter) if is_function else None
    if table is None or target.quant.axis is not None:
        return None
    codes = table.codes(target)
    return Tabulated(table.source, codes.real(), value.name)


def dequantize(state: Lowering, op: Op) -> Item:
    """DequantizeLinear."""
    item = state.item(op, 0)
    if op.get("block_size", 0):
        raise GraphError(f"block quantization must be undone first (quantize per channel), but found {op.get('block_size', 0)}")
    if isinstance(item, Constant):
        codes = _codes_like(state, op, item, str(item.array.dtype))
        codes = replace(codes, integers=item.array)
        return Constant(codes.real(), codes)
    if isinstance(item, Coded):
        return meant(state, item, _target(state, op, len(item.value.type.shape), item.value.type.dtype), op.output)
    real = state.real(op, 0)
    value = state.emitter.center(real.integers(state.emitter), real.name)
    target = _target(state, op, len(value.type.shape), "int32")
    if target.quant.zero_point or quant_of(value) != WHOLE:
        raise GraphError(f"it must read integers with zero point 0, but found {quant_of(value)}")
    return Held(state.emitter.rescale(value, target.quant.scale, op.output, target.quant.axis or 0), op.output)


def meant(state: Lowering, coded: Coded, target: Target, name: str) -> Real:
    """Integers as what a consumer says that they stand for, which should be what their producer says."""
    value, found = coded.value, quant_of(coded.value)
    if found == target.quant:
        return Held(value, name, coded.origin, coded.linear)
    if found.axis is not None or target.quant.axis is not None:
        raise GraphError(f"it must read what its producer emits, {found}, but found {target.quant}")
    if found != WHOLE:
        state.report.choose(f"{name}: reads {target.quant} where {value.name!r} emits {found}")
    (scale,) = target.quant.scale
    held = Held(state.emitter.worth(value, scale, name), name)
    offset = found.zero_point - target.quant.zero_point
    if not offset:
        return held
    return Sum(held, Known(Constant(np.array(offset * scale, np.float32)), f"{name}.offset"), name, held.shape)


def _target(state: Lowering, op: Op, rank: int, given: str = "") -> Target:
    """The quantization of a node with inputs x, scale, zero point; the dtype is that of the integers, where they are given."""
    zero_point = state.array(op, 2, np.zeros(1, np.int64))
    dtype = given or (str(zero_point.dtype) if op.has(2) else DTYPE_NAMES.get(op.get("output_dtype", 0), "uint8"))
    if op.has(2) and str(zero_point.dtype) != dtype:
        raise GraphError(f"the zero point must be {dtype} like the integers, but found {zero_point.dtype}")
    return state.target(state.array(op, 1), zero_point, op.get("axis", 1), rank, dtype)


def _codes_like(state: Lowering, op: Op, x: Constant, dtype: str) -> Codes:
    """Scales, zero points and axis for a constant; zero points may differ from channel to channel."""
    scales = float32s(checked_scales(state.array(op, 1)))
    zero = state.array(op, 2, np.zeros(1, np.int64))
    axis: int | None = op.get("axis", 1) if scales.size > 1 else None
    if axis is not None:
        axis = axis + len(x.shape) if axis < 0 else axis
        axis = 0 if len(x.shape) == 1 else axis  # a vector has one axis, whatever the default of the attribute is
        if not (0 <= axis < len(x.shape) and x.shape[axis] == scales.size):
            raise GraphError(f"the scales must be as many as axis {axis} of {list(x.shape)} is long, but found {scales.size}")
    if dtype not in BOUNDS or zero.dtype.kind not in "iu" or zero.size not in (1, scales.size):
        raise GraphError(f"the zero points must be integers, as many as the scales, but found {zero.dtype}{list(zero.shape)}")
    zeros = widen(zero.reshape(-1))
    if (zeros < BOUNDS[dtype][0]).any() or (zeros > BOUNDS[dtype][1]).any():
        raise GraphError(f"the zero points must be {dtype}, but found {int(zeros[0])}")
    return Codes(x.array, scales, zeros, axis)


def cast(state: Lowering, op: Op) -> Item:
    """Cast: from integers to the same real numbers, and from whole numbers to integers."""
    to, item = op.get("to", 0), state.item(op, 0)
    if to in FLOATS:
        return item if isinstance(item, Image) else state.real(op, 0)
    if DTYPE_NAMES.get(to) not in ("int8", "uint8", "int16", "uint16", "int32"):
        found = type_name(to)
        wanted = instead(found) if "float" in found else "float32 or integers of at most 32 bits"
        raise GraphError(f"it must cast to {wanted}, but found {found}")
    real = state.real(op, 0)
    if not _is_whole(state, real):
        raise GraphError("a cast to integers must come after Round or from integers, but found one that truncates")
    return Coded(real.at(state.emitter, Target(WHOLE, DTYPE_NAMES[to], "half_even"), op.output))


def _is_whole(state: Lowering, real: Real) -> bool:
    if isinstance(real, Clipped):
        return real.low == round(real.low) and real.high == round(real.high) and _is_whole(state, real.x)
    exact = isinstance(real, (Held, Product))
    return isinstance(real, Rounded) or (exact and quant_of(real.integers(state.emitter)) == WHOLE)


def round_(state: Lowering, op: Op) -> Item:
    """Round: ties to even."""
    return Rounded(state.real(op, 0), op.output)


def identity(state: Lowering, op: Op) -> Item:
    """Identity, Dropout: nothing."""
    return state.item(op, 0)


def clip(state: Lowering, op: Op) -> Item:
    """Clip and Relu, of real numbers and of integers."""
    low, high = _bounds(state, op)
    if np.isnan([low, high]).any() or low > high:
        raise GraphError(f"its bounds must be numbers in order, but found {low} and {high}")
    item = state.item(op, 0)
    if not isinstance(item, Coded):
        return Clipped(state.real(op, 0), low, high, op.output)
    smallest, largest = BOUNDS[item.value.type.dtype]
    first, last = int(min(max(low, smallest), largest)), int(max(min(high, largest), smallest))
    if (first, last) == (smallest, largest):
        return item
    return Coded(state.emitter.node("Clip", item.value, name=op.output, output=op.output, low=first, high=last))


def _bounds(state: Lowering, op: Op) -> tuple[float, float]:
    if op.type == "Relu":
        return 0.0, np.inf
    if "min" in op.attributes or "max" in op.attributes:
        return float(op.get("min", -np.inf)), float(op.get("max", np.inf))
    ends = [state.constant(op, i) if op.has(i) else None for i in (1, 2)]
    low, high = (None if c is None or not c.is_scalar else c.number() for c in ends)
    return (-np.inf if low is None else low), (np.inf if high is None else high)


RULES: dict[str, Rule] = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "Cast": cast,
    "Round": round_,
    "Identity": identity,
    "Dropout": identity,
    "Clip": clip,
    "Relu": clip,
}
