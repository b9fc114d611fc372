"""Graphs as ONNX models: domain ``ai.ivit``, version 1, every operator with a function body of standard operators."""

from ivit_ref.onnx_io.load import from_model, load
from ivit_ref.onnx_io.save import save, to_model

__all__ = ["from_model", "load", "save", "to_model"]
