"""Checkpoints: what conversion needs, and the refusal of everything that is not that."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ivit_ref.arrays import read_npz
from ivit_ref.checkpoints import State, read_state
from ivit_ref.errors import CheckpointError, GraphError, ScaleError
from ivit_ref.ir import Graph
from ivit_ref.models import ViTConfig, model_graph, random_state, recognise

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

CHECKPOINT = Path(__file__).parents[2] / "graphs" / "digits_vit.npz"
HEADS = 4

LAYERS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
ACTS = ("qact1", "qact2", "qact3", "qact4", "attn.qact1", "attn.qact_attn1", "attn.qact2", "attn.qact3")
ACTS = (*ACTS, "mlp.qact_gelu", "mlp.qact1", "mlp.qact2")


def layer(name: str, scaling_factor: str = "fc_scaling_factor") -> list[str]:
    return [f"{name}.weight_integer", f"{name}.bias_integer", f"{name}.{scaling_factor}"]


def norm(name: str) -> list[str]:
    return [f"{name}.norm_scaling_factor", f"{name}.bias_integer"]


def block(name: str) -> list[str]:
    keys = [f"{name}.{act}.act_scaling_factor" for act in ACTS] + norm(f"{name}.norm1") + norm(f"{name}.norm2")
    return keys + [key for part in LAYERS for key in layer(f"{name}.{part}")]


NEEDED = [
    *("cls_token", "pos_embed"),
    *(f"{act}.act_scaling_factor" for act in ("qact_input", "patch_embed.qact", "qact_pos", "qact1", "qact2")),
    *layer("patch_embed.proj", "conv_scaling_factor"),
    *(key for i in range(4) for key in block(f"blocks.{i}")),
    *norm("norm"),
    *layer("head"),
]
"""Every key that the integer graph of the digits model is made of."""

FIRST = [key for key in NEEDED if not re.match(r"blocks\.[123]\.", key)]
"""The same without the blocks that repeat the first one."""

SCALES = [key for key in FIRST if key.endswith("scaling_factor")]
INTEGERS = [key for key in FIRST if key.endswith("_integer")]
SIZES = ("patch_embed.proj.weight_integer", "pos_embed", "blocks.0.mlp.fc1.weight_integer", "head.weight_integer")
"""Keys whose shapes say what the sizes of the model are: another length there is an error of the others."""


UNREAD = {"blocks.0.attn.int_softmax.act_scaling_factor", "blocks.0.mlp.act.act_scaling_factor"}
"""Keys that the release stores beside them, of scales that follow from others."""

SMALL = ViTConfig((8, 8), (2, 2), channels=1, dim=8, depth=1, heads=HEADS, hidden=12, classes=3)


@pytest.fixture(scope="module")
def digits() -> Arrays:
    return read_npz(CHECKPOINT)


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """A state dict with one small block: the keys in ``FIRST``."""
    return {key: array for key, array in random_state(SMALL).arrays.items() if key not in UNREAD}


def converted(arrays: Arrays, heads: int = HEADS, image: tuple[int, int] | None = None) -> Graph:
    state = State(arrays, "some.npz")
    return model_graph(state, recognise(state, heads=heads, image=image))


def refusal(arrays: Arrays, error: type[Exception] = CheckpointError, **options: Any) -> str:
    """The one line in which conversion refuses the arrays."""
    with pytest.raises(error) as caught:
        converted(arrays, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- Keys


def test_conversion_needs_these_keys_and_no_more(digits: Arrays) -> None:
    needed = {key: digits[key] for key in NEEDED}
    assert len(needed) == 15 + 4 * 27
    assert converted(needed) == converted(digits)


@pytest.mark.parametrize("key", NEEDED)
def test_missing_key(key: str, digits: Arrays) -> None:
    message = refusal({name: array for name, array in digits.items() if name != key})
    assert message.startswith("some.npz: ")
    assert repr(key) in message


def test_no_block_has_a_qkv_bias(digits: Arrays) -> None:
    """A model built with qkv_bias=False has no trace of one, and converts; the bias counts as zero."""
    without = {key: array for key, array in digits.items() if not re.search(r"qkv\.bias", key)}
    graph = converted(without)
    biases = {c.value.name: c.data for c in graph.constants if c.value.name.endswith("qkv.bias")}
    assert len(biases) == 4
    assert not any(bias.any() for bias in biases.values())


@pytest.mark.parametrize("trace", ["blocks.0.attn.qkv.bias", "blocks.0.attn.qkv.bias_integer"])
def test_one_trace_of_a_qkv_bias_asks_for_all(trace: str, digits: Arrays) -> None:
    others = {key: array for key, array in digits.items() if not re.search(r"qkv\.bias", key)}
    message = refusal({**others, trace: digits[trace]})
    assert "qkv.bias_integer'" in message


@pytest.mark.parametrize("gone", ["blocks.1.", "blocks.2."])
def test_gaps_in_the_blocks(gone: str, digits: Arrays) -> None:
    message = refusal({key: array for key, array in digits.items() if not key.startswith(gone)})
    numbers = [i for i in range(4) if f".{i}." not in gone]
    assert message == f"some.npz: blocks must be numbered from 0 on, but found {numbers}"


@pytest.mark.parametrize("gone", ["blocks.0.", "blocks."])
def test_no_first_block(gone: str, digits: Arrays) -> None:
    message = refusal({key: array for key, array in digits.items() if not key.startswith(gone)})
    must = "must be a ViT (keys blocks.0...) or a Swin (keys layers.0.blocks.0...) of the release"
    shown = ", ".join(key for key in list(digits)[:4] if not key.startswith(gone))
    assert message.startswith(f"some.npz: {must}, but found the keys {shown}")


def test_a_block_beyond_the_last(digits: Arrays) -> None:
    message = refusal({**digits, "blocks.5.attn.qkv.bias": np.zeros(1, np.float32)})
    assert message.endswith("but found [0, 1, 2, 3, 5]")


def test_representation_layer(digits: Arrays) -> None:
    assert "'pre_logits.fc.weight'" in refusal({**digits, "pre_logits.fc.weight": np.zeros((2, 64), np.float32)})


def test_small_state_dicts_have_the_keys_of_the_first_block(arrays: Arrays, digits: Arrays) -> None:
    assert set(arrays) == set(FIRST)
    assert set(random_state(SMALL).arrays) == set(FIRST) | UNREAD
    assert set(digits) > UNREAD


def test_no_keys_at_all() -> None:
    must = "must be a ViT (keys blocks.0...) or a Swin (keys layers.0.blocks.0...) of the release"
    assert refusal({}) == f"some.npz: {must}, but found the keys none"


# --- Shapes


@pytest.mark.parametrize("key", [key for key in FIRST if key not in SCALES])
def test_another_rank(key: str, arrays: Arrays) -> None:
    assert repr(key) in refusal({**arrays, key: arrays[key][None]})
    assert repr(key) in refusal({**arrays, key: arrays[key].reshape(-1)[0]})


@pytest.mark.parametrize("key", [key for key in FIRST if key not in SIZES])
def test_another_length(key: str, arrays: Arrays) -> None:
    array = np.atleast_1d(arrays[key])
    longer = np.concatenate([array, array[..., :1]], axis=-1)
    message = refusal({**arrays, key: longer})
    assert repr(key) in message
    assert repr(key) in refusal({**arrays, key: array[..., :0]})


@pytest.mark.parametrize("key", SIZES)
def test_a_size_that_nothing_else_has(key: str, arrays: Arrays) -> None:
    shorter = arrays[key][:, :-1] if key == "pos_embed" else arrays[key][:-1]
    assert "must" in refusal({**arrays, key: shorter})


@pytest.mark.parametrize("key", SIZES)
def test_no_length_at_all(key: str, arrays: Arrays) -> None:
    assert repr(key) in refusal({**arrays, key: arrays[key][:0]})


def test_transposed_weights(arrays: Arrays) -> None:
    key = "blocks.0.attn.qkv.weight_integer"
    assert repr(key) in refusal({**arrays, key: arrays[key].T})


def test_scales_need_not_have_an_axis(arrays: Arrays) -> None:
    """The release stores scales without axes and with one of length one."""
    axes = {key: array.reshape(1) if array.ndim == 0 else array for key, array in arrays.items()}
    assert converted(axes) == converted(arrays)


# --- Values


def with_one(array: Array, value: float) -> Array:
    """The array in float64 with its last element replaced."""
    changed = np.array(array, np.float64)
    changed.reshape(-1)[-1] = value
    return changed


@pytest.mark.parametrize("key", INTEGERS)
@pytest.mark.parametrize("value", [0.5, -1e-3, np.nan, np.inf, -np.inf, 2.0**31, -(2.0**31) - 1, 1e300])
def test_integers_that_are_none(key: str, value: float, arrays: Arrays) -> None:
    message = refusal({**arrays, key: with_one(arrays[key], value)})
    assert repr(key) in message
    assert message.endswith(f"but found {value}")


@pytest.mark.parametrize("key", [key for key in INTEGERS if "weight" in key])
@pytest.mark.parametrize("value", [128.0, -129.0])
def test_weights_out_of_int8(key: str, value: float, arrays: Arrays) -> None:
    message = refusal({**arrays, key: with_one(arrays[key], value)})
    assert repr(key) in message
    assert message.endswith(f"must hold integers of int8, but found {value}")


@pytest.mark.parametrize("value", [-128.0, 127.0])
def test_weights_at_the_ends_of_int8(value: float, arrays: Arrays) -> None:
    key = "blocks.0.mlp.fc1.weight_integer"
    constants = {c.value.name: c.data for c in converted({**arrays, key: with_one(arrays[key], value)}).constants}
    assert constants["blocks.0.mlp.fc1.weight"][-1, -1] == value


@pytest.mark.parametrize("value", [-(2.0**31), 2.0**31 - 1])
def test_biases_at_the_ends_of_int32(value: float, arrays: Arrays) -> None:
    key = "norm.bias_integer"
    constants = {c.value.name: c.data for c in converted({**arrays, key: with_one(arrays[key], value)}).constants}
    assert constants["norm.bias"][-1] == value


@pytest.mark.parametrize("key", SCALES)
@pytest.mark.parametrize("value", [0.0, -0.0, np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300])
def test_scales_that_are_none(key: str, value: float, arrays: Arrays) -> None:
    assert repr(key) in refusal({**arrays, key: with_one(arrays[key], value)})


@pytest.mark.parametrize("key", SCALES)
def test_negative_scales_belong_to_layer_norms(key: str, arrays: Arrays) -> None:
    changed = {**arrays, key: with_one(arrays[key], -1e-4)}
    if "norm_scaling_factor" in key:
        assert any(q.quant is not None and min(q.quant.scale) < 0 for q in converted(changed).values.values())
    else:
        assert repr(key) in refusal(changed)


@pytest.mark.parametrize("key", ["cls_token", "pos_embed"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_finite(key: str, value: float, arrays: Arrays) -> None:
    assert repr(key) in refusal({**arrays, key: with_one(arrays[key], value)})


@pytest.mark.parametrize("value", [1e6, -1e6, 3e38, -1e39, 1e300])
def test_class_token_that_does_not_fit_int16(value: float, arrays: Arrays) -> None:
    """The release never clips it: it goes into the residual stream beside values that were."""
    message = refusal({**arrays, "cls_token": with_one(arrays["cls_token"], value)})
    assert "'cls_token' must fit int16" in message


def test_class_token_at_the_ends_of_int16(arrays: Arrays) -> None:
    step = np.float64(arrays["patch_embed.qact.act_scaling_factor"])
    token = converted({**arrays, "cls_token": with_one(arrays["cls_token"], 32767 * step)}).constants
    assert {c.value.name: c.data for c in token}["cls_token"][0, 0, -1] == 32767
    assert "'cls_token' must fit int16" in refusal({**arrays, "cls_token": with_one(arrays["cls_token"], 32768 * step)})


@pytest.mark.parametrize(("value", "end"), [(1e6, 32767), (-1e6, -32768), (3e38, 32767)])
def test_position_embeddings_saturate_as_released(value: float, end: int, arrays: Arrays) -> None:
    graph = converted({**arrays, "pos_embed": with_one(arrays["pos_embed"], value)})
    assert {c.value.name: c.data for c in graph.constants}["qact_pos"][0, -1, -1] == end


@pytest.mark.parametrize("value", [1e-30, 1e30])
@pytest.mark.parametrize("key", SCALES)
def test_scales_without_a_dyadic_number(key: str, value: float, arrays: Arrays) -> None:
    """A scale may be a positive float32 and still have no place in a graph: the refusal names the key, or a node."""
    changed = {**arrays, key: np.full_like(arrays[key], value)}
    message = ""
    try:
        graph = converted(changed)
    except (CheckpointError, GraphError, ScaleError) as error:
        message = str(error)
    else:
        assert any(v.quant is not None and np.float32(value) in v.quant.scale for v in graph.values.values())
    nodes = {node.name for node in converted(arrays).nodes}
    assert not message or nodes.union(arrays).intersection(re.findall(r"'([^']+)'", message))


@pytest.mark.parametrize("dtype", ["complex64", "object", "bool", "str", "datetime64[s]"])
@pytest.mark.parametrize("key", ["blocks.0.attn.proj.weight_integer", "qact1.act_scaling_factor", "pos_embed"])
def test_arrays_that_hold_no_numbers(dtype: str, key: str, arrays: Arrays) -> None:
    shape = arrays[key].shape
    message = refusal({**arrays, key: np.zeros(shape, dtype)})
    assert f"{key!r} must hold numbers" in message


@pytest.mark.parametrize("dtype", ["int8", "float16", "float64", ">f4", "int64"])
def test_integers_of_any_dtype(dtype: str, arrays: Arrays) -> None:
    key = "blocks.0.attn.proj.weight_integer"
    assert converted({**arrays, key: arrays[key].astype(dtype)}) == converted(arrays)


# --- Sizes


@pytest.mark.parametrize("heads", [0, -1, -4, 3, 5, 16, 2**70])
def test_heads_that_do_not_divide(heads: int, arrays: Arrays) -> None:
    message = refusal(arrays, heads=heads)
    assert message == f"heads: must divide the embedding dimension 8, but found {heads}"


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_heads_that_divide(heads: int, arrays: Arrays) -> None:
    assert recognise(State(arrays), heads=heads).heads == heads


@pytest.mark.parametrize("image", [(0, 0), (8, 7), (1, 1), (10, 8), (80, 80)])
def test_image_that_has_other_patches(image: tuple[int, int], arrays: Arrays) -> None:
    message = refusal(arrays, image=image)
    assert "must have 16 patches of 2x2" in message
    assert "--image-size" in message
    assert message.endswith(f"{image[0]}x{image[1]}")


@pytest.mark.parametrize("image", [(4, 16), (32, 2), (9, 9)])
def test_image_that_is_not_square_in_patches(image: tuple[int, int], arrays: Arrays) -> None:
    graph = converted(arrays, image=image)
    assert graph.inputs[0].type.shape == ("N", 1, *image)


def test_pixels_of_a_patch_need_not_be_square() -> None:
    """Four patches are two by two, each of them 2 pixels high and 3 wide."""
    config = ViTConfig((4, 6), (2, 3), channels=1, dim=4, depth=1, heads=2, hidden=4, classes=2)
    assert recognise(random_state(config), heads=2) == config


def test_patches_that_are_no_square_ask_for_the_image_size() -> None:
    config = ViTConfig((2, 6), (2, 2), channels=1, dim=4, depth=1, heads=2, hidden=4, classes=2)
    state = random_state(config)
    with pytest.raises(CheckpointError, match="--image-size"):
        recognise(state, heads=2)
    assert recognise(state, heads=2, image=(2, 6)) == config


@pytest.mark.parametrize("tokens", [1, 8, 16])
def test_position_embeddings_of_no_square(tokens: int, arrays: Arrays) -> None:
    message = refusal({**arrays, "pos_embed": arrays["pos_embed"][:, :tokens]})
    assert f"must have {tokens - 1} patches" in message


# --- State itself


@pytest.fixture
def state() -> State:
    return State({"a": np.array([[1.0, -2.0]], np.float32), "s": np.float32(0.5), "f": np.array([0.1])}, "here")


def test_state_knows_its_keys(state: State) -> None:
    assert "a" in state
    assert "b" not in state
    assert state.shape("a", 2) == (1, 2)


def test_state_hands_out_integers(state: State) -> None:
    np.testing.assert_array_equal(state.integers("a", "int8", (1, 2)), np.array([[1, -2]], "int8"), strict=True)


def test_state_hands_out_scales_as_float32(state: State) -> None:
    assert state.scale("s") == (0.5,)
    assert state.scale("f") == (float(np.float32(0.1)),)
    assert state.scales("a", 2, signed=True) == (1.0, -2.0)


def test_state_hands_out_real_numbers_as_float32(state: State) -> None:
    np.testing.assert_array_equal(state.float32("f", (1,)), np.array([0.1], np.float32), strict=True)
    beyond = State({"x": np.array([1e300, -1e39])}).float32("x", (2,))
    np.testing.assert_array_equal(beyond, np.array([np.inf, -np.inf], np.float32), strict=True)


REFUSALS: dict[str, Callable[[State], object]] = {
    "here: a state dict of the released QAT code must have the key, but found no 'b'": lambda s: s.scale("b"),
    "here: 'a' must have 3 axes, but found [1, 2]": lambda s: s.shape("a", 3),
    "here: 'a' must have shape [2], but found [1, 2]": lambda s: s.float32("a", (2,)),
    "here: 'f' must hold integers of int8, but found 0.1": lambda s: s.integers("f", "int8", (1,)),
    "here: 'a' must be a single scale, but found shape [1, 2]": lambda s: s.scale("a"),
    "here: 'a' must have 3 scales, but found [1, 2]": lambda s: s.scales("a", 3),
    "here: 'a' must be finite and positive, but found -2.0": lambda s: s.scales("a", 2),
    "here: blocks must be numbered from 0 on, but found []": lambda s: s.count("blocks"),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_state_refuses_by_name(message: str, state: State) -> None:
    with pytest.raises(CheckpointError) as caught:
        REFUSALS[message](state)
    assert str(caught.value) == message


def test_read_state_says_where_it_comes_from(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", x=np.zeros(2, np.float32))
    state = read_state(tmp_path / "some.npz")
    assert state.source == str(tmp_path / "some.npz")
    assert "x" in state
