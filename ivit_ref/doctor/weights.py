"""Whether the stored integers are those that the float parameters and the stored scales give, by the release's own formulas.

scale = max |w| / 127 of each output channel, float32           (quant_utils.py, symmetric_linear_quantization_params)
weight_integer = round(1/scale * w), half to even, in int8      (SymmetricQuantFunction)
bias_integer = round(1/(scale * input scale) * bias), in int32
norm_scaling_factor = sqrt(C) / 2**30 * gamma, and bias_integer = floor(beta / gamma / (sqrt(C) / 2**30))   (IntLayerNorm)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ivit_ref.checkpoints.state import EPSILON, State
from ivit_ref.doctor.buffers import Reals, numbers
from ivit_ref.doctor.finding import Findings
from ivit_ref.models.sites import Layer, Norm

Floats = npt.NDArray[np.float32]


def check_layer(state: State, site: Layer, values: Mapping[str, Reals], step: float | None, found: Findings) -> None:
    """Weight, scales and bias of a layer against its float parameters, where there are any; ``step`` is the input's scale."""
    weight = _floats(numbers(state, f"{site.name}.weight"), site.shape)
    key = f"{site.name}.weight_integer"
    scales = values.get(site.scales)
    if weight is None or scales is None:
        return
    _compare_scales(site, weight, _f32(scales), found)
    if key in values:
        columns = _f32(scales).reshape(-1, *(1,) * (len(site.shape) - 1))
        _compare(key, values[key], np.clip(np.rint(np.float32(1) / columns * weight), -128, 127), found)
    key = f"{site.name}.bias_integer"
    bias = _floats(numbers(state, f"{site.name}.bias"), site.shape[:1])
    if bias is not None and step is not None and key in values:
        steps = np.rint(np.float32(1) / (_f32(scales) * np.float32(step)) * bias)
        _compare(key, values[key], np.clip(steps, -(2.0**31), 2.0**31), found)


def check_norm(state: State, site: Norm, values: Mapping[str, Reals], found: Findings) -> None:
    """Scales and folded bias of a LayerNorm against gamma and beta, where there are any."""
    gamma = _floats(numbers(state, f"{site.name}.weight"), (site.dim,))
    beta = _floats(numbers(state, f"{site.name}.bias"), (site.dim,))
    if gamma is None or beta is None:
        return
    unit = np.sqrt(np.float32(site.dim)) / np.float32(2**30)
    key = f"{site.name}.norm_scaling_factor"
    if key in values:
        _compare(key, values[key], unit * gamma, found)
    key = f"{site.name}.bias_integer"
    if key in values and (gamma != 0).all():
        _compare(key, values[key], np.floor(beta / gamma / unit), found)


def _compare_scales(site: Layer, weight: Floats, stored: Floats, found: Findings) -> None:
    """A GPU divides by 127 by multiplying with its reciprocal: either result is one that training gives."""
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    least = np.float32(EPSILON)
    either = np.maximum(largest / np.float32(127), least), np.maximum(largest * (np.float32(1) / np.float32(127)), least)
    wrong = (stored != either[0]) & (stored != either[1])
    _tell(site.scales, wrong, stored, either[0], found)


def _compare(key: str, stored: Reals, given: Floats, found: Findings) -> None:
    wrong: npt.NDArray[np.bool_] = stored != given
    _tell(key, wrong, stored, given, found)


def _tell(key: str, wrong: npt.NDArray[np.bool_], stored: npt.NDArray[np.floating], given: Floats, found: Findings) -> None:
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        first = f"first at {list(index)}: stored {stored[index]:.9g}, the float parameter gives {given[index]:.9g}"
        found.add("stale-integers", key, f"{np.count_nonzero(wrong)} of {wrong.size} differ, {first}")


def _floats(array: Reals | None, shape: tuple[int, ...]) -> Floats | None:
    """The float parameters, if they can be compared with."""
    if array is None or array.shape != shape or not np.isfinite(array).all():
        return None
    return _f32(array)


def _f32(array: Reals) -> Floats:
    return np.asarray(array, np.float32)
