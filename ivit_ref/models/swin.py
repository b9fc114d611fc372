"""Swin: the integer graph of the released architecture (zkkli/I-ViT, models/swin_quant.py).

Where the release folds windows into the batch, they have an axis of their own here: [N, windows, tokens, channels]; the order
of the elements is the same. Shiftmax has 8 bits, in whatever profile, as it was trained.

The mask of shifted windows. The release adds -100 to a real logit whose step is S, which is -100/S steps, in general no
integer. Here it is the nearest integer, int32, in steps of S. An exponential is at its clamp from -10.4 on (-15 / 1.4375), so
that neither the rounding nor the float32 of the release shows, unless the logits of a row spread over more than 89: then a
masked logit counts, in the release and here.
"""

from __future__ import annotations

import numpy as np

from ivit_ref.build import GraphBuilder
from ivit_ref.checkpoints.state import State
from ivit_ref.errors import CheckpointError
from ivit_ref.integers import Ints, from_float, narrow
from ivit_ref.ir import Array, Graph, Value
from ivit_ref.models.builder import ModuleBuilder
from ivit_ref.models.config import Stage, SwinConfig
from ivit_ref.profiles import SOFTMAX_BITS, Profile, fitted, profile_named

METADATA = {SOFTMAX_BITS: "8"}
MASK = -100.0
"""What the release adds to the logit of a token from another region."""


def swin_graph(state: State, config: SwinConfig, profile: str | Profile = "qat", *, name: str = "swin") -> Graph:
    """The integer graph: ``image`` float32[N,C,H,W] to ``logits_int`` int32[N,classes] and ``logits`` float32."""
    return _Builder(state, config, GraphBuilder(name, fitted(profile_named(profile), METADATA))).build()


class _Builder(ModuleBuilder):
    """Goes through the modules of the release in the order of its forward passes."""

    def __init__(self, state: State, config: SwinConfig, graph: GraphBuilder) -> None:
        super().__init__(state, graph)
        self.config = config

    def build(self) -> Graph:
        g, c = self.graph, self.config
        x = self._embedding()
        for i, stage in enumerate(c.stages):
            for j in range(stage.depth):
                x = self._block(f"layers.{i}.blocks.{j}", x, stage, stage.shift(j))
            if i + 1 < len(c.stages):
                x = self._downsample(f"layers.{i}.downsample", x, stage)
        x = self.requantize("qact2", self.norm("norm", x), "int8")
        x = g.node("ReduceMean", x, name="avgpool", axes=(1,))
        x = g.node("Reshape", x, name="avgpool.flatten", shape=(0, c.stages[-1].dim))
        x = self.requantize("qact3", x, "int8")
        logits_int = self.linear("head", x, c.classes, output="logits_int")
        logits = g.node("Dequantize", logits_int, name="dequantize", output="logits")
        return g.finish([logits, logits_int], {"source": self.state.source, **METADATA})

    def _embedding(self) -> Value:
        c, x = self.config, self.patches(self.config)
        if c.patch_norm:
            x = self.norm("patch_embed.norm", self.requantize("patch_embed.qact_before_norm", x, "int8"))
        x = self.requantize("patch_embed.qact", x, "int16")
        if not c.position:
            return self.requantize("qact1", x, "int16")
        position = self.table("absolute_pos_embed", "qact_pos", (1, c.stages[0].tokens, c.dim), "int16")
        return self.add("qact1", x, self.graph.constant("qact_pos", *position))

    def _block(self, name: str, x: Value, stage: Stage, shift: int) -> Value:
        y = self.requantize(f"{name}.qact1", self.norm(f"{name}.norm1", x), "int8")
        y = self._windows(f"{name}.windows", y, stage, shift)
        y = self._attention(f"{name}.attn", y, stage, shift)
        y = self._grid(f"{name}.merge", y, stage, shift)
        x = self.add(f"{name}.qact2", y, x)
        y = self.requantize(f"{name}.qact3", self.norm(f"{name}.norm2", x), "int8")
        return self.add(f"{name}.qact4", self.mlp(f"{name}.mlp", y, stage.hidden), x)

    def _windows(self, name: str, x: Value, stage: Stage, shift: int) -> Value:
        """The tokens window by window, of a grid that is shifted up and to the left."""
        g, w, (rows, columns) = self.graph, stage.window, stage.grid
        x = g.node("Reshape", x, name=f"{name}.grid", shape=(0, rows, columns, stage.dim))
        x = self._rolled(name, x, -shift)
        x = g.node("Reshape", x, name=f"{name}.cut", shape=(0, rows // w, w, columns // w, w, stage.dim))
        x = g.node("Transpose", x, name=f"{name}.transpose", perm=(0, 1, 3, 2, 4, 5))
        return g.node("Reshape", x, name=name, shape=(0, stage.windows, w * w, stage.dim))

    def _grid(self, name: str, x: Value, stage: Stage, shift: int) -> Value:
        """The windows back in their places."""
        g, w, (rows, columns) = self.graph, stage.window, stage.grid
        x = g.node("Reshape", x, name=f"{name}.cut", shape=(0, rows // w, columns // w, w, w, stage.dim))
        x = g.node("Transpose", x, name=f"{name}.transpose", perm=(0, 1, 3, 2, 4, 5))
        x = g.node("Reshape", x, name=f"{name}.grid", shape=(0, rows, columns, stage.dim))
        x = self._rolled(name, x, shift)
        return g.node("Reshape", x, name=name, shape=(0, stage.tokens, stage.dim))

    def _rolled(self, name: str, x: Value, shift: int) -> Value:
        """The grid [N,rows,columns,C], moved down and to the right by ``shift``, around the edges."""
        if shift:
            for axis, what in ((1, "rows"), (2, "columns")):
                length = x.type.shape[axis]
                assert isinstance(length, int)
                x = self.graph.node("Roll", x, name=f"{name}.shift_{what}", axis=axis, shift=shift % length)
        return x

    def _attention(self, name: str, x: Value, stage: Stage, shift: int) -> Value:
        x = self.linear(f"{name}.qkv", x, 3 * stage.dim, bias=self.config.qkv_bias)
        x = self.requantize(f"{name}.qact1", x, "int8")
        q, k, v = (self.head(f"{name}.{part}", x, i, stage.heads, part) for i, part in enumerate("qkv"))
        x = self.requantize(f"{name}.qact_attn1", self.scores(f"{name}.matmul_1", q, k), "int8")
        x = self.add(f"{name}.qact2", x, self._position_bias(name, stage), "int8")
        if shift:
            x = self._masked(name, x, stage, shift)
        x = self.graph.node("Shiftmax", x, name=f"{name}.log_int_softmax")
        x = self.graph.node("MatMul", x, v, name=f"{name}.matmul_2", alpha=1.0)
        x = self.requantize(f"{name}.qact3", self.merge_heads(name, x), "int8")
        return self.requantize(f"{name}.qact4", self.linear(f"{name}.proj", x, stage.dim), "int16")

    def _position_bias(self, name: str, stage: Stage) -> Value:
        """The bias of each head for each pair of tokens of a window: int8[heads,T,T]."""
        index, tokens = relative_position(stage.window), stage.window**2
        self._check_derived(f"{name}.relative_position_index", index)
        shape = ((2 * stage.window - 1) ** 2, stage.heads)
        table, quant = self.table(f"{name}.relative_position_bias_table", f"{name}.qact_table", shape, "int8")
        bias = table[index.reshape(-1)].reshape(tokens, tokens, stage.heads).transpose(2, 0, 1)
        return self.graph.constant(f"{name}.position_bias", bias, quant)

    def _masked(self, name: str, x: Value, stage: Stage, shift: int) -> Value:
        """The logits, those between tokens of different regions of the shifted grid less 100."""
        assert x.quant is not None
        apart = regions_apart(stage, shift)
        self._check_derived(name.removesuffix("attn") + "attn_mask", mask_of(apart))
        steps = np.where(apart, np.rint(MASK / x.quant.scale[0]), 0.0)
        if abs(steps).max() > 2**31 - 1 - 2**7:
            must = f"'{name}.qact2.act_scaling_factor' must be coarse enough for a mask of {MASK:g} in int32"
            raise CheckpointError(f"{self.state.source}: {must}, but found {x.quant.scale[0]!r}")
        mask = self.graph.constant(f"{name}.mask", narrow(from_float(steps[:, None]), "int32"), x.quant)
        return self.graph.node("RequantizeAdd", x, mask, name=f"{name}.masked", quant=x.quant, rounds="each", dtype="int32")

    def _check_derived(self, key: str, expected: Array) -> None:
        """A stored buffer that follows from the sizes must be the one that follows."""
        if key in self.state and not np.array_equal(self.state.real(key, expected.shape), expected):
            must = f"{key!r} must be the one that window and shift give"
            raise CheckpointError(f"{self.state.source}: {must}, but found another")

    def _downsample(self, name: str, x: Value, stage: Stage) -> Value:
        """``PatchMerging``: four neighbours - (0,0), (1,0), (0,1), (1,1) of rows and columns - become one token."""
        g, (rows, columns) = self.graph, stage.grid
        x = g.node("Reshape", x, name=f"{name}.cut", shape=(0, rows // 2, 2, columns // 2, 2, stage.dim))
        x = g.node("Transpose", x, name=f"{name}.transpose", perm=(0, 1, 3, 4, 2, 5))
        x = g.node("Reshape", x, name=f"{name}.merge", shape=(0, stage.tokens // 4, 4 * stage.dim))
        x = self.requantize(f"{name}.qact1", self.norm(f"{name}.norm", x), "int8")
        return self.requantize(f"{name}.qact2", self.linear(f"{name}.reduction", x, 2 * stage.dim, bias=False), "int8")


def mask_of(apart: Array) -> Array:
    """The mask as the release stores it."""
    mask: Array = np.where(apart, np.float32(MASK), np.float32(0))
    return mask


def relative_position(window: int) -> Ints:
    """For each pair of tokens of a window, the row of the bias table that their distance has: [T, T]."""
    places = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij")).reshape(2, -1)
    down, across = places[:, :, None] - places[:, None, :] + window - 1
    index: Ints = down * (2 * window - 1) + across
    return index


def regions_apart(stage: Stage, shift: int) -> Array:
    """Which pairs of tokens of each window come from different regions of the grid before its shift: bool[windows,T,T]."""
    rows, columns = (_regions(length, stage.window, shift) for length in stage.grid)
    w, (height, width) = stage.window, stage.grid
    region = (rows[:, None] * 3 + columns).reshape(height // w, w, width // w, w).transpose(0, 2, 1, 3).reshape(-1, w * w)
    apart: Array = region[:, None, :] != region[:, :, None]
    return apart


def _regions(length: int, window: int, shift: int) -> Ints:
    """Of each place after the shift: 0 where its window is whole, 1 before the edge that is inside it now, 2 behind that."""
    place = np.arange(length)
    return np.where(place >= length - window, 1, 0) + np.where(place >= length - shift, 1, 0)
