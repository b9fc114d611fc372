"""The buffers of a module: there, of the right shape, finite, integral, in range; and those values that are.

Nothing here stops at the first fault: a checkpoint that is broken in ten places is told of ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from ivit_ref.checkpoints.state import EPSILON, State
from ivit_ref.doctor.finding import Findings
from ivit_ref.integers import BOUNDS
from ivit_ref.models.sites import Act, Layer, Norm, Site, Table

Reals = npt.NDArray[np.float64]
Kind = Literal["scale", "gains", "int8", "int32", "real"]


@dataclass(frozen=True)
class Buffer:
    """An array that a module must have."""

    key: str
    shape: tuple[int, ...]
    kind: Kind


def buffers(site: Site) -> Iterator[Buffer]:
    """What the integer graph reads of a module."""
    if isinstance(site, Act):
        yield Buffer(site.scale, (), "scale")
    elif isinstance(site, Layer):
        yield Buffer(f"{site.name}.weight_integer", site.shape, "int8")
        yield Buffer(site.scales, site.shape[:1], "scale")
        if site.bias:
            yield Buffer(f"{site.name}.bias_integer", site.shape[:1], "int32")
    elif isinstance(site, Norm):
        yield Buffer(f"{site.name}.norm_scaling_factor", (site.dim,), "gains")
        yield Buffer(f"{site.name}.bias_integer", (site.dim,), "int32")
    elif isinstance(site, Table):
        yield Buffer(site.name, site.shape, "real")


def usable(state: State, site: Site, found: Findings) -> Mapping[str, Reals]:
    """The values by key that nothing is wrong with; what is wrong with the others is added to the findings."""
    values: dict[str, Reals] = {}
    for buffer in buffers(site):
        if buffer.key not in state:
            found.add("missing", buffer.key, "is not in the state dict")
            continue
        array = numbers(state, buffer.key)
        problem = ("wrong-shape", "does not hold numbers") if array is None else _problem(buffer, array, site)
        if problem:
            found.add(problem[0], buffer.key, problem[1])
        elif array is not None:
            values[buffer.key] = array.reshape(buffer.shape)
    return values


def numbers(state: State, key: str) -> Reals | None:
    """The array under a key as float64; None where there is none, or none of numbers."""
    array = state.arrays.get(key)
    return None if array is None or array.dtype.kind not in "fiu" else np.asarray(array, np.float64)


def _problem(buffer: Buffer, array: Reals, site: Site) -> tuple[str, str] | None:
    """The rule that a value breaks and what it is like, if there is one."""
    # A scale may be stored with no axis or with one of length one.
    fits = array.size == prod(buffer.shape) if buffer.kind in ("scale", "gains") else array.shape == buffer.shape
    if not fits:
        return "wrong-shape", f"has shape {list(array.shape)}, and must have {list(buffer.shape)}"
    if not np.isfinite(array).all():
        # beta / gamma of a gain of 0, or of nearly 0
        folded = isinstance(site, Norm) and buffer.kind == "int32"
        return "bias-overflow" if folded else "not-finite", _where(~np.isfinite(array), array)
    if buffer.kind in ("int8", "int32"):
        return _not_integers(buffer, array, site)
    return _bad_scale(buffer, array) if buffer.kind in ("scale", "gains") else None


def _not_integers(buffer: Buffer, array: Reals, site: Site) -> tuple[str, str] | None:
    low, high = BOUNDS[buffer.kind]
    wrong = (array != np.rint(array)) | (array < low) | (array > high)
    if not wrong.any():
        return None
    folded = isinstance(site, Norm) and bool((array[wrong] == np.rint(array[wrong])).all())
    return "bias-overflow" if folded else "not-integers", f"{_where(wrong, array)}, no {buffer.kind}"


def _bad_scale(buffer: Buffer, array: Reals) -> tuple[str, str] | None:
    if buffer.kind == "gains":
        return ("zero-gain", _where(array == 0, array)) if (array == 0).any() else None
    if (array <= 0).any():
        return "zero-scale", _where(array <= 0, array)
    if array.size == 1 and not buffer.shape and float(array.reshape(())) <= EPSILON:
        what = "float32 epsilon" if float(array.reshape(())) == EPSILON else "less than float32 epsilon"
        return "epsilon-scale", f"{float(array.reshape(())):.8g}, {what}"
    return None


def _where(wrong: npt.NDArray[np.bool_], array: Reals) -> str:
    """How many elements are wrong, and the first of them."""
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f"{np.count_nonzero(wrong)} of {array.size}, first at {list(index)}: " if array.ndim else ""
    return f"{where}{array[index]:.8g}"
