"""The element-wise functions of ONNX that become tables, on Python floats.

Written from the texts of the operators (onnx.ai, ONNX Operators); attributes have the defaults of those texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ivit_ref.oracle.rounding import float32


@dataclass(frozen=True)
class RealFunction:
    """One function; ``operand`` is the constant that stands behind x, if any. Outside its domain it is NaN."""

    op: str
    function: Callable[[float], float]
    operand: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, x: float) -> float:
        """f(x)."""
        try:
            return self.function(x)
        except ValueError:
            return math.nan


def _at_poles(function: Callable[[float], float], poles: dict[float, float]) -> Callable[[float], float]:
    return lambda x: poles[x] if x in poles else function(x)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def _elu(x: float) -> float:
    return x if x > 0 else math.expm1(x)


def _gelu_tanh(x: float) -> float:
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
HUNDREDTH, FIFTH = float32(Fraction(1, 100)), float32(Fraction(1, 5))

_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "Abs": abs,
    "Acos": math.acos,
    "Acosh": math.acosh,
    "Asin": math.asin,
    "Asinh": math.asinh,
    "Atan": math.atan,
    "Atanh": _at_poles(math.atanh, {-1.0: -math.inf, 1.0: math.inf}),
    "Ceil": math.ceil,
    "Celu": _elu,
    "Cos": math.cos,
    "Cosh": math.cosh,
    "Elu": _elu,
    "Erf": math.erf,
    "Exp": math.exp,
    "Floor": math.floor,
    "HardSigmoid": lambda x: max(0.0, min(1.0, FIFTH * x + 0.5)),
    "HardSwish": lambda x: x * max(0.0, min(1.0, x / 6 + 0.5)),
    "LeakyRelu": lambda x: x if x >= 0 else HUNDREDTH * x,
    "Log": _at_poles(math.log, {0.0: -math.inf}),
    "Mish": lambda x: x * math.tanh(_softplus(x)),
    "Reciprocal": _at_poles(lambda x: 1 / x, {0.0: math.inf}),
    "Selu": lambda x: SELU_GAMMA * (x if x > 0 else SELU_ALPHA * math.expm1(x)),
    "Shrink": lambda x: x if abs(x) > 0.5 else 0.0,
    "Sigmoid": _sigmoid,
    "Sign": lambda x: (x > 0) - (x < 0),
    "Sin": math.sin,
    "Sinh": math.sinh,
    "Softplus": _softplus,
    "Softsign": lambda x: x / (1 + abs(x)),
    "Sqrt": math.sqrt,
    "Swish": lambda x: x * _sigmoid(x),
    "Tan": math.tan,
    "Tanh": math.tanh,
    "ThresholdedRelu": lambda x: x if x > 1 else 0.0,
}

FUNCTIONS: dict[str, RealFunction] = {
    **{name: RealFunction(name, function) for name, function in _FUNCTIONS.items()},
    "Pow": RealFunction("Pow", lambda x: x**3, operand=3.0),
    "PRelu": RealFunction("PRelu", lambda x: x if x >= 0 else x / 4, operand=0.25),
    "Gelu": RealFunction("Gelu", lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2)))),
    "Gelu, tanh": RealFunction("Gelu", _gelu_tanh, attributes={"approximate": "tanh"}),
}
"""By the names under which they are certified."""
