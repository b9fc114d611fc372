"""The sizes of a model, and those of the published models by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ivit_ref.errors import CheckpointError

LARGEST_MASK = 2**24
"""An image of 2048x2048 in patches of 4x4 and windows of 7x7 has masks of 2**23.6 elements."""


@dataclass(frozen=True)
class ViTConfig:
    """The sizes of a ViT; sizes of image and patch are (height, width)."""

    image: tuple[int, int]
    patch: tuple[int, int]
    channels: int
    dim: int
    depth: int
    heads: int
    hidden: int
    classes: int
    qkv_bias: bool = True

    def __post_init__(self) -> None:
        _check_heads(self.dim, self.heads)

    @property
    def tokens(self) -> int:
        """Patches and the class token."""
        return (self.image[0] // self.patch[0]) * (self.image[1] // self.patch[1]) + 1


@dataclass(frozen=True)
class Stage:
    """One stage of a Swin: the size of its grid of tokens and of its windows, and what its blocks are made of."""

    grid: tuple[int, int]
    window: int
    dim: int
    depth: int
    heads: int
    hidden: int

    def __post_init__(self) -> None:
        _check_heads(self.dim, self.heads)

    @property
    def tokens(self) -> int:
        """Tokens in all windows together."""
        return self.grid[0] * self.grid[1]

    @property
    def windows(self) -> int:
        """How many windows the grid has."""
        return self.tokens // self.window**2

    def shift(self, block: int) -> int:
        """How far a block shifts its windows: every other one by half a window, none where one window spans the grid."""
        return self.window // 2 if block % 2 and min(self.grid) > self.window else 0


@dataclass(frozen=True)
class SwinConfig:
    """The sizes of a Swin; ``window`` is what a stage has whose grid is not smaller."""

    image: tuple[int, int]
    patch: tuple[int, int]
    channels: int
    dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    hidden: int
    classes: int
    patch_norm: bool = True
    position: bool = False
    qkv_bias: bool = True

    def __post_init__(self) -> None:
        for i, stage in enumerate(self.stages):
            rows, columns = stage.grid
            fits = stage.window and not rows % stage.window and not columns % stage.window
            if not fits:
                must = f"the {rows}x{columns} tokens of stage {i} must be whole windows (see: --image-size)"
                raise CheckpointError(f"window: {must}, but found {stage.window}x{stage.window}")
            if stage.tokens * stage.window**2 > LARGEST_MASK:
                must = f"the masks of stage {i} must have at most 2**24 elements"
                raise CheckpointError(f"image: {must}, but found {stage.tokens * stage.window**2}")
            if i + 1 < len(self.depths) and (rows % 2 or columns % 2):
                raise CheckpointError(f"image: stage {i} must have even numbers of tokens to merge, but found {rows}x{columns}")

    @property
    def grid(self) -> tuple[int, int]:
        """How many patches the image has, down and across."""
        return self.image[0] // self.patch[0], self.image[1] // self.patch[1]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages: half the grid and twice the dimension from each to the next."""
        return tuple(self._stage(i) for i in range(len(self.depths)))

    def _stage(self, i: int) -> Stage:
        rows, columns = self.grid[0] >> i, self.grid[1] >> i
        window = min(self.window, rows, columns)
        return Stage((rows, columns), window, self.dim << i, self.depths[i], self.heads[i], self.hidden << i)


Config = ViTConfig | SwinConfig


def _check_heads(dim: int, heads: int) -> None:
    if heads < 1 or dim % heads:
        raise CheckpointError(f"heads: must divide the embedding dimension {dim}, but found {heads}")


def _vit(dim: int, depth: int, heads: int) -> ViTConfig:
    return ViTConfig((224, 224), (16, 16), channels=3, dim=dim, depth=depth, heads=heads, hidden=4 * dim, classes=1000)


def _swin(dim: int, depth: int) -> SwinConfig:
    """Swin's heads have 32 channels."""
    heads = tuple((dim << i) // 32 for i in range(4))
    depths = (2, 2, depth, 2)
    return SwinConfig((224, 224), (4, 4), 3, dim, depths, heads, window=7, hidden=4 * dim, classes=1000)


MODELS: Mapping[str, Config] = {
    "deit_tiny_patch16_224": _vit(192, 12, 3),
    "deit_small_patch16_224": _vit(384, 12, 6),
    "deit_base_patch16_224": _vit(768, 12, 12),
    "vit_small_patch16_224": _vit(384, 12, 6),
    "vit_base_patch16_224": _vit(768, 12, 12),
    "vit_large_patch16_224": _vit(1024, 24, 16),
    "swin_tiny_patch4_window7_224": _swin(96, 6),
    "swin_small_patch4_window7_224": _swin(96, 18),
    "swin_base_patch4_window7_224": _swin(128, 18),
}
"""Sizes: zkkli/I-ViT models/vit_quant.py and swin_quant.py; ViT-S as in timm."""


def model_named(name: str) -> Config:
    """The sizes of a published model."""
    if name not in MODELS:
        raise CheckpointError(f"model: must be one of {', '.join(MODELS)}, but found {name!r}")
    return MODELS[name]
