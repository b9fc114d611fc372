"""One tensor beside the golden one: what differs is counted and named exactly, and what is no such tensor is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ivit_ref.compare.difference import SHOWN_DIFFERENCES, Difference, difference, integers_of
from ivit_ref.errors import InputError
from ivit_ref.ir import Array
from tests.compare.building import record

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "int64")
LOW, HIGH = -(2**63), 2**63 - 1


def compared(dtype: str, got: Any, want: Any) -> Difference:
    """Both go the way that a backend's tensor goes."""
    golden = np.array(want, dtype)
    facts = record(dtype, *golden.shape)
    return difference(facts, integers_of(facts, np.array(got, dtype), "w"), golden)


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


# --- What differs


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_of_every_dtype(dtype: str) -> None:
    high = int(np.iinfo(dtype).max)
    found = compared(dtype, [[1, 2, 3], [4, 0, high]], [[1, 2, 4], [4, high, 0]])
    assert (found.verdict, found.total, found.differing, found.largest) == ("differs", 6, 3, high)
    assert found.histogram == ((-high, 1), (-1, 1), (high, 1))
    assert (found.others, found.index, found.got, found.want) == (0, (0, 2), 3, 4)


def test_truths() -> None:
    found = compared("bool", [True, False, True, True], [True, True, False, False])
    assert (found.differing, found.largest, found.histogram) == (3, 1, ((-1, 1), (1, 2)))
    assert (found.index, found.got, found.want) == ((1,), 0, 1)


def test_the_record_is_told_with_the_verdict() -> None:
    found = compared("int16", [1], [2])
    assert (found.name, found.node, found.op, found.dtype, found.shape) == ("t", "node", "Op", "int16", (1,))


@pytest.mark.parametrize("dtype", [*INTEGERS, "bool", "float32"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_equal_tensors_of_every_dtype_and_rank(dtype: str, shape: tuple[int, ...]) -> None:
    found = compared(dtype, np.ones(shape), np.ones(shape))
    assert found == Difference("t", "node", "Op", dtype, shape, "equal", int(np.prod(shape)))
    assert str(found) == "t: equal"


def test_a_tensor_that_was_not_given() -> None:
    found = difference(record("int8", 2, 3), None, np.zeros((2, 3), np.int8))
    assert (found.verdict, found.total, found.differing, str(found)) == ("not given", 6, 0, "t: not given")


@pytest.mark.parametrize("dtype", [*INTEGERS, "float32"])
def test_a_scalar_differs_at_the_empty_index(dtype: str) -> None:
    found = compared(dtype, 5, 2)
    assert (found.total, found.differing, found.largest, found.histogram) == (1, 1, 3, ((3, 1),))
    assert (found.index, found.got, found.want) == ((), 5, 2)


def test_one_element() -> None:
    found = compared("int8", [[[-128]]], [[[127]]])
    assert (found.total, found.differing, found.largest, found.histogram) == (1, 1, 255, ((-255, 1),))
    assert str(found) == "t: 1 of 1 differ, by at most 255; first at [0, 0, 0]: got -128, want 127"


def test_differences_beyond_64_bits() -> None:
    found = compared("int64", [HIGH, LOW, 0, LOW], [LOW, HIGH, 0, HIGH])
    assert (found.differing, found.largest, found.others) == (3, 2**64 - 1, 0)
    assert found.histogram == ((-(2**64) + 1, 2), (2**64 - 1, 1))
    assert (found.index, found.got, found.want) == ((0,), HIGH, LOW)


@pytest.mark.parametrize(("got", "want"), [(2**62, -(2**62)), (2**62 - 1, -(2**62) + 1), (LOW, 0), (0, LOW), (HIGH, -1)])
def test_differences_about_the_end_of_int64(got: int, want: int) -> None:
    found = compared("int64", [7, got], [7, want])
    assert (found.largest, found.histogram) == (abs(got - want), ((got - want, 1),))


def test_the_most_frequent_differences_are_shown_in_ascending_order_and_the_others_counted() -> None:
    got = [delta for delta in range(1, 21) for _ in range(delta)]  # difference k occurs k times, for k to 20
    found = compared("int32", got, [0] * len(got))
    assert SHOWN_DIFFERENCES == 12
    assert found.histogram == tuple((k, k) for k in range(9, 21))
    assert (found.others, found.differing, found.largest) == (sum(range(1, 9)), 210, 20)


def test_the_rare_difference_counts_as_the_largest() -> None:
    got = [k for k in range(1, 14) for _ in range(2)] + [-1000]
    found = compared("int32", got, [0] * len(got))
    assert (found.largest, found.others) == (1000, 3)
    assert -1000 not in dict(found.histogram)


def test_the_histogram_and_the_others_make_up_what_differs() -> None:
    state = np.random.Generator(np.random.PCG64(3))
    got, want = state.integers(-128, 128, (2, 400), np.int8)
    found = compared("int8", got, want)
    deltas = [int(a) - int(b) for a, b in zip(got, want, strict=True) if a != b]
    assert found.differing == len(deltas) == sum(count for _, count in found.histogram) + found.others
    assert all(deltas.count(delta) == count for delta, count in found.histogram)


def test_the_first_index_is_the_first_in_row_major_order_of_a_fortran_array() -> None:
    got = np.zeros((3, 4), np.int8, order="F")
    got[0, 3] = got[2, 0] = 1
    found = difference(record("int8", 3, 4), integers_of(record("int8", 3, 4), got, "w"), np.zeros((3, 4), np.int8))
    assert (found.index, found.differing) == ((0, 3), 2)


# --- Floats


def test_the_sign_of_zero_differs() -> None:
    found = compared("float32", [1.0, -0.0], [1.0, 0.0])
    assert (found.differing, found.largest, found.index) == (1, 0.0, (1,))
    assert str(found).endswith("first at [1]: got -0.0, want 0.0")


def test_the_same_nan_and_the_same_infinities_are_equal() -> None:
    values = [np.nan, np.inf, -np.inf, -0.0]
    assert compared("float32", values, values).verdict == "equal"


def test_nan_of_other_bits_differs() -> None:
    other = np.array([0x7FC00001], np.uint32).view(np.float32)
    assert compared("float32", other, [np.nan]).differing == 1


def test_floats_differ_by_their_values() -> None:
    found = compared("float32", [0.5, 2.0, 8.0], [0.25, 2.0, 9.0])
    assert (found.differing, found.largest, found.histogram) == (2, 1.0, ((-1.0, 1), (0.25, 1)))
    assert (found.index, found.got, found.want) == ((0,), 0.5, 0.25)


def test_infinity_is_the_largest_difference() -> None:
    found = compared("float32", [1.0, np.inf, -np.inf], [2.0, 2.0, 2.0])
    assert (found.largest, found.histogram) == (np.inf, ((-np.inf, 1), (-1.0, 1), (np.inf, 1)))


def test_equal_differences_that_are_no_number_are_counted_together() -> None:
    found = compared("float32", [np.nan] * 3, [1.0, 2.0, 3.0])
    assert [(str(delta), count) for delta, count in found.histogram] == [("nan", 3)]


def test_the_largest_difference_is_the_same_in_any_order() -> None:
    first = compared("float32", [np.nan, 5.0], [1.0, 1.0])
    second = compared("float32", [5.0, np.nan], [1.0, 1.0])
    assert str(first.largest) == str(second.largest)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_facts_are_json_that_every_reader_takes(value: float) -> None:
    facts = compared("float32", [1.0, value], [2.0, 2.0]).facts()
    assert json.loads(json.dumps(facts, allow_nan=False))["differing"] == 2


def test_facts_of_integers_are_exact() -> None:
    facts = json.loads(json.dumps(compared("int64", [[HIGH]], [[LOW]]).facts()))
    assert (facts["got"], facts["want"], facts["largest"], facts["index"]) == (HIGH, LOW, 2**64 - 1, [0, 0])
    assert facts["histogram"] == [[2**64 - 1, 1]]


def test_a_strided_and_a_fortran_array_of_floats_differ_where_they_differ() -> None:
    want = np.arange(12, dtype=np.float32).reshape(3, 4)
    wide = np.zeros((6, 8), np.float32)
    wide[::2, ::2] = want
    wide[4, 2] = -1
    for got in (wide[::2, ::2], np.asfortranarray(wide[::2, ::2])):
        found = difference(record("float32", 3, 4), integers_of(record("float32", 3, 4), got, "w"), want)
        assert (found.differing, found.index, found.got, found.want) == (1, (2, 1), -1.0, 9.0)


@pytest.mark.parametrize(("dtype", "value"), [("int8", 9), ("int64", 2**62), ("float32", 9)])
def test_a_matrix_is_compared_like_any_array(dtype: str, value: int) -> None:
    want = np.array([[1, 2], [3, 4]], dtype)
    got = want.copy()
    got[1, 1] = value
    facts = record(dtype, 2, 2)
    found = difference(facts, integers_of(facts, got.view(np.matrix), "w"), want)
    assert (found.differing, found.index, found.largest) == (1, (1, 1), value - 4)


def test_a_memory_map_is_compared_like_any_array(tmp_path: Any) -> None:
    np.save(tmp_path / "a.npy", np.array([1, 2], np.int8))
    got = integers_of(record("int8", 2), np.load(tmp_path / "a.npy", mmap_mode="r"), "w")
    assert difference(record("int8", 2), got, np.array([1, 3], np.int8)).index == (1,)


def test_a_mask_is_refused() -> None:
    with pytest.raises(InputError, match="w: tensor 't' must be a NumPy array without a mask, but found MaskedArray"):
        integers_of(record("int8", 2), np.ma.masked_array([1, 2], [0, 1], np.int8), "w")


# --- What can stand for integers


def taken(dtype: str, array: Any) -> list[int]:
    found = integers_of(record(dtype, *np.shape(array)), array, "w")
    assert found.dtype == np.int64
    numbers: list[int] = found.tolist()
    return numbers


def refusal(dtype: str, array: Any, *shape: int) -> str:
    with pytest.raises(InputError) as caught:
        integers_of(record(dtype, *(shape or np.shape(array))), array, "w")
    assert str(caught.value).startswith("w: tensor 't' must ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


SIGNED, UNSIGNED = ("int8", "int16", "int32", "int64"), ("uint8", "uint16", "uint32")
TAKES = {
    **dict.fromkeys(SIGNED, SIGNED),
    "uint8": (*UNSIGNED, "uint64", "int16", "int32", "int64"),
    "uint16": (*UNSIGNED, "uint64", "int32", "int64"),
    "bool": ("bool", *SIGNED, *UNSIGNED, "uint64"),
}
"""The same sign in another width, or a dtype that holds every value of the golden one."""


@pytest.mark.parametrize("found", ["bool", *SIGNED, *UNSIGNED, "uint64"])
@pytest.mark.parametrize("dtype", TAKES)
def test_every_pair_of_dtypes_is_taken_or_refused(dtype: str, found: str) -> None:
    array = np.array([0, 1, 1], found)
    if found in TAKES[dtype]:
        assert taken(dtype, array) == [0, 1, 1]
    else:
        assert refusal(dtype, array).endswith(f"but found {found}[3]")


@pytest.mark.parametrize("found", ["complex64", "U3", "S3", "O", "m8[s]", "M8[s]", "V4", "i1,i1"])
def test_what_is_no_number_is_refused(found: str) -> None:
    assert "must be int8[2]" in refusal("int8", np.zeros(2, found))
    assert "must be float32[2]" in refusal("float32", np.zeros(2, found))


@pytest.mark.parametrize("found", [[1, 2], 3, None, "12", memoryview(b"12"), np.int8(1)])
def test_what_is_no_array_is_refused(found: object) -> None:
    assert refusal("int8", found, 2).endswith(f"but found {type(found).__name__}")


@pytest.mark.parametrize(("found", "limit"), [("float16", 2**11), ("float32", 2**24), ("float64", 2**53)])
def test_floats_are_integers_up_to_where_they_count_in_ones(found: str, limit: int) -> None:
    for value in (limit, -limit, limit - 1, 1 - limit, 0, -0.0):
        assert taken("int64", np.array([value], found)) == [value]
    beyond = np.nextafter(np.array([[0, limit]], found), np.array(np.inf, found))
    for array in (beyond[:, 1:], -beyond[:, 1:]):
        assert f"of at most {limit} where they come as {found}, but at [0, 0] found {array[0, 0]}" in refusal("int64", array)


@pytest.mark.parametrize("bad", [0.5, -1e-7, 1.0000001, np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("found", ["float32", "float64", ">f4"])
def test_a_float_that_is_no_integer_is_named_with_its_place(found: str, bad: float) -> None:
    array = np.array([[1, 2], [bad, bad]], found)
    assert "must hold integers (int8)" in refusal("int8", array)
    assert refusal("int8", array).endswith(f"but at [1, 0] found {array[1, 0]}")
    assert refusal("int8", array[1:2, 0].reshape(())).endswith(f"but at [] found {array[1, 0]}")


def test_reals_are_float32_and_nothing_else() -> None:
    values = floats(0.5, np.nan)
    assert integers_of(record("float32", 2), values, "w") is values
    for found in ("float16", "float64", "int32", "bool"):
        assert refusal("float32", np.zeros(2, found)) == f"w: tensor 't' must be float32[2], but found {found}[2]"


@pytest.mark.parametrize("found", [">i2", ">i4", ">i8", ">f4", ">f8", "<i4"])
def test_integers_keep_their_values_in_any_byte_order(found: str) -> None:
    assert taken("int16", np.array([258, -2, 0], found)) == [258, -2, 0]


def test_values_beyond_the_dtype_are_kept_to_be_told() -> None:
    assert taken("int8", np.array([300, -(2**40)])) == [300, -(2**40)]


def test_a_shape_of_the_same_lengths_hints_at_the_transpose() -> None:
    message = refusal("int8", np.zeros((4, 2, 3), np.int8), 2, 3, 4)
    assert "must be int8[2,3,4] (the same lengths in another order: declare it with a map's transpose)" in message


@pytest.mark.parametrize("shape", [(6,), (2, 3, 1), (1, 2, 3)])
def test_as_many_elements_of_another_rank_are_refused_with_a_hint(shape: tuple[int, ...]) -> None:
    said = refusal("int8", np.zeros(shape, np.int8), 2, 3)
    assert said == f"w: tensor 't' must be int8[2,3] (as many elements: reshape it in the dump), but found int8{list(shape)}"


@pytest.mark.parametrize("shape", [(), (2, 4), (0, 3)])
def test_another_shape_is_refused_without_a_hint(shape: tuple[int, ...]) -> None:
    assert refusal("int8", np.zeros(shape, np.int8), 2, 3) == f"w: tensor 't' must be int8[2,3], but found int8{list(shape)}"
