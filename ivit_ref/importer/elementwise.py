"""Element-wise operators: sums and products of tensors, and any function of one 8-bit tensor as a table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ivit_ref import dyadic
from ivit_ref.errors import GraphError
from ivit_ref.importer.constants import Constant, Reals, evaluate, float32s
from ivit_ref.importer.emitter import INT32, lengths, quant_of
from ivit_ref.importer.linear import add
from ivit_ref.importer.lower import Coded, Item, Lowering, Rule
from ivit_ref.importer.movement import axes_of
from ivit_ref.importer.pending import Chosen, Clipped, Moved
from ivit_ref.importer.reals import Held, Known, Real, Tabulated
from ivit_ref.importer.source import Op
from ivit_ref.ir import Array, Value

NO_ZERO = np.zeros(1, np.int64)


def tabulated(state: Lowering, op: Op, operands: list[Real]) -> Tabulated | None:
    """The operator as a table, where its operands are functions of one 8-bit tensor and single numbers."""
    tables = [None if isinstance(x, Known) else x.table(state.emitter) for x in operands]
    sources = {t.source.name: t.source for t in tables if t is not None}
    for x, table in zip(operands, tables, strict=True):
        if table is None and not (isinstance(x, Known) and x.constant.is_scalar):
            return None
    if len(sources) != 1:
        return None
    (source,) = sources.values()
    if any(t is not None and t.shape != source.type.shape for t in tables):
        return None
    arrays: list[Array | None] = [
        t.results if t is not None else float32s(x.constant.array.reshape(())) if isinstance(x, Known) else None
        for x, t in zip(operands, tables, strict=True)
    ]
    results: Reals = float32s(evaluate(op, arrays)[0])
    if results.shape != (256,):
        raise GraphError(f"it must be element-wise, but found results of shape {list(results.shape)}")
    return Tabulated(source, results, op.output)


def function(state: Lowering, op: Op) -> Item:
    """Any function of one 8-bit tensor, and of constants with one number."""
    operands = [state.real(op, i) for i in range(len(op.inputs)) if op.has(i)]
    table = tabulated(state, op, operands)
    if table is None:
        must = "a function without an integer form must read one 8-bit tensor, to become a table of 256 entries"
        raise GraphError(f"{must} (quantize its input to 8 bits), but found {_types(state, operands)}")
    return table


def _types(state: Lowering, operands: list[Real]) -> str:
    held = [x.value.type for x in operands if isinstance(x, Held)]
    return ", ".join(map(str, held)) or "a tensor that is not quantized"


def sum_(state: Lowering, op: Op) -> Item:
    """Add and Sub: rounded once, at the quantization that follows."""
    a, b = state.real(op, 0), state.real(op, 1)
    return _of_tables(state, op, a, b) or add(state, a, b if op.type == "Add" else _negative(state, b), op.output)


def _negative(state: Lowering, x: Real) -> Real:
    if isinstance(x, Known):
        codes = x.constant.codes and replace(x.constant.codes, integers=-x.constant.codes.centred(), zero_point=NO_ZERO)
        return Known(Constant(-float32s(x.constant.array), codes), x.name)
    e, table = state.emitter, x.table(state.emitter)
    origin = table and Tabulated(table.source, -table.results, x.name)
    return Held(e.rescale(e.center(x.integers(e), x.name), (-1.0,), f"{x.name}.negative"), x.name, origin, _is_linear(x))


def _is_source(x: Real) -> bool:
    """A tensor that no other one is known to make."""
    return isinstance(x, Held) and x.origin is None


def _is_linear(x: Real) -> bool:
    """A tensor, or a factor of one."""
    return isinstance(x, Held) and (x.origin is None or x.linear)


def _of_tables(state: Lowering, op: Op, a: Real, b: Real) -> Tabulated | None:
    """A table where an operand is a function of an 8-bit tensor, and the other one of the same tensor, or one number."""
    plain = [isinstance(x, Known) or (_is_linear(x) and isinstance(y, Known)) or _is_source(x) for x, y in ((a, b), (b, a))]
    return None if all(plain) else tabulated(state, op, [a, b])


def multiply(state: Lowering, op: Op) -> Item:
    """Mul and Div: a constant number changes what a step is worth; two tensors are multiplied as integers."""
    a, b = state.real(op, 0), state.real(op, 1)
    table = _of_tables(state, op, a, b)
    if table is not None:
        return table
    if op.type == "Div":
        if not isinstance(b, Known):
            return function(state, op)
        array = np.float32(1) / np.float32(b.constant.array)
        b = Known(Constant(array), b.name)
    if isinstance(a, Known):
        a, b = b, a
    if isinstance(b, Known):
        return by_constant(state, op, a, b)
    return product(state, a, b, op.output)


def by_constant(state: Lowering, op: Op, x: Real, factor: Known) -> Item:
    """A tensor times a constant."""
    array = float32s(factor.constant.array)
    value = x.integers(state.emitter)
    shape = lengths(value.type.shape)
    axes = [i + len(shape) - array.ndim for i, d in enumerate(array.shape) if d > 1]
    finite = np.isfinite(array).all() and (np.abs(array) > 2.0**-100).all() and (np.abs(array) < 2.0**100).all()
    grows = array.ndim > len(shape) or any(shape[a] != d for a, d in zip(axes, [d for d in array.shape if d > 1], strict=True))
    along = quant_of(value).axis
    if finite and not grows and (not axes or (factor.constant.codes is None and len(axes) == 1 and along in (None, axes[0]))):
        alpha = [dyadic.float32(a) for a in array.reshape(-1).tolist()]
        held = state.emitter.center(value, x.name) if min(alpha) < 0 else value
        table = None if axes else x.table(state.emitter)
        origin = table and Tabulated(table.source, table.results * float32s(alpha), op.output)
        return Held(state.emitter.rescale(held, alpha, op.output, axes[0] if axes else 0), op.output, origin, _is_linear(x))
    return product(state, x, factor, op.output)


def product(state: Lowering, a: Real, b: Real, name: str) -> Held:
    """The integers multiplied, narrowed first where the product could leave int32."""
    e = state.emitter
    values: list[Value] = []
    for x in (a, b):
        known = isinstance(x, Known) and x.constant.codes is None
        values.append(x.fine(e, "int16", 2**15 - 1) if known and isinstance(x, Known) else e.center(x.integers(e), x.name))
    if e.peak(values[0]) * e.peak(values[1]) > INT32:
        values = [e.at_most_16_bits(v, x.name) for v, x in zip(values, (a, b), strict=True)]
    y = e.node("Mul", *values, name=name)
    return Held(e.bounded(y, e.peak(values[0]) * e.peak(values[1])), name)


def extreme(state: Lowering, op: Op) -> Item:
    """Max and Min with a constant number."""
    operands = [state.real(op, i) for i in range(len(op.inputs))]
    known = [x for x in operands if isinstance(x, Known) and x.constant.is_scalar]
    rest = [x for x in operands if not any(x is k for k in known)]
    if len(rest) == 1 and known:
        numbers = [x.constant.number() for x in known]
        low, high = (max(numbers), np.inf) if op.type == "Max" else (-np.inf, min(numbers))
        return Clipped(rest[0], low, high, op.output)
    return function(state, op)


def negative(state: Lowering, op: Op) -> Item:
    """Neg."""
    x = state.real(op, 0)
    return tabulated(state, op, [x]) if isinstance(x, Tabulated) else _negative(state, x)  # type: ignore[return-value]


def mean(state: Lowering, op: Op) -> Item:
    """ReduceMean, ReduceSum, GlobalAveragePool: a sum, whose steps are worth 1/n where it is a mean."""
    e, x = state.emitter, state.real(op, 0)
    value = e.center(x.integers(e), x.name)
    shape = lengths(value.type.shape)
    axes = tuple(range(2, len(shape))) if op.type == "GlobalAveragePool" else axes_of(state, op, 1, len(shape))
    if axes is None or not axes:
        if op.get("noop_with_empty_axes", 0):
            return x
        axes = tuple(range(len(shape)))
    count = int(np.prod([shape[a] for a in axes]))
    if quant_of(value).axis in axes or count * e.peak(value) > INT32:
        value = e.within(value, x.name, max(INT32 // count, 1))
    y = e.bounded(e.node("ReduceSum", value, name=op.output, axes=axes), count * e.peak(value))
    if op.type != "ReduceSum":
        y = e.rescale(y, (dyadic.float32(1 / count),), op.output)
    if op.get("keepdims", 1):
        return Held(y, op.output)
    squeezed = tuple(d for i, d in enumerate(shape) if i not in axes)
    return Moved(Held(y, op.output), lambda v, name, output: e.reshaped(v, squeezed, name, output), op.output, squeezed)


def where(state: Lowering, op: Op) -> Item:
    """Where: a constant condition, or one that is an input of the graph."""
    condition = state.item(op, 0)
    if isinstance(condition, Constant):
        v = state.emitter.constant(op.inputs[0], np.asarray(condition.array, np.bool_), None)
    elif isinstance(condition, Coded) and condition.value.type.dtype == "bool":
        v = condition.value
    else:
        raise GraphError("its condition must be constant or an input of bool, but found a tensor that is computed")
    a, b = state.real(op, 1), state.real(op, 2)
    try:
        shape = np.broadcast_shapes(lengths(v.type.shape), lengths(a.shape), lengths(b.shape))
    except ValueError as error:
        raise GraphError(f"its inputs must broadcast, but found {v.type}, {list(a.shape)} and {list(b.shape)}") from error
    return Chosen(v, a, b, op.output, shape)


# fmt: off
FUNCTIONS = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor",
    "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Pow", "PRelu", "Reciprocal", "Selu", "Shrink", "Sigmoid", "Sign",
    "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
)
# fmt: on
"""What becomes a table, with the names that ONNX has for them."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(FUNCTIONS, function),
    "Add": sum_,
    "Sub": sum_,
    "Mul": multiply,
    "Div": multiply,
    "Max": extreme,
    "Min": extreme,
    "Neg": negative,
    "ReduceMean": mean,
    "ReduceSum": mean,
    "GlobalAveragePool": mean,
    "Where": where,
}
