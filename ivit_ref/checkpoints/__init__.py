"""I-ViT state dicts: reading them, and handing out their values checked."""

from ivit_ref.checkpoints.state import State, read_state

__all__ = ["State", "read_state"]
