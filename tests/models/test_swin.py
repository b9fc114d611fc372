"""Swin: the trained digits model and random checkpoints against an independent implementation, and foreign runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ivit_ref
from ivit_ref.arrays import read_npz
from ivit_ref.checkpoints import State, read_state
from ivit_ref.cli import main
from ivit_ref.errors import CheckpointError, GraphError
from ivit_ref.interpreter import Interpreter
from ivit_ref.ir import Graph
from ivit_ref.models import SwinConfig, model_graph, recognise
from ivit_ref.onnx_io import from_model, to_model
from ivit_ref.profiles import PROFILES
from tests.models.helpers import assert_engines_agree, correct, edited, images_of, without_qkv_bias
from tests.onnx.runtimes import RUNTIMES, assert_same
from tests.oracle.digits_swin import SwinTransformer, buffers, mask_in_steps

Array = npt.NDArray[Any]

GRAPHS = Path(__file__).parents[2] / "graphs"
WINDOW = 4
IMAGES = {"reference": 1, "onnxruntime": 4}
"""How many go through each runtime."""

SMALL = SwinConfig((8, 8), (2, 2), channels=1, dim=4, depths=(2,), heads=(2,), window=2, hidden=8, classes=3)
"""Four windows, of which every other block shifts."""

CONFIGS = {
    "an image that is not square": replace(SMALL, image=(8, 24), depths=(2, 2), heads=(1, 4), channels=3),
    "odd windows": replace(SMALL, image=(12, 18), window=3, depths=(3,), dim=6, heads=(3,)),
    "odd windows, three blocks, a depth of one": replace(
        SMALL, image=(12, 24), window=3, depths=(3, 1), heads=(1, 2), hidden=5, classes=1
    ),
    "an absolute position": replace(SMALL, position=True, depths=(1, 2), heads=(2, 2)),
    "no norm of patches": replace(SMALL, patch_norm=False, depths=(1,)),
    "neither, and patches that are not square": replace(
        SMALL, image=(16, 13), patch=(4, 3), patch_norm=False, position=True, depths=(2, 1), heads=(2, 1)
    ),
    "windows larger than the grid": replace(SMALL, window=7, depths=(2, 2, 2), heads=(1, 2, 4)),
    "windows larger than one side of the grid": replace(SMALL, image=(6, 12), window=4),
    "windows larger than the other side": replace(SMALL, image=(12, 6), window=4),
    "windows as large as one side of the grid": replace(SMALL, image=(6, 12), window=3),
    "windows of one token": replace(SMALL, image=(4, 6), window=1),
    "a stage of one token": replace(SMALL, image=(4, 4), depths=(2, 2), heads=(2, 2)),
}


@pytest.fixture(scope="module")
def digits() -> Graph:
    return ivit_ref.load(GRAPHS / "digits_swin.onnx")


@pytest.fixture(scope="module")
def simulation() -> dict[str, Array]:
    """Images, labels, and what the released simulation answers."""
    return read_npz(GRAPHS / "digits_swin_test.npz")


# --- The committed graph


def test_convert_gives_the_committed_bytes(tmp_path: Path) -> None:
    out = tmp_path / "digits.onnx"
    assert main(["convert", str(GRAPHS / "digits_swin.npz"), str(out)]) == 0
    assert out.read_bytes() == (GRAPHS / "digits_swin.onnx").read_bytes()


def test_sizes_are_those_of_the_training() -> None:
    config = recognise(read_state(GRAPHS / "digits_swin.npz"))
    assert config == SwinConfig((16, 16), (2, 2), 1, 32, (2, 2, 2), (2, 4, 8), window=WINDOW, hidden=128, classes=10)
    assert [(stage.grid, stage.window, stage.shift(1)) for stage in config.stages] == [
        ((8, 8), 4, 2),
        ((4, 4), 4, 0),
        ((2, 2), 2, 0),
    ]


def test_nodes_of_the_arithmetic_are_those_of_the_release(digits: Graph) -> None:
    ops = ("Linear", "Shiftmax", "ShiftGELU", "ILayerNorm", "Roll")
    counts = {op: sum(node.op == op for node in digits.nodes) for op in ops}
    assert counts == {"Linear": 6 * 4 + 3, "Shiftmax": 6, "ShiftGELU": 6, "ILayerNorm": 1 + 6 * 2 + 2 + 1, "Roll": 4}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_runtimes_agree_bit_by_bit(runtime: str, profile: str, digits: Graph, simulation: dict[str, Array]) -> None:
    graph = digits.with_profile(profile)
    inputs = {"image": simulation["images"][-IMAGES[runtime] :]}
    want = ivit_ref.run(graph, inputs, overflow="wrap", engine="spec")
    got = RUNTIMES[runtime](to_model(graph), inputs)
    assert set(got) == set(want) == {"logits", "logits_int"}
    for name in want:
        assert_same(got[name], want[name])


@pytest.mark.parametrize("profile", PROFILES)
def test_engines_agree_in_every_tensor(profile: str, digits: Graph, simulation: dict[str, Array]) -> None:
    assert_engines_agree(digits.with_profile(profile), simulation["images"][:8])


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_change_back(profile: str, digits: Graph) -> None:
    """Whatever the profile, Shiftmax has the bits that it was trained with; a graph of another profile is as if built so."""
    other = digits.with_profile(profile)
    assert {node.attributes["out_bits"] for node in other.nodes if node.op == "Shiftmax"} == {8}
    assert {value.type.dtype for name, value in other.values.items() if name.endswith("log_int_softmax")} == {"int8"}
    assert other.metadata["profile"] == profile
    assert other.with_profile("qat") == digits
    state = read_state(GRAPHS / "digits_swin.npz")
    built = model_graph(state, recognise(state), profile, name="digits_swin").with_metadata(**digits.metadata)
    assert built.with_metadata(profile=profile) == other
    assert from_model(to_model(other)) == other


@pytest.mark.parametrize("bits", ["7", "", "08", "sixteen"])
def test_bits_of_a_model_that_no_shiftmax_has(bits: str, digits: Graph) -> None:
    with pytest.raises(GraphError) as caught:
        digits.with_metadata(softmax_bits=bits).with_profile("ideal")
    assert str(caught.value) == f"metadata 'softmax_bits': must be 8 or 16, but found {bits!r}"


# --- Accuracy on the 450 images that the training did not see


def test_qat_is_the_simulation_in_integers(digits: Graph, simulation: dict[str, Array]) -> None:
    logits = ivit_ref.run(digits, {"image": simulation["images"]})["logits"]
    wanted = correct(simulation["logits"], simulation["labels"])
    assert len(logits) == 450
    assert wanted > 97
    assert correct(logits, simulation["logits"].argmax(axis=1)) >= 99
    assert correct(logits, simulation["labels"]) >= wanted - 0.5


@pytest.mark.parametrize("profile", ["paper", "ideal"])
def test_other_profiles_keep_the_accuracy(profile: str, digits: Graph, simulation: dict[str, Array]) -> None:
    logits = ivit_ref.run(digits.with_profile(profile), {"image": simulation["images"]})["logits"]
    assert abs(correct(logits, simulation["labels"]) - correct(simulation["logits"], simulation["labels"])) <= 2


# --- The independent implementation


def assert_equals_the_release(graph: Graph, arrays: Mapping[str, Array], window: int, images: Array) -> SwinTransformer:
    """Every tensor that both sides name has the same integers and the same scale, but for windows in the batch."""
    release = SwinTransformer(arrays, window)
    q, scale = release(images)
    spec, fast = (Interpreter(graph, engine=engine).run({"image": images}, intermediates=True) for engine in ("spec", "fast"))
    assert_same(spec["logits_int"], q.astype(np.int32))
    assert_same(spec["logits"], q.astype(np.float32) * scale)
    constants = {constant.value.name: constant.data for constant in graph.constants}
    for name, (integers, step) in release.tensors.items():
        if name.endswith("qact_table"):
            ours = name.replace("qact_table", "position_bias")
            index = arrays[name.replace("qact_table", "relative_position_index")]
            np.testing.assert_array_equal(constants[ours], np.moveaxis(integers[index], -1, 0), err_msg=name)
        elif name == "qact_pos":
            ours = name
            np.testing.assert_array_equal(constants[name], integers)
        else:
            ours = "logits_int" if name == "head" else name
            for tensors in (spec, fast):
                folded = tensors[ours].reshape(integers.shape)
                assert folded.shape[-1] == tensors[ours].shape[-1]
                np.testing.assert_array_equal(folded, integers, err_msg=name)
        quant = graph.values[ours].quant
        assert quant is not None
        assert quant.scale == tuple(step.tolist()), name
    merges = len(release.depths) - 1
    optional = 2 * ("patch_embed.norm.bias_integer" in arrays) + ("absolute_pos_embed" in arrays)
    assert len(release.tensors) == 8 + 23 * sum(release.depths) + 4 * merges + optional
    return release


def test_digits_equal_the_release_to_the_unit(digits: Graph, simulation: dict[str, Array]) -> None:
    state = read_npz(GRAPHS / "digits_swin.npz")
    assert_equals_the_release(digits, state, WINDOW, simulation["images"][100:106])


def with_buffers(arrays: dict[str, Array], config: SwinConfig) -> dict[str, Array]:
    return {**arrays, **buffers(arrays, config.window, config.grid)}


def assert_checkpoint_runs(config: SwinConfig, arrays: dict[str, Array], seed: int) -> SwinTransformer:
    """The graph is the same whether the state dict has the buffers or not, and equals the release."""
    stored = with_buffers(arrays, config)
    graph = model_graph(State(stored), config)
    assert model_graph(State(arrays), config) == graph
    ivit_ref.verify(graph)
    assert from_model(to_model(graph)) == graph
    images = images_of(config, arrays["qact_input.act_scaling_factor"], seed, count=2)
    return assert_equals_the_release(graph, stored, config.window, images)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_checkpoints_of_other_shapes(config: SwinConfig) -> None:
    arrays = edited(config, 7)
    assert recognise(State(arrays), image=config.image).stages == config.stages
    assert_checkpoint_runs(config, arrays, 7)
    assert_checkpoint_runs(replace(config, qkv_bias=False), without_qkv_bias(arrays), 8)


@st.composite
def configs(draw: st.DrawFn) -> SwinConfig:
    stages, window = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    whole = window * 2 ** (stages - 1)
    patch = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    image = patch[0] * whole * draw(st.integers(1, 2)), patch[1] * whole * draw(st.integers(1, 2))
    heads = tuple(draw(st.integers(1, 2)) << i for i in range(stages))
    sizes = {name: draw(st.integers(1, 9)) for name in ("hidden", "classes")}
    depths = tuple(draw(st.integers(1, 3)) for _ in range(stages))
    options = {name: draw(st.booleans()) for name in ("patch_norm", "position")}
    dim = 2 * draw(st.integers(1, 4))
    return SwinConfig(image, patch, draw(st.integers(1, 3)), dim, depths, heads, window, **sizes, **options)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(config=configs(), seed=st.integers(0, 2**31))
def test_any_checkpoint_equals_the_release(config: SwinConfig, seed: int) -> None:
    assert_checkpoint_runs(config, edited(config, seed), seed)


# --- The mask


@pytest.mark.parametrize("scale", [8.0, 1.0, 1.1, 0.9, 40.0, 150.0, 250.0, 0.5, 0.3, 1e-4])
def test_mask_of_any_number_of_steps(scale: float) -> None:
    """In coarse steps a masked logit counts, in the release and here; half a step rounds to even."""
    arrays = edited(SMALL, 3)
    name = "layers.0.blocks.1.attn"
    table = np.random.default_rng(0).integers(-128, 128, arrays[f"{name}.relative_position_bias_table"].shape)
    arrays[f"{name}.relative_position_bias_table"] = np.float32(table * scale)
    for act in ("qact_table", "qact2"):
        arrays[f"{name}.{act}.act_scaling_factor"] = np.float32(scale)
    mask = buffers(arrays, SMALL.window, SMALL.grid)["layers.0.blocks.1.attn_mask"]
    constants = {constant.value.name: constant.data for constant in model_graph(State(arrays), SMALL).constants}
    steps = mask_in_steps(mask, np.float32([scale]))
    np.testing.assert_array_equal(constants[f"{name}.mask"], steps[:, None].astype(np.int32), strict=True)
    release = assert_checkpoint_runs(SMALL, arrays, 3)
    softmax = release.tensors[f"{name}.log_int_softmax"][0].reshape(2, 4, 2, 4, 4)
    masked = np.broadcast_to(mask[None, :, None] != 0, softmax.shape)
    assert softmax[~masked].any()
    assert bool(softmax[masked].any()) == (scale >= 0.5)


def test_mask_beyond_int32() -> None:
    arrays = {**edited(SMALL, 3), "layers.0.blocks.1.attn.qact2.act_scaling_factor": np.float32(1e-8)}
    with pytest.raises(CheckpointError) as caught:
        model_graph(State(arrays, "some.npz"), SMALL)
    message = str(caught.value)
    assert message.startswith("some.npz: 'layers.0.blocks.1.attn.qact2.act_scaling_factor' must be coarse enough")
    assert message.endswith(f"but found {float(np.float32(1e-8))!r}")


@pytest.mark.parametrize("key", ["layers.0.blocks.1.attn_mask", "layers.0.blocks.1.attn.relative_position_index"])
@pytest.mark.parametrize("change", [lambda a: -a, lambda a: a[..., ::-1], lambda a: np.roll(a, 1, axis=0), lambda a: a * 2])
def test_buffers_that_do_not_follow(key: str, change: Any) -> None:
    """Somebody trained another architecture."""
    arrays = with_buffers(edited(SMALL, 3), SMALL)
    with pytest.raises(CheckpointError) as caught:
        model_graph(State({**arrays, key: change(arrays[key])}, "some.npz"), SMALL)
    assert str(caught.value) == f"some.npz: {key!r} must be the one that window and shift give, but found another"


@pytest.mark.parametrize("key", ["layers.0.blocks.1.attn_mask", "layers.0.blocks.0.attn.relative_position_index"])
def test_buffers_of_another_shape(key: str) -> None:
    arrays = with_buffers(edited(SMALL, 3), SMALL)
    with pytest.raises(CheckpointError, match=f"{key}' must have shape"):
        model_graph(State({**arrays, key: arrays[key][:-1]}), SMALL)
