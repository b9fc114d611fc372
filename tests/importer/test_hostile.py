"""Files that mean no good: what they claim is refused before it costs memory, in one printable line, with status 2."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, external_data_helper, helper

import ivit_ref
from ivit_ref.cli import main
from ivit_ref.errors import IvitError
from tests.importer.building import Writer, imported, refusal

Body: TypeAlias = Callable[[Writer], str]
Capture: TypeAlias = pytest.CaptureFixture[str]

LONGEST = 2**62


def crash(body: Body, name: str) -> Any:
    return pytest.param(body, id=name)


def reading(make: Callable[[Writer, str], str]) -> Body:
    """A body over a quantized input of [2, 4]."""
    return lambda w: make(w, w.image())


def plus(make: Callable[[Writer], str]) -> Body:
    """A quantized input plus what a node makes of constants."""
    return lambda w: w.node("Add", w.image(), make(w), name="sum")


def ints(w: Writer, *values: int) -> str:
    return w.constant(values, "int64")


# --- Constants that grow

BILLION = 10**9
GROWING: dict[str, Callable[[Writer], str]] = {
    "ConstantOfShape": lambda w: w.node("ConstantOfShape", ints(w, BILLION), name="bad"),
    "ConstantOfShape of many axes": lambda w: w.node("ConstantOfShape", ints(w, *[4] * 40), name="bad"),
    "Expand": lambda w: w.node("Expand", w.constant(1.0), ints(w, BILLION), name="bad"),
    "Tile": lambda w: w.node("Tile", w.constant([1.0]), ints(w, BILLION), name="bad"),
    "Range": lambda w: w.node("Range", *(w.constant(v, "int64") for v in (0, BILLION, 1)), name="bad"),
    "Range of floats": lambda w: w.node("Range", *map(w.constant, (0.0, 1.0, 1e-9)), name="bad"),
    "Pad": lambda w: w.node("Pad", w.constant([1.0]), ints(w, 0, BILLION), name="bad"),
    "Pad by the most there is": lambda w: w.node("Pad", w.constant([1.0]), ints(w, LONGEST, LONGEST), name="bad"),
    "Add": lambda w: w.node("Add", w.constant(np.ones((2**15, 1))), w.constant(np.ones((1, 2**15))), name="bad"),
    "Where": lambda w: w.node(
        "Where", w.constant(np.ones((2**13, 1)), "bool"), w.constant(np.ones((1, 2**13))), w.constant(1.0), name="bad"
    ),
    "MatMul": lambda w: w.node("MatMul", w.constant(np.ones((2**14, 1))), w.constant(np.ones((1, 2**14))), name="bad"),
    "Gather": lambda w: w.node(
        "Gather", w.constant(np.ones((1, 2**14))), w.constant(np.zeros(2**14), "int64"), name="bad"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GROWING)
def test_a_constant_that_would_grow_is_refused_before_it_does(name: str) -> None:
    w = Writer()
    model = w.model(plus(GROWING[name])(w))
    tracemalloc.start()
    try:
        message = refusal(model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert message.startswith("node 'bad' (")
    assert peak < 2**24


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(reading(lambda w, x: w.node("Split", x, out=("a", "b"), num_outputs=2**16, name="bad"))),
        pytest.param(reading(lambda w, x: w.node("Gather", x, w.constant(np.zeros((2**10, 2**10)), "int64"), name="bad"))),
        pytest.param(reading(lambda w, x: w.node("Pad", x, ints(w, 0, 0, 0, BILLION), name="bad"))),
        pytest.param(reading(lambda w, x: w.node("Expand", x, ints(w, BILLION, 1, 1), name="bad"))),
        pytest.param(reading(lambda w, x: w.node("Tile", x, ints(w, 1, BILLION), name="bad"))),
    ],
)
def test_a_tensor_that_would_grow_is_refused_before_it_does(body: Body) -> None:
    w = Writer()
    model = w.model(body(w))
    tracemalloc.start()
    try:
        message = refusal(model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert message.startswith("node 'bad' (")
    assert (peak < 2**25, len(message) < 1000) == (True, True)


def test_a_slice_of_a_long_axis_costs_no_list_of_its_places() -> None:
    w = Writer()
    x = w.quantize(w.input("x", (2**19,)), 0.5)
    model = w.model(w.node("Slice", x, ints(w, 0), ints(w, 2**18)))
    tracemalloc.start()
    try:
        imported(model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**21


# --- Nodes that are malformed

MALFORMED = [
    crash(plus(lambda w: w.node("Add", name="bad")), "a folded operator without inputs"),
    crash(plus(lambda w: w.node("ConstantOfShape", w.constant([np.nan]), name="bad")), "a shape of NaN"),
    crash(plus(lambda w: w.node("Expand", w.constant(1.0), w.constant([np.inf]), name="bad")), "a shape of infinity"),
    crash(lambda w: w.node("Add", w.image(), (w.node("Constant", out=("c", "d"), value_float=1.0), "d")[1]), "two constants"),
    crash(plus(lambda w: w.node("Constant", value_int="a", name="bad")), "a text as value_int"),
    crash(plus(lambda w: w.node("Constant", value_int=float("nan"), name="bad")), "NaN as value_int"),
    crash(plus(lambda w: w.node("Constant", value_floats="a", name="bad")), "a text as value_floats"),
    crash(plus(lambda w: w.node("Constant", value_ints=[1e30], name="bad")), "floats as value_ints"),
    crash(reading(lambda w, x: w.node("Reshape", x, w.node("Shape", x, end="a", name="bad"))), "a text as end of Shape"),
    crash(reading(lambda w, x: w.node("Pad", x, ints(w), "", ints(w), name="bad")), "a pad of no axes"),
    crash(reading(lambda w, x: w.node("Pad", x, ints(w, 0, 0, 1, 1), w.constant([]), name="bad")), "a pad with no value"),
    crash(reading(lambda w, x: w.node("Mul", x, w.constant([]), name="bad")), "a product with nothing"),
    crash(reading(lambda w, x: w.node("Max", x, w.constant(1.0), w.constant(np.ones(4)), name="bad")), "Max of a vector"),
    crash(reading(lambda w, x: w.node("Sqrt", w.node("Add", x, name="bad"))), "a sum of one"),
    crash(
        reading(
            lambda w, x: w.node(
                "Sqrt", w.node("Add", w.node("ReduceMean", w.node("Pow", x, name="bad"), axes=[-1]), w.constant(1e-6))
            )
        ),
        "a power without exponent",
    ),
    crash(
        lambda w: w.node(
            "MatMulInteger",
            w.quantize(w.input("x", (2, 4)), 0.5),
            *(w.constant(v, "int8") for v in (np.ones((4, 4)), 0, [0, 0, 0])),
            name="bad",
        ),
        "zero points of MatMulInteger",
    ),
    crash(
        lambda w: w.node("Conv", w.image((1, 1, 4, 4)), w.weights(np.ones((4, 1, 1, 1)), [0.5] * 4, 0), w.constant([1.0] * 3)),
        "a bias of another length",
    ),
    crash(
        lambda w: w.node("com.microsoft::QLinearConcat", w.constant(0.5), w.constant(0, "int8"), name="bad", axis=0),
        "QLinearConcat of nothing",
    ),
    crash(
        lambda w: w.node(
            "Attention", *[w.qdq(w.input("x", (1, 1, 4, 4)), 0.5)] * 3, w.constant(np.zeros((3, 3))), is_causal=1, name="bad"
        ),
        "a mask of another shape",
    ),
    crash(
        lambda w: w.node(
            "QLinearConv",
            w.quantize(w.input("x", (1, 1, 4, 4)), 0.5),
            *(w.constant([0.5] * n) if d == "f" else w.constant(np.ones(n), "int8") for n, d in ((2, "f"), (1, "i"))),
            w.constant(np.ones((3, 1, 1, 1)), "int8"),
            w.constant([0.5] * 3),
            w.constant(0, "int8"),
            w.constant(0.5),
            w.constant(0, "int8"),
            w.constant([1, 2, 3], "int32"),
            name="bad",
        ),
        "scales of a convolution",
    ),
    crash(lambda w: w.node("Add", w.image((2**62, 4)), w.constant(np.ones(4)), name="bad"), "an axis of 2**62"),
    crash(
        lambda w: w.node(
            "Conv", w.image((1, 1, 4, 4)), w.weights(np.ones((4, 1, 1, 1)), [0.5] * 4, 0), w.constant([np.nan] * 4), name="bad"
        ),
        "a bias of NaN",
    ),
    crash(reading(lambda w, x: w.node("MatMul", x, w.weights(np.zeros((4, 0))), name="bad")), "weights of no outputs"),
    crash(plus(lambda w: w.node("Constant", value_int=["a"], name="bad")), "texts as value_int"),
    crash(lambda w: w.node("Exp", w.image(scale=2.0**126), name="bad"), "a scale of 2**126"),
    lambda w: w.node("qonnx.custom_op.general::Quant", w.image(), *map(w.constant, (0.5, float("nan"), 8.0)), name="bad"),
    reading(lambda w, x: w.node("Softmax", x, axis="a", name="bad")),
    reading(lambda w, x: w.node("Transpose", x, perm=[0.5, 1.0], name="bad")),
    reading(lambda w, x: w.node("Transpose", x, perm=[0, 0], name="bad")),
    reading(lambda w, x: w.node("Gemm", x, w.weights(np.eye(4)), alpha="1", name="bad")),
    reading(lambda w, x: w.node("MaxPool", x, kernel_shape=3, name="bad")),
    reading(lambda w, x: w.node("Concat", x, x, axis=7, name="bad")),
    reading(lambda w, x: w.node("ReduceMean", x, ints(w, 9), name="bad")),
    reading(lambda w, x: w.node("Cast", x, to=99, name="bad")),
    reading(lambda w, x: w.node("Cast", x, to="float", name="bad")),
    reading(lambda w, x: w.node("Relu", x, out=("a", "b"), name="bad")),
    reading(lambda w, x: w.node("LayerNormalization", x, w.constant([1.0, 2.0, 3.0]), name="bad")),
    reading(lambda w, x: w.node("Add", x, w.constant(np.ones(3)), name="bad")),
    reading(lambda w, x: w.node("MatMul", x, w.weights(np.eye(3)), name="bad")),
    reading(lambda w, x: w.node("Gemm", name="bad")),
]


@pytest.mark.parametrize("body", MALFORMED)
def test_a_malformed_node_is_refused_in_one_line_with_status_2(body: Body, tmp_path: Path, capsys: Capture) -> None:
    w = Writer(23)
    (tmp_path / "m.onnx").write_bytes(w.model(body(w)).SerializeToString())
    assert main(["inspect", str(tmp_path / "m.onnx")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err.startswith("ivit-ref: ")) == ("", 1, True)
    assert re.search(r"(node|input|output) '", err)


NAMES = ["a\nb", "\x1b[31mred", "tab\there", "\u202eleft", "\0"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["node", "output", "input", "operator", "domain", "axis"])
def test_names_that_are_not_printable_leave_messages_printable(where: str, name: str) -> None:
    w = Writer()
    x = w.qdq(w.input(name if where == "input" else "x", (name if where == "axis" else 2, 4)), 0.5)
    y = w.node(
        "Bad" + name if where == "operator" else "Bad",
        x,
        name=name if where == "node" else "bad",
        out=name * (where == "output"),
    )
    w.nodes[-1].domain = name if where == "domain" else ""
    assert refusal(w.model(y))


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_not_printable_become_printable_in_the_graph(name: str) -> None:
    w = Writer()
    model = w.model(w.node("Neg", w.qdq(w.input(name, (2, 4)), 0.5), out=name + "y"))
    assert all(value.isprintable() for value in imported(model).values)


def test_inputs_whose_printable_names_are_equal_stay_two() -> None:
    w = Writer()
    first, second = (w.quantize(w.input(name, (2, 4)), 0.5) for name in ("x y", "x_y"))
    assert len(imported(w.model(first, second)).inputs) == 2


def test_an_input_whose_name_has_a_space_is_one_however_often_it_is_read() -> None:
    w = Writer()
    x = w.input("x y", (2, 4))
    assert len(imported(w.model(w.quantize(x, 0.5), w.quantize(x, 0.25))).inputs) == 1


def test_an_integer_input_that_is_an_output_keeps_its_name() -> None:
    w = Writer()
    model = w.model(w.input("i", (2, 4), "int8"), w.image())
    assert [v.name for v in imported(model).inputs] == ["i", "x"]


# --- Data that are not there, or not in the folder


def with_weights(path: Path, change: Callable[[TensorProto], object]) -> Path:
    """A model in a file, its weights changed."""
    w = Writer()
    model = w.model(w.node("MatMul", w.image(), w.weights(np.eye(4))))
    change(next(t for t in model.graph.initializer if list(t.dims) == [4, 4]))
    path.write_bytes(model.SerializeToString())
    return path


def load_refused(path: Path) -> str:
    tracemalloc.start()
    try:
        with pytest.raises(IvitError) as caught:
            ivit_ref.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
    assert str(caught.value).isprintable()
    return str(caught.value)


CLAIMS = [[2**31], [2**15, 2**16], [2**40, 2**40], [5, 4], [-1], [4, 4] + [1] * 40, [0]]


@pytest.mark.parametrize("dims", CLAIMS, ids=str)
def test_data_that_are_not_what_a_shape_claims_are_refused(dims: list[int], tmp_path: Path) -> None:
    def change(tensor: TensorProto) -> None:
        tensor.dims[:] = dims

    assert "constant 'c" in load_refused(with_weights(tmp_path / "m.onnx", change))


@pytest.mark.parametrize("dims", [d for d in CLAIMS if d not in ([-1], [0])], ids=str)
def test_numbers_that_are_not_what_a_shape_claims_are_refused(dims: list[int], tmp_path: Path) -> None:
    def change(tensor: TensorProto) -> None:
        tensor.ClearField("raw_data")
        tensor.int32_data[:] = [1] * 16
        tensor.dims[:] = dims

    assert "constant 'c" in load_refused(with_weights(tmp_path / "m.onnx", change))


def external(**entries: str) -> Callable[[TensorProto], None]:
    def change(tensor: TensorProto) -> None:
        external_data_helper.set_external_data(tensor, entries["location"])
        tensor.ClearField("raw_data")
        del tensor.external_data[:]
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)

    return change


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "../secret.bin"},
        {"location": "{root}/secret.bin"},
        {"location": "link.bin"},
        {"location": "none.bin"},
        {"location": "."},
        {"location": ""},
        {"location": "data.bin", "offset": "-4"},
        {"location": "data.bin", "offset": "x"},
        {"location": "data.bin", "length": "-1"},
        {"location": "data.bin", "length": "3"},
        {"location": "data.bin", "offset": "8"},
        {"location": "data.bin", "length": str(10**15)},
        {"location": "data.bin", "length": str(10**30)},
        {"location": "data.bin", "offset": str(10**30)},
    ],
    ids=str,
)
def test_external_data_outside_the_folder_or_the_file_are_refused(entries: dict[str, str], tmp_path: Path) -> None:
    (folder := tmp_path / "models").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (folder / "data.bin").write_bytes(bytes(16))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    entries = {key: value.format(root=tmp_path) for key, value in entries.items()}
    load_refused(with_weights(folder / "m.onnx", external(**entries)))


def test_external_data_in_the_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(8) + np.eye(4, dtype=np.int8).tobytes())
    entries = {"location": "data.bin", "offset": "8", "length": "16"}
    graph = ivit_ref.load(with_weights(tmp_path / "m.onnx", external(**entries)))
    (weight,) = [c.data for c in graph.constants if c.data.shape == (4, 4)]
    np.testing.assert_array_equal(weight, np.eye(4))


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"not onnx", ModelProto().SerializeToString(), b"\x08\x0a"])
def test_what_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    load_refused(tmp_path / "m.onnx")
    assert main(["inspect", str(tmp_path / "m.onnx")]) == 2


def test_a_sparse_constant_is_refused() -> None:
    w = Writer()
    model = w.model(w.image())
    sparse = helper.make_sparse_tensor(helper.make_tensor("s", 1, [1], [1.0]), helper.make_tensor("i", 7, [1], [0]), [4])
    model.graph.sparse_initializer.append(sparse)
    assert "constant 's': must be dense" in refusal(model)
