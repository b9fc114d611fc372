"""Building a graph node by node, with types, scales and the constants that follow from them filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ivit_ref import registry, scales
from ivit_ref.errors import ConstraintError, GraphError, ScaleError
from ivit_ref.ir import Array, Attribute, Constant, Graph, Node, Quant, Shape, TensorType, Value
from ivit_ref.profiles import Profile, profile_named
from ivit_ref.verify import verify


class GraphBuilder:
    """Collects values and nodes; ``finish`` gives the verified graph.

    With a profile, the attributes that it chooses need not be given.
    """

    def __init__(self, name: str, profile: str | Profile | None = None) -> None:
        self.name = name
        self.profile = None if profile is None else profile_named(profile)
        self.inputs: list[Value] = []
        self.constants: list[Constant] = []
        self.nodes: list[Node] = []

    def input(self, name: str, dtype: str, shape: Shape, quant: Quant | None = None) -> Value:
        """Declare an input of the graph."""
        self.inputs.append(Value(name, TensorType(dtype, shape), quant))
        return self.inputs[-1]

    def constant(self, name: str, data: Array, quant: Quant | None = None) -> Value:
        """Add a constant."""
        value = Value(name, TensorType(str(data.dtype), tuple(data.shape)), quant)
        self.constants.append(Constant(value, data))
        return value

    def node(
        self, op: str, *inputs: Value, name: str, output: str = "", quant: Quant | None = None, **attributes: Attribute
    ) -> Value:
        """Add a node and return its output, which has the node's name unless ``output`` gives another.

        ``quant`` is what a step of the output shall mean, for operators where that is a choice (``Requantize``).
        """
        node = make_node(op, inputs, name, quant, attributes, self.profile, output)
        self.nodes.append(node)
        return node.output

    def finish(self, outputs: Sequence[Value], metadata: Mapping[str, str] | None = None) -> Graph:
        """The verified graph."""
        facts = dict(metadata or {})
        if self.profile is not None:
            facts["profile"] = self.profile.name
        names = tuple(v.name for v in outputs)
        graph = Graph(self.name, tuple(self.inputs), names, tuple(self.constants), tuple(self.nodes), facts)
        verify(graph)
        return graph


def make_node(
    op: str,
    inputs: Sequence[Value],
    name: str,
    quant: Quant | None,
    attributes: Mapping[str, Attribute],
    profile: Profile | None,
    output: str = "",
) -> Node:
    """A node with its attributes completed by profile and scales, and its output typed; the output has the node's name."""
    definition = registry.lookup(op, f"node {name!r}: ")
    quants, types = [v.quant for v in inputs], [v.type for v in inputs]
    try:
        complete = {key: registry.plain(value) for key, value in attributes.items()}
        if profile is not None:
            complete |= scales.follow_from_profile(op, profile, complete, quants)
        complete |= scales.follow_from_scales(op, complete, quants, types, quant)
        type_ = definition.result_type(types, complete)
        meaning = definition.result_quant(quants, types, complete) or quant
    except (ConstraintError, GraphError, ScaleError) as error:
        raise GraphError(f"node {name!r} ({op}): {error}") from error
    return Node(op, tuple(v.name for v in inputs), (Value(output or name, type_, meaning),), complete, name)
