"""Every operator's ONNX function: two foreign runtimes answer as the NumPy body does, and onnx can type what they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TypeProto, checker, shape_inference

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Context, Event
from ivit_ref.integers import ROUNDINGS
from ivit_ref.ir import Graph, Node, TensorType, Value
from ivit_ref.onnx_body import DOMAIN, OPSET, function_of
from ivit_ref.onnx_io import to_model
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from tests.onnx import extremes_ibert, extremes_runtimes
from tests.onnx.extremes_baselines import BASELINES
from tests.onnx.runtimes import RUNTIMES, Array, assert_same

Attributes: TypeAlias = Mapping[str, Any]
Call: TypeAlias = tuple[tuple[Array, ...], dict[str, Any]]


INFERRED_WHOLE = {
    *("MatMul", "Linear", "Conv", "Quantize", "ShiftExp", "IntDiv"),
    *("Shiftmax", "ShiftGELU", "Lookup", "Reshape", "Transpose", "Concat"),
    *("Center", "Rescale", "Mul", "Clip", "Where", "Take"),
    *("IBertSoftmax", "IBertGELU", "ShiftMatMul"),
}
"""Where onnx sees the whole shape. It does not behind a Loop (IntSqrt, ILayerNorm), nor lengths that come from attributes."""


def one_node(name: str, call: Call) -> ModelProto:
    """A model of one node with every array as an input."""
    arrays, attributes = call
    types = [TensorType(str(a.dtype), a.shape) for a in arrays]
    inputs = tuple(Value(f"x{i}", t) for i, t in enumerate(types))
    output = Value("y", REGISTRY[name].result_type(types, attributes))
    node = Node(name, tuple(v.name for v in inputs), (output,), attributes, "node")
    return to_model(Graph("one_node", inputs, ("y",), (), (node,)))


def spec(name: str, call: Call) -> Array:
    """What the NumPy body makes of the call."""
    return REGISTRY[name].run(*call, Context(overflow="wrap"))


def assert_runtime_agrees(runtime: str, name: str, call: Call) -> None:
    want = spec(name, call)
    inputs = {f"x{i}": np.asarray(a) for i, a in enumerate(call[0])}
    assert_same(RUNTIMES[runtime](one_node(name, call), inputs)["y"], np.asarray(want))


def test_calls_know_every_operator() -> None:
    assert set(CALLS) == set(REGISTRY)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", REGISTRY)
@settings(max_examples=24, deadline=None)
@given(data=st.data())
def test_runtimes_agree_with_the_spec(runtime: str, name: str, data: st.DataObject) -> None:
    call = data.draw(CALLS[name])
    try:
        spec(name, call)
    except (ConstraintError, IntegerOverflow):
        assume(False)
    assert_runtime_agrees(runtime, name, call)


@pytest.mark.parametrize("name", REGISTRY)
@settings(max_examples=16, deadline=None)
@given(data=st.data())
def test_onnx_infers_our_types(name: str, data: st.DataObject) -> None:
    model = one_node(name, data.draw(CALLS[name]))
    checker.check_model(model, full_check=True)
    ours = model.graph.output[0].type
    inferred = inferred_output(model)
    assert not contradictions(inferred, ours)
    if name in INFERRED_WHOLE:
        assert inferred == ours


def inferred_output(model: ModelProto) -> TypeProto:
    """The output's type as onnx infers it from the inputs alone."""
    bare = ModelProto()
    bare.CopyFrom(model)
    bare.graph.output[0].ClearField("type")
    assert not bare.graph.value_info
    inferred = shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True)
    return inferred.graph.output[0].type


def contradictions(inferred: TypeProto, ours: TypeProto) -> list[str]:
    """Where the inferred type says something else; it may leave lengths open."""
    found = []
    if inferred.tensor_type.elem_type != ours.tensor_type.elem_type:
        found.append(f"{inferred} is not {ours}")
    if inferred.tensor_type.HasField("shape"):
        pairs = zip(inferred.tensor_type.shape.dim, ours.tensor_type.shape.dim, strict=True)
        found += [f"{a} is not {b}" for a, b in pairs if a.HasField("dim_value") and a.dim_value != b.dim_value]
    return found


@pytest.mark.parametrize("name", REGISTRY)
def test_bodies_use_standard_operators_only(name: str) -> None:
    function = function_of(REGISTRY[name])
    assert (function.domain, function.name) == (DOMAIN, name)
    assert {node.domain for node in all_nodes(function.node)} == {""}
    assert [(o.domain, o.version) for o in function.opset_import] == [("", OPSET)]
    assert list(function.input) == list(REGISTRY[name].inputs)
    assert set(function.attribute) == set(REGISTRY[name].attributes)
    assert function.doc_string == REGISTRY[name].text.splitlines()[0]


def all_nodes(nodes: Any) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            yield from all_nodes(attribute.g.node)


# --- Extremes: the ends of every width, shifts of 62, ties, wrap-around


def ends(dtype: str) -> Array:
    """Both ends of a dtype, what is next to them, and zero."""
    low, high = (0, 1) if dtype == "bool" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    return np.array(sorted({low, low + 1, low // 2, 0, min(high, 1), high // 2, high - 1, high}), dtype)


def signed_rows(dtype: str) -> list[Array]:
    """Rows at the ends: all of them, equal ones, alternating ones, one alone."""
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    alternating = np.array([low, high] * 3, dtype)
    return [ends(dtype), np.full(4, low, dtype), np.full(4, high, dtype), alternating, np.array([low], dtype)]


def exponentials() -> Iterator[Attributes]:
    """The units and exponents at the limits of their constraints."""
    for i0, n in ((1, 0), (1, 31), (2**15, 31), (2**28, 18), (2**28, 0), (3, 23)):
        for clamp, half, quotient, bits in ((True, "keep", "floor", 64), (False, "drop", "truncate", 32)):
            yield {"i0": i0, "n": n, "clamp": clamp, "half": half, "quotient": quotient, "exp_bits": bits}


def published(attributes: str) -> Iterator[Attributes]:
    """The attributes of every profile at a coarse, a usual and the finest scale."""
    for profile in PROFILES.values():
        for scale in (1.0, 0.0625, 2.0**-15):
            yield getattr(profile, attributes)(scale)


def shift_exp_extremes() -> Iterator[Call]:
    for attributes in (*exponentials(), *published("shift_exp")):
        for dtype in ("int8", "int16", "int32"):
            yield (ends(dtype),), dict(attributes)


def shiftmax_extremes() -> Iterator[Call]:
    division = {"numerator": 2**31, "product_bits": 64, "out_bits": 31, "dtype": "int32", "sum": "clamped"}
    limits = [{**a, **division, "sum": s} for a in exponentials() for s in ("exact", "clamped", "int32")]
    for attributes in (*limits, *published("shiftmax")):
        for dtype in ("int8", "int32"):
            yield (np.stack(signed_rows(dtype)[1:3]),), dict(attributes)
            yield (ends(dtype),), dict(attributes)
    yield from sums_beyond_doubles()


def sums_beyond_doubles() -> Iterator[Call]:
    """Exponentials that add up to an odd number above 2**53, of which only the low 32 bits are left."""
    (first, *_) = exponentials()
    widest = {**first, "i0": 2**15, "n": 31, "clamp": False, "sum": "int32", "numerator": 2**31 - 1}
    division = {"product_bits": 64, "out_bits": 31, "dtype": "int32"}
    for small in (-697444, -697441, -697439):
        yield (np.array([0] * 200 + [small], np.int32),), {**widest, **division}


def shift_gelu_extremes() -> Iterator[Call]:
    for attributes in published("shift_gelu"):
        for dtype in ("int8", "int16"):
            for row in signed_rows(dtype):
                yield (row,), dict(attributes)
    yield from widest_shift_gelus()


def widest_shift_gelus() -> Iterator[Call]:
    """A sigmoid of 31 bits: its product with x leaves int32."""
    for attributes in published("shift_gelu"):
        yield (ends("int16"),), {**attributes, "out_bits": 31}


def int_div_extremes() -> Iterator[Call]:
    x = np.array([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, -1, -(2**31)], np.int64)
    for d in (1, 2, 2**31 - 1, 2**31, 2**62, -1, -(2**31)):
        for numerator in (1, 2**31 - 1, 2**31):
            for out_bits, dtype, bits in ((2, "uint8", 64), (8, "int8", 32), (16, "uint16", 64), (31, "int32", 32)):
                attributes = {"numerator": numerator, "out_bits": out_bits, "dtype": dtype, "product_bits": bits}
                yield (x, np.array([d], np.int64)), attributes


def int_sqrt_extremes() -> Iterator[Call]:
    roots = [0, 1, 2, 3, 63, 64, 2**15, 46340, 2**16, 2**26 + 1, 2**30, 2**31 - 1]
    v = np.array(sorted({max(0, r * r + k) for r in roots for k in (-1, 0, 1)} | {2**62 - 1}), np.int64)
    for start, steps in ((0, 0), (0, 10), (2**16, 10), (1, 64), (2**31, 1), (0, 1)):
        yield (v,), {"start": start, "steps": steps}
        yield (ends("int32")[3:],), {"start": start, "steps": steps}


def i_layer_norm_extremes() -> Iterator[Call]:
    for profile in PROFILES.values():
        for dtype in ("int8", "uint8", "int16"):
            low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
            for row in ([low] * 8, [high] * 8, [low, high] * 4, [high] + [low] * 7, [0, 1] * 4, [0] * 7 + [1]):
                x = np.array(row, dtype)
                for bias in (0, -(2**31), 2**31 - 1):
                    yield (x, np.full(8, bias, np.int32)), profile.i_layer_norm()
                yield (x, np.zeros(8, np.int32)), {**profile.i_layer_norm(), "mean_rounding": "half_away"}


def lookup_extremes() -> Iterator[Call]:
    for table in ("int8", "uint8", "int16", "int32", "int64"):
        data = np.resize(ends(table), 256)
        yield (np.arange(-128, 128, dtype=np.int8), data), {"low": -128}
        yield (np.arange(256, dtype=np.uint8), data), {"low": 0}


MULTIPLIERS = (-(2**31) + 1, -(2**30), -1, 0, 1, 2**30, 2**31 - 1)


def requantize_extremes() -> Iterator[Call]:
    for rounding in ROUNDINGS:
        for shift in (0, 1, 31, 62):
            for dtype, zero_point in (("int8", 127), ("uint16", 0), ("int32", -(2**31))):
                x = np.repeat(np.concatenate([ends("int32"), np.arange(-5, 6, dtype=np.int32)])[:, None], 7, axis=1)
                numbers = {"multiplier": MULTIPLIERS, "shift": (shift,) * 7, "axis": 1}
                yield (x,), {**numbers, "rounding": rounding, "zero_point": zero_point, "dtype": dtype}


def requantize_add_extremes() -> Iterator[Call]:
    sides = np.concatenate([ends("int32"), np.arange(-5, 6, dtype=np.int32)])
    a, b = np.repeat(sides[:, None, None], 2, axis=2), sides[:, None]
    for rounding in ROUNDINGS:
        for rounds in ("each", "once"):
            for shift in (0, 1, 31, 62):
                numbers = {"a_multiplier": (1, 2**31 - 1), "a_shift": (shift,) * 2, "axis": 2}
                numbers |= {"b_multiplier": (-1, 2**31 - 1), "b_shift": (shift,) * 2}
                kind = {"rounding": rounding, "rounds": rounds, "zero_point": -1, "dtype": "int32"}
                yield (a, b), {**numbers, **kind}


def quantize_extremes() -> Iterator[Call]:
    largest = np.finfo(np.float32).max
    halves = np.arange(-301, 302, dtype=np.float32) / 2
    edge = np.array([largest, -largest, 2.0**-149, -0.0, 2.0**24, -(2.0**24), 2.0**31, 32767.5, -32768.5], np.float32)
    for division in ("reciprocal", "direct"):
        for dtype in ("int8", "uint8", "int16", "uint16"):
            for zero_point in (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)):
                target = {"zero_point": zero_point, "dtype": dtype, "division": division}
                yield (np.concatenate([halves, edge]),), {"scale": 1.0, **target}
                for scale in (float(np.float32(0.1)), 7.0, 41.0):
                    yield (halves * np.float32(scale),), {"scale": scale, **target}
        for scale in (2.0**-126, 2.0**126):
            x = np.array([scale, -scale, scale / 2, scale * 1.5, 0.0, largest], np.float32)
            yield (x,), {"scale": scale, "zero_point": 0, "dtype": "int8", "division": division}


def dequantize_extremes() -> Iterator[Call]:
    for dtype in ("int8", "uint8", "int16", "uint16", "int32"):
        for zero_point in (0, 2**16, -(2**16)):
            for scale in (1.0, -(2.0**-126), 2.0**89, float(np.float32(0.1))):
                yield (ends(dtype),), {"scale": (scale,), "axis": 0, "zero_point": zero_point}


def matmul_extremes() -> Iterator[Call]:
    for a in ("int8", "uint8", "int16", "int32"):
        for b in ("int8", "uint8", "int16"):
            for rows in (np.resize(ends(a), (3, 8)), np.full((1, 8), ends(a)[0])):
                yield (rows, np.resize(ends(b), (8, 3))), {"alpha": 1.0}
                yield (rows, np.full((8, 1), ends(b)[0])), {"alpha": 1.0}


def linear_extremes() -> Iterator[Call]:
    for dtype, weight in product(("int8", "uint8", "int16", "int32"), ("int8", "int16")):
        for bias in (-(2**31), 2**31 - 1):
            yield (np.resize(ends(dtype), (2, 8)), np.resize(ends(weight), (3, 8)), np.full(3, bias, np.int32)), {}


def conv_extremes() -> Iterator[Call]:
    for dtype, weight, bias in product(("int8", "uint8", "int16", "int32"), ("int8", "int16"), (-(2**31), 2**31 - 1, 0)):
        for group, shape in ((1, (2, 2, 2, 3)), (2, (2, 1, 2, 3))):
            geometry = {"strides": (2, 1), "pads": (1, 0, 2, 3), "dilations": (1, 2), "group": group}
            kernels = np.resize(ends(weight), shape)
            yield (np.resize(ends(dtype), (2, 2, 4, 5)), kernels, np.full(2, bias, np.int32)), geometry
    yield from digits_of_conv()


def digits_of_conv() -> Iterator[Call]:
    """Every pair of numbers at the ends of the digits that the body takes them apart into; and long sums of the lowest."""
    geometry = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "group": 1}
    edges = [n + k for n in (-(2**15), -(2**12), -256, -128, -64, 0, 64, 128, 256, 2**12, 2**15) for k in (-1, 0, 1)]
    numbers = np.array([n for n in edges if -(2**15) <= n < 2**15], np.int16)
    yield (numbers.reshape(1, 1, 1, -1), numbers.reshape(-1, 1, 1, 1), np.zeros(numbers.size, np.int32)), geometry
    for low in (-(2**15), 2**15 - 1):
        x, weight = np.full((1, 64, 3, 3), low, np.int16), np.full((1, 64, 3, 3), -(2**15), np.int16)
        yield (x, weight, np.array([7], np.int32)), geometry


def center_extremes() -> Iterator[Call]:
    for dtype in ("int8", "uint8", "int16", "uint16"):
        for zero_point in ends(dtype).tolist():
            for result in ("int16", "int32") if dtype.endswith("8") else ("int32",):
                yield (ends(dtype),), {"zero_point": zero_point, "dtype": result}
    yield (ends("uint16"),), {"zero_point": 2**15, "dtype": "int16"}
    yield (ends("int16"),), {"zero_point": 0, "dtype": "int16"}


def rescale_extremes() -> Iterator[Call]:
    for dtype in INTEGER_DTYPES:
        x = np.resize(ends(dtype), (2, 3))
        yield (x,), {"alpha": (-(2.0**-149),), "axis": 0}
        yield (x,), {"alpha": (1.0, -0.5, float(np.finfo(np.float32).max)), "axis": 1}


def mul_extremes() -> Iterator[Call]:
    dtypes = ("int8", "uint8", "int16", "int32")
    for a, b in product(dtypes, dtypes):
        yield (ends(a)[:, None], ends(b)), {}
    roots = np.array([46340, 46341, 65535, 65536, 65537, 2**15, -(2**15), -46341, -65536], np.int32)
    yield (roots[:, None], roots), {}


def clip_extremes() -> Iterator[Call]:
    for dtype in ("int8", "uint8", "int16", "uint16", "int32"):
        bounds = ends(dtype).tolist()
        for low, high in product(bounds, bounds):
            if low <= high:
                yield (ends(dtype),), {"low": low, "high": high}


def reduce_sum_extremes() -> Iterator[Call]:
    for dtype in ("int8", "uint8", "int16", "int32"):
        for row in signed_rows(dtype):
            x = np.resize(row, (2, 3, 4))
            for axes in ((0,), (2,), (0, 1), (0, 2), (0, 1, 2)):
                yield (x,), {"axes": axes}
    most = np.full((2**11, 2**11), -(2**31), np.int32)
    most[7, 7] += 1
    yield (most,), {"axes": (0, 1)}
    yield (np.where(most < 0, 2**31 - 1, most).astype(np.int32),), {"axes": (0, 1)}


def reduce_mean_extremes() -> Iterator[Call]:
    for dtype in ("int8", "uint8", "int16", "int32"):
        for row in signed_rows(dtype):
            x = np.resize(row, (2, 3, 4))
            for rounding, axes in product(("half_even", "half_away", "truncate"), ((0,), (2,), (0, 1), (0, 2), (0, 1, 2))):
                yield (x,), {"axes": axes, "rounding": rounding}
    most = np.full((2**11, 2**11), -(2**31), np.int32)
    most[7] += 2**10
    for above_half in (0, 1):
        most[8, 8] += above_half
        yield (most.copy(),), {"axes": (0, 1), "rounding": "half_even"}
    yield (np.full_like(most, 2**31 - 1),), {"axes": (0, 1), "rounding": "half_even"}


def max_pool_extremes() -> Iterator[Call]:
    """Pads as long as they may be, windows that step over the image, and images of the lowest alone."""
    for dtype in ("int8", "uint8"):
        for row in signed_rows(dtype):
            x = np.resize(row, (2, 2, 4, 5))
            for kernel, dilation in product((1, 2, 3), (1, 2, 4)):
                pad = dilation * (kernel - 1)
                size = {"kernel_shape": (kernel, 2), "dilations": (dilation, 3)}
                yield (x,), {**size, "pads": (pad, 3, pad, 1), "strides": (1, 2)}
                yield (x,), {**size, "pads": (pad, 0, pad, 0), "strides": (3, 1)}


def where_extremes() -> Iterator[Call]:
    condition = np.array([[True], [False]])
    for dtype in INTEGER_DTYPES:
        yield (condition, ends(dtype), ends(dtype)[::-1].copy()), {}
        yield (condition[:, 0], ends(dtype)[:1], np.resize(ends(dtype), (2, 2))), {}


INTEGER_DTYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64")


def movement(name: str) -> Iterator[Call]:
    """Moving a tensor of each dtype, with the ends of that dtype in it."""
    for dtype in INTEGER_DTYPES:
        x = np.resize(ends(dtype), (1, 3, 4))
        yield {
            "Reshape": ((x,), {"shape": (0, -1, 6)}),
            "Transpose": ((x,), {"perm": (2, 0, 1)}),
            "Concat": ((x, x[:, :1]), {"axis": 1}),
            "Slice": ((x,), {"axis": 2, "start": 1, "stop": 3}),
            "Take": ((x,), {"axis": 2, "indices": (3, 0, 3, 1, 1)}),
            "Roll": ((x,), {"axis": 2, "shift": 3}),
            "Expand": ((x, np.zeros((2, 3, 4), bool)), {"axes": (0,)}),
        }[name]


EXTREMES: dict[str, Callable[[], Iterator[Call]]] = {
    "MatMul": matmul_extremes,
    "Linear": linear_extremes,
    "Conv": conv_extremes,
    "Requantize": requantize_extremes,
    "RequantizeAdd": requantize_add_extremes,
    "Quantize": quantize_extremes,
    "Dequantize": dequantize_extremes,
    "ShiftExp": shift_exp_extremes,
    "IntDiv": int_div_extremes,
    "Shiftmax": shiftmax_extremes,
    "ShiftGELU": shift_gelu_extremes,
    "IntSqrt": int_sqrt_extremes,
    "ILayerNorm": i_layer_norm_extremes,
    "Lookup": lookup_extremes,
    "Center": center_extremes,
    "Rescale": rescale_extremes,
    "Mul": mul_extremes,
    "Clip": clip_extremes,
    "ReduceSum": reduce_sum_extremes,
    "ReduceMean": reduce_mean_extremes,
    "MaxPool": max_pool_extremes,
    "Where": where_extremes,
    **extremes_ibert.EXTREMES,
    **BASELINES,
    **{name: partial(movement, name) for name in ("Reshape", "Transpose", "Concat", "Slice", "Take", "Roll", "Expand")},
    **extremes_runtimes.EXTREMES,
}

STOPPING = {"Shiftmax", "ShiftGELU"}
"""Operators of which some extremes stop under either policy: a denominator that wrapped to 0, a product beyond int64."""

WRAPPING: dict[str, set[str]] = {
    "MatMul": {"accumulator"},
    "Linear": {"accumulator"},
    "Conv": {"accumulator"},
    "Mul": {"product"},
    "ReduceSum": {"sum"},
    "ShiftExp": {"y"},
    "IntDiv": {"F * x"},
    "Shiftmax": {"e", "sum of exponentials", "F * x"},
    "ShiftGELU": {"e", "e_m", "sum of exponentials", "F * x", "x * sigma"},
    "L1LayerNorm": {"o + bias"},
    "FloatLayerNorm": {"o + bias"},
    "GemmlowpRequantize": {"x * 2**left"},
    "ILayerNorm": {"sum of x", "x - mean", "sum of squares", "F * y", "o + bias"},
    **extremes_ibert.WRAPPING,
}
"""Every step at which an operator's text says "or wraps"."""


def stops(name: str, call: Call) -> bool:
    try:
        spec(name, call)
    except (ConstraintError, IntegerOverflow):
        return True
    return False


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", REGISTRY)
def test_runtimes_agree_at_the_extremes(runtime: str, name: str) -> None:
    calls = list(EXTREMES[name]())
    running = [call for call in calls if not stops(name, call)]
    assert (len(running) < len(calls)) == (name in STOPPING)
    assert 2 * len(running) > len(calls)
    for call in running:
        assert_runtime_agrees(runtime, name, call)


@pytest.mark.parametrize("name", REGISTRY)
def test_extremes_wrap_wherever_a_width_is_declared(name: str) -> None:
    events: list[Event] = []
    for call in EXTREMES[name]():
        if not stops(name, call):
            REGISTRY[name].run(*call, Context(overflow="wrap", emit=events.append))
    assert {event.step for event in events if event.kind == "wrapped"} == WRAPPING.get(name, set())
