"""I-ViT state dicts: reading them, and handing out their values checked."""

from ivit_ref.checkpoints.reading import read_state
from ivit_ref.checkpoints.state import State

__all__ = ["State", "read_state"]
