"""An ONNX model from anywhere, as a list of operators with plain attributes: what the importer works on.

Nothing is trusted: sizes are checked before arrays are made, names must have one producer, the order is made anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ivit_ref.errors import FileError, GraphError
from ivit_ref.ir import Array
from ivit_ref.onnx_types import DTYPE_NAMES, ONNX_DTYPES, text, type_name

LARGEST_RANK = 32
MOST = 2**31
OPSETS = (7, 28)
ARRAYS = frozenset((*ONNX_DTYPES.values(), TensorProto.DOUBLE, TensorProto.UINT32, TensorProto.UINT64))
"""Element types that constants may have; what else there is (float16, 4 bits) is refused where it is used."""


@dataclass(frozen=True)
class Foreign:
    """A constant of an element type that no integer graph has; refused by the node that reads it."""

    dtype: str


def printable(name: str) -> str:
    """A name of a stranger, as it may go into a message."""
    return "".join(c if c.isprintable() else "?" for c in name)


def instead(dtype: str) -> str:
    """The way out for an element type that no integer graph has."""
    if dtype in ("float16", "bfloat16"):
        return "float32 (export and quantize in float32, ModelOpt: high_precision_dtype=fp32)"
    if dtype.startswith(("int4", "uint4", "int2", "uint2", "float4", "float8")):
        return "integers of 8 bits or more (quantize_static with QInt8 weights and activations)"
    return "float32 or integers of 8 to 64 bits"


@dataclass(frozen=True)
class Op:
    """One node: ``type`` is ``MatMul`` or, outside the standard domain, ``com.microsoft::QGemm``."""

    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    version: int = 0

    def has(self, place: int) -> bool:
        """Whether the optional input of that place is given."""
        return place < len(self.inputs) and self.inputs[place] != ""

    def get(self, name: str, default: Any) -> Any:
        """An attribute of the type of its default."""
        value = self.attributes.get(name, default)
        kinds = (float, int) if isinstance(default, float) else (type(default),)
        if default is not None and not isinstance(value, kinds):
            raise GraphError(f"its attribute {name!r} must be of type {type(default).__name__}, but found {value!r}")
        return value

    def ints(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
        """An attribute that is a list of integers."""
        value = self.attributes.get(name, default)
        if value is not None and not (isinstance(value, tuple) and all(isinstance(v, int) for v in value)):
            raise GraphError(f"its attribute {name!r} must be a list of integers, but found {value!r}")
        return value

    @property
    def output(self) -> str:
        """The first output."""
        return self.outputs[0]


@dataclass(frozen=True)
class Edge:
    """An input of the graph: element type and shape, with every axis bound."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass
class Source:
    """The graph of a model; its outputs with the element types that it declares."""

    name: str
    inputs: list[Edge]
    outputs: dict[str, str]
    constants: dict[str, Array | Foreign]
    ops: list[Op]
    opset: int
    producer: str


def read_model(model: ModelProto, dims: Mapping[str, int]) -> Source:
    """The graph of a model with its named axes bound; GraphError or FileError where it is not one."""
    proto = model.graph
    versions = {_domain(text(o.domain, "the domain of an opset")): o.version for o in model.opset_import}
    opset = versions.get("", 0)
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise GraphError(f"the model must import ai.onnx of a version from {OPSETS[0]} to {OPSETS[1]}, but found {opset}")
    if model.functions:
        name = text(model.functions[0].name, "the name of a function")
        raise GraphError(f"the model must have no functions of its own (onnx.inliner takes them away), but found {name!r}")
    constants: dict[str, Array | Foreign] = {}
    for tensor in proto.initializer:
        _once(constants, text(tensor.name, "the name of a constant"))
        constants[tensor.name] = array_of(tensor, f"constant {tensor.name!r}")
    for sparse in proto.sparse_initializer:
        raise GraphError(f"constant {sparse.values.name!r}: must be dense, but found a sparse one")
    inputs = _inputs(model, constants, dims)
    nodes = _named([_op(node, versions, place) for place, node in enumerate(proto.node)])
    ops = _ordered(nodes, {*constants, *(e.name for e in inputs)})
    outputs = {text(o.name, "the name of an output"): DTYPE_NAMES.get(o.type.tensor_type.elem_type, "") for o in proto.output}
    known = {*constants, *(e.name for e in inputs), *(name for op in ops for name in op.outputs)}
    for name in outputs:
        if name not in known:
            raise GraphError(f"output {name!r}: must be made by a node, but found none that makes it")
    producer = text(model.producer_name, "the name of the producer")
    return Source(text(proto.name, "the name of the graph"), inputs, outputs, constants, ops, opset, producer)


def array_of(tensor: TensorProto, what: str) -> Array | Foreign:
    """The array of a tensor whose data are exactly what its shape and type claim."""
    if tensor.data_type not in ARRAYS:
        return Foreign(type_name(tensor.data_type))
    if len(tensor.dims) > LARGEST_RANK or any(d < 0 for d in tensor.dims):
        raise GraphError(f"{what}: must have at most {LARGEST_RANK} axes of known lengths, but found {list(tensor.dims)[:40]}")
    count, found = prod(tensor.dims), _numbers(tensor)
    if found != count:
        raise FileError(f"{what}: must hold the data that {list(tensor.dims)} claims, {count} numbers, but found {found}")
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, OverflowError) as error:
        raise FileError(f"{what}: must hold the data that its shape claims, but {' '.join(str(error).split())}") from error


def _numbers(tensor: TensorProto) -> float:
    """How many numbers a tensor holds."""
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data) / helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return len(getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type)))


def named_axes(model: ModelProto) -> list[str]:
    """The axes of the inputs that have a name and no length."""
    constants = {tensor.name for tensor in model.graph.initializer}
    shapes = [_shape(info) for info in model.graph.input if info.name not in constants]
    return list(dict.fromkeys(d for shape in shapes for d in shape if isinstance(d, str)))


def _inputs(model: ModelProto, constants: Mapping[str, object], dims: Mapping[str, int]) -> list[Edge]:
    """The inputs that are no constants; every axis of theirs must be bound."""
    infos = [info for info in model.graph.input if info.name not in constants]
    shapes = {text(info.name, "the name of an input"): _shape(info) for info in infos}
    if len(shapes) < len(infos):
        raise GraphError(f"the inputs must have different names, but found {[i.name for i in infos]}")
    names = named_axes(model)
    for name, length in dims.items():
        if name not in names:
            must = f"must be one of {', '.join(names)}" if names else "must be left out, since every axis has a length already"
            raise GraphError(f"a dimension {must}, but found {name!r}")
        if type(length) is not int or not 1 <= length < 2**31:
            raise GraphError(f"the dimension {name} must be a positive length, but found {length!r}")
    unbound = [name for name in names if name not in dims]
    if unbound:
        example = ", ".join(f"{name}=1" for name in unbound)
        must = f"every axis of its inputs must have a length: give {example} to load(), or --dims {example.replace(', ', ' ')}"
        raise GraphError(f"{must}, but found unbound {', '.join(unbound)}")
    bound: dict[str, tuple[int, ...]] = {
        n: tuple(dims[d] if isinstance(d, str) else d for d in shape) for n, shape in shapes.items()
    }
    for name, shape in bound.items():
        if prod(shape) > MOST:
            raise GraphError(f"input {name!r}: must have at most 2**31 elements, but found {list(shape)}")
    return [Edge(info.name, _element_type(info), bound[info.name]) for info in infos]


def _shape(info: ValueInfoProto) -> tuple[int | str, ...]:
    """Lengths and names; an axis that has neither is named after its place: ``image_0``."""
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise GraphError(f"input {info.name!r}: must be a tensor of known rank, but found another type")
    shape: list[int | str] = []
    for place, d in enumerate(tensor.shape.dim):
        if d.HasField("dim_value") and d.dim_value < 1:
            raise GraphError(f"input {info.name!r}: an axis must have a positive length, but found {d.dim_value}")
        named = printable(text(d.dim_param, f"an axis of {info.name!r}")) or f"{printable(info.name)}_{place}"
        shape.append(d.dim_value if d.HasField("dim_value") else named)
    return tuple(shape)


def _element_type(info: ValueInfoProto) -> str:
    number = info.type.tensor_type.elem_type
    if number in DTYPE_NAMES:
        return DTYPE_NAMES[number]
    found = type_name(number)
    raise GraphError(f"input {info.name!r}: must hold {instead(found)}, but found {found}")


def _op(node: NodeProto, versions: Mapping[str, int], place: int) -> Op:
    domain = _domain(text(node.domain, "the domain of a node"))
    op_type = text(node.op_type, "the operator of a node")
    outputs = tuple(text(o, "an output of a node") for o in node.output)
    name = text(node.name, "the name of a node") or next(filter(None, outputs), f"node {place}")
    inputs = tuple(text(i, f"an input of node {name!r}") for i in node.input)
    attributes = {text(a.name, f"an attribute of node {name!r}"): _attribute(a, name, op_type) for a in node.attribute}
    if not outputs or not outputs[0]:
        raise GraphError(f"node {name!r} ({op_type}): must have an output, but found none")
    full = printable(f"{domain}::{op_type}" if domain else op_type)
    return Op(full, inputs, outputs, attributes, name, versions.get(domain, 1))


def _named(ops: list[Op]) -> list[Op]:
    """The operators with names of their own: those of ONNX need not be."""
    counts = Counter(op.name for op in ops)
    return [op if counts[op.name] == 1 else replace(op, name=f"{op.name} of {op.output}") for op in ops]


def _attribute(proto: AttributeProto, node: str, op_type: str) -> Any:
    what = f"node {node!r} ({op_type})"
    if proto.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
        raise GraphError(f"{what}: must have no graph inside (export without control flow), but found {proto.name!r}")
    if proto.ref_attr_name:
        raise GraphError(f"{what}: must have attributes of its own, but found a reference {proto.ref_attr_name!r}")
    if proto.type == AttributeProto.TENSOR:
        return array_of(proto.t, f"{what}: attribute {proto.name!r}")
    if proto.type == AttributeProto.STRING:
        return proto.s.decode("utf-8", "backslashreplace")
    if proto.type in (AttributeProto.INT, AttributeProto.FLOAT):
        return proto.i if proto.type == AttributeProto.INT else proto.f
    if proto.type in (AttributeProto.INTS, AttributeProto.FLOATS):
        return tuple(proto.ints) if proto.type == AttributeProto.INTS else tuple(proto.floats)
    return Foreign(str(proto.type))


def _ordered(ops: list[Op], known: set[str]) -> list[Op]:
    """The operators, each after those that it reads."""
    makers: dict[str, int] = {}
    for place, op in enumerate(ops):
        for name in filter(None, op.outputs):
            if name in known or name in makers:
                raise GraphError(f"value {name!r}: must have one producer, but found a second one: node {op.name!r}")
            makers[name] = place
    for op in ops:
        for name in op.inputs:
            if name and name not in known and name not in makers:
                raise GraphError(f"node {op.name!r} ({op.type}): an input must be made before it, but nothing makes {name!r}")
    order = list(_postorder(ops, makers))
    return [ops[place] for place in order]


def _postorder(ops: list[Op], makers: Mapping[str, int]) -> Iterator[int]:
    """The places in an order in which every one comes after those it needs; on a stack of its own, so any depth goes."""
    state = [0] * len(ops)
    for first in range(len(ops)):
        stack = [first]
        while stack:
            place = stack[-1]
            waiting = [makers[n] for n in ops[place].inputs if n in makers and state[makers[n]] != 2]
            if state[place] == 0 and waiting:
                state[place] = 1
                stack += waiting
            elif waiting and state[place] == 1:
                raise GraphError(f"node {ops[place].name!r} ({ops[place].type}): must not read what follows from it: a cycle")
            else:
                stack.pop()
                if state[place] != 2:
                    state[place] = 2
                    yield place


def _once(constants: Mapping[str, object], name: str) -> None:
    if name in constants:
        raise GraphError(f"value {name!r}: must have one producer, but found two constants of that name")


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
