"""What vectors of an operator must reach: every clamp, both ends of every range, every direction of every rounding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ivit_ref.events import Context, Event
from ivit_ref.golden.mutation import Vectors
from ivit_ref.integers import BOUNDS, Wide, widen, wrap
from ivit_ref.ir import Array
from ivit_ref.ops.i_layer_norm import NUMERATOR, deviation
from ivit_ref.ops.int_sqrt import square_root
from ivit_ref.ops.requantize import along
from ivit_ref.registry import lookup

SATURATING = ("Requantize", "RequantizeAdd", "GemmlowpRequantize", "TosaRescale", "TFLiteSoftmax", "Quantize", "Clip")
"""Operators that hold their results within a range, whose both ends are to be reached."""

DIRECTIONS = ("below a half", "a half", "above a half")

Quotients = Iterator[tuple[Wide, Wide]]


def unreached(vectors: Iterable[Vectors]) -> list[str]:
    """What the vectors of one operator and profile do not reach."""
    wanted: dict[str, bool] = {}
    for one in vectors:
        for what, reached in (*_clamps(one), *_ends(one), *_directions(one)):
            wanted[what] = wanted.get(what, False) or reached
    return [what for what, reached in wanted.items() if not reached]


def _clamps(one: Vectors) -> Iterator[tuple[str, bool]]:
    """The clamps that the attributes ask for, and whether an event tells of each."""
    events: list[Event] = []
    lookup(one.op).run(one.arrays, one.attributes, Context("wrap", op=one.op, emit=events.append))
    clamped = {event.step for event in events if event.kind == "clamped"}
    if one.attributes.get("clamp"):
        yield "the clamp at -n*i0", any(step.endswith(": p") for step in clamped)
    if one.attributes.get("sum") == "clamped":
        yield "the clamp of the sum", "sum of exponentials" in clamped
    start = one.attributes["start"] if one.op == "IntSqrt" else one.attributes.get("sqrt_start")
    if start:  # from the bit length ten steps always converge
        yield "a square root that has not converged", any(event.kind == "not_converged" for event in events)


def _ends(one: Vectors) -> Iterator[tuple[str, bool]]:
    if one.op not in SATURATING:
        return
    low, high = BOUNDS[str(one.expected.dtype)]
    if one.op == "Clip":
        low, high = int(str(one.attributes["low"])), int(str(one.attributes["high"]))
    yield "the low end of the range", bool((one.expected == low).any())
    yield "the high end of the range", bool((one.expected == high).any())


def _directions(one: Vectors) -> Iterator[tuple[str, bool]]:
    """For each quotient that is rounded: remainders below, at and above a half, of positive and negative ones."""
    for name, make in QUOTIENTS.get(one.op, {}).items():
        for numerator, denominator in make(one.arrays, dict(one.attributes)):
            twice = 2 * (numerator - numerator // denominator * denominator)
            for sign, mask in (("positive", numerator > 0), ("negative", numerator < 0)):
                for direction, hit in zip(
                    DIRECTIONS, (twice < denominator, twice == denominator, twice > denominator), strict=True
                ):
                    inexact = hit & (twice > 0) & mask
                    if direction == "a half" or (denominator > 2).any():
                        yield f"{name}: a {sign} remainder of {direction}", bool(inexact.any())


def _products(arrays: tuple[Array, ...], a: Mapping[str, Any]) -> Quotients:
    yield _scaled(arrays[0], a, "", arrays[0].ndim)


def _scaled(x: Array, a: Mapping[str, Any], prefix: str, rank: int) -> tuple[Wide, Wide]:
    multiplier, shift = (along(a[f"{prefix}{name}"], a["axis"], rank) for name in ("multiplier", "shift"))
    product: Wide = widen(x) * multiplier
    return np.broadcast_arrays(product, np.int64(1) << shift)  # type: ignore[return-value]


def _branches(arrays: tuple[Array, ...], a: Mapping[str, Any]) -> Quotients:
    rank = max(x.ndim for x in arrays)
    first, second = _scaled(arrays[0], a, "a_", rank), _scaled(arrays[1], a, "b_", rank)
    if a["rounds"] == "each":
        yield from (first, second)
    else:
        total, shared = np.broadcast_arrays(first[0] + second[0], first[1])
        yield total, shared


def _means(arrays: tuple[Array, ...], a: Mapping[str, Any]) -> Quotients:
    x = widen(arrays[0])
    s = x.sum(axis=a.get("axes", -1), keepdims=True)
    yield wrap(s, f"int{a.get('mean_bits', 64)}"), np.full_like(s, x.size // s.size)


def _halves(arrays: tuple[Array, ...], a: Mapping[str, Any]) -> Quotients:
    y = deviation(widen(arrays[0]), Context("wrap"), a["mean_rounding"], a["mean_bits"])
    v = wrap((y * y).sum(axis=-1, keepdims=True), "uint32" if a["variance_bits"] == 32 else "int64")
    k = square_root(v, Context("wrap"), "root", start=a["sqrt_start"], steps=a["sqrt_steps"])
    product = wrap(y * (NUMERATOR // np.maximum(k, 1)), f"int{a['product_bits']}")
    yield product, np.full_like(product, 2)


QUOTIENTS = {
    "Requantize": {"the scaling": _products},
    "RequantizeAdd": {"the scaling of a branch": _branches},
    "ReduceMean": {"the mean": _means},
    "ILayerNorm": {"the mean": _means, "the halving": _halves},
}
"""What is rounded by a rule, in which operator."""
