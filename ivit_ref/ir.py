"""The graph: immutable, topologically ordered, and the whole truth about its arithmetic.

A graph knows nothing of ONNX, of operators' meanings or of execution. ``Quant`` describes what integers stand for and
never takes part in the arithmetic. A dimension is an integer, or a name such as ``"N"`` for an axis that is bound when
the graph is run or loaded (``graph.bind(N=1)``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ivit_ref.errors import GraphError

if TYPE_CHECKING:
    from ivit_ref.profiles import Profile

Dim: TypeAlias = "int | str"
Shape: TypeAlias = "tuple[Dim, ...]"
Attribute: TypeAlias = "int | float | str | tuple[int, ...] | tuple[float, ...]"
Array: TypeAlias = npt.NDArray[Any]

DTYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "float32")
"""float32 exists at a graph's edges only: before ``Quantize`` and after ``Dequantize``."""


LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class TensorType:
    """Element type and shape; printed as ``int8[N,17,64]``."""

    dtype: str
    shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.dtype not in DTYPES:
            raise GraphError(f"type: the dtype must be one of {', '.join(DTYPES)}, but found {self.dtype!r}")
        for dim in self.shape:
            if not (isinstance(dim, str) and dim.isidentifier()) and not (type(dim) is int and dim >= 1):
                raise GraphError(f"type: a dimension must be a positive integer or a name, but found {dim!r}")

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"

    def bind(self, dims: Mapping[str, int]) -> TensorType:
        """The type with named dimensions replaced by their values."""
        return replace(self, shape=tuple(dims.get(d, d) if isinstance(d, str) else d for d in self.shape))


@dataclass(frozen=True)
class Quant:
    """What integers stand for: ``real = scale * (integer - zero_point)``; one step is worth ``scale``.

    ``scale`` holds float32 values, one of them, or one for each index along ``axis``. A scale may be negative (a folded
    LayerNorm gain), never zero.
    """

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tuple(self.scale))
        for s in self.scale:
            if not 2.0**-149 <= abs(s) <= LARGEST_FLOAT32 or float(np.float32(s)) != s:
                must = "a scale must be a finite float32 other than zero (numpy.float32 gives the nearest)"
                raise GraphError(f"quant: {must}, but found {s!r}")
        if not self.scale or (self.axis is None and len(self.scale) != 1):
            raise GraphError(f"quant: without an axis there must be one scale, but found {len(self.scale)}")

    def __str__(self) -> str:
        scale = f"{self.scale[0]:.6g}" if self.axis is None else f"[{len(self.scale)} along axis {self.axis}]"
        return f"scale={scale}" + (f" zero_point={self.zero_point}" if self.zero_point else "")


@dataclass(frozen=True)
class Value:
    """A named tensor of the graph."""

    name: str
    type: TensorType
    quant: Quant | None = None


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that the graph carries; its array is read-only."""

    value: Value
    data: Array

    def __post_init__(self) -> None:
        data = np.array(self.data, copy=True, order="C")
        if str(data.dtype) != self.value.type.dtype or data.shape != self.value.type.shape:
            found = f"{data.dtype}{list(data.shape)}"
            raise GraphError(f"constant {self.value.name!r}: the array must be {self.value.type}, but found {found}")
        data.setflags(write=False)
        object.__setattr__(self, "data", data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.value == other.value and np.array_equal(self.data, other.data)

    def __hash__(self) -> int:
        return hash(self.value)


@dataclass(frozen=True)
class Node:
    """One application of an operator: names in, values out, and every constant its arithmetic needs."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[Value, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", MappingProxyType(dict(sorted(self.attributes.items()))))

    @property
    def output(self) -> Value:
        """The only output; every operator of version 1 has one."""
        return self.outputs[0]

    def __hash__(self) -> int:
        return hash((self.op, self.inputs, self.outputs, self.name))


@dataclass(frozen=True)
class Graph:
    """Inputs, constants, nodes in the order of execution, and the names of the outputs.

    Constructing one checks its structure (S1-S5); ``verify.verify`` checks what its nodes mean. ``metadata`` holds strings:
    the profile, where the weights came from.
    """

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[str, ...]
    constants: tuple[Constant, ...]
    nodes: tuple[Node, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Value] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "metadata", MappingProxyType(dict(sorted(self.metadata.items()))))
        object.__setattr__(self, "values", MappingProxyType(_collect(self)))

    def __hash__(self) -> int:
        return hash((self.name, self.inputs, self.outputs, self.nodes))

    def __deepcopy__(self, memo: object) -> Graph:
        return self

    @property
    def dims(self) -> tuple[str, ...]:
        """The named dimensions of the inputs, in order of appearance."""
        return tuple(dict.fromkeys(d for v in self.inputs for d in v.type.shape if isinstance(d, str)))

    def producer(self, name: str) -> Node | None:
        """The node that makes a value; None for inputs and constants."""
        return next((n for n in self.nodes if any(v.name == name for v in n.outputs)), None)

    def bind(self, **dims: int) -> Graph:
        """The graph with named dimensions replaced by integers."""
        from ivit_ref.rewrite import bind

        return bind(self, dims)

    def with_metadata(self, **metadata: str) -> Graph:
        """The graph with some metadata added or replaced."""
        return replace(self, metadata={**self.metadata, **metadata})

    def with_profile(self, profile: str | Profile) -> Graph:
        """The graph in another profile: every constant, and the scales that follow from it, rewritten."""
        from ivit_ref.rewrite import with_profile

        return with_profile(self, profile)

    def with_methods(
        self,
        *,
        softmax: str | None = None,
        gelu: str | None = None,
        layernorm: str | None = None,
        requantize: str | None = None,
    ) -> Graph:
        """The graph with the operators of these roles by another published method each (``methods.METHODS``)."""
        from ivit_ref.exchange import with_methods

        given = {"softmax": softmax, "gelu": gelu, "layernorm": layernorm, "requantize": requantize}
        return with_methods(self, {role: name for role, name in given.items() if name is not None})  # type: ignore[misc]

    def with_attributes(self, op: str, **attributes: Attribute) -> Graph:
        """The graph with some attributes of every ``op`` node replaced, and the scales that follow from it."""
        from ivit_ref.rewrite import with_attributes

        return with_attributes(self, op, attributes)


def _collect(graph: Graph) -> dict[str, Value]:
    """Every value by name, checking the structure on the way.

    (S1) names of values are unique and not empty; (S2) a node reads only what exists before it; (S3) names of nodes are
    unique and not empty; (S4) every output exists, and there is one; (S5) a name is printable and has no white space.
    """
    values: dict[str, Value] = {}
    for value in _declared(graph):
        _add(values, value)
    names: set[str] = set()
    for node in graph.nodes:
        if not node.name or node.name in names:
            raise GraphError(f"graph (S3): names of nodes must be unique and not empty, but found {node.name!r} again")
        names.add(node.name)
        _check_name(node.name)
        for name in node.inputs:
            if name not in values:
                raise GraphError(f"node {node.name!r} (S2): an input must exist before the node, but found {name!r}")
        for value in node.outputs:
            _add(values, value)
    if not graph.outputs:
        raise GraphError("graph (S4): there must be an output, but found none")
    for name in graph.outputs:
        if name not in values:
            raise GraphError(f"graph (S4): an output must be a value of the graph, but found {name!r}")
    return values


def _declared(graph: Graph) -> Iterator[Value]:
    yield from graph.inputs
    for constant in graph.constants:
        yield constant.value


def _add(values: dict[str, Value], value: Value) -> None:
    if value.name in values:
        raise GraphError(f"graph (S1): a value must have one producer, but found two of {value.name!r}")
    _check_name(value.name)
    values[value.name] = value


def _check_name(name: str) -> None:
    if not name or not name.isprintable() or any(c.isspace() for c in name):
        raise GraphError(f"graph (S5): a name must be printable and without white space, but found {name!r}")
