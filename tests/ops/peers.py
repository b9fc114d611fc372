"""What the tests of the operators of I-BERT and FQ-ViT share: published constants in float32, twins, and running a call."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ivit_ref.errors import IntegerOverflow
from ivit_ref.events import Context, Event
from ivit_ref.golden.second import twin
from ivit_ref.oracle.widths import Overflow
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.elements import Call

Array = npt.NDArray[Any]
Reals = npt.NDArray[np.float64]


def run(name: str, call: Call, overflow: str = "wrap") -> tuple[Array, list[Event]]:
    """What an operator makes of a call, checked like any other, and the events on the way."""
    events: list[Event] = []
    kernel = getattr(importlib.import_module("ivit_ref.ops"), REGISTRY[name].kernel.__name__)
    ctx = Context(overflow=overflow, emit=events.append)  # type: ignore[arg-type]
    return kernel(*call[0], **call[1], ctx=ctx), events


def assert_agrees(name: str, call: Call) -> None:
    """The operator and its twin give the same where values wrap; and it raises exactly where its twin does."""
    before = [array.copy() for array in call[0]]
    found, events = run(name, call)
    np.testing.assert_array_equal(found, twin(name, *call, str(found.dtype)), strict=True)
    for array, copy in zip(call[0], before, strict=True):
        np.testing.assert_array_equal(array, copy, strict=True)
    assert all(event.op == name for event in events)
    wraps = any(event.kind == "wrapped" for event in events)
    assert wraps == twin_overflows(name, call)
    if wraps:
        with pytest.raises(IntegerOverflow, match=rf"^{name}: "):
            run(name, call, "raise")
    else:
        np.testing.assert_array_equal(run(name, call, "raise")[0], found, strict=True)


def twin_overflows(name: str, call: Call) -> bool:
    """Whether the twin, which is strict by itself, leaves a width."""
    kernel = REGISTRY[name].kernel
    function = getattr(importlib.import_module(f"ivit_ref.oracle.{kernel.__name__}"), kernel.__name__)
    arrays, attributes = call
    lists = [a.tolist() for a in arrays]
    rows = (
        [lists] if name == "ShiftMatMul" else [[row, *lists[1:]] for row in arrays[0].reshape(-1, arrays[0].shape[-1]).tolist()]
    )
    try:
        for row in rows:
            function(*row, **attributes)
    except Overflow:
        return True
    return False


# --- The published codes, from their formulas: constants as torch's float32 makes them, all else in float64


def over(number: float, tensor: np.float32) -> int:
    """floor(number / tensor), as torch divides: by the reciprocal."""
    return math.floor(np.float32(1) / tensor * np.float32(number))


def i_exp(x: Array, scale: float, n: int = 30) -> tuple[Reals, int]:
    """I-BERT's exponentials of the rows of x, in float64, and the one of 0 without its 2**n."""
    step = np.float32(scale)
    x0, b = over(-0.6931, step), over(0.96963238 / 0.35815147, step)
    c = over(1 / 0.35815147, step * step)
    d = np.maximum(np.float64(x) - x.max(axis=-1, keepdims=True), n * x0)
    q = np.floor(d / x0)
    r = d - x0 * q
    return np.maximum(np.floor((r * (r + b) + c) * 2.0 ** (n - q)), 0), c


def softmax(x: Array, scale: float) -> Reals:
    """The real function."""
    e = np.exp((np.float64(x) - x.max(axis=-1, keepdims=True)) * scale)
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def normal_rows(rows: int, length: int, deviation: float, seed: int = 0) -> Array:
    """int8 logits of a normal distribution."""
    drawn = np.random.default_rng(seed).normal(0, deviation, (rows, length))
    return np.clip(np.rint(drawn), -128, 127).astype("int8")


def float32(scale: float) -> float:
    return float(np.float32(scale))
