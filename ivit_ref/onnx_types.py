"""How domain, dtypes and attributes are written in ONNX."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from onnx import AttributeProto, TensorProto

from ivit_ref.errors import FileError
from ivit_ref.integers import BOUNDS

OPSET = 21
DOMAIN = "ai.ivit"
VERSION = 1

ONNX_DTYPES = {
    "bool": TensorProto.BOOL,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16,
    "uint16": TensorProto.UINT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "float32": TensorProto.FLOAT,
}

DTYPE_NAMES: dict[int, str] = {number: name for name, number in ONNX_DTYPES.items()}

BOUNDS_BY_NUMBER = [next((BOUNDS[k] for k, v in ONNX_DTYPES.items() if v == i and k in BOUNDS), (0, 0)) for i in range(8)]
"""Smallest and largest value of the dtype with each ONNX number."""

VALUE_FIELDS = {
    AttributeProto.INT: "value_int",
    AttributeProto.INTS: "value_ints",
    AttributeProto.FLOAT: "value_float",
    AttributeProto.FLOATS: "value_floats",
    AttributeProto.STRING: "value_string",
}
"""The field of ``Constant`` that takes an attribute of each kind."""


def attribute_kind(hint: object, name: str) -> AttributeProto.AttributeType:
    """The ONNX attribute type of an attribute declared with this annotation; ``dtype`` travels as ONNX's number for it."""
    if get_origin(hint) is tuple:
        return AttributeProto.INTS if get_args(hint)[0] is int else AttributeProto.FLOATS
    if hint is float:
        return AttributeProto.FLOAT
    is_text = get_origin(hint) is Literal and isinstance(get_args(hint)[0], str)
    return AttributeProto.STRING if is_text and name != "dtype" else AttributeProto.INT


def type_name(number: int) -> str:
    """What ONNX calls an element type, of ours or not."""
    return TensorProto.DataType.Name(number).lower() if number in TensorProto.DataType.values() else f"type {number}"


def text(value: Any, what: str) -> str:
    """A text field; protobuf hands out what is not UTF-8 as bytes."""
    if not isinstance(value, str):
        raise FileError(f"{what}: must be UTF-8 text, but found {value!r}")
    return value
