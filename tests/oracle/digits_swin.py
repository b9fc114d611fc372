"""A whole Swin from its state dict, module by module as zkkli/I-ViT writes it, on exact integers: the profile ``qat``.

Written from models/swin_quant.py of the release, with the modules of ``digits_vit`` where they are the same: windows go into
the batch, and mask and index come from the buffers of the state dict. The mask is the one change beside those told there: the
nearest integer to -100 over the scale. It knows nothing of ``ivit_ref``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from tests.oracle.digits_vit import Array, Quantized, VisionTransformer, exact, half_even, int_softmax, product


class SwinTransformer(VisionTransformer):
    """``SwinTransformer`` of the release in evaluation mode; calling it gives ``(integers, scale)`` of the head.

    ``tensors`` holds what each module gave in the last call, by the module's name. ``window`` is the model's, which a stage
    whose grid is smaller does not have.
    """

    def __init__(self, state: Mapping[str, Array], window: int) -> None:
        self.state = state
        self.window = window
        self.tensors: dict[str, Quantized] = {}
        self.depths: list[int] = []
        while f"layers.{len(self.depths)}.blocks.0.norm1.bias_integer" in state:
            stage = f"layers.{len(self.depths)}.blocks"
            self.depths.append(sum(key.startswith(stage) and key.endswith("norm1.bias_integer") for key in state))

    def __call__(self, images: Array) -> Quantized:
        down, across = self.state["patch_embed.proj.weight_integer"].shape[2:]
        height, width = images.shape[2] // down, images.shape[3] // across
        x = self.patch_embed(self.quantize_input(images, "qact_input", 8))
        if "absolute_pos_embed" in self.state:
            x = self.act("qact1", x, 16, self.quantize_input(self.state["absolute_pos_embed"], "qact_pos", 16))
        else:
            x = self.act("qact1", x, 16)
        for i, depth in enumerate(self.depths):
            for j in range(depth):
                x = self.swin_block(f"layers.{i}.blocks.{j}", x, (height, width), shifts=j % 2 == 1)
            if i + 1 < len(self.depths):
                x = self.patch_merging(f"layers.{i}.downsample", x, (height, width))
                height, width = height // 2, width // 2
        q, scale = self.act("qact2", self.norm("norm", x), 8)
        total, count = q.sum(axis=1), np.array(q.shape[1], object)
        x = self.module("avgpool", half_even(total, count), scale)
        return self.linear("head", self.act("qact3", x, 8))

    def patch_embed(self, x: Quantized) -> Quantized:
        """The convolution patch by patch, then a norm where there is one."""
        q, scale = x
        kernel = self.integers("patch_embed.proj.weight_integer")
        down, across = kernel.shape[2:]
        corners = [(i, j) for i in range(0, q.shape[2] - down + 1, down) for j in range(0, q.shape[3] - across + 1, across)]
        pixels = np.stack([q[:, :, i : i + down, j : j + across].reshape(len(q), -1) for i, j in corners], axis=1)
        y = product(pixels, kernel.reshape(len(kernel), -1).T) + self.integers("patch_embed.proj.bias_integer")
        x = y, self.scale("patch_embed.proj.conv_scaling_factor") * scale
        if "patch_embed.norm.norm_scaling_factor" in self.state:
            x = self.norm("patch_embed.norm", self.act("patch_embed.qact_before_norm", x, 8))
        return self.act("patch_embed.qact", x, 16)

    def swin_block(self, name: str, x_1: Quantized, grid: tuple[int, int], *, shifts: bool) -> Quantized:
        shape = x_1[0].shape
        window, shift = (self.window, shifts * (self.window // 2)) if min(grid) > self.window else (min(grid), 0)
        q, scale = self.act(f"{name}.qact1", self.norm(f"{name}.norm1", x_1), 8)
        q = np.roll(q.reshape(len(q), *grid, -1), (-shift, -shift), axis=(1, 2))
        mask = self.state[f"{name}.attn_mask"] if shift else None
        q, scale = self.window_attention(f"{name}.attn", (window_partition(q, window), scale), mask)
        q = np.roll(window_reverse(q, window, grid), (shift, shift), axis=(1, 2))
        x_2 = self.act(f"{name}.qact2", (q.reshape(shape), scale), 16, x_1)
        x = self.act(f"{name}.qact3", self.norm(f"{name}.norm2", x_2), 8)
        return self.act(f"{name}.qact4", self.mlp(f"{name}.mlp", x), 16, x_2)

    def window_attention(self, name: str, x: Quantized, mask: Array | None) -> Quantized:
        """``x`` is [images * windows, tokens, channels], the windows of one image next to each other."""
        batch, tokens, dim = x[0].shape
        table = self.state[f"{name}.relative_position_bias_table"]
        heads = table.shape[1]
        qkv, scale = self.act(f"{name}.qact1", self.linear(f"{name}.qkv", x), 8)
        q, k, v = qkv.reshape(batch, tokens, 3, heads, dim // heads).transpose(2, 0, 3, 1, 4)
        folded = scale * scale * np.float32((dim // heads) ** -0.5)
        attn = self.module(f"{name}.matmul_1", product(q, np.swapaxes(k, -2, -1)), folded)
        attn = self.act(f"{name}.qact_attn1", attn, 8)
        bias, step = self.quantize_input(table, f"{name}.qact_table", 8)
        index = self.state[f"{name}.relative_position_index"]
        bias = np.array([[bias[row] for row in line] for line in index], object).transpose(2, 0, 1)
        logits, step = self.act(f"{name}.qact2", attn, 8, (bias[None], step))
        if mask is not None:
            steps = mask_in_steps(mask, step)
            logits = logits.reshape(-1, len(mask), heads, tokens, tokens) + steps[None, :, None]
            logits = logits.reshape(batch, heads, tokens, tokens)
        attn = self.module(f"{name}.log_int_softmax", *int_softmax((logits, step), output_bit=8))
        y, scale = self.module(f"{name}.matmul_2", product(attn[0], v), attn[1] * scale)
        x = self.act(f"{name}.qact3", (y.transpose(0, 2, 1, 3).reshape(batch, tokens, dim), scale), 8)
        return self.act(f"{name}.qact4", self.linear(f"{name}.proj", x), 16)

    def patch_merging(self, name: str, x: Quantized, grid: tuple[int, int]) -> Quantized:
        q, scale = x
        q = q.reshape(len(q), *grid, -1)
        near = [q[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
        q = np.concatenate(near, axis=-1).reshape(len(q), grid[0] // 2 * (grid[1] // 2), -1)
        x = self.act(f"{name}.qact1", self.norm(f"{name}.norm", (q, scale)), 8)
        return self.act(f"{name}.qact2", self.linear(f"{name}.reduction", x), 8)


def window_partition(q: Array, window: int) -> Array:
    """[images, height, width, channels] as [images * windows, tokens, channels], the windows row by row."""
    rows, columns = range(0, q.shape[1], window), range(0, q.shape[2], window)
    windows = [image[i : i + window, j : j + window] for image in q for i in rows for j in columns]
    return np.array(windows, q.dtype).reshape(len(windows), window * window, q.shape[3])


def window_reverse(q: Array, window: int, grid: tuple[int, int]) -> Array:
    """The inverse."""
    corners = [(i, j) for i in range(0, grid[0], window) for j in range(0, grid[1], window)]
    whole = np.empty((len(q) // len(corners), *grid, q.shape[2]), q.dtype)
    for number, tokens in enumerate(q):
        i, j = corners[number % len(corners)]
        whole[number // len(corners), i : i + window, j : j + window] = tokens.reshape(window, window, -1)
    return whole


def mask_in_steps(mask: Array, scale: Array) -> Array:
    """The mask's real numbers in steps of the logits, each the nearest integer."""
    steps = {float(value): round(Fraction(float(value)) / Fraction(float(scale[0]))) for value in np.unique(mask)}
    return exact(np.vectorize(steps.__getitem__, otypes=[float])(mask))


def buffers(state: Mapping[str, Array], window: int, grid: tuple[int, int]) -> dict[str, Array]:
    """What the release registers beside its parameters: for each block its index, for shifted ones the mask."""
    made: dict[str, Array] = {}
    for i, depth in enumerate(SwinTransformer(state, window).depths):
        size = grid[0] >> i, grid[1] >> i
        for j in range(depth):
            name = f"layers.{i}.blocks.{j}"
            made[f"{name}.attn.relative_position_index"] = relative_position_index(min(window, *size))
            if j % 2 and min(size) > window and window // 2:
                made[f"{name}.attn_mask"] = attn_mask(size, window, window // 2)
    return made


def relative_position_index(window: int) -> Array:
    """For two tokens, the row of the table: their distance down and across, each counted from 0."""
    index = np.empty((window * window, window * window), np.int64)
    for a in range(window * window):
        for b in range(window * window):
            (a_row, a_column), (b_row, b_column) = divmod(a, window), divmod(b, window)
            index[a, b] = (a_row - b_row + window - 1) * (2 * window - 1) + a_column - b_column + window - 1
    return index


def attn_mask(grid: tuple[int, int], window: int, shift: int) -> Array:
    """-100 between tokens of one window that the shift brought together from different regions of the grid."""
    region, number = np.zeros((1, *grid, 1), np.int64), 0
    parts = slice(0, -window), slice(-window, -shift), slice(-shift, None)
    for rows in parts:
        for columns in parts:
            region[:, rows, columns] = number
            number += 1
    windows = window_partition(region, window)[:, :, 0]
    pairs = [[[-100.0 if a != b else 0.0 for b in tokens] for a in tokens] for tokens in windows.tolist()]
    return np.array(pairs, np.float32)
