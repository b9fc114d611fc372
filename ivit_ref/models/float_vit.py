"""The float ViT of the same shape, with random weights: what an integer run is timed against."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ivit_ref.models.config import ViTConfig

OPSET = 20
"""The first with Gelu; LayerNormalization is there since 17."""


def float_vit(config: ViTConfig, seed: int = 0) -> ModelProto:
    """``image`` float32[1,C,H,W] to ``logits`` float32[1,classes], as an exporter would write it."""
    return _FloatBuilder(config, seed).build()


class _FloatBuilder:
    def __init__(self, config: ViTConfig, seed: int) -> None:
        self.config = config
        self.rng = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def build(self) -> ModelProto:
        c = self.config
        x = self._embedding("image")
        for _ in range(c.depth):
            x = self._op("Add", x, self._attention(self._norm(x)))
            x = self._op("Add", x, self._mlp(self._norm(x)))
        x = self._op("Gather", self._norm(x), self._integers(0), axis=1)
        self._linear(x, c.dim, c.classes, "logits")
        graph = helper.make_graph(
            self.nodes,
            "float_vit",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, c.channels, *c.image])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, c.classes])],
            initializer=self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)

    def _embedding(self, image: str) -> str:
        c = self.config
        kernel = self._random((c.dim, c.channels, *c.patch), c.channels * c.patch[0] * c.patch[1])
        x = self._op("Conv", image, kernel, self._random((c.dim,), 100), strides=list(c.patch))
        x = self._op("Reshape", x, self._integers([0, 0, -1]))
        x = self._op("Transpose", x, perm=[0, 2, 1])
        x = self._op("Concat", self._random((1, 1, c.dim), 1), x, axis=1)
        return self._op("Add", x, self._random((1, c.tokens, c.dim), 1))

    def _attention(self, x: str) -> str:
        c = self.config
        qkv = self._op("Reshape", self._linear(x, c.dim, 3 * c.dim), self._integers([0, 0, 3, c.heads, -1]))
        qkv = self._op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
        q, k, v = (self._op("Gather", qkv, self._integers(i), axis=0) for i in range(3))
        scale = self._constant(np.float32((c.dim // c.heads) ** -0.5))
        x = self._op("MatMul", self._op("Mul", q, scale), self._op("Transpose", k, perm=[0, 1, 3, 2]))
        x = self._op("MatMul", self._op("Softmax", x, axis=-1), v)
        x = self._op("Reshape", self._op("Transpose", x, perm=[0, 2, 1, 3]), self._integers([0, 0, c.dim]))
        return self._linear(x, c.dim, c.dim)

    def _mlp(self, x: str) -> str:
        hidden = self._op("Gelu", self._linear(x, self.config.dim, self.config.hidden))
        return self._linear(hidden, self.config.hidden, self.config.dim)

    def _norm(self, x: str) -> str:
        dim = self.config.dim
        return self._op("LayerNormalization", x, self._constant(np.ones(dim, np.float32)), self._random((dim,), 100))

    def _linear(self, x: str, inputs: int, outputs: int, output: str = "") -> str:
        product = self._op("MatMul", x, self._random((inputs, outputs), inputs))
        return self._op("Add", product, self._random((outputs,), 100), output=output)

    def _op(self, op_type: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        name = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        return name

    def _random(self, shape: tuple[int, ...], fan_in: int) -> str:
        return self._constant(self.rng.standard_normal(shape, np.float32) * np.float32(fan_in**-0.5))

    def _integers(self, values: int | list[int]) -> str:
        return self._constant(np.asarray(values, np.int64))

    def _constant(self, array: npt.ArrayLike) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name
