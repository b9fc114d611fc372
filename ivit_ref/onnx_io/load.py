"""Reading a graph from an ONNX model: one of our own domain as it is, any other by import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto

from ivit_ref import registry
from ivit_ref.errors import FileError, GraphError
from ivit_ref.importer import Choices, Imported, import_model
from ivit_ref.ir import Graph, Node
from ivit_ref.onnx_io.fields import attributes_of, constant_of, texts, value_of
from ivit_ref.onnx_io.quants import PREFIX
from ivit_ref.onnx_types import DOMAIN, VERSION, text
from ivit_ref.verify import verify


def load(path: str | Path, *, choices: Choices | None = None, **dims: int) -> Graph:
    """The verified graph of a model file, with named dimensions bound to ``dims``.

    A file of our own domain is read as it is, and may keep dimensions unbound. Any other quantized model is imported: each
    node becomes integer operators as ``choices`` say, or is refused by name. External data is read by onnx's own loader, which
    stays within the model's folder. Raises FileError for a file that is missing, damaged or not ONNX, GraphError for a model
    that breaks a rule or has no integer form.
    """
    return graph_of(read(path), path, choices=choices, dims=dims)


def graph_of(model: ModelProto, path: str | Path, *, choices: Choices | None, dims: Mapping[str, int]) -> Graph:
    """What ``load`` makes of a file that has been read."""
    with _naming(path):
        if not is_native(model):
            imported = import_model(model, dims, choices).graph
            assert imported is not None
            return imported.with_metadata(source=Path(path).name)
        if choices is not None:
            raise GraphError("choices are for models that are imported, but this one has operators of our own")
        graph = from_model(model)
    return graph.bind(**dims) if dims else graph


def examine(model: ModelProto, path: str | Path, *, choices: Choices | None, dims: Mapping[str, int]) -> Imported:
    """What ``load`` would make of a file that has been read and is not of our own domain, told node by node.

    Refused nodes are told with the others. A named axis that ``dims`` leave out counts as 1.
    """
    with _naming(path):
        return import_model(model, dims, choices, strict=False)


def read(path: str | Path) -> ModelProto:
    """The model of a file, as onnx reads it."""
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path}: must be an ONNX model, but there is {'a folder' if path.is_dir() else 'no such file'}")
    try:
        model = onnx.load(path, format="protobuf")
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError, TypeError, RuntimeError) as error:
        _refuse_checkpoint(path)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"{path}: must be an ONNX model, but it cannot be read: {reason}") from error
    if not model.HasField("graph") or not model.graph.node:
        raise FileError(f"{path}: must have a graph with nodes, but found none: the file is truncated or not ONNX")
    return model


def _refuse_checkpoint(path: Path) -> None:
    """What is no model may be what a model is made from."""
    if path.suffix in (".npz", ".safetensors", ".pth", ".tar", ".pt", ".bin"):
        raise FileError(f"{path}: must be an ONNX model, but found a checkpoint, which ivit-ref convert makes one of")


def is_native(model: ModelProto) -> bool:
    """Whether the model has operators of our own domain."""
    return any(node.domain == DOMAIN for node in model.graph.node)


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Errors that name the file."""
    try:
        yield
    except FileError as error:
        raise FileError(f"{path}: {error}") from error
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from error


def from_model(model: ModelProto) -> Graph:
    """The verified graph of a model."""
    if not model.HasField("graph") or not model.graph.node:
        raise FileError("an ONNX model must have a graph with nodes, but found none: the file is truncated or not ONNX")
    proto = model.graph
    for node in proto.node:
        _check_operator(node)
    versions = {text(o.domain, "the domain of an opset"): o.version for o in model.opset_import}
    if versions.get(DOMAIN) != VERSION:
        raise FileError(f"the model must import {DOMAIN} version {VERSION}, but found version {versions.get(DOMAIN)}")
    for sparse in proto.sparse_initializer:
        raise GraphError(f"constant {sparse.values.name!r}: must be dense, but found a sparse one")
    graph = Graph(
        text(proto.name, "the name of the graph"),
        tuple(value_of(info) for info in proto.input),
        texts((info.name for info in proto.output), "the name of an output"),
        tuple(constant_of(tensor) for tensor in proto.initializer),
        _nodes(proto),
        _metadata(model),
    )
    _check_outputs(graph, proto)
    verify(graph)
    return graph


def _check_operator(node: NodeProto) -> None:
    domain, op_type = texts((node.domain, node.op_type), "the operator of a node")
    if domain != DOMAIN or op_type not in registry.REGISTRY:
        name = node.name or next(iter(node.output), "")
        must = f"must use an operator of {DOMAIN} (see: ivit-ref ops)"
        found = f"{domain or 'ai.onnx'}::{op_type}"
        raise GraphError(f"node {name!r}: {must}, but found {found if found.isprintable() else repr(found)}")


def _nodes(proto: GraphProto) -> tuple[Node, ...]:
    declared = {info.name: value_of(info) for info in (*proto.value_info, *proto.output)}
    nodes = []
    for node in proto.node:
        name = text(node.name, "the name of a node")
        for output in node.output:
            if output not in declared:
                raise GraphError(f"node {name!r}: its output must have a declared type, but found none for {output!r}")
        outputs = tuple(declared[output] for output in node.output)
        nodes.append(Node(node.op_type, texts(node.input, f"an input of node {name!r}"), outputs, attributes_of(node), name))
    return tuple(nodes)


def _metadata(model: ModelProto) -> dict[str, str]:
    entries = [texts((p.key, p.value), "metadata") for p in model.metadata_props]
    return {key.removeprefix(PREFIX): value for key, value in entries if key.startswith(PREFIX)}


def _check_outputs(graph: Graph, proto: GraphProto) -> None:
    """An output that is an input or a constant is declared twice, and must be so alike."""
    for info in proto.output:
        declared, value = value_of(info), graph.values[info.name]
        if declared.type != value.type:
            raise GraphError(f"output {info.name!r}: must be declared as {value.type}, but found {declared.type}")
