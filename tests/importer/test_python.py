"""Wrong use from Python: an IvitError, in one line, with the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ivit_ref
from ivit_ref.errors import InputError

MODEL = Path(__file__).parents[2] / "graphs" / "quantized" / "digits_batch_qdq_u8.onnx"


@pytest.mark.parametrize("choices", [{"gelu": "lookup"}, "lookup", 3])
def test_choices_are_choices(choices: Any) -> None:
    with pytest.raises(InputError, match=r"choices: must be ivit_ref\.Choices\(\.\.\.\), but found"):
        ivit_ref.load(MODEL, choices=choices, N=1)


@pytest.mark.parametrize(("name", "value"), [("gelu", "look"), ("softmax", "float"), ("layernorm", "")])
def test_a_choice_is_one_of_those_there_are(name: str, value: str) -> None:
    with pytest.raises(InputError, match=rf"^{name}: must be one of .*, but found '{value}'$"):
        ivit_ref.Choices(**{name: value})  # type: ignore[arg-type]


def test_what_is_run_is_a_graph() -> None:
    with pytest.raises(InputError, match=r"^graph: must be a Graph \(see: ivit_ref\.load\), but found str$"):
        ivit_ref.run("model.onnx", {"image": np.zeros(1, np.float32)})  # type: ignore[arg-type]


def test_a_dimension_that_is_not_there_is_told_what_is() -> None:
    with pytest.raises(ivit_ref.IvitError, match=r"a dimension must be one of N, but found 'gelu'$"):
        ivit_ref.load(MODEL, gelu=1, N=1)
