"""The two runtimes that know nothing of ``ivit_ref`` and run its models all the same: onnx's evaluator and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


def in_reference(model: ModelProto, inputs: Arrays) -> dict[str, Array]:
    """The outputs by name in onnx's own evaluator, which leaves NumPy's warnings on: a body may well make an infinity."""
    evaluator = _evaluator(model.SerializeToString())
    with np.errstate(over="ignore"):
        return dict(zip(evaluator.output_names, evaluator.run(None, dict(inputs)), strict=True))


def in_onnxruntime(model: ModelProto, inputs: Arrays) -> dict[str, Array]:
    """The outputs by name in ONNX Runtime, on one thread."""
    session = _session(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(inputs)), strict=True))


@lru_cache(maxsize=16)
def _evaluator(model: bytes) -> Any:
    return ReferenceEvaluator(model)


@lru_cache(maxsize=16)
def _session(model: bytes) -> Any:
    """To make one takes longer than to run it: the next call is often one of the same model."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


RUNTIMES: dict[str, Callable[[ModelProto, Arrays], dict[str, Array]]] = {
    "reference": in_reference,
    "onnxruntime": in_onnxruntime,
}


def assert_same(got: Array, want: Array) -> None:
    """The same dtype, shape and values; floats bit by bit."""
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, want, strict=True)
    if want.dtype == np.float32:
        np.testing.assert_array_equal(got.view(np.int32), want.view(np.int32), strict=True)
