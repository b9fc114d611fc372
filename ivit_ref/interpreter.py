"""Running a graph: bind the inputs, evaluate the nodes in order, tell the listeners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from ivit_ref import registry
from ivit_ref.errors import ConstraintError, InputError, IntegerOverflow, IvitError
from ivit_ref.events import Context, Event, Listener, Overflow
from ivit_ref.fast import KERNELS, Kernel
from ivit_ref.ir import Array, Graph, Node, Value
from ivit_ref.verify import verify

Engine = Literal["spec", "fast"]


class Interpreter:
    """Runs one graph, any number of times.

    ``overflow``: a value that leaves its declared width raises IntegerOverflow, or wraps and is an event. ``listeners`` hear
    of nodes and events. ``engine``: ``"spec"`` runs the operators' own NumPy bodies, ``"fast"`` runs faster equals where there
    are any; both give the same integers and events. ``clash`` runs a graph whose tensors claim scales that their producers do
    not emit (``rewrite.with_claim``), to show what that does.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        overflow: Overflow = "raise",
        listeners: Sequence[Listener] = (),
        engine: Engine = "fast",
        clash: bool = False,
    ) -> None:
        if engine not in get_args(Engine):
            raise InputError(f"engine: must be 'spec' or 'fast', but found {engine!r}")
        if not isinstance(graph, Graph):
            raise InputError(f"graph: must be a Graph (see: ivit_ref.load), but found {type(graph).__name__}")
        verify(graph, clash=clash)
        self.graph = graph
        self.listeners = tuple(listeners)
        self.context = Context(overflow=overflow, emit=self._emit if self.listeners else None)
        self._kernels = {node.op: kernel_of(node.op, engine) for node in graph.nodes}
        self._last_use = last_uses(graph)

    def run(self, inputs: Mapping[str, Array], *, intermediates: bool = False) -> dict[str, Array]:
        """The outputs by name; with ``intermediates``, every tensor that a node makes.

        Results may share memory with each other and with the inputs: copy before writing into one. Raises InputError when
        names, dtypes or shapes are not those that the graph declares.
        """
        dims = check_inputs(self.graph, inputs)
        values: dict[str, Array] = dict(inputs)
        values |= {c.value.name: c.data for c in self.graph.constants}
        kept: dict[str, Array] = {}
        for place, node in enumerate(self.graph.nodes):
            values[node.output.name] = self._evaluate(node, values, dims)
            if intermediates:
                kept[node.output.name] = values[node.output.name]
            for name in self._last_use.get(place, ()):
                del values[name]
        return kept | {name: values[name] for name in self.graph.outputs}

    def _evaluate(self, node: Node, values: Mapping[str, Array], dims: Mapping[str, int]) -> Array:
        for listener in self.listeners:
            listener.node_started(node)
        try:
            result = self._kernels[node.op](
                [values[name] for name in node.inputs], node.attributes, self.context.at(node.op, node.name)
            )
        except IntegerOverflow as error:
            if error.node:
                raise
            raise error.located(node.op, node.name) from error
        except ConstraintError as error:
            raise ConstraintError(f"node {node.name!r} ({node.op}): {error}") from error
        _check_result(node, result, dims)
        for listener in self.listeners:
            listener.node_finished(node, {node.output.name: result})
        return result

    def _emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener.event(event)


def run(
    graph: Graph, inputs: Mapping[str, Array], *, overflow: Overflow = "raise", engine: Engine = "fast"
) -> dict[str, Array]:
    """The outputs of one run by name."""
    return Interpreter(graph, overflow=overflow, engine=engine).run(inputs)


def kernel_of(op: str, engine: Engine) -> Kernel:
    """What an engine runs for an operator."""
    if engine == "fast" and op in KERNELS:
        return KERNELS[op]
    return registry.lookup(op).run


def check_inputs(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, int]:
    """The values of the named dimensions, after every check of names, dtypes and shapes."""
    if not isinstance(inputs, Mapping):
        raise InputError(f"inputs: must be arrays by name, but found {type(inputs).__name__}")
    declared = {v.name: v for v in graph.inputs}
    for name in inputs:
        if name not in declared:
            raise InputError(f"inputs: a name must be one of {', '.join(declared)}, but found {name!r}")
    dims: dict[str, int] = {}
    for name, value in declared.items():
        if name not in inputs:
            raise InputError(f"inputs: there must be an array for {name!r} ({value.type}), but found none")
        _check_input(value, inputs[name], dims)
    return dims


def _check_input(value: Value, array: Array, dims: dict[str, int]) -> None:
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise InputError(f"input {value.name!r}: must be a NumPy array without a mask, but found {type(array).__name__}")
    if str(array.dtype) != value.type.dtype:
        raise InputError(f"input {value.name!r}: the dtype must be {value.type.dtype}, but found {array.dtype}")
    fits = array.ndim == len(value.type.shape)
    for dim, length in zip(value.type.shape, array.shape, strict=False):
        wanted = dims.setdefault(dim, length) if isinstance(dim, str) else dim
        fits = fits and length == wanted and length > 0
    if not fits:
        raise InputError(f"input {value.name!r}: must be {value.type}, but found shape {list(array.shape)}")


def _check_result(node: Node, result: Array, dims: Mapping[str, int]) -> None:
    wanted = node.output.type.bind(dims)
    if str(result.dtype) != wanted.dtype or result.shape != wanted.shape:
        found = f"{result.dtype}{list(result.shape)}"
        raise IvitError(f"node {node.name!r} ({node.op}): its body must give {wanted}, but gave {found}: a bug of ivit_ref")


def last_uses(graph: Graph) -> dict[int, list[str]]:
    """For each place in the order of nodes, the values that nothing reads after it."""
    last = {node.output.name: place for place, node in enumerate(graph.nodes)}
    last |= {name: place for place, node in enumerate(graph.nodes) for name in node.inputs}
    freed: dict[int, list[str]] = {}
    for name, place in last.items():
        if name not in graph.outputs:
            freed.setdefault(place, []).append(name)
    return freed
