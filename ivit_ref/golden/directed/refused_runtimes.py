"""Calls of the operators of deployed runtimes that must be refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ivit_ref.ir import Array, Attribute

Broken = tuple[str, str, dict[str, Any]]

ROW = np.array([1, 2, 3], "int8")
LONG = np.array([1, 2, 3], "int64")
HALF: dict[str, Attribute] = {"multiplier": (2**30,), "shift": (31,), "axis": 0, "zero_point": 0, "dtype": "int8"}

VALID: Mapping[str, tuple[Mapping[str, Array], Mapping[str, Attribute]]] = {
    "GemmlowpRequantize": ({"x": ROW}, HALF),
    "TosaRescale": ({"x": ROW}, {**HALF, "double_round": True}),
    "TFLiteSoftmax": ({"x": ROW}, {"multiplier": 2**30, "left_shift": 25, "diff_min": -62, "dtype": "int8"}),
}

SCALINGS: tuple[Broken, ...] = (
    ("C1", "an int64 input", {"x": LONG}),
    ("C2", "a multiplier of 2**31", {"multiplier": (2**31,)}),
    ("C2", "a shift of 63", {"shift": (63,)}),
    ("C3", "two numbers for three channels", {"multiplier": (1, 1), "shift": (2, 2)}),
    ("C4", "a zero point outside the dtype", {"zero_point": 128}),
)

BROKEN: Mapping[str, tuple[Broken, ...]] = {
    "GemmlowpRequantize": SCALINGS,
    "TosaRescale": (
        *SCALINGS,
        ("C2", "a negative multiplier", {"multiplier": (-1,)}),
        ("C2", "a shift of 1", {"shift": (1,)}),
        ("C5", "an x of 2**(shift - 1)", {"shift": (2,)}),
    ),
    "TFLiteSoftmax": (
        ("C1", "an int16 input", {"x": np.array([1, 2, 3], "int16")}),
        ("C2", "a negative multiplier", {"multiplier": -1}),
        ("C2", "a shift of 32", {"left_shift": 32}),
        ("C3", "a difference that leaves Q5.26", {"diff_min": -63}),
        ("C4", "512 equal logits", {"x": np.zeros(512, "int8")}),
    ),
}
"""What is broken, by operator."""
