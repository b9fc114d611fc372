"""Damaged models: whatever is done to the bytes or nodes of a real one, it loads or is refused, soon and in little memory."""

from __future__ import annotations

import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TypeAlias

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

import ivit_ref
from ivit_ref.errors import IvitError
from ivit_ref.importer.emitter import lengths
from ivit_ref.ir import Graph
from tests.importer.test_coverage import written

Damage: TypeAlias = Callable[[ModelProto, random.Random], object]

FOLDER = Path(os.environ.get("IVIT_REF_FUZZ_MODELS", Path(__file__).parents[2] / "graphs" / "quantized"))
MODELS = sorted(path for path in FOLDER.glob("digits_*.onnx") if "float" not in path.name)
SECONDS, MEMORY = 10, 2**30
FLIPPED, CHANGED = 250, 500
"""Mutants of the small model; a real one, which takes longer to load, has a fiftieth."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("fuzz") / "small.onnx")


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """What would take too long is interrupted, what would take too much memory has none, and neither hurts other tests."""
    size = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        if Path("/proc/self/statm").exists()
        else 0
    )
    before, limits = peak_memory(), resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, _late)
    if size:
        resource.setrlimit(resource.RLIMIT_AS, (size + 2 * MEMORY, limits[1]))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
    resource.setrlimit(resource.RLIMIT_AS, limits)
    assert peak_memory() - before < MEMORY


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _late(_: int, __: FrameType | None) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def loaded(data: bytes, path: Path, dims: dict[str, int]) -> Graph | None:
    """The graph, or None where it is refused; anything else is an error of the test."""
    path.write_bytes(data)
    signal.alarm(SECONDS)
    try:
        return ivit_ref.load(path, choices=None, **dims)
    except IvitError:
        return None
    finally:
        signal.alarm(0)


def dims_of(model: ModelProto) -> dict[str, int]:
    """One for every named axis."""
    return {d.dim_param: 1 for info in model.graph.input for d in info.type.tensor_type.shape.dim if d.dim_param}


def sources(small: Path, count: int) -> Iterator[tuple[bytes, ModelProto, dict[str, int], int]]:
    """Bytes, model, lengths of axes, and how many mutants to make."""
    for path in (small, *MODELS):
        model = onnx.load(path)
        yield path.read_bytes(), model, dims_of(model), count if path == small else max(count // 50, 1)


def structure(data: bytes, model: ModelProto) -> list[int]:
    """The places of bytes that are no weights: those say most."""
    inside = np.ones(len(data), np.bool_)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 16:
            start = data.find(tensor.raw_data)
            inside[start : start + len(tensor.raw_data)] = False
    places: list[int] = np.flatnonzero(inside).tolist()
    return places


def test_flipped_bytes_and_truncations_are_refused_or_load(small: Path, tmp_path: Path) -> None:
    rng, refused = random.Random(1), 0
    for data, original, dims, count in sources(small, FLIPPED):
        places = structure(data, original)
        for i in range(count):
            damaged = bytearray(data)
            for _ in range(rng.choice((1, 1, 2, 8))):
                damaged[rng.choice(places)] = rng.randrange(256)
            if i % 4 == 0:
                del damaged[rng.choice(places) :]
            refused += loaded(bytes(damaged), tmp_path / "m.onnx", dims) is None
    assert refused > FLIPPED // 4


# --- Nodes, attributes, constants

NUMBERS = (0, 1, -1, 2, 3, -7, 2**31 - 1, 2**31, -(2**63), 2**63 - 1)
# fmt: off
TYPES = (
    "Add", "Attention", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "DequantizeLinear", "Div", "Erf",
    "Expand", "Flatten", "Gather", "Gelu", "Gemm", "GlobalAveragePool", "If", "LayerNormalization", "MatMul", "MatMulInteger",
    "Max", "MaxPool", "Min", "Mul", "Neg", "Pad", "Pow", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "Range",
    "ReduceMean", "Relu", "Reshape", "Round", "Shape", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Tile",
    "Transpose", "Unsqueeze", "Where", "Nonsense",
)
# fmt: on


def some_node(model: ModelProto, rng: random.Random) -> NodeProto:
    node: NodeProto = rng.choice(list(model.graph.node))
    return node


def another_operator(model: ModelProto, rng: random.Random) -> None:
    some_node(model, rng).op_type = rng.choice(TYPES)


def another_domain(model: ModelProto, rng: random.Random) -> None:
    some_node(model, rng).domain = rng.choice(
        ("ivit", "com.microsoft", "qonnx.custom_op.general", "ai.onnx.ml", "ai.onnx", "x")
    )


def one_input_less(model: ModelProto, rng: random.Random) -> None:
    node = some_node(model, rng)
    if node.input:
        del node.input[rng.randrange(len(node.input))]


def no_inputs(model: ModelProto, rng: random.Random) -> None:
    del some_node(model, rng).input[:]


def an_empty_input(model: ModelProto, rng: random.Random) -> None:
    node = some_node(model, rng)
    if node.input:
        node.input[rng.randrange(len(node.input))] = ""


def another_input(model: ModelProto, rng: random.Random) -> None:
    node, names = some_node(model, rng), [name for n in model.graph.node for name in (*n.input, *n.output)]
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)


def inputs_in_another_order(model: ModelProto, rng: random.Random) -> None:
    node = some_node(model, rng)
    node.input[:] = rng.sample(list(node.input), len(node.input))


def another_attribute(model: ModelProto, rng: random.Random) -> None:
    node = some_node(model, rng)
    name = rng.choice(
        [a.name for a in node.attribute] or ["axis", "axes", "perm", "to", "alpha", "end", "block_size", "auto_pad"]
    )
    kept = [a for a in node.attribute if a.name != name]
    number = rng.choice(NUMBERS)
    values = (number, float(number), float("nan"), "text", [number], [number] * 4, [0.5], np.zeros(0))
    value = rng.choice(values)
    made = helper.make_tensor("t", TensorProto.FLOAT, [0], []) if isinstance(value, np.ndarray) else value
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, made)] if rng.random() < 0.8 else kept)


def another_kind_of_attribute(model: ModelProto, rng: random.Random) -> None:
    found = [a for node in model.graph.node for a in node.attribute]
    if found:
        rng.choice(found).type = rng.choice(list(AttributeProto.AttributeType.values()))


def another_element_type(model: ModelProto, rng: random.Random) -> None:
    rng.choice(list(model.graph.initializer)).data_type = rng.choice(list(TensorProto.DataType.values()))


def other_lengths(model: ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(list(model.graph.initializer))
    dims = rng.choice(([], [*tensor.dims][::-1], [*tensor.dims, 1], [1, *tensor.dims], [-1], [0], [2**40, 2**40]))
    tensor.dims[:] = dims


def other_numbers(model: ModelProto, rng: random.Random) -> None:
    tensor = rng.choice([t for t in model.graph.initializer if len(t.raw_data) <= 64])
    patterns = (b"\xff", b"\x00", b"\x7f", b"\x80", b"\x01\x00\x00\x00\x00\x00\x00\x00")
    tensor.raw_data = (rng.choice(patterns) * (len(tensor.raw_data) + 1))[: len(tensor.raw_data)]


def constants_swapped(model: ModelProto, rng: random.Random) -> None:
    a, b = rng.sample(list(model.graph.initializer), 2)
    a.name, b.name = b.name, a.name


def a_node_twice(model: ModelProto, rng: random.Random) -> None:
    model.graph.node.append(some_node(model, rng))


def a_node_less(model: ModelProto, rng: random.Random) -> None:
    model.graph.node.remove(some_node(model, rng))


def another_output(model: ModelProto, rng: random.Random) -> None:
    some_node(model, rng).output[0] = rng.choice(("renamed", "", model.graph.output[0].name))


def more_outputs(model: ModelProto, rng: random.Random) -> None:
    some_node(model, rng).output.append("more")


def another_opset(model: ModelProto, rng: random.Random) -> None:
    rng.choice(list(model.opset_import)).version = rng.choice((7, 9, 11, 12, 13, 17, 18, 21, 23, *NUMBERS))


def another_shape(model: ModelProto, rng: random.Random) -> None:
    rng.choice(list(model.graph.input[0].type.tensor_type.shape.dim)).dim_value = rng.choice(NUMBERS)


DAMAGES: list[Damage] = [
    another_operator, another_operator, another_domain, one_input_less, no_inputs, an_empty_input, another_input,
    inputs_in_another_order, another_attribute, another_attribute, another_kind_of_attribute, another_element_type,
    other_lengths, other_numbers, other_numbers, constants_swapped, a_node_twice, a_node_less, another_output, more_outputs,
    another_opset, another_shape,
]  # fmt: skip


def test_changed_nodes_and_constants_are_refused_or_load(small: Path, tmp_path: Path) -> None:
    rng, found = random.Random(2), {True: 0, False: 0}
    for _, original, dims, count in sources(small, CHANGED):
        for i in range(count):
            model = ModelProto()
            model.CopyFrom(original)
            for damage in (DAMAGES[i % len(DAMAGES)], *rng.sample(DAMAGES, rng.randrange(2))):
                damage(model, rng)
            found[loaded(model.SerializeToString(), tmp_path / "m.onnx", dims) is None] += 1
    assert min(found.values()) > CHANGED // 10


def assert_equal_graphs(one: Graph | None, two: Graph | None) -> None:
    """The same integers for the same numbers."""
    assert one is not None
    assert two is not None
    rng = np.random.default_rng(0)
    x = {v.name: rng.normal(size=lengths(v.type.shape)).astype(np.float32) for v in one.inputs}
    first, second = ivit_ref.run(one, x), ivit_ref.run(two, x)
    assert list(first) == list(second)
    for name, y in first.items():
        np.testing.assert_array_equal(second[name], y, strict=True)


@pytest.mark.parametrize("seed", range(3))
def test_nodes_in_any_order_make_the_same_graph(seed: int, small: Path, tmp_path: Path) -> None:
    for data, model, dims, _ in sources(small, 1):
        nodes = random.Random(seed).sample(list(model.graph.node), len(model.graph.node))
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        path = tmp_path / "m.onnx"
        assert_equal_graphs(loaded(data, path, dims), loaded(model.SerializeToString(), path, dims))


def test_other_names_of_nodes_and_tensors_change_no_integer(small: Path, tmp_path: Path) -> None:
    for data, model, dims, _ in sources(small, 1):
        kept = {"", *(v.name for v in (*model.graph.input, *model.graph.output))}
        for node in model.graph.node:
            node.name = ""
            for names in (node.input, node.output):
                names[:] = [name if name in kept else f"t{name[::-1]}" for name in names]
        for tensor in model.graph.initializer:
            tensor.name = f"t{tensor.name[::-1]}"
        path = tmp_path / "m.onnx"
        assert_equal_graphs(loaded(data, path, dims), loaded(model.SerializeToString(), path, dims))
