"""The function bodies in a case's model: those of this version, or others that give the same integers."""

from __future__ import annotations

from pathlib import Path

from onnx import FunctionProto
from onnx.reference import ReferenceEvaluator

from ivit_ref.arrays import unequal
from ivit_ref.errors import FileError
from ivit_ref.golden.case import MODEL, Case
from ivit_ref.onnx_io import read, to_model


def check_bodies(case: Case) -> None:
    """Hold the outputs of the stored model against the case; bodies that are ours need no run, whatever their texts say."""
    path = Path(case.place) / MODEL
    model = read(path)
    if sorted(map(_plain, model.functions)) == sorted(map(_plain, to_model(case.graph).functions)):
        return
    if len({(f.domain, f.name) for f in model.functions}) < len(model.functions):
        raise FileError(f"{path}: an operator must have one function body, but one has two")
    try:
        found = ReferenceEvaluator(model).run(None, case.inputs)
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FileError(f"{path}: its function bodies must run, but do not: {reason}") from error
    for name, array in zip(case.graph.outputs, found, strict=True):
        want = case.tensors[name]
        if array.shape != want.shape or array.dtype != want.dtype or unequal(array, want).any():
            raise FileError(f"{path}: its function bodies must give the outputs of the case, but give another {name!r}")


def _plain(function: FunctionProto) -> bytes:
    copy = FunctionProto()
    copy.CopyFrom(function)
    copy.ClearField("doc_string")
    data: bytes = copy.SerializeToString(deterministic=True)
    return data
