"""The example in PyTorch agrees in every suite and on a whole model; skipped where there is no torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import ivit_ref
from ivit_ref.compare.backend import Backend
from ivit_ref.compare.report import compare, compare_alone
from ivit_ref.golden.case import Case
from ivit_ref.golden.make import made_case
from ivit_ref.methods import METHODS
from ivit_ref.registry import REGISTRY
from ivit_ref.testing import check_backend

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
PEERS = {method.op for role in METHODS for method in METHODS[role][1:]} - {"Requantize", "Lookup"} | {"ShiftMatMul"}
OWN = [op for op in REGISTRY if op not in PEERS]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("torch_backend", ROOT / "docs/examples/torch_backend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model() -> Case:
    graph = ivit_ref.load(ROOT / "graphs/digits_vit.onnx", N=1).with_profile("tvm")
    image = np.load(ROOT / "graphs/digits_test.npz")["images"][:1]
    facts = {"id": "test_digits", "suite": "models", "comment": "", "flags": (), "profile": "tvm", "generator": {}}
    return made_case(graph, {"image": image}, **facts)


def test_every_operator_of_an_i_vit_is_there(example: ModuleType) -> None:
    assert list(example.OPERATORS) == OWN


def test_it_has_no_answer_where_there_is_another_operator(example: ModuleType) -> None:
    graph = ivit_ref.load(ROOT / "graphs/digits_vit.onnx", N=1).with_methods(softmax="ibert")
    image = np.load(ROOT / "graphs/digits_test.npz")["images"][:1]
    assert example.run({"image": image}, graph) == {}


@pytest.mark.parametrize("suite", OWN)
def test_it_agrees_in_every_suite(example: ModuleType, suite: str) -> None:
    assert check_backend(example.run, suite=suite, random=24) > 0


def test_it_agrees_in_every_tensor_of_a_model(example: ModuleType, model: Case) -> None:
    backend = Backend(example.run, "torch_backend")
    report = compare(model, backend(model.inputs, model.graph), "torch_backend")
    assert report.count("equal") == len(model.graph.nodes)
    assert compare_alone(model, backend).count("equal") == len(model.graph.nodes)


def test_a_zero_denominator_stops_it_on_any_device(example: ModuleType) -> None:
    with pytest.raises(ZeroDivisionError, match="a denominator is zero"):
        example.truncating_divide(torch.tensor([1]), torch.tensor([0]))
