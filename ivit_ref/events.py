"""What a run did that a backend engineer must know, and the policy for values that leave their width.

An operator's body takes a ``Context`` and names each step at which something may happen::

    total = ctx.fit(total, "int32", "sum of exponentials")     # raises, or wraps and says so
    y = ctx.saturate(y, "int8", "result")                      # clips to the dtype and says so

Nothing is silent: each is an ``Event`` with a count and its first index. Collecting is left to listeners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from ivit_ref.errors import InputError, IntegerOverflow
from ivit_ref.integers import BOUNDS, Ints, Mask, Wide, first_where, outside, saturate, wrap

if TYPE_CHECKING:
    from ivit_ref.ir import Node

Kind = Literal["saturated", "clamped", "wrapped", "not_converged"]
"""saturated: clipped to its result type. clamped: cut off inside an operator, as its text says. wrapped: left its declared
width and kept the low bits. not_converged: an integer square root that is off by more than one."""

Overflow = Literal["raise", "wrap"]
OVERFLOWS: tuple[Overflow, ...] = get_args(Overflow)


@dataclass(frozen=True)
class Event:
    """One kind of thing that happened at one step of one node, ``count`` times, first at ``index`` with ``value``.

    ``total`` is how many elements were looked at, in the runs in which it happened.
    """

    kind: Kind
    node: str
    op: str
    step: str
    count: int
    total: int
    index: tuple[int, ...]
    value: int

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "index": list(self.index), "text": str(self)}

    def __str__(self) -> str:
        where = f"{self.node or self.op}: {self.step}"
        return f"{where}: {self.kind} {self.count}, first at {list(self.index)}: {self.value}"


class Listener(Protocol):
    """Told about a run as it happens; see ``Interpreter``."""

    def node_started(self, node: Node) -> None: ...

    def node_finished(self, node: Node, outputs: dict[str, Ints]) -> None: ...

    def event(self, event: Event) -> None: ...


@dataclass(frozen=True)
class Context:
    """Where a body runs (``op``, ``node``), what overflow does, and who hears of events."""

    overflow: Overflow = "raise"
    op: str = ""
    node: str = ""
    emit: Callable[[Event], None] | None = None

    def __post_init__(self) -> None:
        if self.overflow not in OVERFLOWS:
            raise InputError(f"overflow: must be 'raise' or 'wrap', but found {self.overflow!r}")

    def at(self, op: str, node: str = "") -> Context:
        """The same policy, at another place."""
        return replace(self, op=op, node=node or self.node)

    def fit(self, x: Wide, dtype: str, step: str) -> Wide:
        """``x`` if it fits ``dtype``; otherwise the verdict: raise, or wrap and record."""
        mask = outside(x, dtype)
        if mask is None:
            return x
        if self.overflow == "raise":
            count, index, value = first_where(mask, x)
            raise IntegerOverflow(
                step=step, dtype=dtype, count=count, total=x.size, index=index, value=value, op=self.op, node=self.node
            )
        self.record("wrapped", mask, x, step)
        return wrap(x, dtype)

    def saturate(self, x: Wide, dtype: str, step: str) -> Wide:
        """``x`` held within the bounds of ``dtype``, recorded as saturated."""
        mask = outside(x, dtype)
        if mask is None:
            return x
        self.record("saturated", mask, x, step)
        return saturate(x, *BOUNDS[dtype])

    def at_least(self, x: Wide, low: int, step: str) -> Wide:
        """``max(x, low)``, recorded as clamped."""
        self.record("clamped", x < low, x, step)
        return saturate(x, low, BOUNDS["int64"][1])

    def at_most(self, x: Wide, high: int, step: str) -> Wide:
        """``min(x, high)``, recorded as clamped."""
        self.record("clamped", x > high, x, step)
        return saturate(x, BOUNDS["int64"][0], high)

    def record(self, kind: Kind, mask: Mask, x: Wide | npt.NDArray[np.float64], step: str) -> None:
        """Tell the listeners, if the mask holds anything; ``x`` holds integers, in the fast engine perhaps as floats."""
        if self.emit is None or not mask.any():
            return
        count, index, value = first_where(mask, x)
        self.emit(Event(kind, self.node, self.op, step, count, mask.size, index, value))


STRICT = Context()
"""Overflow raises, events go nowhere: what a plain function call gets."""


@dataclass
class EventLog:
    """A listener that keeps one merged event for each (kind, node, step), in the order of first occurrence.

    ``offset`` is added to the first index's leading axis: a run over batches reports places in the whole.
    """

    offset: int = 0
    merged: dict[tuple[str, str, str], Event] = field(default_factory=dict)

    @property
    def events(self) -> list[Event]:
        return list(self.merged.values())

    def of_kind(self, kind: Kind) -> Iterable[Event]:
        return (event for event in self.events if event.kind == kind)

    def node_started(self, node: Node) -> None:
        """Nothing to do."""

    def node_finished(self, node: Node, outputs: dict[str, Ints]) -> None:
        """Nothing to do."""

    def event(self, event: Event) -> None:
        key = (event.kind, event.node, event.step)
        before = self.merged.get(key)
        if before is None:
            index = (event.index[0] + self.offset, *event.index[1:]) if event.index else ()
            self.merged[key] = replace(event, index=index)
        else:
            self.merged[key] = replace(before, count=before.count + event.count, total=before.total + event.total)
