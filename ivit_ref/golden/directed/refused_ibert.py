"""Calls of the operators of I-BERT and FQ-ViT that must be refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ivit_ref.golden.directed.ibert import at_scale
from ivit_ref.ir import Array, Attribute

ROW = np.array([1, 2, 3], "int8")
LONG = np.array([1, 2, 3], "int64")
BIAS = np.zeros(3, "int32")
CODES = np.array([[1, 2], [3, 4]], "uint8")
PAIR = np.array([[1, 2], [3, 4]], "int8")

VALID: Mapping[str, tuple[Mapping[str, Array], Mapping[str, Attribute]]] = {
    "IBertSoftmax": ({"x": ROW}, at_scale("IBertSoftmax", 0.25, n=30, out_bits=8, dtype="uint8")),
    "IBertGELU": ({"x": ROW}, at_scale("IBertGELU", 0.25, shift=0)),
    "IBertLayerNorm": ({"x": ROW, "bias": BIAS}, {"shift": 0}),
    "LogIntSoftmax": ({"x": ROW}, at_scale("LogIntSoftmax", 0.25, n=30, bits=4)),
    "ShiftMatMul": ({"codes": CODES, "v": PAIR}, {"bits": 4, "alpha": 1.0}),
}
"""A call of each operator that is answered; each refusal changes one thing in it."""

UNITS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("C1", "an int64 input", {"x": LONG}),
    ("C2", "a unit of 0", {"x0": 0}),
    ("C2", "a b that lets the parabola rise", {"x0": -12, "b": 10}),
    ("C2", "a b above 2**16", {"b": 2**16 + 1}),
    ("C3", "a c of 0", {"c": 0}),
    ("C3", "a c above 2**30", {"c": 2**30 + 1}),
    ("C3", "63 halvings", {"n": 63}),
)

BROKEN: Mapping[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    "IBertSoftmax": (
        *UNITS,
        ("C4", "a multiplier of 2**31", {"multiplier": 2**31}),
        ("C4", "a shift after which nothing is left", {"multiplier": 1, "shift": 62}),
        ("C5", "17 bits", {"out_bits": 17, "dtype": "int32"}),
        ("C5", "more bits than the dtype has", {"dtype": "int8"}),
    ),
    "IBertGELU": (
        ("C1", "an int64 input", {"x": LONG}),
        ("C2", "a shift of 31", {"shift": 31}),
        ("C3", "a b of 0", {"b": 0}),
        ("C3", "a b whose square leaves 30 bits", {"b": -(2**15) - 1}),
        ("C3", "a c that leaves 30 bits", {"c": -(2**30) - 1}),
        ("C4", "a positive one", {"one": 1}),
        ("C4", "a one below -2**30", {"one": -(2**30) - 1}),
    ),
    "IBertLayerNorm": (
        ("C1", "an int64 input", {"x": LONG}),
        ("C2", "a bias of another length", {"bias": BIAS[:2]}),
        ("C3", "a shift of 32", {"shift": 32}),
    ),
    "LogIntSoftmax": (
        *UNITS,
        ("C4", "a sum that leaves int64", {"c": 2**24, "n": 38}),
        ("C5", "5 bits", {"bits": 5}),
    ),
    "ShiftMatMul": (
        ("C1", "signed codes", {"codes": PAIR}),
        ("C2", "lengths that do not meet", {"v": PAIR[:1]}),
        ("C3", "5 bits", {"bits": 5}),
        ("C4", "a negative factor", {"alpha": -1.0}),
        ("C5", "a code that 2 bits do not have", {"bits": 2, "codes": np.array([[0, 5]], "uint8")}),
    ),
}
"""What is broken, by operator."""
