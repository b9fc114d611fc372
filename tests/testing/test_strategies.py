"""Strategies for others: what they draw is within its bounds and reaches them; what cannot be drawn is refused at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from ivit_ref import Graph, Quant, run, verify
from ivit_ref.errors import ConstraintError, IvitError
from ivit_ref.events import Context
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import TensorType
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import is_answered
from ivit_ref.testing.elements import INTEGERS
from ivit_ref.testing.rows import ROW_DTYPES
from ivit_ref.testing.strategies import calls, graphs, inputs, quants, rows, scales, tensors

FEW = settings(max_examples=15, derandomize=True, suppress_health_check=list(HealthCheck))


def sampled(strategy: st.SearchStrategy[Any], count: int = 150) -> list[Any]:
    """Some examples, the same each time."""
    drawn: list[Any] = []

    @settings(max_examples=count, derandomize=True, database=None)
    @given(strategy)
    def collect(example: Any) -> None:
        drawn.append(example)

    collect()
    return drawn


# --- Tensors


@pytest.mark.parametrize("dtype", INTEGERS)
def test_tensors_reach_both_ends_of_their_dtype(dtype: str) -> None:
    arrays = sampled(tensors(dtype))
    assert {str(a.dtype) for a in arrays} == {dtype}
    assert {1, 2, 3} == {a.ndim for a in arrays}
    assert (min(int(a.min()) for a in arrays), max(int(a.max()) for a in arrays)) == BOUNDS[dtype]


def test_tensors_stay_within_their_bounds() -> None:
    arrays = sampled(tensors("int16", shape=(2, 3), min_value=-5, max_value=9))
    assert {a.shape for a in arrays} == {(2, 3)}
    assert (min(int(a.min()) for a in arrays), max(int(a.max()) for a in arrays)) == (-5, 9)


def test_tensors_have_as_many_axes_as_they_may() -> None:
    arrays = sampled(tensors("int8", min_dims=0, max_dims=2, max_side=3))
    assert {a.ndim for a in arrays} == {0, 1, 2}
    assert max(n for a in arrays for n in a.shape) == 3


def test_tensors_shrink_to_one_zero() -> None:
    assert find(tensors("int32"), lambda x: True).tolist() == [0]


# --- Rows, scales, meanings


@pytest.mark.parametrize("op", ROW_DTYPES)
def test_rows_are_of_the_dtypes_and_lengths_of_the_operator(op: str) -> None:
    arrays = sampled(rows(op, min_side=2, max_side=5))
    assert {str(x.dtype) for x in arrays} == set(ROW_DTYPES[op])
    assert {x.shape[-1] for x in arrays} == {2, 3, 4, 5}
    flat = [row for x in sampled(rows(op)) for row in x.reshape(-1, x.shape[-1]) if len(row) > 2]
    assert any(len(set(row.tolist())) == 1 for row in flat)
    assert any(len(set(row.tolist())) == 2 for row in flat)


def test_scales_are_float32_between_their_bounds() -> None:
    drawn = sampled(scales(min_value=0.001953125, max_value=0.25))
    assert (min(drawn), max(drawn)) == (0.001953125, 0.25)
    assert all(float(np.float32(s)) == s for s in drawn)
    assert len(set(drawn)) > 20
    assert find(scales(), lambda s: True) == 1.0
    assert find(scales(max_value=0.0999755859375), lambda s: True) == 0.0625


def test_every_profile_has_an_i0_for_the_default_scales() -> None:
    for s in sampled(scales()):
        for profile in PROFILES.values():
            assert profile.shiftmax(s)["i0"] >= 1  # type: ignore[operator]
            assert profile.shift_gelu(s)["i0"] >= 1  # type: ignore[operator]


def test_quants_are_of_one_scale_or_of_several() -> None:
    assert {q.axis for q in sampled(quants("uint8"))} == {None}
    assert {q.zero_point for q in sampled(quants("uint8"))} >= {0, 255}
    assert {q.zero_point for q in sampled(quants("uint8", symmetric=True))} == {0}
    several = sampled(quants("int8", axis=1, channels=3))
    assert {(len(q.scale), q.axis) for q in several} == {(3, 1)}
    assert find(quants("int8"), lambda q: True) == Quant((1.0,))


# --- Calls


@pytest.mark.parametrize("op", REGISTRY)
@FEW
@given(data=st.data())
def test_calls_meet_every_constraint_on_types_and_attributes(op: str, data: st.DataObject) -> None:
    arrays, attributes = data.draw(calls(op))
    REGISTRY[op].result_type([TensorType(str(a.dtype), a.shape) for a in arrays], attributes)


@pytest.mark.parametrize("overflow", ["raise", "wrap"])
@pytest.mark.parametrize("op", ["MatMul", "IntDiv", "ShiftGELU", "ILayerNorm"])
@FEW
@given(data=st.data())
def test_calls_that_are_answered_are(op: str, overflow: Any, data: st.DataObject) -> None:
    arrays, attributes = data.draw(calls(op, overflow=overflow))
    REGISTRY[op].run(arrays, attributes, Context(overflow))


def test_calls_of_no_policy_are_stopped_now_and_then() -> None:
    drawn = sampled(calls("ShiftGELU", profile="paper"))
    stopped = sum(not is_answered("ShiftGELU", call, "wrap") for call in drawn)
    assert 0 < stopped < 100


@pytest.mark.parametrize(
    ("op", "chosen"),
    [
        ("Shiftmax", {"n": 16, "sum": "int32", "dtype": "int8"}),
        ("ShiftGELU", {"n": 23, "sigmoid": "folded"}),
        ("IntDiv", {"numerator": 2**31 - 1, "product_bits": 32}),
        ("IntSqrt", {"start": 2**16, "steps": 10}),
        ("ILayerNorm", {"mean_rounding": "truncate", "mean_bits": 16}),
        ("ReduceMean", {"rounding": "truncate"}),
        ("Requantize", {"rounding": "half_up"}),
        ("RequantizeAdd", {"rounding": "half_up"}),
    ],
)
def test_calls_of_a_profile_have_its_attributes(op: str, chosen: dict[str, Any]) -> None:
    """The columns of the table of profiles in docs/numerics.md, TVM's."""
    for _, attributes in sampled(calls(op, profile="tvm"), 20):
        assert chosen.items() <= attributes.items()


# --- Graphs


@FEW
@given(st.data())
def test_graphs_are_valid_and_inputs_fit_them(data: st.DataObject) -> None:
    profile = data.draw(st.sampled_from(list(PROFILES)))
    graph = data.draw(graphs(max_steps=3, profile=profile))
    assert graph.metadata["profile"] == profile
    assert isinstance(graph, Graph)
    verify(graph)
    with suppress(ConstraintError):  # a sum of exponentials that is 0, now and then
        run(graph, data.draw(inputs(graph)), overflow="wrap")


# --- Wrong use, told at once

WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "dtype": (lambda: tensors("float64"), "tensors: the dtype must be one of bool, int8, .*, but found 'float64'"),
    "min_value": (lambda: tensors("int8", min_value=-200), "must have -128 <= min_value .*, but found -200 and 127"),
    "order": (lambda: tensors("int8", min_value=3, max_value=2), "min_value <= max_value <= 127, but found 3 and 2"),
    "a float": (lambda: tensors("int8", min_value=0.5), "but found 0.5 and 127"),  # type: ignore[arg-type]
    "shape": (lambda: tensors("int8", shape=(2, 0)), r"shape must be a tuple of positive integers, but found \(2, 0\)"),
    "dims": (lambda: tensors("int8", min_dims=4), "0 <= min_dims <= max_dims <= 8, but found 4 and 3"),
    "side": (lambda: tensors("int8", max_side=0), "max_side .* but found 1 and 0"),
    "rows of": (lambda: rows("MatMul"), "rows: the operator must be a non-linear one, .* but found 'MatMul'"),
    "rows dtype": (lambda: rows("ShiftGELU", dtype="int32"), "one that ShiftGELU takes, int8, int16, but found 'int32'"),
    "rows side": (lambda: rows("Shiftmax", min_side=0), "min_side and max_side must be .* but found 0 and 64"),
    "scale": (lambda: scales(min_value=0.0), "there must be a float32 above 0 between the bounds, but found 0.0 and 1.0"),
    "scale order": (lambda: scales(max_value=2.0**-20), "but found 3.05"),
    "quant dtype": (lambda: quants("int4"), "quants: the dtype must be one of .* but found 'int4'"),
    "channels": (lambda: quants("int8", channels=2), "channels must be .* 1 without an axis, but found 2"),
    "axis": (lambda: quants("int8", axis=-1), "axis must be a number from 0, or None, but found -1"),
    "operator": (lambda: calls("Softmax"), "calls: the operator must be one of .* but found 'Softmax'"),
    "profile": (lambda: calls("Clip", profile="x"), "calls: the profile must be one of .* but found 'x'"),
    "overflow": (lambda: calls("Clip", overflow="no"), "calls: overflow must be one of raise, wrap, but found 'no'"),  # type: ignore[arg-type]
    "steps": (lambda: graphs(max_steps=0), "graphs: max_steps must be a number from 1, but found 0"),
    "graph profile": (lambda: graphs(profile="x"), "graphs: the profile must be one of .* but found 'x'"),
    "no graph": (lambda: inputs("x"), "inputs: must be for a Graph .* but found str"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_bounds_that_cannot_be_met_are_refused(name: str) -> None:
    make, expected = WRONG[name]
    with pytest.raises(IvitError, match=expected) as caught:
        make()
    assert "\n" not in str(caught.value)


# --- Without hypothesis

BLOCKED = """
import sys
sys.modules["hypothesis"] = None
import ivit_ref
from ivit_ref.errors import MissingExtra
from ivit_ref.testing import check_backend, fuzz_backend
assert check_backend(lambda i, g: ivit_ref.run(g, i, overflow="wrap"), suite="Clip") > 0
for use in (lambda: fuzz_backend(print, op="Clip"), lambda: __import__("ivit_ref.testing.strategies")):
    try:
        use()
    except MissingExtra as error:
        print(error)
from ivit_ref.cli import main
sys.exit(main(["fuzz", "Clip", "--pipe", "cat"]))
"""


def test_without_hypothesis_vectors_run_and_the_rest_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False)
    needs = "needs hypothesis, but it is missing: pip install 'ivit-ref[testing]'"
    assert done.stdout.splitlines() == [f"fuzz_backend: {needs}", f"ivit_ref.testing.strategies: {needs}"]
    assert (done.returncode, done.stderr) == (2, f"ivit-ref: fuzz: {needs}\n")


def test_bounds_that_are_no_float32_are_met_from_inside() -> None:
    seen: list[float] = []

    @given(scales(min_value=0.1, max_value=0.3))
    def collect(scale: float) -> None:
        seen.append(scale)
        assert 0.1 <= scale <= 0.3
        assert float(np.float32(scale)) == scale

    collect()
    assert seen
    with pytest.raises(IvitError, match=r"there must be a float32 above 0 between the bounds, but found 0\.1 and 0\.1$"):
        scales(min_value=0.1, max_value=0.1)
