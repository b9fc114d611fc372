"""ViT and DeiT: the integer graph of the released architecture (zkkli/I-ViT, models/vit_quant.py)."""

from __future__ import annotations

import numpy as np

from ivit_ref.build import GraphBuilder
from ivit_ref.checkpoints.state import State
from ivit_ref.errors import CheckpointError
from ivit_ref.integers import Ints, from_float, narrow
from ivit_ref.ir import Graph, Value
from ivit_ref.models.builder import ModuleBuilder
from ivit_ref.models.config import ViTConfig
from ivit_ref.profiles import Profile


def vit_graph(state: State, config: ViTConfig, profile: str | Profile = "qat", *, name: str = "vit") -> Graph:
    """The integer graph: ``image`` float32[N,C,H,W] to ``logits_int`` int32[N,classes] and ``logits`` float32."""
    return _Builder(state, config, GraphBuilder(name, profile)).build()


class _Builder(ModuleBuilder):
    """Goes through the modules of the release in the order of its forward passes."""

    def __init__(self, state: State, config: ViTConfig, graph: GraphBuilder) -> None:
        super().__init__(state, graph)
        self.config = config

    def build(self) -> Graph:
        c = self.config
        x = self._embedding()
        for i in range(c.depth):
            x = self._block(f"blocks.{i}", x)
        x = self.norm("norm", x)
        x = self.graph.node("Slice", x, name="norm.cls", axis=1, start=0, stop=1)
        x = self.graph.node("Reshape", x, name="norm.cls.flatten", shape=(0, c.dim))
        x = self.requantize("qact2", x, "int8")
        logits_int = self.linear("head", x, c.classes, output="logits_int")
        logits = self.graph.node("Dequantize", logits_int, name="dequantize", output="logits")
        return self.graph.finish([logits, logits_int], {"source": self.state.source, "heads": str(c.heads)})

    def _embedding(self) -> Value:
        g = self.graph
        x = self.requantize("patch_embed.qact", self.patches(self.config), "int16")
        cls = g.constant("cls_token", self._cls_token(x), x.quant)
        cls = g.node("Expand", cls, x, name="cls_token.expand", axes=(0,))
        x = g.node("Concat", cls, x, name="tokens", axis=1)
        position = self.table("pos_embed", "qact_pos", (1, self.config.tokens, self.config.dim), "int16")
        return self.add("qact1", x, g.constant("qact_pos", *position))

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

    def _block(self, name: str, x: Value) -> Value:
        y = self.requantize(f"{name}.qact1", self.norm(f"{name}.norm1", x), "int8")
        y = self._attention(f"{name}.attn", y)
        x = self.add(f"{name}.qact2", y, x)
        y = self.requantize(f"{name}.qact3", self.norm(f"{name}.norm2", x), "int8")
        y = self.mlp(f"{name}.mlp", y, self.config.hidden)
        return self.add(f"{name}.qact4", y, x)

    def _attention(self, name: str, x: Value) -> Value:
        c = self.config
        x = self.linear(f"{name}.qkv", x, 3 * c.dim, bias=c.qkv_bias)
        x = self.requantize(f"{name}.qact1", x, "int8")
        q, k, v = (self.head(f"{name}.{part}", x, i, c.heads, part) for i, part in enumerate("qkv"))
        x = self.requantize(f"{name}.qact_attn1", self.scores(f"{name}.matmul_1", q, k), "int8")
        x = self.graph.node("Shiftmax", x, name=f"{name}.int_softmax")
        x = self.graph.node("MatMul", x, v, name=f"{name}.matmul_2", alpha=1.0)
        x = self.requantize(f"{name}.qact2", self.merge_heads(name, x), "int8")
        return self.requantize(f"{name}.qact3", self.linear(f"{name}.proj", x, c.dim), "int16")
