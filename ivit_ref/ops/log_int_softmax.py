"""LogIntSoftmax: softmax along the last axis as FQ-ViT has it, with powers of two as results: their exponents are its codes.

Semantics, for each row x of the last axis
    z, q = as in IBertSoftmax                attributes x0, b, c, n
    e    = z * 2**(n - q)                    an integer: q is at most n
    s    = sum of e
    R    = s / e                             half to even; where e is 0, larger than every number
    code = how many k in 0, 1, ..., 2**bits - 1 have 2*R >= 3 * 2**k

A code stands for the probability 2**-code, and the code 2**bits for 0. The published n is 30 and bits is 4; x0, b and c follow
from the scale of x.

The count is the released rounding of log2(R): with f = floor(log2(R)), f + 1 where R - 2**f >= 2**(f - 1), else f. For R is
from 2**f to below 2**(f + 1), so R >= 1.5 * 2**k holds for every k < f, for k = f exactly where one is added, and for no
other. What the release rounds to 2**bits or more stands for 0 there, and the count stops at 2**bits. The release takes the
quotient and its logarithm in float32.

Properties
    (P1) codes are from 0 to 2**bits
    (P2) a number that all of a row have in common does not matter, and a permuted row gives a permuted result
    (P3) order is turned around, x_i <= x_j gives code_i >= code_j, under the same conditions as in IBertSoftmax
    (P4) 2**-code is above 5/8 and below 3/2 of e/s, and a row adds up to as much, unless a code is 2**bits: three equal
         numbers are 1/4 each, five as well; two of which one is a little more than twice the other are 1 and 1/4

Sources
    arXiv 2111.13824, Log-Int-Softmax; megvii-research/FQ-ViT models/ptq/layers.py, ``QIntSoftmax``

Constraints
    (C1) x is int8, int16 or int32, and has an axis of at most 2**16 elements to go along
    (C2) x0 <= -1 and -x0 - 1 <= b <= 2**16
    (C3) 1 <= c <= 2**30 and 0 <= n <= 62
    (C4) c * 2**n * L <= 2**62, with L the length of the axis: no sum leaves int64
    (C5) 1 <= bits <= 4
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_ref.events import STRICT, Context
from ivit_ref.integers import Ints, divide, narrow, widen
from ivit_ref.ir import Attribute, Quant, TensorType
from ivit_ref.ops.i_bert_softmax import check_unit, exponential, exponential_unit, onnx_exponential, onnx_half_even
from ivit_ref.ops.shiftmax import check_row
from ivit_ref.registry import op, require, require_dtype

if TYPE_CHECKING:
    from ivit_ref.onnx_body import Body, Sym

MOST_BITS = 4
LIMITS = (2, *(3 << (k - 1) for k in range(1, 2**MOST_BITS)))
"""The smallest R with 2*R >= 3 * 2**k, for k = 0, 1, ..."""


def infer(x: TensorType, *, x0: int, b: int, c: int, n: int, bits: int) -> TensorType:
    """uint8, in the shape of x."""
    require_dtype("LogIntSoftmax (C1)", "x", x, "int8", "int16", "int32")
    check_row("LogIntSoftmax (C1)", x)
    check_unit("LogIntSoftmax (C2)", "LogIntSoftmax (C3)", x0, b, c, n)
    length = x.shape[-1]
    assert isinstance(length, int)
    must = "c * 2**n * L must be at most 2**62"
    require((c << n) * length <= 2**62, "LogIntSoftmax (C4)", must, f"c = {c}, n = {n}, L = {length}")
    check_bits("LogIntSoftmax (C5)", bits)
    return TensorType("uint8", x.shape)


def check_bits(rule: str, bits: int) -> None:
    """The constraint on codes: the largest that stands for a power of two is 2**bits - 1."""
    require(1 <= bits <= MOST_BITS, rule, f"bits must be from 1 to {MOST_BITS}", bits)


def quant(quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: dict[str, Any]) -> Quant | None:
    """None: a code is a logarithm, and has no step."""
    return None


def follows(
    quants: Sequence[Quant | None], types: Sequence[TensorType], attributes: Mapping[str, Attribute]
) -> dict[str, Attribute]:
    """x0, b and c."""
    return {**exponential_unit("LogIntSoftmax (scales)", quants[0])}


def onnx_body(b: Body, x: Sym) -> Sym:
    x = b.widen(x)
    z, q = onnx_exponential(b, x - b.row_max(x))
    e = z * b.power_of_two(b.attribute("n") - q)
    ratio = onnx_half_even(b, b.row_sum(e), b.maximum(e, 1))
    limits = b.emit("Slice", b.ints(LIMITS), b.ints([0]), b.emit("Unsqueeze", b.power_of_two(b.attribute("bits")), b.ints([0])))
    reached = b.widen(b.emit("GreaterOrEqual", b.emit("Unsqueeze", ratio, b.ints([-1])), limits))
    code = b.emit("ReduceSum", reached, b.ints([-1]), keepdims=0)
    return b.cast(b.where(e.equals(0), b.power_of_two(b.attribute("bits")), code), "uint8")


@op("LogIntSoftmax", infer=infer, onnx_body=onnx_body, quant=quant, follows=follows)
def log_int_softmax(x: Ints, /, *, x0: int, b: int, c: int, n: int, bits: int, ctx: Context = STRICT) -> Ints:
    """Softmax of the last axis as exponents of 1/2; uint8, in the shape of x."""
    wide = widen(x)
    z, q = exponential(wide - wide.max(axis=-1, keepdims=True), ctx, x0=x0, b=b, c=c, n=n)
    e = z << (n - q)
    ratio = divide(e.sum(axis=-1, keepdims=True), np.maximum(e, 1), "half_even")
    code = np.searchsorted(LIMITS[: 2**bits], ratio, side="right")
    return narrow(np.where(e == 0, 2**bits, code), "uint8")
