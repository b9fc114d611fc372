from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import take
from ivit_ref.oracle.take import take as oracle
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

X = np.arange(6, dtype=np.int16).reshape(2, 3)
TYPES = [TensorType("int16", (2, 3))]


@settings(deadline=None)
@given(CALLS["Take"])
def test_take_equals_the_oracle(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), x.dtype)
    np.testing.assert_array_equal(take(x, **attributes), expected, strict=True)
    np.testing.assert_array_equal(take(x, **attributes, ctx=Context("wrap")), expected, strict=True)


def test_take_takes_places_in_any_order_and_again() -> None:
    y = take(X, axis=1, indices=(2, 0, 2, 1))
    np.testing.assert_array_equal(y, np.array([[2, 0, 2, 1], [5, 3, 5, 4]], np.int16), strict=True)
    np.testing.assert_array_equal(take(X, axis=0, indices=(1, 0)), np.array([[3, 4, 5], [0, 1, 2]], np.int16), strict=True)


def test_take_keeps_the_axis() -> None:
    np.testing.assert_array_equal(take(X, axis=0, indices=(1,)), np.array([[3, 4, 5]], np.int16), strict=True)
    np.testing.assert_array_equal(take(X, axis=1, indices=(0,)), np.array([[0], [3]], np.int16), strict=True)


def test_take_c1_takes_any_integers() -> None:
    for dtype in ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64"):
        y = take(np.ones((2, 1), dtype), axis=0, indices=(0,))
        np.testing.assert_array_equal(y, np.ones((1, 1), dtype), strict=True)
    with pytest.raises(ConstraintError, match=r"Take \(C1\): x must hold integers, but found float32"):
        take(X.astype(np.float32), axis=0, indices=(0,))


def test_take_c2_the_axis_is_a_place_in_the_shape() -> None:
    assert take(X, axis=1, indices=(0,)).shape == (2, 1)
    for axis in (-1, 2):
        with pytest.raises(ConstraintError, match=rf"Take \(C2\): axis must be a place of known length in .*found {axis}$"):
            take(X, axis=axis, indices=(0,))
    with pytest.raises(ConstraintError, match=r"Take \(C2\)"):
        take(np.array(1, np.int8), axis=0, indices=(0,))


def test_take_c2_the_length_is_known() -> None:
    named = [TensorType("int8", ("N", 3))]
    found = REGISTRY["Take"].result_type(named, {"axis": 1, "indices": (2, 0, 0, 1)})
    assert found == TensorType("int8", ("N", 4))
    with pytest.raises(ConstraintError, match=r"Take \(C2\)"):
        REGISTRY["Take"].result_type(named, {"axis": 0, "indices": (0,)})


def test_take_c3_there_is_an_index_and_every_one_is_within_the_length() -> None:
    np.testing.assert_array_equal(take(X, axis=1, indices=(0, 2)), np.array([[0, 2], [3, 5]], np.int16), strict=True)
    must = r"Take \(C3\): indices must be one or more places from 0 to {}, but found "
    for indices in ((), (-1,), (3,), (0, 3), (-1, 0), (1, 2, 3)):
        with pytest.raises(ConstraintError, match=must.format(2)):
            take(X, axis=1, indices=indices)
    with pytest.raises(ConstraintError, match=must.format(1)):
        take(X, axis=0, indices=(2,))


def test_take_c3_shows_the_first_indices_only() -> None:
    with pytest.raises(ConstraintError, match=r"but found \[0, (1, 0, )*1\]$") as caught:
        take(X, axis=0, indices=(0, 1) * 500 + (2,))
    assert len(str(caught.value)) < 200


def test_take_refuses_other_attributes_and_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Take \(attributes\): indices"):
        take(X, axis=0, indices=(0.0,))  # type: ignore[arg-type]
    with pytest.raises(ConstraintError, match=r"Take \(attributes\): axis"):
        take(X, axis=None, indices=(0,))  # type: ignore[arg-type]
    with pytest.raises(ConstraintError, match=r"Take \(no empty axes\)"):
        take(np.ones((2, 0), np.int8), axis=0, indices=(0,))


@pytest.mark.parametrize(
    ("before", "axis", "indices", "after"),
    [
        (Quant((0.5,)), 1, (2, 0), Quant((0.5,))),
        (Quant((0.5,), zero_point=3), 0, (0,), Quant((0.5,), zero_point=3)),
        (Quant((0.5, 0.25, 0.125), axis=1), 0, (1, 1), Quant((0.5, 0.25, 0.125), axis=1)),
        (
            Quant((0.5, 0.25, -0.125), zero_point=3, axis=1),
            1,
            (2, 0, 2, 1),
            Quant((-0.125, 0.5, -0.125, 0.25), zero_point=3, axis=1),
        ),
        (Quant((0.5, 0.25), axis=0), 0, (1,), Quant((0.25,), axis=0)),
        (None, 1, (2, 0), None),
    ],
)
def test_take_scales_go_with_their_elements(
    before: Quant | None, axis: int, indices: tuple[int, ...], after: Quant | None
) -> None:
    assert REGISTRY["Take"].result_quant([before], TYPES, {"axis": axis, "indices": indices}) == after
