"""What a run costs, against the figures that the models' papers give."""

from __future__ import annotations

import numpy as np
import pytest

import ivit_ref
from ivit_ref.cost import macs
from ivit_ref.errors import GraphError
from ivit_ref.models import MODELS, random_model

GIGA = {
    "deit_tiny_patch16_224": 1.3,
    "deit_small_patch16_224": 4.6,
    "swin_tiny_patch4_window7_224": 4.5,
}
"""Multiply-accumulates: DeiT as timm counts them, Swin as its paper does (arXiv 2103.14030, table 1)."""


@pytest.mark.parametrize("name", GIGA)
def test_published_models_cost_what_is_published(name: str) -> None:
    assert round(macs(random_model(MODELS[name]).bind(N=1)) / 1e9, 1) == pytest.approx(GIGA[name], abs=0.11)


def test_products_are_counted_one_by_one() -> None:
    b = ivit_ref.GraphBuilder("products")
    x = b.input("x", "int8", (2, 3, 4, 6))
    kernel, bias = b.constant("kernel", np.ones((5, 3, 2, 2), np.int8)), b.constant("bias", np.zeros(5, np.int32))
    b.node("Conv", x, kernel, bias, name="conv", strides=(2, 2), pads=(0, 0, 0, 0), dilations=(1, 1), group=1)
    weight, offset = b.constant("weight", np.ones((7, 6), np.int8)), b.constant("offset", np.zeros(7, np.int32))
    b.node("Linear", x, weight, offset, name="linear")
    y = b.node("MatMul", x, b.node("Transpose", x, name="t", perm=(0, 1, 3, 2)), name="matmul", alpha=1.0)
    conv, linear, matmul = (2 * 5 * 2 * 3) * (3 * 2 * 2), (2 * 3 * 4 * 7) * 6, (2 * 3 * 4 * 4) * 6
    assert macs(b.finish([y])) == conv + linear + matmul


def test_a_named_dimension_has_no_cost() -> None:
    with pytest.raises(GraphError, match=r"macs: every dimension must be bound \(see: Graph.bind\), but found 'N'"):
        macs(random_model(MODELS["deit_tiny_patch16_224"]))
