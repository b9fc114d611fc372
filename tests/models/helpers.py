"""What the tests of the architectures share: awkward checkpoints, the images for them, and comparisons."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ivit_ref.interpreter import Engine, Interpreter
from ivit_ref.ir import Graph
from ivit_ref.models import Config, random_state
from tests.onnx.runtimes import assert_same

Array = npt.NDArray[Any]


def tensors_of(graph: Graph, images: Array, engine: Engine) -> dict[str, Array]:
    return Interpreter(graph, overflow="wrap", engine=engine).run({"image": images}, intermediates=True)


def assert_engines_agree(graph: Graph, images: Array) -> None:
    spec, fast = (tensors_of(graph, images, engine) for engine in ("spec", "fast"))
    assert set(spec) == set(fast) == {node.output.name for node in graph.nodes}
    for name in spec:
        assert_same(fast[name], spec[name])


def correct(logits: Array, labels: Array) -> float:
    """Top-1, in percent."""
    return 100 * float(np.mean(logits.argmax(axis=1) == labels))


def edited(config: Config, seed: int) -> dict[str, Array]:
    """A random state dict, made awkward: gains of either sign, large biases, scales that saturate, embeddings at ties."""
    rng = np.random.default_rng(seed)
    arrays = dict(random_state(config, seed).arrays)
    logits = "attn.qact2" if any("relative_position" in key for key in arrays) else "attn.qact_attn1"
    for key, array in arrays.items():
        if key.endswith("norm_scaling_factor"):
            gain = rng.choice([-1, 1], array.shape) * rng.uniform(0.5, 2, array.shape)
            arrays[key] = np.float32(array * gain)
            bias = key.replace("norm_scaling_factor", "bias_integer")
            arrays[bias] = np.float32(rng.integers(-(2**29), 2**29, array.shape) >> rng.integers(0, 29, array.shape))
        # Where the reciprocal of a step is next to an integer, i0 shows in which precision it was formed.
        elif key.endswith(f"{logits}.act_scaling_factor"):
            arrays[key] = np.float32(1 / rng.integers(5, 60))
        elif key.endswith("mlp.qact_gelu.act_scaling_factor"):
            arrays[key] = np.float32(1 / (1.702 * rng.integers(5, 60)))
        elif key.endswith("act_scaling_factor"):
            arrays[key] = np.float32(array * 2 ** rng.uniform(-2, 1))
    steps = {"cls_token": "patch_embed.qact", "pos_embed": "qact_pos", "absolute_pos_embed": "qact_pos"}
    for key in arrays:
        if key in steps:
            arrays[key] = ties(rng, arrays[key].shape, arrays[f"{steps[key]}.act_scaling_factor"], 2000)
        elif key.endswith("relative_position_bias_table"):
            step = arrays[key.replace("relative_position_bias_table", "qact_table.act_scaling_factor")]
            arrays[key] = ties(rng, arrays[key].shape, step, 140)
    return arrays


def ties(rng: np.random.Generator, shape: tuple[int, ...], scale: Array, largest: int) -> Array:
    """Halves of a step as far as float32 tells: a quotient and a product with the reciprocal round apart there."""
    return np.float32((rng.integers(-largest, largest, shape) + 0.5) * np.float64(scale))


def images_of(config: Config, scale: Array, seed: int, count: int = 3) -> Array:
    return ties(np.random.default_rng(seed), (count, config.channels, *config.image), scale, 140)


def without_qkv_bias(arrays: dict[str, Array]) -> dict[str, Array]:
    return {key: array for key, array in arrays.items() if not key.endswith("qkv.bias_integer")}
