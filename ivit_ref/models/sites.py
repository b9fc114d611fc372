"""What a state dict of the release has to hold, module by module, for a model of given sizes.

One list serves those who check a checkpoint and those who make one up. Names are those of the release's modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

from ivit_ref.models.config import Config, Stage, SwinConfig, ViTConfig

Role = Literal["image", "patches", "stream", "norm", "linear", "scores", "mixed", "bias", "gelu"]
"""What passes through a quantization: the image; its embedded patches; the residual stream; a normalised tensor; the result of
a linear layer; attention's logits; attention's result; a table of position biases; the result of GELU."""


@dataclass(frozen=True)
class Act:
    """``QuantAct``: a scale for integers of so many bits."""

    name: str
    bits: int
    role: Role

    @property
    def scale(self) -> str:
        """The key of its scale."""
        return f"{self.name}.act_scaling_factor"


@dataclass(frozen=True)
class Layer:
    """``QuantLinear`` or ``QuantConv2d``, whose input has the scale of ``source``."""

    name: str
    shape: tuple[int, ...]
    source: str
    bias: bool = True

    @property
    def scales(self) -> str:
        """The key of its scales, one for each output channel."""
        return f"{self.name}.{'conv' if len(self.shape) == 4 else 'fc'}_scaling_factor"


@dataclass(frozen=True)
class Norm:
    """``IntLayerNorm`` of so many channels, whose input has the scale of ``source``."""

    name: str
    dim: int
    source: str
    bits: int


@dataclass(frozen=True)
class Softmax:
    """``IntSoftmax`` to so many bits, of rows of so many logits that have the scale of ``source``."""

    name: str
    length: int
    source: str
    bits: int


@dataclass(frozen=True)
class Gelu:
    """``IntGELU``, whose input has the scale of ``source``."""

    name: str
    source: str


@dataclass(frozen=True)
class Table:
    """Real parameters that are quantized when the graph is built."""

    name: str
    shape: tuple[int, ...]


Site = Act | Layer | Norm | Softmax | Gelu | Table


def sites(config: Config) -> Iterator[Site]:
    """Every site in the order of the forward pass."""
    yield Act("qact_input", 8, "image")
    yield Layer("patch_embed.proj", (config.dim, config.channels, *config.patch), "qact_input")
    yield from _vit(config) if isinstance(config, ViTConfig) else _swin(config)


def parameters(config: Config) -> int:
    """How many numbers training learned: weights, biases, gains, tokens and tables."""
    return sum(_parameters(site) for site in sites(config))


def _parameters(site: Site) -> int:
    if isinstance(site, Layer):
        return prod(site.shape) + site.bias * site.shape[0]
    if isinstance(site, Norm):
        return 2 * site.dim
    return prod(site.shape) if isinstance(site, Table) else 0


def _vit(c: ViTConfig) -> Iterator[Site]:
    yield Table("cls_token", (1, 1, c.dim))
    yield Act("patch_embed.qact", 16, "patches")
    yield Table("pos_embed", (1, c.tokens, c.dim))
    yield Act("qact_pos", 16, "linear")
    yield Act("qact1", 16, "stream")
    stream = "qact1"
    for i in range(c.depth):
        name = f"blocks.{i}"
        yield Norm(f"{name}.norm1", c.dim, stream, 16)
        yield Act(f"{name}.qact1", 8, "norm")
        yield from _qkv(f"{name}.attn", c.dim, f"{name}.qact1", c.qkv_bias)
        yield Softmax(f"{name}.attn.int_softmax", c.tokens, f"{name}.attn.qact_attn1", 16)
        yield Act(f"{name}.attn.qact2", 8, "mixed")
        yield Layer(f"{name}.attn.proj", (c.dim, c.dim), f"{name}.attn.qact2")
        yield Act(f"{name}.attn.qact3", 16, "linear")
        yield from _second_half(name, c.dim, c.hidden)
        stream = f"{name}.qact4"
    yield Norm("norm", c.dim, stream, 16)
    yield Act("qact2", 8, "norm")
    yield Layer("head", (c.classes, c.dim), "qact2")


def _swin(c: SwinConfig) -> Iterator[Site]:
    if c.patch_norm:
        yield Act("patch_embed.qact_before_norm", 8, "patches")
        yield Norm("patch_embed.norm", c.dim, "patch_embed.qact_before_norm", 8)
    yield Act("patch_embed.qact", 16, "linear")
    if c.position:
        yield Table("absolute_pos_embed", (1, c.stages[0].tokens, c.dim))
        yield Act("qact_pos", 16, "linear")
    yield Act("qact1", 16, "stream")
    stream, bits = "qact1", 16
    for i, stage in enumerate(c.stages):
        for j in range(stage.depth):
            yield from _swin_block(f"layers.{i}.blocks.{j}", stage, stream, bits, c.qkv_bias)
            stream, bits = f"layers.{i}.blocks.{j}.qact4", 16
        if i + 1 < len(c.stages):
            name = f"layers.{i}.downsample"
            yield Norm(f"{name}.norm", 4 * stage.dim, stream, bits)
            yield Act(f"{name}.qact1", 8, "norm")
            yield Layer(f"{name}.reduction", (2 * stage.dim, 4 * stage.dim), f"{name}.qact1", bias=False)
            yield Act(f"{name}.qact2", 8, "linear")
            stream, bits = f"{name}.qact2", 8
    yield Norm("norm", c.stages[-1].dim, stream, bits)
    yield Act("qact2", 8, "norm")
    yield Act("qact3", 8, "norm")
    yield Layer("head", (c.classes, c.stages[-1].dim), "qact3")


def _swin_block(name: str, stage: Stage, stream: str, bits: int, qkv_bias: bool) -> Iterator[Site]:
    yield Norm(f"{name}.norm1", stage.dim, stream, bits)
    yield Act(f"{name}.qact1", 8, "norm")
    yield from _qkv(f"{name}.attn", stage.dim, f"{name}.qact1", qkv_bias)
    yield Table(f"{name}.attn.relative_position_bias_table", ((2 * stage.window - 1) ** 2, stage.heads))
    yield Act(f"{name}.attn.qact_table", 8, "bias")
    yield Act(f"{name}.attn.qact2", 8, "scores")
    yield Softmax(f"{name}.attn.log_int_softmax", stage.window**2, f"{name}.attn.qact2", 8)
    yield Act(f"{name}.attn.qact3", 8, "mixed")
    yield Layer(f"{name}.attn.proj", (stage.dim, stage.dim), f"{name}.attn.qact3")
    yield Act(f"{name}.attn.qact4", 16, "linear")
    yield from _second_half(name, stage.dim, stage.hidden)


def _qkv(name: str, dim: int, source: str, bias: bool) -> Iterator[Site]:
    yield Layer(f"{name}.qkv", (3 * dim, dim), source, bias)
    yield Act(f"{name}.qact1", 8, "linear")
    yield Act(f"{name}.qact_attn1", 8, "scores")


def _second_half(name: str, dim: int, hidden: int) -> Iterator[Site]:
    """A block from its first addition on."""
    yield Act(f"{name}.qact2", 16, "stream")
    yield Norm(f"{name}.norm2", dim, f"{name}.qact2", 16)
    yield Act(f"{name}.qact3", 8, "norm")
    yield Layer(f"{name}.mlp.fc1", (hidden, dim), f"{name}.qact3")
    yield Act(f"{name}.mlp.qact_gelu", 8, "linear")
    yield Gelu(f"{name}.mlp.act", f"{name}.mlp.qact_gelu")
    yield Act(f"{name}.mlp.qact1", 8, "gelu")
    yield Layer(f"{name}.mlp.fc2", (dim, hidden), f"{name}.mlp.qact1")
    yield Act(f"{name}.mlp.qact2", 16, "linear")
    yield Act(f"{name}.qact4", 16, "stream")
