"""Reading a graph from an ONNX model of our own domain; everything else is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ivit_ref import registry
from ivit_ref.errors import FileError, GraphError
from ivit_ref.ir import Attribute, Constant, Dim, Graph, Node, TensorType, Value
from ivit_ref.onnx_body import DOMAIN, ONNX_DTYPES, VERSION
from ivit_ref.onnx_io.quants import PREFIX, quant_of
from ivit_ref.verify import verify

DTYPE_NAMES: dict[int, str] = {number: name for name, number in ONNX_DTYPES.items()}


def load(path: str | Path, **dims: int) -> Graph:
    """The verified graph of a model file, with named dimensions bound to ``dims``.

    External data is read by onnx's own loader, which stays within the model's folder. Raises FileError for a file that is
    missing, damaged or not ONNX, GraphError for a model that breaks a rule.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path}: must be an ONNX model, but there is {'a folder' if path.is_dir() else 'no such file'}")
    try:
        model = onnx.load(path)
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"{path}: must be an ONNX model, but it cannot be read: {reason}") from error
    try:
        graph = from_model(model)
    except (FileError, GraphError) as error:
        raise type(error)(f"{path}: {error}") from error
    return graph.bind(**dims) if dims else graph


def from_model(model: ModelProto) -> Graph:
    """The verified graph of a model."""
    if not model.HasField("graph") or not model.graph.node:
        raise FileError("an ONNX model must have a graph with nodes, but found none: the file is truncated or not ONNX")
    proto = model.graph
    for node in proto.node:
        _check_operator(node)
    versions = {o.domain: o.version for o in model.opset_import}
    if versions.get(DOMAIN) != VERSION:
        raise FileError(f"the model must import {DOMAIN} version {VERSION}, but found version {versions.get(DOMAIN)}")
    graph = Graph(
        proto.name,
        tuple(_value(info) for info in proto.input),
        tuple(info.name for info in proto.output),
        tuple(_constant(tensor) for tensor in proto.initializer),
        _nodes(proto),
        {p.key.removeprefix(PREFIX): p.value for p in model.metadata_props if p.key.startswith(PREFIX)},
    )
    verify(graph)
    return graph


def _check_operator(node: NodeProto) -> None:
    if node.domain != DOMAIN or node.op_type not in registry.REGISTRY:
        name = f"{node.domain or 'ai.onnx'}::{node.op_type}"
        must = f"must use an operator of {DOMAIN} (see: ivit-ref ops)"
        raise GraphError(f"node {node.name or node.output[0]!r}: {must}, but found {name}")


def _nodes(proto: GraphProto) -> tuple[Node, ...]:
    declared = {info.name: _value(info) for info in (*proto.value_info, *proto.output)}
    nodes = []
    for node in proto.node:
        for name in node.output:
            if name not in declared:
                raise GraphError(f"node {node.name!r}: its output must have a declared type, but found none for {name!r}")
        outputs = tuple(declared[name] for name in node.output)
        nodes.append(Node(node.op_type, tuple(node.input), outputs, _attributes(node), node.name))
    return tuple(nodes)


def _attributes(node: NodeProto) -> dict[str, Attribute]:
    hints = registry.lookup(node.op_type).attributes
    return {a.name: _attribute(node, a, hints.get(a.name)) for a in node.attribute}


def _attribute(node: NodeProto, proto: AttributeProto, hint: Any) -> Attribute:
    value = helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if proto.name == "dtype":
        if value not in DTYPE_NAMES:
            raise GraphError(f"node {node.name!r}: dtype must be an integer type of ONNX, but found {value!r}")
        return DTYPE_NAMES[value]
    if hint is bool and value in (0, 1):
        return bool(value)
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, (list, tuple)) or proto.type in (AttributeProto.INTS, AttributeProto.FLOATS):
        return tuple(value)
    raise GraphError(f"node {node.name!r}: an attribute must be a number, text or numbers, but found {proto.name!r}")


def _value(info: ValueInfoProto) -> Value:
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or tensor.elem_type not in DTYPE_NAMES or not tensor.HasField("shape"):
        raise GraphError(f"value {info.name!r}: must be a tensor of known type and rank, but found {_found(info)}")
    dims: list[Dim] = [d.dim_param or int(d.dim_value) for d in tensor.shape.dim]
    return Value(info.name, TensorType(DTYPE_NAMES[tensor.elem_type], tuple(dims)), quant_of(info.name, info.metadata_props))


def _found(info: ValueInfoProto) -> str:
    number = info.type.tensor_type.elem_type
    return TensorProto.DataType.Name(number).lower() if number in TensorProto.DataType.values() else "another type"


def _constant(tensor: TensorProto) -> Constant:
    if tensor.data_type not in DTYPE_NAMES:
        raise GraphError(f"constant {tensor.name!r}: must hold integers, but its ONNX type is {tensor.data_type}")
    try:
        data = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise FileError(f"constant {tensor.name!r}: must hold the data that its shape claims, but {error}") from error
    value = Value(tensor.name, TensorType(str(data.dtype), data.shape), quant_of(tensor.name, tensor.metadata_props))
    return Constant(value, data)
