"""What a state dict shows of its architecture, what has to be said, and the sizes of the published models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ivit_ref.checkpoints import State
from ivit_ref.errors import CheckpointError
from ivit_ref.models import MODELS, Config, SwinConfig, ViTConfig, model_graph, model_named, random_state, recognise
from ivit_ref.models.sites import Layer, Norm, Table, sites
from tests.oracle.digits_swin import attn_mask, buffers

Array = npt.NDArray[Any]

VIT = ViTConfig((4, 6), (2, 2), channels=1, dim=8, depth=2, heads=2, hidden=8, classes=3)
DEIT_TINY = MODELS["deit_tiny_patch16_224"]
SWIN = SwinConfig((16, 16), (2, 2), 1, 4, depths=(2, 1), heads=(2, 4), window=2, hidden=8, classes=3)
PUBLISHED_SWIN = [name for name, config in MODELS.items() if isinstance(config, SwinConfig)]
PUBLISHED_VIT = [name for name in MODELS if name not in PUBLISHED_SWIN]


class Shapes(Mapping[str, Array]):
    """A state dict of which only the shapes are real: no model of 300 million parameters takes any memory."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes

    def __getitem__(self, key: str) -> Array:
        return np.broadcast_to(np.float32(0), self.shapes[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def arrays_of(config: Config) -> dict[str, Array]:
    """The weights' and tables' shapes, and a mask as the release stores it."""
    shapes: dict[str, tuple[int, ...]] = {}
    for site in sites(config):
        if isinstance(site, Layer):
            shapes[f"{site.name}.weight_integer"] = site.shape
            if site.bias:
                shapes[f"{site.name}.bias_integer"] = site.shape[:1]
        elif isinstance(site, Norm):
            shapes[f"{site.name}.bias_integer"] = (site.dim,)
        elif isinstance(site, Table):
            shapes[site.name] = site.shape
            # The release stores it beside the table, also where there is no mask because there is one window.
            if site.name.endswith("bias_table"):
                shapes[site.name.replace("bias_table", "index")] = (1, 1)
    arrays = dict(Shapes(shapes))
    if isinstance(config, SwinConfig):
        arrays |= masks(config)
    return arrays


@cache
def masks(config: SwinConfig) -> dict[str, Array]:
    """The masks of the stages that have some."""
    shifted = [i for i, stage in enumerate(config.stages) if stage.depth > 1 and stage.shift(1)]
    grids = {i: (config.grid[0] >> i, config.grid[1] >> i) for i in shifted}
    return {f"layers.{i}.blocks.1.attn_mask": attn_mask(grid, config.window, config.window // 2) for i, grid in grids.items()}


def refusal(arrays: Mapping[str, Array], **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        recognise(State(arrays, "some.npz"), **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- The published models


@pytest.mark.parametrize("name", MODELS)
def test_published_models_are_found_from_their_shapes(name: str) -> None:
    config = MODELS[name]
    assert recognise(State(arrays_of(config))) == config
    assert recognise(State(arrays_of(config)), model=name) == config == model_named(name)


@pytest.mark.parametrize("name", [name for name in MODELS if "tiny" in name])
def test_published_models_are_found_from_random_weights(name: str) -> None:
    config = MODELS[name]
    arrays = dict(random_state(config).arrays)
    assert recognise(State({**arrays, **masks(config)} if isinstance(config, SwinConfig) else arrays)) == config
    assert recognise(State(arrays), model=name) == config


def test_unknown_models_are_told_the_known() -> None:
    with pytest.raises(CheckpointError) as caught:
        model_named("deit_huge")
    assert str(caught.value) == f"model: must be one of {', '.join(MODELS)}, but found 'deit_huge'"


# --- What must be said


def test_heads_of_a_vit_that_is_not_published() -> None:
    arrays = arrays_of(VIT)
    message = refusal(arrays, image=VIT.image)
    assert message.startswith("some.npz: the number of heads must be given (see: --num-heads)")
    assert message.endswith("but found dimension 8, depth 2, hidden 8")
    assert recognise(State(arrays), heads=2, image=VIT.image) == VIT
    assert recognise(State(arrays), heads=4, image=VIT.image) == replace(VIT, heads=4)


@pytest.mark.parametrize("change", [{"depth": 11}, {"hidden": 760}])
def test_a_vit_that_is_nearly_published(change: dict[str, int]) -> None:
    assert "--num-heads" in refusal(arrays_of(replace(DEIT_TINY, **change)))


@pytest.mark.parametrize("heads", [0, -1, 5])
def test_heads_that_do_not_divide(heads: int) -> None:
    assert refusal(arrays_of(DEIT_TINY), heads=heads) == f"heads: must divide the embedding dimension 192, but found {heads}"


def test_heads_of_a_swin_are_shown() -> None:
    message = refusal(arrays_of(SWIN), heads=2)
    assert message == "some.npz: a Swin shows its heads, so none must be given, but found 2"


@pytest.mark.parametrize(
    "config",
    [
        SWIN,
        replace(SWIN, depths=(1, 2)),
        replace(SWIN, depths=(1, 1, 2), heads=(1, 1, 1)),
        replace(SWIN, depths=(2,), heads=(1,), image=(16, 16), window=8),
        replace(SWIN, depths=(1, 2), heads=(1, 1), window=7, image=(28, 28)),
        replace(SWIN, position=True, patch_norm=False, channels=3, patch=(2, 4), image=(16, 32)),
    ],
)
def test_a_swin_shows_its_image(config: SwinConfig) -> None:
    """By the number of windows in a mask, or by a block that has none: one window is the whole grid."""
    assert recognise(State(arrays_of(config))) == config
    state = dict(random_state(config).arrays)
    stored = State({**state, **buffers(state, config.window, config.grid)})
    assert recognise(stored) == config
    assert model_graph(stored, config).inputs[0].type.shape == ("N", config.channels, *config.image)


def test_a_swin_that_does_not_shift_asks_for_its_image() -> None:
    config = replace(SWIN, depths=(1, 1))
    message = refusal(arrays_of(config))
    assert message.startswith("some.npz: the size of the image must be given (see: --image-size)")
    assert message.endswith("but found depths [1, 1]")
    assert recognise(State(arrays_of(config)), image=(16, 16)) == config


def test_an_image_that_is_not_square_has_to_be_said() -> None:
    config = replace(SWIN, image=(16, 24))
    assert recognise(State(arrays_of(config)), image=(16, 24)) == config


@pytest.mark.parametrize("image", [(20, 16), (16, 15), (0, 0), (2, 2), (6, 8)])
def test_windows_that_do_not_divide(image: tuple[int, int]) -> None:
    message = refusal(arrays_of(replace(SWIN, window=4, image=(32, 32))), image=image)
    must = "must be whole windows (see: --image-size)" if min(image) != 2 else "must have even numbers of tokens"
    assert must in message


def test_a_grid_that_does_not_halve() -> None:
    message = refusal(arrays_of(replace(SWIN, window=3, image=(12, 12))), image=(18, 12))
    assert message == "image: stage 0 must have even numbers of tokens to merge, but found 9x6"


# --- A model that is named


def test_a_named_model_may_have_other_classes() -> None:
    for name in ("deit_tiny_patch16_224", "swin_tiny_patch4_window7_224"):
        config = replace(MODELS[name], classes=21)
        assert recognise(State(arrays_of(config)), model=name) == config


@pytest.mark.parametrize("change", [{"depth": 13}, {"hidden": 384}, {"channels": 1}, {"dim": 198}])
def test_a_vit_that_is_not_the_named(change: dict[str, int]) -> None:
    ((field, found),) = change.items()
    message = refusal(arrays_of(replace(DEIT_TINY, **change)), model="deit_tiny_patch16_224")
    wanted = getattr(DEIT_TINY, field)
    assert message == f"some.npz: the {field} of deit_tiny_patch16_224 must be {wanted}, but found {found}"


def test_heads_other_than_the_named() -> None:
    message = refusal(arrays_of(DEIT_TINY), model="deit_tiny_patch16_224", heads=6)
    assert message == "some.npz: the heads of deit_tiny_patch16_224 must be 3, but found 6"


@pytest.mark.parametrize(("found", "named"), [("swin_small", "swin_tiny"), ("swin_base", "swin_small")])
def test_a_swin_that_is_not_the_named(found: str, named: str) -> None:
    names = [f"{name}_patch4_window7_224" for name in (found, named)]
    message = refusal(arrays_of(MODELS[names[0]]), model=names[1])
    assert message.startswith("some.npz: the ")
    assert f"of {names[1]} must be " in message


@pytest.mark.parametrize("name", PUBLISHED_SWIN)
def test_a_vit_that_is_named_a_swin(name: str) -> None:
    assert refusal(arrays_of(DEIT_TINY), model=name) == f"some.npz: must be a {name}, but found a ViT"
    assert refusal(arrays_of(VIT), model=name).startswith("some.npz: ")


@pytest.mark.parametrize("name", PUBLISHED_VIT)
def test_a_swin_that_is_named_a_vit(name: str) -> None:
    swin = MODELS["swin_tiny_patch4_window7_224"]
    assert refusal(arrays_of(swin), model=name) == f"some.npz: must be a {name}, but found a Swin"


# --- Other state dicts


@pytest.mark.parametrize("key", ["dist_token", "head_dist.weight", "pre_logits.fc.weight"])
@pytest.mark.parametrize("config", [DEIT_TINY, SWIN])
def test_keys_of_other_architectures(key: str, config: Config) -> None:
    message = refusal({**arrays_of(config), key: np.zeros((1, 1, 192), np.float32)})
    assert message.startswith("some.npz: ")
    assert message.endswith(f"but found {key!r}")


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ([], "none"),
        (["x"], "x"),
        (
            ["conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer1.0.bn1.weight", "fc.bias"],
            "conv1.weight, bn1.weight, bn1.bias, layer1.0.conv1.weight",
        ),
        (["module.blocks.0.norm1.weight", "layers.0.blocks"], "module.blocks.0.norm1.weight, layers.0.blocks"),
    ],
)
def test_state_dicts_of_something_else(keys: list[str], shown: str) -> None:
    message = refusal({key: np.zeros(1, np.float32) for key in keys}, heads=2)
    must = "must be a ViT (keys blocks.0...) or a Swin (keys layers.0.blocks.0...) of the release"
    assert message == f"some.npz: {must}, but found the keys {shown}"


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("layers.0.blocks.1.", "layers.0.blocks must be numbered from 0 on, but found [0, 2]"),
        ("layers.1.", "layers must be numbered from 0 on, but found [0, 2]"),
        ("layers.2.blocks.0.", "layers.2.blocks must be numbered from 0 on, but found [1]"),
    ],
)
def test_gaps_in_the_blocks_of_a_swin(gone: str, told: str) -> None:
    config = replace(SWIN, depths=(3, 2, 2), heads=(1, 1, 1))
    message = refusal({key: array for key, array in arrays_of(config).items() if not key.startswith(gone)})
    assert message == f"some.npz: {told}"


@pytest.mark.parametrize("key", ["patch_embed.proj.weight_integer", "layers.0.blocks.0.mlp.fc1.weight_integer"])
def test_missing_or_misshapen_keys_of_a_swin(key: str) -> None:
    arrays = arrays_of(SWIN)
    assert repr(key) in refusal({name: array for name, array in arrays.items() if name != key})
    assert repr(key) in refusal({**arrays, key: arrays[key][None]})


def test_a_swin_whose_derived_buffers_were_left_out_is_asked_for_its_image() -> None:
    arrays = {key: array for key, array in arrays_of(SWIN).items() if not key.endswith(("attn_mask", "position_index"))}
    assert "(see: --image-size)" in refusal(arrays)
    assert recognise(State(arrays), image=SWIN.image) == SWIN


def test_a_swin_of_another_image_than_its_masks() -> None:
    message = refusal(arrays_of(SWIN), image=(2 * SWIN.image[0], 2 * SWIN.image[1]))
    assert "attn_mask" in message
    assert "(see: --image-size)" in message
    assert message.endswith(f"but found an image of {2 * SWIN.image[0]}x{2 * SWIN.image[1]}")


def test_a_number_of_windows_that_is_no_square_is_asked_for() -> None:
    wide = replace(SWIN, image=(SWIN.image[0], 2 * SWIN.image[1]))
    assert "(see: --image-size)" in refusal(arrays_of(wide))
    assert recognise(State(arrays_of(wide)), image=wide.image) == wide


def test_two_models_in_one_file() -> None:
    assert "must hold one model" in refusal({**arrays_of(SWIN), **arrays_of(VIT)}, image=(16, 16))


@pytest.mark.parametrize("number", ["1000000", "00", "٣", "2x", ""])
def test_a_block_of_no_number_is_no_block(number: str) -> None:
    """A block that is dropped without a word would be another model."""
    message = refusal({**arrays_of(VIT), f"blocks.{number}.norm1.weight": np.zeros(8)}, heads=2, image=VIT.image)
    assert message.startswith("some.npz: blocks must be numbered from 0 on, but found [")
    assert number in message


def test_a_huge_image_is_refused_before_its_masks_are_made() -> None:
    bare = {key: array for key, array in arrays_of(SWIN).items() if not key.endswith(("attn_mask", "position_index"))}
    assert "at most 2**24 elements" in refusal(bare, image=(2**15, 2**15))
    wide = {key: array for key, array in arrays_of(replace(SWIN, window=4)).items() if not key.endswith("attn_mask")}
    assert "relative_position_bias_table" in refusal(wide, image=(8, 8))
