"""Conv on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.nested import Index, build, shape_of
from ivit_ref.oracle.widths import fit


def conv(
    x: Any,
    weight: Any,
    bias: Any,
    *,
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    group: int,
    overflow: str = "raise",
) -> Any:
    images, _, height, width = shape_of(x)
    outputs, per_group, kernel_height, kernel_width = shape_of(weight)
    top, left, bottom, right = pads

    def pixel(n: int, channel: int, row: int, column: int) -> int:
        inside = 0 <= row < height and 0 <= column < width
        return int(x[n][channel][row][column]) if inside else 0

    def element(index: Index) -> int:
        n, o, i, j = index
        g = o // (outputs // group)
        total = bias[o]
        for c in range(per_group):
            for u in range(kernel_height):
                for v in range(kernel_width):
                    row = i * strides[0] + u * dilations[0] - top
                    column = j * strides[1] + v * dilations[1] - left
                    total += pixel(n, g * per_group + c, row, column) * weight[o][c][u][v]
        return fit(total, 32, overflow=overflow)

    rows = places(top + height + bottom, kernel_height, strides[0], dilations[0])
    columns = places(left + width + right, kernel_width, strides[1], dilations[1])
    return build((images, outputs, rows, columns), element)


def places(length: int, kernel: int, stride: int, dilation: int) -> int:
    """How many steps keep the last tap of the kernel inside."""
    count = 0
    while count * stride + (kernel - 1) * dilation < length:
        count += 1
    return count
