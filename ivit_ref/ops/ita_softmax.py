"""ITASoftmax: ITA's streaming softmax along the last axis, in powers of two.

Semantics, for each row x of the last axis, read once in blocks of ``block`` columns (the last may be shorter); a step of x is
worth ``ln(2) / 2**shift``, and r(d) = d / 2**shift, half up, is a distance in whole octaves
    m, s = -128, 0
    for each block b of the row:
        m' = max(m, max(b))
        s  = (s >> r(m' - m)) + sum of (256 >> r(m' - v)) over the v of b
        m  = m'
    F    = (255 * 256) / s                   floor
    y    = F >> r(m - x)                     over the whole row again

One step of y is worth 1/255, and base two is exact: with the step ``ln(2) / 2**shift`` of x the power ``2**(x / 2**shift)``
is exp(S * x), and the only error is that every distance is rounded to whole octaves. No constant is fitted to another
scale: an input of another step is another function, and is refused. The release has blocks of 16 columns and shift = 0 (a
step of 0.693); until November 2024 the hardware had shift = 5 (0.0217).

The maximum itself adds 256, so s is at least 256 and y at most 255. Where s is above 65280, F is 0, and the whole row is:
at 256 equal numbers.

The release also has a form that is not streaming: one block for the whole row, with the sum rounded down once at its end
and not in each term. The smallest row at which the two part is (0, -9, -9): two terms of 1/2 make the sum 257 and the first
element 254, where streaming drops both and has 255. That form also stores 255 as int8 -1, and from 63 octaves on its
``2**shift`` leaves int64: with 64 of them the row becomes 0. Streaming does neither.

Properties
    (P1) a number added to the whole row changes nothing
    (P2) of two elements the larger one has at least the same y
    (P3) with shift = 0 a row adds up to at most 255. With another it may exceed that: each growth of the maximum is rounded,
         and what they add up to may be above the rounded distance that y has. With blocks of 16 and shift = 5, sixteen numbers
         at 0, sixteen at 16 and one at 32 give 307
No property: elements in another order may give other results. A small number is dropped beside the maximum, and counts in a
block before it.

Sources
    pulp-platform/ITA PyITA/softmax.py, ``streamingPartialSoftmax`` and ``fastSoftmax``; src/ita_softmax.sv and ``SoftmaxShift``
    in src/ita_package.sv (commit 39236c9, "Increase softmax epsilon"); arXiv 2307.03493

Constraints
    (C1) x is int8, and has an axis of at most 2**16 elements to go along
    (C2) 1 <= block <= 2**16
    (C3) 0 <= shift <= 7
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, Wide, narrow, shift_right, widen
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops.shiftmax import LONGEST_ROW, check_row
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

ONE = 2**8
"""What a sum counts an element at the maximum."""

NUMERATOR = (2**8 - 1) * ONE
LOWEST = -(2**7)
BEYOND = LOWEST - 2**20
"""What a last block is filled up with, in ONNX: so far down that it adds 0."""


def infer(x: TensorType, *, block: int, shift: int) -> TensorType:
    """uint8, in the shape of x."""
    require_dtype("ITASoftmax (C1)", "x", x, "int8")
    check_row("ITASoftmax (C1)", x)
    require(1 <= block <= LONGEST_ROW, "ITASoftmax (C2)", "block must be from 1 to 2**16", block)
    require(0 <= shift <= 7, "ITASoftmax (C3)", "shift must be from 0 to 7", shift)
    return TensorType("uint8", x.shape)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """1/255; x must be worth what the method takes it for."""
    (x,) = quants
    step = dyadic.base_two_step(attributes["shift"])
    holds = x is None or (x.axis is None and x.scale == (step,))
    must = f"a step of x must be worth ln(2) / 2**shift = {step!r} (requantize to it)"
    require(holds, "ITASoftmax (scales)", must, x and x.scale)
    return Quant((dyadic.float32(float(Fraction(1, 255))),))


def onnx_body(b: Body, x: Sym) -> Sym:
    """The state of the loop is ``m, s`` and the row, which is turned by one block in each step."""
    x, block = b.widen(x), b.attribute("block")
    length = b.emit("Gather", b.emit("Shape", x), -1)
    count = b.floor_divide(length + block - 1, block)
    # Slice wants its bounds as vectors.
    width, axis = b.emit("Unsqueeze", block, b.ints([0])), b.ints([-1])
    pads = b.emit("Concat", b.ints([0]), b.emit("Unsqueeze", count * block - length, b.ints([0])), axis=0)
    row = b.emit("Pad", x, pads, BEYOND, axis)
    s = b.row_sum(x) * 0
    after = b.loop(count, b.emit("Concat", s + LOWEST, s, row, axis=-1), lambda state: _onnx_block(b, state, width))
    m, s = _onnx_slice(b, after, [0], [1]), _onnx_slice(b, after, [1], [2])
    factor = b.floor_divide(b.ints(NUMERATOR), s)
    return b.cast(_onnx_shift(b, factor, m - x), "uint8")


def _onnx_block(b: Body, state: Sym, width: Sym) -> Sym:
    m, s = _onnx_slice(b, state, [0], [1]), _onnx_slice(b, state, [1], [2])
    columns, others = _onnx_slice(b, state, [2], width + 2), _onnx_slice(b, state, width + 2, [2**62])
    highest = b.maximum(b.row_max(columns), m)
    added = b.row_sum(_onnx_shift(b, b.ints(ONE), highest - columns))
    s = _onnx_shift(b, s, highest - m) + added
    return b.emit("Concat", highest, s, others, columns, axis=-1)


def _onnx_slice(b: Body, x: Sym, start: Sym | list[int], stop: Sym | list[int]) -> Sym:
    bounds = (b.ints(bound) if isinstance(bound, list) else bound for bound in (start, stop))
    return b.emit("Slice", x, *bounds, b.ints([-1]))


def _onnx_shift(b: Body, x: Sym, distance: Sym) -> Sym:
    """``x >> r(distance)``."""
    unit = b.power_of_two(b.attribute("shift"))
    octaves = b.floor_divide(distance + b.floor_divide(unit, 2), unit)
    return b.floor_divide(x, b.power_of_two(b.minimum(octaves, 62)))


@op("ITASoftmax", infer=infer, onnx_body=onnx_body, quant=quant)
def ita_softmax(x: Ints, /, *, block: int, shift: int, ctx: Context = STRICT) -> Ints:
    """Softmax of the last axis in units of 1/255, each distance rounded to whole octaves; uint8 in the shape of x."""
    wide = widen(x)
    s = wide[..., :1] * 0
    m = s + LOWEST
    for start in range(0, x.shape[-1], block):
        columns = wide[..., start : start + block]
        highest = np.maximum(m, columns.max(axis=-1, keepdims=True))
        added = (ONE >> octaves(highest - columns, shift)).sum(axis=-1, keepdims=True)
        m, s = highest, (s >> octaves(highest - m, shift)) + added
    factor = NUMERATOR // s
    return narrow(factor >> octaves(m - wide, shift), "uint8")


def octaves(distance: Wide, shift: int) -> Wide:
    """``r``, but at most 62: a shift by as many bits as a number has, or more, is not defined everywhere."""
    return np.minimum(shift_right(distance, shift, "half_up"), 62)
