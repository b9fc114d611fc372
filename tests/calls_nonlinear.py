"""Valid calls of the non-linear operators, and what their twins in ``ivit_ref/oracle`` answer.

``CALLS[name]`` draws ``(arrays, attributes)`` that satisfies every constraint on types, shapes and attributes. Half of the
calls are those of a profile at some scale, half choose every attribute on its own. What depends on values alone can still
stop a call: a width under ``overflow="raise"``, and under either policy a denominator inside Shiftmax or ShiftGELU that is 0
(IntDiv C2) or so small that a product leaves int64 (IntDiv C5). A test that cannot stand those asks ``answer`` first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest

from ivit_ref import ops
from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Context, Event
from ivit_ref.oracle.i_layer_norm import i_layer_norm
from ivit_ref.oracle.int_div import int_div
from ivit_ref.oracle.int_sqrt import int_sqrt
from ivit_ref.oracle.lookup import lookup
from ivit_ref.oracle.shift_exp import shift_exp
from ivit_ref.oracle.shift_gelu import shift_gelu
from ivit_ref.oracle.shiftmax import shiftmax
from ivit_ref.oracle.widths import Overflow
from ivit_ref.profiles import PROFILES, Profile

Array = npt.NDArray[Any]
Attributes = dict[str, Any]
Call = tuple[tuple[Array, ...], Attributes]

PUBLISHED: list[Profile] = list(PROFILES.values())

# --- Values


def shapes() -> st.SearchStrategy[tuple[int, ...]]:
    """One to three axes, at most 64 elements."""
    one = st.tuples(st.integers(1, 64))
    two = st.tuples(st.integers(1, 5), st.integers(1, 12))
    return st.one_of(st.just((1,)), one, two, st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 7)))


def filled(dtype: str, shape: tuple[int, ...], elements: st.SearchStrategy[int]) -> st.SearchStrategy[Array]:
    """An array of which every element is drawn by itself."""
    return hnp.arrays(dtype, shape, elements=elements, fill=st.nothing())


@st.composite
def integer_arrays(draw: st.DrawFn, dtype: str, shape: tuple[int, ...]) -> Array:
    """Rows as they come, and the rows that operators trip over; every dtype reaches both of its ends."""
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    anywhere, ends = st.integers(low, high), st.sampled_from([low, low + 1, 0, high - 1, high])
    near_zero = st.integers(max(low, -40), 40)
    value = st.one_of(anywhere, near_zero, ends)
    kind = draw(st.sampled_from(["anywhere", "near zero", "ends", "equal rows", "one-hot rows", "ties", "negative"]))
    if kind == "equal rows":
        return np.broadcast_to(draw(filled(dtype, (*shape[:-1], 1), value)), shape).copy()
    if kind == "one-hot rows":
        x = np.full(shape, draw(value), dtype)
        x[..., draw(st.integers(0, shape[-1] - 1))] = draw(value)
        return x
    if kind == "ties":
        return draw(filled(dtype, shape, st.sampled_from(draw(st.lists(value, min_size=2, max_size=3)))))
    elements = {"anywhere": anywhere, "near zero": near_zero, "ends": ends, "negative": st.integers(low, max(low, -1))}
    return draw(filled(dtype, shape, elements[kind]))


def scales() -> st.SearchStrategy[float]:
    """What a step may be worth: usual values, powers of two, anything; always a float32 for which every profile has an i0."""
    usual = st.sampled_from([float(np.float32(s)) for s in (0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.006, 0.004, 0.001)])
    return st.one_of(usual, st.integers(-15, 0).map(lambda e: 2.0**e), st.floats(2.0**-15, 1.0, width=32))


# --- Attributes


@st.composite
def exponential_attributes(draw: st.DrawFn) -> Attributes:
    """Those of ShiftExp, each on its own."""
    n = draw(st.integers(0, 31))
    return {
        "i0": draw(st.one_of(st.integers(1, 300), st.integers(1, min(2**28, 2 ** (46 - n))))),
        "n": n,
        "clamp": draw(st.booleans()),
        "half": draw(st.sampled_from(["keep", "drop"])),
        "quotient": draw(st.sampled_from(["floor", "truncate"])),
        "exp_bits": draw(st.sampled_from([32, 64])),
    }


@st.composite
def division_attributes(draw: st.DrawFn) -> Attributes:
    """Those of IntDiv without its dtype, each on its own."""
    return {
        "numerator": draw(st.one_of(st.sampled_from([2**31, 2**31 - 1]), st.integers(1, 2**31))),
        "out_bits": draw(st.one_of(st.sampled_from([8, 16]), st.integers(2, 31))),
        "product_bits": draw(st.sampled_from([32, 64])),
    }


def quotient_dtypes(out_bits: int) -> st.SearchStrategy[str]:
    """The dtypes that have room for ``out_bits``."""
    return st.sampled_from([t for t in ("int8", "uint8", "int16", "uint16", "int32") if out_bits <= 8 * np.dtype(t).itemsize])


def sums() -> st.SearchStrategy[str]:
    """How exponentials are added up."""
    return st.sampled_from(["exact", "clamped", "int32"])


@st.composite
def shiftmax_attributes(draw: st.DrawFn) -> Attributes:
    """Those of Shiftmax, each on its own."""
    division = draw(division_attributes())
    dtype = draw(quotient_dtypes(division["out_bits"]))
    return {**draw(exponential_attributes()), "sum": draw(sums()), **division, "dtype": dtype}


@st.composite
def shift_gelu_attributes(draw: st.DrawFn) -> Attributes:
    """Those of ShiftGELU, each on its own."""
    sigmoid = draw(st.sampled_from(["folded", "shifts"]))
    return {**draw(exponential_attributes()), "sum": draw(sums()), **draw(division_attributes()), "sigmoid": sigmoid}


@st.composite
def iterations(draw: st.DrawFn) -> tuple[int, int]:
    """Start and steps of a square root."""
    starts = st.one_of(st.sampled_from([0, 1, 2**16, 2**31]), st.integers(0, 2**31))
    free = st.tuples(starts, st.one_of(st.integers(1, 12), st.integers(1, 64)))
    return draw(st.one_of(st.sampled_from([(2**16, 10), (0, 10), (0, 0)]), free))


@st.composite
def i_layer_norm_attributes(draw: st.DrawFn) -> Attributes:
    """Those of ILayerNorm, each on its own."""
    start, steps = draw(iterations())
    return {
        "mean_rounding": draw(st.sampled_from(["half_even", "half_away", "truncate"])),
        "mean_bits": draw(st.sampled_from([16, 64])),
        "variance_bits": draw(st.sampled_from([32, 64])),
        "sqrt_start": start,
        "sqrt_steps": steps,
        "product_bits": draw(st.sampled_from([32, 64])),
        "halving": draw(st.sampled_from(["floor", "truncate"])),
    }


def at_a_scale(attributes: Callable[[Profile, float], Attributes]) -> st.SearchStrategy[Attributes]:
    """What a published profile writes into the node."""
    return st.builds(attributes, st.sampled_from(PUBLISHED), scales())


# --- Calls


@st.composite
def shift_exp_calls(draw: st.DrawFn) -> Call:
    """Calls of ShiftExp; x is mostly, but not only, in the range that it is derived for."""
    x = draw(integer_arrays(draw(st.sampled_from(["int8", "int16", "int32"])), draw(shapes())))
    if draw(st.booleans()):
        x = np.where(x > 0, -x, x)
    return (x,), draw(st.one_of(at_a_scale(Profile.shift_exp), exponential_attributes()))


@st.composite
def shiftmax_calls(draw: st.DrawFn) -> Call:
    """Calls of Shiftmax."""
    x = draw(integer_arrays(draw(st.sampled_from(["int8", "int16", "int32"])), draw(shapes())))
    return (x,), draw(st.one_of(at_a_scale(Profile.shiftmax), shiftmax_attributes()))


@st.composite
def shift_gelu_calls(draw: st.DrawFn) -> Call:
    """Calls of ShiftGELU."""
    x = draw(integer_arrays(draw(st.sampled_from(["int8", "int16"])), draw(shapes())))
    return (x,), draw(st.one_of(at_a_scale(Profile.shift_gelu), shift_gelu_attributes()))


@st.composite
def denominators(draw: st.DrawFn, shape: tuple[int, ...]) -> Array:
    """Sums of exponentials: positive, or negative where an int32 sum wrapped; of a shape that broadcasts to ``shape``."""
    around_powers = st.builds(lambda e, k: max(1, 2**e + k), st.integers(0, 61), st.integers(-1, 1))
    near_2_31 = st.integers(2**31 - 100, 2**31 + 100)
    positive = st.one_of(st.integers(1, 2**12), st.integers(1, 2**31 - 1), near_2_31, around_powers, st.integers(1, 2**62))
    usual = st.one_of(st.integers(1, 2**12), st.integers(1, 2**31 - 1))
    value = draw(st.sampled_from([usual, positive, st.integers(-(2**31), -1)]))
    kept = draw(st.tuples(*[st.sampled_from([1, dim]) for dim in shape]))
    d = draw(filled("int64", kept[draw(st.integers(0, len(kept))) :], value))
    fits = d.size and d.min() >= -(2**31) and d.max() < 2**31
    return d.astype("int32") if fits and draw(st.booleans()) else d


@st.composite
def int_div_calls(draw: st.DrawFn) -> Call:
    """Calls of IntDiv: an x below d, as within a row, or as large as C5 lets it be; negative where an exponential wrapped."""
    shape = draw(shapes())
    d = draw(denominators(shape))
    attributes = draw(division_attributes())
    if draw(st.booleans()):
        attributes = draw(st.sampled_from(PUBLISHED)).int_div(draw(st.sampled_from([8, 16])))
    smallest = int(np.abs(d.astype("int64")).min())
    largest = min(2**62, (2**63 - 1) // max(1, attributes["numerator"] // smallest))
    value = st.one_of(st.integers(0, min(smallest, largest)), st.integers(0, largest), st.integers(-min(2**31, largest), 0))
    x = draw(filled("int64", shape, value))
    fits = x.min() >= -(2**31) and x.max() < 2**31
    x = x.astype("int32") if fits and draw(st.booleans()) else x
    return (x, d), {"dtype": draw(quotient_dtypes(attributes["out_bits"])), **attributes}


@st.composite
def int_sqrt_calls(draw: st.DrawFn) -> Call:
    """Calls of IntSqrt: squares and their neighbours, powers of two, small and any numbers."""
    dtype, largest = draw(st.sampled_from([("int32", 2**31 - 1), ("int64", 2**62 - 1)]))
    beside = st.integers(-1, 1)
    squares = st.builds(lambda m, k: m * m + k, st.one_of(st.integers(0, 2**16), st.integers(0, 2**31 - 1)), beside)
    powers = st.builds(lambda e, k: 2**e + k, st.integers(0, 62), beside)
    value = st.one_of(squares, powers, st.integers(0, 2**16), st.integers(0, largest))
    held = value.map(lambda v: min(max(v, 0), largest))
    start, steps = draw(iterations())
    return (draw(filled(dtype, draw(shapes()), held)),), {"start": start, "steps": steps}


@st.composite
def i_layer_norm_calls(draw: st.DrawFn) -> Call:
    """Calls of ILayerNorm."""
    x = draw(integer_arrays(draw(st.sampled_from(["int8", "uint8", "int16", "int16"])), draw(shapes())))
    small = filled("int32", x.shape[-1:], st.integers(-(2**20), 2**20))
    bias = draw(st.one_of(st.just(np.zeros(x.shape[-1:], "int32")), small, integer_arrays("int32", x.shape[-1:])))
    published = st.sampled_from(PUBLISHED).map(Profile.i_layer_norm)
    return (x, bias), draw(st.one_of(published, i_layer_norm_attributes()))


@st.composite
def tables(draw: st.DrawFn, dtype: str) -> Array:
    """256 integers of the dtype: any, from a seed, with both ends of the dtype at places of their own."""
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    table = np.random.default_rng(draw(st.integers(0, 2**16))).integers(low, high, 256, dtype, endpoint=True)
    table[draw(st.lists(st.integers(0, 255), min_size=2, max_size=2, unique=True))] = low, high
    return table


@st.composite
def lookup_calls(draw: st.DrawFn) -> Call:
    """Calls of Lookup, with tables of every integer dtype."""
    dtype, low = draw(st.sampled_from([("int8", -128), ("uint8", 0)]))
    table = draw(tables(draw(st.sampled_from(["int8", "uint8", "int16", "uint16", "int32", "int64"]))))
    return (draw(integer_arrays(dtype, draw(shapes()))), table), {"low": low}


CALLS: dict[str, st.SearchStrategy[Call]] = {
    "ShiftExp": shift_exp_calls(),
    "IntDiv": int_div_calls(),
    "IntSqrt": int_sqrt_calls(),
    "Shiftmax": shiftmax_calls(),
    "ShiftGELU": shift_gelu_calls(),
    "ILayerNorm": i_layer_norm_calls(),
    "Lookup": lookup_calls(),
}

# --- Twins

TWINS: dict[str, Callable[..., list[int]]] = {
    "ShiftExp": shift_exp,
    "IntDiv": int_div,
    "IntSqrt": int_sqrt,
    "Shiftmax": shiftmax,
    "ShiftGELU": shift_gelu,
    "ILayerNorm": i_layer_norm,
    "Lookup": lookup,
}
WITHOUT_WIDTHS = ("IntSqrt", "Lookup")
OTHER_DTYPES = {"ShiftExp": "int64", "IntSqrt": "int64", "ShiftGELU": "int32", "ILayerNorm": "int32"}

OPERATORS: dict[str, Callable[..., Array]] = {
    "ShiftExp": ops.shift_exp,
    "IntDiv": ops.int_div,
    "IntSqrt": ops.int_sqrt,
    "Shiftmax": ops.shiftmax,
    "ShiftGELU": ops.shift_gelu,
    "ILayerNorm": ops.i_layer_norm,
    "Lookup": ops.lookup,
}

Stops = set[type[Exception]]
"""What the rows of a call raise, if they do."""

REFUSALS: dict[type[Exception], tuple[type[Exception], str]] = {
    Overflow: (IntegerOverflow, r"\w+: "),
    ZeroDivisionError: (ConstraintError, r"IntDiv \(C2\): "),
    OverflowError: (IntegerOverflow, r"IntDiv \(C5\): "),
}
"""What an operator raises where its twin raises that, and how the message begins."""


def answer(name: str, call: Call, overflow: str) -> Array | Stops:
    """The array that the twin makes, row by row; or what its rows raise, where one does."""
    arrays, attributes = call
    policy = {} if name in WITHOUT_WIDTHS else {"overflow": overflow}
    answers = [_answer_row(TWINS[name], row, {**attributes, **policy}) for row in _rows(name, arrays)]
    stops = {row for row in answers if not isinstance(row, list)}
    if stops:
        return stops
    dtype = attributes.get("dtype") or OTHER_DTYPES.get(name) or arrays[1].dtype
    return np.array(answers, dtype).reshape(arrays[0].shape)


def _answer_row(twin: Callable[..., list[int]], row: list[list[int]], keywords: Attributes) -> list[int] | type[Exception]:
    try:
        return twin(*row, **keywords)
    except (Overflow, ZeroDivisionError, OverflowError) as stop:
        return type(stop)


def _rows(name: str, arrays: tuple[Array, ...]) -> list[list[list[int]]]:
    """The arguments of the twin, once for each row of the first array."""
    length = arrays[0].shape[-1]
    x = arrays[0].reshape(-1, length).tolist()
    if name == "IntDiv":
        d = np.broadcast_to(arrays[1], arrays[0].shape).reshape(-1, length).tolist()
        return [list(pair) for pair in zip(x, d, strict=True)]
    return [[row, *(array.tolist() for array in arrays[1:])] for row in x]


def run(name: str, call: Call, overflow: str = "wrap") -> tuple[Array, list[Event]]:
    """What the operator makes of a call, and the events on the way."""
    arrays, attributes = call
    events: list[Event] = []
    ctx = Context(overflow=overflow, emit=events.append)  # type: ignore[arg-type]
    return OPERATORS[name](*arrays, **attributes, ctx=ctx), events


def assert_agrees(name: str, call: Call, overflow: str) -> None:
    """The operator and its twin make the same array, or stop for the same reason; and no value wraps in silence."""
    expected = answer(name, call, overflow)
    if isinstance(expected, set):
        _assert_stops(name, call, overflow, expected)
        return
    before = [array.copy() for array in call[0]]
    result, events = run(name, call, overflow)
    np.testing.assert_array_equal(result, expected, strict=True)
    for array, copy in zip(call[0], before, strict=True):
        np.testing.assert_array_equal(array, copy, strict=True)
    strict_answer = expected if overflow == "raise" else answer(name, call, "raise")
    leaves_a_width = isinstance(strict_answer, set) and Overflow in strict_answer
    assert any(event.kind == "wrapped" for event in events) == leaves_a_width
    assert all(event.op == name for event in events)


def _assert_stops(name: str, call: Call, overflow: str, stops: Stops) -> None:
    """An operator looks for one reason in all elements, then for the next; its twin has one element after the other.

    So of a call with both reasons the operator may name either: what wraps in one element hides a zero in the next.
    """
    behind = answer(name, call, "wrap") if overflow == "raise" else set(REFUSALS) - {Overflow}
    reasons = [REFUSALS[stop] for stop in (stops | behind if isinstance(behind, set) else stops)]
    begins = "|".join(beginning for _, beginning in reasons)
    with pytest.raises(tuple(refusal for refusal, _ in reasons), match=f"^({begins})"):
        run(name, call, overflow)
