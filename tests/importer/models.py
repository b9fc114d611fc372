"""Models in onnx's own text form, and their integer graphs run in every way there is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import ModelProto, numpy_helper, parser

import ivit_ref
from ivit_ref.importer import Choices, Report, import_model
from ivit_ref.ir import Graph
from ivit_ref.onnx_io import to_model
from tests.importer.onnx_text import BOUNDS, Exact, assert_quantized, dequantized
from tests.onnx.runtimes import assert_same

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Numbers = Mapping[str, npt.ArrayLike]
Dims = Mapping[str, int]
NONE: Dims = MappingProxyType({})


def model(signature: str, body: str, constants: Numbers, opset: int = 21) -> ModelProto:
    """A model: ``(int8[2,3] x) => (int8 y)``, its nodes as text, its constants as arrays (Python floats are float32)."""
    imports = f'<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1]>'
    proto = parser.parse_model(f"{imports} g {signature} {{ {body} }}")
    for name, value in constants.items():
        array = np.asarray(value)
        if not isinstance(value, np.ndarray | np.generic):
            array = array.astype({"f": "float32", "i": "int64"}[array.dtype.kind])
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return proto


@dataclass(frozen=True)
class Quantization:
    """A scale, a zero point and a dtype."""

    scale: float
    zero_point: int
    dtype: str

    def real(self, x: Array) -> Exact:
        """What integers stand for."""
        return dequantized(x, np.float32(self.scale), self.zero_point)

    def constants(self, name: str) -> Numbers:
        """Scale and zero point as constants: ``xs`` and ``xz``."""
        return {f"{name}s": np.float32(self.scale), f"{name}z": np.dtype(self.dtype).type(self.zero_point)}


@dataclass(frozen=True)
class Found:
    """The integer graph of a model, what it gives, and what the import said."""

    graph: Graph
    outputs: Arrays
    report: Report

    @property
    def y(self) -> Array:
        """The first output."""
        return self.outputs[self.graph.outputs[0]]

    @property
    def operators(self) -> Counter[str]:
        """How many nodes there are of each operator."""
        return Counter(node.op for node in self.graph.nodes)


def imported(proto: ModelProto, inputs: Arrays, dims: Dims = NONE, choices: Choices | None = None) -> Found:
    """The model's integer graph, run: the plain bodies, the fast ones, and its file in ONNX Runtime agree in every bit."""
    found = import_model(ModelProto.FromString(proto.SerializeToString()), dims, choices)
    graph = found.graph
    assert graph is not None
    spec = ivit_ref.run(graph, inputs, engine="spec")
    others = [ivit_ref.run(graph, inputs, engine="fast"), in_onnxruntime(to_model(graph), inputs)]
    for other in others:
        assert list(other) == list(spec)
        for name, want in spec.items():
            assert_same(other[name], want)
    return Found(graph, spec, found.report)


def agreed(
    proto: ModelProto,
    inputs: Arrays,
    real: Exact,
    y: Quantization,
    dims: Dims = NONE,
    *,
    noise: float = 2.0**-20,
    extra: float = 0.0,
) -> Found:
    """The import gives what exact arithmetic gives, and so does ONNX Runtime on the source, but for its float32 noise."""
    found = imported(proto, inputs, dims)
    assert_quantized(found.y, real, y.scale, y.zero_point, y.dtype, noise=noise, extra=extra)
    theirs, *_ = in_onnxruntime(proto, inputs).values()
    assert_quantized(theirs, real, y.scale, y.zero_point, y.dtype, noise=2.0**-14, extra=2.0**-10)
    return found


def in_onnxruntime(proto: ModelProto, inputs: Arrays) -> dict[str, Array]:
    """The outputs of any model in ONNX Runtime, node by node as written: nothing is fused."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(inputs)), strict=True))


def typed(x: Array, name: str) -> str:
    """An input that takes this array: ``int8[2,3] x``."""
    return f"{'float' if x.dtype == np.float32 else x.dtype}[{','.join(map(str, x.shape))}] {name}"


def codes(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Random integers over all of a dtype, its ends among them."""
    low, high = BOUNDS[dtype]
    found = rng.integers(low, high + 1, shape).astype(dtype)
    if found.size > 4:
        found.flat[:2] = low, high
    return found


# --- Functions of one number: the nodes from d to r, and what they compute


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def hard_swish(x: float) -> float:
    return x * min(max(x / 6 + 0.5, 0.0), 1.0)


def gelu(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


QUANTIZED = "s = Sigmoid(d) q = QuantizeLinear(s, sc, sz) e = DequantizeLinear(q, sc, sz) r = Mul(d, e)"
FUNCTIONS: dict[str, tuple[str, Callable[[float], float]]] = {
    "tanh": ("r = Tanh(d)", math.tanh),
    "sigmoid": ("r = Sigmoid(d)", sigmoid),
    "erf": ("r = Erf(d)", math.erf),
    "exp": ("r = Exp(d)", math.exp),
    "hard swish": ("r = HardSwish(d)", hard_swish),
    "hard sigmoid": ("r = HardSigmoid<alpha = 0.375, beta = 0.4375>(d)", lambda x: min(max(0.375 * x + 0.4375, 0.0), 1.0)),
    "pow": ("r = Pow(d, three)", lambda x: x**3),
    "leaky relu": ("r = LeakyRelu<alpha = 0.07>(d)", lambda x: x if x > 0 else float(np.float32(0.07)) * x),
    "neg": ("r = Neg(d)", lambda x: -x),
    "abs": ("r = Abs(d)", abs),
    "elu": ("r = Elu(d)", lambda x: x if x > 0 else math.exp(x) - 1),
    "softplus": ("r = Softplus(d)", lambda x: math.log1p(math.exp(x))),
    "mish": ("s = Softplus(d) t = Tanh(s) r = Mul(d, t)", lambda x: x * math.tanh(math.log1p(math.exp(x)))),
    "reciprocal": ("r = Reciprocal(d)", lambda x: 1 / x if x else 1e9),
    "floor": ("r = Floor(d)", math.floor),
    "relu": ("r = Relu(d)", lambda x: max(x, 0.0)),
    "clip": ("r = Clip(d, low, high)", lambda x: min(max(x, -1.0), 0.7)),
    "silu": ("s = Sigmoid(d) r = Mul(d, s)", lambda x: x * sigmoid(x)),
    "silu, other order": ("s = Sigmoid(d) r = Mul(s, d)", lambda x: x * sigmoid(x)),
    "silu, quantized inside": (QUANTIZED, lambda x: x * round(sigmoid(x) * 128) / 128),
    "square": ("r = Mul(d, d)", lambda x: x * x),
    "square root of relu": ("p = Relu(d) r = Sqrt(p)", lambda x: math.sqrt(max(x, 0.0))),
    "x + sigmoid(x)": ("s = Sigmoid(d) r = Add(s, d)", lambda x: x + sigmoid(x)),
    "hard swish by hard sigmoid": ("h = HardSigmoid<alpha = 0.166666667>(d) r = Mul(d, h)", hard_swish),
    "of a transpose": ("t = Transpose(d) u = Tanh(t) r = Transpose(u)", math.tanh),
}  # fmt: skip
