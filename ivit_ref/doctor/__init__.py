"""The doctor: whether an I-ViT checkpoint can be deployed, and what is wrong with it."""

from ivit_ref.doctor.examine import examine
from ivit_ref.doctor.finding import Finding, Place

__all__ = ["Finding", "Place", "examine"]
