from __future__ import annotations

import ast
import inspect
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import ivit_ref.ops
from ivit_ref import integers
from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.integers import BOUNDS, ROUNDINGS, Rounding
from ivit_ref.oracle.rounding import float32, rounded
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.elements import anywhere

DTYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")
LOWEST, HIGHEST = -(2**63), 2**63 - 1


def wide(*values: int) -> integers.Wide:
    return np.array(values, np.int64)


def ints(low: int = LOWEST, high: int = HIGHEST) -> st.SearchStrategy[int]:
    """Any, with the ends, what is next to powers of two and what is next to zero more often."""
    powers = st.builds(lambda sign, k, d: sign * 2**k + d, st.sampled_from([-1, 1]), st.integers(0, 63), st.integers(-1, 1))
    special = powers.filter(lambda n: low <= n <= high)
    return special | st.sampled_from([low, high]) | anywhere(low, high)


def lists(elements: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    return st.lists(elements, min_size=1, max_size=6)


def test_bounds_are_those_of_numpy() -> None:
    assert tuple(BOUNDS) == DTYPES
    assert BOUNDS["bool"] == (0, 1)
    for dtype in DTYPES[1:]:
        info = np.iinfo(dtype)
        assert BOUNDS[dtype] == (info.min, info.max)


def test_roundings_are_five() -> None:
    assert ROUNDINGS == ("floor", "truncate", "half_up", "half_away", "half_even")


@settings(deadline=None)
@given(st.data(), st.sampled_from(DTYPES))
def test_widen_keeps_every_integer(data: st.DataObject, dtype: str) -> None:
    values = data.draw(lists(ints(*BOUNDS[dtype])))
    x = np.array(values, dtype).reshape(1, -1)
    np.testing.assert_array_equal(integers.widen(x), np.array([values], np.int64), strict=True)
    assert x.dtype.name == dtype


def test_widen_takes_python_integers() -> None:
    np.testing.assert_array_equal(integers.widen([True, False]), wide(1, 0), strict=True)
    np.testing.assert_array_equal(integers.widen(-3), np.array(-3, np.int64), strict=True)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "uint64", "object", "timedelta64[s]", "U1"])
def test_widen_refuses_whatever_is_not_an_integer_of_int64(dtype: str) -> None:
    with pytest.raises(ConstraintError, match="widen: the array must hold integers"):
        integers.widen(np.array([1, 0]).astype(dtype))


@given(lists(st.integers(-(2**24), 2**24)))
def test_from_float_takes_integers_out_of_floats(values: list[int]) -> None:
    x = np.array(values, np.float32)
    np.testing.assert_array_equal(integers.from_float(x), np.array(values, np.int64), strict=True)


@settings(deadline=None)
@given(lists(ints()))
def test_to_float32_gives_the_nearest(values: list[int]) -> None:
    expected = np.array([float32(Fraction(v)) for v in values], np.float32)
    np.testing.assert_array_equal(integers.to_float32(wide(*values)), expected, strict=True)


def near(dtype: str) -> st.SearchStrategy[int]:
    """Values on both sides of the bounds of a dtype."""
    low, high = BOUNDS[dtype]
    around = st.builds(lambda end, d: end + d, st.sampled_from([low, high]), st.integers(-2, 2))
    return around.filter(lambda n: LOWEST <= n <= HIGHEST) | ints(low, high) | ints()


@settings(deadline=None)
@given(st.data(), st.sampled_from(DTYPES))
def test_narrow_keeps_what_fits_and_names_the_first_that_does_not(data: st.DataObject, dtype: str) -> None:
    values = data.draw(lists(near(dtype)))
    low, high = BOUNDS[dtype]
    wrong = [i for i, v in enumerate(values) if not low <= v <= high]
    x = wide(*values).reshape(-1, 1)
    if not wrong:
        np.testing.assert_array_equal(integers.narrow(x, dtype), np.array([[v] for v in values], dtype), strict=True)
        assert integers.outside(x, dtype) is None
        return
    with pytest.raises(IntegerOverflow) as caught:
        integers.narrow(x, dtype, "the step")
    error = caught.value
    assert (error.step, error.dtype, error.count, error.total) == ("the step", dtype, len(wrong), len(values))
    assert (error.index, error.value) == ((wrong[0], 0), values[wrong[0]])
    mask = integers.outside(x, dtype)
    assert mask is not None
    assert mask.tolist() == [[i in wrong] for i in range(len(values))]


@pytest.mark.parametrize("dtype", DTYPES[:-1])
def test_narrow_at_the_limits(dtype: str) -> None:
    low, high = BOUNDS[dtype]
    assert integers.narrow(wide(low, high), dtype).tolist() == [low, high]
    for value in (low - 1, high + 1):
        with pytest.raises(IntegerOverflow, match=f"narrow: 1 of 3 elements do not fit {dtype}; first at .*: {value}"):
            integers.narrow(wide(low, value, high), dtype)


def test_nothing_is_outside_of_an_empty_array() -> None:
    assert integers.outside(wide(), "int8") is None


@settings(deadline=None)
@given(st.data(), st.sampled_from(DTYPES[1:]))
def test_wrap_reads_the_low_bytes(data: st.DataObject, dtype: str) -> None:
    values = data.draw(lists(near(dtype)))
    count = np.dtype(dtype).itemsize
    signed = dtype.startswith("i")
    low_bytes = [v.to_bytes(8, "little", signed=True)[:count] for v in values]
    expected = [int.from_bytes(b, "little", signed=signed) for b in low_bytes]
    np.testing.assert_array_equal(integers.wrap(wide(*values), dtype), wide(*expected), strict=True)


@given(lists(ints()))
def test_wrap_to_bool_reads_the_low_bit(values: list[int]) -> None:
    np.testing.assert_array_equal(integers.wrap(wide(*values), "bool"), wide(*(v % 2 for v in values)), strict=True)


@given(lists(ints()), ints(), ints())
def test_saturate_holds_within_two_bounds(values: list[int], one: int, other: int) -> None:
    low, high = sorted((one, other))
    expected = [sorted((low, v, high))[1] for v in values]
    np.testing.assert_array_equal(integers.saturate(wide(*values), low, high), wide(*expected), strict=True)


@given(st.integers(1, 3), st.integers(1, 3), st.data())
def test_first_where_counts_and_finds_the_first_in_reading_order(rows: int, columns: int, data: st.DataObject) -> None:
    flat = data.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    assume(any(flat))
    x = np.arange(10, 10 + rows * columns, dtype=np.int64).reshape(rows, columns)
    first = flat.index(True)
    found = integers.first_where(np.array(flat).reshape(rows, columns), x)
    assert found == (sum(flat), divmod(first, columns), 10 + first)


def test_first_where_without_axes() -> None:
    assert integers.first_where(np.array(True), np.array(7, np.int64)) == (1, (), 7)


@settings(deadline=None)
@given(st.data(), st.sampled_from(DTYPES[1:]))
def test_peak_is_the_largest_magnitude(data: st.DataObject, dtype: str) -> None:
    values = data.draw(lists(ints(*BOUNDS[dtype])))
    assert integers.peak(np.array(values, dtype)) == max(map(abs, values))


@settings(deadline=None)
@given(st.lists(st.tuples(ints(), ints(LOWEST + 1)) | st.tuples(ints(-(2**32), 2**32), ints(-(2**32), 2**32)), min_size=1))
def test_multiply_is_exact_or_raises(pairs: list[tuple[int, int]]) -> None:
    assume(all(x * y != LOWEST and (x, y) != (LOWEST, 0) for x, y in pairs))
    x, y = wide(*(x for x, _ in pairs)), wide(*(y for _, y in pairs))
    products = [a * b for a, b in pairs]
    wrong = [i for i, p in enumerate(products) if not LOWEST <= p <= HIGHEST]
    if not wrong:
        np.testing.assert_array_equal(integers.multiply(x, y), wide(*products), strict=True)
        return
    with pytest.raises(IntegerOverflow) as caught:
        integers.multiply(x, y)
    error = caught.value
    assert (error.step, error.dtype, error.count, error.total) == ("product", "int64", len(wrong), len(pairs))
    assert (error.index, error.value) == ((wrong[0],), products[wrong[0]])


def test_multiply_at_the_limits() -> None:
    for x, y in ((HIGHEST, 1), (-HIGHEST, 1), (HIGHEST, -1), (1, HIGHEST), (2**31, 2**32 - 1), (HIGHEST, 0), (0, HIGHEST)):
        assert integers.multiply(wide(x), y).tolist() == [x * y]
    for x, y in ((2**62, 2), (2**31, 2**32), (HIGHEST, 2), (2, HIGHEST), (-(2**62) - 1, 2), (LOWEST, -1)):
        with pytest.raises(IntegerOverflow) as caught:
            integers.multiply(wide(x), y)
        assert caught.value.value == x * y


def test_multiply_broadcasts() -> None:
    x, y = wide(1, 2).reshape(2, 1), wide(3, 4, 2**62)
    np.testing.assert_array_equal(integers.multiply(x, y[:2]), np.array([[3, 4], [6, 8]], np.int64), strict=True)
    with pytest.raises(IntegerOverflow) as caught:
        integers.multiply(x, y)
    assert (caught.value.total, caught.value.index, caught.value.value) == (6, (1, 2), 2**63)


def test_multiply_names_the_step() -> None:
    with pytest.raises(IntegerOverflow, match="the product of them: 1 of 2 elements do not fit int64"):
        integers.multiply(wide(1, 2**62), 2, "the product of them")


EXAMPLES = {
    "floor": [-2, -2, -1, -1, 0, 0, 1, 1, 2],
    "truncate": [-2, -1, -1, 0, 0, 0, 1, 1, 2],
    "half_up": [-2, -1, -1, 0, 0, 1, 1, 2, 2],
    "half_away": [-2, -2, -1, -1, 0, 1, 1, 2, 2],
    "half_even": [-2, -2, -1, 0, 0, 0, 1, 2, 2],
}


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_rounding_of_halves_by_hand(rounding: Rounding) -> None:
    """-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5 and 2."""
    halves = np.arange(-4, 5, dtype=np.int64)
    np.testing.assert_array_equal(integers.shift_right(halves, 1, rounding), wide(*EXAMPLES[rounding]), strict=True)
    np.testing.assert_array_equal(integers.divide(halves, 2, rounding), wide(*EXAMPLES[rounding]), strict=True)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_shift_right_of_every_int8(rounding: Rounding) -> None:
    x = np.arange(-128, 128, dtype=np.int64)
    for k in range(9):
        expected = [rounded(Fraction(v, 2**k), rounding) for v in range(-128, 128)]
        np.testing.assert_array_equal(integers.shift_right(x, k, rounding), wide(*expected), strict=True)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_divide_of_every_int8(rounding: Rounding) -> None:
    x = np.arange(-128, 128, dtype=np.int64)
    for d in range(1, 20):
        expected = [rounded(Fraction(v, d), rounding) for v in range(-128, 128)]
        np.testing.assert_array_equal(integers.divide(x, d, rounding), wide(*expected), strict=True)


def ties(k: int) -> st.SearchStrategy[int]:
    """Odd multiples of ``2**(k - 1)``, which ``2**k`` divides into halves."""
    half = 2 ** (k - 1)
    return anywhere(-(HIGHEST // half + 1) // 2, (HIGHEST // half - 1) // 2).map(lambda n: (2 * n + 1) * half)


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(st.data(), st.sampled_from([0, 1, 31, 62]) | st.integers(0, 62), st.sampled_from(ROUNDINGS))
def test_shift_right_rounds_as_named(data: st.DataObject, k: int, rounding: Rounding) -> None:
    values = data.draw(lists(ints() | ties(k) if k else ints()))
    expected = [rounded(Fraction(v, 2**k), rounding) for v in values]
    np.testing.assert_array_equal(integers.shift_right(wide(*values), k, rounding), wide(*expected), strict=True)
    shifts = wide(*[k] * len(values))
    np.testing.assert_array_equal(integers.shift_right(wide(*values), shifts, rounding), wide(*expected), strict=True)


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(st.lists(st.tuples(ints(), ints(1, 2**62)), min_size=1, max_size=6), st.sampled_from(ROUNDINGS))
def test_divide_rounds_as_named(pairs: list[tuple[int, int]], rounding: Rounding) -> None:
    x, d = wide(*(x for x, _ in pairs)), wide(*(d for _, d in pairs))
    expected = [rounded(Fraction(*pair), rounding) for pair in pairs]
    np.testing.assert_array_equal(integers.divide(x, d, rounding), wide(*expected), strict=True)
    np.testing.assert_array_equal(integers.divide(x[:1], pairs[0][1], rounding), wide(*expected[:1]), strict=True)


@settings(deadline=None)
@given(ints(-(2**31), 2**31 - 1), ints(1, 2**30), st.sampled_from(ROUNDINGS))
def test_divide_rounds_ties_as_named(n: int, half: int, rounding: Rounding) -> None:
    """``(2n + 1) * half / (2 * half)`` lies between n and n + 1."""
    expected = rounded(n + Fraction(1, 2), rounding)
    assert integers.divide(wide((2 * n + 1) * half), 2 * half, rounding).tolist() == [expected]


def test_rounding_defaults_to_floor() -> None:
    assert integers.shift_right(wide(-1), 1).tolist() == [-1]
    assert integers.divide(wide(-1), 2).tolist() == [-1]


def test_rounding_must_have_a_name() -> None:
    for function in (integers.shift_right, integers.divide):
        with pytest.raises(ConstraintError, match=r"rounding: must be one of floor, .*, but found 'nearest'"):
            function(wide(1), 1, "nearest")


@settings(deadline=None)
@given(st.lists(st.tuples(ints(), ints().filter(bool)), min_size=1, max_size=6))
def test_truncating_divide_is_division_in_c(pairs: list[tuple[int, int]]) -> None:
    assume((LOWEST, -1) not in pairs)
    x, d = wide(*(x for x, _ in pairs)), wide(*(d for _, d in pairs))
    expected = [math.trunc(Fraction(*pair)) for pair in pairs]
    np.testing.assert_array_equal(integers.truncating_divide(x, d), wide(*expected), strict=True)
    np.testing.assert_array_equal(integers.truncating_divide(pairs[0][0], d[:1]), wide(*expected[:1]), strict=True)


def test_truncating_divide_with_either_sign() -> None:
    assert integers.truncating_divide(wide(LOWEST, LOWEST, 5, LOWEST), wide(2, -2, LOWEST, LOWEST)).tolist() == [
        -(2**62),
        2**62,
        0,
        1,
    ]
    assert integers.truncating_divide(wide(7, -7, 7, -7, 0, -1), wide(2, 2, -2, -2, -3, 5)).tolist() == [3, -3, -3, 3, 0, 0]


def scaled_floor(x: int, e: int, largest_exponent: int) -> int:
    e = min(e, largest_exponent)
    # x has 62 bits: below 2**-62 the floor is 0.
    return min(x << e if e >= 0 else x >> min(-e, 63), 2**62)


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(ints(0, 2**62 - 1), st.integers(-70, 70) | ints(LOWEST + 1), st.integers(0, 62))
def test_floor_scale_stops_at_2_to_the_62(x: int, e: int, largest_exponent: int) -> None:
    found = integers.floor_scale(wide(x, 1), wide(e, e), largest_exponent)
    expected = wide(scaled_floor(x, e, largest_exponent), scaled_floor(1, e, largest_exponent))
    np.testing.assert_array_equal(found, expected, strict=True)
    assert integers.floor_scale(wide(x), wide(e)).tolist() == [scaled_floor(x, e, 62)]


def test_floor_scale_by_hand() -> None:
    x = wide(5, 5, 5, 5, 5, 5, 0, 1, 2, 2**30)
    e = wide(0, 1, -1, -2, -3, 62, 99, 62, 61, 32)
    expected = [5, 10, 2, 1, 0, 2**62, 0, 2**62, 2**62, 2**62]
    assert integers.floor_scale(x, e).tolist() == expected
    assert integers.floor_scale(wide(3, 3), wide(5, 4), 4).tolist() == [48, 48]


@settings(deadline=None)
@given(st.lists(ints(0, 2**62 - 1), min_size=1, max_size=6), st.integers(1, 2**31 - 1))
def test_isqrt_is_the_floor_of_the_root(values: list[int], root: int) -> None:
    values += [root**2 - 1, root**2, root**2 + 1]
    np.testing.assert_array_equal(integers.isqrt(wide(*values)), wide(*map(math.isqrt, values)), strict=True)


def test_isqrt_at_the_ends() -> None:
    assert integers.isqrt(wide(0, 1, 2, 3, 4, 2**62 - 1)).tolist() == [0, 1, 1, 1, 2, 2**31 - 1]


OPERATORS = sorted(Path(ivit_ref.ops.__file__).parent.glob("*.py"))
EDGES = ("quantize.py", "dequantize.py")


def nodes(path: Path) -> list[Any]:
    return list(ast.walk(ast.parse(path.read_text())))


def test_there_are_operators_to_read() -> None:
    assert {"__init__.py", *EDGES} < {path.name for path in OPERATORS}
    assert len(OPERATORS) > 15


@pytest.mark.parametrize("path", OPERATORS, ids=lambda path: path.stem)
def test_no_operator_changes_a_width_by_itself(path: Path) -> None:
    attributes = {node.attr for node in nodes(path) if isinstance(node, ast.Attribute)}
    assert not attributes & {"astype", "view"}


IN_FLOATS = {f"{inspect.getmodulename(inspect.getfile(op.kernel))}.py" for op in REGISTRY.values() if op.floats}


@pytest.mark.parametrize("path", [p for p in OPERATORS if p.name not in {*EDGES, *IN_FLOATS}], ids=lambda path: path.stem)
def test_no_operator_computes_with_real_numbers(path: Path) -> None:
    found = nodes(path)
    divisions = [node for node in found if isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div)]
    literals = [node for node in found if isinstance(node, ast.Constant) and isinstance(node.value, float)]
    assert (divisions, literals) == ([], [])
    of_numpy = {n.attr for n in found if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "np"}
    assert not of_numpy & {
        "divide",
        "true_divide",
        "mean",
        "float32",
        "float64",
        "sqrt",
        "exp",
        "log2",
        "rint",
        "floor",
        "round",
    }
