"""What has no exact integer form is refused: one line that names the node, what must hold, and last what was found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from onnx import TensorProto, helper

import ivit_ref
from ivit_ref.errors import IvitError
from ivit_ref.importer import import_model
from tests.importer.building import Writer, imported, operators, refusal, run

Body: TypeAlias = Callable[[Writer], str]

NAN, INF = float("nan"), float("inf")
EYE = np.eye(4)


def refused(body: Body, opset: int = 21) -> str:
    w = Writer(opset)
    return refusal(w.model(body(w)))


def bad(op: str, *inputs: Callable[[Writer], str], shape: tuple[int, ...] = (2, 4), **attributes: Any) -> Body:
    """A node called ``bad`` that reads a quantized input, and what else is given."""
    return lambda w: w.node(op, w.image(shape), *(make(w) for make in inputs), name="bad", **attributes)


def number(value: Any, dtype: str = "float32") -> Callable[[Writer], str]:
    return lambda w: w.constant(value, dtype)


def nothing(_: Writer) -> str:
    return ""


def typed(data_type: int, size: int = 1) -> Callable[[Writer], str]:
    """A constant of a type that NumPy does not have, or that no integer graph has."""

    def make(w: Writer) -> str:
        w.constants.append(TensorProto(name="typed", data_type=data_type, dims=[size], raw_data=bytes(size)))
        return "typed"

    return make


# --- Kinds of quantization that are not static


@pytest.mark.parametrize(
    ("body", "node", "way_out"),
    [
        (bad("DynamicQuantizeLinear", out=("a", "b", "c")), "DynamicQuantizeLinear", "quantize_static"),
        (bad("com.microsoft::MatMulNBits", K=4, N=4, bits=4), "com.microsoft::MatMulNBits", "quantize_static"),
        (bad("com.microsoft::DynamicQuantizeMatMul"), "com.microsoft::DynamicQuantizeMatMul", "quantize_static"),
        (bad("com.microsoft::QAttention"), "com.microsoft::QAttention", "take the fused attention apart"),
        (bad("RMSNormalization"), "RMSNormalization", "LayerNormalization"),
        (bad("Loop"), "Loop", "control flow"),
        (bad("Cast", to=TensorProto.FLOAT16), "Cast", "found float16"),
        (bad("Cast", to=TensorProto.BFLOAT16), "Cast", "found bfloat16"),
        (bad("Mul", typed(TensorProto.FLOAT16)), "Mul", "found float16"),
        (bad("DequantizeLinear", typed(TensorProto.FLOAT16)), "DequantizeLinear", "found float16"),
        (bad("QuantizeLinear", typed(TensorProto.FLOAT16)), "QuantizeLinear", "found float16"),
        (bad("QuantizeLinear", number(0.5), typed(TensorProto.INT4)), "QuantizeLinear", "found int4"),
        (bad("QuantizeLinear", number(0.5), typed(TensorProto.FLOAT8E4M3FN)), "QuantizeLinear", "found float8e4m3fn"),
        (bad("QuantizeLinear", number(0.5), number(0, "int64")), "QuantizeLinear", "found int64"),
        (bad("Mystery"), "Mystery", "has no integer form"),
    ],
)  # fmt: skip
def test_what_is_not_quantized_statically_is_refused_with_a_way_out(body: Body, node: str, way_out: str) -> None:
    message = refused(body)
    assert message.startswith(f"node 'bad' ({node}): ")
    assert way_out in message


@pytest.mark.parametrize(("op", "how"), [("QuantizeLinear", {}), ("DequantizeLinear", {"block_size": 2})])
def test_blocks_are_refused(op: str, how: dict[str, Any]) -> None:
    def body(w: Writer) -> str:
        scales = w.constant(np.full((2, 4), 0.5))
        return w.node(
            "MatMul", w.image(), w.node("DequantizeLinear", w.constant(EYE, "int8"), scales, name="bad", axis=0, **how)
        )

    assert refused(body).startswith("node 'bad' (DequantizeLinear): ")


def test_weights_of_four_bits_are_refused() -> None:
    def body(w: Writer) -> str:
        w.constants.append(TensorProto(name="four", data_type=TensorProto.INT4, dims=[4, 4], raw_data=bytes(8)))
        return w.node("MatMul", w.image(), w.node("DequantizeLinear", "four", w.constant(0.5), name="bad"))

    message = refused(body)
    assert message.startswith("node 'bad' (DequantizeLinear): ")
    assert message.endswith("found int4")


def test_a_float_model_is_refused_as_one() -> None:
    w = Writer()
    message = refusal(w.model(w.node("MatMul", w.node("Relu", w.input("x", (2, 4))), w.constant(EYE), name="fc1")))
    assert message.startswith("the model must be quantized")
    assert "quantize_static" in message
    assert message.endswith("node 'fc1' (MatMul)")


def test_float_weights_that_are_no_numbers_are_refused() -> None:
    message = refused(bad("MatMul", number(np.full((4, 4), NAN))))
    assert message.startswith("node 'bad' (MatMul): its weight must be finite")


def test_a_float_input_that_is_not_quantized_is_refused() -> None:
    w = Writer()
    message = refusal(w.model(w.image(), w.node("Relu", w.input("raw", (2,)), name="bad")))
    assert message.startswith("node 'bad' (Relu): ")
    assert message.endswith("found the float input 'raw'")


# --- Scales and zero points

SCALES = [
    (0.0, "0.0"),
    (-0.5, "-0.5"),
    (NAN, "nan"),
    (INF, "inf"),
    (-INF, "-inf"),
    ([0.5, 0.25, 1.0], "3"),
    ([[0.5]], "float32[1,1]"),
]


@pytest.mark.parametrize(("scale", "found"), SCALES)
@pytest.mark.parametrize("where", ["QuantizeLinear", "DequantizeLinear", "weights", "input"])
def test_a_scale_that_is_none_is_refused(where: str, scale: Any, found: str) -> None:
    def body(w: Writer) -> str:
        if where == "input":
            x = w.quantize(w.input("x", (2, 4)), scale, name="bad")
            return w.dequantize(x, 0.5)
        if where == "weights":
            integers, scales = w.constant(EYE, "int8"), w.constant(scale)
            return w.node("MatMul", w.image(), w.node("DequantizeLinear", integers, scales, name="bad"))
        x = w.image()
        if where == "DequantizeLinear":
            return w.dequantize(w.quantize(x, 0.5), scale, name="bad")
        return w.quantize(x, scale, name="bad")

    message = refused(body)
    assert message.startswith("node 'bad' (")
    assert message.replace(" ", "").endswith(f"found{found}") or found == "3"


@pytest.mark.parametrize("axis", [1, 0, 5, -3])
def test_scales_that_do_not_fit_their_axis_are_refused(axis: int) -> None:
    def body(w: Writer) -> str:
        weights = w.node("DequantizeLinear", w.constant(np.ones((4, 5)), "int8"), w.constant([0.5] * 3), name="bad", axis=axis)
        return w.node("MatMul", w.image(), weights)

    message = refused(body)
    assert message.startswith("node 'bad' (DequantizeLinear): the scales must be as many as axis")
    assert message.endswith("found 3")


@pytest.mark.parametrize(("dtype", "zero", "other"), [("int8", 0, "uint8"), ("uint8", 128, "int8"), ("int8", 0, "int32")])
def test_a_zero_point_of_another_type_is_refused(dtype: str, zero: int, other: str) -> None:
    def body(w: Writer) -> str:
        x = w.quantize(w.input("x", (2, 4)), 0.5, zero, dtype)
        return w.node("DequantizeLinear", x, w.constant(0.5), w.constant(0, other), name="bad")

    message = refused(body)
    assert message.startswith(f"node 'bad' (DequantizeLinear): the zero point must be {dtype}")
    assert message.endswith(f"found {other}")


@pytest.mark.parametrize(("zeros", "found"), [([1, 2], "[1, 2]"), ([], "[]")])
def test_zero_points_of_a_tensor_must_be_one(zeros: list[int], found: str) -> None:
    message = refused(bad("QuantizeLinear", number(0.5), number(zeros, "int8")))
    assert message.startswith("node 'bad' (QuantizeLinear): the zero point must be one value of int8")
    assert message.endswith(found)


def test_a_quantization_that_its_producer_does_not_have_counts_and_is_told() -> None:
    x = np.arange(-8, 8, dtype=np.float32).reshape(2, 8)
    w = Writer()
    model = w.model(w.dequantize(w.quantize(w.input("x", x.shape), 0.5, 3), 0.25, 5, name="other"))
    np.testing.assert_allclose(run(model, {"x": x}), (x / 0.5 + 3 - 5) * 0.25, rtol=0, atol=2.0**-20)
    assert any(line.startswith("other.y: reads") for line in import_model(model, {}).report.chosen)


def test_scales_of_channels_that_the_producer_does_not_have_are_refused() -> None:
    def body(w: Writer) -> str:
        y = w.node("MatMul", w.image(), w.weights(EYE))
        q = w.node("QuantizeLinear", y, w.constant([0.5, 0.25, 0.125, 1]), w.constant([0] * 4, "int8"), axis=1)
        return w.node("DequantizeLinear", q, w.constant([0.5] * 4), w.constant([0] * 4, "int8"), axis=1, name="bad")

    assert refused(body).startswith("node 'bad' (DequantizeLinear)")


# --- The shape of the graph


def test_a_cycle_is_refused() -> None:
    def body(w: Writer) -> str:
        w.node("Add", w.image(), "second", out="first", name="a")
        return w.node("Relu", "first", out="second", name="b")

    assert refused(body) == "node 'a' (Add): must not read what follows from it: a cycle"


def test_two_producers_of_one_name_are_refused() -> None:
    def body(w: Writer) -> str:
        x = w.image()
        w.node("Relu", x, out="same", name="one")
        return w.node("Neg", x, out="same", name="two")

    assert refused(body) == "value 'same': must have one producer, but found a second one: node 'two'"


@pytest.mark.parametrize("name", ["x", "c0"])
def test_a_producer_of_an_input_or_a_constant_is_refused(name: str) -> None:
    assert f"value {name!r}: must have one producer" in refused(lambda w: w.node("Relu", w.image(), out=name))


def test_a_missing_producer_is_refused() -> None:
    assert refused(bad("Add", lambda w: "ghost")).startswith("node 'bad' (Add): an input must be made before it")
    w = Writer()
    assert refusal(w.model(w.image(), "ghost")).startswith("output 'ghost': must be made by a node")


def accumulating(w: Writer, terms: int = 2**18) -> str:
    """So many products of 127 by up to 128: 2**17 of them fit int32, 2**18 do not."""
    return w.node("MatMul", w.image((1, terms)), w.weights(np.full((terms, 2), 127)), name="wide")


OWNER = [
    pytest.param(False),
    pytest.param(True),
]


@pytest.mark.parametrize("quantized", OWNER)
def test_an_accumulator_beyond_int32_is_refused_at_its_node(quantized: bool) -> None:
    message = refused(lambda w: w.quantize(accumulating(w), 100.0) if quantized else accumulating(w))
    assert "node 'wide' (MatMul): " in message


def test_an_accumulator_beyond_int32_is_refused_with_its_bound() -> None:
    assert refused(lambda w: w.quantize(accumulating(w), 100.0)).endswith(f"its bound is {2**18 * 127 * 128}")


def test_the_largest_accumulator_that_fits_is_taken() -> None:
    w = Writer()
    assert operators(imported(w.model(accumulating(w, 2**17)))) == ["Quantize", "Linear", "Dequantize"]


@pytest.mark.parametrize("opset", [1, 6, 29, 1000])
def test_an_opset_outside_its_range_is_refused(opset: int) -> None:
    w = Writer(opset)
    assert refusal(w.model(w.image())).endswith(f"but found {opset}")


def test_a_missing_opset_is_refused() -> None:
    w = Writer()
    model = w.model(w.image())
    del model.opset_import[:]
    assert refusal(model).endswith("but found 0")


def test_functions_of_the_model_are_refused() -> None:
    w = Writer()
    model = w.model(w.node("Mine", w.image()))
    opsets = [helper.make_opsetid("", 20)]
    model.functions.append(helper.make_function("own", "Mine", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], opsets))
    assert refusal(model).endswith("but found 'Mine'")


def test_unbound_axes_are_told_with_the_way_to_bind_them() -> None:
    w = Writer()
    model = w.model(w.image(("N", "T")))
    message = refusal(model)
    assert "--dims N=1 T=1" in message
    assert message.endswith("but found unbound N, T")
    assert refusal(model, N=2).endswith("but found unbound T")
    assert refusal(model, N=2, T=3, M=4).endswith("but found 'M'")
    assert refusal(model, N=0, T=3).endswith("but found 0")


def message_of(field: int, payload: bytes) -> bytes:
    """One field of a protobuf message that holds another one, written by hand: the library refuses to nest so deep."""
    size, length = [], len(payload)
    while length >= 128:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([field << 3 & 127 | 2, *([] if field < 16 else [field >> 4]), *size, length]) + payload


@pytest.mark.parametrize("depth", [1, 20, 24, 100, 2000])
def test_nested_control_flow_is_refused(depth: int, tmp_path: Path) -> None:
    w = Writer()
    w.input("x", (2, 4))
    node = helper.make_node("Relu", ["x"], ["y"]).SerializeToString()
    for _ in range(depth):
        attribute = helper.make_attribute("body", helper.make_graph([], "g", [], []))
        attribute.ClearField("g")
        node = helper.make_node("Loop", ["x"], ["y"], name="outer").SerializeToString() + message_of(
            5, attribute.SerializeToString() + message_of(6, message_of(1, node))
        )
    (tmp_path / "deep.onnx").write_bytes(w.model("y").SerializeToString() + message_of(7, message_of(1, node)))
    with pytest.raises(IvitError, match=r"node 'outer' \(Loop\): must have no graph inside|cannot be read"):
        ivit_ref.load(tmp_path / "deep.onnx")
