"""Properties of Quantize."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ivit_ref.events import Context
from ivit_ref.registry import REGISTRY
from tests.properties.building import Array, ends, result

every_division = pytest.mark.parametrize("division", ["reciprocal", "direct"])
steps = st.one_of(st.floats(2.0**-126, 2.0**89, width=32), st.floats(2.0**-12, 1.0, width=32), st.just(2.0**-126))
reals = st.floats(allow_nan=False, allow_infinity=False, width=32)


@every_division
@given(x=st.lists(st.one_of(reals, st.floats(-300, 300, width=32)), min_size=2), scale=steps)
def test_quantize_p1_does_not_decrease(division: str, x: list[float], scale: float) -> None:
    y = result("Quantize", np.array(sorted(x), "float32"), scale=scale, zero_point=0, dtype="int16", division=division)
    assert (np.diff(y) >= 0).all()


def there_and_back(dtype: str, **a: Any) -> tuple[Array, Array]:
    low, high = ends(dtype)
    codes = np.arange(low, high + 1).astype(dtype)
    real = REGISTRY["Dequantize"].run((codes,), {"scale": (a["scale"],), "axis": 0, "zero_point": a["zero_point"]}, Context())
    return codes, REGISTRY["Quantize"].run((real,), {**a, "dtype": dtype}, Context())


@every_division
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
@given(scale=steps, data=st.data())
def test_quantize_p2_every_code_comes_back(dtype: str, division: str, scale: float, data: st.DataObject) -> None:
    zero_point = data.draw(st.sampled_from([0, *ends(dtype)]))
    first, again = there_and_back(dtype, scale=scale, zero_point=zero_point, division=division)
    np.testing.assert_array_equal(first, again, strict=True)
