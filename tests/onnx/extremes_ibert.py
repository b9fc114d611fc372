"""Calls at the ends of everything, of the operators of I-BERT and FQ-ViT, for ``test_bodies``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from ivit_ref.testing.calls_ibert import following
from ivit_ref.testing.elements import Call


def rows(dtype: str) -> list[list[int]]:
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    return [
        [low, high] * 4,
        [low] * 8,
        [high] * 8,
        [high] + [low] * 7,
        [0] * 7 + [1],
        [low, low + 1, 0, 1, 2, 3, high - 1, high],
    ]


def exponentials() -> Iterator[dict[str, int]]:
    """The units at the limits of their constraints; with the last, z falls below 0."""
    for x0, b, c in ((-1, 0, 1), (-1, 2**16, 2**30), (-(2**16) - 1, 2**16, 2**30), (-14, 54, 1116), (-200, 600, 50)):
        for n in (0, 30, 62):
            yield {"x0": x0, "b": b, "c": c, "n": n}


def i_bert_softmax_extremes() -> Iterator[Call]:
    results = ((1, "int8"), (8, "uint8"), (16, "uint16"), (16, "int32"))
    for unit, dtype, (out_bits, result) in product(exponentials(), ("int8", "int32"), results):
        for multiplier, shift in ((2**31 - 1, 0), (1, unit["c"].bit_length() - 1), (2**31 - 1, 30), (2**14, 14)):
            yield (
                (np.array(rows(dtype), dtype),),
                {
                    **unit,
                    "multiplier": multiplier,
                    "shift": shift,
                    "out_bits": out_bits,
                    "dtype": result,
                },
            )
    for scale in (1.0, 0.0625, 2.0**-14):
        yield (np.array(rows("int16"), "int16"),), following("IBertSoftmax", scale, n=30, out_bits=8, dtype="uint8")


def log_int_softmax_extremes() -> Iterator[Call]:
    for unit, dtype, bits in product(exponentials(), ("int8", "int32"), (1, 4)):
        n = min(unit["n"], 59 - unit["c"].bit_length())
        yield (np.array(rows(dtype), dtype),), {**unit, "n": n, "bits": bits}
    for scale in (1.0, 0.0625):
        yield (np.array(rows("int16"), "int16"),), following("LogIntSoftmax", scale, n=30, bits=4)


def i_bert_gelu_extremes() -> Iterator[Call]:
    for shift, dtype in product((0, 14, 30), ("int8", "int16", "int32")):
        x = np.array(rows(dtype), dtype)
        for b, c, one in product((-1, -(2**15), -(2 ** (15 + shift // 2))), (-1, -(2 ** (30 + shift))), (-1, -(2**30))):
            yield (x,), {"b": b, "c": c, "one": one, "shift": shift}
        yield (x,), following("IBertGELU", 2.0**-8, shift=min(shift, 14))


def i_bert_layer_norm_extremes() -> Iterator[Call]:
    for dtype, shift in product(("int8", "uint8", "int16", "int32"), (0, 1, 16, 31)):
        for bias in (0, -(2**31), 2**31 - 1):
            yield (np.array(rows(dtype), dtype), np.full(8, bias, np.int32)), {"shift": shift}


def shift_mat_mul_extremes() -> Iterator[Call]:
    for bits, dtype in product((1, 2, 3, 4), ("int8", "uint8", "int16")):
        codes = np.array([[0] * 6, [2**bits] * 6, [0, 1, 2**bits - 1, 2**bits, 2, 0]], np.uint8)
        yield (codes, np.array(rows(dtype), dtype).reshape(6, 8)), {"bits": bits, "alpha": 1.0}


EXTREMES: dict[str, Callable[[], Iterator[Call]]] = {
    "IBertSoftmax": i_bert_softmax_extremes,
    "IBertGELU": i_bert_gelu_extremes,
    "IBertLayerNorm": i_bert_layer_norm_extremes,
    "LogIntSoftmax": log_int_softmax_extremes,
    "ShiftMatMul": shift_mat_mul_extremes,
}

WRAPPING: dict[str, set[str]] = {
    "IBertGELU": {"x * (y + one)"},
    "IBertLayerNorm": {"x - mean", "square", "sum of squares", "o + bias"},
    "ShiftMatMul": {"accumulator"},
}
"""Every step at which an operator's text says "or wraps"."""
