"""fuzz_backend: silent for an exact backend; every mutant is found and shrunk; what is no answer is named."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest

import ivit_ref
from ivit_ref import Graph, IvitError
from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context
from ivit_ref.golden.case import Case
from ivit_ref.golden.read import read_case
from ivit_ref.golden.schema import check
from ivit_ref.golden.verify import verify_case
from ivit_ref.golden.write import write_case
from ivit_ref.ir import Array
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY, lookup
from ivit_ref.testing import BadBackend, Mismatch, check_backend, fuzz_backend

Arrays = Mapping[str, Array]


def exact(inputs: Arrays, graph: Graph) -> dict[str, Array]:
    return ivit_ref.run(graph, inputs, overflow="wrap")


def mutant(**changes: Any) -> Callable[[Arrays, Graph], dict[str, Array]]:
    """The operator with other attributes, which need not be those of the scale."""

    def answer(inputs: Arrays, graph: Graph) -> dict[str, Array]:
        [node] = graph.nodes
        wrong = {k: v(node.attributes[k]) if callable(v) else v for k, v in changes.items()}
        arrays = [inputs[name] for name in node.inputs]
        try:
            return {"result": lookup(node.op).run(arrays, {**node.attributes, **wrong}, Context("wrap")).copy()}
        except ConstraintError:  # a machine gives something where the reference does not
            return {"result": np.zeros(node.output.type.shape, node.output.type.dtype)}

    return answer


def changed(change: Callable[[Array], Any]) -> Callable[[Arrays, Graph], dict[str, Any]]:
    """A backend whose results are changed on the way out."""
    return lambda inputs, graph: {"result": change(exact(inputs, graph)["result"])}


def found(function: Callable[..., Any], op: str, profile: str | None = "tvm") -> tuple[str, Case]:
    """The message and the case of a mismatch."""
    with pytest.raises(Mismatch) as caught:
        fuzz_backend(function, op=op, profile=profile)
    assert caught.value.case is not None
    return str(caught.value), caught.value.case


ONE_LESS = mutant(n=lambda n: n - 1)


@cache
def one_less() -> tuple[str, Case]:
    return found(ONE_LESS, "Shiftmax")


def row(message: str) -> dict[str, Any]:
    """The group of suite.json in a message: its last line."""
    group: dict[str, Any] = json.loads(message.splitlines()[-1])
    return group


# --- Agreement


@pytest.mark.parametrize("op", REGISTRY)
def test_nothing_is_found_in_an_exact_backend(op: str) -> None:
    assert fuzz_backend(exact, op=op, max_examples=12) == 12


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("op", ["ShiftExp", "Shiftmax", "ShiftGELU", "ILayerNorm", "Requantize"])
def test_a_backend_gets_the_attributes_of_the_profile(op: str, profile: str) -> None:
    seen: list[Graph] = []

    def noting(inputs: Arrays, graph: Graph) -> dict[str, Array]:
        seen.append(graph)
        return exact(inputs, graph)

    fuzz_backend(noting, op=op, profile=profile, max_examples=25)
    assert {graph.metadata["profile"] for graph in seen} == {profile}
    assert all(graph.with_profile(profile).nodes[0].attributes == graph.nodes[0].attributes for graph in seen)
    if op in ("ShiftExp", "Shiftmax", "ShiftGELU"):
        assert len({graph.values["x"].quant for graph in seen}) > 5


def test_the_seed_chooses_the_examples() -> None:
    def shown(seed: int) -> list[bytes]:
        seen: list[bytes] = []

        def noting(inputs: Arrays, graph: Graph) -> dict[str, Array]:
            seen.append(inputs["x"].tobytes())
            return exact(inputs, graph)

        fuzz_backend(noting, op="Shiftmax", profile="qat", max_examples=20, seed=seed)
        return seen

    assert shown(3) == shown(3) != shown(4)


def test_rows_that_are_refused_are_not_given() -> None:
    """The paper's ShiftGELU shifts both exponentials out for small scales: its denominator is 0, IntDiv (C2)."""

    def strict(inputs: Arrays, graph: Graph) -> dict[str, Array]:
        [node] = graph.nodes
        lookup(node.op).run([inputs["x"]], node.attributes, Context("wrap"))
        return exact(inputs, graph)

    assert fuzz_backend(strict, op="ShiftGELU", profile="paper", max_examples=150) == 150


# --- Mutants: each is found in a few hundred examples, and shrunk to a few elements


def rounded_once(inputs: Arrays, graph: Graph) -> dict[str, Array]:
    a = graph.nodes[0].attributes
    return {"result": lookup("Requantize").run([inputs["x"]], {**a, "rounding": "half_away"}, Context("wrap"))}


MUTANTS: dict[str, tuple[str, str | None, Callable[..., Any], int]] = {
    "Shiftmax: n one less": ("Shiftmax", "tvm", ONE_LESS, 2),
    "Shiftmax: half kept": ("Shiftmax", "tvm", mutant(half="keep"), 2),
    "Shiftmax: i0 one more": ("Shiftmax", "qat", mutant(i0=lambda i0: i0 + 1), 2),
    "Shiftmax: numerator": ("Shiftmax", "qat", mutant(numerator=2**30), 2),
    "Shiftmax: a wrapping cast": ("Shiftmax", "tvm", mutant(dtype="int16", out_bits=9), 2),
    "Shiftmax: no clamp": ("Shiftmax", "qat", mutant(clamp=False), 3),
    "ShiftExp: quotient": ("ShiftExp", "qat", mutant(quotient="truncate"), 1),
    "ShiftExp: no clamp": ("ShiftExp", "qat", mutant(clamp=False), 1),
    "ShiftGELU: sigmoid": ("ShiftGELU", "qat", mutant(sigmoid="shifts"), 2),
    "ILayerNorm: mean rounding": ("ILayerNorm", "qat", mutant(mean_rounding="half_away"), 2),
    "IntSqrt: a step less": ("IntSqrt", "tvm", mutant(steps=9), 1),
    "ReduceMean: rounding": ("ReduceMean", "qat", mutant(rounding="truncate"), 4),
    **{f"Requantize: {rule}": ("Requantize", "qat", mutant(rounding=rule), 1) for rule in ("floor", "half_up", "half_away")},
    "Requantize: half_even": ("Requantize", "tvm", mutant(rounding="half_even"), 1),
    "Clip: low one more": ("Clip", None, mutant(low=lambda low: low + 1), 1),
    "Center: zero point": ("Center", None, mutant(zero_point=lambda z: z ^ 1), 1),
    "Linear: int8 wraps": ("Linear", None, changed(lambda y: y.astype(np.int8)), 1),
    "Mul: int16 wraps": ("Mul", None, changed(lambda y: y.astype(np.int16)), 1),
    "Lookup: off by one": ("Lookup", None, changed(lambda y: y ^ 1), 1),
    "IBertSoftmax: b one more": ("IBertSoftmax", None, mutant(b=lambda b: b + 1), 2),
    "TFLiteSoftmax: left shift": ("TFLiteSoftmax", None, mutant(left_shift=lambda s: s - 1), 3),
    "L1LayerNorm: multiplier": ("L1LayerNorm", None, mutant(multiplier=lambda m: m + 1), 2),
    "GemmlowpRequantize: rounded once": ("GemmlowpRequantize", None, rounded_once, 1),
    "Roll: the other way": ("Roll", None, lambda inputs, graph: rolled_back(inputs, graph), 3),
}


def rolled_back(inputs: Arrays, graph: Graph) -> dict[str, Array]:
    a = graph.nodes[0].attributes
    return {"result": np.roll(inputs["x"], -a["shift"], a["axis"])}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_found_and_shrunk(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, profile, function, most = MUTANTS[name]
    monkeypatch.setattr("ivit_ref.testing.fuzz.explanation", lambda search: "")  # looking for a reason takes seconds
    monkeypatch.setattr("ivit_ref.testing.search.SHRINKING", 600.0)  # seconds of a machine that may do other things
    message, case = found(function, op, profile)
    assert case.tensors[case.graph.nodes[0].inputs[0]].size <= most
    want = case.tensors["result"]
    got = function(case.inputs, case.graph)["result"]
    assert not np.array_equal(got, want)
    first = np.unravel_index(np.argmax(got != want), want.shape)
    assert f"it gives {int(got[first])}, not {int(want[first])}" in message


def test_the_smallest_row_of_a_wrong_rounding_is_known() -> None:
    """One number half-way between two integers, which the two rules round to its two neighbours."""
    message, case = found(mutant(rounding="half_up"), "Requantize", "qat")
    [x] = case.inputs.values()
    a = case.graph.nodes[0].attributes
    real = Fraction(x.item() * a["multiplier"][0], 2 ** a["shift"][0])  # type: ignore[index, operator]
    got, want = case.tensors["result"].item(), int(re.findall(r"it gives (-?\d+)", message)[0])
    assert {got, want} == {math.floor(real), math.ceil(real)}
    assert real.denominator == 2


# --- What a mismatch says


def test_a_mismatch_names_input_answer_right_answer_and_reason() -> None:
    message, case = one_less()
    x, want = case.tensors["x"], case.tensors["result"]
    got = ONE_LESS(case.inputs, case.graph)["result"]
    lines = dict(re.findall(r"^(x|got|want|with|why|found) +(.*)$", message, re.MULTILINE)[:6])
    assert lines["x"] == f"np.array({x.tolist()}, np.int8)"
    assert lines["got"] == f"np.array({got.tolist()}, np.int8)"
    assert lines["want"] == f"np.array({want.tolist()}, np.int8)"
    assert "scale=" in lines["with"]
    assert " n=16 " in lines["with"]
    assert lines["why"] == "exactly what it gives with n 15"
    assert re.fullmatch(r"after \d+ examples, with \d+ different sets of attributes", lines["found"])


def test_the_python_of_a_mismatch_shows_it() -> None:
    clipped = mutant(low=lambda low: low + 1)
    for (message, _), function in ((one_less(), ONE_LESS), (found(clipped, "Clip", None), clipped)):
        code = "\n".join(message.splitlines()[message.splitlines().index("import numpy as np") : -1])
        exec(code, {"backend": exact})
        with pytest.raises(AssertionError):
            exec(code, {"backend": function})


def test_the_json_of_a_mismatch_is_a_group_of_a_suite() -> None:
    message, case = one_less()
    group = row(message)
    suite = {"format": "ivit_ref.suite", "version": 1, "suite": "Shiftmax", "program": "x", "number_of_tests": 1}
    document = {**suite, "notes": {}, "groups": [group]}
    check(document, "suite", "the message")
    [test] = group["tests"]
    assert group["id"] == case.id
    assert test["inputs"]["x"] == case.tensors["x"].tolist()
    assert test["expected"] == case.tensors["result"].tolist()


def test_the_case_of_a_mismatch_is_a_golden_case(tmp_path: Any) -> None:
    _, case = one_less()
    again = read_case(write_case(case, tmp_path / "Shiftmax"))
    assert verify_case(again) == 2
    assert (again.graph, again.flags) == (case.graph, case.flags)


def test_a_value_that_wraps_is_shown_only_where_nothing_else_is_wrong() -> None:
    assert one_less()[1].verdict == "valid"
    message, case = found(mutant(product_bits=64), "IntDiv")
    assert case.verdict == "overflow"
    assert "(a value wrapped on the way)" in message
    assert row(message)["tests"][0]["result"] == "overflow"


# --- Backends that give no answer


def bad(function: Callable[..., Any], op: str = "Shiftmax", **options: Any) -> BadBackend:
    with pytest.raises(BadBackend) as caught:
        fuzz_backend(function, op=op, profile="tvm", **options)
    assert caught.value.case is not None
    x = caught.value.case.tensors["x"]
    assert f"np.array({x.tolist()}, np.{x.dtype})" in str(caught.value)  # the input that did it
    return caught.value


def on_three(function: Callable[..., Any]) -> Callable[[Arrays, Graph], Any]:
    """A backend that goes wrong on rows of three elements or more."""
    return lambda inputs, graph: function(inputs, graph) if inputs["x"].shape[-1] >= 3 else exact(inputs, graph)


def raising(inputs: Arrays, graph: Graph) -> dict[str, Array]:
    raise RuntimeError("out of\nmemory")


def writing(inputs: dict[str, Array], graph: Graph) -> dict[str, Array]:
    answer = exact(inputs, graph)
    inputs["x"] += 1
    return answer


def reusing() -> Callable[[Arrays, Graph], dict[str, Array]]:
    count = iter(range(10**9))
    return lambda inputs, graph: {"result": exact(inputs, graph)["result"] + np.int8(next(count) % 2)}


NO_ANSWER: dict[str, tuple[Callable[..., Any], str]] = {
    "raises": (raising, "must answer, but raised RuntimeError: out of memory (test_fuzz_backend.py:"),
    "None": (lambda inputs, graph: None, "must answer arrays by name, but gave NoneType"),
    "an array": (lambda inputs, graph: inputs["x"], "must answer arrays by name, but gave ndarray"),
    "nothing": (lambda inputs, graph: {}, "must give the output 'result', but gave none"),
    "a list": (changed(lambda y: y.tolist()), "'result' must be a NumPy array without a mask, but found list"),
    "a shape": (changed(lambda y: y[None]), "'result' must be int8["),
    "a dtype": (changed(lambda y: y.view(np.uint8)), "or of another width with the same sign, but found uint8["),
}


@pytest.mark.parametrize("name", NO_ANSWER)
def test_what_is_no_answer_is_named_and_shrunk(name: str) -> None:
    function, expected = NO_ANSWER[name]
    error = bad(on_three(function))
    assert error.fault == "no answer"
    first, *_ = str(error).splitlines()
    assert first.startswith("Shiftmax (tvm): backend on_three.<locals>.<lambda> (Shiftmax/test_tvm_fuzz_")
    assert expected in first
    assert error.case is not None
    assert error.case.tensors["x"].tolist() == [0, 0, 0]


def test_what_a_backend_raised_is_the_cause() -> None:
    causes: list[BaseException | None] = [bad(raising)]
    while causes[-1] is not None:
        causes.append(causes[-1].__cause__)
    assert any(isinstance(cause, RuntimeError) for cause in causes)


def test_a_backend_that_writes_into_its_input_is_named() -> None:
    error = bad(on_three(writing))
    assert error.fault == "writes"
    assert "must leave its inputs alone, but wrote into 'x'" in str(error)


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[::-1], lambda x: x.reshape(-1).reshape(x.shape)])
def test_a_view_of_the_input_is_named(view: Callable[[Array], Array]) -> None:
    error = bad(on_three(lambda inputs, graph: {"result": view(inputs["x"])}))
    assert error.fault == "view"
    assert "must give an array of its own, but 'result' is a view of its input" in str(error)


@pytest.mark.parametrize("op", ["Reshape", "Transpose", "Slice", "Rescale"])
def test_a_view_is_fine_where_the_operator_makes_no_new_numbers(op: str) -> None:
    own = lookup(op)
    assert fuzz_backend(
        lambda inputs, graph: {"result": own.run(list(inputs.values()), graph.nodes[0].attributes, Context("wrap"))},
        op=op,
        max_examples=20,
    )


def test_a_backend_that_answers_differently_each_time_is_named() -> None:
    error = bad(on_three(reusing()))
    assert error.fault == "changes"
    assert "must answer the same when it is asked again, but 'result' is another" in str(error)


def test_a_backend_that_hangs_is_named_at_once() -> None:
    def sleeping(inputs: Arrays, graph: Graph) -> dict[str, Array]:
        time.sleep(3)
        return exact(inputs, graph)

    start = time.monotonic()
    error = bad(on_three(sleeping), timeout=0.2)
    assert time.monotonic() - start < 2.5
    assert error.fault == "hangs"
    assert "must answer within 0.2 seconds, but did not" in str(error)


def test_a_backend_that_hangs_or_changes_is_named_by_check_backend() -> None:
    with pytest.raises(BadBackend, match=r"\(Shiftmax/test_\w+\): must answer within 0.1 seconds, but did not"):
        check_backend(lambda inputs, graph: time.sleep(1), suite="Shiftmax", timeout=0.1)
    with pytest.raises(BadBackend, match=r"\(Shiftmax/test_\w+\): must answer the same when it is asked again"):
        check_backend(reusing(), suite="Shiftmax", profile="tvm")


def test_an_interruption_ends_the_search() -> None:
    def interrupted(inputs: Arrays, graph: Graph) -> dict[str, Array]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fuzz_backend(interrupted, op="Shiftmax")


# --- Wrong use


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"op": "Softmax"}, "the operator must be one of ai.ivit version 1 .* but found 'Softmax'"),
        ({"op": 3}, "op and profile must be names, but found 3"),
        ({"op": "Shiftmax", "profile": "tflite"}, "the profile must be one of paper, qat, tvm, ideal, but found 'tflite'"),
        ({"op": "Shiftmax", "max_examples": 0}, "max_examples must be a number from 1, but found 0"),
        ({"op": "Shiftmax", "seed": -1}, "seed must be from 0 to .* but found -1"),
        ({"op": "Shiftmax", "timeout": 0}, "timeout must be seconds above 0, .* but found 0"),
        ({"op": "Shiftmax", "timeout": float("nan")}, "timeout must be seconds above 0, .* but found nan"),
    ],
)
def test_wrong_use_is_refused_before_anything_runs(options: dict[str, Any], expected: str) -> None:
    calls: list[Arrays] = []
    with pytest.raises(IvitError, match=f"^fuzz_backend: {expected}"):
        fuzz_backend(lambda inputs, graph: calls.append(inputs), **options)
    assert not calls
