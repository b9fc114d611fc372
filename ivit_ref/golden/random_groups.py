"""Random vectors from a seed, the same for ever: remainders of a raw bit stream, which NumPy promises to keep.

Distributions of NumPy may change from one version to the next, so none is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from zlib import crc32

import numpy as np

from ivit_ref import dyadic
from ivit_ref.golden.directed import profiled
from ivit_ref.golden.directed.ibert import at_scale
from ivit_ref.golden.directed.making import ends, named, observed, step
from ivit_ref.golden.directed.scale import roundings
from ivit_ref.golden.group import Group, Row
from ivit_ref.integers import Rounding
from ivit_ref.ir import Array, Attribute, Quant
from ivit_ref.profiles import Profile, profile_named
from ivit_ref.registry import REGISTRY

Attributes = Mapping[str, Attribute]
Kind = Literal["mixed", "below", "quiet", "reaching", "magnitude", "divisor", "real", "flag", "code"]
"""What an input holds: integers of any kind; of these none above 0; small ones, or any, in rows that begin with none below 0;
integers from 0, or from 1, of any bit length; reals; bools; codes of 4 bits, and the one for 0."""

LENGTH = 12


@dataclass(frozen=True)
class Input:
    """One input of a variant: its dtype, its shape (of a row, where it is stacked), and what it holds."""

    dtype: str
    shape: tuple[int, ...] = (LENGTH,)
    kind: Kind = "mixed"
    shared: bool = False


@dataclass(frozen=True)
class Variant:
    """A group before its inputs are drawn: they come in the operator's order."""

    name: str
    attributes: Attributes
    inputs: tuple[Input, ...]
    scale: float | None = None


class Stream:
    """Integers out of the raw numbers of a PCG64, in order."""

    def __init__(self, op: str, profile: str, seed: int) -> None:
        """The stream of an operator in a profile."""
        self._raw = np.random.PCG64([seed, crc32(f"{op} {profile}".encode())])

    def integers(self, low: int, high: int, *shape: int) -> Array:
        """Integers from ``low`` to ``high``, both included."""
        raw = self._raw.random_raw(int(np.prod(shape)))
        remainders = np.asarray(raw % np.uint64(high - low + 1), np.int64)
        return (remainders + low).reshape(shape)

    def draw(self, x: Input, rows: int) -> Array:
        """One input, of so many rows where it is stacked."""
        length = x.shape[-1]
        lines = int(np.prod(x.shape[:-1], dtype=int)) * (1 if x.shared else rows)
        shape = x.shape if x.shared else (rows, *x.shape)
        return np.asarray(self._values(x, lines, length), x.dtype).reshape(shape)

    def _values(self, x: Input, rows: int, length: int) -> Array:
        if x.kind == "flag":
            return self.integers(0, 1, rows, length)
        if x.kind == "code":
            return self.integers(0, 16, rows, length)
        if x.kind == "real":
            whole = self.integers(-(2**13), 2**13, rows, length)
            return np.asarray(np.asarray(whole, np.float32) / np.float32(64))
        if x.kind in ("magnitude", "divisor"):
            bits = 62 if x.dtype == "int64" and x.kind == "magnitude" else 31
            drawn = self.integers(0, 2**bits - 1, rows, length) >> self.integers(0, bits - 1, rows, length)
            return np.asarray(np.maximum(drawn, int(x.kind == "divisor")))
        low, high = (-(2**9), 2**9 - 1) if x.kind == "quiet" else ends(x.dtype)
        values = self.mixed(low, high, rows, length)
        if x.kind in ("quiet", "reaching"):
            values[:, 0] = np.maximum(values[:, 0], ~values[:, 0])
        return np.minimum(values, ~values) if x.kind == "below" else values

    def mixed(self, low: int, high: int, rows: int, length: int) -> Array:
        """Rows in turn of numbers from anywhere, from near 0, from the ends, and of two values."""
        anywhere = self.integers(low, high, rows, length)
        near = self.integers(max(low, -40), min(high, 40), rows, length)
        quarter = self.integers(0, 3, rows, length)
        last = np.where(quarter < 2, low + quarter, high - 3 + quarter)
        two = np.where(quarter % 2 == 0, anywhere[:, :1], anywhere[:, -1:])
        kind = np.arange(rows)[:, None] % 4
        return np.where(kind == 0, anywhere, np.where(kind == 1, near, np.where(kind == 2, last, two)))


def random_groups(op: str, profile: str, seed: int, count: int) -> Iterator[Group]:
    """Random vectors of an operator in a profile, about ``count`` rows in all; each is the same for ever.

    Operators whose calls do not stack have a fixed number of vectors. Those in which profiles have a say have none without one.
    """
    name = profile if profiled(op) else ""
    stream = Stream(op, name, seed)
    variants = _variants(op, name, stream)
    for k, variant in enumerate(variants):
        rows = count // len(variants) + (k < count % len(variants))
        if rows:
            yield _group(op, name, variant, rows, stream)


def _group(op: str, profile: str, variant: Variant, rows: int, stream: Stream) -> Group:
    names = REGISTRY[op].inputs
    inputs = {n: stream.draw(x, rows) for n, x in zip(names, variant.inputs, strict=True)}
    stacked = tuple(n for n, x in zip(names, variant.inputs, strict=True) if not x.shared)
    quants = {} if variant.scale is None else {names[0]: Quant((variant.scale,))}
    comments = tuple(Row(f"random row {i}", ("random",)) for i in range(rows if stacked else 1))
    name = f"random_{variant.name}"
    return observed(Group(name, "drawn from a seed", op, profile, inputs, variant.attributes, comments, stacked, quants))


def _variants(op: str, profile: str, stream: Stream) -> list[Variant]:
    if not profiled(op):
        return _PLAIN[op]
    if op in ("Requantize", "RequantizeAdd"):
        return [v for rounding, prefix in roundings(profile) for v in _scaled(op, prefix, rounding, stream)]
    return _PROFILED[op](profile_named(profile)) if profile else []


# --- Operators in which profiles have a say


def _at(scale: float, dtype: str, attributes: Attributes, kind: Kind = "mixed") -> Variant:
    return Variant(f"{named(scale)}_{dtype}", attributes, (Input(dtype, kind=kind),), scale)


SCALES = ((step(0.05), "int8"), (0.25, "int8"), (step(0.01), "int16"), (step(0.002), "int32"))


def _shift_exp(p: Profile) -> list[Variant]:
    return [_at(s, dtype, p.shift_exp(s), "below") for s, dtype in SCALES]


def _shiftmax(p: Profile) -> list[Variant]:
    return [_at(s, dtype, p.shiftmax(s)) for s, dtype in SCALES]


def _shift_gelu(p: Profile) -> list[Variant]:
    """Where no sum becomes 0, which is refused: no exponential is so far down, and none is so large that it wraps."""
    fine = _at(step(0.005), "int16", p.shift_gelu(step(0.005)), "quiet")
    return [*(_at(step(s), "int8", p.shift_gelu(step(s)), "reaching") for s in (0.03, 0.01)), fine]


def _int_div(p: Profile) -> list[Variant]:
    wide = (Input("int64", kind="divisor"), Input("int64", kind="divisor"))
    narrow = (Input("int32", kind="magnitude"), Input("int32", (1,), "divisor"))
    return [Variant("int16_of_int64", p.int_div(16), wide), Variant("int8_of_int32", p.int_div(8), narrow)]


def _int_sqrt(p: Profile) -> list[Variant]:
    return [Variant(dtype, p.int_sqrt(), (Input(dtype, kind="magnitude"),)) for dtype in ("int64", "int32")]


def _i_layer_norm(p: Profile) -> list[Variant]:
    bias = Input("int32", (LENGTH,), "magnitude", shared=True)
    return [Variant(dtype, p.i_layer_norm(), (Input(dtype), bias)) for dtype in ("int8", "uint8", "int16")]


def _reduce_mean(p: Profile) -> list[Variant]:
    pairs = Variant("pairs_int8", {"axes": (1,), "rounding": p.mean_rounding}, (Input("int8", (32, 2), shared=True),))
    image = (Input("int32", (8, 3, 2, 5), shared=True),)
    return [pairs, Variant("image_int32", {"axes": (1, 2), "rounding": p.mean_rounding}, image)]


_PROFILED = {
    "ShiftExp": _shift_exp,
    "Shiftmax": _shiftmax,
    "ShiftGELU": _shift_gelu,
    "IntDiv": _int_div,
    "IntSqrt": _int_sqrt,
    "ILayerNorm": _i_layer_norm,
    "ReduceMean": _reduce_mean,
}


def _scaled(op: str, prefix: str, rounding: Rounding, stream: Stream) -> Iterator[Variant]:
    """Multipliers of 31 bits, drawn first; and 1/4, so that there are ties."""
    first, second = (int(m) for m in stream.integers(2**30, 2**31 - 1, 2))
    result: dict[str, Any] = {"rounding": rounding, "axis": 0, "zero_point": 0}
    if op == "RequantizeAdd":
        result |= {"a_multiplier": (first,), "b_multiplier": (-second,), "b_shift": (33,)}
        each = {**result, "a_shift": (31,), "rounds": "each", "dtype": "int16"}
        yield Variant(f"{prefix}each_int16", each, (Input("int16"), Input("int16")))
        once = {**result, "a_shift": (33,), "rounds": "once", "dtype": "int8"}
        yield Variant(f"{prefix}once_int8", once, (Input("int8"), Input("int8", (1,))))
        return
    for source, dtype, multiplier, shift, zero_point in (
        ("int8", "int8", 2**30, 32, 0),
        ("int32", "int8", first, 54, 0),
        ("int32", "uint16", -second, 46, 2**15),
    ):
        numbers: dict[str, Any] = {"multiplier": (multiplier,), "shift": (shift,), "zero_point": zero_point, "dtype": dtype}
        yield Variant(f"{prefix}{source}_{dtype}", {**result, **numbers}, (Input(source),))


# --- Operators that mean the same in every profile

_ROW, _WIDE, _IMAGE = Input("int8"), Input("int32"), Input("int8", (2, 2, 6, 6), shared=True)
_BOX = Input("int8", (2, 3, 4), shared=True)
_WINDOW: dict[str, Attribute] = {"strides": (1, 2), "pads": (1, 0, 1, 1), "dilations": (2, 1)}
_WEIGHT, _BIAS = Input("int8", (4, LENGTH), shared=True), Input("int32", (4,), "magnitude", shared=True)
_BIASES = Input("int32", (LENGTH,), "magnitude", shared=True)
_PUBLISHED: dict[str, Attribute] = {"n": 30, "out_bits": 8, "dtype": "uint8"}
_L1 = dict(zip(("multiplier", "shift"), dyadic.l1_constant(LENGTH), strict=True))
_IMAGE8: dict[str, Attribute] = {"scale": step(0.1), "zero_point": -3, "dtype": "int8", "division": "reciprocal"}

_FINE: dict[str, Attribute] = {"multiplier": (1431655765,), "shift": (46,), "axis": 0, "zero_point": 32768, "dtype": "uint16"}
_EXPONENT: dict[str, Attribute] = {"multiplier": 1717986944, "left_shift": 22, "diff_min": -496}

_PLAIN: Mapping[str, list[Variant]] = {
    "MatMul": [
        Variant("int8", {"alpha": 0.125}, (Input("int8", (3, LENGTH)), Input("int8", (LENGTH, 4)))),
        Variant("int32", {"alpha": 1.0}, (Input("int32", (3, LENGTH)), Input("int16", (LENGTH, 2), shared=True))),
    ],
    "Linear": [Variant("int8", {}, (_ROW, _WEIGHT, _BIAS)), Variant("int32", {}, (_WIDE, _WEIGHT, _BIAS))],
    "Conv": [
        Variant("int8", {**_WINDOW, "group": 1}, (_IMAGE, Input("int8", (4, 2, 3, 2), shared=True), _BIAS)),
        Variant("grouped_int8", {**_WINDOW, "group": 2}, (_IMAGE, Input("int16", (4, 1, 2, 3), shared=True), _BIAS)),
    ],
    "Mul": [Variant("int32", {}, (_WIDE, _WIDE)), Variant("int8", {}, (_ROW, Input("int16", (1,))))],
    "ReduceSum": [Variant("int32", {"axes": (1,)}, (Input("int32", (16, 3), shared=True),))],
    "Quantize": [
        Variant("int8", _IMAGE8, (Input("float32", kind="real"),)),
        Variant("direct_int8", {**_IMAGE8, "division": "direct"}, (Input("float32", kind="real"),)),
    ],
    "Dequantize": [Variant("int32", {"scale": (step(0.003),), "axis": 0, "zero_point": 7}, (_WIDE,))],
    "GemmlowpRequantize": [Variant("uint16", _FINE, (_WIDE,))],
    "TosaRescale": [Variant("uint16", {**_FINE, "double_round": True}, (_WIDE,))],
    "TFLiteSoftmax": [Variant("int8", {**_EXPONENT, "dtype": "int8"}, (_ROW,), step(0.05))],
    "Center": [Variant("uint8", {"zero_point": 131, "dtype": "int16"}, (Input("uint8"),))],
    "Rescale": [Variant("int32", {"alpha": (-0.5,), "axis": 0}, (_WIDE,))],
    "Clip": [Variant("int16", {"low": -100, "high": 30}, (Input("int16"),))],
    "Lookup": [Variant("int8", {"low": -128}, (_ROW, Input("int16", (256,), shared=True)))],
    "IBertSoftmax": [_at(step(0.002), "int16", at_scale("IBertSoftmax", step(0.002), **_PUBLISHED))],
    "IBertGELU": [_at(step(0.0005), "int16", at_scale("IBertGELU", step(0.0005), shift=12))],
    "IBertLayerNorm": [Variant("int32_shift_12", {"shift": 12}, (_WIDE, _BIASES))],
    "LogIntSoftmax": [_at(step(0.01), "int16", at_scale("LogIntSoftmax", step(0.01), n=30, bits=4))],
    "ShiftMatMul": [
        Variant("int8", {"bits": 4, "alpha": 1.0}, (Input("uint8", (2, 3), "code"), Input("int8", (3, 4), shared=True)))
    ],
    "L1LayerNorm": [Variant("uint8", _L1, (Input("uint8"), _BIASES))],
    "ITASoftmax": [Variant("octave_of_32", {"block": 5, "shift": 5}, (_ROW,), dyadic.base_two_step(5))],
    "FloatSoftmax": [
        Variant("uint8", {"scale": step(0.1), "out_bits": 8, "dtype": "uint8"}, (Input("uint8"),), step(0.1)),
        Variant("int32", {"scale": step(0.002), "out_bits": 16, "dtype": "uint16"}, (_WIDE,), step(0.002)),
    ],
    "FloatGELU": [_at(0.25, "int8", {"scale": 0.25, "out_bits": 8})],
    "FloatLayerNorm": [Variant("uint8", {}, (Input("uint8"), _BIASES))],
    "Where": [Variant("int8", {}, (Input("bool", kind="flag"), _ROW, Input("int8", (1,))))],
    "MaxPool": [Variant("int8", {**_WINDOW, "kernel_shape": (2, 2)}, (_IMAGE,))],
    "Reshape": [Variant("int8", {"shape": (4, -1, 2)}, (_BOX,))],
    "Transpose": [Variant("int8", {"perm": (1, 2, 0)}, (_BOX,))],
    "Concat": [Variant("int8", {"axis": 2}, (_BOX, Input("int8", (2, 3, 1), shared=True)))],
    "Slice": [Variant("int8", {"axis": 2, "start": 1, "stop": 3}, (_BOX,))],
    "Take": [Variant("int8", {"axis": 2, "indices": (2, 2, 0)}, (_BOX,))],
    "Roll": [Variant("int8", {"axis": 2, "shift": 1}, (_BOX,))],
    "Expand": [Variant("int8", {"axes": (2,)}, (Input("int8", (2, 3, 1), shared=True), Input("int8", (1, 1, 4), shared=True)))],
}
