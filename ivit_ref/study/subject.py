"""What is measured: an operator with its attributes for a scale, run on integers, and the reals that its results stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from ivit_ref import dyadic
from ivit_ref.errors import ConstraintError, InputError, IvitError
from ivit_ref.events import Context, Event, EventLog
from ivit_ref.integers import Ints, narrow
from ivit_ref.ir import Array, Attribute, Quant, TensorType
from ivit_ref.methods import METHODS, Method, Role, attributes, method_named
from ivit_ref.profiles import Profile, profile_named
from ivit_ref.registry import REGISTRY, OpDef
from ivit_ref.scales import follow_from_profile, follow_from_scales
from ivit_ref.study.corpus import LENGTHS, Batch, Size
from ivit_ref.study.reals import Kind, Reals
from ivit_ref.tables import tflite_gelu_table

PARTS: Mapping[str, Kind] = {"ShiftExp": "exp", "IntSqrt": "sqrt", "IntDiv": "quotient"}
"""Operators that are a step of others, and no method of a role."""

DTYPES: Mapping[Kind, tuple[str, str]] = {
    "softmax": ("int8", "int16"),
    "gelu": ("int8", "int16"),
    "layernorm": ("int8", "int16"),
    "requantize": ("int32", "int32"),
    "exp": ("int16", "int32"),
    "sqrt": ("int64", "int64"),
    "quotient": ("int64", "int64"),
}
"""What holds the inputs of codes of 8 and of 16 bits: an accumulator holds codes, and a difference of codes has a bit more."""

MOST_ROWS = 10_000
"""Random rows of a kind and length: more take memory, and show no more."""

MOST_ELEMENTS = 2**24
"""Of all random rows of a kind and length, for the same reasons."""


@dataclass(frozen=True)
class Outcome:
    """What a batch gives: the integers, the reals that they stand for, what a step is worth (None: steps differ, as those of
    logarithms do), which rows were refused, and why the first was."""

    integers: Ints
    reals: Reals
    step: float | None
    refused: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class Subject:
    """An operator as a method, in a profile, for inputs of ``bits`` bits whose step is worth ``scale``."""

    kind: Kind
    method: Method
    profile: Profile
    scale: float
    bits: int

    @property
    def op(self) -> OpDef:
        """The operator."""
        return REGISTRY[self.method.op]

    @property
    def label(self) -> str:
        """``shiftmax, tvm``; the profile only where it has a say."""
        return f"{self.method.name}, {self.profile.name}" if self.profiled else self.method.name

    @property
    def profiled(self) -> bool:
        """Whether the profile has a say."""
        chosen: dict[str, Attribute] = {"out_bits": self.profile.softmax_out_bits}
        return bool(follow_from_profile(self.method.op, self.profile, chosen, [Quant((self.scale,))]))

    @property
    def dtype(self) -> str:
        """Of the first input."""
        return DTYPES[self.kind][self.bits // 16]

    def attributes(self, x: TensorType) -> dict[str, Attribute]:
        """All attributes for an input of this type, checked against the operator's constraints."""
        quant, free = Quant((self.scale,)), {}
        if self.kind == "quotient":
            return dict(self.profile.int_div(self.profile.softmax_out_bits))
        if self.kind == "requantize":
            free = {"dtype": "int32"} | follow_from_scales(self.method.op, {}, [quant], [x], Quant((1.0,)))
        chosen = {name: value for name, value in free.items() if name in self.op.attributes}
        return attributes(self.method, quant, x, self.profile, **chosen)

    def others(self, x: TensorType) -> tuple[list[Array], list[Quant]]:
        """The inputs after the first that are no numbers to study, and what their steps are worth: a bias of zeros, a table.

        A table of GELU gives 8 bits, in steps of its input.
        """
        arrays: list[Array] = []
        quants: list[Quant] = []
        for name in self.op.inputs[1:]:
            if name == "table" and self.kind == "gelu":
                arrays.append(tflite_gelu_table(self.scale, 0, self.scale, 0, "int8", approximate=False))
                quants.append(Quant((self.scale,)))
                continue
            if name != "bias":
                raise InputError(f"{self.method.op}: an operator to study must have inputs x or x, bias, but found {name}")
            length = int(x.shape[-1])
            arrays.append(np.zeros(length, np.int32))
            quants.append(Quant((dyadic.float32(math.sqrt(length) / 2**30),)))
        return arrays, quants

    def quant(self, x: TensorType) -> Quant | None:
        """What a step of the result is worth: by the operator's rule, or what was chosen for it here."""
        if self.kind in ("sqrt", "requantize"):
            return Quant((self.scale if self.kind == "sqrt" else 1.0,))
        if self.kind == "quotient":
            return self.op.result_quant([None, None], [x, x], self.attributes(x))
        arrays, quants = self.others(x)
        if self.method.op == "Lookup":
            return quants[0]
        types = [TensorType(str(a.dtype), a.shape) for a in arrays]
        return self.op.result_quant([Quant((self.scale,)), *quants], [x, *types], self.attributes(x))

    def typical_quant(self) -> Quant | None:
        """What a step of the result is worth in a row as long as a ViT has tokens."""
        return self.quant(TensorType(self.dtype, (1, LENGTHS[-1])))

    def run(self, batch: Batch, log: EventLog) -> Outcome:
        """The operator on every row; values wrap, and a row that it refuses is left out."""
        x = narrow(batch.x, self.dtype)
        type_ = TensorType(self.dtype, x.shape)
        others = [narrow(y, self.dtype) for y in batch.others] or self.others(type_)[0]
        run = _Run(self.op, self.attributes(type_), others, log)
        types = [type_, *(TensorType(str(y.dtype), y.shape) for y in others)]
        result = self.op.result_type(types, run.attributes)
        integers = run.rows(x, 0)
        if integers is None:
            integers = np.zeros(x.shape, result.dtype)
        quant = self.quant(type_)
        reals = decoded(self.op.name, integers, quant, run.attributes)
        return Outcome(integers, reals, abs(quant.scale[0]) if quant else None, *run.refusals())

    def check(self, length: int | None = None) -> dict[str, Attribute]:
        """The attributes for rows of that length, or of the tokens of a ViT, unless the operator refuses such rows."""
        length = LENGTHS[-1] if length is None else length
        x = TensorType(self.dtype, (1, length))
        chosen = self.attributes(x)
        others = [x] if self.kind == "quotient" else [TensorType(str(y.dtype), y.shape) for y in self.others(x)[0]]
        self.op.result_type([x, *others], chosen)
        self.quant(x)
        return chosen


@dataclass
class _Run:
    """One batch: halved where the operator refuses it, until single rows are left that it refuses."""

    op: OpDef
    attributes: Mapping[str, Attribute]
    others: Sequence[Array]
    log: EventLog
    refused: dict[int, str] = field(default_factory=dict)

    def rows(self, x: Ints, first: int) -> Ints | None:
        """The results of rows from ``first`` on, 0 in those that are refused; None where all are."""
        others = [y[first : first + len(x)] if y.ndim == x.ndim else y for y in self.others]
        events: list[Event] = []
        try:
            result = self.op.run([x, *others], self.attributes, Context("wrap", self.op.name, emit=events.append))
        except IvitError as error:
            if len(x) == 1:
                self.refused[first] = str(error)
                return None
        else:
            for event in events:
                self.log.event(event)
            return result
        half = len(x) // 2
        parts = self.rows(x[:half], first), self.rows(x[half:], first + half)
        known = next((part for part in parts if part is not None), None)
        if known is None:
            return None
        halves = zip(parts, (x[:half], x[half:]), strict=True)
        return np.concatenate([np.zeros(rows.shape, known.dtype) if part is None else part for part, rows in halves])

    def refusals(self) -> tuple[tuple[int, ...], str]:
        """Which rows, and why the first."""
        return tuple(self.refused), next(iter(self.refused.values()), "")


def decoded(op: str, integers: Ints, quant: Quant | None, attributes: Mapping[str, Attribute]) -> Reals:
    """The reals that integers stand for: by their ``Quant``, or the powers of two whose logarithms they are."""
    values = np.asarray(integers, np.float64)
    if op == "LogIntSoftmax":
        return np.where(integers == 2 ** int(str(attributes["bits"])), 0.0, np.exp2(-values))
    if quant is None:
        raise InputError(f"{op}: what a step of the result is worth must be known, but its rule gives {quant}")
    return (values - quant.zero_point) * quant.scale[0]


def operator_named(name: str) -> str:
    """The operator of that name, in any case; one that stands for a real function."""
    known = {*PARTS, *(method.op for methods in METHODS.values() for method in methods)}
    for op in known:
        if op.lower() == name.lower():
            return op
    raise InputError(f"operator: must be one of {', '.join(op for op in REGISTRY if op in known)}, but found {name!r}")


def subjects(
    op: str, *, scale: float | None, bits: int = 8, profiles: Sequence[str | Profile] = ("qat",), against: Sequence[str] = ()
) -> list[Subject]:
    """The operator in each profile, and other methods of its role; one to which no profile matters comes once."""
    kind, own = _method(operator_named(op))
    if against and kind not in get_args(Role):
        raise InputError(f"against: {own.op} must be a method of a role to have others beside it, but found {against[0]!r}")
    scale = _checked(own.op, kind, scale, bits)
    found: dict[tuple[str, Profile | None], Subject] = {}
    for method in (own, *(method_named(kind, name) for name in against)):  # type: ignore[arg-type]
        for profile in profiles:
            subject = Subject(kind, method, profile_named(profile), scale, bits)
            found.setdefault((method.name, subject.profile if subject.profiled else None), subject)
    return list(found.values())


def sized(found: Sequence[Subject], length: int | None = None, rows: int = 100, seed: int = 0) -> Size:
    """How much these subjects are measured on; ``length`` comes last."""
    kind, bits = found[0].kind, found[0].bits
    if length is not None and kind not in ("softmax", "layernorm"):
        raise InputError(f"length: the operator must go along rows, but found {found[0].op.name}")
    if not 1 <= rows <= MOST_ROWS or seed < 0:
        raise InputError(f"rows, seed: must be from 1 to {MOST_ROWS}, and not negative, but found {rows}, {seed}")
    if rows * (length or 1) > MOST_ELEMENTS:
        raise InputError(f"rows, length: together they must be at most {MOST_ELEMENTS} elements, but found {rows} * {length}")
    return Size(bits, LENGTHS if length is None else (*LENGTHS, length), rows, seed)


def refusal(subject: Subject, length: int | None = None) -> str:
    """Why the operator does not take such inputs; empty where it does."""
    try:
        subject.check(length)
    except IvitError as error:
        return str(error)
    return ""


def check(found: Sequence[Subject], length: int | None = None) -> None:
    """Raise what the first operator says that does not take such inputs."""
    for subject in found:
        subject.check(length)


def _method(op: str) -> tuple[Kind, Method]:
    for role, methods in METHODS.items():
        for method in methods:
            if method.op == op:
                return role, method
    return PARTS[op], Method(op, op)


def _checked(op: str, kind: Kind, scale: float | None, bits: int) -> float:
    """The scale as a float32, 1 where it drops out; what no operator's own constraint says of it, and of the codes."""
    if bits not in (8, 16):
        raise ConstraintError(f"{op} (C1): the codes must have 8 or 16 bits, but found {bits}")
    if scale is None and kind in ("layernorm", "sqrt", "quotient"):
        return 1.0
    rounded = math.nan if scale is None else dyadic.float32(scale)
    if not 0 < rounded < math.inf:
        raise ConstraintError(f"{op} (scales): the scale (--scale) must be a finite float32 above 0, but found {scale}")
    return rounded
