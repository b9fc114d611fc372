"""The integer-only reference interpreter for I-ViT (arXiv 2207.01405).

>>> graph = ivit_ref.load("graphs/digits_vit.onnx")
>>> ivit_ref.run(graph, {"image": images})["logits_int"]
"""

from ivit_ref import methods, ops, profiles
from ivit_ref.build import GraphBuilder
from ivit_ref.errors import IvitError
from ivit_ref.events import Event, EventLog, Listener
from ivit_ref.importer import Choices
from ivit_ref.interpreter import Interpreter, run
from ivit_ref.ir import Constant, Graph, Node, Quant, TensorType, Value
from ivit_ref.onnx_io import load, save
from ivit_ref.verify import verify

__version__ = "0.1.0"

__all__ = [
    "Choices",
    "Constant",
    "Event",
    "EventLog",
    "Graph",
    "GraphBuilder",
    "Interpreter",
    "IvitError",
    "Listener",
    "Node",
    "Quant",
    "TensorType",
    "Value",
    "__version__",
    "load",
    "methods",
    "ops",
    "profiles",
    "run",
    "save",
    "verify",
]
