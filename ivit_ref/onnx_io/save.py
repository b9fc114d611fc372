"""Writing a graph as an ONNX model that any runtime can run."""

from __future__ import annotations

from pathlib import Path

from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ivit_ref import registry
from ivit_ref.arrays import replace_file
from ivit_ref.errors import FileError
from ivit_ref.ir import Attribute, Constant, Graph, Node, Value
from ivit_ref.onnx_body import function_of
from ivit_ref.onnx_io.quants import PREFIX, entry, quant_entries
from ivit_ref.onnx_types import DOMAIN, ONNX_DTYPES, OPSET, VERSION, attribute_kind

IR_VERSION = 10
LARGEST_MODEL = 2**31 - 1


def save(graph: Graph, path: str | Path) -> None:
    """Write the graph; the bytes depend on the graph only. ``load`` gives an equal graph back."""
    data = to_model(graph).SerializeToString(deterministic=True)
    if len(data) > LARGEST_MODEL:
        raise FileError(f"{path}: an ONNX model must be below 2 GiB, but the graph takes {len(data)} bytes")
    replace_file(path, lambda stream: stream.write(data))


def to_model(graph: Graph) -> ModelProto:
    """The graph as an ONNX model with a model-local function for each operator it uses."""
    outputs = [_value_info(graph.values[name]) for name in graph.outputs]
    inner = [n.output for n in graph.nodes if n.output.name not in graph.outputs]
    proto = helper.make_graph(
        [_node(n) for n in graph.nodes],
        graph.name,
        [_value_info(v) for v in graph.inputs],
        outputs,
        initializer=[_initializer(c) for c in graph.constants],
        value_info=[_value_info(v) for v in inner],
    )
    model = helper.make_model(
        proto,
        ir_version=IR_VERSION,
        producer_name="ivit_ref",
        functions=_functions(graph),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)],
    )
    model.metadata_props.extend(entry(PREFIX + key, value) for key, value in graph.metadata.items())
    return model


def _functions(graph: Graph) -> list[FunctionProto]:
    used = {node.op for node in graph.nodes}
    return [function_of(op) for name, op in registry.REGISTRY.items() if name in used]


def _value_info(value: Value) -> ValueInfoProto:
    info = helper.make_tensor_value_info(value.name, ONNX_DTYPES[value.type.dtype], value.type.shape)
    info.metadata_props.extend(quant_entries(value.quant))
    return info


def _initializer(constant: Constant) -> TensorProto:
    tensor = numpy_helper.from_array(constant.data, constant.value.name)
    tensor.metadata_props.extend(quant_entries(constant.value.quant))
    return tensor


def _node(node: Node) -> NodeProto:
    proto = helper.make_node(node.op, node.inputs, [v.name for v in node.outputs], name=node.name, domain=DOMAIN)
    hints = registry.lookup(node.op).attributes
    for name, value in node.attributes.items():
        kind = attribute_kind(hints[name], name)
        proto.attribute.append(helper.make_attribute(name, _onnx_value(name, value), attr_type=kind))
    return proto


def _onnx_value(name: str, value: Attribute) -> Attribute:
    if name == "dtype":
        return int(ONNX_DTYPES[str(value)])
    return int(value) if isinstance(value, bool) else value
