"""Graphs as ONNX models: domain ``ai.ivit``, version 1, every operator with a function body of standard operators."""

from ivit_ref.onnx_io.load import examine, from_model, graph_of, is_native, load, read
from ivit_ref.onnx_io.save import save, to_model

__all__ = ["examine", "from_model", "graph_of", "is_native", "load", "read", "save", "to_model"]
