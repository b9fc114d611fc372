"""Properties of MatMul, modulo 2**32: values may wrap."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from tests.properties.building import Array, result, run

lengths = st.tuples(*[st.integers(1, 4)] * 3)


def matrix(seed: int, *shape: int) -> Array:
    """Half the range of its dtype, so that the sum of two fits; large enough that products wrap."""
    return np.random.default_rng(seed).integers(-(2**30), 2**30, shape, "int32")


def narrow(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).integers(-(2**14), 2**14, shape, "int16")


@given(lengths=lengths, seed=st.integers(0, 2**32))
def test_matmul_p1_the_transposed_product(lengths: tuple[int, int, int], seed: int) -> None:
    i, k, j = lengths
    a, b = matrix(seed, i, k), narrow(seed + 1, k, j)
    assert np.array_equal(result("MatMul", b.T, a.T, alpha=1.0), result("MatMul", a, b, alpha=1.0).T)


@given(lengths=lengths, seed=st.integers(0, 2**32))
def test_matmul_p2_is_additive(lengths: tuple[int, int, int], seed: int) -> None:
    i, k, j = lengths
    a, b, c, d = matrix(seed, i, k), narrow(seed + 1, k, j), matrix(seed + 2, i, k), narrow(seed + 3, k, j)
    product = result("MatMul", a, b, alpha=1.0)
    first = result("MatMul", a + c, b, alpha=1.0) - product - result("MatMul", c, b, alpha=1.0)
    second = result("MatMul", a, b + d, alpha=1.0) - product - result("MatMul", a, d, alpha=1.0)
    assert not (first % 2**32).any()
    assert not (second % 2**32).any()


def test_matmul_p1_p2_wraps_on_the_way() -> None:
    assert run("MatMul", matrix(0, 3, 3), narrow(1, 3, 3), alpha=1.0)[1] == {"wrapped"}
