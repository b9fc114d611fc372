"""Graph builders: from the state dict of a model to its integer graph."""

from ivit_ref.models.config import DEIT_TINY, ViTConfig
from ivit_ref.models.random_vit import random_vit_state
from ivit_ref.models.vit import random_vit, vit_config, vit_graph

__all__ = ["DEIT_TINY", "ViTConfig", "random_vit", "random_vit_state", "vit_config", "vit_graph"]
