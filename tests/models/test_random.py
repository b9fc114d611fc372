"""Random weights stay in realistic ranges, which the events of a run show; the same seed gives the same arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ivit_ref import EventLog, Interpreter
from ivit_ref.models import MODELS, SwinConfig, ViTConfig, random_model, random_state
from ivit_ref.models.config import Config

Array = npt.NDArray[Any]

SMALL: dict[str, Config] = {
    "vit": ViTConfig((32, 48), (8, 8), channels=3, dim=48, depth=3, heads=3, hidden=192, classes=10),
    "swin": SwinConfig((32, 32), (2, 2), 3, dim=32, depths=(2, 2), heads=(1, 2), window=4, hidden=128, classes=10),
}
PUBLISHED = {name: MODELS[name] for name in ("deit_tiny_patch16_224", "swin_tiny_patch4_window7_224")}


def tensors_and_events(config: Config, profile: str, seed: int) -> tuple[dict[str, Array], dict[str, set[str]]]:
    """Every tensor for a random image, and the nodes that had an event of each kind."""
    log = EventLog()
    graph = random_model(config, profile, seed=seed)
    image = np.random.default_rng(100 + seed).standard_normal((1, config.channels, *config.image), np.float32)
    tensors = Interpreter(graph, listeners=[log]).run({"image": image}, intermediates=True)
    rows = {node.name: tensors[node.output.name] for node in graph.nodes}
    return rows, {kind: {e.node for e in log.events if e.kind == kind} for kind in {e.kind for e in log.events}}


@pytest.mark.parametrize("profile", ["qat", "paper"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_nothing_saturates_and_attention_is_alive(name: str, profile: str) -> None:
    tensors, events = tensors_and_events(PUBLISHED[name], profile, seed=0)
    assert not {"saturated", "wrapped", "not_converged"} & set(events)
    softmax = {node: y for node, y in tensors.items() if node.endswith("softmax")}
    assert len(softmax) == 12
    for node, y in softmax.items():
        assert (y.max(axis=-1) > 0).all(), node
    # What a mask excludes is at the clamp; nothing else is.
    assert all(".blocks." in node and node.endswith("log_int_softmax") for node in events.get("clamped", ()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_stream_uses_its_range(name: str) -> None:
    """No tensor is nearly silent, and none nearly full."""
    tensors, _ = tensors_and_events(PUBLISHED[name], "qat", seed=1)
    streams = {node: y for node, y in tensors.items() if y.dtype in (np.int8, np.int16) and "softmax" not in node}
    assert len(streams) > 100
    for node, y in streams.items():
        largest, limit = int(np.abs(y.astype(int)).max()), np.iinfo(y.dtype).max
        assert limit // 32 < largest < limit, node


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("seed", range(5))
def test_small_models_stay_in_range_too(name: str, seed: int) -> None:
    _, events = tensors_and_events(SMALL[name], "qat", seed)
    assert not {"saturated", "wrapped"} & set(events)


@pytest.mark.parametrize("name", SMALL)
def test_a_seed_gives_the_same_arrays_and_another_seed_others(name: str) -> None:
    first, again, other = (random_state(SMALL[name], seed).arrays for seed in (3, 3, 4))
    assert list(first) == list(again) == list(other)
    for key in first:
        np.testing.assert_array_equal(first[key], again[key], strict=True)
    weights = [key for key in first if key.endswith("weight_integer")]
    assert all((first[key] != other[key]).any() for key in weights)
    assert len({first[key].tobytes() for key in weights}) == len(weights)
