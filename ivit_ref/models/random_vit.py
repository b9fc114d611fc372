"""State dicts with random weights, for benchmarks and for bringing up a backend.

Weights have a standard deviation of one over the square root of the fan-in, so that what flows through a layer keeps its
spread, and every scale covers about four standard deviations of what passes there.
"""

from __future__ import annotations

import numpy as np

from ivit_ref.checkpoints.state import State
from ivit_ref.ir import Array
from ivit_ref.models.config import ViTConfig

SPREAD = 40.0
"""Standard deviation of the int8 weights."""

RANGES_8 = {"qact1": 4.0, "attn.qact1": 4.0, "attn.qact_attn1": 5.0, "attn.qact2": 1.0, "qact3": 4.0, "mlp.qact_gelu": 5.0}
RANGES_16 = {"attn.qact3": 2.0, "mlp.qact2": 4.0, "qact2": 16.0, "qact4": 16.0}
"""What each 8-bit and 16-bit site of a block covers, in real units."""


def random_vit_state(config: ViTConfig, seed: int = 0) -> State:
    """A state dict of the release's names and shapes."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Array] = {
        "cls_token": rng.normal(0, 0.5, (1, 1, config.dim)),
        "pos_embed": rng.normal(0, 0.5, (1, config.tokens, config.dim)),
        "qact_input.act_scaling_factor": _step(2.7, 8),
        "patch_embed.qact.act_scaling_factor": _step(6.0, 16),
        "qact_pos.act_scaling_factor": _step(3.0, 16),
        "qact1.act_scaling_factor": _step(8.0, 16),
        "qact2.act_scaling_factor": _step(4.0, 8),
    }
    shape = (config.dim, config.channels, *config.patch)
    arrays |= _layer(rng, "patch_embed.proj", "conv_scaling_factor", shape, 2.7 / 127)
    for i in range(config.depth):
        arrays |= _block(rng, f"blocks.{i}", config)
    arrays |= _norm("norm", config.dim)
    arrays |= _layer(rng, "head", "fc_scaling_factor", (config.classes, config.dim), 4.0 / 127)
    return State({k: np.asarray(v, np.float32) for k, v in arrays.items()}, f"random weights, seed {seed}")


def _block(rng: np.random.Generator, name: str, config: ViTConfig) -> dict[str, Array]:
    dim, hidden = config.dim, config.hidden
    arrays = {f"{name}.{site}.act_scaling_factor": _step(r, 8) for site, r in RANGES_8.items()}
    arrays |= {f"{name}.{site}.act_scaling_factor": _step(r, 16) for site, r in RANGES_16.items()}
    arrays[f"{name}.mlp.qact1.act_scaling_factor"] = _step(5.0, 8)
    layers = {"attn.qkv": (3 * dim, dim, 4.0), "attn.proj": (dim, dim, 1.0), "mlp.fc1": (hidden, dim, 4.0)}
    layers["mlp.fc2"] = (dim, hidden, 5.0)
    for layer, (outputs, inputs, covered) in layers.items():
        arrays |= _layer(rng, f"{name}.{layer}", "fc_scaling_factor", (outputs, inputs), covered / 127)
    return arrays | _norm(f"{name}.norm1", dim) | _norm(f"{name}.norm2", dim)


def _layer(rng: np.random.Generator, name: str, scaling_factor: str, shape: tuple[int, ...], step: float) -> dict[str, Array]:
    fan_in = int(np.prod(shape[1:]))
    scale = np.full(shape[0], 1 / (SPREAD * np.sqrt(fan_in)))
    return {
        f"{name}.weight_integer": np.clip(np.rint(rng.normal(0, SPREAD, shape)), -127, 127),
        f"{name}.bias_integer": np.rint(rng.normal(0, 0.1, shape[0]) / (scale * step)),
        f"{name}.{scaling_factor}": scale,
    }


def _norm(name: str, dim: int) -> dict[str, Array]:
    gain = np.sqrt(np.float32(dim)) / 2**30
    return {f"{name}.norm_scaling_factor": np.full(dim, gain), f"{name}.bias_integer": np.zeros(dim)}


def _step(covered: float, bits: int) -> Array:
    return np.array(covered / (2 ** (bits - 1) - 1), np.float32)
