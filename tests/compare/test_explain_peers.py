"""A constant of another method that is off by one or two is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ivit_ref.events import Context
from ivit_ref.ir import Array, Graph
from ivit_ref.registry import lookup
from ivit_ref.testing import Mismatch, check_backend


@pytest.mark.parametrize(
    ("op", "name", "delta", "label"),
    [
        ("IBertSoftmax", "b", 1, "b larger by 1"),
        ("IBertSoftmax", "x0", -1, "x0 smaller by 1"),
        ("IBertGELU", "one", 2, "one larger by 2"),
        ("LogIntSoftmax", "c", -2, "c smaller by 2"),
        ("L1LayerNorm", "shift", -1, "shift smaller by 1"),
        ("ITASoftmax", "block", 1, "block larger by 1"),
        ("TFLiteSoftmax", "left_shift", -1, "left_shift smaller by 1"),
    ],
)
def test_a_constant_off_by_little(op: str, name: str, delta: int, label: str) -> None:
    def wrong(inputs: dict[str, Array], graph: Graph) -> dict[str, Any]:
        [node] = graph.nodes
        attributes = {**node.attributes, name: int(str(node.attributes[name])) + delta}
        arrays = [np.asarray(inputs[i]) for i in lookup(op).inputs]
        return {"result": lookup(op).run(arrays, attributes, Context("wrap", op))}

    with pytest.raises(Mismatch, match=rf"exactly what it gives with {label}\b"):
        check_backend(wrong, suite=op)
