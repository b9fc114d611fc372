"""The counterexamples that docs/numerics.md gives for the methods that I-ViT is compared with: each line is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ivit_ref.dyadic import float32
from ivit_ref.errors import ConstraintError
from ivit_ref.ir import Quant, TensorType
from ivit_ref.methods import METHODS
from ivit_ref.registry import REGISTRY
from tests.agreement import run

NUMERICS = (Path(__file__).parents[1] / "docs" / "numerics.md").read_text()
LINES = re.findall(r"^\| ([a-z]) \| (\w+) \| `(.*?)` \| `(.*?)` \| `(.*?)` \|", NUMERICS, re.MULTILINE)
REST: dict[str, dict[str, Any]] = {
    "IBertLayerNorm": {},
    "GemmlowpRequantize": {"axis": 0, "zero_point": 0, "dtype": "int8"},
    "TosaRescale": {"axis": 0, "zero_point": 0, "dtype": "int8"},
}
"""What the lines leave out, since it does not matter."""


def attributes(op: str, at: str, x: TensorType) -> dict[str, Any]:
    """What a line says, and what follows from it."""
    given: dict[str, Any] = eval(f"dict({at})", {"__builtins__": {}, "dict": dict})
    if "S" not in given:
        numbers = {
            k: (v,) if k in ("multiplier", "shift") and op in REST and "axis" in REST[op] else v for k, v in given.items()
        }
        return REST.get(op, {}) | numbers
    [method] = [method for role in METHODS for method in METHODS[role] if method.op == op]
    fixed = method.fixed(x)
    follows = REGISTRY[op].follows
    assert follows is not None
    return fixed | follows([Quant((float32(given["S"]),))], [x], fixed)


def row(text: str) -> list[int]:
    """``[0] * 3 + [1]`` as Python has it."""
    value = eval(text, {"__builtins__": {}})
    assert isinstance(value, list)
    return value


def test_there_are_some() -> None:
    assert len(LINES) == 11
    assert {op for _, op, *_ in LINES} <= set(REGISTRY)


@pytest.mark.parametrize(("op", "at", "given", "result"), [line[1:] for line in LINES], ids=[line[0] for line in LINES])
def test_a_line_of_the_documentation(op: str, at: str, given: str, result: str) -> None:
    numbers = row(given)
    dtype = "int32" if op.endswith(("Requantize", "Rescale")) else "int8" if min(numbers) >= -128 else "int16"
    x = np.array([numbers], dtype)
    arrays = (x, np.zeros(len(numbers), np.int32)) if "bias" in REGISTRY[op].inputs else (x,)
    call = (arrays, attributes(op, at, TensorType(dtype, x.shape)))
    if result.endswith(")"):
        with pytest.raises(ConstraintError, match=re.escape(result)):
            run(op, call)
    else:
        assert run(op, call)[0].tolist() == [row(result)]
