from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings

from ivit_ref import GraphBuilder
from ivit_ref.errors import ConstraintError
from ivit_ref.events import Context, Event
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import reduce_mean
from ivit_ref.oracle.reduce_mean import reduce_mean as oracle
from ivit_ref.profiles import PROFILES, MeanRounding
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from ivit_ref.testing.elements import MEAN_ROUNDINGS, Call

X = np.array([[[1, 2, 3], [4, 5, 9]]], np.int8)
TYPES = [TensorType("int8", (1, 2, 3))]


@settings(deadline=None)
@given(CALLS["ReduceMean"])
def test_reduce_mean_equals_the_oracle_and_says_nothing(call: Call) -> None:
    (x,), attributes = call
    expected = np.array(oracle(x.tolist(), **attributes), x.dtype)
    np.testing.assert_array_equal(reduce_mean(x, **attributes), expected, strict=True)
    events: list[Event] = []
    y = reduce_mean(x, **attributes, ctx=Context("wrap", emit=events.append))
    np.testing.assert_array_equal(y, expected, strict=True)
    assert events == []


def test_reduce_mean_of_all_small_rows_equals_the_oracle() -> None:
    for length, rounding in product((1, 2, 3, 4), MEAN_ROUNDINGS):
        rows = np.array(list(product(range(-3, 4), repeat=length)), np.int8)
        expected = oracle(rows.tolist(), axes=(1,), rounding=rounding)
        assert reduce_mean(rows, axes=(1,), rounding=rounding).tolist() == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ((0,), [[[1, 2, 3], [4, 5, 9]]]),
        ((1,), [[[2, 4, 6]]]),
        ((2,), [[[2], [6]]]),
        ((1, 2), [[[4]]]),
        ((0, 2), [[[2], [6]]]),
        ((0, 1, 2), [[[4]]]),
    ],
)
def test_reduce_mean_keeps_the_axes(axes: tuple[int, ...], expected: list[list[list[int]]]) -> None:
    """2.5 and 3.5 are ties."""
    y = reduce_mean(X, axes=axes, rounding="half_even")
    np.testing.assert_array_equal(y, np.array(expected, np.int8), strict=True)


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("half_even", [-4, -2, -2, -1, 0, 0, 0, 1, 2, 2, 4]),
        ("half_away", [-4, -3, -2, -1, -1, 0, 1, 1, 2, 3, 4]),
        ("truncate", [-3, -2, -1, -1, 0, 0, 0, 1, 1, 2, 3]),
    ],
)
def test_reduce_mean_rounds_halves_and_quarters(rounding: MeanRounding, expected: list[int]) -> None:
    """-3.5, -2.5, -1.75, -1.25, -0.5, 0, 0.5, 1.25, 1.75, 2.5, 3.5."""
    sums = [-14, -10, -7, -5, -2, 0, 2, 5, 7, 10, 14]
    for dtype in ("int8", "int16", "int32"):
        x = np.array([[s, 1, -1, 0] for s in sums], dtype)
        y = reduce_mean(x, axes=(1,), rounding=rounding)
        np.testing.assert_array_equal(y, np.array(expected, dtype)[:, None], strict=True)


@pytest.mark.parametrize("rounding", MEAN_ROUNDINGS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_reduce_mean_of_the_ends_fits(dtype: str, rounding: MeanRounding) -> None:
    for end in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        x = np.full((2, 7), end, dtype)
        np.testing.assert_array_equal(reduce_mean(x, axes=(0, 1), rounding=rounding), x[:1, :1], strict=True)


def test_reduce_mean_of_the_most_elements_is_exact() -> None:
    """Half a step above -(2**31), and one part in 2**22 beyond."""
    x = np.full((2, 2**21), -(2**31), np.int32)
    x[1] += 1
    assert reduce_mean(x, axes=(0, 1), rounding="half_even").tolist() == [[-(2**31)]]
    x[0, 7] += 1
    assert reduce_mean(x, axes=(0, 1), rounding="half_even").tolist() == [[-(2**31) + 1]]


def test_reduce_mean_c1_takes_integers_up_to_int32() -> None:
    for dtype in ("int8", "uint8", "int16", "int32"):
        y = reduce_mean(X.astype(dtype), axes=(1,), rounding="half_even")
        np.testing.assert_array_equal(y, np.array([[[2, 4, 6]]], dtype), strict=True)
    for dtype in ("bool", "uint16", "int64", "float32"):
        with pytest.raises(ConstraintError, match=r"ReduceMean \(C1\): x must be int8 or uint8 or int16 or int32, but found "):
            reduce_mean(X.astype(dtype), axes=(1,), rounding="half_even")


@pytest.mark.parametrize("axes", [(), (3,), (-1,), (0, 3), (-1, 0), (1, 0), (1, 1), (0, 2, 1)])
def test_reduce_mean_c2_refuses_axes_that_are_not_ascending_places(axes: tuple[int, ...]) -> None:
    with pytest.raises(ConstraintError, match=r"ReduceMean \(C2\): axes must be ascending places of known lengths in "):
        reduce_mean(X, axes=axes, rounding="half_even")


def test_reduce_mean_c2_a_number_has_no_axes() -> None:
    for axes in ((), (0,)):
        with pytest.raises(ConstraintError, match=r"ReduceMean \(C2\)"):
            reduce_mean(np.array(1, np.int8), axes=axes, rounding="half_even")


def test_reduce_mean_c2_lengths_are_known() -> None:
    named = [TensorType("int8", ("N", 3, 4))]
    found = REGISTRY["ReduceMean"].result_type(named, {"axes": (1, 2), "rounding": "truncate"})
    assert found == TensorType("int8", ("N", 1, 1))
    for axes in ((0,), (0, 1), (0, 1, 2)):
        with pytest.raises(ConstraintError, match=r"ReduceMean \(C2\)"):
            REGISTRY["ReduceMean"].result_type(named, {"axes": axes, "rounding": "truncate"})


def test_reduce_mean_c2_adds_up_to_2_to_the_22_elements() -> None:
    most = TensorType("int32", ("N", 2**11, 3, 2**11))
    found = REGISTRY["ReduceMean"].result_type([most], {"axes": (1, 3), "rounding": "truncate"})
    assert found == TensorType("int32", ("N", 1, 3, 1))
    must = r"ReduceMean \(C2\): .*, at most 2\*\*22 elements together, but found \[1, 2\]"
    for longer in ((2**11, 2**11 + 1), (2**22 + 1, 1), (2, 2**22)):
        longest = TensorType("int32", ("N", *longer))
        with pytest.raises(ConstraintError, match=must):
            REGISTRY["ReduceMean"].result_type([longest], {"axes": (1, 2), "rounding": "truncate"})


def test_reduce_mean_refuses_other_attributes_and_empty_axes() -> None:
    for rule in ("floor", "half_up"):
        with pytest.raises(
            ConstraintError, match=r"ReduceMean \(attributes\): rounding: must be one of half_even, half_away, trunc"
        ):
            reduce_mean(X, axes=(1,), rounding=rule)  # type: ignore[arg-type]
    with pytest.raises(ConstraintError, match=r"ReduceMean \(attributes\): axes"):
        reduce_mean(X, axes=1, rounding="half_even")  # type: ignore[arg-type]
    with pytest.raises(ConstraintError, match=r"ReduceMean \(no empty axes\)"):
        reduce_mean(np.ones((0, 2), np.int8), axes=(1,), rounding="half_even")


@pytest.mark.parametrize(
    ("quant", "axes"),
    [
        (Quant((-0.5,)), (0, 1, 2)),
        (Quant((0.5, 0.25), axis=1), (0, 2)),
        (Quant((0.5, 0.25, -0.5), axis=2), (1,)),
        (None, (1,)),
    ],
)
def test_reduce_mean_scale_is_that_of_x(quant: Quant | None, axes: tuple[int, ...]) -> None:
    assert REGISTRY["ReduceMean"].result_quant([quant], TYPES, {"axes": axes, "rounding": "half_even"}) == quant


@pytest.mark.parametrize("rounding", MEAN_ROUNDINGS)
def test_reduce_mean_zero_points_are_refused(rounding: str) -> None:
    with pytest.raises(ConstraintError, match=r"ReduceMean \(scales\): the zero point of x must be 0, but found 3"):
        REGISTRY["ReduceMean"].result_quant([Quant((0.5,), zero_point=3)], TYPES, {"axes": (1,), "rounding": rounding})


@pytest.mark.parametrize("rounding", MEAN_ROUNDINGS)
def test_reduce_mean_moves_with_no_zero_point(rounding: MeanRounding) -> None:
    """Why zero points are refused: the mean of x less 1 is not the mean of x, less 1."""
    x = np.array([[0, 1], [1, 2]], np.int8)
    means, moved = (reduce_mean(y, axes=(1,), rounding=rounding) for y in (x, x - np.int8(1)))
    assert (means - 1).tolist() != moved.tolist()


@pytest.mark.parametrize("axes", [(1,), (0, 1), (1, 2)])
def test_reduce_mean_scales_along_an_axis_of_the_mean_are_refused(axes: tuple[int, ...]) -> None:
    quants = [Quant((0.5, 0.5), axis=1)]
    with pytest.raises(ConstraintError, match=r"ReduceMean \(scales\): the scales must not go along the axes"):
        REGISTRY["ReduceMean"].result_quant(quants, TYPES, {"axes": axes, "rounding": "half_even"})


MEANS = {"qat": "half_even", "ideal": "half_even", "paper": "half_even", "tvm": "truncate"}


@pytest.mark.parametrize("name", PROFILES)
def test_reduce_mean_rounds_as_the_profile_says(name: str) -> None:
    """As the mean of ``ILayerNorm`` does: see docs/numerics.md."""
    b = GraphBuilder("pool", name)
    x = b.input("x", "int8", ("N", 3, 2), Quant((0.5,)))
    graph = b.finish([b.node("ReduceMean", x, name="mean", axes=(1,))])
    assert dict(graph.nodes[0].attributes) == {"axes": (1,), "rounding": MEANS[name]}
    for other, rounding in MEANS.items():
        node = graph.with_profile(other).nodes[0]
        assert (dict(node.attributes), node.output) == ({"axes": (1,), "rounding": rounding}, graph.nodes[0].output)
