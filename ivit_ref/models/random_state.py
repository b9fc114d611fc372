"""State dicts with random weights, for benchmarks and for bringing up a backend.

Weights have a standard deviation of one over the square root of the fan-in, so that what flows through a layer keeps its
spread, and every scale covers what passes there with room: in ``qat`` and ``paper`` no stream saturates and no row of attention
is all zeros. (Under ``tvm`` some LayerNorms wrap, as they do in real models.)
Each array is made when it is asked for, from the seed and its own name.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from ivit_ref.arrays import LazyArrays
from ivit_ref.checkpoints.state import State
from ivit_ref.ir import Array
from ivit_ref.models.config import Config, Stage, SwinConfig
from ivit_ref.models.sites import Act, Gelu, Layer, Norm, Role, Site, Softmax, sites
from ivit_ref.models.swin import mask_of, regions_apart, relative_position

SPREAD = 24.0
"""Standard deviation of the int8 weights, which reach five times as far."""

COVERED: Mapping[Role, float] = {
    "image": 5.5,
    "patches": 6.0,
    "stream": 48.0,
    "norm": 6.0,
    "linear": 7.0,
    "scores": 8.0,
    "mixed": 5.5,
    "bias": 2.5,
    "gelu": 7.0,
}
"""What a scale covers, in real units: a linear layer's result has a standard deviation of about one."""

PATCHES = 0.5
"""Standard deviation of what an image of standard normal pixels adds to the bias of the patches, which is 1 or -1: so much that
the square root of an 8-bit LayerNorm converges for a black patch, and so little that a bright one does not saturate."""

Maker = Callable[[np.random.Generator], Array]


def random_state(config: Config, seed: int = 0) -> State:
    """What the integer graph reads, under the release's names."""
    covers = {site.name: COVERED[site.role] / (2 ** (site.bits - 1) - 1) for site in sites(config) if isinstance(site, Act)}
    makers: dict[str, Maker] = {}
    for site in sites(config):
        makers |= _makers(site, covers)
    if isinstance(config, SwinConfig):
        makers |= _derived(config)

    def made(key: str) -> Array:
        return makers[key](np.random.default_rng([seed, zlib.crc32(key.encode())]))

    return State(LazyArrays(makers, made), f"random weights, seed {seed}")


def _makers(site: Site, steps: Mapping[str, float]) -> dict[str, Maker]:
    if isinstance(site, Act):
        return {site.scale: partial(_full, (), steps[site.name])}
    if isinstance(site, Layer):
        return _layer(site, steps[site.source])
    if isinstance(site, Norm):
        gain = np.sqrt(np.float32(site.dim)) / 2**30
        return {
            f"{site.name}.norm_scaling_factor": partial(_full, (site.dim,), gain),
            f"{site.name}.bias_integer": partial(_full, (site.dim,), 0.0),
        }
    if isinstance(site, Softmax):
        return {f"{site.name}.act_scaling_factor": partial(_full, (), 2.0 ** (1 - site.bits))}
    if isinstance(site, Gelu):
        return {f"{site.name}.act_scaling_factor": partial(_full, (), steps[site.source] / 128)}
    return {site.name: partial(_normal, site.shape, 0.5)}


def _derived(config: SwinConfig) -> dict[str, Maker]:
    """The buffers of a Swin that follow from its sizes."""
    makers: dict[str, Maker] = {}
    for i, stage in enumerate(config.stages):
        for j in range(stage.depth):
            name, shift = f"layers.{i}.blocks.{j}", stage.shift(j)
            makers[f"{name}.attn.relative_position_index"] = partial(_position, stage)
            if shift:
                makers[f"{name}.attn_mask"] = partial(_mask, stage, shift)
    return makers


def _position(stage: Stage, rng: np.random.Generator) -> Array:
    return relative_position(stage.window)


def _mask(stage: Stage, shift: int, rng: np.random.Generator) -> Array:
    return mask_of(regions_apart(stage, shift))


def _layer(site: Layer, step: float) -> dict[str, Maker]:
    fan_in = int(np.prod(site.shape[1:]))
    patches = len(site.shape) == 4
    scale = (PATCHES if patches else 1.0) / (SPREAD * np.sqrt(fan_in))
    makers: dict[str, Maker] = {
        site.scales: partial(_full, site.shape[:1], scale),
        f"{site.name}.weight_integer": partial(_weights, site.shape),
    }
    if patches:
        makers[f"{site.name}.bias_integer"] = partial(_signs, site.shape[:1], 1 / (scale * step))
    elif site.bias:
        makers[f"{site.name}.bias_integer"] = partial(_integers, site.shape[:1], 0.1 / (scale * step))
    return makers


def _full(shape: tuple[int, ...], value: float, rng: np.random.Generator) -> Array:
    return np.full(shape, value, np.float32)


def _normal(shape: tuple[int, ...], spread: float, rng: np.random.Generator) -> Array:
    normal: Array = rng.standard_normal(shape, np.float32) * np.float32(spread)
    return normal


def _signs(shape: tuple[int, ...], size: float, rng: np.random.Generator) -> Array:
    signs: Array = rng.choice(np.rint(np.array([-size, size], np.float32)), shape)
    return signs


def _integers(shape: tuple[int, ...], spread: float, rng: np.random.Generator) -> Array:
    integers: Array = np.rint(_normal(shape, spread, rng))
    return integers


def _weights(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    weights: Array = np.clip(_integers(shape, SPREAD, rng), -127, 127)
    return weights
