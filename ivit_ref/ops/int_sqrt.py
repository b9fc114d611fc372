"""IntSqrt: the square root of a non-negative integer by Newton's iteration on integers.

Semantics, elementwise
    k_0     = start                        or, where start = 0, 2**floor(bits / 2) with bits the bit length of v
    k_(i+1) = (k_i + v / k_i) / 2          both divisions floor; v / 0 counts as 0, which only v = 0 meets
    y       = k_steps                      or, where steps = 0, floor(sqrt(v)) exactly

Start and steps are semantics, not tuning. Ten steps from 2**16, as released, return 64 for v = 0 and are off by more than one
for most v below 34,596, and again for some from 65,387,859,544,245 on; between, the result is floor(sqrt(v)) or one more (it
oscillates for v = m**2 - 1). A result off by more than one is an event, ``not_converged``.

Properties, with m = floor(sqrt(v))
    (P1) y >= m, from one step on
    (P2) y <= m + 1 for every v with start = 0 and steps = 0 or >= 4; and from 2**16 in ten steps for v from 34,596 to
         65,387,859,544,244, about 2**45.9
    (P3) y does not decrease with v

Sources
    arXiv 2207.01405, I-LayerNorm (start from the bit length, 10 iterations); zkkli/I-ViT
    models/quantization_utils/quant_modules.py, ``IntLayerNorm``, and TVM_benchmark/models/layers.py (2**16, 10 steps)

Constraints
    (C1) v is int32 or int64
    (C2) 0 <= v < 2**62
    (C3) 0 <= start <= 2**31
    (C4) 0 <= steps <= 64, and steps = 0 goes with start = 0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, Wide, isqrt, widen
from ivit_ref.ir import TensorType
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

HALF_BITS = tuple(1 << (2 * j - 1) for j in range(1, 32))
"""The smallest v whose bit length is 2j, for j = 1, 2, ...: how many of them v reaches is floor(bits / 2)."""


def infer(v: TensorType, *, start: int, steps: int) -> TensorType:
    """int64, in the shape of v."""
    require_dtype("IntSqrt (C1)", "v", v, "int32", "int64")
    check_iteration("IntSqrt (C3)", "IntSqrt (C4)", start, steps)
    return TensorType("int64", v.shape)


def check_iteration(c3: str, c4: str, start: int, steps: int) -> None:
    """C3 and C4, which every operator with a square root inside shares."""
    require(0 <= start <= 2**31, c3, "start must be from 0 to 2**31", start)
    must = "steps must be from 0 to 64, and 0 only with start = 0"
    require(1 <= steps <= 64 or (steps == 0 and start == 0), c4, must, f"steps = {steps}, start = {start}")


def onnx_body(b: Body, v: Sym) -> Sym:
    return onnx_square_root(b, b.widen(v), "start", "steps")


def onnx_square_root(b: Body, v: Sym, start: str, steps: str) -> Sym:
    """The semantics on an int64 symbol; the names are those of the two attributes."""
    from_bits = _onnx_from_bits(b, v)
    k_0 = b.where(b.attribute(start).equals(0), from_bits, b.attribute(start))
    exact = b.attribute(steps).equals(0)
    # Forty steps from the bit length are enough for every v below 2**62; a root once found is kept.
    return b.loop(b.where(exact, 40, b.attribute(steps)), k_0, lambda k: _onnx_newton(b, v, k, exact))


def onnx_exact_root(b: Body, v: Sym) -> Sym:
    """floor(sqrt(v)), of an int64 symbol."""
    exact = b.cast(b.ints(1), "bool")
    return b.loop(b.ints(40), _onnx_from_bits(b, v), lambda k: _onnx_newton(b, v, k, exact))


def _onnx_from_bits(b: Body, v: Sym) -> Sym:
    """2**floor(bits / 2)."""
    reached = b.widen(b.emit("GreaterOrEqual", b.emit("Unsqueeze", v, b.ints([-1])), b.ints(HALF_BITS)))
    return b.power_of_two(b.emit("ReduceSum", reached, b.ints([-1]), keepdims=0))


def _onnx_newton(b: Body, v: Sym, k: Sym, exact: Sym) -> Sym:
    """One step; where ``exact``, a root stays."""
    is_root = b.floor_divide(v, b.maximum(k, 1)) >= k
    is_root = is_root & (b.floor_divide(v, k + 1) <= k)
    return b.where(exact & is_root, k, b.floor_divide(k + b.floor_divide(v, b.maximum(k, 1)), 2))


def square_root(v: Wide, ctx: Context, step: str, *, start: int, steps: int) -> Wide:
    """The semantics on int64; ``step`` names the place in the operator that uses it."""
    if steps == 0:
        return isqrt(v)
    k = v * 0 + (start or (np.int64(1) << np.searchsorted(HALF_BITS, v, side="right")))
    for _ in range(steps):
        k = (k + v // np.maximum(k, 1)) // 2
    if ctx.emit is not None:
        ctx.record("not_converged", abs(k - isqrt(v)) > 1, v, step)
    return k


@op("IntSqrt", infer=infer, onnx_body=onnx_body)
def int_sqrt(v: Ints, /, *, start: int, steps: int, ctx: Context = STRICT) -> Ints:
    """About ``sqrt(v)``, int64 in the shape of v; a step of the result is worth a step of v, unsquared."""
    wide = widen(v)
    require(wide.min() >= 0 and wide.max() < 2**62, "IntSqrt (C2)", "v must be from 0 to 2**62 - 1", _worst(wide))
    return square_root(wide, ctx, "y", start=start, steps=steps)


def _worst(v: Wide) -> int:
    return int(v.min()) if v.min() < 0 else int(v.max())
