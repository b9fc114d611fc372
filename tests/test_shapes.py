"""Shapes with names, against NumPy where there are none, and against themselves with the names bound."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref.ir import Dim, Shape
from ivit_ref.shapes import broadcast, broadcasts_to, reshaped

LENGTHS = st.sampled_from([1, 2, 3, 4, 6])
PLAIN = st.lists(LENGTHS, max_size=4).map(tuple)
NAMED = st.lists(st.one_of(LENGTHS, st.sampled_from(["N", "M"])), max_size=4).map(tuple)
TARGETS = st.lists(st.sampled_from([-1, 0, 0, 1, 2, 3, 4, 6, 12]), max_size=4).map(tuple)


def bound(shape: Shape, lengths: dict[str, int]) -> tuple[int, ...]:
    return tuple(lengths[d] if isinstance(d, str) else d for d in shape)


def numpy_broadcast(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(first, second)
    except ValueError:
        return None


def numpy_reshaped(shape: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...] | None:
    """By NumPy, with ONNX's meaning of 0 put in first."""
    if any(d == 0 and i >= len(shape) for i, d in enumerate(target)):
        return None
    lengths = [shape[i] if d == 0 else d for i, d in enumerate(target)]
    try:
        return np.zeros(shape, np.int8).reshape(lengths).shape
    except ValueError:
        return None


# --- Broadcasting


@given(PLAIN, PLAIN)
def test_broadcast_is_numpys(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    assert broadcast(first, second) == numpy_broadcast(first, second)


@given(NAMED, NAMED)
def test_broadcast_is_commutative(first: Shape, second: Shape) -> None:
    assert broadcast(first, second) == broadcast(second, first)


@given(NAMED, NAMED, LENGTHS, LENGTHS)
def test_broadcast_of_names_holds_for_every_length(first: Shape, second: Shape, n: int, m: int) -> None:
    shape, lengths = broadcast(first, second), {"N": n, "M": m}
    assert shape is None or numpy_broadcast(bound(first, lengths), bound(second, lengths)) == bound(shape, lengths)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("N", 3), ("N", 3), ("N", 3)),
        (("N", 3), (1, 3), ("N", 3)),
        (("N", 3), (3,), ("N", 3)),
        (("N", 1), ("M",), ("N", "M")),
        (("N", 3), ("M", 3), None),
        (("N", 3), (2, 3), None),
        ((), ("N",), ("N",)),
        ((), (), ()),
    ],
)
def test_broadcast_of_names(first: Shape, second: Shape, expected: Shape | None) -> None:
    assert broadcast(first, second) == expected


@given(PLAIN, PLAIN)
def test_broadcasts_to_is_numpys(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    assert broadcasts_to(shape, target) == (numpy_broadcast(shape, target) == target)


@given(NAMED, NAMED)
def test_broadcasts_to_is_broadcast_that_changes_nothing(shape: Shape, target: Shape) -> None:
    assert broadcasts_to(shape, target) == (broadcast(shape, target) == target)


@pytest.mark.parametrize(
    ("shape", "target", "expected"),
    [
        (("N", 3), ("N", 3), True),
        ((1, 3), ("N", 3), True),
        ((3,), ("N", 3), True),
        ((), ("N",), True),
        (("N", 3), ("M", 3), False),
        (("N", 3), (2, 3), False),
        ((2, 3), ("N", 3), False),
        (("N", 3), (3,), False),
        (("N",), (1,), False),
    ],
)
def test_broadcasts_to_of_names(shape: Shape, target: Shape, expected: bool) -> None:
    assert broadcasts_to(shape, target) is expected


# --- Reshape


@given(PLAIN, TARGETS)
def test_reshaped_is_numpys(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    assert reshaped(shape, target) == numpy_reshaped(shape, target)


@given(PLAIN, st.data())
def test_reshaped_takes_what_is_left(shape: tuple[int, ...], data: st.DataObject) -> None:
    lengths = data.draw(st.permutations(shape))
    place = data.draw(st.integers(0, len(lengths)))
    assert reshaped(shape, (*lengths[:place], -1, *lengths[place:])) == (*lengths[:place], 1, *lengths[place:])
    for i in range(len(lengths)):
        assert reshaped(shape, (*lengths[:i], -1, *lengths[i + 1 :])) == tuple(lengths)


@given(NAMED, TARGETS, LENGTHS, LENGTHS)
def test_reshaped_with_names_holds_for_every_length(shape: Shape, target: tuple[int, ...], n: int, m: int) -> None:
    result, lengths = reshaped(shape, target), {"N": n, "M": m}
    assert result is None or numpy_reshaped(bound(shape, lengths), target) == bound(result, lengths)


@given(st.lists(st.sampled_from([1, 2, 3, 4, 6, "N", "M"]), max_size=3).map(tuple), TARGETS)
def test_reshaped_keeps_names_wherever_their_lengths_stay_whole(shape: Shape, target: tuple[int, ...]) -> None:
    """For N and M two primes beyond every product of the other lengths, NumPy shows where they end up."""
    lengths = {"N": 223, "M": 227}
    plain = numpy_reshaped(bound(shape, lengths), target)
    names: dict[int, Dim] = {length: name for name, length in lengths.items()}
    expected = None if plain is None else tuple(names.get(d, d) for d in plain)
    if expected is not None and any(isinstance(d, int) and d > 6**3 for d in expected):
        expected = None
    assert reshaped(shape, target) == expected


@pytest.mark.parametrize(
    ("shape", "target", "expected"),
    [
        (("N", 12), (0, 3, 4), ("N", 3, 4)),
        (("N", 3, 4), (0, -1), ("N", 12)),
        (("N", 3, 4), (-1, 12), ("N", 12)),
        (("N", 3, 4), (12, -1), (12, "N")),
        (("N", 3, 4), (-1, 3, 4), ("N", 3, 4)),
        (("N", 3, 4), (0, 0, -1, 2), ("N", 3, 2, 2)),
        (("N", 3, 4), (0, 12, -1), ("N", 12, 1)),
        (("N",), (0, 1), ("N", 1)),
        (("N", "M"), (0, -1), ("N", "M")),
        (("N", "N"), (0, -1), ("N", "N")),
        (("N", "M"), (-1, 0), ("N", "M")),
        (("N", 3, 4), (-1, 6), None),
        (("N", 3, 4), (-1,), None),
        (("N", 3, 4), (12,), None),
        (("N", 3, 4), (0, 13), None),
        (("N", 3, 4), (0, -1, -1), None),
        (("N", "M"), (-1,), None),
        (("N", "M", 3), (-1, 3), None),
        (("N", 4), (0, 4, 0), None),
        (("N", 4), (0, 4, -2), None),
        (("N", 4), (0, -2, -2), None),
        ((4,), (-2, -2), None),
        ((3, "N"), (0, 0, 2), None),
        ((), (), ()),
        ((), (1, 1), (1, 1)),
        ((1,), (), ()),
        ((2,), (), None),
        (("N",), (), None),
    ],
)
def test_reshaped_by_hand(shape: Shape, target: tuple[int, ...], expected: Shape | None) -> None:
    assert reshaped(shape, target) == expected


@given(NAMED)
def test_reshaped_with_zeros_is_the_same_shape(shape: Shape) -> None:
    assert reshaped(shape, (0,) * len(shape)) == shape


@given(NAMED)
def test_reshaped_keeps_what_is_known(shape: Shape) -> None:
    target = (*(0 for _ in shape), -1)
    assert reshaped(shape, target) == (*shape, 1)
    assert prod(d for d in shape if isinstance(d, int)) >= 1
