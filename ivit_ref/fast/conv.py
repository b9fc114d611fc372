"""Conv as a product of matrices through BLAS, exact for the reason that ``products`` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ivit_ref.events import Context
from ivit_ref.fast.products import add_bias, exact_type
from ivit_ref.ir import Array, Attribute
from ivit_ref.ops.conv import output_size, unfold
from ivit_ref.registry import REGISTRY


def conv(arrays: Sequence[Array], attributes: Mapping[str, Attribute], ctx: Context) -> Array:
    """The int32 accumulators [N, O, H', W']."""
    x, weight, bias = arrays
    geometry: Any = {key: attributes[key] for key in ("strides", "pads", "dilations")}
    group = attributes["group"]
    assert isinstance(group, int)
    kernels = weight.reshape(group, len(weight) // group, -1)
    patches = unfold(x, weight.shape[2:], **geometry, group=group)
    bound, float_type = exact_type(kernels, patches)
    if float_type is None:
        return REGISTRY["Conv"].run(arrays, attributes, ctx)
    y = np.matmul(kernels.astype(float_type), patches.astype(float_type))
    size = output_size(x.shape[2:], weight.shape[2:], **geometry)
    return add_bias(y.reshape(len(x), len(weight), *size), bound, bias[:, None, None], ctx)
