"""ILayerNorm in float64: the ends of its widths, and the largest sums that it can have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivit_ref.profiles import PROFILES, QAT, TVM
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.rows import stressed
from tests.fast.engines import Array, assert_engines_agree, runs_spec

CHOICES: dict[str, dict[str, Any]] = {name: profile.i_layer_norm() for name, profile in PROFILES.items()}
CHOICES["tvm, wide sums"] = {**TVM.i_layer_norm(), "mean_bits": 64, "variance_bits": 64}
CHOICES["qat, 32-bit products"] = {**QAT.i_layer_norm(), "product_bits": 32}
CHOICES["one step"] = {**QAT.i_layer_norm(), "sqrt_start": 0, "sqrt_steps": 1}
CHOICES["half away"] = {**QAT.i_layer_norm(), "mean_rounding": "half_away"}


def alternating(low: int, high: int, count: int, dtype: str = "int16") -> Array:
    return np.resize(np.array([low, high], dtype), (1, count))


ROWS = {
    "ends": alternating(-(2**15), 2**15 - 1, 192),
    "lowest": np.full((2, 192), -(2**15), np.int16),
    "highest": np.full((2, 192), 2**15 - 1, np.int16),
    "one-hot": np.where(np.eye(4, 192, dtype=bool), 2**15 - 1, -(2**15)).astype(np.int16),
    "small": np.array([[0, 1], [1, 2], [-1, 0], [-3, -2], [7, 7]], np.int16),
    "single": np.array([[5], [-5], [0]], np.int16),
    "bytes": alternating(0, 255, 192, "uint8"),
    "int8": alternating(-128, 127, 9, "int8"),
    "sum of 16 bits": np.array([[2**14, 2**14 - 1, 0], [2**14, 2**14, 0], [-(2**14), -(2**14), -1]], np.int16),
}


@pytest.mark.parametrize("choices", CHOICES)
@pytest.mark.parametrize("rows", ROWS)
def test_rows_of_every_kind(rows: str, choices: str) -> None:
    x = ROWS[rows]
    for bias in (0, 1, -1, 2**31 - 1, -(2**31), 2**30):
        assert_engines_agree("ILayerNorm", [x, np.full(x.shape[-1], bias, np.int32)], CHOICES[choices])


@pytest.mark.parametrize("choices", CHOICES)
def test_the_longest_rows_of_the_largest_numbers(choices: str) -> None:
    """Sums of 2**31 in magnitude, and of squares near 2**46 and, for an odd one, beyond float32 by far."""
    bias = np.zeros(2**16, np.int32)
    odd = alternating(-(2**15), 2**15 - 1, 2**16)
    odd[0, 7] = 12345
    for x in (np.full((1, 2**16), -(2**15), np.int16), np.full((1, 2**16), 2**15 - 1, np.int16), odd):
        assert_engines_agree("ILayerNorm", [x, bias], CHOICES[choices])


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_rows_of_any_choice(data: st.DataObject) -> None:
    _, attributes = data.draw(CALLS["ILayerNorm"])
    x = data.draw(stressed(data.draw(st.sampled_from(["int8", "uint8", "int16"])), data.draw(st.sampled_from([(40,), (3, 9)]))))
    bias = data.draw(stressed("int32", x.shape[-1:]))
    assert_engines_agree("ILayerNorm", [x, bias], attributes)


@pytest.mark.parametrize(("start", "steps"), [(2**16, 10), (0, 10), (0, 1), (0, 0), (1, 3), (2**31, 64)])
def test_roots_that_do_not_converge_are_told(start: int, steps: int) -> None:
    x = np.array([[3, 3, 3], [0, 0, 1], [-5, 900, 7], [2**15 - 1, -(2**15), 0]], np.int16)
    attributes = {**QAT.i_layer_norm(), "sqrt_start": start, "sqrt_steps": steps}
    assert_engines_agree("ILayerNorm", [x, np.zeros(3, np.int32)], attributes)


def test_no_choice_runs_the_spec() -> None:
    x, bias = ROWS["one-hot"], np.zeros(192, np.int32)
    assert not [choices for choices in CHOICES if runs_spec("ILayerNorm", [x, bias], CHOICES[choices])]
