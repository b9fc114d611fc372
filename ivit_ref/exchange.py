"""Graphs in which softmax, GELU, LayerNorm or the requantizations are computed by another published method.

The nodes around an exchanged one are made anew, so that scales and the dyadic numbers that follow from them stay true:

- a method whose input must have a step of its own (ITA) gets a Requantize before it;
- one whose result has a zero point (TFLite's softmax) gets a Center behind it;
- the codes of FQ-ViT's softmax are read by ShiftMatMul, which takes the place of MatMul;
- a table (TFLite's GELU) takes the place of the GELU and of the requantization behind it.

What was put around a softmax goes when it is exchanged again, so only the last choice counts; but a table cannot be taken
back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn

from ivit_ref.build import make_node
from ivit_ref.errors import GraphError
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Attribute, Constant, Graph, Node, Quant, Value
from ivit_ref.methods import Method, Role, method_named, roles_of
from ivit_ref.profiles import PROFILES, Profile, fitted
from ivit_ref.registry import REGISTRY
from ivit_ref.tables import tflite_gelu_table
from ivit_ref.verify import ALLOWED, FLOATS, MOVING, verify

LOGITS, CODED = ".logits", ".tflite"
"""Added to the name of a softmax: the Requantize before it has that name, and itself where the Center behind has its own."""


def with_methods(graph: Graph, methods: Mapping[Role, str]) -> Graph:
    """The graph with every operator of the roles given exchanged for that of the method named; the metadata says so.

    GraphError: the graph has no operator in the role, or the method does not fit a node, which is named.
    """
    chosen = {role: method_named(role, name) for role, name in methods.items()}
    for role in chosen:
        if not any(role in roles_of(node.op) for node in graph.nodes):
            raise GraphError(f"with_methods: the graph must have a node of the role, but found no {role}")
    return _Exchange(_bare(graph) if "softmax" in chosen else graph, chosen).result()


def _bare(graph: Graph) -> Graph:
    """The graph without what an earlier exchange put around its softmaxes."""
    readers = Counter(name for node in graph.nodes for name in node.inputs) + Counter(graph.outputs)

    def alone_reads(reader: Node, source: Node) -> bool:
        return reader.inputs == (source.output.name,) and readers[source.output.name] == 1

    nodes = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        if node.op not in ("ITASoftmax", "TFLiteSoftmax"):
            continue
        center = nodes.get(node.name.removesuffix(CODED))
        if center and center.op == "Center" and alone_reads(center, node):
            del nodes[node.name]
            node = nodes[center.name] = replace(node, name=center.name, outputs=center.outputs)
        before = nodes.get(node.name + LOGITS)
        if before and "requantize" in roles_of(before.op) and alone_reads(node, before):
            del nodes[before.name]
            nodes[node.name] = replace(node, inputs=before.inputs)
    return replace(graph, nodes=tuple(nodes.values()))


class _Exchange:
    """Goes through the nodes in order and collects the new ones."""

    def __init__(self, graph: Graph, chosen: Mapping[Role, Method]) -> None:
        self.graph, self.chosen = graph, chosen
        self.values = {v.name: v for v in graph.inputs} | {c.value.name: c.value for c in graph.constants}
        self.constants = list(graph.constants)
        self.nodes: list[Node] = []
        self.codes: dict[str, int] = {}
        """How many bits the logarithmic codes of a value have."""
        self.absorbed: set[str] = set()
        """Nodes whose work a table does."""
        self.renamed: dict[str, str] = {}
        """Values that were quantized anew, and are codes now, which need no quantization."""

    def result(self) -> Graph:
        """The verified graph."""
        for node in self.graph.nodes:
            if node.name not in self.absorbed:
                self._visit(node)
        floats = {FLOATS: ALLOWED} if any(REGISTRY[node.op].floats for node in self.nodes) else {}
        kept = {key: value for key, value in self.graph.metadata.items() if key != FLOATS}
        named: dict[str, str] = {role: method.name for role, method in self.chosen.items()}
        metadata = {**kept, **named, **floats}
        graph = replace(self.graph, nodes=tuple(self.nodes), constants=tuple(self.constants), metadata=metadata)
        verify(graph)
        return graph

    def _visit(self, node: Node) -> None:
        role = next((role for role in roles_of(node.op) if role in self.chosen), None)
        if role is None or self.codes.keys() & set(node.inputs):
            self._keep(node)
        elif role == "softmax":
            self._softmax(node, self.chosen[role])
        elif role == "gelu" and self.chosen[role].op == "Lookup":
            self._table(node)
        else:
            self._add(node, self.chosen[role].op, self._fixed(node, self.chosen[role]), self._profile(self.chosen[role]))

    def _softmax(self, node: Node, method: Method) -> None:
        fixed = self._fixed(node, method)
        wanted = Quant((method.step,)) if method.step is not None else self._eight_bits(node, method)
        if wanted is not None:
            name = node.name + LOGITS
            before = replace(node, name=name, outputs=(Value(name, node.output.type, wanted),))
            rounding = self.chosen.get("requantize", method_named("requantize", "hawq"))
            self._add(before, rounding.op, {"dtype": "int8", **self._fixed(node, rounding)}, self._profile(rounding))
            node = replace(node, inputs=(name,))
        if method.op != "TFLiteSoftmax":
            self._add(_without_scale(node), method.op, fixed, self._profile(method))
            if method.op == "LogIntSoftmax":
                self._are_codes(node, int(str(fixed["bits"])))
            return
        with_zero_point = replace(node.output, name=node.name + CODED)
        self._add(replace(node, name=with_zero_point.name, outputs=(with_zero_point,)), method.op, fixed, None)
        self._add(replace(node, inputs=(with_zero_point.name,)), "Center", {"dtype": "int16"}, None)

    def _eight_bits(self, node: Node, method: Method) -> Quant | None:
        """The scale and zero point at which centred 8-bit logits are int8 again, where the method takes nothing wider.

        Only differences enter a softmax: the zero point drops out.
        """
        producer = self.graph.producer(node.inputs[0])
        x = self.values[node.inputs[0]]
        if method.op != "TFLiteSoftmax" or x.type.dtype == "int8" or producer is None or producer.op != "Center" or not x.quant:
            return None
        low, _ = BOUNDS[self.values[producer.inputs[0]].type.dtype]
        return replace(x.quant, zero_point=int(str(producer.attributes["zero_point"])) - low - 128)

    def _are_codes(self, node: Node, bits: int) -> None:
        if node.output.name in self.graph.outputs:
            self._refuse(node, "codes must not leave the graph: they have no scale", node.output.name)
        self.codes[node.output.name] = bits

    def _table(self, node: Node) -> None:
        """A Lookup of the real function in place of the node and of the requantization behind it."""
        reader = self._only_reader(node)
        x, out = self.values[node.inputs[0]], reader.output
        if x.type.dtype != out.type.dtype or out.type.dtype not in ("int8", "uint8"):
            self._refuse(node, "a table goes from int8 to int8 or from uint8 to uint8", f"{x.type.dtype} to {out.type.dtype}")
        if x.quant is None or out.quant is None or x.quant.axis is not None or out.quant.axis is not None:
            self._refuse(node, "a table needs one scale on either side", f"{x.quant} and {out.quant}")
        scales = (x.quant.scale[0], x.quant.zero_point, out.quant.scale[0], out.quant.zero_point)
        table = tflite_gelu_table(*scales, "int8" if x.type.dtype == "int8" else "uint8", approximate=False)
        constant = Constant(Value(f"{node.name}.table", replace(out.type, shape=(256,)), out.quant), table)
        self.constants.append(constant)
        self.values[constant.value.name] = constant.value
        self.absorbed.add(reader.name)
        inputs = (node.inputs[0], constant.value.name)
        self._add(replace(node, inputs=inputs, outputs=reader.outputs), "Lookup", self._fixed(node, self.chosen["gelu"]), None)

    def _only_reader(self, node: Node) -> Node:
        readers = [n for n in self.graph.nodes if node.output.name in n.inputs]
        if len(readers) != 1 or "requantize" not in roles_of(readers[0].op) or node.output.name in self.graph.outputs:
            found = ", ".join(f"{n.name!r} ({n.op})" for n in readers) or "none"
            self._refuse(node, "its one reader must requantize the result, which a table does at once", found)
        return readers[0]

    def _keep(self, node: Node) -> None:
        """A node that is not exchanged; its factor may have become codes, or no longer be some."""
        bits = [self.codes.get(name) for name in node.inputs]
        first = bits[0] if bits else None
        if first is not None and bits[1:] == [None] and node.op in ("MatMul", "ShiftMatMul"):
            self._add(node, "ShiftMatMul", {"alpha": node.attributes["alpha"], "bits": first}, None)
        elif node.op == "ShiftMatMul":
            self._add(node, "MatMul", {"alpha": node.attributes["alpha"]}, None)
        elif first is not None and (node.op == "Center" or "requantize" in roles_of(node.op)):
            self._are_codes(node, first)
            self.renamed[node.output.name] = self._name(node.inputs[0])
        elif any(b is not None for b in bits) and node.op not in MOVING:
            self._refuse(node, "codes must be the first factor of MatMul", ", ".join(node.inputs))
        else:
            self._add(node if first is None else _without_scale(node), node.op, node.attributes, None)
            if first is not None:
                self._are_codes(node, first)
            elif node.op == "LogIntSoftmax":
                self.codes[node.output.name] = int(str(node.attributes["bits"]))

    def _add(self, node: Node, op: str, attributes: Mapping[str, Attribute], profile: Profile | None) -> None:
        inputs = [self.values[self._name(name)] for name in node.inputs]
        made = make_node(op, inputs, node.name, node.output.quant, attributes, profile, node.output.name)
        self.nodes.append(made)
        self.values[made.output.name] = made.output

    def _name(self, name: str) -> str:
        return self.renamed.get(name, name)

    def _fixed(self, node: Node, method: Method) -> dict[str, Attribute]:
        fixed = method.fixed(self.values[node.inputs[0]].type)
        if not set(method.kept) <= set(node.attributes):
            return fixed
        return fixed | {key: node.attributes[key] for key in method.kept}

    def _profile(self, method: Method) -> Profile | None:
        """The graph's own profile, for a method whose constants a profile chooses."""
        if not method.profiled:
            return None
        name = self.graph.metadata.get("profile", "none")
        if name not in PROFILES:
            must = f"the constants of {method.name} need the graph's profile, one of {', '.join(PROFILES)}"
            raise GraphError(f"with_methods: {must}, but found {name!r}")
        return fitted(PROFILES[name], self.graph.metadata)

    def _refuse(self, node: Node, must: str, found: str) -> NoReturn:
        raise GraphError(f"with_methods: node {node.name!r} ({node.op}): {must}, but found {found}")


def _without_scale(node: Node) -> Node:
    """The node, for which no scale is chosen: that of its result follows, or there is none."""
    return replace(node, outputs=(replace(node.output, quant=None),))
