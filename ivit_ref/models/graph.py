"""The integer graph of a state dict, whatever its architecture."""

from __future__ import annotations

from ivit_ref.checkpoints.state import State
from ivit_ref.ir import Graph
from ivit_ref.models.config import Config, ViTConfig
from ivit_ref.models.random_state import random_state
from ivit_ref.models.swin import swin_graph
from ivit_ref.models.vit import vit_graph
from ivit_ref.profiles import Profile


def model_graph(state: State, config: Config, profile: str | Profile = "qat", *, name: str = "model") -> Graph:
    """``image`` float32[N,C,H,W] to ``logits_int`` int32[N,classes] and ``logits`` float32.

    CheckpointError says which key is missing or cannot be deployed.
    """
    if isinstance(config, ViTConfig):
        return vit_graph(state, config, profile, name=name)
    return swin_graph(state, config, profile, name=name)


def random_model(config: Config, profile: str | Profile = "qat", *, seed: int = 0) -> Graph:
    """The integer graph of a model with random weights, for benchmarks and for bringing up a backend."""
    return model_graph(random_state(config, seed), config, profile, name=f"random_{seed}")
