"""Valid calls of ShiftExp, IntDiv, Shiftmax, ShiftGELU, IntSqrt, ILayerNorm and Lookup.

Without a profile, half of the calls are those of one at some scale, and half choose every attribute on its own. What depends
on values alone can still stop a call: a width under ``overflow="raise"``, and under either policy a denominator inside Shiftmax
or ShiftGELU that is 0 (IntDiv C2) or so small that a product leaves int64 (IntDiv C5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ivit_ref.integers import BOUNDS, narrow, widen
from ivit_ref.ir import Array
from ivit_ref.profiles import PROFILES, Profile
from ivit_ref.testing.elements import MEAN_ROUNDINGS, Call, arrays
from ivit_ref.testing.rows import row_shapes, rows, stressed
from ivit_ref.testing.values import scales

Attributes = dict[str, Any]

# --- Attributes


@st.composite
def exponential_attributes(draw: st.DrawFn) -> Attributes:
    """Those of ShiftExp, each on its own."""
    n = draw(st.integers(0, 31))
    return {
        "i0": draw(st.one_of(st.integers(1, 300), st.integers(1, min(2**28, 2 ** (46 - n))))),
        "n": n,
        "clamp": draw(st.booleans()),
        "half": draw(st.sampled_from(["keep", "drop"])),
        "quotient": draw(st.sampled_from(["floor", "truncate"])),
        "exp_bits": draw(st.sampled_from([32, 64])),
    }


@st.composite
def division_attributes(draw: st.DrawFn) -> Attributes:
    """Those of IntDiv without its dtype, each on its own."""
    return {
        "numerator": draw(st.one_of(st.sampled_from([2**31, 2**31 - 1]), st.integers(1, 2**31))),
        "out_bits": draw(st.one_of(st.sampled_from([8, 16]), st.integers(2, 31))),
        "product_bits": draw(st.sampled_from([32, 64])),
    }


def quotient_dtypes(out_bits: int) -> st.SearchStrategy[str]:
    """The dtypes that have room for ``out_bits``."""
    return st.sampled_from([t for t in ("int8", "uint8", "int16", "uint16", "int32") if out_bits <= 8 * np.dtype(t).itemsize])


def sums() -> st.SearchStrategy[str]:
    """How exponentials are added up."""
    return st.sampled_from(["exact", "clamped", "int32"])


@st.composite
def shiftmax_attributes(draw: st.DrawFn) -> Attributes:
    """Those of Shiftmax, each on its own."""
    division = draw(division_attributes())
    dtype = draw(quotient_dtypes(division["out_bits"]))
    return {**draw(exponential_attributes()), "sum": draw(sums()), **division, "dtype": dtype}


@st.composite
def shift_gelu_attributes(draw: st.DrawFn) -> Attributes:
    """Those of ShiftGELU, each on its own."""
    sigmoid = draw(st.sampled_from(["folded", "shifts"]))
    return {**draw(exponential_attributes()), "sum": draw(sums()), **draw(division_attributes()), "sigmoid": sigmoid}


@st.composite
def iterations(draw: st.DrawFn) -> tuple[int, int]:
    """Start and steps of a square root."""
    starts = st.one_of(st.sampled_from([0, 1, 2**16, 2**31]), st.integers(0, 2**31))
    free = st.tuples(starts, st.one_of(st.integers(1, 12), st.integers(1, 64)))
    return draw(st.one_of(st.sampled_from([(2**16, 10), (0, 10), (0, 0)]), free))


@st.composite
def i_layer_norm_attributes(draw: st.DrawFn) -> Attributes:
    """Those of ILayerNorm, each on its own."""
    start, steps = draw(iterations())
    return {
        "mean_rounding": draw(st.sampled_from(MEAN_ROUNDINGS)),
        "mean_bits": draw(st.sampled_from([16, 64])),
        "variance_bits": draw(st.sampled_from([32, 64])),
        "sqrt_start": start,
        "sqrt_steps": steps,
        "product_bits": draw(st.sampled_from([32, 64])),
        "halving": draw(st.sampled_from(["floor", "truncate"])),
    }


def either(
    profile: Profile | None, attributes: Callable[[Profile, float], Attributes], others: st.SearchStrategy[Attributes]
) -> st.SearchStrategy[Attributes]:
    """What a profile writes into the node at some scale; without one, what any of them writes, or others."""
    profiles = st.sampled_from([profile] if profile else list(PROFILES.values()))
    published = st.builds(attributes, profiles, scales())
    return published if profile else st.one_of(published, others)


# --- Calls


@st.composite
def shift_exp_calls(draw: st.DrawFn, profile: Profile | None = None) -> Call:
    """ShiftExp; x is mostly, but not only, in the range that it is derived for."""
    return (draw(rows("ShiftExp")),), draw(either(profile, Profile.shift_exp, exponential_attributes()))


@st.composite
def shiftmax_calls(draw: st.DrawFn, profile: Profile | None = None) -> Call:
    """Shiftmax."""
    return (draw(rows("Shiftmax")),), draw(either(profile, Profile.shiftmax, shiftmax_attributes()))


@st.composite
def shift_gelu_calls(draw: st.DrawFn, profile: Profile | None = None) -> Call:
    """ShiftGELU."""
    return (draw(rows("ShiftGELU")),), draw(either(profile, Profile.shift_gelu, shift_gelu_attributes()))


@st.composite
def denominators(draw: st.DrawFn, shape: tuple[int, ...]) -> Array:
    """Sums of exponentials: positive, or negative where an int32 sum wrapped; of a shape that broadcasts to ``shape``."""
    around_powers = st.builds(lambda e, k: max(1, 2**e + k), st.integers(0, 61), st.integers(-1, 1))
    near_2_31 = st.integers(2**31 - 100, 2**31 + 100)
    positive = st.one_of(st.integers(1, 2**12), st.integers(1, 2**31 - 1), near_2_31, around_powers, st.integers(1, 2**62))
    usual = st.one_of(st.integers(1, 2**12), st.integers(1, 2**31 - 1))
    value = draw(st.sampled_from([usual, positive, st.integers(-(2**31), -1)]))
    kept = draw(st.tuples(*[st.sampled_from([1, dim]) for dim in shape]))
    return draw(narrowed(draw(arrays("int64", kept[draw(st.integers(0, len(kept))) :], value))))


@st.composite
def narrowed(draw: st.DrawFn, x: Array) -> Array:
    """As int32 now and then, where all of it fits."""
    low, high = BOUNDS["int32"]
    return narrow(x, "int32") if low <= x.min() and x.max() <= high and draw(st.booleans()) else x


@st.composite
def int_div_calls(draw: st.DrawFn, profile: Profile | None = None) -> Call:
    """IntDiv: an x below d, as within a row, or as large as C5 lets it be; negative where an exponential wrapped."""
    shape = draw(row_shapes())
    d = draw(denominators(shape))
    attributes = draw(division_attributes()) if profile is None else {}
    if profile or draw(st.booleans()):
        attributes = (profile or draw(st.sampled_from(list(PROFILES.values())))).int_div(draw(st.sampled_from([8, 16])))
    smallest = int(np.abs(widen(d)).min())
    largest = min(2**62, (2**63 - 1) // max(1, attributes["numerator"] // smallest))
    value = st.one_of(st.integers(0, min(smallest, largest)), st.integers(0, largest), st.integers(-min(2**31, largest), 0))
    x = draw(narrowed(draw(arrays("int64", shape, value))))
    dtype = attributes["dtype"] if profile else draw(quotient_dtypes(attributes["out_bits"]))
    return (x, d), {**attributes, "dtype": dtype}


@st.composite
def int_sqrt_calls(draw: st.DrawFn, profile: Profile | None = None) -> Call:
    """IntSqrt: squares and their neighbours, powers of two, small and any numbers."""
    dtype, largest = draw(st.sampled_from([("int32", 2**31 - 1), ("int64", 2**62 - 1)]))
    beside = st.integers(-1, 1)
    squares = st.builds(lambda m, k: m * m + k, st.one_of(st.integers(0, 2**16), st.integers(0, 2**31 - 1)), beside)
    powers = st.builds(lambda e, k: 2**e + k, st.integers(0, 62), beside)
    value = st.one_of(st.integers(0, 2**16), squares, powers, st.integers(0, largest))
    held = value.map(lambda v: min(max(v, 0), largest))
    x = draw(arrays(dtype, draw(row_shapes()), held))
    if profile:
        return (x,), profile.int_sqrt()
    start, steps = draw(iterations())
    return (x,), {"start": start, "steps": steps}


@st.composite
def i_layer_norm_calls(draw: st.DrawFn, profile: Profile | None = None) -> Call:
    """ILayerNorm, with no bias, a small one or any."""
    x = draw(rows("ILayerNorm"))
    small = arrays("int32", x.shape[-1:], st.integers(-(2**20), 2**20))
    bias = draw(st.one_of(st.just(np.zeros(x.shape[-1:], "int32")), small, stressed("int32", x.shape[-1:])))
    return (x, bias), draw(either(profile, lambda p, scale: p.i_layer_norm(), i_layer_norm_attributes()))


@st.composite
def tables(draw: st.DrawFn, dtype: str) -> Array:
    """256 integers of the dtype: any, from a seed, with both ends of the dtype at places of their own."""
    low, high = BOUNDS[dtype]
    table = np.random.default_rng(draw(st.integers(0, 2**16))).integers(low, high, 256, dtype, endpoint=True)
    table[draw(st.lists(st.integers(0, 255), min_size=2, max_size=2, unique=True))] = low, high
    return table


@st.composite
def lookup_calls(draw: st.DrawFn) -> Call:
    """Lookup, with tables of every integer dtype."""
    dtype, low = draw(st.sampled_from([("int8", -128), ("uint8", 0)]))
    table = draw(tables(draw(st.sampled_from(["int8", "uint8", "int16", "uint16", "int32", "int64"]))))
    return (draw(stressed(dtype, draw(row_shapes()))), table), {"low": low}


PROFILED: dict[str, Callable[[Profile | None], st.SearchStrategy[Call]]] = {
    "ShiftExp": shift_exp_calls,
    "IntDiv": int_div_calls,
    "IntSqrt": int_sqrt_calls,
    "Shiftmax": shiftmax_calls,
    "ShiftGELU": shift_gelu_calls,
    "ILayerNorm": i_layer_norm_calls,
}
"""The operators in which a profile has a say, with its attributes; or, for None, with any."""

CALLS: dict[str, st.SearchStrategy[Call]] = {
    **{name: strategy(None) for name, strategy in PROFILED.items()},
    "Lookup": lookup_calls(),
}
