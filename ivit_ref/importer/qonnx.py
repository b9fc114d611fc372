"""QONNX: Quant and IntQuant, which quantize and dequantize at once.

Source: fastmachinelearning/qonnx, custom_op/general/intquant.py: ``x / scale + zero_point``, clamped to the width, rounded.
Bounds are integers, so that clamping first and rounding first give the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ivit_ref.errors import GraphError
from ivit_ref.importer.constants import Codes, Constant, float32s, quantized
from ivit_ref.importer.edges import quantize_image
from ivit_ref.importer.emitter import Target
from ivit_ref.importer.lower import Image, Item, Lowering, Rule, checked_scales
from ivit_ref.importer.reals import Held
from ivit_ref.importer.source import Op
from ivit_ref.integers import BOUNDS, Rounding, from_float
from ivit_ref.ir import Array, Quant

# fmt: off
ROUNDINGS: dict[str, Rounding] = {
    "ROUND": "half_even", "HALF_EVEN": "half_even", "FLOOR": "floor", "DOWN": "truncate", "ROUND_TO_ZERO": "truncate",
    "HALF_UP": "half_away",
}
# fmt: on
"""The rounding modes that are rules of ours (its HALF_UP takes halves away from zero)."""


@dataclass(frozen=True)
class Format:
    """What a node quantizes to."""

    low: int
    high: int
    dtype: str
    rounding: Rounding


def quant(state: Lowering, op: Op) -> Item:
    """Quant and IntQuant."""
    scale, zero_point, bits = (state.array(op, place) for place in (1, 2, 3))
    to, item, e = _format(op, bits), state.item(op, 0), state.emitter
    zeros = float32s(zero_point).reshape(-1)
    if (zeros != np.rint(zeros)).any() or (zeros < BOUNDS[to.dtype][0]).any() or (zeros > BOUNDS[to.dtype][1]).any():
        raise GraphError(f"its zero points must be integers of {to.dtype}, but found {zeros[:3].tolist()}")
    if isinstance(item, Constant):
        codes = _constant(item, scale, zeros, to)
        return Constant(codes.real(), codes)
    if np.unique(zeros).size != 1:
        raise GraphError(f"its zero point must be one integer, but found {zeros[:3].tolist()}")
    if zeros[0] and to.rounding in ("truncate", "half_away"):
        raise GraphError(f"its zero point must be 0 for a rounding mode that looks at the sign, but found {zeros[0]:g}")
    if zeros[0] % 2 and to.rounding == "half_even":
        state.report.choose(f"{op.output}: ties are rounded before the odd zero point is added, where QONNX rounds them after")
    target = Target(Quant(checked_scales(scale.reshape(-1)), int(zeros[0])), to.dtype, to.rounding)
    if isinstance(item, Image) and to.rounding != "half_even":
        raise GraphError(f"a float input must be rounded half to even, but found {op.get('rounding_mode', 'ROUND')}")
    value = quantize_image(state, item, target, "") if isinstance(item, Image) else state.real(op, 0).at(e, target)
    if (to.low, to.high) != BOUNDS[to.dtype]:
        value = e.node("Clip", value, name=op.output, low=to.low, high=to.high)
    return Held(value, op.output)


def _format(op: Op, bits: Array) -> Format:
    """Bounds, dtype and rounding; a width or a rounding mode that integers here do not have is refused."""
    mode, width = str(op.get("rounding_mode", "ROUND")).upper(), float(bits.reshape(-1)[0]) if bits.size == 1 else 0.0
    if mode not in ROUNDINGS:
        raise GraphError(f"its rounding mode must be one of {', '.join(ROUNDINGS)}, but found {mode}")
    if width not in range(2, 33):
        raise GraphError(f"its width must be a whole number of bits from 2 to 32, but found {width:g}")
    signed, narrow = bool(op.get("signed", 1)), bool(op.get("narrow", 0))
    span = 2 ** int(width)
    low, high = (-span // 2 + narrow, span // 2 - 1) if signed else (0, span - 1 - narrow)
    for dtype in ("int8", "uint8", "int16", "uint16", "int32"):
        if BOUNDS[dtype][0] <= low and high <= BOUNDS[dtype][1]:
            return Format(low, high, dtype, ROUNDINGS[mode])
    raise GraphError(f"its width must be at most 31 bits without a sign, but found {width:g}")


def _constant(x: Constant, scale: Array, zeros: Array, to: Format) -> Codes:
    """A constant, quantized; scale and zero point are one or go along one axis."""
    axes = [i - scale.ndim + len(x.shape) for i, d in enumerate(scale.shape) if d > 1]
    if len(axes) > 1 or (axes and (axes[0] < 0 or x.shape[axes[0]] != scale.size)) or zeros.size not in (1, scale.size):
        raise GraphError(f"the scale must be one or go along one axis of {list(x.shape)}, but found {list(scale.shape)}")
    axis = axes[0] if axes else None
    like = Codes(np.zeros(x.shape, np.int64), float32s(checked_scales(scale.reshape(-1))), from_float(zeros), axis)
    steps = float32s(x.array) / like.along(like.scale)
    whole = {
        "half_even": np.rint(steps),
        "floor": np.floor(steps),
        "truncate": np.trunc(steps),
        "half_away": np.copysign(np.floor(np.abs(steps) + np.float32(0.5)), steps),
    }[to.rounding]
    ones = replace(like, scale=np.ones_like(like.scale))
    return replace(like, integers=quantized(whole, ones, to.dtype, to.low, to.high).integers)


RULES: dict[str, Rule] = {"qonnx.custom_op.general::Quant": quant, "qonnx.custom_op.general::IntQuant": quant}
