"""Graph builders: from the state dict of a model to its integer graph."""

from ivit_ref.models.config import MODELS, Config, SwinConfig, ViTConfig, model_named
from ivit_ref.models.graph import model_graph, random_model
from ivit_ref.models.random_state import random_state
from ivit_ref.models.recognise import recognise

__all__ = [
    "MODELS",
    "Config",
    "SwinConfig",
    "ViTConfig",
    "model_graph",
    "model_named",
    "random_model",
    "random_state",
    "recognise",
]
