"""One file a tensor, and ``layout.json``, which says how to read them without this project."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

from ivit_ref.golden.case import Case, TensorRecord
from ivit_ref.golden.names import file_names
from ivit_ref.golden.words import SIGNED
from ivit_ref.golden.write import PROGRAM, to_json
from ivit_ref.ir import Array, Node

LAYOUT = "layout.json"
ORDER = "row-major, last axis fastest"


def write_layout(
    folder: Path, case: Case, suffix: str, encoding: str, bits: Callable[[str], int], encoded: Callable[[Array], bytes]
) -> None:
    """Write each tensor as ``encoded`` makes it, into a file with that suffix, and the layout.

    ``encoding`` describes one element in words; ``bits`` gives its width for each dtype.
    """
    files = file_names(record.name for record in case.records)
    tensors = []
    for record in case.records:
        file = files[record.name] + suffix
        (folder / file).write_bytes(encoded(case.tensors[record.name]))
        tensors.append(_described(case, record, file, bits(record.dtype)))
    (folder / LAYOUT).write_bytes(to_json({**_provenance(case), "encoding": encoding, "tensors": tensors}))


def _provenance(case: Case) -> dict[str, Any]:
    return {
        "format": "ivit_ref.layout",
        "version": 1,
        "program": PROGRAM,
        "case": case.name,
        "comment": case.comment,
        "flags": list(case.flags),
        "profile": case.profile,
        "overflow": "wrap",
        "inputs": [value.name for value in case.graph.inputs],
        "outputs": list(case.graph.outputs),
        "nodes": [_node(node) for node in case.graph.nodes],
    }


def _node(node: Node) -> dict[str, Any]:
    attributes = {key: list(v) if isinstance(v, tuple) else v for key, v in node.attributes.items()}
    output = node.output.name
    return {"name": node.name, "op": node.op, "inputs": list(node.inputs), "output": output, "attributes": attributes}


def _described(case: Case, record: TensorRecord, file: str, bits: int) -> dict[str, Any]:
    quant = case.graph.values[record.name].quant
    return {
        "name": record.name,
        "file": file,
        "role": record.role,
        "node": record.node,
        "op": record.op,
        "dtype": record.dtype,
        "bits": bits,
        "representation": _representation(record.dtype),
        "shape": list(record.shape),
        "order": ORDER,
        "count": prod(record.shape),
        "scale": list(quant.scale) if quant else None,
        "scale_axis": quant.axis if quant else None,
        "zero_point": quant.zero_point if quant else None,
    }


def _representation(dtype: str) -> str:
    if dtype == "float32":
        return "IEEE 754 binary32"
    return "two's complement" if dtype in SIGNED else "unsigned"
