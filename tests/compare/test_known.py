"""What is said where no setting explains a node is true of every element that differs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ivit_ref import ops
from ivit_ref.compare.explain import Evidence
from ivit_ref.compare.explain import explain as explain_both
from ivit_ref.compare.known import known
from ivit_ref.compare.setting import Site
from ivit_ref.ir import Array, Quant
from ivit_ref.profiles import QAT

HALVES: dict[str, Any] = {
    "multiplier": (1,),
    "shift": (1,),
    "rounding": "half_even",
    "axis": 0,
    "zero_point": 0,
    "dtype": "int8",
}


def site_of(op: str, attributes: dict[str, Any], got: Array, dtype: str, scale: float = 0.05) -> Site:
    return Site(op, attributes, (Quant((float(np.float32(scale)),)),), got.shape, dtype)


def said(op: str, x: Array, attributes: dict[str, Any], got: Any, dtype: str) -> str:
    array = np.array(got, np.int64)
    found = Evidence("node", site_of(op, attributes, array, dtype), (x,), array)
    assert explain_both([found]) == ([], [])
    return "\n".join(known(found))


def test_only_at_ties() -> None:
    """Every second tie goes up and the others down, which is no rule."""
    x = np.arange(-20, 20, dtype="int32").reshape(5, 8)
    got = np.array(ops.requantize(x, **HALVES), np.int64)
    ties = np.flatnonzero(x.ravel() % 2)
    got.ravel()[ties[::3]] += 1
    text = said("Requantize", x, HALVES, got, "int8")
    assert "got is larger wherever it differs" in text
    assert f"differs only at ties: at {len(ties[::3])} of {len(ties)} such places" in text
    assert "differs only where the input is odd" in text


def test_only_for_negative_inputs_and_where_it_saturates() -> None:
    x = np.concatenate([np.arange(-40, 40), [-1000, -2000, -300, 1000]]).astype("int32")[None]
    want = np.array(ops.requantize(x, **HALVES), np.int64)
    got = np.where((want == -128) & (np.arange(x.size) % 2 == 0), -120, want)
    text = said("Requantize", x, HALVES, got, "int8")
    assert "got is larger wherever it differs" in text
    assert "where the golden result is at the end of its range" in text
    assert "where the input is negative" in text
    assert "where the input is positive" not in text


def test_signs_of_both_kinds_are_counted() -> None:
    x = np.arange(-20, 20, dtype="int32").reshape(5, 8)
    got = np.array(ops.requantize(x, **HALVES), np.int64)
    got[0, 0], got[1, 3], got[4, 5] = got[0, 0] + 3, got[1, 3] - 5, got[4, 5] - 7
    assert "got is larger at 1 and smaller at 2 places" in said("Requantize", x, HALVES, got, "int8")


def test_few_indices_of_an_axis_are_named() -> None:
    x = np.arange(-64, 64, dtype="int8").reshape(2, 8, 8)
    attributes = QAT.shiftmax(0.05)
    got = np.array(ops.shiftmax(x, **attributes), np.int64)
    got[1, 5] += np.array([1, 5, -2, 3, 1, 7, 0, 2])
    text = said("Shiftmax", x, attributes, got, "int16")
    assert "differs only at 1 of 2 indices of axis 0: 1" in text
    assert "differs only at 1 of 8 indices of axis 1: 5" in text
    assert "axis 2" not in text


def test_the_nearest_setting_is_named_with_what_it_leaves() -> None:
    x = np.array([[(37 * i * j) % 251 - 125 for i in range(16)] for j in range(1, 7)], "int8")
    attributes = QAT.shiftmax(0.05)
    got = np.array(ops.shiftmax(x, **{**attributes, "half": "drop"}), np.int64)
    before = int(np.count_nonzero(got != ops.shiftmax(x, **attributes)))
    got[0, 0] += 12345
    text = said("Shiftmax", x, attributes, got, "int16")
    differing = before + int(ops.shiftmax(x, **attributes)[0, 0] == got[0, 0] - 12345)
    assert f"the nearest setting is half drop, which leaves 1 of {differing} differences" in text


def test_of_floats_nothing_is_said() -> None:
    x = np.arange(5, dtype="int32")
    attributes = {"scale": (0.5,), "axis": 0, "zero_point": 0}
    got = ops.dequantize(x, **attributes)
    got = np.nextafter(got, np.float32(9))
    assert known(Evidence("node", site_of("Dequantize", attributes, got, "float32"), (x,), got)) == []
