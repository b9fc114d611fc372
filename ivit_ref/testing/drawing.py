"""A graph that grows while it is drawn, and what its steps ask of a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from hypothesis import strategies as st

from ivit_ref import dyadic
from ivit_ref.build import GraphBuilder
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Array, Dim, Quant, Shape, Value

T = TypeVar("T")

LARGEST_RANK = 5

SMALLEST_UNIT = 2.0**-10
"""The smallest step that ShiftGELU and Shiftmax are given: 1/S fits the narrow sums of every profile, nearly always."""

SCALES = st.one_of(
    st.sampled_from([0.5, 0.25, 2.0**-7, dyadic.base_two_step(5), dyadic.base_two_step(0)]), st.floats(2.0**-8, 1.0, width=32)
)
"""Those that ITASoftmax needs are among them."""

BY_PROFILE = ("Shiftmax", "ShiftExp")
"""Operators whose result has a dtype or a scale that the profile chooses."""

PASSES_ON = (
    *("Reshape", "Transpose", "Slice", "Take", "Roll", "Concat", "Expand"),
    *("MatMul", "Mul", "Rescale", "ReduceSum", "ReduceMean"),
)
"""Operators whose result has the dtype or the scale of one that they read."""


class Drawing:
    """A graph as it grows.

    ``pool`` are the values that a step may read, ``profiled`` the names of those whose dtype or scale the profile chooses.
    """

    def __init__(self, draw: st.DrawFn, builder: GraphBuilder) -> None:
        self.draw, self.builder = draw, builder
        self.pool: list[Value] = []
        self.profiled: set[str] = set()

    def choose(self, options: Sequence[T]) -> T:
        """One of them; shrinks towards the first."""
        return self.draw(st.sampled_from(options))

    def scale(self) -> float:
        """What a step may be worth."""
        return self.draw(SCALES)

    def node(self, op: str, *inputs: Value, quant: Quant | None = None, **attributes: Any) -> Value:
        """Add a node."""
        name = f"{op.lower()}_{len(self.builder.nodes)}"
        value = self.builder.node(op, *inputs, name=name, quant=quant, **attributes)
        if op in BY_PROFILE or (op in PASSES_ON and any(v.name in self.profiled for v in inputs)):
            self.profiled.add(value.name)
        return value

    def constant(self, dtype: str, shape: tuple[int, ...], quant: Quant | None, largest: int = 2**31 - 1) -> Value:
        """A constant of random integers."""
        data = integers(self.draw(st.integers(0, 2**32 - 1)), dtype, shape, largest)
        return self.builder.constant(f"constant_{len(self.builder.constants)}", data, quant)


def integers(seed: int, dtype: str, shape: tuple[int, ...], largest: int = 2**31 - 1) -> Array:
    """Random integers of a dtype, at most ``largest`` in magnitude."""
    low, high = max(BOUNDS[dtype][0], -largest), min(BOUNDS[dtype][1], largest)
    return np.random.default_rng(seed).integers(low, high, shape, dtype, endpoint=True)


def meaning(d: Drawing, dtype: str) -> Quant:
    """One scale, and now and then a zero point."""
    low, high = max(BOUNDS[dtype][0], -(2**16)), min(BOUNDS[dtype][1], 2**16)
    zero_point = d.draw(st.integers(low, high)) if d.choose([False, False, False, True]) else 0
    return Quant((d.scale(),), zero_point)


def known(*dims: Dim) -> bool:
    """Whether every length is known."""
    return all(isinstance(d, int) for d in dims)


def lengths(shape: Shape) -> tuple[int, ...]:
    """A shape without names."""
    return tuple(d for d in shape if isinstance(d, int))


def is_symmetric(x: Value) -> bool:
    """Known scales and no zero point."""
    return x.quant is not None and x.quant.zero_point == 0


def is_plain(x: Value) -> bool:
    """One known scale and no zero point."""
    return is_symmetric(x) and x.quant is not None and x.quant.axis is None


def has_unit(x: Value) -> bool:
    """A scale for which every profile has an i0, and a row of known length."""
    return is_plain(x) and x.quant is not None and SMALLEST_UNIT <= x.quant.scale[0] <= 1 and known(x.type.shape[-1])


def is_image(x: Value) -> bool:
    """Bytes of four axes with a known size, whose order is that of what they mean."""
    keeps_order = x.quant is None or (x.quant.axis in (None, 0, 1) and min(x.quant.scale) > 0)
    return x.type.dtype in ("int8", "uint8") and len(x.type.shape) == 4 and known(*x.type.shape[1:]) and keeps_order


def free_axes(x: Value) -> list[int]:
    """Axes of known length along which no scales go."""
    return [i for i, n in enumerate(x.type.shape) if known(n) and (x.quant is None or x.quant.axis != i)]


Step: TypeAlias = Callable[[Drawing, Value], Value]
Applies: TypeAlias = Callable[[Drawing, Value], bool]
