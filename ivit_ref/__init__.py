"""The integer-only reference interpreter for I-ViT (arXiv 2207.01405)."""

from ivit_ref import ops, profiles

__version__ = "0.1.0"
__all__ = ["__version__", "ops", "profiles"]
