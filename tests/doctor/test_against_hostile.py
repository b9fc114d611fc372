"""Dumps with values that float32 does not have, and with names that are no tensors: told in one line, without a warning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ivit_ref.arrays import read_npz
from ivit_ref.checkpoints import read_state
from ivit_ref.doctor.against import compare
from ivit_ref.errors import InputError
from ivit_ref.models import model_graph, recognise

ROOT = Path(__file__).parents[2]
STATE = read_state(ROOT / "graphs" / "digits_vit.npz")
GRAPH = model_graph(STATE, recognise(STATE, heads=4))
IMAGE = read_npz(ROOT / "graphs" / "digits_test.npz")["images"][:1]
DUMP = read_npz(Path(__file__).parent / "data" / "vit_simulation.npz")


def test_real_logits_are_no_tensor_to_compare() -> None:
    rows = compare(GRAPH, {**DUMP, "dequantize": np.zeros((1, 10), np.float32)}, IMAGE, "some.npz")
    assert "dequantize" not in {row.name for row in rows}


@pytest.mark.parametrize("scale", [np.array(1e-300), np.array(1e300), np.array(np.nan), np.array(0.0)])
def test_scales_that_float32_does_not_have(scale: np.ndarray) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=r"'qact1.scale' must be 1 finite scales other than 0") as caught:
        compare(GRAPH, {**DUMP, "qact1.scale": scale}, IMAGE, "some.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [1e300, np.inf, np.nan])
def test_values_that_are_no_integers_of_the_tensor(value: float) -> None:
    broken = np.asarray(DUMP["qact1"], np.float64).copy()
    broken.flat[7] = value
    with pytest.raises(InputError, match="'qact1' must be int16 in steps of its scale"):
        compare(GRAPH, {**DUMP, "qact1": broken}, IMAGE, "some.npz")
