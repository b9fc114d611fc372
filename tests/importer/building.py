"""Models written node by node, and what the importer says of them: for the tests of foreign domains, refusals and coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import ivit_ref
from ivit_ref.errors import IvitError
from ivit_ref.importer import Choices, import_model
from ivit_ref.ir import Graph
from ivit_ref.onnx_types import ONNX_DTYPES

Array = npt.NDArray[Any]

CUSTOM = ("ivit", "qonnx.custom_op.general", "com.microsoft")


class Writer:
    """Collects inputs, constants and nodes; every method gives the name of what it made."""

    def __init__(self, opset: int = 20) -> None:
        self.opset = opset
        self.inputs: list[Any] = []
        self.constants: list[TensorProto] = []
        self.nodes: list[Any] = []
        self.known: set[str] = set()

    def input(self, name: str, shape: tuple[int | str, ...], dtype: str = "float32") -> str:
        self.inputs.append(helper.make_tensor_value_info(name, ONNX_DTYPES[dtype], shape))
        return name

    def constant(self, value: npt.ArrayLike, dtype: str = "float32", name: str = "") -> str:
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op: str, *inputs: str, name: str = "", out: str | tuple[str, ...] = "", **attributes: Any) -> str:
        """A node; ``ivit::Shiftmax`` is one of domain ``ivit``."""
        domain, _, type_ = op.rpartition("::")
        label = name or f"{type_}{len(self.nodes)}"
        outputs = (out,) if isinstance(out, str) else out
        outputs = tuple(o or f"{label}.y" for o in outputs)
        self.nodes.append(helper.make_node(type_, inputs, outputs, name=label, domain=domain, **attributes))
        return outputs[0]

    def quantize(self, x: str, scale: npt.ArrayLike, zero: int = 0, dtype: str = "int8", **more: Any) -> str:
        return self.node("QuantizeLinear", x, self.constant(scale), self.constant(zero, dtype), **more)

    def dequantize(self, x: str, scale: npt.ArrayLike, zero: int = 0, dtype: str = "int8", **more: Any) -> str:
        return self.node("DequantizeLinear", x, self.constant(scale), self.constant(zero, dtype), **more)

    def qdq(self, x: str, scale: float, zero: int = 0, dtype: str = "int8") -> str:
        return self.dequantize(self.quantize(x, scale, zero, dtype), scale, zero, dtype)

    def image(self, shape: tuple[int | str, ...] = (2, 4), scale: float = 0.125, zero: int = 0, dtype: str = "int8") -> str:
        """A float input ``x``, quantized."""
        return self.qdq(self.input("x", shape), scale, zero, dtype)

    def weights(self, integers: npt.ArrayLike, scale: npt.ArrayLike = 0.5, axis: int = 1) -> str:
        scales = np.asarray(scale, np.float32)
        zeros = self.constant(np.zeros(scales.shape), "int8")
        return self.node("DequantizeLinear", self.constant(integers, "int8"), self.constant(scales), zeros, axis=axis)

    def model(self, *outputs: str) -> ModelProto:
        """The model; its outputs have no declared type, as those of some exporters."""
        infos = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(self.nodes, "written", self.inputs, infos, self.constants)
        domains = {node.domain for node in self.nodes} & set(CUSTOM)
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, 1) for d in sorted(domains))]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def imported(model: ModelProto, choices: Choices | None = None, **dims: int) -> Graph:
    graph = import_model(model, dims, choices).graph
    assert graph is not None
    return graph


def run(model: ModelProto, inputs: dict[str, Array], choices: Choices | None = None, **more: Any) -> Array:
    """The only output of the imported model."""
    (y,) = ivit_ref.run(imported(model, choices), inputs, **more).values()
    return y


def refusal(model: ModelProto, **dims: int) -> str:
    """The message of the refusal: one line, printable."""
    with pytest.raises(IvitError) as caught:
        import_model(model, dims)
    message = str(caught.value)
    assert message.isprintable()
    return message


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def integers_of(rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "int8") -> Array:
    """Integers over the whole range, extremes included."""
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
