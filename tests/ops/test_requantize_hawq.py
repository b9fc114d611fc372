"""HAWQ-V3's requantization is Requantize with half_even and the dyadic numbers of ``dyadic``, but for what its float64 rounds.

Zhen-Dong/HAWQ at 1616df6, utils/quantization_utils/quant_utils.py, ``fixedpoint_fn``, case 0.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref import dyadic
from ivit_ref.ops import requantize
from ivit_ref.testing.elements import between

RULE: dict[str, Any] = {"rounding": "half_even", "axis": 0, "zero_point": 0}


def batch_frexp(ratio: float) -> tuple[int, int]:
    """M and E, as the release has them: M may be 2**31."""
    mantissa, exponent = np.frexp(ratio)
    return int(Decimal(float(mantissa) * 2**31).quantize(Decimal("1"), rounding=ROUND_HALF_UP)), 31 - int(exponent)


def fixedpoint(z: npt.NDArray[np.int32], m: int, e: int, bits: int) -> npt.NDArray[np.float64]:
    """clamp(round(double(z) * M / 2**E)), half to even."""
    rounded = np.rint(z.astype(np.float64) * np.float64(m) / 2.0**e)
    return np.clip(rounded, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def ours(z: npt.NDArray[np.int32], ratio: float, dtype: str) -> npt.NDArray[Any]:
    multiplier, shift = dyadic.from_real(ratio)
    return requantize(z, multiplier=(multiplier,), shift=(shift,), dtype=dtype, **RULE)


def ratios() -> st.SearchStrategy[float]:
    """Quotients of float32 scales, powers of two, few bits, and what rounds up to a multiplier of 2**31."""
    usual = st.floats(2.0**-20, 0.5)
    short = st.builds(lambda odd, k: odd * 2.0**-k, st.integers(1, 15), st.integers(4, 20))
    return st.one_of(usual, short, st.integers(1, 20).map(lambda k: 2.0**-k * (1 - 2.0**-33)))


@given(ratios(), st.lists(between(-(2**21), 2**21), min_size=1, max_size=30))
def test_requantize_is_hawq_v3_while_products_are_below_2_to_the_53(ratio: float, values: list[int]) -> None:
    z = np.array(values, np.int32)
    m, e = batch_frexp(ratio)
    assert dyadic.to_fraction(*dyadic.from_real(ratio)) == dyadic.to_fraction(m, e)
    assert max(abs(v) for v in values) * m < 2**53
    for dtype, bits in (("int8", 8), ("int16", 16)):
        np.testing.assert_array_equal(ours(z, ratio, dtype), fixedpoint(z, m, e, bits))


@given(st.integers(1, 2**20), st.integers(2, 20), st.integers(-(2**10), 2**10))
def test_requantize_is_hawq_v3_on_ties(odd: int, k: int, n: int) -> None:
    """z * odd / 2**k is a tie for z = 2**(k - 1) * (2n + 1)."""
    odd = 2 * odd + 1
    z = np.array([2 ** (k - 1) * (2 * n + 1)], np.int64)
    z = np.clip(z, -(2**21), 2**21).astype(np.int32)
    ratio = math.ldexp(odd, -k - 12)
    np.testing.assert_array_equal(ours(z, ratio, "int16"), fixedpoint(z, *batch_frexp(ratio), 16))


@pytest.mark.parametrize(
    ("z", "m", "exact", "strayed"),
    [(942258804, 2131691872, 111, 112), (1307636613, 1687597147, 123, 122)],
)
def test_float64_strays_from_requantize_beside_a_tie_of_more_than_53_bits(z: int, m: int, exact: int, strayed: int) -> None:
    """z * m is 128 below, or 71 above, an odd multiple of 2**53: float64, whose step is 256 there, sees the tie."""
    x = np.array([z], np.int32)
    assert requantize(x, multiplier=(m,), shift=(54,), dtype="int8", **RULE).tolist() == [exact]
    assert fixedpoint(x, m, 54, 8).tolist() == [strayed]
    assert round(Fraction(z * m, 2**54)) == exact


def test_float64_does_not_stray_on_random_accumulators() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        ratio = float(2.0 ** rng.uniform(-24, -8))
        z = rng.integers(-(2**31), 2**31, 20_000).astype(np.int32)
        np.testing.assert_array_equal(ours(z, ratio, "int32"), fixedpoint(z, *batch_frexp(ratio), 32))
