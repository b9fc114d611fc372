"""A whole ViT from its state dict, module by module as zkkli/I-ViT writes it, on exact integers: the profile ``qat``.

Written from models/vit_quant.py, layers_quant.py and quantization_utils of the release, with one change: where the release
holds ``x`` in float32 and goes back to ``x / scale`` unrounded, the integers themselves travel, as pairs ``(q, scale)`` of
Python ints and float32. It knows nothing of ``ivit_ref``.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Quantized: TypeAlias = tuple[Array, Array]
"""Integers, and the float32 value of one step: one for the tensor or one for each index of the last axis."""

Row: TypeAlias = list[int]


class VisionTransformer:
    """``VisionTransformer`` of the release in evaluation mode; calling it gives ``(integers, scale)`` of the head.

    ``tensors`` holds what each module gave in the last call, by the module's name.
    """

    def __init__(self, state: Mapping[str, Array], heads: int) -> None:
        self.state = state
        self.heads = heads
        self.tensors: dict[str, Quantized] = {}
        self.depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))

    def __call__(self, images: Array) -> Quantized:
        x = self.patch_embed(self.quantize_input(images, "qact_input", 8))
        x = self.with_cls_token(x)
        position = self.quantize_input(self.state["pos_embed"], "qact_pos", 16)
        x = self.act("qact1", x, 16, position)
        for i in range(self.depth):
            x = self.block(f"blocks.{i}", x)
        q, scale = self.norm("norm", x)
        return self.linear("head", self.act("qact2", (q[:, 0], scale), 8))

    def module(self, name: str, q: Array, scale: Array) -> Quantized:
        """What a module gives, kept under its name."""
        self.tensors[name] = q, scale
        return q, scale

    def patch_embed(self, x: Quantized) -> Quantized:
        """The convolution with a stride of its kernel: a linear layer on the pixels of each patch."""
        q, scale = x
        weight = self.integers("patch_embed.proj.weight_integer")
        dim, channels, height, width = weight.shape
        down, across = q.shape[2] // height, q.shape[3] // width
        pixels = q[:, :, : down * height, : across * width].reshape(len(q), channels, down, height, across, width)
        pixels = pixels.transpose(0, 2, 4, 1, 3, 5).reshape(len(q), down * across, channels * height * width)
        y = product(pixels, weight.reshape(dim, -1).T) + self.integers("patch_embed.proj.bias_integer")
        return self.act("patch_embed.qact", (y, self.scale("patch_embed.proj.conv_scaling_factor") * scale), 16)

    def with_cls_token(self, x: Quantized) -> Quantized:
        """The token joins as a float; what comes next in the release divides by the scale and rounds."""
        q, scale = x
        token = exact(np.round(np.float32(self.state["cls_token"]) / scale))
        return np.concatenate([np.repeat(token, len(q), axis=0), q], axis=1), scale

    def block(self, name: str, x_1: Quantized) -> Quantized:
        x = self.act(f"{name}.qact1", self.norm(f"{name}.norm1", x_1), 8)
        x_2 = self.act(f"{name}.qact2", self.attention(f"{name}.attn", x), 16, x_1)
        x = self.act(f"{name}.qact3", self.norm(f"{name}.norm2", x_2), 8)
        return self.act(f"{name}.qact4", self.mlp(f"{name}.mlp", x), 16, x_2)

    def attention(self, name: str, x: Quantized) -> Quantized:
        images, tokens, dim = x[0].shape
        qkv, scale = self.act(f"{name}.qact1", self.linear(f"{name}.qkv", x), 8)
        q, k, v = qkv.reshape(images, tokens, 3, self.heads, dim // self.heads).transpose(2, 0, 3, 1, 4)
        folded = scale * scale * np.float32((dim // self.heads) ** -0.5)
        attn = self.module(f"{name}.matmul_1", product(q, np.swapaxes(k, -2, -1)), folded)
        attn = self.module(f"{name}.int_softmax", *int_softmax(self.act(f"{name}.qact_attn1", attn, 8), output_bit=16))
        y, scale = self.module(f"{name}.matmul_2", product(attn[0], v), attn[1] * scale)
        y = y.transpose(0, 2, 1, 3).reshape(images, tokens, dim)
        x = self.act(f"{name}.qact2", (y, scale), 8)
        return self.act(f"{name}.qact3", self.linear(f"{name}.proj", x), 16)

    def mlp(self, name: str, x: Quantized) -> Quantized:
        x = self.act(f"{name}.qact_gelu", self.linear(f"{name}.fc1", x), 8)
        x = self.act(f"{name}.qact1", self.module(f"{name}.act", *int_gelu(x, output_bit=8)), 8)
        return self.act(f"{name}.qact2", self.linear(f"{name}.fc2", x), 16)

    def norm(self, name: str, x: Quantized) -> Quantized:
        bias = self.integers(f"{name}.bias_integer").tolist()
        y = by_rows(lambda row: int_layer_norm(row, bias), x[0])
        return self.module(name, y, self.scale(f"{name}.norm_scaling_factor"))

    def linear(self, name: str, x: Quantized) -> Quantized:
        y = product(x[0], self.integers(f"{name}.weight_integer").T)
        if f"{name}.bias_integer" in self.state:
            y = y + self.integers(f"{name}.bias_integer")
        return self.module(name, y, self.scale(f"{name}.fc_scaling_factor") * x[1])

    def act(self, name: str, x: Quantized, bits: int, identity: Quantized | None = None) -> Quantized:
        """``QuantAct`` behind another module: ``fixedpoint_mul``, with a branch to add or without."""
        scale = self.scale(f"{name}.act_scaling_factor")
        total = requantized(x, scale)
        if identity is not None:
            total = total + requantized(identity, scale)
        return self.module(name, clamped(total, bits), scale)

    def quantize_input(self, x: Array, name: str, bits: int) -> Quantized:
        """``QuantAct`` on real numbers: ``linear_quantize``, which multiplies by the reciprocal."""
        scale = self.scale(f"{name}.act_scaling_factor")
        return self.module(name, clamped(exact(np.round(np.float32(1.0) / scale * np.float32(x))), bits), scale)

    def integers(self, key: str) -> Array:
        return exact(self.state[key])

    def scale(self, key: str) -> Array:
        return np.float32(self.state[key]).reshape(-1)


def exact(x: Array) -> Array:
    """Floats that are integers, as Python ints."""
    return np.array([int(value) for value in x.flat], object).reshape(x.shape)


def product(a: Array, b: Array) -> Array:
    """``a @ b``; its sums are far within int64."""
    return np.matmul(a.astype(np.int64), b.astype(np.int64)).astype(object)


def clamped(q: Array, bits: int) -> Array:
    n = 2 ** (bits - 1) - 1
    return np.minimum(np.maximum(q, -n - 1), n)


def requantized(x: Quantized, scale: Array) -> Array:
    """One branch of ``fixedpoint_mul`` before the clamp."""
    q, before = x
    ratios = before.astype(np.float64) / scale.astype(np.float64)
    numbers = [batch_frexp(float(ratio)) for ratio in ratios]
    multipliers = np.array([m for m, _ in numbers], object)
    divisors = np.array([2**e for _, e in numbers], object)
    return half_even(q * multipliers, divisors)


def batch_frexp(ratio: float) -> tuple[int, int]:
    mantissa, exponent = math.frexp(ratio)
    m = Decimal(mantissa * 2**31).quantize(Decimal("1"), rounding=decimal.ROUND_HALF_UP)
    return int(m), 31 - exponent


def _half_even(x: int, d: int) -> int:
    q, rest = divmod(x, d)
    return q + 1 if 2 * rest > d or (2 * rest == d and q % 2 == 1) else q


half_even = np.frompyfunc(_half_even, 2, 1)


def by_rows(function: Callable[[Row], Row], q: Array) -> Array:
    """The function on each row of the last axis."""
    rows = [function(row) for row in q.reshape(-1, q.shape[-1]).tolist()]
    return np.array(rows, object).reshape(q.shape)


def int_layer_norm(x: Row, bias: Row) -> Row:
    mean = round(Fraction(sum(x), len(x)))
    y = [value - mean for value in x]
    variance = sum(value * value for value in y)
    k = 2**16
    for _ in range(10):
        k = (k + variance // k) // 2
    factor = (2**31 - 1) // k
    return [value * factor // 2 + b for value, b in zip(y, bias, strict=True)]


def int_exp_shift(x: int, x0: int, n: int) -> int:
    """``x0``, the negative unit, is ``floor(-1 / S)``."""
    x = max(x + x // 2 - x // 16, n * x0)
    q = x // x0
    r = x - x0 * q
    return max(math.floor((Fraction(r, 2) - x0) * 2 ** (n - q)), 0)


def int_softmax(x: Quantized, output_bit: int) -> Quantized:
    x0 = math.floor(np.float32(-1.0) / x[1][0])

    def softmax(row: Row) -> Row:
        top = max(row)
        exponentials = [int_exp_shift(value - top, x0, 15) for value in row]
        factor = (2**31 - 1) // min(sum(exponentials), 2**31 - 1)
        return [e * factor // 2 ** (31 - output_bit + 1) for e in exponentials]

    return by_rows(softmax, x[0]), np.array([1 / 2 ** (output_bit - 1)], np.float32)


def int_gelu(x: Quantized, output_bit: int) -> Quantized:
    x0 = math.floor(np.float32(-1.0) / (x[1][0] * np.float32(1.702)))

    def gelu(row: Row) -> Row:
        top = max(row)
        e_top = int_exp_shift(-top, x0, 23)
        return [value * sigmoid(int_exp_shift(value - top, x0, 23), e_top) for value in row]

    def sigmoid(e: int, e_top: int) -> int:
        factor = (2**31 - 1) // min(e + e_top, 2**31 - 1)
        return e * factor // 2 ** (31 - output_bit + 1)

    return by_rows(gelu, x[0]), x[1] * np.array([1 / 2 ** (output_bit - 1)], np.float32)
