"""A graph with every linear operator against the twins, in both engines and both foreign runtimes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from ivit_ref import Graph, GraphBuilder, Interpreter, Quant, Value, load, save
from ivit_ref.interpreter import Engine
from ivit_ref.ir import Array
from ivit_ref.onnx_io import to_model
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.drawing import integers
from tests.onnx.runtimes import RUNTIMES, assert_same

ENGINES: tuple[Engine, ...] = get_args(Engine)
runtimes = pytest.mark.parametrize("runtime", RUNTIMES)


def pooled() -> Graph:
    """An asymmetric image, a convolution of 16 bits, relu, two ways of pooling, and a gate that is masked."""
    b = GraphBuilder("pooled", "qat")
    image = b.input("image", "float32", ("N", 2, 5, 6))
    x = b.node("Quantize", image, name="quantize", scale=0.5, zero_point=100, dtype="uint8", division="direct")
    x = b.node("Center", x, name="center", dtype="int16")
    x = _conv(b, x)
    x = b.node("Requantize", x, name="requantize", quant=Quant((0.25,), zero_point=-3), dtype="int8")
    x = b.node("Clip", x, name="relu", low=-3, high=127)
    geometry: dict[str, Any] = {"strides": (2, 1), "pads": (1, 0, 1, 2), "dilations": (2, 1)}
    x = b.node("MaxPool", x, name="max_pool", kernel_shape=(2, 3), **geometry)
    x = b.node("Center", x, name="center_again", dtype="int16")
    x = b.node("Take", x, name="take", axis=1, indices=(2, 0, 3, 0))
    total = b.node("ReduceSum", x, name="sum", axes=(2, 3))
    mean = b.node("Rescale", total, name="mean", alpha=(float(np.float32(1 / 18)), 0.5, -1.0, 0.125), axis=1)
    gate = b.node("Requantize", mean, name="gate", quant=Quant((0.5,)), dtype="int16")
    mask = b.constant("mask", np.arange(12).reshape(3, 4) % 3 > 0)
    zero = b.constant("zero", np.array(0, np.int16), Quant((0.25,)))
    x = b.node("Slice", x, name="slice", axis=3, start=1, stop=5)
    x = b.node("Where", mask, x, zero, name="where")
    x = b.node("Mul", x, gate, name="gated")
    x = b.node("Requantize", x, name="result", quant=Quant((4.0,)), dtype="int16")
    return b.finish([b.node("Dequantize", x, name="dequantize"), total])


def _conv(b: GraphBuilder, x: Value) -> Value:
    scales = (2.0**-17, 2.0**-16, 2.0**-18, 2.0**-17)
    weight = b.constant("weight", integers(1, "int16", (4, 2, 3, 2)), Quant(scales, axis=0))
    bias = b.constant("bias", integers(2, "int32", (4,), 2**16), Quant(tuple(s / 2 for s in scales), axis=0))
    return b.node("Conv", x, weight, bias, name="conv", strides=(1, 1), pads=(1, 0, 1, 1), dilations=(1, 1), group=1)


def by_twins(graph: Graph, inputs: dict[str, Array]) -> dict[str, Any]:
    """Every value of a graph, on nested lists."""
    values = {name: array.tolist() for name, array in inputs.items()}
    values |= {constant.value.name: constant.data.tolist() for constant in graph.constants}
    for node in graph.nodes:
        kernel = REGISTRY[node.op].kernel
        twins = importlib.import_module(f"ivit_ref.oracle.{kernel.__module__.rpartition('.')[2]}")
        values[node.output.name] = getattr(twins, kernel.__name__)(*(values[n] for n in node.inputs), **node.attributes)
    return values


def images(count: int) -> dict[str, Array]:
    return {"image": np.random.default_rng(count).normal(0, 30, (count, 2, 5, 6)).astype(np.float32)}


def test_the_graph_has_what_it_is_for() -> None:
    graph = pooled()
    ops = {node.op for node in graph.nodes}
    assert {"Center", "Rescale", "Mul", "Clip", "ReduceSum", "MaxPool", "Where", "Take"} <= ops
    assert str(graph.values["max_pool"].type) == "int8[N,4,3,6]"
    assert graph.values["gated"].quant == Quant((0.125,))
    assert graph.values["sum"].quant == Quant((0.25,))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("count", [1, 3])
def test_every_value_is_what_the_twins_make(engine: Engine, count: int) -> None:
    graph, inputs = pooled(), images(count)
    found = Interpreter(graph, engine=engine).run(inputs, intermediates=True)
    expected = by_twins(graph, inputs)
    assert {node.output.name for node in graph.nodes} <= set(found)
    for name, array in found.items():
        np.testing.assert_array_equal(array, np.array(expected[name], array.dtype), strict=True)
    for name in ("requantize", "max_pool", "gate", "gated", "result"):
        assert len(np.unique(found[name])) > 3


@runtimes
@pytest.mark.parametrize("count", [1, 3])
def test_runtimes_make_what_the_twins_make(runtime: str, count: int, tmp_path: Path) -> None:
    graph, inputs = pooled(), images(count)
    save(graph, tmp_path / "pooled.onnx")
    again = load(tmp_path / "pooled.onnx")
    assert again == graph
    expected, found = by_twins(graph, inputs), RUNTIMES[runtime](to_model(again), inputs)
    for name in graph.outputs:
        assert_same(found[name], np.array(expected[name], graph.values[name].type.dtype))
