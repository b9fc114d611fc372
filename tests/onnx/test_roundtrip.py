"""What is written is read again, unchanged; what is no model of ours is refused in one line that says so."""

from __future__ import annotations

import importlib
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import pytest
from hypothesis import given
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, external_data_helper, helper, numpy_helper

import ivit_ref
from ivit_ref.errors import FileError, GraphError, IvitError
from ivit_ref.ir import Graph, Quant
from ivit_ref.onnx_body import DOMAIN
from ivit_ref.onnx_io import from_model, load, save, to_model
from ivit_ref.profiles import PROFILES
from ivit_ref.testing.graphs import graphs

GRAPHS = Path(__file__).parents[2] / "graphs"

Edit: TypeAlias = Callable[[ModelProto], object]


def small_graph() -> Graph:
    """A classifier of six nodes: an image of N rows, weights per channel, constants of two widths."""
    g = ivit_ref.GraphBuilder("small", "qat")
    x = g.input("image", "float32", ("N", 4))
    x = g.node("Quantize", x, name="quantize", scale=0.5, zero_point=0, dtype="int8", division="reciprocal")
    weight = g.constant("weight", np.arange(-6, 6, dtype=np.int8).reshape(3, 4), Quant((0.5, 0.25, 0.125), axis=0))
    bias = g.constant("bias", np.array([1, -2, 3], np.int32), Quant((0.25, 0.125, 0.0625), axis=0))
    x = g.node("Linear", x, weight, bias, name="fc")
    x = g.node("Requantize", x, name="requantize", quant=Quant((0.25,)), zero_point=0, dtype="int8")
    x = g.node("Shiftmax", x, name="softmax")
    x = g.node("Dequantize", x, name="dequantize", output="y")
    return g.finish([x], {"source": "tests"})


@pytest.fixture(scope="module")
def graph() -> Graph:
    return small_graph()


# --- There and back


def through_bytes(graph: Graph) -> Graph:
    model = ModelProto.FromString(to_model(graph).SerializeToString())
    return from_model(model)


@given(graph=graphs())
def test_load_gives_back_what_save_took(graph: Graph) -> None:
    again = through_bytes(graph)
    assert again == graph
    assert (dict(again.metadata), again.values) == (dict(graph.metadata), graph.values)
    for ours, theirs in zip(graph.constants, again.constants, strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data, strict=True)


@given(graph=graphs())
def test_bytes_depend_on_the_graph_only(graph: Graph) -> None:
    first = to_model(graph).SerializeToString(deterministic=True)
    assert to_model(graph).SerializeToString(deterministic=True) == first
    assert to_model(through_bytes(graph)).SerializeToString(deterministic=True) == first


@given(graph=graphs())
def test_models_pass_the_checker(graph: Graph) -> None:
    model = to_model(graph)
    onnx.checker.check_model(model, full_check=True)
    assert {f.name for f in model.functions} == {node.op for node in graph.nodes}


@pytest.mark.parametrize("profile", PROFILES)
def test_digits_survive_in_every_profile(profile: str, tmp_path: Path) -> None:
    graph = load(GRAPHS / "digits_vit.onnx").with_profile(profile)
    save(graph, tmp_path / "one.onnx")
    save(load(tmp_path / "one.onnx"), tmp_path / "two.onnx")
    assert load(str(tmp_path / "two.onnx")) == graph
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_what_a_file_holds(graph: Graph, tmp_path: Path) -> None:
    """Read with onnx alone: names, types, scales and provenance are where a viewer looks for them."""
    save(graph, tmp_path / "small.onnx")
    model = onnx.load(tmp_path / "small.onnx")
    assert {p.key: p.value for p in model.metadata_props} == {"ai.ivit.profile": "qat", "ai.ivit.source": "tests"}
    assert {o.domain: o.version for o in model.opset_import} == {"": 21, "ai.ivit": 1}
    assert model.ir_version == 10
    assert {node.domain for node in model.graph.node} == {"ai.ivit"}
    (image,) = model.graph.input
    assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim] == ["N", 4]
    assert quant_in(value_info(model, "fc")) == {"scale": [0.25, 0.125, 0.0625], "zero_point": 0, "axis": 1}
    weight = model.graph.initializer[0]
    assert quant_in(weight) == {"scale": [0.5, 0.25, 0.125], "zero_point": 0, "axis": 0}
    np.testing.assert_array_equal(numpy_helper.to_array(weight), np.arange(-6, 6).reshape(3, 4).astype("int8"), strict=True)
    assert [p.key for p in image.metadata_props] == []


def quant_in(proto: ValueInfoProto | TensorProto) -> object:
    (text,) = [p.value for p in proto.metadata_props if p.key == "ai.ivit.quant"]
    return json.loads(text)


def test_zero_points_survive() -> None:
    g = ivit_ref.GraphBuilder("zero_point")
    x = g.input("x", "uint8", ("N", "M", 2), Quant((0.25,), zero_point=200))
    y = g.node("Transpose", x, name="y", perm=(2, 0, 1))
    again = through_bytes(g.finish([y]))
    assert again.values["y"].quant == Quant((0.25,), zero_point=200)
    assert str(again.values["y"].type) == "uint8[2,N,M]"
    assert again.dims == ("N", "M")


def test_load_binds_named_dimensions(graph: Graph, tmp_path: Path) -> None:
    save(graph, tmp_path / "small.onnx")
    bound = load(tmp_path / "small.onnx", N=3)
    assert bound == graph.bind(N=3)
    assert str(bound.values["fc"].type) == "int32[3,3]"
    assert bound.dims == ()


@pytest.mark.parametrize(("dims", "found"), [({"N": 0}, "0"), ({"N": -1}, "-1"), ({"M": 1}, "'M'"), ({"N": 1.5}, "1.5")])
def test_load_refuses_dimensions_that_are_none(dims: dict[str, int], found: str, graph: Graph, tmp_path: Path) -> None:
    save(graph, tmp_path / "small.onnx")
    with pytest.raises(GraphError) as caught:
        load(tmp_path / "small.onnx", **dims)
    assert str(caught.value).endswith(f"but found {found}")


def test_save_refuses_what_protobuf_cannot_hold(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("ivit_ref.onnx_io.save"), "LARGEST_MODEL", 1000)
    with pytest.raises(FileError, match="must be below 2 GiB"):
        save(graph, tmp_path / "small.onnx")
    assert not list(tmp_path.iterdir())


def test_save_refuses_a_folder_that_is_not_there(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none/small\.onnx: must be a place that can be written"):
        save(graph, tmp_path / "none" / "small.onnx")


# --- External data, which onnx's own loader reads


def with_external_data(graph: Graph, folder: Path, location: str) -> Path:
    """A model whose weight lies in another file; where it says that file lies is up to ``location``."""
    model = to_model(graph)
    weight = model.graph.initializer[0]
    (folder / "data.bin").write_bytes(weight.raw_data)
    external_data_helper.set_external_data(weight, location, offset=0, length=12)
    weight.ClearField("raw_data")
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_beside_the_model(graph: Graph, tmp_path: Path) -> None:
    assert load(with_external_data(graph, tmp_path, "data.bin")) == graph


@pytest.mark.parametrize("location", ["../data.bin", "inner/../../data.bin", "none.bin", "{outside}/data.bin", ""])
def test_external_data_elsewhere(location: str, graph: Graph, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = with_external_data(graph, inside, location.format(outside=tmp_path))
    (inside / "data.bin").rename(tmp_path / "data.bin")
    assert_refused(path, FileError, "cannot be read")


def test_external_data_through_a_link(graph: Graph, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = with_external_data(graph, inside, "data.bin")
    (inside / "data.bin").rename(tmp_path / "data.bin")
    (inside / "data.bin").symlink_to(tmp_path / "data.bin")
    assert_refused(path, FileError, "cannot be read")


# --- Refusals


def assert_refused(path: Path, error: type[IvitError] | tuple[type[IvitError], ...], *parts: str) -> None:
    """``load`` refuses the file in one line that starts with its path and has the given parts."""
    with pytest.raises(error) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


def assert_edit_refused(folder: Path, edit: Edit, error: type[IvitError], *parts: str) -> None:
    model = to_model(small_graph())
    edit(model)
    path = folder / "edited.onnx"
    path.write_bytes(model.SerializeToString())
    assert_refused(path, error, *parts)


def test_missing_file(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.onnx", FileError, "no such file")


def test_folder(tmp_path: Path) -> None:
    assert_refused(tmp_path, FileError, "a folder")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    assert_refused(tmp_path / "empty.onnx", FileError, "truncated or not ONNX")


@pytest.mark.parametrize("suffix", [".onnx", ".txt", ".json", ".onnxjson", ".onnxtxt", ".textproto", ".pbtxt", ".npz", ""])
def test_text_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_text("Not a model: {\n")
    assert_refused(path, FileError, "must be an ONNX model")


@pytest.mark.parametrize("suffix", [".json", ".onnxtxt", ".pb"])
def test_a_model_is_a_model_under_any_name(suffix: str, graph: Graph, tmp_path: Path) -> None:
    save(graph, tmp_path / f"model{suffix}")
    assert load(tmp_path / f"model{suffix}") == graph


def test_truncated_files(graph: Graph, tmp_path: Path) -> None:
    data = to_model(graph).SerializeToString(deterministic=True)
    ends = [len(data) * i // 50 for i in range(50)] + list(range(len(data) - 60, len(data)))
    path = tmp_path / "cut.onnx"
    for end in sorted(set(ends)):
        path.write_bytes(data[:end])
        assert_graph_or_refusal(path)


def assert_graph_or_refusal(path: Path) -> Graph | None:
    """Whatever a file holds: a valid graph, or a refusal in one line. Never anything else."""
    message = ""
    try:
        graph = load(path)
    except (FileError, GraphError) as error:
        message = str(error)
    else:
        return graph
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return None


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Up to three bits, bytes or short runs changed, left out or put in."""
    result = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place, kind = int(rng.integers(len(result))), rng.integers(4)
        if kind == 0:
            result[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            result[place] = int(rng.integers(256))
        elif kind == 2:
            del result[place : place + int(rng.integers(1, 5))]
        else:
            result[place:place] = rng.bytes(int(rng.integers(1, 5)))
    return bytes(result)


@pytest.mark.parametrize("seed", range(6))
def test_damaged_files(seed: int, graph: Graph, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    data = without_functions(graph).SerializeToString(deterministic=True)
    path, valid = tmp_path / "damaged.onnx", 0
    for _ in range(250):
        path.write_bytes(damaged(data, rng))
        loaded = assert_graph_or_refusal(path)
        if loaded is not None:
            assert through_bytes(loaded) == loaded
            valid += 1
    assert 0 < valid < 125


def without_functions(graph: Graph) -> ModelProto:
    """The model with nothing in it but what ``load`` reads."""
    model = to_model(graph)
    del model.functions[:]
    return model


def test_functions_of_the_file_are_not_what_runs(graph: Graph) -> None:
    """An operator is what this project says it is; bodies in a file are for other runtimes."""
    assert from_model(without_functions(graph)) == graph


# --- Refusals of models that are well-formed ONNX


def node(model: ModelProto, name: str) -> NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def attribute(model: ModelProto, name: str, key: str) -> AttributeProto:
    return next(a for a in node(model, name).attribute if a.name == key)


def value_info(model: ModelProto, name: str) -> ValueInfoProto:
    return next(v for v in (*model.graph.value_info, *model.graph.output, *model.graph.input) if v.name == name)


def foreign(op_type: str, domain: str = "", **attributes: object) -> Edit:
    """The softmax as a node of another operator."""

    def edit(model: ModelProto) -> None:
        output = list(node(model, "softmax").output)
        node(model, "softmax").CopyFrom(
            helper.make_node(op_type, ["requantize"], output, name="softmax", domain=domain, **attributes)
        )

    return edit


def inner_graph() -> onnx.GraphProto:
    info = helper.make_tensor_value_info("inner", TensorProto.INT8, [1])
    return helper.make_graph([helper.make_node("Identity", ["requantize"], ["inner"])], "inner", [], [info])


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (foreign("Gelu"), "ai.onnx::Gelu"),
        (foreign("Shiftmax"), "ai.onnx::Shiftmax"),
        (foreign("QLinearSoftmax", "com.microsoft"), "com.microsoft::QLinearSoftmax"),
        (foreign("Softplus", DOMAIN), "ai.ivit::Softplus"),
        (foreign("If", then_branch=inner_graph(), else_branch=inner_graph()), "ai.onnx::If"),
        (foreign("Loop", body=inner_graph()), "ai.onnx::Loop"),
    ],
)
def test_foreign_operators(edit: Edit, found: str, tmp_path: Path) -> None:
    assert_edit_refused(tmp_path, edit, GraphError, "node 'softmax'", found, "ivit-ref ops")


def test_foreign_operator_without_name_and_output(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        model.graph.node[2].CopyFrom(NodeProto(op_type="Gelu"))

    assert_edit_refused(tmp_path, edit, GraphError, "ai.onnx::Gelu")


def test_names_with_line_breaks(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        model.graph.node[2].op_type = "Two\nlines"

    assert_edit_refused(tmp_path, edit, GraphError, "Two")


def test_another_version(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        model.opset_import[1].version = 2

    assert_edit_refused(tmp_path, edit, FileError, "ai.ivit version 1", "version 2")


def test_missing_opset_import(tmp_path: Path) -> None:
    assert_edit_refused(tmp_path, lambda model: model.opset_import.pop(), FileError, "must import ai.ivit version 1")


def test_node_without_declared_output_type(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        model.graph.value_info.remove(value_info(model, "fc"))

    assert_edit_refused(tmp_path, edit, GraphError, "node 'fc'", "declared type")


def test_node_without_outputs(tmp_path: Path) -> None:
    assert_edit_refused(tmp_path, lambda model: node(model, "dequantize").output.pop(), GraphError)


def test_value_of_unknown_rank(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        value_info(model, "fc").type.tensor_type.ClearField("shape")

    assert_edit_refused(tmp_path, edit, GraphError, "value 'fc'", "known type and rank")


@pytest.mark.parametrize("name", ["fc", "y", "image"])
def test_value_of_another_type(name: str, tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        value_info(model, name).type.tensor_type.elem_type = TensorProto.DOUBLE

    assert_edit_refused(tmp_path, edit, GraphError, f"value {name!r}", "double")


def test_value_that_is_no_tensor(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        value_info(model, "image").type.CopyFrom(helper.make_optional_type_proto(helper.make_tensor_type_proto(1, [4])))

    assert_edit_refused(tmp_path, edit, GraphError, "value 'image'", "must be a tensor")


@pytest.mark.parametrize("dims", [["N", 5], [2, 3], ["M", 3], ["N", 3, 1], ["N"], ["N", 0], ["N", -3]])
@pytest.mark.parametrize("name", ["fc", "y", "quantize"])
def test_dims_that_contradict(name: str, dims: list[int | str], tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        shape = helper.make_tensor_type_proto(1, dims).tensor_type.shape
        value_info(model, name).type.tensor_type.shape.CopyFrom(shape)

    assert_edit_refused(tmp_path, edit, GraphError)


def test_output_declared_otherwise_than_the_input_that_it_is(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        model.graph.output.append(helper.make_tensor_value_info("image", TensorProto.INT8, [7]))

    assert_edit_refused(tmp_path, edit, GraphError, "'image'")


def with_attribute(key: str, value: object, name: str = "softmax") -> Edit:
    def edit(model: ModelProto) -> None:
        attribute(model, name, key).CopyFrom(helper.make_attribute(key, value))

    return edit


WRONG_ATTRIBUTES: dict[str, Edit] = {
    "float for int": with_attribute("n", 15.0),
    "text for int": with_attribute("n", "15"),
    "ints for int": with_attribute("n", [15]),
    "int for text": with_attribute("half", 1),
    "another text": with_attribute("half", "half"),
    "text that is no text": with_attribute("half", b"\xff\xfe"),
    "int for a flag": with_attribute("clamp", 2),
    "float for a flag": with_attribute("clamp", 1.0),
    "int for ints": with_attribute("multiplier", 1, "requantize"),
    "floats for ints": with_attribute("multiplier", [1.0], "requantize"),
    "ints for floats": with_attribute("scale", [1], "dequantize"),
    "float for dtype": with_attribute("dtype", 5.0),
    "ints for dtype": with_attribute("dtype", [5]),
    "texts for dtype": with_attribute("dtype", ["int16"]),
    "text for dtype": with_attribute("dtype", "int16"),
    "no dtype": with_attribute("dtype", 99),
    "a tensor for dtype": with_attribute("dtype", numpy_helper.from_array(np.ones(1))),
    "a tensor": with_attribute("n", numpy_helper.from_array(np.ones(1))),
    "a graph": with_attribute("n", inner_graph()),
    "tensors": with_attribute("n", [numpy_helper.from_array(np.ones(1))]),
    "a type": with_attribute("n", helper.make_tensor_type_proto(1, [1])),
    "without kind": lambda model: attribute(model, "softmax", "n").ClearField("type"),
    "a reference": lambda model: setattr(attribute(model, "softmax", "n"), "ref_attr_name", "n"),
    "missing": lambda model: node(model, "softmax").attribute.pop(),
    "unknown": lambda model: node(model, "softmax").attribute.append(helper.make_attribute("colour", 1)),
    "twice": lambda model: node(model, "softmax").attribute.append(helper.make_attribute("n", 14)),
    "NaN": with_attribute("scale", [float("nan")], "dequantize"),
    "beyond its bounds": with_attribute("n", 2**62),
}


@pytest.mark.parametrize("edit", WRONG_ATTRIBUTES.values(), ids=WRONG_ATTRIBUTES)
def test_attributes_that_are_wrong(edit: Edit, tmp_path: Path) -> None:
    assert_edit_refused(tmp_path, edit, GraphError, "node '")


# --- Constants


def with_weight(*left_away: str, **fields: object) -> Edit:
    """The weight with other fields."""

    def edit(model: ModelProto) -> None:
        weight = model.graph.initializer[0]
        for name in (*left_away, *fields):
            weight.ClearField(name)
        weight.MergeFrom(TensorProto(**fields))

    return edit


WRONG_CONSTANTS: dict[str, Edit] = {
    "too few": with_weight(dims=[3, 5]),
    "too many": with_weight(dims=[3, 3]),
    "of another rank": with_weight(dims=[12]),
    "without data": with_weight("raw_data"),
    "huge, without data": with_weight(dims=[2**40, 2**20], raw_data=b""),
    "huge beyond int64": with_weight(dims=[2**40, 2**40], raw_data=b""),
    "huge, without ints": with_weight("raw_data", dims=[2**40]),
    "a negative length": with_weight(dims=[-1, 4]),
    "no length": with_weight(dims=[0, 4], raw_data=b""),
    "65 axes": with_weight(dims=[12] + [1] * 64),
    "ints that do not fit int8": with_weight("raw_data", int32_data=[300] * 12),
    "too few ints": with_weight("raw_data", int32_data=[1] * 11),
    "floats": with_weight("raw_data", data_type=TensorProto.FLOAT, float_data=[1.0] * 12),
    "texts": with_weight("raw_data", data_type=TensorProto.STRING, string_data=[b"1"] * 12),
    "of no type": with_weight(data_type=TensorProto.UNDEFINED),
    "a segment": with_weight(segment=TensorProto.Segment(begin=0, end=12)),
}


@pytest.mark.parametrize("edit", WRONG_CONSTANTS.values(), ids=WRONG_CONSTANTS)
def test_constants_that_are_wrong(edit: Edit, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        assert_edit_refused(tmp_path, edit, IvitError, "weight")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_sparse_initializers(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        values = helper.make_tensor("weight", TensorProto.INT8, [1], [1])
        places = helper.make_tensor("places", TensorProto.INT64, [1], [1])
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [3, 4]))
        del model.graph.initializer[0]

    assert_edit_refused(tmp_path, edit, GraphError, "sparse")


def test_sparse_initializers_that_nothing_reads(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        values = helper.make_tensor("other", TensorProto.INT8, [1], [1])
        places = helper.make_tensor("places", TensorProto.INT64, [1], [1])
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [3, 4]))

    assert_edit_refused(tmp_path, edit, GraphError, "sparse")


# --- Structure


def renamed_output(name: str, new: str) -> Edit:
    def edit(model: ModelProto) -> None:
        node(model, name).output[0] = new

    return edit


def test_duplicated_value_names(tmp_path: Path) -> None:
    assert_edit_refused(tmp_path, renamed_output("requantize", "fc"), GraphError, "'fc'", "S1")


def test_node_that_makes_a_constant(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        node(model, "requantize").output[0] = "weight"
        model.graph.value_info.append(helper.make_tensor_value_info("weight", TensorProto.INT8, ["N", 3]))

    assert_edit_refused(tmp_path, edit, GraphError, "'weight'", "S1")


def test_duplicated_node_names(tmp_path: Path) -> None:
    assert_edit_refused(tmp_path, lambda m: setattr(node(m, "fc"), "name", "softmax"), GraphError, "'softmax'", "S3")


def test_nameless_node(tmp_path: Path) -> None:
    assert_edit_refused(tmp_path, lambda m: setattr(node(m, "fc"), "name", ""), GraphError, "S3")


def test_cycle(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        node(model, "fc").input[0] = "requantize"

    assert_edit_refused(tmp_path, edit, GraphError, "node 'fc'", "S2", "'requantize'")


def test_node_out_of_order(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        model.graph.node.insert(0, model.graph.node.pop())

    assert_edit_refused(tmp_path, edit, GraphError, "node 'dequantize'", "S2")


def test_output_that_nothing_makes(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        model.graph.output.append(helper.make_tensor_value_info("none", TensorProto.INT8, [1]))

    assert_edit_refused(tmp_path, edit, GraphError, "'none'", "S4")


def test_no_outputs(tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        model.graph.value_info.append(model.graph.output.pop())

    assert_edit_refused(tmp_path, edit, GraphError, "S4")


# --- What integers stand for


WRONG_QUANTS = {
    "no JSON": "scale 0.5",
    "nothing": "",
    "nested": "[" * 10000 + "]" * 10000,
    "a list": "[0.5, 0, null]",
    "null": "null",
    "NaN": '{"scale": [NaN], "zero_point": 0, "axis": null}',
    "infinite": '{"scale": [1e999], "zero_point": 0, "axis": null}',
    "zero": '{"scale": [0.0], "zero_point": 0, "axis": null}',
    "beyond float32": '{"scale": [1e300], "zero_point": 0, "axis": null}',
    "no float32": '{"scale": [0.1], "zero_point": 0, "axis": null}',
    "an integer beyond floats": f'{{"scale": [1{"0" * 400}], "zero_point": 0, "axis": null}}',
    "too many digits": f'{{"scale": [1{"0" * 5000}], "zero_point": 0, "axis": null}}',
    "an infinite zero point": '{"scale": [0.5], "zero_point": 1e999, "axis": null}',
    "a zero point between integers": '{"scale": [0.5], "zero_point": 0.9, "axis": null}',
    "a zero point outside": '{"scale": [0.5], "zero_point": 128, "axis": null}',
    "text for numbers": '{"scale": ["a"], "zero_point": 0, "axis": null}',
    "no scale": '{"scale": [], "zero_point": 0, "axis": 0}',
    "scales without axis": '{"scale": [0.5, 0.5], "zero_point": 0, "axis": null}',
    "too few scales": '{"scale": [0.5], "zero_point": 0, "axis": 1}',
    "an axis that is not there": '{"scale": [0.5], "zero_point": 0, "axis": 7}',
    "an axis that is a float": '{"scale": [0.5], "zero_point": 0, "axis": 1.0}',
    "missing": '{"scale": [0.5], "zero_point": 0}',
    "more": '{"scale": [0.5], "zero_point": 0, "axis": null, "unit": "m"}',
    "another scale": '{"scale": [0.25], "zero_point": 0, "axis": null}',
}


@pytest.mark.parametrize("text", WRONG_QUANTS.values(), ids=WRONG_QUANTS)
def test_quants_that_are_wrong(text: str, tmp_path: Path) -> None:
    def edit(model: ModelProto) -> None:
        value_info(model, "quantize").metadata_props[0].value = text

    assert_edit_refused(tmp_path, edit, IvitError)


def test_value_without_quant_is_of_unknown_meaning(graph: Graph) -> None:
    """Where what a step is worth is a choice, it may be unknown; where it follows, it may not be left out."""
    model = to_model(graph)
    del value_info(model, "requantize").metadata_props[:]
    assert from_model(model).values["requantize"].quant is None
    del value_info(model, "quantize").metadata_props[:]
    with pytest.raises(GraphError, match=r"^node 'quantize' \(Quantize\) \(V4\): .* but found no scale$"):
        from_model(model)


NAMES = ("small", "Linear", "softmax", "weight", "image", "ai.ivit.source", "tests", "ai.ivit.quant", "half_even", "rounding")


@pytest.mark.parametrize("name", NAMES)
def test_bytes_that_are_no_text(name: str, graph: Graph, tmp_path: Path) -> None:
    """Protobuf hands out what is not UTF-8 as bytes; no name, key or value of a graph may be such."""
    data = without_functions(graph).SerializeToString(deterministic=True)
    assert name.encode() in data
    path = tmp_path / "bytes.onnx"
    path.write_bytes(data.replace(name.encode(), b"\xff" * len(name)))
    assert_refused(path, (FileError, GraphError))
