"""What went wrong, told of the right node in one line."""

from __future__ import annotations

from ivit_ref.errors import GraphError, IvitError

MALFORMATIONS = (ValueError, TypeError, IndexError, KeyError, OverflowError, ZeroDivisionError, RecursionError)
"""What arithmetic on shapes and attributes raises when a stranger's node has some that no rule thought of."""


def explained(error: Exception) -> str:
    """What an error says, in a line."""
    if isinstance(error, RecursionError):
        return "it must not end a chain of a thousand operators that are not quantized, but found a longer one"
    text = " ".join(str(error).split())
    return text if isinstance(error, IvitError) else f"it must be well-formed, but {text or type(error).__name__}"


class Located(GraphError):
    """A refusal of another node than the one that is being lowered: of one that waited for it."""

    def __init__(self, node: str, type_: str, why: str) -> None:
        self.node, self.type, self.why = node, type_, why
        super().__init__(f"node {node!r} ({type_}): {why}")
