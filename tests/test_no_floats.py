"""No float array exists inside a run of the reference engine, between Quantize and Dequantize: shown in three ways.

First by arrays that refuse to be floats: a subclass that every operator's arithmetic goes through, with any float dtype on the
way stopping the run. Second by looking: at every line that the operators execute, no local variable is a float array. Third by
reading: their source neither divides by ``/`` nor names a float type.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ivit_ref
from ivit_ref import Graph, Interpreter, Node, interpreter, load, run
from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Context, Event
from ivit_ref.integers import widen
from ivit_ref.ir import Array
from ivit_ref.profiles import PROFILES, Profile
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.graphs import graphs
from ivit_ref.testing.graphs import inputs as inputs_of

PACKAGE = Path(ivit_ref.__file__).parent
DIGITS = PACKAGE.parent / "graphs" / "digits_vit.onnx"
IMAGES = PACKAGE.parent / "graphs" / "digits_test.npz"

EDGES = ("Quantize", "Dequantize")
IN_FLOATS = sorted(op for op, definition in REGISTRY.items() if definition.floats)
"""The baseline that computes in floats and says so: a graph must allow it (V7), so no other graph has one."""

INTEGER_OPS = sorted(set(REGISTRY) - set(EDGES) - set(IN_FLOATS))
PROFILED: dict[str, Callable[[Profile], dict[str, Any]]] = {
    "ShiftExp": lambda p: p.shift_exp(0.05),
    "IntDiv": lambda p: p.int_div(p.softmax_out_bits),
    "Shiftmax": lambda p: p.shiftmax(0.05),
    "ShiftGELU": lambda p: p.shift_gelu(0.05),
    "IntSqrt": lambda p: p.int_sqrt(),
    "ILayerNorm": lambda p: p.i_layer_norm(),
    "ReduceMean": lambda p: {"rounding": p.mean_rounding},
    "Requantize": lambda p: {"rounding": p.rounding},
    "RequantizeAdd": lambda p: {"rounding": p.rounding},
}
"""What a profile chooses; the operators that are not here have one meaning in all profiles."""


class FloatFound(AssertionError):
    """An array of floats."""


class Integers(np.ndarray):
    """An array that is never of floats, nor is anything that comes of it.

    ``__array_finalize__`` sees every view, copy and cast. Results that NumPy would give as a plain array, or as a number, are
    caught where they are made: those of ufuncs in ``__array_ufunc__``, those of functions in ``__array_function__``.
    """

    def __array_finalize__(self, made_from: object) -> None:
        refuse_floats(self)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        for x in (*inputs, *kwargs.get("out", ())):
            refuse_floats(x)
        if "out" in kwargs:
            kwargs["out"] = tuple(plain(x) for x in kwargs["out"])
        return tagged(getattr(ufunc, method)(*map(plain, inputs), **kwargs))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return tagged(super().__array_function__(func, types, args, kwargs))


def refuse_floats(x: object) -> None:
    if isinstance(x, (float, complex)) or (isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind not in "iub"):
        raise FloatFound(f"{type(x).__name__} {getattr(x, 'dtype', '')}")


def plain(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, Integers) else x


def tagged(x: Any) -> Any:
    """The same, with every array in it an ``Integers``."""
    if isinstance(x, (list, tuple)):
        return type(x)(tagged(part) for part in x)
    refuse_floats(x)
    return x.view(Integers) if isinstance(x, np.ndarray) else x


CREATORS = ("array", "asarray", "asanyarray", "ascontiguousarray", "zeros", "ones", "empty", "full", "arange", "linspace")


@contextmanager
def only_integers() -> Iterator[None]:
    """Within it NumPy makes no array of floats from anything, and every new array is tagged as well."""

    def refusing(create: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: tagged(create(*args, **kwargs))

    with patch.multiple(np, **{name: refusing(getattr(np, name)) for name in CREATORS}):
        yield


# --- The detector detects


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: np.true_divide(x, 2),
        lambda x: 6 / x,
        np.sqrt,
        np.rint,
        lambda x: x * 0.5,
        lambda x: x + np.float32(1),
        lambda x: np.float64(2) ** x,
        lambda x: x + np.zeros(3),
        lambda x: x.astype(np.float32),
        lambda x: x.view(np.float64) + 1,
        lambda x: x.mean(),
        lambda x: np.mean(x, axis=0),
        lambda x: np.median(x),
        lambda x: x.sum(dtype=np.float64),
        lambda x: np.divide(x, 2, out=np.zeros(3)),
        lambda x: np.where(x > 0, x, 0.5),
        lambda x: np.concatenate([x, np.zeros(1)]),
        lambda x: np.full_like(x, 1, dtype=np.float16),
        lambda x: np.linalg.norm(x),
        lambda x: np.matmul(x, x.reshape(3, 1), dtype=np.float64),
        lambda x: np.where(x > 1, x, 0) / 2,
        lambda x: np.searchsorted([1, 2], x) * 0.5,
        lambda x: np.sqrt(x.max(keepdims=True)),
        lambda x: np.exp(x[..., None]),
        lambda x: np.asanyarray(x).reshape(3, 1).astype(np.int64).T / 2,
        lambda x: np.array(x, float).astype(np.int64),
        lambda x: np.asarray(x, dtype=np.float32),
        lambda x: np.zeros(3),
        lambda x: np.full(3, 0.5),
        lambda x: np.array([0.5, 1.5]),
        lambda x: np.linspace(0, 1, 3),
        lambda x: np.arange(3) / 2,
    ],
)
def test_the_detector_fires(compute: Callable[[Array], object]) -> None:
    x = np.array([1, 2, 3])
    compute(x)
    with only_integers(), pytest.raises(FloatFound):
        compute(tagged(x))


@pytest.mark.parametrize(
    "compute",
    [
        widen,
        lambda x: x // 2 + (x >> 1) - x % 2,
        lambda x: np.where(x > 0, x, 0),
        lambda x: np.matmul(x, x.reshape(3, 1)),
        lambda x: np.searchsorted([1, 2], x),
        lambda x: np.pad(x, 1),
        lambda x: np.broadcast_to(x, (2, 3), subok=True),
        lambda x: np.concatenate([x, np.zeros(1, np.int64)]),
        lambda x: np.array([5, 6, 7])[x - 1] + x,
        lambda x: x.max(keepdims=True),
        lambda x: x.astype("int8"),
    ],
)
def test_the_detector_stays_on_the_result_and_changes_nothing(compute: Callable[[Array], Array]) -> None:
    x = np.array([1, 2, 3])
    with only_integers():
        found = compute(tagged(x))
    assert isinstance(found, Integers)
    np.testing.assert_array_equal(plain(found), compute(x), strict=True)


def test_the_detector_fires_inside_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that goes by floats and gives the same integers."""

    def by_floats(arrays: list[Array], attributes: Any, ctx: Context) -> Array:
        return np.transpose(arrays[0] / 1, attributes["perm"]).astype(arrays[0].dtype)

    monkeypatch.setitem(KERNELS_INSTEAD, "Transpose", by_floats)
    with pytest.raises(FloatFound):
        run_tagged(monkeypatch, digits("qat"), images())


# --- Every operator


def results(op: str, arrays: tuple[Array, ...], attributes: dict[str, Any]) -> tuple[Any, list[Event]]:
    """What a body makes, or the text of its refusal; and the events."""
    events: list[Event] = []
    try:
        return REGISTRY[op].run(arrays, attributes, Context("wrap", op, "node", events.append)), events
    except (ConstraintError, IntegerOverflow) as error:
        return str(error), events


def assert_without_floats(op: str, arrays: tuple[Array, ...], attributes: dict[str, Any]) -> None:
    """The body makes the same of arrays that refuse to be floats."""
    expected, events = results(op, arrays, attributes)
    given = tuple(tagged(a.copy()) for a in arrays)
    with only_integers():
        found, found_events = results(op, given, attributes)
    assert found_events == events
    if isinstance(expected, str):
        assert found == expected
        return
    np.testing.assert_array_equal(plain(found), expected, strict=True)
    assert expected.dtype.kind in "iub"


def test_every_operator_is_called() -> None:
    assert set(INTEGER_OPS) <= set(CALLS)
    assert set(PROFILED) <= set(INTEGER_OPS)


@pytest.mark.parametrize("op", INTEGER_OPS)
@given(st.data())
def test_no_float_in_any_call(op: str, data: st.DataObject) -> None:
    arrays, attributes = data.draw(CALLS[op])
    assert_without_floats(op, arrays, attributes)


@pytest.mark.parametrize("op", IN_FLOATS)
def test_what_says_that_it_computes_in_floats_does(op: str) -> None:
    x = np.array([[0, -1, -100], [7, -128, 127]], np.int8)
    arrays = (x, np.array([5, -6, 7], np.int32))[: len(REGISTRY[op].inputs)]
    attributes = {"scale": 0.25, "out_bits": 8, "dtype": "int8"}
    with pytest.raises(FloatFound):
        assert_without_floats(op, arrays, {k: v for k, v in attributes.items() if k in REGISTRY[op].attributes})


ROWS: dict[str, tuple[Array, ...]] = {
    "ShiftExp": (np.array([[0, -1, -100], [7, -128, 127]], np.int8),),
    "IntDiv": (np.array([[1, 5, 2**20], [0, 3, 2**24]]), np.array([[2**20], [2**25]])),
    "Shiftmax": (np.array([[0, -1, -100], [7, -128, 127]], np.int8),),
    "ShiftGELU": (np.array([[0, -1, -100], [7, -128, 127]], np.int8),),
    "IntSqrt": (np.array([0, 1, 2**15 + 3, 2**31 - 1]),),
    "ILayerNorm": (np.array([[0, -1, -100], [7, -128, 32767]], np.int16), np.array([5, -6, 7], np.int32)),
    "ReduceMean": (np.array([[0, -1, -100], [7, -128, 127]], np.int8),),
    "Requantize": (np.array([[0, -1, -100], [7, -128, 127]], np.int8),),
    "RequantizeAdd": (np.array([[0, -1, -100]], np.int8), np.array([[7, -128, 127]], np.int16)),
}
FIXED: dict[str, dict[str, Any]] = {
    "ReduceMean": {"axes": (0, 1)},
    "Requantize": {"multiplier": (3, 5, -7), "shift": (2, 1, 3), "axis": 1, "zero_point": 1, "dtype": "int8"},
    "RequantizeAdd": {
        "a_multiplier": (3,),
        "a_shift": (2,),
        "b_multiplier": (5,),
        "b_shift": (2,),
        "rounds": "once",
        "axis": 0,
        "zero_point": 0,
        "dtype": "int8",
    },
}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
@pytest.mark.parametrize("op", PROFILED)
def test_no_float_in_any_profile(op: str, profile: Profile) -> None:
    attributes = {**FIXED.get(op, {}), **PROFILED[op](profile)}
    assert not isinstance(results(op, ROWS[op], attributes)[0], str)
    assert_without_floats(op, ROWS[op], attributes)


# --- Whole graphs

KERNELS_INSTEAD: dict[str, Any] = {}
"""Bodies that a test puts in place of an operator's own."""


def digits(profile: str) -> Graph:
    return load(DIGITS).with_profile(profile)


def images() -> dict[str, Array]:
    with np.load(IMAGES) as arrays:
        return {"image": arrays["images"][:2]}


class AllTagged:
    """A listener that finds every tensor between the edges to be an ``Integers``."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def node_started(self, node: Node) -> None: ...

    def node_finished(self, node: Node, outputs: dict[str, Array]) -> None:
        (array,) = outputs.values()
        assert isinstance(array, Integers) == (node.op != "Dequantize")
        self.names.append(node.name)

    def event(self, event: Event) -> None: ...


def run_tagged(monkeypatch: pytest.MonkeyPatch, graph: Graph, inputs: dict[str, Array]) -> dict[str, Array]:
    """The run with every integer array tagged, inputs and constants of each node as well."""

    def kernel_of(op: str, engine: str) -> Any:
        body = KERNELS_INSTEAD.get(op, REGISTRY[op].run)

        def kernel(arrays: list[Array], attributes: Any, ctx: Context) -> Array:
            if op == "Quantize":
                return tagged(body(arrays, attributes, ctx))
            if op == "Dequantize":
                return body([plain(a) for a in arrays], attributes, ctx)
            with only_integers():
                return body([tagged(a) for a in arrays], attributes, ctx)

        return kernel

    listener = AllTagged()
    with monkeypatch.context() as context:
        context.setattr(interpreter, "kernel_of", kernel_of)
        runner = Interpreter(graph, overflow="wrap", listeners=[listener], engine="spec")
        outputs = runner.run(inputs)
    assert listener.names == [node.name for node in graph.nodes]
    return outputs


@pytest.mark.parametrize("profile", PROFILES)
def test_no_float_in_the_digits_model(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = digits(profile)
    assert [node.op for node in graph.nodes if node.op in EDGES] == list(EDGES)
    expected = run(graph, images(), overflow="wrap", engine="spec")
    found = run_tagged(monkeypatch, graph, images())
    for name in graph.outputs:
        np.testing.assert_array_equal(plain(found[name]), expected[name], strict=True)


# --- The second look


@dataclass
class Sight:
    """The functions that were looked into, and those with a local float array or NumPy float."""

    seen: set[str] = field(default_factory=set)
    floats: set[str] = field(default_factory=set)

    def look(self, frame: FrameType, event: str, argument: object) -> Any:
        name = f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"
        self.seen.add(name)
        values = [*frame.f_locals.values(), argument if event == "return" else None]
        if any(isinstance(v, (np.ndarray, np.generic)) and v.dtype.kind not in "iub" for v in values):
            self.floats.add(name)
        return self.look


@contextmanager
def watching(*places: Path) -> Iterator[Sight]:
    """Looks at every line that is executed in these files, or in files below these places."""
    sight = Sight()
    watched: dict[str, bool] = {}

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        name = frame.f_code.co_filename
        if name not in watched:
            watched[name] = any(place in (Path(name), *Path(name).parents) for place in places)
        return sight.look(frame, event, argument) if watched[name] else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield sight
    finally:
        sys.settrace(before)


ARITHMETIC = (PACKAGE / "ops", PACKAGE / "integers.py", PACKAGE / "events.py")
AT_THE_EDGES = {"quantize.quantize", "integers.from_float", "dequantize.dequantize", "integers.to_float32"}


@pytest.mark.parametrize("profile", PROFILES)
def test_only_the_edges_have_floats_among_their_variables(profile: str) -> None:
    graph = digits(profile)
    runner = Interpreter(graph, overflow="wrap", engine="spec")
    with watching(*ARITHMETIC) as sight:
        runner.run({"image": images()["image"][:1]})
    assert sight.floats == AT_THE_EDGES
    assert {"shiftmax.shiftmax", "shift_exp.exponential", "i_layer_norm.i_layer_norm", "integers.widen"} <= sight.seen


@given(st.data())
def test_no_drawn_graph_has_floats_among_the_variables(data: st.DataObject) -> None:
    graph = data.draw(graphs(max_steps=4))
    inputs = data.draw(inputs_of(graph))
    runner = Interpreter(graph, overflow="wrap", engine="spec")
    with watching(*ARITHMETIC) as sight, suppress(ConstraintError):
        runner.run(inputs)
    assert sight.seen
    assert sight.floats <= AT_THE_EDGES


def test_the_second_look_sees_floats() -> None:
    def in_between(x: Array) -> Array:
        half = np.array(x, dtype=np.float64) / 2
        half = half.astype(np.int64)
        return half + 1

    def returned(x: Array) -> Array:
        return x / 2

    def number(x: Array) -> int:
        mean = x.mean()
        return int(mean)

    def integers_only(x: Array) -> Array:
        return x // 2

    with watching(Path(__file__)) as sight:
        for function in (in_between, returned, number, integers_only):
            function(np.array([2, 4]))
    assert sight.floats == {f"test_no_floats.{name}" for name in ("in_between", "returned", "number")}


# --- The third


FLOATS = re.compile(r"float|double|single|half|longdouble|true_divide|inexact")
DECLARATIONS = ("infer", "quant", "onnx_body")
"""Functions of an operator that run when a graph is built."""


def bodies(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What a function executes, node by node: without the annotations of its arguments and variables."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name not in DECLARATIONS:
            annotated = (n.annotation for n in ast.walk(function) if isinstance(n, (ast.AnnAssign, ast.arg)))
            skipped = {id(part) for annotation in annotated if annotation for part in ast.walk(annotation)}
            walked = (n for statement in function.body for n in ast.walk(statement))
            yield from ((function.name, n) for n in walked if id(n) not in skipped)


def by_floats(source: str) -> set[str]:
    """The functions that divide by ``/`` or name a float type."""
    found = bodies(ast.parse(source))
    return {name for name, n in found if isinstance(n, ast.Div) or (isinstance(n, ast.Attribute) and FLOATS.match(n.attr))}


def test_only_the_edges_name_floats() -> None:
    exempt = {inspect.getsourcefile(REGISTRY[op].kernel) for op in IN_FLOATS}
    paths = [*(PACKAGE / "ops").glob("*.py"), PACKAGE / "integers.py", PACKAGE / "events.py"]
    paths = [path for path in paths if str(path) not in exempt]
    found = {f"{path.stem}.{name}" for path in paths for name in by_floats(path.read_text())}
    assert found == {"quantize.quantize", "dequantize.dequantize", "integers.to_float32"}


@pytest.mark.parametrize("body", ["x / 2", "np.float64(x)", "x.astype(np.float32)", "np.true_divide(x, 2)", "np.double"])
def test_the_third_look_sees_floats(body: str) -> None:
    assert by_floats(f"def f(x: np.float64): return {body}") == {"f"}
    assert by_floats("def f(x: np.float64): y: np.float64 = x // 2") == set()
