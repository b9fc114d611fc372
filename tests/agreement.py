"""What the twins of the non-linear operators answer to a call, and whether an operator agrees.

A width under ``overflow="raise"`` and, under either policy, a denominator can stop a call. A test that cannot stand those asks
``answer`` first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

Array = npt.NDArray[Any]
Attributes = dict[str, Any]
Call = tuple[tuple[Array, ...], Attributes]

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
