"""check_backend: silent for an exact backend, and what it says of every other one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import ivit_ref
from ivit_ref import Graph, IvitError
from ivit_ref.compare.backend import Backend
from ivit_ref.golden.case import Case
from ivit_ref.golden.make import suite_cases
from ivit_ref.ir import Array
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY
from ivit_ref.testing import Mismatch, check_backend

Arrays = Mapping[str, Array]


def exact(inputs: Arrays, graph: Graph) -> dict[str, Array]:
    return ivit_ref.run(graph, inputs, overflow="wrap")


def half_dropped(inputs: Arrays, graph: Graph) -> dict[str, Array]:
    return exact(inputs, graph.with_attributes(graph.nodes[0].op, half="drop"))


def always_tvm(inputs: Arrays, graph: Graph) -> dict[str, Array]:
    return exact(inputs, graph.with_profile("tvm"))


def giving(change: Callable[[Array], Any]) -> Callable[[Arrays, Graph], dict[str, Any]]:
    """A backend whose results are changed on the way out."""

    def changed(inputs: Arrays, graph: Graph) -> dict[str, Any]:
        return {"result": change(exact(inputs, graph)["result"])}

    return changed


def shiftmax_cases(profile: str = "qat", random: int = 24) -> list[Case]:
    return list(suite_cases("Shiftmax", [profile], random, 0))


# --- Agreement


@pytest.mark.parametrize("suite", REGISTRY)
def test_an_exact_backend_passes(suite: str) -> None:
    assert check_backend(exact, suite=suite, random=6) == len(list(suite_cases(suite, PROFILES, 6, 0)))


def test_a_profile_chooses_its_vectors_and_none_chooses_all() -> None:
    seen: list[str] = []

    def noting(inputs: Arrays, graph: Graph) -> dict[str, Array]:
        seen.append(graph.metadata.get("profile", ""))
        return exact(inputs, graph)

    check_backend(noting, suite="Shiftmax", profile="paper")
    assert set(seen) == {"paper"}
    check_backend(noting, suite="Shiftmax", profile=None)
    assert set(seen) == set(PROFILES)


def test_without_random_vectors_the_directed_ones_stay() -> None:
    directed = check_backend(exact, suite="Shiftmax", profile="qat", random=0)
    assert 0 < directed < check_backend(exact, suite="Shiftmax", profile="qat", random=1)


def test_the_seed_chooses_the_random_vectors() -> None:
    seen: list[bytes] = []

    def noting(inputs: Arrays, graph: Graph) -> dict[str, Array]:
        seen.append(inputs["x"].tobytes())
        return exact(inputs, graph)

    runs = []
    for seed in (3, 3, 4):
        check_backend(noting, suite="Shiftmax", profile="qat", seed=seed)
        runs.append(tuple(seen))
        seen.clear()
    assert runs[0] == runs[1] != runs[2]


def test_a_backend_may_write_into_its_inputs() -> None:
    before = [case.inputs["x"].tobytes() for case in shiftmax_cases()]

    def spoiling(inputs: dict[str, Array], graph: Graph) -> dict[str, Array]:
        answer = exact(inputs, graph)
        for array in inputs.values():
            array[...] = 0
        inputs.clear()
        return answer

    assert check_backend(spoiling, suite="Shiftmax", profile="qat") == len(before)
    assert [case.inputs["x"].tobytes() for case in shiftmax_cases()] == before


def test_what_is_written_into_the_inputs_does_not_reach_the_explanation() -> None:
    def spoiling(inputs: dict[str, Array], graph: Graph) -> dict[str, Array]:
        answer = half_dropped(inputs, graph)
        inputs["x"][...] = 0
        return answer

    with pytest.raises(Mismatch, match=r"exactly what it gives with\n  half drop"):
        check_backend(spoiling, suite="Shiftmax", profile="qat")


def test_a_backend_that_takes_inputs_alone_passes_where_they_say_all() -> None:
    assert check_backend(lambda inputs: {"result": inputs["x"]}, suite="Rescale") > 0


@pytest.mark.parametrize("dtype", ["int32", "int64", "float64"])
def test_wider_numbers_that_are_the_same_integers_pass(dtype: str) -> None:
    assert check_backend(giving(lambda y: y.astype(dtype)), suite="Shiftmax", profile="qat") > 0


def test_a_bound_method_and_a_partial_are_backends() -> None:
    class Engine:
        def run(self, inputs: Arrays, graph: Graph) -> dict[str, Array]:
            return exact(inputs, graph)

    def on_device(inputs: Arrays, graph: Graph, device: str) -> dict[str, Array]:
        return exact(inputs, graph)

    assert check_backend(Engine().run, suite="IntDiv", profile="qat") > 0
    assert check_backend(functools.partial(on_device, device="cpu"), suite="IntDiv", profile="qat") > 0


def test_a_function_of_any_arguments_gets_the_graph() -> None:
    def undressed(*arguments: Any) -> dict[str, Array]:  # what a decorator without functools.wraps makes of a backend
        return exact(*arguments)

    assert check_backend(undressed, suite="IntDiv", profile="qat") > 0


# --- Differences


def mismatch(function: Callable[..., Any], **options: Any) -> str:
    with pytest.raises(Mismatch) as caught:
        check_backend(function, **options)
    return str(caught.value)


def test_a_mismatch_is_an_assertion_and_an_ivit_error() -> None:
    assert issubclass(Mismatch, AssertionError)
    assert issubclass(Mismatch, IvitError)


@pytest.mark.parametrize("suite", ["ShiftExp", "Shiftmax", "ShiftGELU"])
def test_a_mismatch_names_the_case_the_first_place_and_the_reason(suite: str) -> None:
    message = mismatch(half_dropped, suite=suite, profile="qat")
    for case in suite_cases(suite, ["qat"], 24, 0):
        got, want = half_dropped(case.inputs, case.graph)["result"], case.tensors["result"]
        if (got != want).any():
            break
    index = [int(i) for i in np.argwhere(got != want)[0]]
    place = tuple(index)
    assert f"{case.name}: 1 of 1 tensors differ" in message
    assert f"first divergent tensor: result: {np.sum(got != want)} of {got.size} differ" in message
    assert f"first at {index}: got {got[place]}, want {want[place]}" in message
    assert f"{suite} ({case.name} and " in message
    assert message.endswith("exactly what it gives with\n  half drop")


def test_a_mismatch_counts_the_cases_that_are_equal() -> None:
    message = mismatch(half_dropped, suite="Shiftmax", profile="qat")
    cases = shiftmax_cases()
    equal = [c for c in cases if np.array_equal(half_dropped(c.inputs, c.graph)["result"], c.tensors["result"])]
    assert f"{len(equal)} of {len(cases)} cases equal" in message


@pytest.mark.parametrize("profile", ["qat", "paper", None])
@pytest.mark.parametrize("suite", ["ShiftExp", "IntDiv", "Shiftmax", "ShiftGELU", "ILayerNorm"])
def test_a_backend_that_ignores_the_attributes_is_explained_as_its_profile(suite: str, profile: str | None) -> None:
    lines = mismatch(always_tvm, suite=suite, profile=profile).splitlines()
    assert lines[lines.index(next(line for line in lines if line.endswith("with"))) + 1] == "  profile tvm"


@pytest.mark.parametrize("suite", REGISTRY)
def test_a_backend_that_is_wrong_in_one_element_is_found_in_every_suite(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_off(y: Array) -> Array:
        y = y.copy()
        y.flat[-1] = y.flat[-1] + 1 if y.dtype == np.float32 else y.flat[-1] ^ 1
        return y

    monkeypatch.setattr("ivit_ref.testing.conclusions", lambda compared, backend: [])  # looking for a reason takes seconds
    message = mismatch(giving(one_off), suite=suite, profile="qat", random=0)
    assert "first divergent tensor: result: 1 of " in message
    assert "cases equal" not in message


def test_what_no_setting_explains_is_said() -> None:
    message = mismatch(giving(lambda y: y ^ 1), suite="IntDiv", profile="qat", random=0)
    assert "no setting that was tried explains it" in message


def test_a_backend_that_takes_inputs_alone_is_explained_by_what_it_gave() -> None:
    message = mismatch(lambda inputs: {"result": inputs["x"] * 0}, suite="Rescale")
    assert "Rescale (Rescale/test_channels_int32): no setting" in message


# --- Answers that are none


def raising(inputs: Arrays, graph: Graph) -> dict[str, Array]:
    raise RuntimeError("out of\nmemory")


def no_parameter() -> dict[str, Array]:
    return {}


def nan(y: Array) -> Array:
    y = y.astype(np.float32)
    y[0, 0] = np.nan
    return y


BAD = {
    "raises": (raising, "must answer, but raised RuntimeError: out of memory"),
    "None": (lambda inputs, graph: None, "must answer arrays by name, but gave NoneType"),
    "an array": (lambda inputs, graph: inputs["x"], "must answer arrays by name, but gave ndarray"),
    "nothing": (lambda inputs, graph: {}, "must give the output 'result', but gave none"),
    "another name": (lambda inputs, graph: {"y": inputs["x"]}, "must be one of the graph, such as result, but found 'y'"),
    "a name that is no text": (lambda inputs, graph: {0: inputs["x"]}, "such as result, but found 0"),
    "inputs alone": (lambda inputs, graph: dict(inputs), "must give the output 'result', but gave x"),
    "other inputs": (lambda inputs, graph: {"x": inputs["x"] * 0, **exact(inputs, graph)}, "input must be that of the case"),
    "a shape": (giving(lambda y: y[:1]), r"'result' must be int16\[13,8\], but found int16\[1, 8\]"),
    "axes": (giving(lambda y: y.T), "the same lengths in another order"),
    "a sign": (giving(lambda y: y.astype(np.uint8)), r"another width with the same sign, but found uint8\[13, 8\]"),
    "bools": (giving(lambda y: y > 0), "but found bool"),
    "objects": (giving(lambda y: y.astype(object)), "but found object"),
    "NaN": (giving(nan), r"must hold integers \(int16\), of at most 16777216 .* but at \[0, 0\] found nan"),
    "fractions": (giving(lambda y: y + 0.5), r"must hold integers \(int16\)"),
    "lists": (giving(lambda y: y.tolist()), "'result' must be a NumPy array without a mask, but found list"),
    "a mask": (giving(np.ma.masked_array), "'result' must be a NumPy array without a mask, but found MaskedArray"),
    "no parameter": (no_parameter, "must answer, but raised TypeError"),
    "three parameters": (lambda inputs, graph, device: {}, "must answer, but raised TypeError"),
}


@pytest.mark.parametrize("bad", BAD)
def test_an_answer_that_is_none_is_refused_in_one_line(bad: str) -> None:
    function, expected = BAD[bad]
    with pytest.raises(IvitError, match=expected) as caught:
        check_backend(function, suite="Shiftmax", profile="qat")
    assert not isinstance(caught.value, Mismatch)
    assert "\n" not in str(caught.value)
    name = getattr(function, "__qualname__", "")
    assert str(caught.value).startswith(f"backend {name}")


def test_integers_beyond_what_a_float_tells_apart_are_refused() -> None:
    with pytest.raises(IvitError, match="of at most 9007199254740992 where they come as float64"):
        check_backend(giving(lambda y: y.astype(np.float64)), suite="ShiftExp", profile="qat")


def test_reals_must_come_as_float32() -> None:
    with pytest.raises(IvitError, match=r"must be float32\[.*but found float64"):
        check_backend(giving(lambda y: y.astype(np.float64)), suite="Dequantize")


def test_nan_in_place_of_a_real_is_a_mismatch() -> None:
    assert "got nan" in mismatch(giving(lambda y: y * np.float32("nan")), suite="Dequantize")


def test_an_interruption_is_none_of_the_backends_answers() -> None:
    def interrupted(inputs: Arrays, graph: Graph) -> dict[str, Array]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_backend(interrupted, suite="Shiftmax")


def test_an_error_of_the_family_comes_through_as_it_is() -> None:
    with pytest.raises(ivit_ref.IvitError, match="do not fit"):
        check_backend(lambda inputs, graph: ivit_ref.run(graph, inputs), suite="IntDiv", profile="tvm")


def test_a_function_without_a_signature_is_called_or_refused() -> None:
    with pytest.raises(IvitError, match=r"backend max .*must answer"):
        check_backend(max, suite="Shiftmax")  # as with functions of extension modules, inspect finds no signature


def test_an_answer_stays_when_the_next_one_goes_into_the_same_array() -> None:
    buffer = np.zeros((1, 3), np.int8)

    def reusing(inputs: Arrays, graph: Graph) -> dict[str, Array]:
        np.copyto(buffer, inputs["x"])
        return {"result": buffer}

    graph = next(suite_cases("Clip", PROFILES, 0, 0)).graph
    backend = Backend(reusing, "reusing")
    first = backend({"x": np.full((1, 3), 1, np.int8)}, graph)
    backend({"x": np.full((1, 3), 2, np.int8)}, graph)
    assert first["result"].tolist() == [[1, 1, 1]]


# --- Wrong use


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"suite": "Softmax"}, "the operator must be one of ai.ivit version 1 .* but found 'Softmax'"),
        ({"suite": "shiftmax"}, "but found 'shiftmax'"),
        ({"suite": ""}, "but found ''"),
        ({"suite": "Shiftmax", "profile": "tflite"}, "the profile must be one of paper, qat, tvm, ideal, but found 'tflite'"),
        ({"suite": "Shiftmax", "profile": ""}, "but found ''"),
        ({"suite": "Clip", "profile": "tflite"}, "but found 'tflite'"),
        ({"suite": "Shiftmax", "seed": -1}, "seed must be .* but found -1"),
        ({"suite": "Shiftmax", "random": -1}, "random must be .* but found -1"),
    ],
)
def test_wrong_use_is_refused_before_anything_runs(options: dict[str, Any], expected: str) -> None:
    calls: list[Arrays] = []
    with pytest.raises(IvitError, match=f"check_backend: .*{expected}"):
        check_backend(lambda inputs, graph: calls.append(inputs), **options)
    assert not calls
