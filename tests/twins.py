"""An operator, as a user calls it, held against its twin under both policies for values that leave their width."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ivit_ref import ops
from ivit_ref.errors import IntegerOverflow
from ivit_ref.events import Context, Event
from ivit_ref.golden.second import twin
from ivit_ref.registry import REGISTRY

Array = npt.NDArray[Any]
Call = tuple[tuple[Array, ...], dict[str, Any]]


def run(name: str, call: Call, overflow: str = "wrap") -> tuple[Array, list[Event]]:
    """What the operator makes of a call, and the events on the way."""
    arrays, attributes = call
    events: list[Event] = []
    ctx = Context(overflow=overflow, emit=events.append)  # type: ignore[arg-type]
    return getattr(ops, REGISTRY[name].kernel.__name__)(*arrays, **attributes, ctx=ctx), events


def assert_agrees(name: str, call: Call) -> None:
    """The operator gives what its twin gives; it raises where, and only where, a value would wrap; its inputs stay."""
    before = [array.copy() for array in call[0]]
    found, events = run(name, call)
    np.testing.assert_array_equal(found, twin(name, *call, str(found.dtype)), strict=True)
    if any(event.kind == "wrapped" for event in events):
        with pytest.raises(IntegerOverflow):
            run(name, call, "raise")
    else:
        np.testing.assert_array_equal(run(name, call, "raise")[0], found, strict=True)
    for array, copy in zip(call[0], before, strict=True):
        np.testing.assert_array_equal(array, copy, strict=True)
    assert all(event.op == name for event in events)
