"""Valid calls of every operator, from the families that are listed here, and what of them is answered."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping

from hypothesis import strategies as st

from ivit_ref.errors import ConstraintError, InputError, IntegerOverflow
from ivit_ref.events import OVERFLOWS, Context, Overflow
from ivit_ref.profiles import PROFILES, Profile
from ivit_ref.registry import lookup
from ivit_ref.testing import (
    calls_baselines,
    calls_ibert,
    calls_movement,
    calls_nonlinear,
    calls_products,
    calls_runtimes,
    calls_scale,
)
from ivit_ref.testing.checks import check_operator
from ivit_ref.testing.elements import Call

FAMILIES: tuple[dict[str, st.SearchStrategy[Call]], ...] = (
    calls_products.CALLS,
    calls_scale.CALLS,
    calls_movement.CALLS,
    calls_nonlinear.CALLS,
    calls_ibert.CALLS,
    calls_runtimes.CALLS,
    calls_baselines.CALLS,
)

CALLS: Mapping[str, st.SearchStrategy[Call]] = ChainMap(*FAMILIES)
"""Valid calls of each operator, with any attributes."""

PROFILED: Mapping[str, Callable[[Profile | None], st.SearchStrategy[Call]]] = ChainMap(
    calls_products.PROFILED, calls_scale.PROFILED, calls_nonlinear.PROFILED
)
"""Valid calls of each operator in which a profile has a say, with the profile's attributes."""


def calls(op: str, *, profile: str | None = None, overflow: Overflow | None = None) -> st.SearchStrategy[Call]:
    """Valid calls of an operator: the arrays in its own order, and all of its attributes.

    ``profile``: with the attributes of that published version at any scale, where it has a say; None is any attributes.
    ``overflow``: only calls that are answered under that policy; None is also what values alone stop: a width that is left, a
    denominator of 0. Shrinks to few elements, small numbers and a simple scale.
    """
    check_operator(op, profile, "calls: ")
    if overflow is not None and overflow not in OVERFLOWS:
        raise InputError(f"calls: overflow must be one of {', '.join(OVERFLOWS)}, but found {overflow!r}")
    drawn = PROFILED[op](PROFILES[profile]) if profile and op in PROFILED else CALLS[op]
    return drawn if overflow is None else drawn.filter(lambda call: is_answered(op, call, overflow))


def is_answered(op: str, call: Call, overflow: Overflow) -> bool:
    """Whether the operator answers a valid call under that policy."""
    arrays, attributes = call
    try:
        lookup(op).run(arrays, attributes, Context(overflow, op=op))
    except (ConstraintError, IntegerOverflow):
        return False
    return True
