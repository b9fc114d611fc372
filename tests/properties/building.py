"""What the tests of properties share: profiles, rows and scales to hold them against, and runs that tell what happened."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest

from ivit_ref import dyadic
from ivit_ref.events import Context, Event
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY

Array = npt.NDArray[Any]
Attributes = dict[str, Any]

every_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)

SCALES = tuple(dyadic.float32(s) for s in (0.25, 0.1, 0.05, 0.02, 0.01, 0.006, 0.001))
"""What a step may be worth, from coarse to so fine that sums leave 31 bits."""


def run(op: str, *inputs: Array, **attributes: Any) -> tuple[Array, set[str]]:
    """The result, and the kinds of events on the way, where values may wrap."""
    events: list[Event] = []
    result = REGISTRY[op].run(inputs, attributes, Context(overflow="wrap", emit=events.append))
    return result, {event.kind for event in events}


def result(op: str, *inputs: Array, **attributes: Any) -> Array:
    """The result as int64, where values may wrap."""
    return REGISTRY[op].run(inputs, attributes, Context(overflow="wrap")).astype("int64")


def undisturbed(op: str, *inputs: Array, **attributes: Any) -> bool:
    """Whether nothing wraps or saturates on the way, and no sum is clamped."""
    events: list[Event] = []
    REGISTRY[op].run(inputs, attributes, Context(overflow="wrap", emit=events.append))
    return not any(event.kind in ("wrapped", "saturated") or event.step == "sum of exponentials" for event in events)


def row(*values: int, dtype: str = "int8") -> Array:
    return np.array(values, dtype)


def int8_pairs() -> Array:
    """All rows of two int8 numbers."""
    codes = np.arange(-128, 128)
    return np.stack(np.meshgrid(codes, codes), axis=-1).reshape(-1, 2).astype("int8")


def ends(dtype: str) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def scales() -> st.SearchStrategy[float]:
    return st.one_of(st.sampled_from(SCALES), st.floats(2.0**-15, 1.0, width=32))


@st.composite
def rows(draw: st.DrawFn, dtypes: tuple[str, ...] = ("int8", "int16"), longest: int = 40, spare: int = 0) -> Array:
    """A row of numbers: anywhere, near 0 or at the ends; each at least ``spare`` within its dtype."""
    dtype = draw(st.sampled_from(dtypes))
    low, high = ends(dtype)[0] + spare, ends(dtype)[1] - spare
    near, edges = st.integers(max(low, -40), min(high, 40)), st.sampled_from([low, low + 1, high - 1, high])
    elements = draw(st.sampled_from([st.integers(low, high), near, st.one_of(near, edges)]))
    return draw(hnp.arrays(dtype, st.integers(1, longest), elements=elements, fill=st.nothing()))


def exponentials(x: Array, a: Attributes) -> Array:
    """ShiftExp of x with the attributes that it has within another operator."""
    names = ("i0", "n", "clamp", "half", "quotient", "exp_bits")
    return result("ShiftExp", x.astype("int32"), **{name: a[name] for name in names})


def base_two(x: Array) -> Array:
    """p of ShiftExp, from its text."""
    wide = x.astype("int64")
    return wide + wide // 2 - wide // 16
