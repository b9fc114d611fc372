"""What each flag of a vector claims, as a check on its inputs: independent of the code that chose them."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.events import Context
from ivit_ref.golden.group import Group
from ivit_ref.ir import Array
from ivit_ref.oracle.nested import at, broadcast, repeated, shape_of
from ivit_ref.registry import REGISTRY

Call = tuple[Array, ...]


def run(group: Group, call: Call, **changed: Any) -> Array:
    return REGISTRY[group.op].run(call, {**group.attributes, **changed}, Context(overflow="wrap"))


def first(call: Call) -> list[int]:
    return [int(v) for v in call[0].ravel()]


def is_half(value: Fraction) -> bool:
    return value.denominator == 2


# --- Ties


def products(x: Any, multiplier: tuple[int, ...], shift: tuple[int, ...], axis: int, shape: tuple[int, ...]) -> list[Fraction]:
    """The exact product of each element of the result's shape."""
    places = np.ndindex(*shape)
    which = [(index, index[axis] if len(multiplier) > 1 else 0) for index in places]
    return [Fraction(at(x, repeated(shape_of(x), index)) * multiplier[c], 2 ** shift[c]) for index, c in which]


def tie_requantize(group: Group, call: Call) -> bool:
    a: Any = group.attributes
    return any(map(is_half, products(call[0].tolist(), a["multiplier"], a["shift"], a["axis"], call[0].shape)))


def tie_requantize_add(group: Group, call: Call) -> bool:
    a: Any = group.attributes
    shape = broadcast(call[0].shape, call[1].shape)
    left = products(call[0].tolist(), a["a_multiplier"], a["a_shift"], a["axis"], shape)
    right = products(call[1].tolist(), a["b_multiplier"], a["b_shift"], a["axis"], shape)
    if a["rounds"] == "once":
        return any(is_half(x + y) for x, y in zip(left, right, strict=True))
    return any(map(is_half, left + right))


def tie_quantize(group: Group, call: Call) -> bool:
    scale = Fraction(float(group.attributes["scale"]))  # type: ignore[arg-type]
    return any(is_half(Fraction(float(v)) / scale) for v in call[0].ravel())


def tie_reduce_mean(group: Group, call: Call) -> bool:
    axes: Any = group.attributes["axes"]
    sums = call[0].astype(object).sum(axis=axes)
    return any(is_half(Fraction(int(s), call[0].size // sums.size)) for s in sums.ravel())


def tie_i_layer_norm(group: Group, call: Call) -> bool:
    return is_half(Fraction(sum(first(call)), len(first(call))))


TIES: dict[str, Callable[[Group, Call], bool]] = {
    "Requantize": tie_requantize,
    "GemmlowpRequantize": tie_requantize,
    "TosaRescale": tie_requantize,
    "RequantizeAdd": tie_requantize_add,
    "Quantize": tie_quantize,
    "ReduceMean": tie_reduce_mean,
    "ILayerNorm": tie_i_layer_norm,
    "IBertLayerNorm": tie_i_layer_norm,
    "L1LayerNorm": tie_i_layer_norm,
}


def two_roundings(group: Group, call: Call) -> bool:
    """A product that is no tie, but one after it has been rounded half up by 2**31."""
    a: Any = group.attributes
    exact = products(call[0].tolist(), a["multiplier"], a["shift"], a["axis"], call[0].shape)
    shifts = np.broadcast_to(a["shift"], call[0].shape).ravel().tolist()
    steps = [Fraction(2) ** (shift - 31) for shift in shifts]
    once = [Fraction(math.floor(p * step + Fraction(1, 2))) / step for p, step in zip(exact, steps, strict=True)]
    return any(is_half(o) and not is_half(p) for o, p in zip(once, exact, strict=True))


# --- Exponentials


def exponents(group: Group, call: Call) -> list[int]:
    """p, of the distances from the maximum; of x itself in ShiftExp."""
    x = first(call)
    d = x if group.op == "ShiftExp" else [v - max(x) for v in x]
    return [v + math.floor(Fraction(v, 2)) - math.floor(Fraction(v, 16)) for v in d]


def half_bit(group: Group, call: Call) -> bool:
    i0: Any = group.attributes["i0"]
    return any((-p) % i0 % 2 for p in exponents(group, call))


def multiple_of_i0(group: Group, call: Call) -> bool:
    i0: Any = group.attributes["i0"]
    p = exponents(group, call)
    return all(v % i0 == 0 for v in p) and len(set(p)) > 1


def far_tail(group: Group, call: Call) -> bool:
    a: Any = group.attributes
    if group.op == "TFLiteSoftmax":
        return min(first(call)) - max(first(call)) < a["diff_min"]
    return min(exponents(group, call)) <= -a["n"] * a["i0"]


def above_limit(group: Group, call: Call) -> bool:
    n: Any = group.attributes["n"]
    return max(first(call)) * group.quants["x"].scale[0] > n * math.log(2) / 1.702


def integer_unit(group: Group, call: Call) -> bool:
    scale, sigmoid = group.quants["x"].scale[0], group.attributes.get("sigmoid") == "folded"
    return dyadic.exp_unit(scale, "ceil", sigmoid) != dyadic.exp_unit(scale, "floor_plus_one", sigmoid)


# --- Rows and values


def beside_square(v: int) -> bool:
    return any(math.isqrt(max(v + k, 0)) ** 2 == v + k for k in (-1, 0, 1))


def boundary_square(group: Group, call: Call) -> bool:
    x = first(call)
    if group.op == "IntSqrt":
        return any(map(beside_square, x))
    mean = round(Fraction(sum(x), len(x)))
    return beside_square(sum((v - mean) ** 2 for v in x))


def one_hot(group: Group, call: Call) -> bool:
    x = first(call)
    if group.op == "IntDiv":
        return x == [int(v) for v in call[1].ravel()]
    return x.count(max(x)) == 1 and len(set(x)) == 2


def zero_variance(group: Group, call: Call) -> bool:
    return len(set(first(call))) == 1 and abs(sum(first(call))) < 2**15


def ends_in(x: Array) -> int:
    """How many ends of its dtype an array has."""
    if x.dtype.kind not in "iu":
        return 0
    return sum(bool((x == end).any()) for end in (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max))


def full_scale(group: Group, call: Call) -> bool:
    return max(map(ends_in, [*call, run(group, call)] if group.op == "Quantize" else call)) == 2


def order(group: Group, call: Call) -> bool:
    x = next(x for x in call if x.dtype != bool)
    return len(np.unique(x)) == x.size


def float32_rounding(group: Group, call: Call) -> bool:
    """A quotient is no float32, or an integer is none."""
    if group.op == "Dequantize":
        return any(int(np.float32(v)) != v for v in first(call))
    scale = Fraction(float(group.attributes["scale"]))  # type: ignore[arg-type]
    exact = [Fraction(float(v)) / scale for v in call[0].ravel()]
    return any(Fraction(dyadic.float32(float(q))) != q for q in exact)


def float64(group: Group, call: Call) -> bool:
    """A product in float64 is a tie, or whole, where the exact one is neither."""
    a: Any = group.attributes
    exact = products(call[0].tolist(), a["multiplier"], a["shift"], a["axis"], call[0].shape)
    pairs = [(v, Fraction(float(v))) for v in exact]
    return all(any(v != f and f.denominator == whole for v, f in pairs) for whole in (1, 2))


def entries(group: Group, *names: str) -> list[Any]:
    """All entries of the attributes that end so."""
    found: list[Any] = [v for k, v in group.attributes.items() if k.endswith(names)]
    return [entry for value in found for entry in (value if isinstance(value, tuple) else (value,))]


def per_axis(group: Group, call: Call) -> bool:
    tuples: Any = [v for k, v in group.attributes.items() if k.endswith(("multiplier", "scale", "alpha"))]
    return any(len(set(v)) > 1 for v in tuples)


# --- Broken properties


def broken_shiftmax(group: Group, call: Call) -> bool:
    x, y = first(call), [int(v) for v in run(group, call)]
    turned = any(a <= b and c > d for a, c in zip(x, y, strict=True) for b, d in zip(x, y, strict=True))
    return turned or min(y) < 0 or sum(y) > 2 ** (int(str(group.attributes["out_bits"])) - 1)


def broken_shift_gelu(group: Group, call: Call) -> bool:
    """Beyond x, against its sign, or not 0 where exact sums give 0."""
    y = [int(v) for v in run(group, call)]
    exact = [int(v) for v in run(group, call, sum="exact", exp_bits=64, product_bits=64)]
    return any(
        abs(b) > abs(a) * 2**7 or a * b < 0 or (c == 0 and b != 0) for a, b, c in zip(first(call), y, exact, strict=True)
    )


def broken_i_layer_norm(group: Group, call: Call) -> bool:
    """Turned, or farther from the real norm than any root within one of the right one; of a row with an exact mean."""
    x, o = first(call), [int(v) for v in run(group, call) - group.inputs["bias"]]
    y = [v - Fraction(sum(x), len(x)) for v in x]
    v = float(sum(d * d for d in y))
    turned = any(a <= b and c > d for a, c in zip(x, o, strict=True) for b, d in zip(x, o, strict=True))
    if v == 0:
        return any(o)
    bounds = [1 + abs(d) / 2 + 2**30 / math.isqrt(int(v)) for d in y]
    return turned or any(abs(c - 2**30 * float(d) / v**0.5) > b for c, d, b in zip(o, y, bounds, strict=True))


BROKEN: dict[str, Callable[[Group, Call], bool]] = {
    "Shiftmax": broken_shiftmax,
    "ShiftGELU": broken_shift_gelu,
    "ILayerNorm": broken_i_layer_norm,
    "Requantize": lambda g, c: bool((run(g, (-c[0],)) != -run(g, c)).any()),
    "IntSqrt": lambda g, c: any(k > math.isqrt(v) + 1 for k, v in zip(map(int, run(g, c)), first(c), strict=True)),
}


CLAIMS: dict[str, Callable[[Group, Call], bool]] = {
    "tie": lambda g, c: TIES[g.op](g, c),
    "two-roundings": two_roundings,
    "negative-odd": lambda g, c: bool((run(g, c, halving="floor") != run(g, c, halving="truncate")).any()),
    "property": lambda g, c: BROKEN[g.op](g, c),
    "half-bit": half_bit,
    "float32-rounding": float32_rounding,
    "float64": float64,
    "boundary-square": boundary_square,
    "multiple-of-i0": multiple_of_i0,
    "integer-unit": integer_unit,
    "power-of-two": lambda g, c: any(int(v) & (int(v) - 1) == 0 for v in c[1].ravel()),
    "far-tail": far_tail,
    "above-limit": above_limit,
    "all-equal": lambda g, c: len(set(first(c))) == 1,
    "one-hot": one_hot,
    "two-maxima": lambda g, c: first(c).count(max(first(c))) == 2,
    "all-negative": lambda g, c: max(first(c)) < 0,
    "zero-variance": zero_variance,
    "ramp": lambda g, c: len(set(np.diff(np.asarray(first(c))).tolist())) == 1,
    "vanishing": lambda g, c: not run(g, c).any(),
    "zeros": lambda g, c: any(bool((x == 0).any()) for x in c),
    "extremes": lambda g, c: max(map(ends_in, c)) >= 1,
    "full-scale": full_scale,
    "every-code": lambda g, c: len(set(first(c))) == 256,
    "negative": lambda g, c: min(int(x.min()) for x in c) < 0,
    "zero-point": lambda g, c: g.attributes["zero_point"] != 0,
    "negative-multiplier": lambda g, c: min(entries(g, "multiplier")) < 0,
    "shift-ends": lambda g, c: bool({0, 62} & set(entries(g, "shift"))),
    "per-axis": per_axis,
    "rounds-once": lambda g, c: g.attributes["rounds"] == "once",
    "broadcast": lambda g, c: len({x.shape for x in c}) > 1,
    "bias": lambda g, c: bool(g.inputs["bias"].any()),
    "scale-only": lambda g, c: entries(g, "alpha") != [1.0],
    "order": order,
    "repeat": lambda g, c: len(set(entries(g, "indices"))) < len(entries(g, "indices")),
    "padding": lambda g, c: any(entries(g, "pads")),
    "stride": lambda g, c: len(set(entries(g, "strides"))) == 2,
    "dilation": lambda g, c: max(entries(g, "dilations")) > 1,
    "grouped": lambda g, c: entries(g, "group")[0] > 1,
    "batched": lambda g, c: max(x.ndim for x in c) > 2,
    "random": lambda g, c: g.name.startswith("random_"),
}
"""What must be true of the inputs of a row with the flag. Flags that are events are held against the events."""
