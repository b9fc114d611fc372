"""Softmax, GELU, LayerNormalization and attention, as the operators of I-ViT."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ivit_ref import dyadic
from ivit_ref.errors import GraphError
from ivit_ref.importer.constants import Constant, float32s
from ivit_ref.importer.elementwise import function, tabulated
from ivit_ref.importer.emitter import Emitter, Target, lengths, quant_of
from ivit_ref.importer.linear import matmul_of
from ivit_ref.importer.lower import Item, Lowering, Rule
from ivit_ref.importer.movement import place
from ivit_ref.importer.pending import Chosen, Sum
from ivit_ref.importer.reals import Held, Known, Real
from ivit_ref.importer.source import Op
from ivit_ref.integers import from_float, narrow
from ivit_ref.ir import Array, Quant, Value

FINEST_LOGIT, FINEST_GELU = 2.0**-6, 2.0**-4
"""Inputs of more than 8 bits are requantized to these steps: docs/numerics.md has the errors on either side of them."""


def softmax(state: Lowering, op: Op) -> Item:
    """Softmax along one axis."""
    real = state.real(op, 0)
    rank = len(real.shape)
    axis = place(op.get("axis", 1 if op.version < 13 else -1), rank)
    if op.version < 13 and axis != rank - 1:
        raise GraphError(f"before opset 13 its axis must be the last, for a softmax along one axis, but found {axis}")
    if axis == rank - 1:
        return shiftmax(state, real, op.output)
    perm = list(range(rank))
    perm[axis], perm[-1] = perm[-1], perm[axis]
    moved = Held(state.emitter.transposed(real.integers(state.emitter), tuple(perm), f"{op.output}.last"), real.name)
    y = shiftmax(state, moved, f"{op.output}.rows")
    return Held(state.emitter.transposed(y.value, tuple(perm), op.output), op.output)


def shiftmax(state: Lowering, x: Real, name: str) -> Held:
    """Shiftmax of logits with one scale; what a mask excludes is far below every other logit."""
    e = state.emitter
    logits = e.one_scale(_masked(state, x).integers(e), x.name)
    logits = e.no_finer(logits, FINEST_LOGIT, "int32", x.name)
    if state.choices.softmax == "shiftmax-fine":
        logits = _finer(e, logits, x.name)
    y = e.node("Shiftmax", logits, name=name)
    e.peaks[y.name] = 2 ** (int(y_bits(y)) - 1)
    if y.type.dtype != "int32":
        e.row_sums[y.name] = e.peaks[y.name]
    return Held(y, name)


def y_bits(y: Value) -> int:
    """The bits of a Shiftmax's result, which its scale shows."""
    return 1 - round(math.log2(quant_of(y).scale[0]))


def _finer(e: Emitter, logits: Value, name: str) -> Value:
    """The same logits in steps of at most 2**-6, a power of two finer: exact, and i0 is rounded less."""
    scale = quant_of(logits).scale[0]
    bits = min(math.ceil(math.log2(scale / FINEST_LOGIT)), 30 - e.peak(logits).bit_length())
    return logits if bits <= 0 else e.requantize(logits, Target(Quant((scale / 2**bits,)), "int32"), f"{name}.finer")


def _masked(state: Lowering, x: Real) -> Real:
    """Logits with a mask whose lowest entries stand for minus infinity: those are bounded, so that the result has integers."""
    e = state.emitter
    if isinstance(x, Chosen):
        excluded = [side for side in (x.a, x.b) if isinstance(side, Known) and float(np.max(side.constant.array)) < -1000]
        rest = [side for side in (x.a, x.b) if not any(side is k for k in excluded)]
        if len(excluded) != 1:
            return x
        lowest = Known(Constant(np.array(_excluding(e, rest[0]), np.float32)), f"{x.name}.excluded")
        return replace(x, a=lowest, b=rest[0]) if x.a is excluded[0] else replace(x, a=rest[0], b=lowest)
    if not (isinstance(x, Sum) and isinstance(x.b, Known)):
        return x
    mask = float32s(x.b.constant.array)
    if np.isnan(mask).any() or (mask == np.inf).any():
        raise GraphError("its mask must be numbers or minus infinity, but found NaN or infinity")
    bounded = np.maximum(mask, np.float32(_excluding(e, x.a)))
    return x if (mask == bounded).all() else replace(x, b=Known(Constant(bounded), x.b.name))


def _excluding(e: Emitter, logits: Real) -> float:
    """So far below every logit that its exponential counts for nothing."""
    return -2.0 * e.bound(logits.integers(e)) - 64.0


def gelu(state: Lowering, op: Op) -> Item:
    """Gelu of either approximation."""
    real = state.real(op, 0)
    if state.choices.gelu == "lookup":
        found = tabulated(state, op, [real])
        return found if found is not None else function(state, op)
    e = state.emitter
    x = e.no_finer(e.one_scale(real.integers(e), real.name), FINEST_GELU, "int16", real.name)
    x = e.at_most_16_bits(x, real.name)
    y = e.node("ShiftGELU", x, name=op.output)
    e.peaks[y.name] = min(e.peak(y), 256 * e.peak(x))
    return Held(y, op.output)


def layer_norm(state: Lowering, op: Op) -> Item:
    """LayerNormalization along the last axis."""
    real = state.real(op, 0)
    rank = len(real.shape)
    if place(op.get("axis", -1), rank) != rank - 1 or any(op.outputs[1:]):
        raise GraphError(f"it must go along the last axis and have one output, but found axis {op.get('axis', -1)}")
    channels = lengths(real.shape)[-1]
    if channels > 2**16:
        raise GraphError(f"its rows must have at most 2**16 elements, but found {channels}")
    gain = np.float64(np.broadcast_to(_vector(state, op, 1, channels, 1.0), (channels,)))
    beta = np.float64(np.broadcast_to(_vector(state, op, 2, channels, 0.0), (channels,)))
    e = state.emitter
    x = e.at_most_16_bits(real.integers(e), real.name)
    unit = math.sqrt(channels) / 2**30
    safe = np.where(np.abs(gain) < 2.0**-60, 2.0**-60, gain)
    scale = tuple(dyadic.float32(s) for s in (safe * unit).tolist())
    steps = np.floor(beta / np.asarray(scale, np.float64))
    folds = bool((np.abs(steps) <= 2**30).all())
    bias = narrow(from_float(steps if folds else np.zeros(channels)), "int32")
    biases = e.constant(f"{op.output}.bias", bias, Quant(scale, axis=0))
    y = e.node("ILayerNorm", x, biases, name=op.output)
    e.peaks[y.name] = 2**30 + int(np.abs(bias).max())
    if folds:
        return Held(y, op.output)
    state.emitter.entry.note = "its bias is added after it: beta / gain leaves int32 for some channels"
    after = Known(Constant(float32s(beta)), f"{op.output}.beta")
    return Sum(Held(y, op.output), after, f"{op.output}.sum", real.shape)


def _vector(state: Lowering, op: Op, where: int, channels: int, default: float) -> Array:
    array = state.array(op, where, np.array([default], np.float32))
    if array.size not in (1, channels) or not np.isfinite(np.float64(array)).all():
        raise GraphError(f"its input {where} must be {channels} finite numbers, but found {array.dtype}{list(array.shape)}")
    return array.reshape(-1)


def attention(state: Lowering, op: Op) -> Item:
    """Attention of opset 23: q k^T, scaled and masked, Shiftmax, times v."""
    unsupported = [name for name in ("softcap", "qk_matmul_output_mode") if op.get(name, 0.0)]
    if unsupported or any(op.has(i) for i in range(4, len(op.inputs))) or any(op.outputs[1:]):
        found = ", ".join(unsupported) or "a cache or a second output"
        raise GraphError(f"it must be plain attention, but found {found}")
    heads = [int(op.get(name, 0)) for name in ("q_num_heads", "kv_num_heads", "kv_num_heads")]
    q, k, v = (_in_heads(state, state.real(op, i), heads[i]) for i in range(3))
    (batch, count, rows, width), columns = lengths(q.type.shape), lengths(k.type.shape)[2]
    if lengths(k.type.shape)[:2] != (batch, count) or lengths(v.type.shape)[:3] != (batch, count, columns):
        raise GraphError(f"q, k and v must have the same heads, but found {q.type}, {k.type} and {v.type}")
    e, name = state.emitter, op.output
    logits = matmul_of(
        state, Held(q, op.inputs[0]), Held(e.transposed(k, (0, 1, 3, 2), f"{name}.k"), op.inputs[1]), f"{name}.qk"
    )
    alpha = dyadic.float32(float(op.get("scale", 0.0)) or 1 / math.sqrt(width))
    scaled: Real = Held(e.rescale(logits.integers(e), (alpha,), f"{name}.qk"), f"{name}.logits")
    mask = _mask(state, op, rows, columns)
    if mask is not None:
        scaled = Sum(scaled, Known(Constant(mask), f"{name}.mask"), f"{name}.masked", scaled.shape)
    y = matmul_of(state, shiftmax(state, scaled, f"{name}.softmax"), Held(v, op.inputs[2]), name)
    if len(state.real(op, 0).shape) == 4:
        return y
    merged = e.transposed(y.integers(e), (0, 2, 1, 3), f"{name}.rows")
    return Held(e.reshaped(merged, (batch, rows, count * lengths(v.type.shape)[3]), f"{name}.merged"), name)


def _in_heads(state: Lowering, x: Real, heads: int) -> Value:
    """[batch, heads, rows, width]."""
    value = x.integers(state.emitter)
    shape = lengths(value.type.shape)
    if len(shape) == 4:
        return value
    if len(shape) != 3 or heads < 1 or shape[2] % heads:
        raise GraphError(f"q, k and v must have 4 axes, or 3 with a number of heads, but found {value.type} and {heads} heads")
    split = state.emitter.reshaped(value, (shape[0], shape[1], heads, shape[2] // heads), f"{x.name}.heads")
    return state.emitter.transposed(split, (0, 2, 1, 3), f"{x.name}.heads_first")


def _mask(state: Lowering, op: Op, rows: int, columns: int) -> Array | None:
    mask: Array | None = None
    if rows * columns > 2**24:
        raise GraphError(f"its logits must have at most 2**24 elements a head, but found {rows} x {columns}")
    if op.has(3):
        given = state.array(op, 3)
        mask = np.where(given, np.float32(0), np.float32(-np.inf)) if given.dtype == np.bool_ else float32s(given)
    if op.get("is_causal", 0):
        causal = np.where(np.tri(rows, columns, dtype=np.bool_), np.float32(0), np.float32(-np.inf))
        mask = causal if mask is None else mask + causal
    return mask


RULES: dict[str, Rule] = {
    "Softmax": softmax,
    "Gelu": gelu,
    "LayerNormalization": layer_norm,
    "Attention": attention,
}
