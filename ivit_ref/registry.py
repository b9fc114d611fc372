"""What an operator is, and the decorator that declares one.

An operator's file holds its text, its ``infer`` (constraints on types and attributes, and the result type), its
``onnx_body`` and its NumPy body. ``@op`` joins them. The body's signature is the declaration: positional-only parameters
are inputs, keyword-only ones are attributes (``ctx`` is neither), and their annotations are the attributes' types.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from ivit_ref.errors import ConstraintError, GraphError, IvitError
from ivit_ref.events import STRICT, Context
from ivit_ref.ir import Array, Attribute, Quant, TensorType

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Sym

P = ParamSpec("P")
R = TypeVar("R")
QuantRule = Callable[..., "Quant | None"]
FollowRule = Callable[[Sequence["Quant | None"], Sequence[TensorType], Mapping[str, Attribute]], dict[str, Attribute]]
"""From what steps of the inputs mean, their types and the attributes that are chosen: the attributes that follow."""


@dataclass(frozen=True)
class Ref:
    """In an ONNX body: the value of the operator's own attribute of that name, given to a node's attribute."""

    name: str


@dataclass(frozen=True)
class OpDef:
    """An operator of domain ``ai.ivit``, version 1."""

    name: str
    kernel: Callable[..., Array]
    infer: Callable[..., TensorType]
    onnx_body: Callable[..., Sym]
    quant: QuantRule | None
    follows: FollowRule | None
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    floats: bool = False
    """Whether it computes in floating point, between integers: only a graph that allows it may have one (V7)."""

    @property
    def text(self) -> str:
        """The operator's definition: the docstring of its file."""
        return inspect.getdoc(inspect.getmodule(self.kernel)) or ""

    def result_type(self, types: Sequence[TensorType], attributes: Mapping[str, Attribute]) -> TensorType:
        """The type of the result, after every constraint on types and attributes."""
        if len(types) != len(self.inputs):
            raise ConstraintError(f"{self.name}: the inputs must be ({', '.join(self.inputs)}), but found {len(types)}")
        self._check_attributes(attributes)
        try:
            return self.infer(*types, **attributes)
        except GraphError as error:
            raise ConstraintError(f"{self.name}: {error}") from error

    def result_quant(
        self, quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: Mapping[str, Attribute]
    ) -> Quant | None:
        """What a step of the result means, where it follows from the inputs; None where it is a choice or not known."""
        if self.quant is None:
            return None
        try:
            return self.quant(quants, types, dict(attributes))
        except GraphError as error:
            raise ConstraintError(f"{self.name} (scales): {error}") from error

    def run(self, arrays: Sequence[Array], attributes: Mapping[str, Attribute], ctx: Context) -> Array:
        """The NumPy body; types and attributes have been checked before."""
        return np.asanyarray(self.kernel(*arrays, **attributes, ctx=ctx))

    def _check_attributes(self, attributes: Mapping[str, Attribute]) -> None:
        if set(attributes) != set(self.attributes):
            wanted = ", ".join(sorted(self.attributes)) or "none"
            found = ", ".join(sorted(attributes)) or "none"
            raise ConstraintError(f"{self.name} (attributes): must be {wanted}, but found {found}")
        for name, value in attributes.items():
            _check_attribute(f"{self.name} (attributes): {name}", value, self.attributes[name])


REGISTRY: dict[str, OpDef] = {}
"""Every operator by name; filled by the explicit list in ``ops/__init__.py``."""


def op(
    name: str,
    *,
    infer: Callable[..., TensorType],
    onnx_body: Callable[..., Sym],
    quant: QuantRule | None = None,
    follows: FollowRule | None = None,
    floats: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare an operator; the decorated function checks its constraints whenever it is called."""

    def declare(kernel: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(kernel).parameters.values()
        hints = get_type_hints(kernel)
        inputs = tuple(p.name for p in parameters if p.kind == p.POSITIONAL_ONLY)
        attributes = {p.name: hints[p.name] for p in parameters if p.kind == p.KEYWORD_ONLY and p.name != "ctx"}
        if name in REGISTRY:
            raise IvitError(f"op {name}: must be declared once, but found a second declaration")
        definition = OpDef(name, kernel, infer, onnx_body, quant, follows, inputs, attributes, floats)  # type: ignore[arg-type]
        REGISTRY[name] = definition

        @functools.wraps(kernel)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            ctx = kwargs.pop("ctx", STRICT)
            assert isinstance(ctx, Context)
            arrays = [_array(name, a) for a in args]
            types = [_type_of(name, a) for a in arrays]
            attributes = {key: plain(value) for key, value in kwargs.items()}
            definition.result_type(types, attributes)
            return definition.run(arrays, attributes, ctx.at(name))  # type: ignore[return-value]

        return checked

    return declare


def lookup(name: str, where: str = "") -> OpDef:
    """The operator of that name, or a refusal that says how to list them."""
    if name not in REGISTRY:
        raise GraphError(f"{where}the operator must be one of ai.ivit version 1 (see: ivit-ref ops), but found {name!r}")
    return REGISTRY[name]


def plain(value: Any) -> Attribute:
    """An attribute given as a NumPy scalar, a list or an array, as the Python value that it stands for."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return tuple(plain(v) for v in value)  # type: ignore[return-value]
    attribute: Attribute = value
    return attribute


def require(holds: object, rule: str, must: str, found: object) -> None:
    """Raise ConstraintError ``rule: must, but found ...`` unless the constraint holds."""
    if not holds:
        raise ConstraintError(f"{rule}: {must}, but found {found}")


def require_dtype(rule: str, name: str, type_: TensorType, *allowed: str) -> None:
    """The constraint on the dtype of one input."""
    require(type_.dtype in allowed, rule, f"{name} must be {' or '.join(allowed)}", type_)


def require_integer(rule: str, name: str, type_: TensorType) -> None:
    """The constraint that an input holds integers."""
    require(type_.dtype != "float32", rule, f"{name} must hold integers", type_)


def require_one_scale(rule: str, x: Quant) -> None:
    """The constraint on the scale of an input that constants follow from."""
    require(x.axis is None and x.scale[0] > 0, rule, "x must have one positive scale", x)


def _array(name: str, x: object) -> Array:
    try:
        array = np.asanyarray(x)
    except ValueError as error:
        found = f"{type(x).__name__} ({str(error).splitlines()[0]})"
        raise ConstraintError(f"{name}: an input must be an array, but found {found}") from error
    if isinstance(array, np.ma.MaskedArray):
        raise ConstraintError(f"{name}: an input must be an array without a mask, but found {type(array).__name__}")
    return array


def _type_of(name: str, array: Array) -> TensorType:
    """The type of an array given to an operator."""
    if not array.size:
        raise ConstraintError(f"{name} (no empty axes): every axis must have an element, but found shape {list(array.shape)}")
    try:
        return TensorType(str(array.dtype), array.shape)
    except GraphError as error:
        raise ConstraintError(f"{name}: {error}") from error


def _check_attribute(who: str, value: object, hint: Any) -> None:
    """Check one attribute against the annotation that declares it."""
    if get_origin(hint) is Literal:
        matches = any(type(value) is type(choice) and value == choice for choice in get_args(hint))
        require(matches, who, f"must be one of {', '.join(map(str, get_args(hint)))}", repr(value))
    elif get_origin(hint) is tuple:
        element = get_args(hint)[0]
        matches = isinstance(value, tuple) and all(type(v) is element for v in value)
        require(matches, who, f"must be a tuple of {element.__name__}", repr(value))
    else:
        require(type(value) is hint, who, f"must be of type {hint.__name__}", repr(value))
