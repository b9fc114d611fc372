"""The fields of an ONNX file that a graph is made of, taken one by one and trusted with nothing."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

from onnx import AttributeProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ivit_ref import registry
from ivit_ref.errors import FileError, GraphError
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Attribute, Constant, Dim, TensorType, Value
from ivit_ref.onnx_io.quants import quant_of
from ivit_ref.onnx_types import DTYPE_NAMES, attribute_kind, text, type_name

LARGEST_RANK = 32


def texts(values: Iterable[Any], what: str) -> tuple[str, ...]:
    """Text fields."""
    return tuple(text(value, what) for value in values)


def value_of(info: ValueInfoProto) -> Value:
    """A declared value: a tensor of known type and rank."""
    name = text(info.name, "the name of a value")
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or tensor.elem_type not in DTYPE_NAMES or not tensor.HasField("shape"):
        raise GraphError(f"value {name!r}: must be a tensor of known type and rank, but found {type_name(tensor.elem_type)}")
    dims: list[Dim] = [text(d.dim_param, f"a dimension of {name!r}") or int(d.dim_value) for d in tensor.shape.dim]
    type_ = _typed(f"value {name!r}", DTYPE_NAMES[tensor.elem_type], tuple(dims))
    return Value(name, type_, quant_of(name, info.metadata_props))


def constant_of(tensor: TensorProto) -> Constant:
    """An initializer whose data are exactly what its shape and type claim."""
    name = text(tensor.name, "the name of a constant")
    what = f"constant {name!r}"
    if tensor.data_type not in DTYPE_NAMES:
        raise GraphError(f"{what}: must hold integers, but found {type_name(tensor.data_type)}")
    if len(tensor.dims) > LARGEST_RANK or any(d < 1 for d in tensor.dims):
        raise GraphError(
            f"{what}: must have at most {LARGEST_RANK} axes of positive length, but found {list(tensor.dims)[:40]}"
        )
    type_ = _typed(what, DTYPE_NAMES[tensor.data_type], tuple(tensor.dims))
    _check_data(what, tensor, type_)
    try:
        data = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise FileError(f"{what}: must hold the data that its shape claims, but {error}") from error
    return Constant(Value(name, type_, quant_of(name, tensor.metadata_props)), data)


def attributes_of(node: NodeProto) -> dict[str, Attribute]:
    """The attributes of a node, each of the ONNX type that its operator declares."""
    hints = registry.lookup(node.op_type).attributes
    found: dict[str, Attribute] = {}
    for proto in node.attribute:
        name = text(proto.name, f"an attribute of node {node.name!r}")
        what = f"node {node.name!r}: attribute {name!r}"
        if name in found or name not in hints:
            raise GraphError(f"{what}: must be one of {', '.join(sorted(hints))}, once, but found it {_again(name, found)}")
        found[name] = _attribute(what, proto, name, hints[name])
    return found


def _attribute(what: str, proto: AttributeProto, name: str, hint: Any) -> Attribute:
    kind = attribute_kind(hint, name)
    if proto.type != kind or proto.ref_attr_name:
        wanted = AttributeProto.AttributeType.Name(kind)
        found = "a reference" if proto.ref_attr_name else AttributeProto.AttributeType.Name(proto.type)
        raise GraphError(f"{what}: must be of ONNX type {wanted}, but found {found}")
    value: Any = helper.get_attribute_value(proto)
    if name == "dtype":
        if value not in DTYPE_NAMES:
            raise GraphError(f"{what}: must be the number of an integer type of ONNX, but found {value}")
        return DTYPE_NAMES[value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if hint is bool and value in (0, 1):
        return bool(value)
    return registry.plain(list(value)) if kind in (AttributeProto.INTS, AttributeProto.FLOATS) else registry.plain(value)


def _check_data(what: str, tensor: TensorProto, type_: TensorType) -> None:
    """As many bytes or numbers as there are elements, and numbers that the dtype holds; before anything is allocated."""
    count = prod(tensor.dims)
    if tensor.HasField("raw_data"):
        wanted, found = count * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize, len(tensor.raw_data)
    else:
        numbers = tensor.int64_data if type_.dtype == "int64" else tensor.int32_data
        wanted, found = count, len(numbers)
        low, high = BOUNDS.get(type_.dtype, (0, 0))
        if any(not low <= n <= high for n in numbers):
            raise FileError(f"{what}: must hold {type_.dtype}, but found a number outside {low} to {high}")
    if found != wanted:
        raise FileError(f"{what}: must hold the data that {type_} claims, but found {found} bytes or numbers, not {wanted}")


def _typed(what: str, dtype: str, shape: tuple[Dim, ...]) -> TensorType:
    try:
        return TensorType(dtype, shape)
    except GraphError as error:
        raise GraphError(f"{what}: {error}") from error


def _again(name: str, found: dict[str, Attribute]) -> str:
    return "again" if name in found else "as well"
