"""The sizes of a model."""

from __future__ import annotations

from dataclasses import dataclass

from ivit_ref.errors import CheckpointError


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

    def __post_init__(self) -> None:
        if self.heads < 1 or self.dim % self.heads:
            raise CheckpointError(f"heads: must divide the embedding dimension {self.dim}, but found {self.heads}")

    @property
    def tokens(self) -> int:
        """Patches and the class token."""
        return (self.image[0] // self.patch[0]) * (self.image[1] // self.patch[1]) + 1


DEIT_TINY = ViTConfig(image=(224, 224), patch=(16, 16), channels=3, dim=192, depth=12, heads=3, hidden=768, classes=1000)
