"""Which architecture a state dict is of: read from its keys and shapes where they show it, asked for by name where not."""

from __future__ import annotations

import math
from typing import Any

from ivit_ref.checkpoints.state import State
from ivit_ref.errors import CheckpointError
from ivit_ref.models.config import MODELS, Config, SwinConfig, ViTConfig, model_named

FOREIGN = {
    "dist_token": "a distilled DeiT has a second token that the release does not know",
    "head_dist.weight": "a distilled DeiT has a second head that the release does not know",
    "pre_logits.fc.weight": "the model must end in a plain head",
}
"""Keys of other architectures, and what they mean."""

SHOWN = 4
"""So many keys of an unknown state dict are told."""


def recognise(
    state: State, *, model: str | None = None, heads: int | None = None, image: tuple[int, int] | None = None
) -> Config:
    """The sizes of the model that a state dict holds.

    ``model`` names a published one, which the state dict must then be, but for its number of classes. ``heads`` of a ViT and an
    ``image`` that the shapes do not give away must be given. CheckpointError says what is missing or does not fit.
    """
    for key, why in FOREIGN.items():
        if key in state:
            raise CheckpointError(f"{state.source}: {why}, but found {key!r}")
    expected = None if model is None else model_named(model)
    image = image or (expected.image if expected else None)
    kind = _kind(state)
    if kind is SwinConfig and heads is not None:
        raise CheckpointError(f"{state.source}: a Swin shows its heads, so none must be given, but found {heads}")
    if expected is not None and type(expected) is not kind:
        raise CheckpointError(f"{state.source}: must be a {model}, but found a {kind.__name__.removesuffix('Config')}")
    if heads is None and isinstance(expected, ViTConfig):
        heads = expected.heads
    sizes = _vit(state, heads, image) if kind is ViTConfig else _swin(state, image)
    if expected is not None:
        _check_sizes(state, str(model), expected, sizes)
    config = kind(**sizes)
    _check_image(state, config)
    return config


Sizes = dict[str, Any]


def _kind(state: State) -> type[Config]:
    """Which of the two architectures it is; one, and only one."""
    vit, swin = state.has_prefix("blocks.0."), state.has_prefix("layers.0.blocks.0.")
    if vit and swin:
        must = "must hold one model, a ViT (keys blocks.0...) or a Swin (keys layers.0.blocks.0...)"
        raise CheckpointError(f"{state.source}: {must}, but found both")
    if not vit and not swin:
        found = ", ".join(list(state.arrays)[:SHOWN]) or "none"
        must = "must be a ViT (keys blocks.0...) or a Swin (keys layers.0.blocks.0...) of the release"
        raise CheckpointError(f"{state.source}: {must}, but found the keys {found}")
    return SwinConfig if swin else ViTConfig


def _vit(state: State, heads: int | None, image: tuple[int, int] | None) -> Sizes:
    dim, channels, *patch = _shape(state, "patch_embed.proj", 4)
    if image is None:
        side = math.isqrt(max(state.shape("pos_embed", 3)[1] - 1, 0))
        image = (side * patch[0], side * patch[1])
    depth, hidden = state.count("blocks"), _shape(state, "blocks.0.mlp.fc1", 2)[0]
    return {
        "image": image,
        "patch": (patch[0], patch[1]),
        "channels": channels,
        "dim": dim,
        "depth": depth,
        "heads": _published_heads(state, dim, depth, hidden) if heads is None else heads,
        "hidden": hidden,
        "classes": _shape(state, "head", 2)[0],
        "qkv_bias": _has_qkv_bias(state),
    }


def _has_qkv_bias(state: State) -> bool:
    """A model without has no trace of one in any block."""
    return any(key.startswith(("blocks.", "layers.")) and ".attn.qkv.bias" in key for key in state.arrays)


def _published_heads(state: State, dim: int, depth: int, hidden: int) -> int:
    """The heads of the published ViT of these sizes."""
    for config in MODELS.values():
        if isinstance(config, ViTConfig) and (config.dim, config.depth, config.hidden) == (dim, depth, hidden):
            return config.heads
    must = "the number of heads must be given (see: --num-heads) for a ViT of sizes that no published model has"
    raise CheckpointError(f"{state.source}: {must}, but found dimension {dim}, depth {depth}, hidden {hidden}")


def _swin(state: State, image: tuple[int, int] | None) -> Sizes:
    dim, channels, *patch = _shape(state, "patch_embed.proj", 4)
    stages = state.count("layers")
    depths = tuple(state.count(f"layers.{i}.blocks") for i in range(stages))
    tables = [state.shape(f"layers.{i}.blocks.0.attn.relative_position_bias_table", 2) for i in range(stages)]
    windows = [(math.isqrt(rows) + 1) // 2 for rows, _ in tables]
    if image is None:
        grid = _grid(state, depths, windows)
        image = (grid * patch[0], grid * patch[1])
    return {
        "image": image,
        "patch": (patch[0], patch[1]),
        "channels": channels,
        "dim": dim,
        "depths": depths,
        "heads": tuple(heads for _, heads in tables),
        "window": max(windows),
        "hidden": _shape(state, "layers.0.blocks.0.mlp.fc1", 2)[0],
        "classes": _shape(state, "head", 2)[0],
        "patch_norm": state.has_prefix("patch_embed.norm."),
        "position": "absolute_pos_embed" in state,
        "qkv_bias": _has_qkv_bias(state),
    }


def _grid(state: State, depths: tuple[int, ...], windows: list[int]) -> int:
    """The side of the grid of patches, taken for a square.

    The mask of a shifted block shows how many windows there are; a block without one, that there is one window.
    """
    for i, (depth, window) in enumerate(zip(depths, windows, strict=True)):
        mask, index = f"layers.{i}.blocks.1.attn_mask", f"layers.{i}.blocks.1.attn.relative_position_index"
        if depth == 1 or (mask not in state and index not in state):
            continue  # nothing is shifted, or the buffers that follow from the sizes were left out
        count = state.shape(mask, 3)[0] if mask in state else 1
        if math.isqrt(count) ** 2 == count:
            return math.isqrt(count) * window << i
    must = "the size of the image must be given (see: --image-size), since no mask of shifted windows shows a square one"
    raise CheckpointError(f"{state.source}: {must}, but found depths {list(depths)}")


def _check_image(state: State, config: Config) -> None:
    """Position embedding and masks must be those of the image."""
    given = f"(see: --image-size), but found an image of {config.image[0]}x{config.image[1]}"
    if isinstance(config, ViTConfig):
        patches, (height, width) = state.shape("pos_embed", 3)[1] - 1, config.patch
        if config.tokens != patches + 1 or patches < 1:
            must = f"the image must have {patches} patches of {height}x{width}, as pos_embed has {given}"
            raise CheckpointError(f"{state.source}: {must}")
        return
    for i, stage in enumerate(config.stages):
        table = f"layers.{i}.blocks.0.attn.relative_position_bias_table"
        if state.shape(table, 2)[0] != (2 * stage.window - 1) ** 2:
            must = f"windows of stage {i} must be {stage.window}x{stage.window}, for which {table!r} has other rows {given}"
            raise CheckpointError(f"{state.source}: {must}")
        key = f"layers.{i}.blocks.1.attn_mask"
        if key in state and state.shape(key, 3)[0] != stage.windows:
            must = f"the image must have as many windows in stage {i} as {key!r}, {state.shape(key, 3)[0]} {given}"
            raise CheckpointError(f"{state.source}: {must}")


def _shape(state: State, layer: str, rank: int) -> tuple[int, ...]:
    """The shape of a layer's weight: of the integers, or where they are missing of the real numbers."""
    key = f"{layer}.weight"
    return state.shape(key if key in state and f"{key}_integer" not in state else f"{key}_integer", rank)


def _check_sizes(state: State, model: str, expected: Config, sizes: Sizes) -> None:
    """A published model may have been given other classes."""
    for name, got in sizes.items():
        wanted = getattr(expected, name)
        if name != "classes" and wanted != got:
            raise CheckpointError(f"{state.source}: the {name} of {model} must be {wanted}, but found {got}")
