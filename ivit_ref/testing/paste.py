"""A counterexample as text that can be pasted: Python that shows it, and the vector as ``suite.json`` has them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from ivit_ref.golden.case import Case
from ivit_ref.golden.suite import suite_document
from ivit_ref.ir import Array, Value


def as_python(case: Case) -> str:
    """Code that builds the graph of one node and the inputs, and holds ``backend`` against the right result."""
    return "\n".join(_lines(case))


def _lines(case: Case) -> Iterator[str]:
    graph, [node] = case.graph, case.graph.nodes
    [result] = graph.outputs
    profile = f", {case.profile!r}" if case.profile else ""
    attributes = "".join(f", {name}={value!r}" for name, value in node.attributes.items())
    yield "import numpy as np"
    yield "from ivit_ref import GraphBuilder, Quant"
    yield ""
    yield f"b = GraphBuilder({graph.name!r}{profile})"
    for value in graph.inputs:
        yield f"{value.name} = b.input({_declared(value)})"
    yield f"node = b.node({node.op!r}, {', '.join(node.inputs)}, name={node.name!r}, output={result!r}{attributes})"
    inputs = ", ".join(f"{value.name!r}: {literal(case.tensors[value.name])}" for value in graph.inputs)
    yield f"inputs = {{{inputs}}}"
    yield f"want = {literal(case.tensors[result])}"
    yield f"np.testing.assert_array_equal(backend(inputs, b.finish([node]))[{result!r}], want)"


def _declared(value: Value) -> str:
    quant = f", Quant({value.quant.scale!r})" if value.quant else ""
    return f"{value.name!r}, {value.type.dtype!r}, {tuple(value.type.shape)!r}{quant}"


def literal(array: Array) -> str:
    """An array as Python; of float32 every digit that tells it from its neighbours."""
    return f"np.array({array.tolist()!r}, np.{np.dtype(array.dtype).name})".replace("np.bool)", "np.bool_)")


def as_json(case: Case) -> str:
    """The group of ``suite.json`` that holds this one vector, on one line."""
    [group] = suite_document(case.suite, [case])["groups"]
    return json.dumps(group)
