"""Writing an operator's ONNX function body in the words of its NumPy body.

A body is a flat list of standard ONNX integer operators (opset 21) over int64, built by operating on symbols: ``x + y``
emits ``Add``. One body serves every node of its operator: numbers come in by attribute reference, named choices by
comparing a string attribute.

Which operators are used, and why: ONNX Runtime 1.31 gets int64 ``Max``, ``Min``, ``ReduceMax`` and ``Clip`` wrong beyond 2**31,
adds up int64 ``ReduceSum`` in doubles and saturates int32 ``ReduceSum``; ``Div`` on negative integers changed its meaning in
2026; ``BitShift`` is unsigned. So clamps are ``Where(Less)``, sums are split into halves that stay exact in a double,
divisions see non-negative or divisible operands only, and shifts are products with and exact quotients by powers of two.

Names matter too: ONNX Runtime 1.31 aborts on a model-local function called ``Gather`` that has one input, whatever its domain,
and onnx's ReferenceEvaluator takes the attributes that a schema requires from the name of the operator alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, TypeAlias

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

from ivit_ref.onnx_types import BOUNDS_BY_NUMBER, DOMAIN, ONNX_DTYPES, OPSET, VALUE_FIELDS, attribute_kind
from ivit_ref.registry import OpDef, Ref

SUM_SPLIT = 2**31


@dataclass(frozen=True, eq=False)
class Sym:
    """A tensor inside a body."""

    body: Body
    name: str

    def __add__(self, other: Operand) -> Sym:
        return self.body.emit("Add", self, other)

    def __sub__(self, other: Operand) -> Sym:
        return self.body.emit("Sub", self, other)

    def __mul__(self, other: Operand) -> Sym:
        return self.body.emit("Mul", self, other)

    def __neg__(self) -> Sym:
        return self.body.emit("Neg", self)

    def __lt__(self, other: Operand) -> Sym:
        return self.body.emit("Less", self, other)

    def __gt__(self, other: Operand) -> Sym:
        return self.body.emit("Greater", self, other)

    def __le__(self, other: Operand) -> Sym:
        return self.body.emit("LessOrEqual", self, other)

    def __ge__(self, other: Operand) -> Sym:
        return self.body.emit("GreaterOrEqual", self, other)

    def __and__(self, other: Sym) -> Sym:
        return self.body.emit("And", self, other)

    def __or__(self, other: Sym) -> Sym:
        return self.body.emit("Or", self, other)

    def __xor__(self, other: Sym) -> Sym:
        return self.body.emit("Xor", self, other)

    def equals(self, other: Operand) -> Sym:
        return self.body.emit("Equal", self, other)


Operand: TypeAlias = "Sym | int"


class Body:
    """Collects the nodes of one function body."""

    def __init__(self, op: OpDef) -> None:
        self.op = op
        self.nodes: list[NodeProto] = []
        self.counter = 0

    def emit(self, op_type: str, *inputs: Operand, **attributes: Any) -> Sym:
        """Add a node with one output; integers among the inputs become int64 constants."""
        names = [self.lift(x).name for x in inputs]
        self.counter += 1
        output = f"v{self.counter}"
        node = NodeProto(op_type=op_type, input=names, output=[output])
        for key, value in attributes.items():
            is_reference = isinstance(value, Ref)
            node.attribute.append(self._reference(key, value.name) if is_reference else helper.make_attribute(key, value))
        self.nodes.append(node)
        return Sym(self, output)

    def lift(self, x: Operand) -> Sym:
        """A symbol as it is; an integer as an int64 constant."""
        return x if isinstance(x, Sym) else self.ints(x)

    def ints(self, value: int | Sequence[int]) -> Sym:
        """An int64 constant: a scalar or a vector."""
        return self.emit("Constant", value=numpy_helper.from_array(np.asarray(value, np.int64)))

    def real(self, value: float) -> Sym:
        """A float32 constant."""
        return self.emit("Constant", value_float=value)

    def float64(self, value: float | Sequence[float]) -> Sym:
        """A float64 constant, for the operators that compute in floats: a scalar or a vector."""
        return self.emit("Constant", value=numpy_helper.from_array(np.asarray(value, np.float64)))

    def to_float64(self, x: Sym) -> Sym:
        """``x`` as float64."""
        return self.emit("Cast", x, to=TensorProto.DOUBLE)

    def attribute(self, name: str) -> Sym:
        """An attribute of the operator: an int as a scalar, ints as a vector, floats likewise."""
        key = VALUE_FIELDS[attribute_kind(self.op.attributes[name], name)]
        return self.emit("Constant", **{key: Ref(name)})

    def chosen(self, name: str, value: str) -> Sym:
        """Whether a string attribute has this value (bool).

        Both strings go through one tensor: onnx's evaluator keeps strings of different lengths in different dtypes, and
        refuses to compare those.
        """
        attribute = self.emit("Unsqueeze", self.attribute(name), self.ints([0]))
        pair = self.emit("Concat", attribute, self.emit("Constant", value_strings=[value]), axis=0)
        equal = self.emit("Gather", pair, self.ints([0])).equals(self.emit("Gather", pair, self.ints([1])))
        return self.emit("Squeeze", equal, self.ints([0]))

    def cast(self, x: Sym, dtype: str | Ref) -> Sym:
        """``x`` in a named dtype, or in the one that an attribute names."""
        return self.emit("Cast", x, to=dtype if isinstance(dtype, Ref) else ONNX_DTYPES[dtype])

    def widen(self, x: Sym) -> Sym:
        """``x`` as int64."""
        return self.cast(x, "int64")

    def where(self, condition: Sym, x: Operand, y: Operand) -> Sym:
        return self.emit("Where", condition, x, y)

    def maximum(self, x: Sym, y: Operand) -> Sym:
        y = self.lift(y)
        return self.where(x < y, y, x)

    def minimum(self, x: Sym, y: Operand) -> Sym:
        y = self.lift(y)
        return self.where(x > y, y, x)

    def power_of_two(self, k: Operand) -> Sym:
        """``2**k`` for ``0 <= k <= 62``."""
        return self.emit("Gather", self.ints([1 << j for j in range(63)]), k)

    def floor_divide(self, x: Sym, d: Operand) -> Sym:
        """``x / d`` towards minus infinity, for ``d > 0``."""
        d = self.lift(d)
        return self.emit("Div", x - self.emit("Mod", x, d), d)

    def truncating_divide(self, x: Operand, d: Sym) -> Sym:
        """``x / d`` towards zero, for ``d`` of either sign."""
        x = self.lift(x)
        q = self.emit("Div", self.emit("Abs", x), self.emit("Abs", d))
        return self.where((x < 0) ^ (d < 0), -q, q)

    def shift_right(self, x: Sym, k: int) -> Sym:
        """``x >> k``."""
        return self.floor_divide(x, 1 << k)

    def digits(self, x: Sym, bits: int, dtypes: Sequence[str]) -> list[tuple[Sym, int]]:
        """``x`` as digits of so many bits, the lowest first, each with what its place is worth; modulo what they hold."""
        rest, found = self.widen(x), []
        for place, dtype in enumerate(dtypes):
            found.append((self.cast(self.emit("Mod", rest, 1 << bits), dtype), 1 << (bits * place)))
            rest = self.shift_right(rest, bits)
        return found

    def floor_scale(self, x: Sym, e: Sym, largest_exponent: Sym) -> Sym:
        """``floor(x * 2**e)`` for ``x >= 0``, but at most ``2**62``."""
        left = self.minimum(self.maximum(e, 0), largest_exponent)
        right = self.minimum(self.maximum(-e, 0), 62)
        beyond = x > self.floor_divide(self.ints(1 << 62), self.power_of_two(left))
        scaled = x * self.power_of_two(self.where(beyond, 0, left))
        return self.where(beyond, 1 << 62, self.floor_divide(scaled, self.power_of_two(right)))

    def divide(self, x: Sym, d: Operand, rounding: str) -> Sym:
        """``x / d`` for ``d > 0``, rounded by the rule that the attribute ``rounding`` names."""
        d = self.lift(d)
        q = self.floor_divide(x, d)
        remainder = x - q * d
        twice = remainder * 2
        above, tie = twice > d, twice.equals(d)
        nearest = ("half_up", "half_away", "half_even")
        up = reduce(or_, [self.chosen(rounding, rule) & above for rule in nearest])
        up = up | (self.chosen(rounding, "half_up") & tie)
        up = up | (self.chosen(rounding, "half_away") & tie & (x > 0))
        up = up | (self.chosen(rounding, "half_even") & tie & self.emit("Mod", q, 2).equals(1))
        up = up | (self.chosen(rounding, "truncate") & (x < 0) & (remainder > 0))
        return q + self.widen(up)

    def wrap(self, x: Sym, dtype: str) -> Sym:
        """The low bits of ``x`` as two's complement of ``dtype``."""
        bits, signed = int(dtype.removeprefix("u").removeprefix("int")), not dtype.startswith("u")
        low_bits = self.emit("Mod", x, 1 << bits)
        return self.where(low_bits >= (1 << (bits - 1)), low_bits - (1 << bits), low_bits) if signed else low_bits

    def wrap_if(self, condition: Sym, x: Sym, dtype: str) -> Sym:
        """``wrap`` where an attribute asks for that width."""
        return self.where(condition, self.wrap(x, dtype), x)

    def saturate_cast(self, x: Sym) -> Sym:
        """``x`` held within the bounds of the attribute ``dtype``, in that dtype."""
        number = self.attribute("dtype")
        low = self.emit("Gather", self.ints([b[0] for b in BOUNDS_BY_NUMBER]), number)
        high = self.emit("Gather", self.ints([b[1] for b in BOUNDS_BY_NUMBER]), number)
        return self.cast(self.minimum(self.maximum(x, low), high), Ref("dtype"))

    def result_bits(self) -> Sym:
        """How many bits the attribute ``dtype`` has."""
        bits = [(high - low).bit_length() for low, high in BOUNDS_BY_NUMBER]
        return self.emit("Gather", self.ints(bits), self.attribute("dtype"))

    def along_axis(self, numbers: Sym, axis: str, like: Sym) -> Sym:
        """A vector in the shape that broadcasts along the axis of ``like`` that an attribute names."""
        rank = self.emit("Size", self.emit("Shape", like))
        trailing = rank - self.attribute(axis) - 1
        ones = self.emit("Expand", self.ints([1]), self.emit("Unsqueeze", trailing, self.ints([0])))
        shape = self.emit("Concat", self.ints([-1]), ones, axis=0)
        return self.emit("Reshape", numbers, shape)

    def row_max(self, x: Sym) -> Sym:
        """The maximum along the last axis of values within int32."""
        return self.widen(self.emit("ReduceMax", self.cast(x, "int32"), self.ints([-1]), keepdims=1))

    def row_sum(self, x: Sym) -> Sym:
        """The sum along the last axis; each half stays exact even when a runtime adds in doubles."""
        high = self.floor_divide(x, SUM_SPLIT)
        low = x - high * SUM_SPLIT
        total = self.emit("ReduceSum", high, self.ints([-1]), keepdims=1) * SUM_SPLIT
        return total + self.emit("ReduceSum", low, self.ints([-1]), keepdims=1)

    def loop(self, count: Sym, state: Sym, step: Callable[[Sym], Sym]) -> Sym:
        """``state`` after ``count`` applications of ``step``."""
        outer, self.nodes = self.nodes, []
        self.counter += 1
        before = Sym(self, f"state{self.counter}")
        after = step(before)
        going = self.emit("Identity", Sym(self, f"going{self.counter}"))
        inner = self._loop_body(before, going, after)
        self.nodes = outer
        return self.emit("Loop", count, self.cast(self.ints(1), "bool"), state, body=inner)

    def function(self, result: Sym) -> FunctionProto:
        """The finished function."""
        self.nodes.append(helper.make_node("Identity", [result.name], ["result"]))
        return helper.make_function(
            DOMAIN,
            self.op.name,
            list(self.op.inputs),
            ["result"],
            self.nodes,
            [helper.make_opsetid("", OPSET)],
            sorted(self.op.attributes),
            doc_string=self.op.text.partition("\n")[0],
        )

    def _loop_body(self, before: Sym, going: Sym, after: Sym) -> GraphProto:
        number = before.name.removeprefix("state")
        inner_going = self.nodes[-1].input[0]
        return helper.make_graph(
            self.nodes,
            f"loop{number}",
            [
                helper.make_tensor_value_info(f"iteration{number}", TensorProto.INT64, []),
                helper.make_tensor_value_info(inner_going, TensorProto.BOOL, []),
                helper.make_tensor_value_info(before.name, TensorProto.INT64, None),
            ],
            [
                helper.make_tensor_value_info(going.name, TensorProto.BOOL, []),
                helper.make_tensor_value_info(after.name, TensorProto.INT64, None),
            ],
        )

    def _reference(self, key: str, name: str) -> AttributeProto:
        reference = AttributeProto()
        reference.name = key
        reference.ref_attr_name = name
        reference.type = attribute_kind(self.op.attributes[name], name)
        return reference


def function_of(op: OpDef) -> FunctionProto:
    """The model-local function of an operator."""
    body = Body(op)
    return body.function(op.onnx_body(body, *(Sym(body, name) for name in op.inputs)))
