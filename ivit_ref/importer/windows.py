"""Windows over images: pads and pools."""

from __future__ import annotations

from math import prod

import numpy as np

from ivit_ref.errors import GraphError
from ivit_ref.importer.constants import Constant
from ivit_ref.importer.emitter import Target, lengths, quant_of
from ivit_ref.importer.lower import Coded, Item, Lowering, Rule
from ivit_ref.importer.movement import place
from ivit_ref.importer.pending import Joined, Moved
from ivit_ref.importer.reals import Held, Known, Real, require_one_scale
from ivit_ref.importer.source import Op
from ivit_ref.ir import Attribute, Value
from ivit_ref.ops.conv import output_size


def window_pads(
    op: Op, image: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[int, ...]:
    """The four pads of a window, given or by ``auto_pad``."""
    auto = op.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        pads = op.ints("pads", (0, 0, 0, 0)) if auto == "NOTSET" else (0, 0, 0, 0)
        if pads is None or len(pads) != 4 or min(pads) < 0:
            raise GraphError(f"pads must be four integers from 0 on, but found {pads}")
        return pads
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise GraphError(f"auto_pad must be one that ONNX has, but found {auto!r}")
    needed = [
        max((-(-image[i] // strides[i]) - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 - image[i], 0) for i in (0, 1)
    ]
    small, large = [n // 2 for n in needed], [n - n // 2 for n in needed]
    return (*small, *large) if auto == "SAME_UPPER" else (*large, *small)


def max_pool(state: Lowering, op: Op) -> Item:
    """MaxPool of images: the largest integer is the largest number, before or after quantization."""
    item = state.item(op, 0)
    x: Real = Held(item.value, op.inputs[0]) if isinstance(item, Coded) else state.real(op, 0)
    shape, kernel = lengths(x.shape), op.ints("kernel_shape") or ()
    strides, dilations = op.ints("strides", (1, 1)) or (), op.ints("dilations", (1, 1)) or ()
    holds = len(shape) == 4 and len(kernel) == len(strides) == len(dilations) == 2 and min(*kernel, *strides, *dilations) >= 1
    if not holds or any(op.outputs[1:]) or op.get("storage_order", 0):
        raise GraphError(
            f"it must be a pool of images [N, C, H, W] with one output, but found {list(shape)} and {list(kernel)}"
        )
    pads = list(window_pads(op, shape[2:], kernel, strides, dilations))
    if op.get("ceil_mode", 0):
        for i in (0, 1):
            rest = shape[2 + i] + pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) - 1
            pads[i + 2] += -rest % strides[i] if -(-rest // strides[i]) * strides[i] < shape[2 + i] + pads[i] else 0
    how: dict[str, Attribute] = {"kernel_shape": kernel, "strides": strides, "pads": tuple(pads), "dilations": dilations}
    size = output_size(shape[2:], kernel, strides, tuple(pads), dilations)

    def move(v: Value, name: str, output: str) -> Value:
        return state.emitter.node("MaxPool", v, name=name, output=output, how=how)

    if isinstance(item, Coded):
        return Coded(move(item.value, op.output, op.output))
    if isinstance(x, Held) and x.value.type.dtype in ("int8", "uint8"):
        require_one_scale(Target(quant_of(x.value), x.value.type.dtype))
        return Held(move(x.value, op.output, ""), op.output)
    return Moved(x, move, op.output, (*shape[:2], *size))


def pad(state: Lowering, op: Op) -> Item:
    """Pad with a constant, which is quantized like its neighbours; integers are padded with an integer."""
    item = state.item(op, 0)
    value = float(op.get("value", 0.0)) if not op.has(2) else state.constant(op, 2).number()
    if not isinstance(item, Coded):
        return _padded(state, op, state.real(op, 0), value)
    q, dtype = quant_of(item.value), item.value.type.dtype
    meant = q.scale[0] * (value - q.zero_point)
    return Coded(_padded(state, op, Held(item.value, op.inputs[0]), meant).at(state.emitter, Target(q, dtype), op.output))


def _padded(state: Lowering, op: Op, real: Real, value: float) -> Real:
    shape = list(lengths(real.shape))
    pads = op.ints("pads") or state.lengths(op, 1)
    axes = tuple(range(len(shape))) if not op.has(3) else state.lengths(op, 3)
    mode = op.get("mode", "constant")
    if mode != "constant" or len(pads) != 2 * len(axes) or min(pads) < 0 or max(pads) > 2**16:
        raise GraphError(f"it must pad with a constant, from 0 to 2**16 on each side, but found {mode} {pads}")
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        axis = place(axis, len(shape))
        blocks = [_block(shape, axis, n, value, op.output) for n in (before, after)]
        parts = [*(b for b in blocks[:1] if before), real, *(b for b in blocks[1:] if after)]
        shape[axis] += before + after
        real = Joined(parts, axis, op.output, tuple(shape)) if len(parts) > 1 else real
    return real


def _block(shape: list[int], axis: int, length: int, value: float, name: str) -> Real:
    size = [length if i == axis else d for i, d in enumerate(shape)]
    if prod(size) > 2**24:
        raise GraphError(f"a pad must have at most 2**24 elements, but found {size}")
    return Known(Constant(np.full(size, value, np.float32)), f"{name}.pad")


RULES: dict[str, Rule] = {"MaxPool": max_pool, "Pad": pad}
