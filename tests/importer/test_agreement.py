"""How close an imported model comes to ONNX Runtime on the same file, over real images: 450, or 225 where it takes one at once.

What is linear in it - all but softmax, GELU and LayerNormalization - is compared integer by integer, each time from ONNX
Runtime's own integers: a difference is one rounding, and must come from a float32 result next to a tie.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import ivit_ref
from ivit_ref.events import Context
from ivit_ref.importer import Choices
from ivit_ref.interpreter import kernel_of
from ivit_ref.ir import Graph, Node

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "graphs" / "quantized"
SHARED = Path(os.environ.get("IVIT_REF_DATA", ROOT.parent / "shared" / "data")) / "onnx"
FILES = (
    "digits_batch_qdq_s16", "digits_batch_qdq_s8_symmetric", "digits_batch_qdq_u8", "digits_batch_qop_s8",
    "digits_dyn20_qdq_s8", "digits_dyn20_qop_u8", "digits_ts14_qdq_s8", "digits_ts14_qop_u8",
    "digits_ts17_qdq_s8", "digits_ts17_qop_u8",
)  # fmt: skip
NONLINEAR = {"Shiftmax", "ShiftGELU", "ILayerNorm"}

Array = npt.NDArray[Any]
files = pytest.mark.parametrize("name", FILES)


def path_of(name: str) -> Path:
    """Among the committed models, or among the data beside the checkout."""
    for folder in (COMMITTED, SHARED):
        if (folder / f"{name}.onnx").is_file():
            return folder / f"{name}.onnx"
    pytest.skip(f"{name}.onnx is not here")


def images_and_labels() -> tuple[Array, Array]:
    with np.load(ROOT / "graphs" / "digits_test.npz") as data:
        return data["images"], data["labels"]


def session(model: onnx.ModelProto) -> Any:
    runtime = pytest.importorskip("onnxruntime")
    return runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def loaded(name: str, batch: int, **choices: Any) -> tuple[Graph, int]:
    """The integer graph, and how many images it takes at once: those that are fixed take one."""
    has_batch = "batch" in name
    dims = {"N": batch} if has_batch else {}
    return ivit_ref.load(path_of(name), choices=Choices(**choices), **dims), batch if has_batch else 1


# --- Whole models


@files
@pytest.mark.parametrize("gelu", ["shiftgelu", "lookup"])
def test_a_whole_model_answers_like_onnx_runtime(name: str, gelu: str) -> None:
    """Top-1 within 1.5 points, and the same class on 97 % of the images."""
    if gelu == "lookup" and name.endswith("s16"):
        pytest.skip("a table is for 8 bits")
    images, labels = images_and_labels()
    graph, batch = loaded(name, 90, gelu=gelu)
    images, labels = (images, labels) if batch > 1 else (images[::2], labels[::2])
    interpreter = ivit_ref.Interpreter(graph)
    ours = np.concatenate([interpreter.run({"image": part})["logits"] for part in parts(images, batch)]).argmax(axis=1)
    theirs = their_logits(name, images, batch).argmax(axis=1)
    assert abs(np.mean(ours == labels) - np.mean(theirs == labels)) <= 0.015
    assert np.mean(ours == theirs) >= 0.97


def their_logits(name: str, images: Array, batch: int) -> Array:
    """What ONNX Runtime answers: as it was recorded for the committed models, or now."""
    with np.load(COMMITTED / "ort_logits.npz") as recorded:
        if name in recorded:
            return recorded[name][:: 450 // len(images)]
    runtime = session(onnx.load(path_of(name)))
    return np.concatenate([runtime.run(None, {"image": part})[0] for part in parts(images, batch)])


@files
def test_the_recorded_answers_are_those_of_onnx_runtime(name: str) -> None:
    """Up to the last bits of float32, which differ from processor to processor."""
    images, _ = images_and_labels()
    with np.load(COMMITTED / "ort_logits.npz") as recorded:
        if name not in recorded:
            pytest.skip(f"{name} is not committed")
        logits = recorded[name]
    runtime = session(onnx.load(path_of(name)))
    batch = 50 if "batch" in name else 1
    theirs = np.concatenate([runtime.run(None, {"image": part})[0] for part in list(parts(images, batch))[:9]])
    assert np.mean(theirs.argmax(axis=1) == logits[: len(theirs)].argmax(axis=1)) >= 0.99


def parts(images: Array, batch: int) -> Iterator[Array]:
    for first in range(0, len(images), batch):
        yield images[first : first + batch]


@files
def test_both_engines_and_the_exported_form_are_bit_equal(name: str) -> None:
    images, _ = images_and_labels()
    graph, batch = loaded(name, 3)
    assert any(node.op == "Shiftmax" for node in graph.nodes)
    runtime = session(ivit_ref.onnx_io.to_model(graph))
    for part in parts(images[:3], batch):
        fast = ivit_ref.run(graph, {"image": part})["logits"]
        np.testing.assert_array_equal(ivit_ref.run(graph, {"image": part}, engine="spec")["logits"], fast, strict=True)
        np.testing.assert_array_equal(runtime.run(["logits"], {"image": part})[0], fast, strict=True)


# --- What is linear, integer by integer


@dataclass
class Tally:
    """How many integers were compared, how many differ, and by how much at most."""

    total: int = 0
    different: int = 0
    furthest: int = 0

    def add(self, ours: Array, theirs: Array) -> Array:
        """Where they differ."""
        gap = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
        self.total += gap.size
        self.different += int(np.count_nonzero(gap))
        self.furthest = max(self.furthest, int(gap.max()))
        return gap > 0


@files
def test_linear_operators_give_the_integers_of_onnx_runtime(name: str) -> None:
    """Never off by more than one, and only next to a tie; 99.99 % equal where float32 holds the sums exactly."""
    images, _ = images_and_labels()
    graph, batch = loaded(name, 50)
    model = with_codes(onnx.load(path_of(name)))
    runtime = session(model)
    names = [o.name for o in runtime.get_outputs()]
    tally = Tally()
    for part in list(parts(images, batch))[: 50 if batch == 1 else 3]:
        codes = dict(zip(names, runtime.run(None, {"image": part}), strict=True))
        follow(graph, part, codes, tally)
    assert tally.total > 10**6
    assert tally.furthest <= 1
    # A product of 16-bit integers does not fit float32, in which ONNX Runtime computes it.
    assert tally.different <= tally.total * (0.001 if name.endswith("s16") else 0.0001)


def with_codes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every tensor of integers that it computes among its outputs."""
    made = [o for n in model.graph.node if n.op_type.startswith(("Quantize", "QLinear", "QGemm")) for o in n.output]
    known = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(o) for o in made if o not in known)
    return model


def follow(graph: Graph, images: Array, codes: dict[str, Array], tally: Tally) -> None:
    """Run the graph, and go on from ONNX Runtime's integers wherever there are any."""
    values: dict[str, Array] = {"image": images} | {c.value.name: c.data for c in graph.constants}
    nonlinear: set[str] = set()
    for node in graph.nodes:
        y = kernel_of(node.op, "fast")([values[i] for i in node.inputs], node.attributes, Context())
        output = node.output.name
        if node.op in NONLINEAR or nonlinear.intersection(node.inputs):
            nonlinear.add(output)
        theirs = codes.get(output)
        if theirs is not None and theirs.dtype == y.dtype and y.dtype != np.float32:
            if output not in nonlinear:
                different = tally.add(y, theirs)
                if different.any():
                    assert_next_to_a_tie(graph, node, values, different)
            nonlinear.discard(output)
            y = theirs
        values[output] = y


def assert_next_to_a_tie(graph: Graph, node: Node, values: dict[str, Array], different: Array) -> None:
    """The exact result is as close to a half as float32 errors of its terms can reach."""
    step = node.output.quant.scale[0]  # type: ignore[union-attr]
    exact = np.zeros(node.output.type.shape)
    terms = np.zeros(node.output.type.shape)
    for name in node.inputs:
        exact = exact + real(graph, name, values[name])
        terms = terms + magnitude(graph, name, values)
    distance = np.abs(np.abs(exact / step - np.floor(exact / step)) - 0.5)
    assert (distance[different] <= 2.0**-20 * (terms / step)[different]).all()


def real(graph: Graph, name: str, x: Array) -> Array:
    """The numbers that the integers stand for, in float64."""
    q = graph.values[name].quant
    assert q is not None
    scale = np.asarray(q.scale, np.float64)
    if q.axis is not None:
        scale = scale.reshape([-1] + [1] * (x.ndim - q.axis - 1))
    result: Array = scale * (x.astype(np.float64) - q.zero_point)
    return result


def magnitude(graph: Graph, name: str, values: dict[str, Array]) -> Array:
    """The sum of the magnitudes of the terms that a product adds up; of anything else the magnitude itself."""
    node = graph.producer(name)
    if node is None or node.op not in ("Linear", "Conv", "MatMul"):
        return np.abs(real(graph, name, values[name]))
    arrays = [np.abs(values[i].astype(np.int64)) for i in node.inputs]
    wide = [a.astype(np.int32) for a in arrays]
    total = kernel_of(node.op, "spec")(wide, node.attributes, Context("wrap"))
    return np.abs(real(graph, name, total))
