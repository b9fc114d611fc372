"""The custom operators of domain ``ivit``, as the C file of that port defines them.

Source: jmha02/I-ViT-Gemmini at 010550e, scripts/onnxrt/ort_ivit_ops/ivit_ops.c. Its exponential and quotient are those of the
released deployment, in int32; its sum and products are int64; its LayerNorm rounds the mean half away from zero.
"""

from __future__ import annotations

import numpy as np

from ivit_ref.errors import GraphError
from ivit_ref.importer.emitter import lengths, quant_of
from ivit_ref.importer.lower import Coded, Item, Lowering, Rule
from ivit_ref.importer.reals import WHOLE
from ivit_ref.importer.source import Op
from ivit_ref.ir import Attribute, Quant, Value

EXPONENTIAL: dict[str, Attribute] = {"clamp": True, "half": "drop", "quotient": "truncate", "exp_bits": 32, "sum": "exact"}
DIVISION: dict[str, Attribute] = {"numerator": 2**31 - 1, "out_bits": 8, "product_bits": 64}


def _integers(state: Lowering, op: Op) -> Value:
    item = state.item(op, 0)
    if not isinstance(item, Coded) or item.value.type.dtype != "int8" or quant_of(item.value).zero_point:
        raise GraphError("it must read int8 with zero point 0, but found another tensor")
    return item.value


def _check_row(value: Value, longest: int) -> None:
    """That port keeps a row in a buffer, and what is beyond it becomes 0."""
    row = lengths(value.type.shape)[-1:]
    if row and row[0] > longest:
        raise GraphError(
            f"its rows must fit the buffer of that port, {longest} elements (it zeroes the rest), but found {row[0]}"
        )


def _unit(op: Op) -> int:
    """i0, which the attribute x0 holds with a minus sign."""
    x0 = op.get("x0", 0)
    if not -(2**28) <= x0 <= -1:
        raise GraphError(f"its attribute x0 must be from -2**28 to -1, but found {x0}")
    return -int(x0)


def shiftmax(state: Lowering, op: Op) -> Item:
    """Shiftmax of int8, to int8."""
    how = {**EXPONENTIAL, **DIVISION, "i0": _unit(op), "n": 15, "dtype": "int8"}
    _check_row(_integers(state, op), 1024)
    y = state.emitter.node("Shiftmax", _matching(state, op, folded=False), name=op.output, output=op.output, how=how)
    state.emitter.row_sums[y.name] = 128
    return Coded(y)


def shift_gelu(state: Lowering, op: Op) -> Item:
    """ShiftGELU of int8, to int32 in steps of S / 128."""
    how = {**EXPONENTIAL, **DIVISION, "i0": _unit(op), "n": 23, "sigmoid": "folded"}
    _check_row(_integers(state, op), 2048)
    return Coded(state.emitter.node("ShiftGELU", _matching(state, op, folded=True), name=op.output, output=op.output, how=how))


def _matching(state: Lowering, op: Op, *, folded: bool) -> Value:
    """The input, in the steps for which x0 was made: integers alone do not say what those are."""
    value = _integers(state, op)
    if quant_of(value) != WHOLE:
        return value
    scale = 1 / (_unit(op) * (1.702 if folded else 1.0))
    state.report.choose(f"{op.output}: reads steps of about {scale:.6g}, by its x0")
    return state.emitter.worth(value, float(np.float32(scale)), op.output)


def layer_norm(state: Lowering, op: Op) -> Item:
    """QLayernorm of int8 with an int32 bias, to int32; its steps are not in the graph and count as 1."""
    x, bias = _integers(state, op), state.array(op, 1)
    channels = lengths(x.type.shape)[-1:]
    if bias.dtype != np.int32 or bias.shape != channels:
        raise GraphError(f"its bias must be int32{list(channels)}, but found {bias.dtype}{list(bias.shape)}")
    how: dict[str, Attribute] = {
        "mean_rounding": "half_away", "mean_bits": 64, "variance_bits": 64, "sqrt_start": 2**16, "sqrt_steps": 10,
        "product_bits": 64, "halving": "floor",
    }  # fmt: skip
    biases = state.emitter.constant(op.inputs[1], bias, Quant((1.0,)))
    return Coded(state.emitter.node("ILayerNorm", x, biases, name=op.output, output=op.output, how=how))


RULES: dict[str, Rule] = {
    "ivit::Shiftmax": shiftmax,
    "ivit::ShiftGELU": shift_gelu,
    "ivit::QLayernorm": layer_norm,
}
