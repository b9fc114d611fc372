"""The modules of the release (zkkli/I-ViT, models/layers_quant.py and quantization_utils) that ViT and Swin are made of.

Nodes are named after the release's modules, so tensors of both sides compare by name. Widths and scales at each site are the
release's: image 8 bits, residual stream 16, the input of every linear layer 8.
"""

from __future__ import annotations

from typing import Literal, cast

import numpy as np

from ivit_ref import dyadic
from ivit_ref.build import GraphBuilder
from ivit_ref.checkpoints.state import EPSILON, State
from ivit_ref.errors import CheckpointError
from ivit_ref.integers import BOUNDS, Ints, from_float, narrow, saturate
from ivit_ref.ir import Quant, Value
from ivit_ref.models.config import Config

Scaling = Literal["conv_scaling_factor", "fc_scaling_factor"]


class ModuleBuilder:
    """Adds one module of the release after another to a graph."""

    def __init__(self, state: State, graph: GraphBuilder) -> None:
        self.state, self.graph = state, graph

    def patches(self, config: Config) -> Value:
        """The image, quantized, through the convolution that embeds its patches: int32[N,tokens,dim]."""
        g, name = self.graph, "patch_embed.proj"
        image = g.input("image", "float32", ("N", config.channels, *config.image))
        scale = self._image_scale()
        x = g.node("Quantize", image, name="qact_input", scale=scale, zero_point=0, dtype="int8", division="reciprocal")
        shape = (config.dim, config.channels, *config.patch)
        weight, bias = self._weights(name, "conv_scaling_factor", shape, x)
        x = g.node("Conv", x, weight, bias, name=name, strides=config.patch, pads=(0, 0, 0, 0), dilations=(1, 1), group=1)
        x = g.node("Reshape", x, name="patch_embed.flatten", shape=(0, 0, -1))
        return g.node("Transpose", x, name="patch_embed.transpose", perm=(0, 2, 1))

    def _image_scale(self) -> float:
        """The scale of the image; float32 epsilon is what a reloaded model writes that never saw one."""
        key = "qact_input.act_scaling_factor"
        scale = self.state.scale(key)[0]
        if scale <= EPSILON:
            must = "must be the scale of images that were seen (see: ivit-ref doctor)"
            raise CheckpointError(f"{self.state.source}: {key!r} {must}, but found {scale!r}")
        return scale

    def linear(self, name: str, x: Value, outputs: int, *, bias: bool = True, output: str = "") -> Value:
        """``QuantLinear``: the accumulator."""
        weight, offset = self._weights(name, "fc_scaling_factor", (outputs, _channels(x)), x, bias=bias)
        return self.graph.node("Linear", x, weight, offset, name=name, output=output)

    def norm(self, name: str, x: Value) -> Value:
        """``IntLayerNorm``: the gain is in the scales, one for each channel."""
        dim = _channels(x)
        scales = self.state.scales(f"{name}.norm_scaling_factor", dim, signed=True)
        bias = self.state.integers(f"{name}.bias_integer", "int32", (dim,))
        return self.graph.node("ILayerNorm", x, self.graph.constant(f"{name}.bias", bias, Quant(scales, axis=0)), name=name)

    def requantize(self, name: str, x: Value, dtype: str) -> Value:
        """``QuantAct`` of one tensor."""
        return self.graph.node("Requantize", x, name=name, quant=self._step(name), dtype=dtype)

    def add(self, name: str, x: Value, identity: Value, dtype: str = "int16") -> Value:
        """``QuantAct`` of a tensor and an identity, each rounded on its own."""
        return self.graph.node("RequantizeAdd", x, identity, name=name, quant=self._step(name), rounds="each", dtype=dtype)

    def head(self, name: str, x: Value, place: int, heads: int, part: str) -> Value:
        """The queries, keys (transposed) or values of every head: the axis of tokens and the last become three."""
        g, outer, dim = self.graph, len(x.type.shape) - 2, _channels(x) // 3
        x = g.node("Slice", x, name=f"{name}.slice", axis=outer + 1, start=place * dim, stop=(place + 1) * dim)
        x = g.node("Reshape", x, name=f"{name}.split", shape=(*(0,) * (outer + 1), heads, dim // heads))
        order = (1, 2, 0) if part == "k" else (1, 0, 2)
        return g.node("Transpose", x, name=name, perm=(*range(outer), *(outer + i for i in order)))

    def merge_heads(self, name: str, x: Value) -> Value:
        """The results of every head side by side."""
        outer = len(x.type.shape) - 3
        dim = cast(int, x.type.shape[outer]) * _channels(x)
        x = self.graph.node("Transpose", x, name=f"{name}.transpose", perm=(*range(outer), outer + 1, outer, outer + 2))
        return self.graph.node("Reshape", x, name=f"{name}.merge", shape=(*(0,) * (outer + 1), dim))

    def scores(self, name: str, q: Value, k: Value) -> Value:
        """q k^T, whose scale has the factor 1/sqrt(d)."""
        return self.graph.node("MatMul", q, k, name=name, alpha=dyadic.float32(_channels(q) ** -0.5))

    def mlp(self, name: str, x: Value, hidden: int) -> Value:
        """``Mlp``."""
        dim = _channels(x)
        x = self.requantize(f"{name}.qact_gelu", self.linear(f"{name}.fc1", x, hidden), "int8")
        x = self.graph.node("ShiftGELU", x, name=f"{name}.act")
        x = self.requantize(f"{name}.qact1", x, "int8")
        return self.requantize(f"{name}.qact2", self.linear(f"{name}.fc2", x, dim), "int16")

    def table(self, key: str, act: str, shape: tuple[int, ...], dtype: Literal["int8", "int16"]) -> tuple[Ints, Quant]:
        """Real parameters, quantized as the release quantizes inputs: float32(1/scale) times them, half to even."""
        quant = self._step(act)
        real = self.state.float32(key, shape)
        with np.errstate(over="ignore"):
            steps = np.rint(np.float32(1) / np.float32(quant.scale[0]) * real)
        low, high = BOUNDS[dtype]
        return narrow(saturate(from_float(np.clip(steps, 2 * low, 2 * high)), low, high), dtype), quant

    def _step(self, name: str) -> Quant:
        return Quant(self.state.scale(f"{name}.act_scaling_factor"))

    def _weights(
        self, name: str, scaling: Scaling, shape: tuple[int, ...], x: Value, *, bias: bool = True
    ) -> tuple[Value, Value]:
        """The int8 weight and the int32 bias, which comes in steps of the product of scales."""
        assert x.quant is not None
        scales = self.state.scales(f"{name}.{scaling}", shape[0])
        weight = self.state.integers(f"{name}.weight_integer", "int8", shape)
        key = f"{name}.bias_integer"
        offset = self.state.integers(key, "int32", shape[:1]) if bias else np.zeros(shape[0], np.int32)
        steps = Quant(dyadic.product(scales, x.quant.scale), axis=0)
        return (
            self.graph.constant(f"{name}.weight", weight, Quant(scales, axis=0)),
            self.graph.constant(f"{name}.bias", offset, steps),
        )


def _channels(x: Value) -> int:
    """The length of the last axis, which is never named."""
    return cast(int, x.type.shape[-1])
