"""Calls that must be refused: each breaks one numbered constraint of its operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ivit_ref.golden.directed import refused_baselines, refused_ibert, refused_runtimes
from ivit_ref.golden.group import Refusal
from ivit_ref.ir import Array, Attribute
from ivit_ref.profiles import PAPER, QAT

Inputs = Mapping[str, Array]
Broken = tuple[str, str, dict[str, Any]]
"""A label without its operator, what is broken, and what is given instead: arrays are inputs, all else is attributes."""


def _ints(*values: Any, dtype: str = "int8") -> Array:
    return np.array(values, dtype)


SOFTMAX, GELU, EXP, NORM = QAT.shiftmax(0.25), QAT.shift_gelu(0.25), QAT.shift_exp(0.25), QAT.i_layer_norm()
RESULT: dict[str, Attribute] = {"rounding": "floor", "axis": 0, "zero_point": 0, "dtype": "int8"}
ONE: dict[str, Attribute] = {"multiplier": (1,), "shift": (1,)}
DYADIC = {**ONE, **RESULT}
BRANCHES = {**{f"{branch}_{name}": value for branch in "ab" for name, value in ONE.items()}, "rounds": "each", **RESULT}
WINDOW: dict[str, Attribute] = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
ROW, PAIR, IMAGE = _ints(1, 2, 3), _ints([1, 2], [3, 4]), _ints([[[1, 2], [3, 4]]])
BIAS, FLOATS = _ints(0, 0, 0, dtype="int32"), _ints(1, 2, 3, dtype="float32")
LONG, WIDE = _ints(1, 2, 3, dtype="int64"), _ints(1, 2, 3, dtype="int32")

VALID: Mapping[str, tuple[Inputs, Mapping[str, Attribute]]] = {
    "ShiftExp": ({"x": ROW}, EXP),
    "IntDiv": ({"x": WIDE, "d": WIDE}, QAT.int_div(16)),
    "IntSqrt": ({"v": WIDE}, QAT.int_sqrt()),
    "Shiftmax": ({"x": ROW}, SOFTMAX),
    "ShiftGELU": ({"x": ROW}, GELU),
    "ILayerNorm": ({"x": ROW, "bias": BIAS}, NORM),
    "Lookup": ({"x": ROW, "table": np.arange(256, dtype="int16")}, {"low": -128}),
    "Requantize": ({"x": ROW}, DYADIC),
    "RequantizeAdd": ({"a": ROW, "b": ROW}, BRANCHES),
    "Center": ({"x": ROW}, {"zero_point": 0, "dtype": "int16"}),
    "Rescale": ({"x": ROW}, {"alpha": (0.5,), "axis": 0}),
    "Quantize": ({"x": FLOATS}, {"scale": 0.5, "zero_point": 0, "dtype": "int8", "division": "direct"}),
    "Dequantize": ({"x": ROW}, {"scale": (0.5,), "axis": 0, "zero_point": 0}),
    "MatMul": ({"a": PAIR, "b": PAIR}, {"alpha": 1.0}),
    "Linear": ({"x": ROW, "weight": _ints([1, 2, 3]), "bias": BIAS[:1]}, {}),
    "Conv": ({"x": IMAGE, "weight": IMAGE, "bias": BIAS[:1]}, {**WINDOW, "group": 1}),
    "Mul": ({"a": ROW, "b": ROW}, {}),
    "Clip": ({"x": ROW}, {"low": 0, "high": 6}),
    "ReduceSum": ({"x": PAIR}, {"axes": (1,)}),
    "ReduceMean": ({"x": PAIR}, {"axes": (1,), "rounding": "half_even"}),
    "MaxPool": ({"x": IMAGE}, {**WINDOW, "kernel_shape": (2, 2)}),
    "Where": ({"condition": _ints(1, 0, 1, dtype="bool"), "x": ROW, "y": ROW}, {}),
    "Reshape": ({"x": PAIR}, {"shape": (4,)}),
    "Transpose": ({"x": PAIR}, {"perm": (1, 0)}),
    "Concat": ({"x": PAIR, "y": PAIR}, {"axis": 0}),
    "Slice": ({"x": PAIR}, {"axis": 0, "start": 0, "stop": 1}),
    "Take": ({"x": PAIR}, {"axis": 0, "indices": (0,)}),
    "Roll": ({"x": PAIR}, {"axis": 0, "shift": 1}),
    "Expand": ({"x": PAIR[:1], "like": PAIR}, {"axes": (0,)}),
    **refused_ibert.VALID,
    **refused_baselines.VALID,
    **refused_runtimes.VALID,
}
"""A call of each operator that is answered; each refusal changes one thing in it."""

UNITS: tuple[Broken, ...] = (
    ("C1", "an int64 input", {"x": LONG}),
    ("C2", "a unit of 0", {"i0": 0}),
    ("C2", "a unit above 2**28", {"i0": 2**28 + 1}),
    ("C3", "a shift of 32", {"n": 32}),
    ("C3", "a unit and a shift that leave int64 together", {"i0": 2**28, "n": 19}),
)
DIVISIONS: tuple[Broken, ...] = (
    ("C4", "a numerator of 0", {"numerator": 0}),
    ("C4", "a numerator above 2**31", {"numerator": 2**31 + 1}),
    ("C5", "one bit", {"out_bits": 1}),
)
STEPS: tuple[Broken, ...] = (
    ("C3", "a start below 0", {"start": -1}),
    ("C4", "65 steps", {"steps": 65}),
    ("C4", "no steps", {"steps": 0}),
)

BROKEN: Mapping[str, tuple[Broken, ...]] = {
    "ShiftExp": UNITS,
    "Shiftmax": (*UNITS, *DIVISIONS, ("C5", "more bits than the dtype has", {"out_bits": 17})),
    "ShiftGELU": (*UNITS, *DIVISIONS),
    "IntDiv": (
        ("C1", "numbers that do not broadcast", {"d": WIDE[:2]}),
        ("C2", "a sum that is 0", {"d": _ints(4, 0, 2, dtype="int32")}),
        ("C3", "a numerator of 0", {"numerator": 0}),
        ("C4", "more bits than the dtype has", {"dtype": "int8"}),
    ),
    "IntSqrt": (
        ("C1", "an int8 input", {"v": ROW}),
        ("C2", "a negative number", {"v": -WIDE}),
        ("C2", "2**62", {"v": LONG << 62}),
        *STEPS,
    ),
    "ILayerNorm": (
        ("C1", "an int32 input", {"x": WIDE}),
        ("C2", "a bias of another length", {"bias": BIAS[:2]}),
        ("C3", "a start below 0", {"sqrt_start": -1}),
        ("C4", "no steps from a start", {"sqrt_steps": 0}),
    ),
    "Lookup": (
        ("C1", "an int32 input", {"x": WIDE}),
        ("C2", "a table of 255", {"table": np.arange(255, dtype="int16")}),
        ("C3", "the low of another dtype", {"low": 0}),
    ),
    "Requantize": (
        ("C1", "an int64 input", {"x": LONG}),
        ("C2", "a multiplier of 2**31", {"multiplier": (2**31,)}),
        ("C2", "a shift of 63", {"shift": (63,)}),
        ("C3", "two numbers for three channels", {"multiplier": (1, 1), "shift": (1, 1)}),
        ("C4", "a zero point outside the dtype", {"zero_point": 128}),
    ),
    "RequantizeAdd": (
        ("C1", "shapes that do not broadcast", {"b": ROW[:2]}),
        ("C2", "a shift below 0", {"b_shift": (-1,)}),
        ("C3", "more multipliers than shifts", {"a_multiplier": (1, 1, 1)}),
        ("C4", "a zero point outside the dtype", {"zero_point": -129}),
        ("C5", "two shifts for one rounding", {"rounds": "once", "a_shift": (2,)}),
    ),
    "Center": (
        ("C1", "an int32 input", {"x": WIDE}),
        ("C2", "a zero point outside the dtype", {"zero_point": 200}),
        ("C3", "a result that does not hold the difference", {"x": _ints(0, 65535, dtype="uint16")}),
    ),
    "Rescale": (
        ("C1", "real numbers", {"x": FLOATS}),
        ("C2", "a factor of 0", {"alpha": (0.0,)}),
        ("C3", "no such axis", {"axis": 1}),
    ),
    "Quantize": (
        ("C1", "NaN", {"x": FLOATS * np.float32(np.nan)}),
        ("C2", "a scale that is no float32", {"scale": 0.1}),
        ("C3", "a zero point outside the dtype", {"zero_point": 128}),
    ),
    "Dequantize": (
        ("C1", "real numbers", {"x": FLOATS}),
        ("C2", "a scale of 0", {"scale": (0.0,)}),
        ("C3", "two scales for three channels", {"scale": (0.5, 0.25)}),
        ("C4", "a zero point above 2**16", {"zero_point": 2**16 + 1}),
    ),
    "MatMul": (
        ("C1", "an int64 input", {"a": _ints([1, 2], dtype="int64")}),
        ("C2", "lengths that do not meet", {"b": PAIR[:1]}),
        ("C3", "a negative factor", {"alpha": -1.0}),
        ("C4", "two int32 inputs", {"a": _ints([1, 2], dtype="int32"), "b": _ints([1], [2], dtype="int32")}),
    ),
    "Linear": (
        ("C1", "an int32 weight", {"weight": _ints([1, 2, 3], dtype="int32")}),
        ("C2", "a bias of another length", {"bias": BIAS}),
    ),
    "Conv": (
        ("C1", "a bias of int8", {"bias": ROW[:1]}),
        ("C2", "two groups of one channel", {"group": 2}),
        ("C3", "a stride of 0", {"strides": (1, 0)}),
        ("C4", "a kernel larger than the image", {"dilations": (2, 1)}),
    ),
    "Mul": (("C1", "an int64 input", {"a": LONG}), ("C2", "shapes that do not broadcast", {"b": ROW[:2]})),
    "Clip": (("C1", "an int64 input", {"x": LONG}), ("C2", "bounds in the wrong order", {"low": 7})),
    "ReduceSum": (("C1", "real numbers", {"x": FLOATS}), ("C2", "an axis twice", {"axes": (1, 1)})),
    "ReduceMean": (("C1", "real numbers", {"x": FLOATS}), ("C2", "no axis", {"axes": ()})),
    "MaxPool": (
        ("C1", "an int32 input", {"x": _ints([[[1, 2], [3, 4]]], dtype="int32")}),
        ("C2", "a pad below 0", {"pads": (0, 0, 0, -1)}),
        ("C3", "a window that lies in the pad", {"pads": (2, 0, 0, 0)}),
        ("C4", "a window that steps over the image", {"dilations": (3, 1), "pads": (2, 0, 2, 0)}),
    ),
    "Where": (
        ("C1", "a condition of int8", {"condition": ROW}),
        ("C2", "two dtypes", {"y": WIDE}),
        ("C3", "shapes that do not broadcast", {"y": ROW[:2]}),
    ),
    "Reshape": (("C1", "real numbers", {"x": FLOATS}), ("C2", "another number of elements", {"shape": (5,)})),
    "Transpose": (("C1", "real numbers", {"x": FLOATS}), ("C2", "a place twice", {"perm": (0, 0)})),
    "Concat": (
        ("C1", "two dtypes", {"y": _ints([1, 2], dtype="int16")}),
        ("C2", "shapes that differ elsewhere", {"axis": 1, "y": PAIR[:1]}),
    ),
    "Slice": (
        ("C1", "real numbers", {"x": FLOATS}),
        ("C2", "no such axis", {"axis": 2}),
        ("C3", "a range beyond the end", {"stop": 3}),
    ),
    "Take": (
        ("C1", "real numbers", {"x": FLOATS}),
        ("C2", "no such axis", {"axis": -1}),
        ("C3", "no such place", {"indices": (2,)}),
    ),
    "Roll": (("C1", "real numbers", {"x": FLOATS}), ("C2", "no such axis", {"axis": 2}), ("C3", "a whole turn", {"shift": 2})),
    "Expand": (("C1", "another rank", {"like": ROW}), ("C2", "an axis that is not of length one", {"axes": (1,)})),
    **refused_ibert.BROKEN,
    **refused_baselines.BROKEN,
    **refused_runtimes.BROKEN,
}
"""What is broken, by operator."""


def refusals(op: str) -> Iterator[Refusal]:
    """The calls of an operator that must be refused."""
    inputs, attributes = VALID[op]
    for label, comment, changed in BROKEN[op]:
        given = {name: changed.get(name, x) for name, x in inputs.items()}
        others = {name: changed.get(name, value) for name, value in attributes.items()}
        yield Refusal(comment, op, given, others, f"{op} ({label})")
    yield from _divided_by_zero(op)


def _divided_by_zero(op: str) -> Iterator[Refusal]:
    """Without a clamp, both exponentials of ShiftGELU become 0: that stops the run, as it stops the machine it is run on."""
    if op == "ShiftGELU":
        attributes = PAPER.shift_gelu(0.25)
        yield Refusal("two exponentials that are 0, and their sum", op, {"x": _ints(127, -128)}, attributes, "IntDiv (C2)")
