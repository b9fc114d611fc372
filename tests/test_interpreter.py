"""Running graphs: what is refused, what is given back, what listeners hear, and what is kept in memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref import Event, EventLog, Graph, GraphBuilder, Interpreter, Node, Quant, interpreter, run
from ivit_ref.errors import ConstraintError, GraphError, InputError, IntegerOverflow, IvitError
from ivit_ref.events import Context
from ivit_ref.interpreter import Engine
from ivit_ref.ir import Array
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.graphs import runs

ENGINES: list[Engine] = ["spec", "fast"]
engines = pytest.mark.parametrize("engine", ENGINES)
QUARTER = Quant((0.25,))


@dataclass
class Diary:
    """A listener that writes down everything in order."""

    entries: list[tuple[Any, ...]] = field(default_factory=list)

    def node_started(self, node: Node) -> None:
        self.entries.append(("started", node.name))

    def node_finished(self, node: Node, outputs: dict[str, Array]) -> None:
        self.entries.append(("finished", node.name, {name: array.tolist() for name, array in outputs.items()}))

    def event(self, event: Event) -> None:
        self.entries.append(("event", event))


def sum_graph(batch: str | int = "N") -> Graph:
    """Two inputs with one batch axis, each halved, and added."""
    b = GraphBuilder("sum", "qat")
    x, y = (b.input(name, "int8", (batch, 2), QUARTER) for name in ("x", "y"))
    halves = [b.node("Requantize", v, name=f"half_{v.name}", quant=Quant((0.5,)), dtype="int8") for v in (x, y)]
    facts: dict[str, Any] = {"rounds": "each", "dtype": "int8"}
    added = b.node("RequantizeAdd", *halves, name="add", output="sum", quant=Quant((0.125,)), **facts)
    return b.finish([added])


def chain(*shape: str | int) -> Graph:
    """Three nodes in a row, none of which gives a view of what it reads; doubles twice, so it saturates."""
    b = GraphBuilder("chain", "qat")
    x = b.input("x", "int8", shape or (2, 3), Quant((0.5,)))
    for name, scale in (("first", 0.25), ("second", 0.25), ("third", 0.125)):
        x = b.node("Requantize", x, name=name, quant=Quant((scale,)), dtype="int8")
    return b.finish([x])


def norm_graph(profile: str, length: int = 2) -> Graph:
    b = GraphBuilder("norm", profile)
    x = b.input("x", "int16", ("N", length), QUARTER)
    bias = b.constant("bias", np.zeros(length, np.int32), Quant((0.5,) * length, axis=0))
    return b.finish([b.node("ILayerNorm", x, bias, name="blocks.0.norm1", output="y")])


def vanishing_sum() -> tuple[Graph, dict[str, Array]]:
    """64 equal logits, each of whose exponentials is 1024 * 2**16: the int32 sum is 2**32, which wraps to 0."""
    b = GraphBuilder("vanishing", "tvm")
    x = b.input("x", "int8", (1, 64), Quant((float(np.float32(1 / 1023.5)),)))
    graph = b.finish([b.node("Shiftmax", x, name="softmax")])
    assert graph.nodes[0].attributes["i0"] == 1024
    return graph, {"x": np.full((1, 64), 3, np.int8)}


def int8(*rows: list[int]) -> Array:
    return np.array(rows, np.int8)


# --- Inputs


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"^inputs: a name must be one of x, y, but found 'z'$"):
        run(sum_graph(), {"x": int8([1, 2]), "y": int8([1, 2]), "z": int8([1, 2])})


def test_a_missing_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"^inputs: there must be an array for 'y' \(int8\[N,2\]\), but found none$"):
        run(sum_graph(), {"x": int8([1, 2])})


@pytest.mark.parametrize("inputs", [[], None, np.zeros((1, 2), np.int8)])
def test_inputs_without_names_are_refused(inputs: Any) -> None:
    found = type(inputs).__name__
    with pytest.raises(InputError, match=rf"^inputs: must be arrays by name, but found {found}$"):
        run(sum_graph(), inputs)


@pytest.mark.parametrize("x", [[[1, 2]], 3, "x", None, np.ma.masked_array(np.zeros((1, 2), np.int8), mask=True)])
def test_what_is_no_plain_array_is_refused(x: Any) -> None:
    found = type(x).__name__
    with pytest.raises(InputError, match=rf"^input 'x': must be a NumPy array without a mask, but found {found}$"):
        run(sum_graph(), {"x": x, "y": int8([1, 2])})


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32", "bool", "object"])
def test_another_dtype_is_refused(dtype: str) -> None:
    with pytest.raises(InputError, match=rf"^input 'y': the dtype must be int8, but found {dtype}$"):
        run(sum_graph(), {"x": int8([1, 2]), "y": np.array([[1, 2]]).astype(dtype)})


def test_another_byte_order_is_refused() -> None:
    graph = norm_graph("qat")
    with pytest.raises(InputError, match=r"^input 'x': the dtype must be int16, but found >i2$"):
        run(graph, {"x": np.array([[1, 2]], ">i2")})


@pytest.mark.parametrize("shape", [(2,), (1, 1, 2), (), (1, 3), (1, 1), (0, 2), (1, 0), (2, 1)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    found = str(list(shape)).replace("[", r"\[")
    with pytest.raises(InputError, match=rf"^input 'x': must be int8\[N,2\], but found shape {found}$"):
        run(sum_graph(), {"x": np.zeros(shape, np.int8), "y": int8([1, 2])})


def test_a_named_dimension_has_one_length() -> None:
    with pytest.raises(InputError, match=r"^input 'y': must be int8\[N,2\], but found shape \[3, 2\]$"):
        run(sum_graph(), {"x": np.zeros((2, 2), np.int8), "y": np.zeros((3, 2), np.int8)})


def test_a_bound_dimension_has_its_length() -> None:
    graph = sum_graph().bind(N=2)
    with pytest.raises(InputError, match=r"^input 'x': must be int8\[2,2\], but found shape \[3, 2\]$"):
        run(graph, {"x": np.zeros((3, 2), np.int8), "y": np.zeros((3, 2), np.int8)})


def test_a_refused_input_starts_no_node() -> None:
    diary = Diary()
    with pytest.raises(InputError):
        Interpreter(sum_graph(), listeners=[diary]).run({"x": int8([1, 2])})
    assert diary.entries == []


@pytest.mark.parametrize("engine", ["quick", "", "SPEC", None])
def test_an_unknown_engine_is_refused(engine: Any) -> None:
    with pytest.raises(InputError, match=rf"^engine: must be 'spec' or 'fast', but found {engine!r}$"):
        Interpreter(sum_graph(), engine=engine)
    with pytest.raises(InputError, match=r"^engine: "):
        run(sum_graph(), {}, engine=engine)


@pytest.mark.parametrize("overflow", ["ignore", "", None])
def test_an_unknown_overflow_is_refused(overflow: Any) -> None:
    with pytest.raises(InputError, match=rf"^overflow: must be 'raise' or 'wrap', but found {overflow!r}$"):
        Interpreter(sum_graph(), overflow=overflow)


def test_a_graph_is_verified_before_it_is_run() -> None:
    graph = sum_graph()
    wrong = replace(graph, inputs=(replace(graph.inputs[0], quant=Quant((0.5,))), graph.inputs[1]))
    with pytest.raises(GraphError, match=r"^node 'half_x' \(Requantize\) \(V5\): "):
        Interpreter(wrong)


# --- Outputs


@engines
def test_outputs_come_by_name_in_their_order(engine: Engine) -> None:
    graph = replace(sum_graph(), outputs=("sum", "half_y"))
    inputs = {"y": int8([10, 20], [-10, 6]), "x": int8([2, 4], [6, 8])}
    outputs = run(graph, inputs, engine=engine)
    assert [(name, y.tolist()) for name, y in outputs.items()] == [
        ("sum", [[24, 48], [-8, 28]]),
        ("half_y", [[5, 10], [-5, 3]]),
    ]
    assert {str(y.dtype) for y in outputs.values()} == {"int8"}


@engines
def test_an_interpreter_runs_any_number_of_times(engine: Engine) -> None:
    runner = Interpreter(sum_graph(), engine=engine)
    for n in (1, 3, 2):
        x = np.full((n, 2), 2 * n, np.int8)
        assert runner.run({"x": x, "y": x})["sum"].tolist() == [[8 * n, 8 * n]] * n


def test_an_output_may_be_an_input_or_a_constant() -> None:
    b = GraphBuilder("edges")
    x = b.input("x", "int8", (2,))
    y = b.node("Concat", x, b.constant("c", int8([3, 4])[0]), name="y", axis=0)
    graph = replace(b.finish([y]), outputs=("y", "x", "c"))
    outputs = run(graph, {"x": int8([1, 2])[0]})
    assert {name: array.tolist() for name, array in outputs.items()} == {"y": [1, 2, 3, 4], "x": [1, 2], "c": [3, 4]}


@given(runs(), st.sampled_from(ENGINES))
def test_a_run_leaves_its_inputs_alone(drawn: tuple[Graph, dict[str, Array]], engine: Engine) -> None:
    graph, inputs = drawn
    before = {name: array.copy() for name, array in inputs.items()}
    outcome(graph, inputs, engine)
    assert list(inputs) == list(before)
    for name, array in before.items():
        np.testing.assert_array_equal(inputs[name], array, strict=True)


@given(runs())
def test_intermediates_are_what_the_nodes_make_one_by_one(drawn: tuple[Graph, dict[str, Array]]) -> None:
    graph, inputs = drawn
    try:
        found = Interpreter(graph, overflow="wrap", engine="spec").run(inputs, intermediates=True)
    except ConstraintError:
        with pytest.raises(ConstraintError, match=r"IntDiv \(C2\)"):
            one_by_one(graph, inputs)
        return
    expected = one_by_one(graph, inputs)
    assert set(found) == {node.output.name for node in graph.nodes}
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
        assert found[name].shape == array.shape


def one_by_one(graph: Graph, inputs: dict[str, Array]) -> dict[str, Array]:
    """Every tensor that a node makes, by the operators alone."""
    values = {**inputs, **{c.value.name: c.data for c in graph.constants}}
    made: dict[str, Array] = {}
    for node in graph.nodes:
        arrays = [(values | made)[name] for name in node.inputs]
        made[node.output.name] = REGISTRY[node.op].run(arrays, node.attributes, Context("wrap"))
    return made


@engines
def test_intermediates_are_given_only_where_asked_for(engine: Engine) -> None:
    inputs = {"x": int8([2, 4]), "y": int8([6, 8])}
    runner = Interpreter(sum_graph(), engine=engine)
    assert set(runner.run(inputs)) == {"sum"}
    assert set(runner.run(inputs, intermediates=True)) == {"half_x", "half_y", "sum"}


def test_a_body_that_gives_another_type_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(array: Array) -> str:
        monkeypatch.setattr(interpreter, "kernel_of", lambda op, engine: lambda arrays, attributes, ctx: array)
        with pytest.raises(IvitError) as caught:
            run(chain(), {"x": np.zeros((2, 3), np.int8)})
        return str(caught.value)

    must = "node 'first' (Requantize): its body must give int8[2,3], but gave"
    assert wrong(np.zeros((2, 3), np.int16)) == f"{must} int16[2, 3]: a bug of ivit_ref"
    assert wrong(np.zeros((3, 2), np.int8)) == f"{must} int8[3, 2]: a bug of ivit_ref"


# --- Overflow


@engines
def test_overflow_raises_at_the_node_with_the_facts(engine: Engine) -> None:
    x = np.array([[5, 7], [30000, 30001], [-32768, -32768]], np.int16)
    with pytest.raises(IntegerOverflow) as caught:
        run(norm_graph("tvm"), {"x": x}, engine=engine)
    error = caught.value
    assert (error.node, error.op, error.step, error.dtype) == ("blocks.0.norm1", "ILayerNorm", "sum of x", "int16")
    assert (error.count, error.total, error.index, error.value) == (2, 3, (1, 0), 60001)
    assert str(error) == (
        "node 'blocks.0.norm1' (ILayerNorm): sum of x: 2 of 3 elements do not fit int16; first at [1, 0]: 60001"
    )


@engines
def test_overflow_wraps_and_is_an_event(engine: Engine) -> None:
    x = np.array([[5, 7], [30000, 30001], [-32768, -32768]], np.int16)
    log = EventLog()
    graph = norm_graph("tvm")
    result = Interpreter(graph, overflow="wrap", engine=engine, listeners=[log]).run({"x": x})
    wrapped = Event("wrapped", "blocks.0.norm1", "ILayerNorm", "sum of x", 2, 3, (1, 0), 60001)
    assert wrapped in log.events
    silent = run(graph, {"x": x}, overflow="wrap", engine=engine)
    np.testing.assert_array_equal(result["y"], silent["y"], strict=True)
    wide = run(norm_graph("tvm").with_attributes("ILayerNorm", mean_bits=64), {"x": x}, overflow="wrap", engine=engine)
    assert result["y"][0].tolist() == wide["y"][0].tolist()
    assert result["y"][1].tolist() != wide["y"][1].tolist()


@engines
def test_where_nothing_overflows_both_policies_agree(engine: Engine) -> None:
    x = np.array([[5, 700], [3, -3]], np.int16)
    raised, wrapped = (run(norm_graph("tvm"), {"x": x}, overflow=o, engine=engine)["y"] for o in ("raise", "wrap"))
    np.testing.assert_array_equal(raised, wrapped, strict=True)


def test_overflow_raises_unless_asked_to_wrap() -> None:
    x = np.array([[30000, 30001]], np.int16)
    with pytest.raises(IntegerOverflow, match=r"^node 'blocks\.0\.norm1' "):
        Interpreter(norm_graph("tvm")).run({"x": x})


@engines
def test_an_overflow_of_int64_is_at_its_node_under_either_policy(engine: Engine) -> None:
    """The product inside IntDiv knows no operator and no node; the interpreter tells."""
    b = GraphBuilder("quotient", "ideal")
    x, d = b.input("x", "int64", (2,)), b.input("d", "int64", (1,))
    graph = b.finish([b.node("IntDiv", x, d, name="quotient", out_bits=16)])
    inputs = {"x": np.array([1, 2**62]), "d": np.array([1])}
    for overflow in ("raise", "wrap"):
        with pytest.raises(IntegerOverflow) as caught:
            run(graph, inputs, overflow=overflow, engine=engine)  # type: ignore[arg-type]
        error = caught.value
        assert (error.node, error.op, error.dtype) == ("quotient", "IntDiv", "int64")
        assert (error.count, error.total, error.index, error.value) == (1, 2, (1,), 2**62 * (2**31 - 1))
        assert str(error).startswith("node 'quotient' (IntDiv): IntDiv (C5): 1 of 2 elements do not fit int64; first at [1]: ")
        assert "\n" not in str(error)


@pytest.mark.parametrize(("index", "whole"), [((1, 0), (33, 0)), ((), ())])
def test_an_overflow_in_a_batch_tells_its_place_in_the_whole(index: tuple[int, ...], whole: tuple[int, ...]) -> None:
    facts: dict[str, Any] = {"step": "y", "dtype": "int8", "count": 1, "total": 2, "value": 300}
    error = IntegerOverflow(**facts, index=index).located("MatMul", "a", 32)
    assert {key: getattr(error, key) for key in facts} == facts
    assert (error.index, error.op, error.node) == (whole, "MatMul", "a")
    assert str(error) == f"node 'a' (MatMul): y: 1 of 2 elements do not fit int8; first at {list(whole)}: 300"


@engines
def test_a_constraint_inside_a_node_names_the_node(engine: Engine) -> None:
    graph, inputs = vanishing_sum()
    with pytest.raises(ConstraintError) as caught:
        run(graph, inputs, overflow="wrap", engine=engine)
    assert str(caught.value) == "node 'softmax' (Shiftmax): IntDiv (C2): a denominator must not be zero, but found 0"


@engines
def test_a_sum_that_would_vanish_raises_before_it_does(engine: Engine) -> None:
    graph, inputs = vanishing_sum()
    with pytest.raises(IntegerOverflow, match=r"^node 'softmax' \(Shiftmax\): sum of exponentials: 1 of 1 .*: 4294967296$"):
        run(graph, inputs, engine=engine)


@engines
def test_a_node_that_stops_the_run_does_not_finish(engine: Engine) -> None:
    graph, inputs = vanishing_sum()
    diary = Diary()
    with pytest.raises(ConstraintError):
        Interpreter(graph, overflow="wrap", listeners=[diary], engine=engine).run(inputs)
    assert [entry[:2] for entry in diary.entries if entry[0] != "event"] == [("started", "softmax")]
    assert [entry[1].kind for entry in diary.entries if entry[0] == "event"] == ["wrapped"]


@engines
def test_a_float_that_is_no_number_is_refused_at_its_node(engine: Engine) -> None:
    b = GraphBuilder("edge", "qat")
    x = b.input("x", "float32", (2,))
    graph = b.finish([b.node("Quantize", x, name="quantize", scale=0.5, zero_point=0, dtype="int8", division="reciprocal")])
    with pytest.raises(ConstraintError, match=r"^node 'quantize' \(Quantize\): Quantize \(C1\): .*nan"):
        run(graph, {"x": np.array([1, np.nan], np.float32)}, engine=engine)


# --- Listeners


@engines
def test_listeners_hear_of_nodes_and_events_in_order(engine: Engine) -> None:
    diaries = [Diary(), Diary()]
    graph = replace(chain(2), outputs=("third",))
    Interpreter(graph, listeners=diaries, engine=engine).run({"x": np.array([100, 40], np.int8)})
    saturated = [
        Event("saturated", "first", "Requantize", "y", 1, 2, (0,), 200),
        Event("saturated", "third", "Requantize", "y", 2, 2, (0,), 254),
    ]
    assert diaries[0].entries == [
        ("started", "first"),
        ("event", saturated[0]),
        ("finished", "first", {"first": [127, 80]}),
        ("started", "second"),
        ("finished", "second", {"second": [127, 80]}),
        ("started", "third"),
        ("event", saturated[1]),
        ("finished", "third", {"third": [127, 127]}),
    ]
    assert diaries[1].entries == diaries[0].entries


@engines
def test_node_finished_gives_the_output_by_its_own_name(engine: Engine) -> None:
    diary = Diary()
    Interpreter(sum_graph(), listeners=[diary], engine=engine).run({"x": int8([2, 4]), "y": int8([6, 8])})
    assert diary.entries[-1] == ("finished", "add", {"sum": [[16, 24]]})


def test_a_context_at_another_operator_stays_at_its_node() -> None:
    context = Context("wrap", "Shiftmax", "softmax")
    assert (context.at("IntDiv").op, context.at("IntDiv").node) == ("IntDiv", "softmax")
    assert (context.at("IntDiv", "b").node, context.at("IntDiv").overflow) == ("b", "wrap")


def event(kind: Any = "wrapped", node: str = "a", step: str = "y", count: int = 2, index: tuple[int, ...] = (3, 1)) -> Event:
    return Event(kind, node, "MatMul", step, count, 10, index, 999)


def test_a_log_merges_events_of_one_kind_node_and_step() -> None:
    log = EventLog()
    log.event(event(index=(3, 1)))
    log.event(event(count=5, index=(0, 0)))
    assert log.events == [Event("wrapped", "a", "MatMul", "y", 7, 20, (3, 1), 999)]


def test_a_log_keeps_apart_what_differs_in_the_order_of_first_occurrence() -> None:
    log = EventLog()
    events = [event(), event(kind="clamped"), event(node="b"), event(step="z")]
    for e in (*events, *reversed(events)):
        log.event(e)
    assert log.events == [replace(e, count=4, total=20) for e in events]
    assert list(log.of_kind("clamped")) == [replace(events[1], count=4, total=20)]
    assert list(log.of_kind("saturated")) == []


def test_a_log_adds_its_offset_to_the_leading_index() -> None:
    log = EventLog(offset=32)
    log.event(event(index=(3, 1)))
    log.offset = 64
    log.event(event(index=(0, 0)))
    log.event(event(step="z", index=(5,)))
    log.event(event(step="scalar", index=()))
    assert [e.index for e in log.events] == [(35, 1), (69,), ()]


def test_a_new_log_is_empty_and_its_own() -> None:
    first, second = EventLog(), EventLog()
    first.event(event())
    assert (len(first.events), second.events) == (1, [])


@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_a_log_of_batches_is_the_log_of_the_whole(batch: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-128, 127, (7, 3), np.int8, endpoint=True)
    whole, parts = EventLog(), EventLog()
    Interpreter(chain("N", 3), listeners=[whole]).run({"x": x})
    runner = Interpreter(chain("N", 3), listeners=[parts])
    for first in range(0, len(x), batch):
        parts.offset = first
        runner.run({"x": x[first : first + batch]})
    assert {(e.node, e.step, e.count, e.index, e.value) for e in parts.events} == {
        (e.node, e.step, e.count, e.index, e.value) for e in whole.events
    }


def test_an_event_prints_in_one_line() -> None:
    assert str(event()) == "a: y: wrapped 2, first at [3, 1]: 999"
    assert str(event(node="", index=())) == "MatMul: y: wrapped 2, first at []: 999"


# --- Engines


def outcome(graph: Graph, inputs: dict[str, Array], engine: Engine, overflow: Any = "wrap") -> dict[str, Any]:
    """Every tensor, and every event; or what stopped the run, and the events until then."""
    log = EventLog()
    runner = Interpreter(graph, overflow=overflow, listeners=[log], engine=engine)
    try:
        tensors = runner.run(inputs, intermediates=True)
    except IvitError as error:
        return {"stopped": (type(error), str(error)), "events": log.events}
    return {"tensors": {n: (str(y.dtype), y.shape, y.tobytes()) for n, y in tensors.items()}, "events": log.events}


@pytest.mark.parametrize("overflow", ["raise", "wrap"])
@pytest.mark.parametrize("profile", ["paper", "qat", "tvm", "ideal"])
@given(st.data())
def test_both_engines_give_the_same_tensors_and_events(profile: str, overflow: str, data: st.DataObject) -> None:
    graph, inputs = data.draw(runs())
    graph = graph.with_profile(profile)
    assert outcome(graph, inputs, "fast", overflow) == outcome(graph, inputs, "spec", overflow)


@given(runs())
def test_a_second_run_is_like_the_first(drawn: tuple[Graph, dict[str, Array]]) -> None:
    graph, inputs = drawn
    assert outcome(graph, inputs, "fast") == outcome(graph, inputs, "fast")


# --- Memory


@dataclass
class Watch:
    """A listener that writes down which tensors are alive whenever a node starts, and at the end."""

    alive: list[set[str]] = field(default_factory=list)
    seen: dict[str, weakref.ref[Array]] = field(default_factory=dict)

    def node_started(self, node: Node) -> None:
        self.look()

    def node_finished(self, node: Node, outputs: dict[str, Array]) -> None:
        for name, array in outputs.items():
            self.seen[name] = weakref.ref(array)

    def event(self, event: Event) -> None: ...

    def look(self) -> None:
        self.alive.append({name for name, reference in self.seen.items() if reference() is not None})


@engines
def test_a_tensor_is_freed_after_its_last_use(engine: Engine) -> None:
    watch = Watch()
    outputs = Interpreter(chain(), listeners=[watch], engine=engine).run({"x": np.ones((2, 3), np.int8)})
    watch.look()
    assert watch.alive == [set(), {"first"}, {"second"}, {"third"}]
    assert set(outputs) == {"third"}


@engines
def test_a_tensor_is_kept_until_its_last_use(engine: Engine) -> None:
    b = GraphBuilder("skip", "qat")
    x = b.input("x", "int8", (2, 3), QUARTER)
    first = b.node("Requantize", x, name="first", quant=QUARTER, dtype="int8")
    b.node("Requantize", first, name="unread", quant=QUARTER, dtype="int8")
    second = b.node("Requantize", first, name="second", quant=QUARTER, dtype="int8")
    facts: dict[str, Any] = {"quant": QUARTER, "rounds": "each", "dtype": "int8"}
    third = b.node("RequantizeAdd", second, first, name="third", **facts)
    fourth = b.node("Requantize", third, name="fourth", quant=QUARTER, dtype="int8")
    watch = Watch()
    graph = b.finish([fourth, second])
    outputs = Interpreter(graph, listeners=[watch], engine=engine).run({"x": np.ones((2, 3), np.int8)})
    watch.look()
    expected = [set(), {"first"}, {"first"}, {"first", "second"}, {"second", "third"}, {"second", "fourth"}]
    assert watch.alive == expected
    assert set(outputs) == {"fourth", "second"}


@engines
def test_an_input_is_not_held_after_its_last_use(engine: Engine) -> None:
    """The caller may give up an array as soon as the graph has read it."""
    inputs = {"x": np.ones((2, 3), np.int8)}
    reference = weakref.ref(inputs["x"])
    alive: list[bool] = []
    watch = Watch()

    def look() -> None:
        inputs.pop("x", None)
        alive.append(reference() is not None)

    watch.look = look  # type: ignore[method-assign]
    Interpreter(chain(), listeners=[watch], engine=engine).run(inputs)
    assert alive == [True, False, False]


@engines
def test_with_intermediates_every_tensor_is_kept(engine: Engine) -> None:
    watch = Watch()
    outputs = Interpreter(chain(), listeners=[watch], engine=engine).run({"x": np.ones((2, 3), np.int8)}, intermediates=True)
    watch.look()
    assert watch.alive[-1] == set(outputs) == {"first", "second", "third"}


def test_kernels_of_both_engines_are_known() -> None:
    kernels: list[Callable[..., Array]] = [interpreter.kernel_of(op, "spec") for op in REGISTRY]
    assert kernels == [definition.run for definition in REGISTRY.values()]
    assert all(callable(interpreter.kernel_of(op, "fast")) for op in REGISTRY)
