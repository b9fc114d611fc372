from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from ivit_ref.errors import ConstraintError
from ivit_ref.ops import lookup
from ivit_ref.testing.calls import CALLS
from tests.agreement import Array, Call, assert_agrees

INPUTS = pytest.mark.parametrize(("dtype", "low"), [("int8", -128), ("uint8", 0)])


def table(dtype: str = "int16") -> Array:
    """256 different integers, in no order, with the ends of the dtype among them."""
    places = np.arange(256) * 77 % 256
    bounds = np.iinfo(dtype)
    return (places + bounds.min if bounds.min else bounds.max - places.astype(dtype)).astype(dtype)


@given(call=CALLS["Lookup"])
def test_lookup_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("Lookup", call)


@INPUTS
@pytest.mark.parametrize("of", ["int8", "uint8", "int16", "uint16", "int32", "int64"])
def test_lookup_agrees_with_its_twin_on_every_x(dtype: str, low: int, of: str) -> None:
    x = np.arange(low, low + 256).astype(dtype).reshape(4, 64)
    assert_agrees("Lookup", ((x, table(of)), {"low": low}))
    np.testing.assert_array_equal(lookup(x, table(of), low=low), table(of).reshape(4, 64), strict=True)


@INPUTS
def test_lookup_of_a_single_element_is_its_entry(dtype: str, low: int) -> None:
    entries = np.arange(256) * 3 - 7
    for x, place in ((low, 0), (low + 1, 1), (low + 255, 255)):
        y = lookup(np.array([[x]], dtype), entries, low=low)
        np.testing.assert_array_equal(y, np.array([[3 * place - 7]]), strict=True)


def test_lookup_of_zero_is_in_the_middle_for_int8_and_first_for_uint8() -> None:
    assert lookup(np.zeros(1, "int8"), np.arange(256), low=-128).tolist() == [128]
    assert lookup(np.zeros(1, "uint8"), np.arange(256), low=0).tolist() == [0]


def test_lookup_leaves_its_table_alone() -> None:
    entries = table()
    y = lookup(np.zeros(3, "uint8"), entries, low=0)
    y[:] = 5
    np.testing.assert_array_equal(entries, table(), strict=True)


# --- Constraints


@pytest.mark.parametrize("dtype", ["bool", "int16", "uint16", "int32", "int64", "float32"])
def test_lookup_c1_x_is_int8_or_uint8(dtype: str) -> None:
    for low in (-128, 0):
        with pytest.raises(ConstraintError, match=r"Lookup \(C1\)"):
            lookup(np.zeros(2, dtype), table(), low=low)
    for accepted, low in (("int8", -128), ("uint8", 0)):
        np.testing.assert_array_equal(lookup(np.zeros(2, accepted), table(), low=low), np.repeat(table()[-low], 2), strict=True)


@pytest.mark.parametrize("shape", [(255,), (257,), (1, 256), (16, 16), (256, 1), ()])
def test_lookup_c2_the_table_has_one_axis_of_256(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConstraintError, match=r"Lookup \(C2\)"):
        lookup(np.zeros(2, "int8"), np.zeros(shape, "int8"), low=-128)
    np.testing.assert_array_equal(lookup(np.zeros(2, "int8"), np.ones(256, "int8"), low=-128), np.ones(2, "int8"), strict=True)


@pytest.mark.parametrize("dtype", ["bool", "float32"])
def test_lookup_c2_the_table_holds_integers(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=r"Lookup \(C2\)"):
        lookup(np.zeros(2, "int8"), np.zeros(256, dtype), low=-128)
    for accepted in ("int8", "uint8", "int16", "uint16", "int32", "int64"):
        assert lookup(np.zeros(2, "int8"), np.zeros(256, accepted), low=-128).dtype == accepted


@pytest.mark.parametrize(("dtype", "accepted", "refused"), [("int8", -128, 0), ("uint8", 0, -128)])
def test_lookup_c3_low_is_the_smallest_x(dtype: str, accepted: int, refused: int) -> None:
    with pytest.raises(ConstraintError, match=rf"Lookup \(C3\).* {refused}$"):
        lookup(np.zeros(1, dtype), table(), low=refused)
    assert lookup(np.zeros(1, dtype), table(), low=accepted).tolist() == [table()[-accepted]]


@pytest.mark.parametrize("low", [-127, 1, 128])
def test_lookup_refuses_any_other_low(low: Any) -> None:
    with pytest.raises(ConstraintError, match=rf"Lookup \(attributes\): low: must be one of -128, 0, but found {low}$"):
        lookup(np.zeros(1, "int8"), table(), low=low)


def test_lookup_refuses_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Lookup \(no empty axes\).*\[0\]"):
        lookup(np.zeros(0, "int8"), table(), low=-128)
    with pytest.raises(ConstraintError, match=r"Lookup \(no empty axes\).*\[0\]"):
        lookup(np.zeros(1, "int8"), np.zeros(0, "int8"), low=-128)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lookup_refuses_floats(dtype: str) -> None:
    with pytest.raises(ConstraintError, match=dtype):
        lookup(np.zeros(2, dtype), table(), low=-128)
    with pytest.raises(ConstraintError, match=dtype):
        lookup(np.zeros(2, "int8"), np.zeros(256, dtype), low=-128)
