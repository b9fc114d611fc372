"""The exception family: every class says who can mend what.

A message is one line: who (which rule): what must hold, but what was found; where. The offending value comes last.
"""

from __future__ import annotations


class IvitError(Exception):
    """Whatever this project refuses; the base class of the family."""


class ConstraintError(IvitError, ValueError):
    """An operator was given types, shapes, values or attributes outside its numbered constraints."""


class IntegerOverflow(IvitError, ArithmeticError):
    """A value left its declared width and the overflow policy is ``"raise"``.

    Attributes hold the facts of the message: ``step`` (what was being computed), ``dtype`` (the declared width), ``count``
    and ``total`` (how many elements left it), ``index`` and ``value`` (the first one), ``op`` and ``node`` (where).
    """

    def __init__(
        self,
        *,
        step: str,
        dtype: str,
        count: int,
        total: int,
        index: tuple[int, ...],
        value: int,
        op: str = "",
        node: str = "",
    ) -> None:
        self.step, self.dtype, self.count, self.total = step, dtype, count, total
        self.index, self.value, self.op, self.node = index, value, op, node
        where = f"node {node!r} ({op}): " if node else f"{op}: " if op else ""
        super().__init__(f"{where}{step}: {count} of {total} elements do not fit {dtype}; first at {list(index)}: {value}")

    def located(self, op: str, node: str, first: int = 0) -> IntegerOverflow:
        """The same error, at a node, for a batch that begins at ``first`` of the whole."""
        facts = {k: getattr(self, k) for k in ("step", "dtype", "count", "total", "value")}
        index = (self.index[0] + first, *self.index[1:]) if self.index else ()
        return IntegerOverflow(**facts, index=index, op=op, node=node)


class ScaleError(IvitError, ValueError):
    """A real scale that has no dyadic number: zero, NaN, infinite or out of range."""


class GraphError(IvitError, ValueError):
    """A graph breaks a rule of the verifier, or was asked for something that it does not have."""


class InputError(IvitError, ValueError):
    """The arrays given to a run are not what the graph's inputs declare."""


class FileError(IvitError, ValueError):
    """A file is missing, damaged, or not what it was given as."""


class CheckpointError(IvitError, ValueError):
    """A state dict lacks a key, or one of its values cannot be deployed."""


class MissingExtra(IvitError, ImportError):
    """An optional package is needed; the message says what to install."""
