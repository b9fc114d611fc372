"""Lookup: every table that an import makes of a function that ONNX has, at every zero point and every code.

Each table is made as an import makes it, from an Op to the node Lookup with its constant, and the operator reads all 256 codes
from it. The import computes in float32; the derivation, at exactly the same float32 x, in float64. An entry must be the nearest
integer to the derivation's result, ties to even. Where that result is so near a tie that float32 cannot tell, within 2**-20 of
the function's largest result, either neighbour will do; what is digested is the derivation's entry, so that the digest does not
depend on how a machine computes a float32 exp.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.certify.certificate import Certificate, Checked, Part, Tally
from ivit_ref.certify.real_functions import FUNCTIONS
from ivit_ref.importer.choices import Choices
from ivit_ref.importer.constants import float32s
from ivit_ref.importer.elementwise import RULES as ELEMENTWISE
from ivit_ref.importer.emitter import Target
from ivit_ref.importer.lower import Lowering
from ivit_ref.importer.nonlinear import RULES as NONLINEAR
from ivit_ref.importer.reals import Held, Tabulated
from ivit_ref.importer.source import Op, Source
from ivit_ref.integers import BOUNDS, Ints, Wide, narrow
from ivit_ref.ir import Array, Quant
from ivit_ref.ops import lookup
from ivit_ref.oracle.rounding import float32

SCALES = (2.0**-7, dyadic.float32(0.0123), dyadic.float32(0.037), 2.0**-4)
OPSET = 24
RULES = {**ELEMENTWISE, **NONLINEAR}
NAMES = tuple(FUNCTIONS)
WITHIN = 2.0**-20
PARTS = {"int8 to int8": ("int8", "int8"), "uint8 to int8": ("uint8", "int8"), "int8 to int16": ("int8", "int16")}


def chunk(part: str, index: int) -> Checked:
    """One function."""
    dtype, result = PARTS[part]
    low: Any
    low, high = BOUNDS[dtype]
    codes = narrow(np.arange(low, high + 1), dtype)
    tally = Tally()
    for scale in SCALES:
        step = dyadic.float32(largest(NAMES[index], scale) / BOUNDS[result][1])
        for zero_point in range(low, high + 1):
            out_zero = (37 * zero_point) % 256 - 128
            x, y = Quant((scale,), zero_point), Quant((step,), out_zero)
            got = lookup(codes, table(NAMES[index], dtype, x, Target(y, result)), low=low)
            facts = {"function": NAMES[index], "scale": scale, "zero_point": zero_point, "result": result}
            facts |= {"result_scale": step, "result_zero_point": out_zero}
            tally.compare(*judged(got, NAMES[index], x, y, result, low), facts, x=codes)
    return tally.checked()


def table(name: str, dtype: str, quant: Quant, target: Target) -> Array:
    """The constant of the node that an import makes for the function ``name`` of a tensor of this dtype and meaning."""
    known = FUNCTIONS[name]
    constants: dict[str, Array] = {} if known.operand is None else {"c": float32s(known.operand)}
    state = Lowering(Source("", [], {}, {**constants}, [], OPSET, ""), Choices(gelu="lookup"), RULES, {}, True)
    state.items["x"] = Held(state.emitter.input("x", dtype, (1,), quant), "x")
    with np.errstate(all="ignore"):
        made = RULES[known.op](state, Op(known.op, ("x", *constants), ("y",), known.attributes, "y", OPSET))
        assert isinstance(made, Tabulated)
        made.at(state.emitter, target)
    [constant] = (c for c in state.emitter.constants.values() if c.value.name == state.emitter.nodes[-1].inputs[1])
    return constant.data


def judged(got: Ints, name: str, x: Quant, y: Quant, dtype: str, low: int) -> tuple[Ints, Ints]:
    """The results and the derivation's; a result on the other side of a tie that float32 cannot tell counts as it."""
    window = slice(low - x.zero_point + 255, low - x.zero_point + 255 + 256)
    near = [rounded(name, x.scale[0], y.scale[0], side)[window] + y.zero_point for side in (-1, 0, 1)]
    below, want, above = (np.clip(v, *BOUNDS[dtype]) for v in near)
    return narrow(np.where((got == below) | (got == above), want, got), dtype), narrow(want, dtype)


@cache
def rounded(name: str, scale: float, step: float, side: int) -> Wide:
    """The nearest integers to ``f(x) / step`` at all 511 differences, moved by what float32 may be off; NaN becomes 0."""
    off = side * WITHIN * largest(name, scale)
    return np.array([_nearest((value + off) / step) for value in values(name, scale)])


def _nearest(value: float) -> int:
    """Ties to even; what is far beyond every width stays there."""
    return 0 if math.isnan(value) else round(min(max(value, -(2.0**40)), 2.0**40))


@cache
def values(name: str, scale: float) -> list[float]:
    """The function at all differences of a code and a zero point, -255 to 255, each times the scale rounded to float32."""
    return [FUNCTIONS[name](float32(difference * Fraction(scale))) for difference in range(-255, 256)]


def largest(name: str, scale: float) -> float:
    """The largest finite magnitude."""
    return max(abs(value) for value in values(name, scale) if math.isfinite(value))


CERTIFICATE = Certificate(
    "Lookup",
    "every code at every zero point and four scales, of each function of ONNX that becomes a table",
    "the real function in float64 by Python's math, written from the text of the ONNX operator, at x from exact fractions",
    tuple(Part(name, len(NAMES), (quick,)) for name, quick in zip(PARTS, (0, 12, 36), strict=True)),
    chunk,
)
