"""Faster equals of a few operators: the same integers, events and errors, sooner. Never imported by ``ops``.

What qualifies is decided by the actual operands; what does not runs the operator's own body. The text of each file says why
its results are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ivit_ref.events import Context
from ivit_ref.fast import center, conv, i_layer_norm, products, requantize, rows
from ivit_ref.ir import Array, Attribute

Kernel = Callable[[Sequence[Array], Mapping[str, Attribute], Context], Array]

KERNELS: dict[str, Kernel] = {
    "MatMul": products.matmul,
    "Linear": products.linear,
    "Conv": conv.conv,
    "Center": center.center,
    "Requantize": requantize.requantize,
    "RequantizeAdd": requantize.requantize_add,
    "Shiftmax": rows.shiftmax,
    "ShiftGELU": rows.shift_gelu,
    "ILayerNorm": i_layer_norm.i_layer_norm,
}
"""The operators that have a faster equal."""
