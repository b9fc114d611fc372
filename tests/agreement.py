"""Whether an operator, as a user calls it, agrees with its twin under both policies for values that leave their width.

A width under ``overflow="raise"`` and, under either policy, a constraint on values can stop a call. A test that cannot stand
those asks ``answer`` first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from ivit_ref import ops
from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.events import Context, Event
from ivit_ref.golden.second import arguments, twin_of
from ivit_ref.ir import TensorType
from ivit_ref.oracle.widths import Overflow
from ivit_ref.registry import REGISTRY

Array = npt.NDArray[Any]
Attributes = dict[str, Any]
Call = tuple[tuple[Array, ...], Attributes]
Policy = Literal["raise", "wrap"]

Stops = set[type[Exception]]
"""What the rows of a call raise, if they do."""

REFUSALS: dict[type[Exception], tuple[type[Exception], str]] = {
    Overflow: (IntegerOverflow, r"\w+: "),
    ZeroDivisionError: (ConstraintError, r"IntDiv \(C2\): "),
    OverflowError: (IntegerOverflow, r"IntDiv \(C5\): "),
}
"""What an operator raises where its twin raises that, and how the message begins."""


def run(name: str, call: Call, overflow: Policy = "wrap") -> tuple[Array, list[Event]]:
    """What the operator makes of a call, and the events on the way."""
    arrays, attributes = call
    events: list[Event] = []
    ctx = Context(overflow=overflow, emit=events.append)
    return getattr(ops, REGISTRY[name].kernel.__name__)(*arrays, **attributes, ctx=ctx), events


def answer(name: str, call: Call, overflow: Policy) -> Array | Stops:
    """The array that the twin makes, row by row; or what its rows raise, where one does."""
    arrays, attributes = call
    function, wraps = twin_of(name)
    keywords = {**attributes, "overflow": overflow} if wraps else attributes
    answers = [_answered(function, each, keywords) for each in arguments(name, arrays)]
    stops = {found for found in answers if isinstance(found, type)}
    type_ = REGISTRY[name].result_type([TensorType(str(a.dtype), a.shape) for a in arrays], attributes)
    return stops or np.array(answers, type_.dtype).reshape([int(length) for length in type_.shape])


def _answered(function: Callable[..., Any], each: list[Any], keywords: Attributes) -> Any:
    """What a twin makes of its arguments, or the type of what it raises."""
    try:
        return function(*each, **keywords)
    except tuple(REFUSALS) as stop:
        return type(stop)


def assert_agrees(name: str, call: Call) -> None:
    """The operator and its twin make the same array, or stop for the same reason; no value wraps in silence; inputs stay."""
    wrapped = answer(name, call, "wrap")
    strict = answer(name, call, "raise") if twin_of(name)[1] else wrapped
    if isinstance(strict, set):
        _assert_stops(name, call, "raise", strict | (wrapped if isinstance(wrapped, set) else set()))
    if isinstance(wrapped, set):
        _assert_stops(name, call, "wrap", set(REFUSALS) - {Overflow})
        return
    before = [array.copy() for array in call[0]]
    result, events = run(name, call)
    np.testing.assert_array_equal(result, wrapped, strict=True)
    for array, copy in zip(call[0], before, strict=True):
        np.testing.assert_array_equal(array, copy, strict=True)
    assert any(event.kind == "wrapped" for event in events) == isinstance(strict, set)
    assert all(event.op == name for event in events)
    if not isinstance(strict, set):
        np.testing.assert_array_equal(run(name, call, "raise")[0], strict, strict=True)


def _assert_stops(name: str, call: Call, overflow: Policy, stops: Stops) -> None:
    """An operator looks for one reason in all elements, then for the next; its twin has one element after the other.

    So of a call with both reasons the operator may name either: what wraps in one element hides a zero in the next.
    """
    reasons = [REFUSALS[stop] for stop in stops]
    begins = "|".join(beginning for _, beginning in reasons)
    with pytest.raises(tuple(refusal for refusal, _ in reasons), match=f"^({begins})"):
        run(name, call, overflow)
