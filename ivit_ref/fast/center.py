"""Center in the width of its result: constraint C3 says that every difference fits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ivit_ref.events import Context
from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Array
from ivit_ref.registry import REGISTRY


def center(arrays: Sequence[Array], attributes: Mapping[str, Any], ctx: Context) -> Array:
    """``x - zero_point``; dtype, in the shape of x."""
    (x,) = arrays
    low, high = BOUNDS[attributes["dtype"]]
    if not low <= attributes["zero_point"] <= high:
        return REGISTRY["Center"].run(arrays, attributes, ctx)
    return np.asarray(np.subtract(x, attributes["zero_point"], dtype=attributes["dtype"], casting="unsafe"))
