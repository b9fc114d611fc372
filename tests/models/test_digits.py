"""The trained digits model, and random checkpoints: foreign runtimes, an independent implementation, and the accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, checker, shape_inference

import ivit_ref
from ivit_ref.arrays import read_npz
from ivit_ref.checkpoints import State, read_state
from ivit_ref.cli import main
from ivit_ref.errors import IntegerOverflow
from ivit_ref.interpreter import Interpreter
from ivit_ref.ir import Graph
from ivit_ref.models import ViTConfig, model_graph, recognise
from ivit_ref.onnx_io import from_model, to_model
from ivit_ref.profiles import PROFILES
from tests.models.helpers import assert_engines_agree, correct, edited, images_of, ties, without_qkv_bias
from tests.onnx.runtimes import RUNTIMES, assert_same
from tests.oracle.digits_vit import VisionTransformer

Array = npt.NDArray[Any]

GRAPHS = Path(__file__).parents[2] / "graphs"
HEADS = 4
IMAGES = {"reference": 8, "onnxruntime": 32}
"""How many go through each runtime."""


@pytest.fixture(scope="module")
def digits() -> Graph:
    return ivit_ref.load(GRAPHS / "digits_vit.onnx")


@pytest.fixture(scope="module")
def simulation() -> dict[str, Array]:
    """Images, labels, and what the released simulation answers."""
    return read_npz(GRAPHS / "digits_test.npz")


# --- The committed graph


def test_convert_gives_the_committed_bytes(tmp_path: Path) -> None:
    out = tmp_path / "digits.onnx"
    assert main(["convert", str(GRAPHS / "digits_vit.npz"), str(out), "--num-heads", str(HEADS)]) == 0
    assert out.read_bytes() == (GRAPHS / "digits_vit.onnx").read_bytes()


def test_sizes_are_those_of_the_training() -> None:
    config = recognise(read_state(GRAPHS / "digits_vit.npz"), heads=HEADS)
    assert config == ViTConfig((8, 8), (2, 2), channels=1, dim=64, depth=4, heads=4, hidden=256, classes=10)
    assert config.tokens == 17


def test_nodes_of_the_arithmetic_are_those_of_the_release(digits: Graph) -> None:
    counts = {op: sum(node.op == op for node in digits.nodes) for op in ("Linear", "Shiftmax", "ShiftGELU", "ILayerNorm")}
    assert counts == {"Linear": 4 * 4 + 1, "Shiftmax": 4, "ShiftGELU": 4, "ILayerNorm": 2 * 4 + 1}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_runtimes_agree_bit_by_bit(runtime: str, profile: str, digits: Graph, simulation: dict[str, Array]) -> None:
    graph = digits.with_profile(profile)
    inputs = {"image": simulation["images"][: IMAGES[runtime]]}
    want = ivit_ref.run(graph, inputs, overflow="wrap", engine="spec")
    got = RUNTIMES[runtime](to_model(graph), inputs)
    assert set(got) == set(want) == {"logits", "logits_int"}
    for name in want:
        assert_same(got[name], want[name])


@pytest.mark.parametrize("profile", PROFILES)
def test_onnx_infers_the_types_of_the_whole_model(profile: str, digits: Graph) -> None:
    model = to_model(digits.with_profile(profile))
    checker.check_model(model, full_check=True)
    bare = ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    inferred = shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True)
    ours = {info.name: info.type.tensor_type.elem_type for info in model.graph.value_info}
    assert len(ours) == len(digits.nodes) - 2
    assert {info.name: info.type.tensor_type.elem_type for info in inferred.graph.value_info} == ours


@pytest.mark.parametrize("profile", PROFILES)
def test_engines_agree_in_every_tensor(profile: str, digits: Graph, simulation: dict[str, Array]) -> None:
    assert_engines_agree(digits.with_profile(profile), simulation["images"][:16])


# --- Accuracy on the 450 images that the training did not see


def test_qat_is_the_simulation_in_integers(digits: Graph, simulation: dict[str, Array]) -> None:
    logits = ivit_ref.run(digits, {"image": simulation["images"]})["logits"]
    wanted = correct(simulation["logits"], simulation["labels"])
    assert wanted > 96.5
    assert correct(logits, simulation["logits"].argmax(axis=1)) >= 99
    assert correct(logits, simulation["labels"]) >= wanted - 0.5


@pytest.mark.parametrize("profile", ["paper", "ideal"])
def test_other_profiles_keep_the_accuracy(profile: str, digits: Graph, simulation: dict[str, Array]) -> None:
    logits = ivit_ref.run(digits.with_profile(profile), {"image": simulation["images"]})["logits"]
    assert abs(correct(logits, simulation["labels"]) - correct(simulation["logits"], simulation["labels"])) <= 1.5


def test_tvm_stops_at_a_layer_norm(digits: Graph, simulation: dict[str, Array]) -> None:
    with pytest.raises(IntegerOverflow) as caught:
        ivit_ref.run(digits.with_profile("tvm"), {"image": simulation["images"][:4]})
    error = caught.value
    assert (error.op, error.node, error.step, error.dtype) == ("ILayerNorm", "blocks.0.norm1", "sum of x", "int16")
    tensors = VisionTransformer(read_npz(GRAPHS / "digits_vit.npz"), HEADS)
    tensors(simulation["images"][:4])
    sums = tensors.tensors["qact1"][0].sum(axis=-1, keepdims=True)
    assert error.value == sums[error.index]
    assert not -(2**15) <= error.value < 2**15
    for part in (error.node, error.op, error.step, str(error.value)):
        assert part in str(error)


def test_tvm_fails_in_the_widths_of_its_layer_norm(digits: Graph, simulation: dict[str, Array]) -> None:
    tvm, inputs = digits.with_profile("tvm"), {"image": simulation["images"]}
    labels = simulation["labels"]
    wrapped = ivit_ref.run(tvm, inputs, overflow="wrap")["logits"]
    assert 50 <= correct(wrapped, labels) <= 65
    wide = tvm.with_attributes("ILayerNorm", mean_bits=64, variance_bits=64)
    logits = ivit_ref.run(wide, inputs, overflow="wrap")["logits"]
    assert abs(correct(logits, labels) - correct(simulation["logits"], labels)) <= 1.5


# --- The independent implementation


def assert_equals_the_release(graph: Graph, state: Mapping[str, Array], heads: int, images: Array) -> None:
    """Every tensor that both sides name has the same integers and the same scale, to the unit and to the bit."""
    release = VisionTransformer(state, heads)
    q, scale = release(images)
    tensors = Interpreter(graph, engine="spec").run({"image": images}, intermediates=True)
    assert_same(tensors["logits_int"], q.astype(np.int32))
    assert_same(tensors["logits"], q.astype(np.float32) * scale)
    constants = {constant.value.name: constant.data for constant in graph.constants}
    for name, (integers, step) in release.tensors.items():
        ours = "logits_int" if name == "head" else name
        np.testing.assert_array_equal(constants[ours] if name == "qact_pos" else tensors[ours], integers, err_msg=name)
        quant = graph.values[ours].quant
        assert quant is not None
        assert quant.scale == tuple(step.tolist()), name
    assert len(release.tensors) == 7 + 21 * release.depth


def test_digits_equal_the_release_to_the_unit(digits: Graph, simulation: dict[str, Array]) -> None:
    state = read_npz(GRAPHS / "digits_vit.npz")
    assert_equals_the_release(digits, state, HEADS, simulation["images"][100:124])


# --- Other checkpoints

CONFIGS = {
    "patches that are not square": ViTConfig((6, 10), (3, 2), channels=3, dim=24, depth=1, heads=3, hidden=40, classes=7),
    "one patch, heads of one channel": ViTConfig((8, 8), (8, 8), channels=2, dim=8, depth=2, heads=8, hidden=5, classes=2),
    "one class, one head": ViTConfig((4, 6), (2, 2), channels=1, dim=20, depth=3, heads=1, hidden=20, classes=1),
    "pixels that no patch holds": ViTConfig((7, 9), (2, 4), channels=1, dim=12, depth=1, heads=2, hidden=12, classes=3),
}


def converted(arrays: dict[str, Array], config: ViTConfig, profile: str = "qat") -> Graph:
    return model_graph(State(arrays), config, profile)


def assert_checkpoint_runs(config: ViTConfig, arrays: dict[str, Array], seed: int) -> None:
    graph = converted(arrays, config)
    ivit_ref.verify(graph)
    assert from_model(to_model(graph)) == graph
    images = images_of(config, arrays["qact_input.act_scaling_factor"], seed)
    assert_engines_agree(graph, images)
    assert_equals_the_release(graph, arrays, config.heads, images)


@st.composite
def configs(draw: st.DrawFn) -> ViTConfig:
    patch = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    image = patch[0] * draw(st.integers(1, 3)), patch[1] * draw(st.integers(1, 3)) + draw(st.integers(0, patch[1] - 1))
    heads = draw(st.integers(1, 4))
    sizes = {name: draw(st.integers(1, 12)) for name in ("hidden", "classes")}
    channels, depth = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return ViTConfig(image, patch, channels=channels, dim=heads * draw(st.integers(1, 5)), depth=depth, heads=heads, **sizes)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(config=configs(), seed=st.integers(0, 2**31))
def test_any_checkpoint_equals_the_release(config: ViTConfig, seed: int) -> None:
    assert_checkpoint_runs(config, edited(config, seed), seed)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("edit", [dict, without_qkv_bias])
def test_checkpoints_of_other_shapes(config: ViTConfig, edit: Callable[[dict[str, Array]], dict[str, Array]]) -> None:
    arrays = edit(edited(config, 7))
    config = replace(config, qkv_bias=edit is dict)
    assert recognise(State(arrays), heads=config.heads, image=config.image) == config
    assert_checkpoint_runs(config, arrays, 7)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_runtimes_agree_on_other_checkpoints(runtime: str, profile: str) -> None:
    config = CONFIGS["patches that are not square"]
    arrays = edited(config, 11)
    graph = converted(arrays, config, profile)
    inputs = {"image": images_of(config, arrays["qact_input.act_scaling_factor"], 11)}
    want = ivit_ref.run(graph, inputs, overflow="wrap", engine="spec")
    got = RUNTIMES[runtime](to_model(graph), inputs)
    for name in want:
        assert_same(got[name], want[name])


def test_ties_tell_a_quotient_from_a_product() -> None:
    """The awkward embeddings do what they are there for: dividing and multiplying by the reciprocal give other integers."""
    scale = np.float32(3 / 32767)
    x = ties(np.random.default_rng(0), (1000,), scale, 2000)
    assert np.count_nonzero(np.rint(x / scale) != np.rint(np.float32(1) / scale * x)) > 100
