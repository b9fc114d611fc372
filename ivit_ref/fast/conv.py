"""Conv as a product of matrices through BLAS, exact for the reason that ``products`` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ivit_ref.events import Context
from ivit_ref.fast.products import exact_type, with_bias
from ivit_ref.ir import Array
from ivit_ref.ops.conv import output_size, unfold
from ivit_ref.registry import REGISTRY


def conv(arrays: Sequence[Array], attributes: Mapping[str, Any], ctx: Context) -> Array:
    """The int32 accumulators [N, O, H', W']."""
    x, weight, bias = arrays
    geometry = {name: attributes[name] for name in ("strides", "pads", "dilations")}
    kernels = weight.reshape(attributes["group"], len(weight) // attributes["group"], -1)
    patches = unfold(x, weight.shape[2:], **geometry, group=attributes["group"])
    bound, float_type = exact_type(kernels, patches)
    if float_type is None:
        return REGISTRY["Conv"].run(arrays, attributes, ctx)
    y = np.matmul(kernels.astype(float_type), patches.astype(float_type))
    size = output_size(x.shape[2:], weight.shape[2:], **geometry)
    return with_bias(y.reshape(len(x), len(weight), *size), bound, bias[:, None, None], ctx)
