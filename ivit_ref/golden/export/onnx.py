"""A plain ONNX backend test in which every tensor that a node makes is an output, so that any runner compares them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from onnx import numpy_helper

from ivit_ref.golden.case import MODEL, Case
from ivit_ref.golden.write import DATA, DATA_SET, EXACT, to_json
from ivit_ref.onnx_io import save


def write_onnx(folder: Path, case: Case) -> None:
    """Write ``model.onnx``, ``data.json`` with no tolerance, and ``test_data_set_0``; the graph's own outputs come first."""
    outputs = tuple(dict.fromkeys([*case.graph.outputs, *(record.name for record in case.made)]))
    save(replace(case.graph, outputs=outputs), folder / MODEL)
    (folder / DATA).write_bytes(to_json(EXACT))
    (folder / DATA_SET).mkdir()
    _write_tensors(folder / DATA_SET, case, "input", [value.name for value in case.graph.inputs])
    _write_tensors(folder / DATA_SET, case, "output", outputs)


def _write_tensors(folder: Path, case: Case, kind: str, names: Iterable[str]) -> None:
    for k, name in enumerate(names):
        tensor = numpy_helper.from_array(case.tensors[name], name)
        (folder / f"{kind}_{k}.pb").write_bytes(tensor.SerializeToString(deterministic=True))
