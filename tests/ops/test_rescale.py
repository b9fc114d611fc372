from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref.errors import ConstraintError, ScaleError
from ivit_ref.events import Context
from ivit_ref.ir import LARGEST_FLOAT32, Quant, TensorType
from ivit_ref.ops import rescale
from ivit_ref.oracle.rescale import rescale as oracle
from ivit_ref.oracle.rounding import float32
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import Call

X = np.array([[1, -2, 3], [4, 5, -6]], np.int16)
TYPES = [TensorType("int16", (2, 3))]


@settings(deadline=None)
@given(CALLS["Rescale"])
def test_rescale_equals_the_oracle(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), x.dtype)
    np.testing.assert_array_equal(rescale(x, **attributes), expected, strict=True)
    np.testing.assert_array_equal(rescale(x, **attributes, ctx=Context("wrap")), expected, strict=True)


def test_rescale_leaves_the_integers_alone() -> None:
    np.testing.assert_array_equal(rescale(X, alpha=(0.125,), axis=0), X, strict=True)
    np.testing.assert_array_equal(rescale(X, alpha=(-1.0, 2.0, 0.5), axis=1), X, strict=True)


def test_rescale_c1_takes_any_integers() -> None:
    for dtype in ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64"):
        x = np.ones((2, 1), dtype)
        np.testing.assert_array_equal(rescale(x, alpha=(0.5,), axis=0), x, strict=True)
    with pytest.raises(ConstraintError, match=r"Rescale \(C1\): x must hold integers, but found float32"):
        rescale(X.astype(np.float32), alpha=(0.5,), axis=0)


def test_rescale_c2_alpha_is_a_finite_float32_other_than_zero() -> None:
    for alpha in (1.0, -1.0, 2.0**-149, -(2.0**-149), LARGEST_FLOAT32, -LARGEST_FLOAT32, float32(Fraction(1, 10))):
        np.testing.assert_array_equal(rescale(X, alpha=(alpha,), axis=0), X, strict=True)
    for alpha in (0.0, -0.0, 0.1, math.nan, math.inf, -math.inf, 2.0**-150, 2.0**128, math.nextafter(LARGEST_FLOAT32, 0)):
        must = r"Rescale \(C2\): every alpha must be a finite float32 other than zero, but found "
        for alphas, axis in (((alpha,), 0), ((alpha, 1.0), 0), ((1.0, 1.0, alpha), 1)):
            with pytest.raises(ConstraintError, match=must):
                rescale(X, alpha=alphas, axis=axis)


@pytest.mark.parametrize(
    ("alpha", "axis"), [((0.5,), 0), ((0.5,), 1), ((0.5, 0.25), 0), ((0.5, 0.25, 0.125), 1), ((0.5, 0.5, 0.5), 1)]
)
def test_rescale_c3_takes_one_alpha_or_one_for_each_index(alpha: tuple[float, ...], axis: int) -> None:
    np.testing.assert_array_equal(rescale(X, alpha=alpha, axis=axis), X, strict=True)


@pytest.mark.parametrize(
    ("alpha", "axis"),
    [
        ((), 0),
        ((), 1),
        ((0.5, 0.5), 1),
        ((0.5,) * 3, 0),
        ((0.5,) * 4, 1),
        ((0.5,), 2),
        ((0.5,), -1),
        ((0.5,) * 3, -1),
        ((0.5,) * 2, 2),
    ],
)
def test_rescale_c3_refuses_other_counts_and_axes(alpha: tuple[float, ...], axis: int) -> None:
    must = rf"Rescale \(C3\): there must be one alpha, or one for each index of axis {axis} of .*but found {len(alpha)}$"
    with pytest.raises(ConstraintError, match=must):
        rescale(X, alpha=alpha, axis=axis)


def test_rescale_c3_a_number_has_one_alpha_at_axis_0() -> None:
    np.testing.assert_array_equal(rescale(np.array(7, np.int8), alpha=(0.5,), axis=0), np.array(7, np.int8), strict=True)
    for alpha, axis in (((0.5,), 1), ((0.5, 0.5), 0), ((), 0)):
        with pytest.raises(ConstraintError, match=r"Rescale \(C3\)"):
            rescale(np.array(7, np.int8), alpha=alpha, axis=axis)


def test_rescale_c3_a_named_axis_has_one_alpha() -> None:
    named = [TensorType("int8", ("N", 2))]
    assert REGISTRY["Rescale"].result_type(named, {"alpha": (0.5,), "axis": 0}) == named[0]
    assert REGISTRY["Rescale"].result_type(named, {"alpha": (0.5, 0.25), "axis": 1}) == named[0]
    with pytest.raises(ConstraintError, match=r"Rescale \(C3\)"):
        REGISTRY["Rescale"].result_type(named, {"alpha": (0.5, 0.25), "axis": 0})


def test_rescale_refuses_other_attributes_and_empty_axes() -> None:
    with pytest.raises(ConstraintError, match=r"Rescale \(attributes\): alpha"):
        rescale(X, alpha=(1,), axis=0)
    with pytest.raises(ConstraintError, match=r"Rescale \(attributes\): axis"):
        rescale(X, alpha=(1.0,), axis=None)  # type: ignore[arg-type]
    with pytest.raises(ConstraintError, match=r"Rescale \(no empty axes\)"):
        rescale(np.ones((2, 0), np.int8), alpha=(1.0,), axis=0)


TENTH = float32(Fraction(1, 10))
THIRD = float32(Fraction(1, 3))


@pytest.mark.parametrize(
    ("x", "alpha", "axis", "expected"),
    [
        (Quant((0.5,)), (-0.25,), 0, Quant((-0.125,))),
        (Quant((0.5,)), (0.25,), 1, Quant((0.125,))),
        (Quant((0.5,), zero_point=7), (0.25,), 0, Quant((0.125,), zero_point=7)),
        (Quant((TENTH,)), (THIRD,), 0, Quant((float32(Fraction(TENTH) * Fraction(THIRD)),))),
        (Quant((0.5,), zero_point=7), (0.5, -2.0), 0, Quant((0.25, -1.0), zero_point=7, axis=0)),
        (Quant((0.5,)), (0.5, 2.0, 4.0), 1, Quant((0.25, 1.0, 2.0), axis=1)),
        (Quant((0.5, 0.25), axis=0), (0.5,), 0, Quant((0.25, 0.125), axis=0)),
        (Quant((0.5, 0.25, -0.5), axis=1), (0.5,), 0, Quant((0.25, 0.125, -0.25), axis=1)),
        (Quant((0.5, 0.25, -0.5), axis=1), (2.0, 4.0, 8.0), 1, Quant((1.0, 1.0, -4.0), axis=1)),
        (None, (0.5,), 0, None),
    ],
)
def test_rescale_scale_is_multiplied(x: Quant | None, alpha: tuple[float, ...], axis: int, expected: Quant | None) -> None:
    assert REGISTRY["Rescale"].result_quant([x], TYPES, {"alpha": alpha, "axis": axis}) == expected


def test_rescale_scales_along_another_axis_are_refused() -> None:
    must = r"Rescale \(scales\): the scales of x must go along axis 0, but found "
    with pytest.raises(ConstraintError, match=must):
        REGISTRY["Rescale"].result_quant([Quant((0.5,) * 3, axis=1)], TYPES, {"alpha": (0.5, 0.25), "axis": 0})


@pytest.mark.parametrize(("scale", "alpha"), [(2.0**-100, 2.0**-100), (2.0**100, -(2.0**100))])
def test_rescale_products_beyond_float32_are_refused(scale: float, alpha: float) -> None:
    with pytest.raises(ScaleError, match="product: scales must have a product within float32"):
        REGISTRY["Rescale"].result_quant([Quant((scale,))], TYPES, {"alpha": (alpha,), "axis": 0})
