"""TFLiteSoftmax on plain Python ints."""

from __future__ import annotations

from ivit_ref.oracle.fixed_point import divide_by_power_of_two, exp_on_negative_values, high_mul, one_over_one_plus_x
from ivit_ref.oracle.widths import saturate


def tflite_softmax(x: list[int], *, multiplier: int, left_shift: int, diff_min: int, dtype: str) -> list[int]:
    """The y of one row x. ValueError is C4."""
    bits = {"int8": 8, "int16": 16}[dtype]
    e = [exponential(value - max(x), multiplier, left_shift, diff_min) for value in x]
    s = sum(divide_by_power_of_two(one, 12) for one in e)
    if s >= (2**28 if dtype == "int8" else 2**31):
        raise ValueError(s)
    r = one_over_one_plus_x(s * 2 ** (32 - s.bit_length()) - 2**31)
    exponent = 11 + s.bit_length() - bits
    return [saturate(divide_by_power_of_two(high_mul(r, one), exponent) - 2 ** (bits - 1), dtype) for one in e]


def exponential(d: int, multiplier: int, left_shift: int, diff_min: int) -> int:
    """e of one difference."""
    return exp_on_negative_values(high_mul(d * 2**left_shift, multiplier)) if d >= diff_min else 0
