"""LayerNorm, GELU and guarded softmax where exporters wrote them out in simpler operators.

A quantization in the middle of such a pattern (QuantizeLinear, then DequantizeLinear) is looked through: the integer operator
that takes the pattern's place has none there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ivit_ref.errors import IvitError
from ivit_ref.importer.constants import Constant, evaluate, float32s
from ivit_ref.importer.source import Op
from ivit_ref.ir import Array

TRANSPARENT = ("QuantizeLinear", "DequantizeLinear", "Identity", "Dropout")
SIMPLE = ("Add", "Sub", "Mul", "Div", "Pow", "Erf", "Tanh", "Sigmoid", "Neg", "Exp", "Reciprocal")
GRID = np.linspace(-8, 8, 129, dtype=np.float32)
DEEPEST = 24


@dataclass
class Web:
    """Who makes and who reads what."""

    ops: list[Op]
    constants: Mapping[str, Constant]
    makers: dict[str, Op] = field(default_factory=dict)
    readers: dict[str, list[Op]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for op in self.ops:
            self.makers |= dict.fromkeys(op.outputs, op)
            for name in op.inputs:
                self.readers.setdefault(name, []).append(op)

    def through(self, name: str) -> str:
        """The name behind quantizations."""
        op = self.makers.get(name)
        while op is not None and op.type in TRANSPARENT and op.inputs:
            name = op.inputs[0]
            op = self.makers.get(name)
        return name

    def maker(self, name: str, *types: str) -> Op | None:
        """The operator behind quantizations, if it is of one of the types."""
        op = self.makers.get(self.through(name))
        return op if op is not None and op.type in types else None

    def number(self, name: str) -> float | None:
        """A constant with one number."""
        constant = self.constants.get(name) or self.constants.get(self.through(name))
        return constant.number() if constant is not None and constant.is_scalar and constant.array.dtype.kind in "fiu" else None

    def array(self, name: str) -> Array | None:
        """Any constant."""
        constant = self.constants.get(name) or self.constants.get(self.through(name))
        return None if constant is None else constant.array

    def only_reader(self, name: str, *types: str) -> Op | None:
        """The only operator that reads a tensor, behind quantizations, if it is of one of the types."""
        found = self.readers.get(name, [])
        while len(found) == 1 and found[0].type in TRANSPARENT:
            found = self.readers.get(found[0].output, [])
        return found[0] if len(found) == 1 and found[0].type in types else None


def recognised(ops: list[Op], constants: dict[str, Constant], outputs: list[str], *, gelu: bool) -> list[Op]:
    """The operators, with every pattern replaced by the operator it stands for, and what only it needed taken away."""
    web = Web(ops, constants)
    found: dict[str, Op] = {}
    for op in ops:
        try:
            made = _pattern(web, op, constants, gelu=gelu)
        except (IndexError, ValueError, TypeError):
            made = None  # an operator with inputs missing is no part of a pattern; it is refused where it is lowered
        if made is not None:
            found[made.output] = made
    replaced = [found.get(op.output, op) for op in ops]
    return _needed(replaced, outputs) if found else ops


def _pattern(web: Web, op: Op, constants: dict[str, Constant], *, gelu: bool) -> Op | None:
    if op.type == "Sqrt":
        return _layer_norm(web, op, constants)
    if op.type == "Where":
        return _guarded(web, op)
    return _gelu(web, op) if gelu and op.type in ("Mul", "Div", "Add") else None


def _needed(ops: list[Op], outputs: list[str]) -> list[Op]:
    """The operators that an output needs."""
    needed, kept = set(outputs), []
    for op in reversed(ops):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
            kept.append(op)
    return kept[::-1]


# --- LayerNorm: (x - mean) / sqrt(variance + eps) * gain + beta


def _layer_norm(web: Web, root: Op, constants: dict[str, Constant]) -> Op | None:
    total = web.maker(root.inputs[0], "Add")
    places = [i for i in (0, 1) if total is not None and (web.number(total.inputs[i]) or 1.0) < 0.01]
    if total is None or len(places) != 1:
        return None
    variance = web.maker(total.inputs[1 - places[0]], "ReduceMean")
    square = None if variance is None or _axis(web, variance) is None else web.maker(variance.inputs[0], "Pow", "Mul")
    if square is None or (square.type == "Pow" and web.number(square.inputs[1]) != 2.0):
        return None
    deviation = web.maker(square.inputs[0], "Sub")
    if deviation is None or (square.type == "Mul" and not _same(web, web.maker(square.inputs[1], "Sub"), deviation)):
        return None
    mean = web.maker(deviation.inputs[1], "ReduceMean")
    same = (
        mean is not None
        and web.through(mean.inputs[0]) == web.through(deviation.inputs[0])
        and _axis(web, mean) == _axis(web, variance)
    )
    quotient = web.only_reader(root.output, "Div", "Reciprocal") if same else None
    if quotient is not None and quotient.type == "Reciprocal":
        quotient = web.only_reader(quotient.output, "Mul")
    above = () if quotient is None else quotient.inputs[:1] if quotient.type == "Div" else quotient.inputs
    if quotient is None or not any(_same(web, web.maker(name, "Sub"), deviation) for name in above):
        return None
    return _with_gain(web, quotient, deviation.inputs[0], _axis(web, mean), constants)


def _same(web: Web, a: Op | None, b: Op | None) -> bool:
    """The same operator, or one written twice."""
    return a is b or (a is not None and b is not None and [*map(web.through, a.inputs)] == [*map(web.through, b.inputs)])


def _axis(web: Web, op: Op | None) -> int | None:
    """The only axis of a mean that keeps it."""
    axes = None if op is None else op.ints("axes")
    if op is not None and axes is None and len(op.inputs) > 1:
        given = web.array(op.inputs[1])
        axes = None if given is None else tuple(given.reshape(-1).tolist())
    return axes[0] if op is not None and axes is not None and len(axes) == 1 and op.get("keepdims", 1) else None


def _with_gain(web: Web, quotient: Op, x: str, axis: int | None, constants: dict[str, Constant]) -> Op:
    """The norm with the product and the sum that follow it, where they are its gain and its bias."""
    last, vectors = quotient, []
    for kind, neutral in (("Mul", 1.0), ("Add", 0.0)):
        after = web.only_reader(last.output, kind)
        arrays = [] if after is None else [a for a in map(web.array, after.inputs) if a is not None and a.dtype.kind == "f"]
        fits = len(arrays) == 1 and arrays[0].size == max(arrays[0].shape[-1:], default=1)
        name = f"{quotient.output}.{kind}"
        constants[name] = Constant(float32s(arrays[0]).reshape(-1) if fits else np.array([neutral], np.float32))
        vectors.append(name)
        last = after if fits and after is not None else last
    return Op("LayerNormalization", (x, *vectors), last.outputs, {"axis": axis}, last.name, 17)


# --- Softmax that replaces NaN: Where(IsNaN(y), 0, y)


def _guarded(web: Web, op: Op) -> Op | None:
    test = web.maker(op.inputs[0], "IsNaN")
    if test is None or len(op.inputs) != 3 or web.through(test.inputs[0]) != web.through(op.inputs[2]):
        return None
    return replace(op, type="Identity", inputs=op.inputs[2:3], attributes={})


# --- GELU, in whatever order its factors come


def _gelu(web: Web, root: Op) -> Op | None:
    """Whether the operator ends a cone over one tensor x that computes gelu(x), told by its values on a grid."""
    for x in _arguments(web, root):
        cone = _cone(web, root, x)
        if cone is None:
            continue
        try:
            y = _values(web, cone, x)
        except IvitError:
            continue
        exact = GRID * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (GRID + 0.044715 * GRID**3)))
        if y.shape == GRID.shape and bool((np.abs(y - exact) <= 0.03 + 0.005 * np.abs(GRID)).all()):
            return Op("Gelu", (_read_as(web, cone, x),), root.outputs, {}, root.name, 20)
    return None


def _arguments(web: Web, root: Op) -> list[str]:
    """What the erf, tanh or sigmoid below the operator may be taken of: its input, and what that is made of."""
    found: list[str] = []
    todo, seen = [root], 0
    while todo and seen < DEEPEST:
        op, seen = todo.pop(), seen + 1
        for name in op.inputs:
            below = web.maker(name, *SIMPLE)
            if below is None or web.number(name) is not None:
                continue
            if below.type in ("Erf", "Tanh", "Sigmoid"):
                found += _sources(web, below)
            todo.append(below)
    return list(dict.fromkeys(found))


def _sources(web: Web, op: Op) -> list[str]:
    """The tensors that simple operators with constant numbers make the input of erf from, the nearest first."""
    found: list[str] = []
    todo = [web.through(op.inputs[0])]
    while todo and len(found) < DEEPEST:
        name = todo.pop(0)
        if web.number(name) is not None:
            continue
        found.append(name)
        below = web.maker(name, *SIMPLE)
        todo += [] if below is None else map(web.through, below.inputs)
    return found


def _cone(web: Web, root: Op, x: str) -> list[Op] | None:
    """The operators between x and the root, in order; None where they read anything else."""
    order: list[Op] = []
    todo, seen = [root], {root.output}
    while todo:
        op = todo.pop()
        order.append(op)
        if len(order) > DEEPEST:
            return None
        for name in op.inputs:
            if web.number(name) is not None or web.through(name) == x:
                continue
            below = web.maker(name, *SIMPLE)
            if below is None:
                return None
            if below.output not in seen:
                seen.add(below.output)
                todo.append(below)
    places = {id(op): i for i, op in enumerate(web.ops)}
    return sorted(order, key=lambda op: places[id(op)])


def _values(web: Web, cone: list[Op], x: str) -> Array:
    known = {x: GRID}
    for op in cone:
        inputs: list[Array | None] = []
        for name in op.inputs:
            number = web.number(name)
            inputs.append(known[web.through(name)] if number is None else np.array(number, np.float32))
        known[op.output] = evaluate(op, inputs)[0]
    return known[cone[-1].output]


def _read_as(web: Web, cone: list[Op], x: str) -> str:
    """The name under which the cone reads x: behind its quantization, if it has one."""
    return next(name for op in cone for name in op.inputs if web.through(name) == x and web.number(name) is None)
