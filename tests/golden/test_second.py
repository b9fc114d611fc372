"""The second computation: it confirms what is right, by twins or by onnx, and names node and index of what is not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import ivit_ref
from ivit_ref import Graph, GraphBuilder, Quant
from ivit_ref.errors import IvitError
from ivit_ref.golden import second
from ivit_ref.golden.case import evaluated
from ivit_ref.golden.second import confirm, confirmation
from ivit_ref.ir import Array
from ivit_ref.part import matching, part
from tests.golden.building import DIGITS, DIGITS_IMAGES, SWIN, SWIN_IMAGES, TINY_X, tiny_graph

MODELS: dict[str, tuple[Path, Path]] = {"vit": (DIGITS, DIGITS_IMAGES), "swin": (SWIN, SWIN_IMAGES)}
WAYS = {"twin": 2**62, "onnx": -1}
"""What MOST_WORK_OF_A_TWIN is set to, to have each."""

ways = pytest.mark.parametrize("by", WAYS)


@cache
def model(name: str) -> tuple[Graph, Mapping[str, Array]]:
    path, images = MODELS[name]
    graph = ivit_ref.load(path, N=1)
    with np.load(images) as archive:
        return graph, evaluated(graph, {"image": archive["images"][:1]})[0]


@cache
def tiny() -> tuple[Graph, Mapping[str, Array]]:
    graph = tiny_graph().bind(N=2)
    return graph, evaluated(graph, {"x": TINY_X})[0]


def changed(values: Mapping[str, Array], name: str, index: tuple[int, ...]) -> dict[str, Array]:
    wrong = values[name].copy()
    wrong[index] += 1
    return {**values, name: wrong}


@ways
@pytest.mark.parametrize("name", MODELS)
def test_both_confirm_the_digits_models(name: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second, "MOST_WORK_OF_A_TWIN", WAYS[by])
    graph, values = model(name)
    assert confirm(graph, values) == by


@ways
@pytest.mark.parametrize("suffix", ["norm1", "attn.qkv", "mlp.fc1", "head"])
def test_a_wrong_value_of_the_digits_vit_is_named(suffix: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the part that has only this node, so that nothing behind it differs first."""
    monkeypatch.setattr(second, "MOST_WORK_OF_A_TWIN", WAYS[by])
    graph, values = model("vit")
    node = next(n for n in graph.nodes if n.name.endswith(suffix) and n.output.type.dtype != "float32")
    cut = part(graph, matching(graph, node.name), "cut")
    shape = values[node.output.name].shape
    index = tuple(length // 2 for length in shape)
    wrong = changed(values, node.output.name, index)
    with pytest.raises(IvitError) as caught:
        confirm(cut, wrong)
    right = int(values[node.output.name][index])
    said = f"at {list(index)} they give {right + 1} and, by {by}, {right}"
    assert repr(node.name) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@ways
@pytest.mark.parametrize(("name", "index"), [("fc", (0, 0)), ("fc", (1, 1)), ("fc.out", (0, 1)), ("fc.out", (1, 0))])
def test_the_first_node_that_differs_is_named(
    name: str, index: tuple[int, int], by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second, "MOST_WORK_OF_A_TWIN", WAYS[by])
    graph, values = tiny()
    with pytest.raises(IvitError, match=rf"node '{name}' .*at \[{index[0]}, {index[1]}\] they give"):
        confirm(graph, changed(values, name, index))


@ways
def test_a_value_of_another_dtype_or_shape_is_named(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second, "MOST_WORK_OF_A_TWIN", WAYS[by])
    graph, values = tiny()
    for wrong in (values["fc"].astype(np.int64), values["fc"].reshape(4, 1)):
        with pytest.raises(IvitError, match=rf"node 'fc' .*{by} gives int32\[2, 2\]"):
            confirm(graph, {**values, "fc": wrong})


@ways
def test_a_zero_of_the_other_sign_is_named(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real numbers are the same where their bits are."""
    monkeypatch.setattr(second, "MOST_WORK_OF_A_TWIN", WAYS[by])
    b = GraphBuilder("real", profile="qat")
    x = b.input("x", "int8", (3,), Quant((0.5,)))
    graph = b.finish([b.node("Dequantize", x, name="real")])
    values = {"x": np.array([2, 0, -2], np.int8), "real": np.array([1.0, 0.0, -1.0], np.float32)}
    assert confirm(graph, values) == by
    with pytest.raises(IvitError, match=r"node 'real' .*at \[1\] they give -0\.0 and, by \w+, 0\.0"):
        confirm(graph, {**values, "real": np.array([1.0, -0.0, -1.0], np.float32)})


def test_the_work_decides_who_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    """12 products, and four elements of each of two tensors, at the work that the text gives an element."""
    graph, _ = tiny()
    work = 12 + second.WORK_OF_AN_ELEMENT * (4 + 4)
    monkeypatch.setattr(second, "MOST_WORK_OF_A_TWIN", work)
    assert confirmation(graph) == "twin"
    monkeypatch.setattr(second, "MOST_WORK_OF_A_TWIN", work - 1)
    assert confirmation(graph) == "onnx"


def test_a_twin_answers_a_product_in_python_integers() -> None:
    x, weight, bias = (np.array(a, d) for a, d in (([[3, -4]], "int8"), ([[5, 6], [7, 8]], "int8"), ([1, -2], "int32")))
    answer = second.twin("Linear", [x, weight, bias], {}, "int32")
    np.testing.assert_array_equal(answer, np.array([[15 - 24 + 1, 21 - 32 - 2]], np.int32), strict=True)
