"""A golden case in memory: a graph, its inputs, the exact integers of every tensor, and why it exists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ivit_ref.arrays import digest
from ivit_ref.errors import FileError
from ivit_ref.events import Event, EventLog
from ivit_ref.golden.group import Row
from ivit_ref.interpreter import Interpreter
from ivit_ref.ir import Array, Graph, TensorType, Value

Role = Literal["input", "constant", "inner", "output"]
ON_DEMAND = "on demand"
TENSORS = "tensors.npz"
MODEL = "model.onnx"


@dataclass(frozen=True)
class TensorRecord:
    """What ``case.json`` says of one tensor; ``where`` is a file of the case, or ``on demand``."""

    name: str
    role: Role
    node: str
    op: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str
    where: str

    @property
    def type(self) -> TensorType:
        """Its type, which prints as ``int8[1,17,64]``."""
        return TensorType(self.dtype, self.shape)

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "shape": list(self.shape)}


@dataclass(frozen=True)
class Case:
    """One golden case.

    ``tensors`` has every tensor of the graph by name, read or made when it is asked for, and held against its digest. ``place``
    is where it was read from. ``generator`` says how it can be made again.
    """

    id: str
    suite: str
    comment: str
    flags: tuple[str, ...]
    profile: str
    generator: Mapping[str, Any]
    confirmed_by: str
    graph: Graph
    records: tuple[TensorRecord, ...]
    events: tuple[Event, ...]
    tensors: Mapping[str, Array]
    rows: tuple[Row, ...] = ()
    stacked: tuple[str, ...] = ()
    place: str = ""

    @property
    def name(self) -> str:
        """``Shiftmax/test_tvm_s0_05``."""
        return f"{self.suite}/{self.id}"

    @property
    def verdict(self) -> str:
        """``overflow`` if any value wrapped, otherwise ``valid``."""
        return "overflow" if any(event.kind == "wrapped" for event in self.events) else "valid"

    @property
    def inputs(self) -> dict[str, Array]:
        """The arrays that the graph is given."""
        return {value.name: self.tensors[value.name] for value in self.graph.inputs}

    @property
    def made(self) -> tuple[TensorRecord, ...]:
        """The tensors that nodes make, in the order of the graph."""
        return tuple(record for record in self.records if record.node)


def evaluated(graph: Graph, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], tuple[Event, ...]]:
    """Every tensor of a run in which values wrap, inputs and constants included, and what happened on the way."""
    log = EventLog()
    made = Interpreter(graph, overflow="wrap", listeners=[log]).run(inputs, intermediates=True)
    given = {value.name: inputs[value.name] for value in graph.inputs}
    constants = {c.value.name: c.data for c in graph.constants}
    ordered = {node.output.name: made[node.output.name] for node in graph.nodes}
    return given | constants | ordered, tuple(log.events)


def described(graph: Graph) -> list[dict[str, Any]]:
    """What the graph itself says in a record of each tensor: inputs, constants, then what each node makes."""

    def one(value: Value, role: Role, node: str = "", op: str = "") -> dict[str, Any]:
        return {"name": value.name, "role": role, "node": node, "op": op, "dtype": value.type.dtype, "shape": value.type.shape}

    made = [one(n.output, "output" if n.output.name in graph.outputs else "inner", n.name, n.op) for n in graph.nodes]
    return [*(one(v, "input") for v in graph.inputs), *(one(c.value, "constant") for c in graph.constants), *made]


def recorded(graph: Graph, values: Mapping[str, Array], where: Callable[[str, Role], str]) -> tuple[TensorRecord, ...]:
    """A record for each tensor of a run."""
    return tuple(
        TensorRecord(**facts, sha256=digest(values[facts["name"]]), where=where(facts["name"], facts["role"]))
        for facts in described(graph)
    )


def held(record: TensorRecord, array: Array, place: str) -> Array:
    """The array, if it is what the record says; FileError names what differs."""
    who = f"{place}: tensor {record.name!r}"
    if str(array.dtype) != record.dtype or array.shape != record.shape:
        raise FileError(f"{who} must be {record.type}, as case.json says, but found {array.dtype}{list(array.shape)}")
    found = digest(array)
    if found != record.sha256:
        raise FileError(f"{who} must have the SHA-256 {record.sha256}, as case.json says, but has {found}")
    return array


def document(case: Case, program: str, model: Mapping[str, Any] | None) -> dict[str, Any]:
    """What ``case.json`` holds; ``model`` has the size and the SHA-256 of ``model.onnx``, where there is one."""
    return {
        "format": "ivit_ref.case",
        "version": 1,
        "id": case.id,
        "suite": case.suite,
        "comment": case.comment,
        "flags": list(case.flags),
        "profile": case.profile,
        "overflow": "wrap",
        "verdict": case.verdict,
        "generator": {"program": program, **case.generator},
        "confirmed_by": case.confirmed_by,
        "model": None if model is None else dict(model),
        "inputs": [value.name for value in case.graph.inputs],
        "outputs": list(case.graph.outputs),
        "stacked": list(case.stacked),
        "rows": [{**asdict(row), "flags": list(row.flags)} for row in case.rows],
        "tensors": [record.facts() for record in case.records],
        "events": [{**vars(event), "index": list(event.index)} for event in case.events],
    }
