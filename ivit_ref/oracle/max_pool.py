"""MaxPool on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.conv import places
from ivit_ref.oracle.nested import Index, build, shape_of


def max_pool(
    x: Any, *, kernel_shape: tuple[int, ...], strides: tuple[int, ...], pads: tuple[int, ...], dilations: tuple[int, ...]
) -> Any:
    images, channels, height, width = shape_of(x)
    top, left, bottom, right = pads

    def element(index: Index) -> int:
        n, c, i, j = index
        rows = [i * strides[0] + u * dilations[0] - top for u in range(kernel_shape[0])]
        columns = [j * strides[1] + v * dilations[1] - left for v in range(kernel_shape[1])]
        return max(int(x[n][c][r][k]) for r in rows for k in columns if 0 <= r < height and 0 <= k < width)

    lines = places(top + height + bottom, kernel_shape[0], strides[0], dilations[0])
    return build((images, channels, lines, places(left + width + right, kernel_shape[1], strides[1], dilations[1])), element)
