"""A state dict of the released QAT code, its values handed out checked: integral, in range, of the right shape.

Names are those of the release (zkkli/I-ViT), for example ``blocks.0.attn.qkv.weight_integer``. Integers are stored as float32
there; ``integers`` proves that they are some before it makes them integers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ivit_ref.errors import CheckpointError
from ivit_ref.integers import BOUNDS, Ints, from_float, narrow
from ivit_ref.ir import Array

EPSILON = float(np.finfo(np.float32).eps)
"""The least scale that the release lets be, and what it has for a range that was never seen."""

SHOWN = 12
"""So many numbers of modules are told."""


class State:
    """Arrays by name, with where they come from for the messages."""

    def __init__(self, arrays: Mapping[str, Array], source: str = "state dict") -> None:
        self.arrays = arrays
        self.source = source

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def shape(self, key: str, rank: int) -> tuple[int, ...]:
        """The shape of an array that must have ``rank`` axes."""
        array = self._array(key)
        if array.ndim != rank or 0 in array.shape:
            self._refuse(key, f"must have {rank} axes", list(array.shape))
        return tuple(array.shape)

    def integers(self, key: str, dtype: str, shape: tuple[int, ...]) -> Ints:
        """An array of integers of this dtype and shape."""
        array = self.real(key, shape)
        low, high = BOUNDS[dtype]
        wrong = (array != np.rint(array)) | (array < low) | (array > high)
        if wrong.any():
            self._refuse(key, f"must hold integers of {dtype}", float(array[wrong][0]))
        return narrow(from_float(array), dtype)

    def float32(self, key: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """An array of finite real numbers of this shape, as the nearest float32; infinite where that is beyond all."""
        with np.errstate(over="ignore"):
            return self.real(key, shape).astype(np.float32)

    def real(self, key: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """An array of finite real numbers of this shape, as stored."""
        array = self._array(key)
        if array.shape != shape:
            self._refuse(key, f"must have shape {list(shape)}", list(array.shape))
        with np.errstate(all="ignore"):  # what is beyond float64, and a signalling NaN, are refused below
            wide = array.astype(np.float64)
        if not np.isfinite(wide).all():
            self._refuse(key, "must be finite", float(wide[~np.isfinite(wide)][0]))
        return wide

    def scale(self, key: str) -> tuple[float, ...]:
        """The positive float32 scale of a whole tensor, stored with no axis or one of length one."""
        array = self._array(key)
        if array.size != 1:
            self._refuse(key, "must be a single scale", f"shape {list(array.shape)}")
        return self._scales(key, array, 1, signed=False)

    def scales(self, key: str, length: int, *, signed: bool = False) -> tuple[float, ...]:
        """One float32 scale per channel; ``signed`` ones (of LayerNorm) may be negative, none may be zero."""
        return self._scales(key, self._array(key), length, signed=signed)

    def has_prefix(self, prefix: str) -> bool:
        """Whether there is a key that begins so."""
        return any(key.startswith(prefix) for key in self.arrays)

    def count(self, modules: str) -> int:
        """How many ``<modules>.<i>.`` there are; they must be numbered from 0 on without a gap."""
        pattern = re.compile(re.escape(modules) + r"\.([^.]*)\.")
        found = {m.group(1) for m in map(pattern.match, self.arrays) if m}
        if not found or found != {str(i) for i in range(len(found))}:
            first = sorted(found, key=lambda number: (len(number), number))[:SHOWN]
            raise CheckpointError(f"{self.source}: {modules} must be numbered from 0 on, but found [{', '.join(first)}]")
        return len(found)

    def _scales(self, key: str, array: Array, length: int, *, signed: bool) -> tuple[float, ...]:
        if array.size != length:
            self._refuse(key, f"must have {length} scales", list(array.shape))
        with np.errstate(all="ignore"):
            values = array.astype(np.float32).reshape(-1)
        wrong = ~np.isfinite(values) | ((values == 0) if signed else (values <= 0))
        if wrong.any():
            must = "must be finite and not zero" if signed else "must be finite and positive"
            self._refuse(key, must, float(values[wrong][0]))
        return tuple(values.tolist())

    def _array(self, key: str) -> Array:
        if key not in self.arrays:
            raise CheckpointError(
                f"{self.source}: a state dict of the released QAT code must have the key, but found no {key!r}"
            )
        array = self.arrays[key]
        if array.dtype.kind not in "fiu":
            self._refuse(key, "must hold numbers", str(array.dtype))
        return array

    def _refuse(self, key: str, must: str, found: object) -> None:
        raise CheckpointError(f"{self.source}: {key!r} {must}, but found {found}")
