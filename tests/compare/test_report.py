"""Cumulative and isolated: which tensors a wrong node is blamed for, in a backend's own run, node by node, and in a dump."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ivit_ref import Graph
from ivit_ref.compare.backend import Backend
from ivit_ref.compare.dump import Layout, dumped
from ivit_ref.compare.report import Report, compare, compare_alone, compare_dump_alone
from ivit_ref.errors import IvitError
from ivit_ref.golden.case import Case
from ivit_ref.golden.read import read_case
from ivit_ref.ir import Array
from tests.compare.building import BIAS, FC, OUT, PAIR, RESULT, SUMS, WRONG, X, command, exact, inputs_alone, pair_case, wrong
from tests.golden.samples import digits

LAST = "blocks.3.qact4"


@cache
def made(name: str) -> dict[str, Array]:
    """All that a backend makes of the digits, the image apart."""
    return {"exact": exact, "wrong": wrong}[name](digits().inputs, digits().graph)


@pytest.fixture
def pair() -> Case:
    return read_case(pair_case())


def names(report: Report, verdict: str) -> list[str]:
    return [row.name for row in report.rows if row.verdict == verdict]


def downstream(graph: Graph, name: str) -> set[str]:
    """The tensors that depend on one, and itself."""
    found = {name}
    for node in graph.nodes:
        if found & set(node.inputs):
            found.add(node.output.name)
    return found


def really_different() -> list[str]:
    """Downstream of the wrong node some rounding may hide it: what differs is told by the arrays themselves."""
    nodes, golden = digits().graph.nodes, digits().tensors
    return [n.output.name for n in nodes if not np.array_equal(made("wrong")[n.output.name], golden[n.output.name])]


# --- The backend's own run


def test_rows_are_the_graph_s_nodes_in_its_order() -> None:
    backwards = dict(reversed(made("exact").items()))
    rows = compare(digits(), backwards, "backend").rows
    nodes = digits().graph.nodes
    assert [(r.name, r.node, r.op) for r in rows] == [(n.output.name, n.name, n.op) for n in nodes]
    assert len(rows) == len(nodes) > 100


def test_an_exact_run_is_equal_in_every_tensor() -> None:
    report = compare(digits(), made("exact"), "backend")
    assert (report.mode, report.case, report.first) == ("cumulative", digits().name, None)
    assert (report.count("equal"), report.count("differs"), report.count("not given")) == (len(report.rows), 0, 0)


def test_a_run_blames_all_that_a_wrong_node_spoils() -> None:
    report = compare(digits(), made("wrong"), "backend")
    found = names(report, "differs")
    assert found == really_different()
    assert set(found) <= downstream(digits().graph, WRONG)
    assert len(found) > 50
    assert report.first is not None
    assert (report.first.name, report.first.op, report.first.largest) == (WRONG, "ShiftGELU", 1)
    assert report.first.histogram == ((1, report.first.total),)


def test_the_facts_of_a_run_count_what_its_rows_say() -> None:
    facts = compare(digits(), made("wrong"), "backend").facts()
    wrong_ones = really_different()
    assert (facts["differs"], facts["first"], facts["not_given"]) == (len(wrong_ones), WRONG, 0)
    assert facts["equal"] + facts["differs"] == len(facts["tensors"])
    assert [t["name"] for t in facts["tensors"] if t["verdict"] == "differs"] == wrong_ones


def test_a_partial_run_tells_what_was_not_given() -> None:
    some = {name: made("wrong")[name] for name in ("logits_int", LAST, "qact1")}
    report = compare(digits(), some, "backend")
    assert names(report, "equal") == ["qact1"]
    assert names(report, "differs") == [LAST, "logits_int"]
    assert report.count("not given") == len(report.rows) - 3
    assert report.first is not None
    assert report.first.name == LAST


def test_progress_counts_every_tensor(pair: Case) -> None:
    counts: list[int] = []
    compare(pair, {OUT: RESULT}, "dump", counts.append)
    assert counts == [1, 2]


# --- Node by node


def test_an_exact_backend_is_equal_node_by_node() -> None:
    report = compare_alone(digits(), Backend(exact, "exact"))
    assert (report.mode, report.first, report.count("equal")) == ("isolated", None, len(report.rows))


def test_node_by_node_exactly_the_wrong_node_is_blamed() -> None:
    report = compare_alone(digits(), Backend(wrong, "wrong"))
    assert names(report, "differs") == [WRONG]
    assert report.count("equal") == len(report.rows) - 1
    assert [row.name for row in report.rows] == [node.output.name for node in digits().graph.nodes]


def test_node_by_node_each_graph_has_one_node_and_golden_inputs(pair: Case) -> None:
    seen: list[tuple[str, dict[str, list[object]], tuple[str, ...]]] = []

    def noting(inputs: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
        [node] = graph.nodes
        seen.append((node.name, {name: a.tolist() for name, a in inputs.items()}, graph.outputs))
        assert {c.value.name for c in graph.constants} == ({"weight", "bias"} if node.op == "Linear" else set())
        return {node.output.name: np.zeros((2, 4), np.int8)}

    report = compare_alone(pair, Backend(noting, "noting"))
    assert seen == [(FC, {"x": X.tolist()}, (FC,)), (OUT, {FC: SUMS.tolist()}, (OUT,))]
    assert [row.differing for row in report.rows] == [7, 7]  # each has a single zero


def test_node_by_node_an_answer_of_another_type_is_refused(pair: Case) -> None:
    with pytest.raises(IvitError, match=r"^backend b: tensor 'block/fc' must be int32\[2,4\].*but found uint8\[2, 4\]$"):
        compare_alone(pair, Backend(lambda inputs, graph: {graph.outputs[0]: np.zeros((2, 4), np.uint8)}, "b"))


def test_a_function_of_inputs_alone_is_run_as_a_whole(pair: Case) -> None:
    report = compare(pair, Backend(inputs_alone, "fixed")(pair.inputs, pair.graph), "backend fixed")
    assert names(report, "equal") == [FC, OUT]


# --- A dump, node by node


def test_of_an_exact_dump_every_node_is_right() -> None:
    report = compare_dump_alone(digits(), made("exact"), "dump")
    assert (report.mode, report.count("equal")) == ("isolated", len(report.rows))


def test_of_a_whole_dump_exactly_the_wrong_node_is_blamed() -> None:
    report = compare_dump_alone(digits(), made("wrong"), "dump")
    assert names(report, "differs") == [WRONG]
    assert report.count("equal") == len(report.rows) - 1


def test_of_a_dump_nodes_are_judged_whose_inputs_it_has() -> None:
    """The three that are there have no inputs there, except the first tensor, which is made of the image."""
    graph = digits().graph
    [dequantize] = [n for n in graph.nodes if n.output.name == "logits"]
    first = graph.nodes[0].output.name
    some = {name: made("wrong")[name] for name in (first, WRONG, LAST, "logits_int", "logits")}
    report = compare_dump_alone(digits(), some, "dump")
    assert dequantize.inputs == ("logits_int",)
    assert names(report, "equal") == [first, "logits"]
    assert names(report, "differs") == []


def test_of_a_dump_a_node_is_judged_on_the_dump_s_own_inputs(pair: Case) -> None:
    """15 of a sum of -15 would be -4; the dump's sum is 15, and 4 is right for it, 3 is not."""
    sums, right, bad = SUMS.copy(), RESULT.copy(), RESULT.copy()
    sums[1, 2], right[1, 2], bad[1, 2] = 15, 4, 3
    assert [r.verdict for r in compare_dump_alone(pair, {FC: sums, OUT: right}, "dump").rows] == ["differs", "equal"]
    row = compare_dump_alone(pair, {FC: sums, OUT: bad}, "dump").rows[1]
    assert (row.differing, row.index, row.got, row.want) == (1, (1, 2), 3, 4)
    assert [r.verdict for r in compare(pair, {FC: sums, OUT: right}, "dump").rows] == ["differs", "differs"]


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**62])
def test_what_takes_values_beyond_their_dtype_is_not_judged(value: int, pair: Case) -> None:
    sums = SUMS.astype(np.int64)
    sums[0, 0] = value
    report = compare_dump_alone(pair, {FC: sums, OUT: RESULT}, "dump")
    assert [row.verdict for row in report.rows] == ["differs", "not judged"]
    assert (report.rows[0].got, report.rows[0].want, report.rows[0].largest) == (value, 11, abs(value - 11))
    cumulative = compare(pair, {FC: sums, OUT: RESULT}, "dump")
    assert [row.verdict for row in cumulative.rows] == ["differs", "equal"]


@pytest.mark.parametrize("value", [2**31 - 1, -(2**31)])
def test_what_takes_the_ends_of_their_dtype_is_judged(value: int, pair: Case) -> None:
    sums, result = SUMS.astype(np.int64), RESULT.copy()
    sums[0, 0], result[0, 0] = value, 127 if value > 0 else -128
    assert [row.verdict for row in compare_dump_alone(pair, {FC: sums, OUT: result}, "dump").rows] == ["differs", "equal"]


def test_a_wider_dump_and_one_of_floats_are_judged_alike(pair: Case) -> None:
    for dtype in ("int64", "float32", ">i4"):
        report = compare_dump_alone(pair, {FC: SUMS.astype(dtype), OUT: RESULT.astype(dtype)}, "dump")
        assert [row.verdict for row in report.rows] == ["equal", "equal"]


@pytest.mark.parametrize("judge", [compare, compare_dump_alone])
def test_other_constants_are_refused_in_either_mode(judge: object, pair: Case) -> None:
    assert callable(judge)
    with pytest.raises(IvitError, match=f"^dump: constant must be that of the case {PAIR}, but found another: bias: 1 of 4"):
        judge(pair, {"bias": BIAS + np.array([0, 0, 1, 0]), OUT: RESULT}, "dump")


def test_a_dump_of_the_digits_from_disk_is_read_tensor_by_tensor(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", **made("wrong"))
    actual = dumped(digits(), tmp_path / "all.npz", Layout())
    assert names(compare(digits(), actual, "dump"), "differs") == really_different()
    assert names(compare_dump_alone(digits(), actual, "dump"), "differs") == [WRONG]


# --- A published model


def test_a_whole_model_of_hundreds_of_tensors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ivit_ref.cli.compare.conclusions", lambda *arguments: [])  # looking for a reason takes seconds
    assert command("golden", "make", tmp_path, "--model", "deit_tiny_patch16_224") == 0
    place = tmp_path / "models" / "test_deit_tiny_patch16_224_qat"
    with np.load(place / "tensors.npz") as archive:
        arrays = dict(archive)
    arrays["blocks.9.qact4"][0, 196, 191] ^= 1
    arrays["blocks.2.qact4"][0, 5, 7] += 1000
    np.savez(tmp_path / "a.npz", **arrays)
    capsys.readouterr()
    assert command("compare", place, tmp_path / "a.npz", "--json") == 1
    [case] = json.loads(capsys.readouterr().out)["cases"]
    rows = case["tensors"]
    assert [row["name"] for row in rows] == [record["name"] for record in made_in(place)]
    assert (case["equal"], case["differs"], case["not_given"], case["first"]) == (len(rows) - 2, 2, 0, "blocks.2.qact4")
    assert len(rows) > 200
    found = [(r["name"], r["differing"], r["largest"], r["index"]) for r in rows if r["verdict"] == "differs"]
    assert found == [("blocks.2.qact4", 1, 1000, [0, 5, 7]), ("blocks.9.qact4", 1, 1, [0, 196, 191])]


def made_in(place: Path) -> list[dict[str, str]]:
    records = json.loads((place / "case.json").read_text())["tensors"]
    return [record for record in records if record["node"]]
