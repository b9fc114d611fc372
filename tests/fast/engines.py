"""Runs an operator's own body and its faster equal, and compares all that a caller can observe of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ivit_ref.errors import IvitError
from ivit_ref.events import OVERFLOWS, Context, Event, Overflow
from ivit_ref.fast import KERNELS, Kernel
from ivit_ref.ir import TensorType
from ivit_ref.registry import REGISTRY

Array = npt.NDArray[Any]


@dataclass
class Outcome:
    """An array or an error, and the events before it, in their order."""

    array: Array | None
    error: tuple[type[IvitError], str, dict[str, Any]] | None
    events: list[Event]


def outcome(
    kernel: Kernel, name: str, arrays: Sequence[Array], attributes: Mapping[str, Any], overflow: Overflow, listens: bool = True
) -> Outcome:
    events: list[Event] = []
    ctx = Context(overflow=overflow, op=name, node="the node", emit=events.append if listens else None)
    try:
        return Outcome(kernel(arrays, attributes, ctx), None, events)
    except IvitError as error:
        return Outcome(None, (type(error), str(error), vars(error)), events)


def assert_engines_agree(name: str, arrays: Sequence[Array], attributes: Mapping[str, Any]) -> None:
    """Under each policy, listened to or not: the same array, error and events, and operands that nobody writes to."""
    REGISTRY[name].result_type([TensorType(str(a.dtype), a.shape) for a in arrays], attributes)
    locked = [a.view() for a in arrays]
    for array in locked:
        array.flags.writeable = False
    for overflow in OVERFLOWS:
        expected = outcome(REGISTRY[name].run, name, locked, attributes, overflow)
        _assert_same(outcome(KERNELS[name], name, locked, attributes, overflow), expected)
        silent = outcome(KERNELS[name], name, locked, attributes, overflow, listens=False)
        _assert_same(silent, replace(expected, events=[]))


def _assert_same(found: Outcome, expected: Outcome) -> None:
    assert found.error == expected.error
    assert found.events == expected.events
    assert (found.array is None) == (expected.array is None)
    if found.array is not None and expected.array is not None:
        assert isinstance(found.array, np.ndarray)  # of no axes, NumPy gives numbers
        np.testing.assert_array_equal(found.array, expected.array, strict=True)


@contextmanager
def spec_calls(name: str, x: Array) -> Iterator[list[str]]:
    """The calls of the operator's own body on the array ``x`` itself; not those that make a table."""
    definition, calls = REGISTRY[name], list[str]()

    def kernel(*arrays: Array, **keywords: Any) -> Array:
        if arrays[0] is x:
            calls.append(name)
        return definition.kernel(*arrays, **keywords)

    REGISTRY[name] = replace(definition, kernel=kernel)
    try:
        yield calls
    finally:
        REGISTRY[name] = definition


def runs_spec(name: str, arrays: Sequence[Array], attributes: Mapping[str, Any]) -> bool:
    """Whether the faster equal leaves these operands to the operator's own body."""
    with spec_calls(name, arrays[0]) as calls:
        outcome(KERNELS[name], name, arrays, attributes, "wrap")
    return bool(calls)
