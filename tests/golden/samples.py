"""Cases in memory: one with every dtype, every extreme and every nasty name; the digits ViT; any arrays as constants."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

import ivit_ref
from ivit_ref import Graph, Node, Quant
from ivit_ref.events import Event
from ivit_ref.golden.case import MODEL, TENSORS, Case, evaluated, recorded
from ivit_ref.ir import DTYPES, Array, Constant, TensorType, Value
from ivit_ref.registry import lookup

GRAPHS = Path(ivit_ref.__file__).parent.parent / "graphs"

COMPILER = shutil.which("cc")
FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
needs_cc = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")

NASTY = (
    *("1st", "int", "a.b", "a/b", "a_b", "A_B", ".hidden", "é☃", "per%cent", "x*/y/*z", "??/what??/", 'quo"te\\', "~", "\\"),
    *("main", "x", "RANK_x", "long." * 12 + "1", "long." * 12 + "2", "/", "*"),
)
FLOATS = np.array([0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 2.0**-126, 3.4028235e38, 0.1, -1.0], np.float32)


def value_of(name: str, array: Array, quant: Quant | None = None) -> Value:
    return Value(name, TensorType(str(array.dtype), array.shape), quant)


def memory_case(graph: Graph, inputs: Mapping[str, Array], **facts: Any) -> Case:
    """A case of a graph that is run now, without a second opinion."""
    return _case(graph, *evaluated(graph, inputs), **facts)


def _case(graph: Graph, values: Mapping[str, Array], events: tuple[Event, ...] = (), **facts: Any) -> Case:
    records = recorded(graph, values, lambda name, role: MODEL if role == "constant" else TENSORS)
    known = {"id": "test_made", "suite": "models", "comment": "made here", "flags": (), "profile": "", **facts}
    known |= {"generator": {"kind": "directed"}, "confirmed_by": "twin", "events": events}
    return Case(graph=graph, records=records, tensors=MappingProxyType(values), **known)


def case_of_arrays(arrays: Mapping[str, Array], quants: Mapping[str, Quant] | None = None) -> Case:
    """A case without a node, which no run would accept: the first array is input and output, the others are constants."""
    first, *others = (value_of(name, array, (quants or {}).get(name)) for name, array in arrays.items())
    constants = tuple(Constant(value, arrays[value.name]) for value in others)
    return _case(Graph("arrays", (first,), (first.name,), constants, ()), arrays)


def one_node(op: str, inputs: Mapping[str, Array], attributes: Mapping[str, Any], **facts: Any) -> Case:
    """A case of one node."""
    values = tuple(value_of(name, array) for name, array in inputs.items())
    types = [v.type for v in values]
    output = Value(
        "y", lookup(op).result_type(types, attributes), lookup(op).result_quant([None] * len(types), types, attributes)
    )
    node = Node(op, tuple(inputs), (output,), attributes, "y")
    return memory_case(Graph(op, values, ("y",), (), (node,)), inputs, **{"suite": op, **facts})


def ends_of(dtype: str) -> Array:
    """Two rows with both ends of a dtype."""
    if dtype == "bool":
        return np.array([[True, False, True], [False, False, True]])
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return np.array([[low, low + 1, 0], [1, high - 1, high]], dtype)


@cache
def everything() -> Case:
    """Inputs, constants and results of every dtype at both of its ends, with nasty names, and real numbers at the edges."""
    names = iter(NASTY)
    dtypes = ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64")
    inputs = {next(names): ends_of(dtype) for dtype in dtypes}
    nodes = []
    for name, array in inputs.items():
        made = Value(next(names), TensorType(str(array.dtype), (3, 2)))
        nodes.append(Node("Transpose", (name,), (made,), {"perm": (1, 0)}, made.name))
    real = np.array([0.25, -3.5, 100.0], np.float32)
    q = Value(next(names), TensorType("int8", (3,)), Quant((0.5,), 3))
    nodes.append(Node("Quantize", ("real",), (q,), {"scale": 0.5, "zero_point": 3, "dtype": "int8", "division": "direct"}, "q"))
    steps: dict[str, Any] = {"scale": (-0.5, 0.1015625, 2.0**-100), "axis": 0, "zero_point": 3}
    nodes.append(Node("Dequantize", ("steps",), (Value("reals", TensorType("float32", (3,))),), steps, "r"))
    constants = {f"constant.{dtype}": ends_of(dtype) for dtype in dtypes} | {
        "scalar": np.array(-7, np.int64),
        "steps": np.array([3, 127, -128], np.int8),
    }
    meant = Quant((0.5, -0.25), -128, axis=0)
    graph = Graph(
        "all of it",
        (*(value_of(name, array) for name, array in inputs.items()), value_of("real", real, Quant((1.0,)))),
        ("reals", *(node.output.name for node in nodes[:4])),
        tuple(Constant(value_of(name, a, meant if name == "constant.int8" else None), a) for name, a in constants.items()),
        tuple(nodes),
    )
    facts = {"comment": "a /*comment*/ with ??/ and\nlines, an é and a \\", "flags": ("extremes", "names"), "profile": "qat"}
    return memory_case(graph, {**inputs, "real": real}, **facts)


@cache
def edges() -> Case:
    """Every real number at the edge, under a name that is no identifier, and a scalar."""
    return case_of_arrays({"0": FLOATS, "1": np.array(-0.0, np.float32), "2": np.array(True)}, {"0": Quant((-(2.0**-149),))})


@cache
def digits() -> Case:
    """The whole digits ViT, one image."""
    graph = ivit_ref.load(GRAPHS / "digits_vit.onnx", N=1)
    return memory_case(graph, {"image": np.load(GRAPHS / "digits_test.npz")["images"][:1]}, id="test_digits", profile="qat")


def same(first: Array, second: Array) -> bool:
    """The same bits."""
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def compiled(folder: Path, sources: Iterable[Path], *flags: str) -> Path:
    """A C program without any warning."""
    program = folder / "program"
    assert COMPILER
    done = subprocess.run([COMPILER, *FLAGS, *flags, "-o", program, *sources], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return program


def check_all(case: Case, found: dict[str, Array]) -> None:
    """Every tensor of the case is there, and no other, with the same bits."""
    assert list(found) == [record.name for record in case.records]
    for name, array in found.items():
        assert same(array, case.tensors[name]), name


@st.composite
def any_arrays(draw: st.DrawFn) -> dict[str, Array]:
    """Some arrays of any dtype, shape and values, NaN apart, under names of any printable characters."""
    letters = st.characters(codec="utf-8", exclude_categories=("C", "Z"))
    names = draw(
        st.lists(st.text(letters, min_size=1, max_size=12).filter(str.isprintable), min_size=1, max_size=6, unique=True)
    )
    arrays = {}
    for name in names:
        dtype = draw(st.sampled_from(DTYPES))
        shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=4))
        real = st.floats(width=32, allow_nan=False)
        arrays[name] = draw(hnp.arrays(dtype, shape, elements=real if dtype == "float32" else None))
    return arrays
