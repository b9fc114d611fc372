"""Calls that L1LayerNorm, ITASoftmax and the operators that compute in floats must refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ivit_ref.ir import Array, Attribute

ROW, BIAS, LONG = np.array([1, 2, 3], "int8"), np.zeros(3, "int32"), np.array([1, 2, 3], "int64")

VALID: Mapping[str, tuple[Mapping[str, Array], Mapping[str, Attribute]]] = {
    "L1LayerNorm": ({"x": ROW, "bias": BIAS}, {"multiplier": 1, "shift": 1}),
    "ITASoftmax": ({"x": ROW}, {"block": 16, "shift": 0}),
    "FloatSoftmax": ({"x": ROW}, {"scale": 0.25, "out_bits": 8, "dtype": "int8"}),
    "FloatGELU": ({"x": ROW}, {"scale": 0.25, "out_bits": 8}),
    "FloatLayerNorm": ({"x": ROW, "bias": BIAS}, {}),
}
"""A call of each operator that is answered."""

TENSORS = (("C1", "an int64 input", {"x": LONG}), ("C2", "a bias of another length", {"bias": BIAS[:2]}))
SCALES = (
    ("C2", "a scale that is no float32", {"scale": 0.1}),
    ("C2", "a negative scale", {"scale": -0.25}),
    ("C3", "17 bits", {"out_bits": 17}),
)

BROKEN: Mapping[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    "L1LayerNorm": (
        *TENSORS,
        ("C3", "a multiplier of 0", {"multiplier": 0}),
        ("C3", "a multiplier of 2**31", {"multiplier": 2**31}),
        ("C4", "a shift of 63", {"shift": 63}),
    ),
    "ITASoftmax": (
        ("C1", "a uint8 input", {"x": ROW.view("uint8")}),
        ("C2", "a block of no columns", {"block": 0}),
        ("C3", "a shift of 8", {"shift": 8}),
    ),
    "FloatSoftmax": (TENSORS[0], *SCALES, ("C3", "more bits than the dtype has", {"out_bits": 9})),
    "FloatGELU": (("C1", "a uint8 input", {"x": ROW.view("uint8")}), *SCALES),
    "FloatLayerNorm": TENSORS,
}
"""What is broken, by operator."""
