"""ViT and DeiT: the integer graph of the released architecture (zkkli/I-ViT, models/vit_quant.py).

Nodes are named after the release's modules, so tensors of both sides compare by name. Widths and scales at each site are the
release's: image 8 bits; patch embedding, position embedding and residual stream 16; the input of every linear layer 8.
"""

from __future__ import annotations

import math

import numpy as np

from ivit_ref import dyadic
from ivit_ref.build import GraphBuilder
from ivit_ref.checkpoints.state import State
from ivit_ref.errors import CheckpointError
from ivit_ref.integers import Ints, from_float, narrow, saturate
from ivit_ref.ir import Graph, Quant, Value
from ivit_ref.models.config import DEIT_TINY, ViTConfig
from ivit_ref.models.random_vit import random_vit_state
from ivit_ref.profiles import Profile


def vit_config(state: State, heads: int, image: tuple[int, int] | None = None) -> ViTConfig:
    """The sizes that the shapes of a state dict show; ``heads`` they do not, nor an image that is not square in patches."""
    dim, channels, *patch = state.shape("patch_embed.proj.weight_integer", 4)
    patches = state.shape("pos_embed", 3)[1] - 1
    if image is None:
        side = math.isqrt(max(patches, 0))
        image = (side * patch[0], side * patch[1])
    config = ViTConfig(
        image=image,
        patch=(patch[0], patch[1]),
        channels=channels,
        dim=dim,
        depth=state.depth(),
        heads=heads,
        hidden=state.shape("blocks.0.mlp.fc1.weight_integer", 2)[0],
        classes=state.shape("head.weight_integer", 2)[0],
    )
    if config.tokens != patches + 1 or patches < 1:
        must = f"the image must have {patches} patches of {patch[0]}x{patch[1]}, as pos_embed has (see: --image-size)"
        raise CheckpointError(f"{state.source}: {must}, but found an image of {image[0]}x{image[1]}")
    return config


def vit_graph(
    state: State, heads: int, profile: str | Profile = "qat", *, image: tuple[int, int] | None = None, name: str = "vit"
) -> Graph:
    """The integer graph: ``image`` float32[N,C,H,W] to ``logits_int`` int32[N,classes] and ``logits`` float32."""
    if "pre_logits.fc.weight" in state:
        raise CheckpointError(f"{state.source}: the model must end in a plain head, but found 'pre_logits.fc.weight'")
    return _Builder(state, vit_config(state, heads, image), profile, name).build()


def random_vit(config: ViTConfig = DEIT_TINY, profile: str | Profile = "qat", *, seed: int = 0) -> Graph:
    """The integer graph of a model with random weights, for benchmarks and for bringing up a backend."""
    state = random_vit_state(config, seed)
    return vit_graph(state, config.heads, profile, image=config.image, name=f"random_vit_{seed}")


class _Builder:
    """Goes through the modules of the release in the order of its forward passes."""

    def __init__(self, state: State, config: ViTConfig, profile: str | Profile, name: str) -> None:
        self.state, self.config = state, config
        self.graph = GraphBuilder(name, profile)

    def build(self) -> Graph:
        x = self._embedding()
        for i in range(self.config.depth):
            x = self._block(f"blocks.{i}", x)
        x = self._norm("norm", x)
        x = self.graph.node("Slice", x, name="norm.cls", axis=1, start=0, stop=1)
        x = self.graph.node("Reshape", x, name="norm.cls.flatten", shape=(0, self.config.dim))
        x = self._requantize("qact2", x, "int8")
        logits_int = self._linear("head", x, self.config.classes, self.config.dim, output="logits_int")
        logits = self.graph.node("Dequantize", logits_int, name="dequantize", output="logits")
        return self.graph.finish([logits, logits_int], {"source": self.state.source, "heads": str(self.config.heads)})

    def _embedding(self) -> Value:
        c, g = self.config, self.graph
        image = g.input("image", "float32", ("N", c.channels, *c.image))
        scale = self.state.scale("qact_input.act_scaling_factor")[0]
        x = g.node("Quantize", image, name="qact_input", scale=scale, zero_point=0, dtype="int8", division="reciprocal")
        x = self._patches(x)
        x = self._requantize("patch_embed.qact", x, "int16")
        cls = g.constant("cls_token", self._cls_token(x), x.quant)
        cls = g.node("Expand", cls, x, name="cls_token.expand", axes=(0,))
        x = g.node("Concat", cls, x, name="tokens", axis=1)
        scale_pos = self.state.scale("qact_pos.act_scaling_factor")
        position = g.constant("qact_pos", self._position(scale_pos[0]), Quant(scale_pos))
        return self._add("qact1", x, position)

    def _patches(self, x: Value) -> Value:
        c, name = self.config, "patch_embed.proj"
        shape = (c.dim, c.channels, *c.patch)
        weight, bias = self._weights(name, "conv_scaling_factor", shape, x)
        x = self.graph.node("Conv", x, weight, bias, name=name, strides=c.patch, pads=(0, 0, 0, 0), dilations=(1, 1), group=1)
        x = self.graph.node("Reshape", x, name="patch_embed.flatten", shape=(0, 0, -1))
        return self.graph.node("Transpose", x, name="patch_embed.transpose", perm=(0, 2, 1))

    def _cls_token(self, x: Value) -> Ints:
        """The class token in steps of the patch embedding: float32(token / scale), rounded half to even."""
        assert x.quant is not None
        token = self.state.float32("cls_token", (1, 1, self.config.dim))
        with np.errstate(over="ignore"):
            steps = np.rint(token / np.float32(x.quant.scale[0]))
        if abs(steps).max() > 2**15 - 1:
            must = "'cls_token' must fit int16 in steps of 'patch_embed.qact.act_scaling_factor'"
            raise CheckpointError(f"{self.state.source}: {must}, but found {abs(steps).max():.0f}")
        return narrow(from_float(steps), "int16")

    def _position(self, scale: float) -> Ints:
        """The position embedding, quantized as the release quantizes inputs: float32(1/scale) times it, half to even."""
        position = self.state.float32("pos_embed", (1, self.config.tokens, self.config.dim))
        with np.errstate(over="ignore"):
            steps = np.rint(np.float32(1) / np.float32(scale) * position)
        return narrow(saturate(from_float(np.clip(steps, -(2**16), 2**16)), -(2**15), 2**15 - 1), "int16")

    def _block(self, name: str, x: Value) -> Value:
        y = self._norm(f"{name}.norm1", x)
        y = self._requantize(f"{name}.qact1", y, "int8")
        y = self._attention(f"{name}.attn", y)
        x = self._add(f"{name}.qact2", y, x)
        y = self._norm(f"{name}.norm2", x)
        y = self._requantize(f"{name}.qact3", y, "int8")
        y = self._mlp(f"{name}.mlp", y)
        return self._add(f"{name}.qact4", y, x)

    def _attention(self, name: str, x: Value) -> Value:
        g, dim = self.graph, self.config.dim
        x = self._linear(f"{name}.qkv", x, 3 * dim, dim, bias=self._has_qkv_bias())
        x = self._requantize(f"{name}.qact1", x, "int8")
        q, k, v = (self._head(f"{name}.{part}", x, i, part) for i, part in enumerate("qkv"))
        alpha = dyadic.float32((dim // self.config.heads) ** -0.5)
        x = g.node("MatMul", q, k, name=f"{name}.matmul_1", alpha=alpha)
        x = self._requantize(f"{name}.qact_attn1", x, "int8")
        x = g.node("Shiftmax", x, name=f"{name}.int_softmax")
        x = g.node("MatMul", x, v, name=f"{name}.matmul_2", alpha=1.0)
        x = g.node("Transpose", x, name=f"{name}.transpose", perm=(0, 2, 1, 3))
        x = g.node("Reshape", x, name=f"{name}.merge", shape=(0, 0, dim))
        x = self._requantize(f"{name}.qact2", x, "int8")
        x = self._linear(f"{name}.proj", x, dim, dim)
        return self._requantize(f"{name}.qact3", x, "int16")

    def _head(self, name: str, x: Value, place: int, part: str) -> Value:
        """The queries, keys (transposed) or values of every head."""
        c, g = self.config, self.graph
        x = g.node("Slice", x, name=f"{name}.slice", axis=2, start=place * c.dim, stop=(place + 1) * c.dim)
        x = g.node("Reshape", x, name=f"{name}.split", shape=(0, 0, c.heads, c.dim // c.heads))
        return g.node("Transpose", x, name=name, perm=(0, 2, 3, 1) if part == "k" else (0, 2, 1, 3))

    def _mlp(self, name: str, x: Value) -> Value:
        dim, hidden = self.config.dim, self.config.hidden
        x = self._linear(f"{name}.fc1", x, hidden, dim)
        x = self._requantize(f"{name}.qact_gelu", x, "int8")
        x = self.graph.node("ShiftGELU", x, name=f"{name}.act")
        x = self._requantize(f"{name}.qact1", x, "int8")
        x = self._linear(f"{name}.fc2", x, dim, hidden)
        return self._requantize(f"{name}.qact2", x, "int16")

    def _norm(self, name: str, x: Value) -> Value:
        dim = self.config.dim
        scales = self.state.scales(f"{name}.norm_scaling_factor", dim, signed=True)
        bias = self.state.integers(f"{name}.bias_integer", "int32", (dim,))
        return self.graph.node("ILayerNorm", x, self.graph.constant(f"{name}.bias", bias, Quant(scales, axis=0)), name=name)

    def _linear(self, name: str, x: Value, outputs: int, inputs: int, *, bias: bool = True, output: str = "") -> Value:
        constants = self._weights(name, "fc_scaling_factor", (outputs, inputs), x, bias=bias)
        return self.graph.node("Linear", x, *constants, name=name, output=output)

    def _weights(
        self, name: str, scaling_factor: str, shape: tuple[int, ...], x: Value, *, bias: bool = True
    ) -> tuple[Value, Value]:
        """The int8 weight and the int32 bias, which comes in steps of the product of scales."""
        assert x.quant is not None
        scales = self.state.scales(f"{name}.{scaling_factor}", shape[0])
        weight = self.state.integers(f"{name}.weight_integer", "int8", shape)
        key = f"{name}.bias_integer"
        offset = self.state.integers(key, "int32", shape[:1]) if bias else np.zeros(shape[0], np.int32)
        steps = Quant(dyadic.product(scales, x.quant.scale), axis=0)
        return (
            self.graph.constant(f"{name}.weight", weight, Quant(scales, axis=0)),
            self.graph.constant(f"{name}.bias", offset, steps),
        )

    def _has_qkv_bias(self) -> bool:
        """Whether the model was built with qkv_bias: without, no block has a trace of one."""
        return any(
            f"blocks.{i}.attn.qkv.{key}" in self.state for i in range(self.config.depth) for key in ("bias", "bias_integer")
        )

    def _requantize(self, name: str, x: Value, dtype: str) -> Value:
        quant = Quant(self.state.scale(f"{name}.act_scaling_factor"))
        return self.graph.node("Requantize", x, name=name, quant=quant, dtype=dtype)

    def _add(self, name: str, x: Value, identity: Value) -> Value:
        quant = Quant(self.state.scale(f"{name}.act_scaling_factor"))
        return self.graph.node("RequantizeAdd", x, identity, name=name, quant=quant, rounds="each", dtype="int16")
