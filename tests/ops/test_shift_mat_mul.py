from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.ir import Quant, TensorType
from ivit_ref.ops import log_int_softmax, matmul, shift_mat_mul
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls_ibert import following, shift_mat_mul_calls
from ivit_ref.testing.elements import Call
from tests.agreement import Array, assert_agrees, run
from tests.ops.peers import normal_rows

V = np.array([[127, -128], [-1, 1], [5, -77]], "int8")


def codes(*rows: list[int]) -> Array:
    return np.array(rows, "uint8")


@given(call=shift_mat_mul_calls())
def test_shift_mat_mul_agrees_with_its_twin(call: Call) -> None:
    assert_agrees("ShiftMatMul", call)


@given(shift_mat_mul_calls())
def test_shift_mat_mul_is_the_product_of_the_probabilities(call: Call) -> None:
    """In float64, where all of it is exact: the sum of 2**-code * v, in steps of 2**-N."""
    (c, v), a = call
    probabilities = np.where(c == 2 ** a["bits"], 0.0, 2.0 ** -np.float64(c))
    exact = probabilities @ np.float64(v) * 2.0 ** (2 ** a["bits"] - 1)
    found, _ = run("ShiftMatMul", call)
    np.testing.assert_array_equal(found, (exact + 2**31) % 2**32 - 2**31)


# --- Facts


@pytest.mark.parametrize("code", range(17))
def test_shift_mat_mul_of_every_code(code: int) -> None:
    y = shift_mat_mul(codes([code, 16, 16]), V, bits=4, alpha=1.0)
    expected = [[127 << (15 - code), -128 << (15 - code)]] if code < 16 else [[0, 0]]
    np.testing.assert_array_equal(y, np.array(expected, "int32"), strict=True)


def test_shift_mat_mul_loses_no_digit() -> None:
    # 1/8 of -1 is no integer: shifts to the right would give 0 or -1.
    assert shift_mat_mul(codes([4, 3, 2]), V, bits=2, alpha=1.0).tolist() == [[-1 + 5 * 2, 1 - 77 * 2]]


def test_shift_mat_mul_does_attention_with_log_int_softmax() -> None:
    x, v = normal_rows(6, 9, 30), normal_rows(9, 4, 40, seed=1)
    chosen = log_int_softmax(x, **following("LogIntSoftmax", 0.0625, n=30, bits=4))
    weights = np.where(chosen == 16, 0, 2 ** (15 - np.minimum(chosen, 15).astype("int32"))).astype("int32")
    expected = matmul(weights, v, alpha=1.0)
    np.testing.assert_array_equal(shift_mat_mul(chosen, v, bits=4, alpha=1.0), expected, strict=True)


def test_shift_mat_mul_wraps() -> None:
    call: Call = ((codes([0, 0, 0]), np.full((3, 1), 2**15 - 1, "int16")), {"bits": 4, "alpha": 1.0})
    accumulator = 3 * (2**15 - 1) * 2**15
    with pytest.raises(IntegerOverflow, match=rf"^ShiftMatMul: accumulator: 1 of 1 elements .*: {accumulator}$"):
        run("ShiftMatMul", call, "raise")
    y, events = run("ShiftMatMul", call)
    assert y.tolist() == [[accumulator - 2**32]]
    assert [(e.kind, e.step, e.value) for e in events] == [("wrapped", "accumulator", accumulator)]


@given(st.data())
def test_shift_mat_mul_does_not_see_the_order_of_k(data: st.DataObject) -> None:
    (c, v), a = data.draw(shift_mat_mul_calls())
    order = np.array(data.draw(st.permutations(range(c.shape[-1]))))
    same = run("ShiftMatMul", ((c[..., order], v[..., order, :]), a))[0]
    np.testing.assert_array_equal(same, run("ShiftMatMul", ((c, v), a))[0])


# --- Scales


def test_shift_mat_mul_steps() -> None:
    rule: Any = REGISTRY["ShiftMatMul"].quant
    types = [TensorType("uint8", (1, 3)), TensorType("int8", (3, 2))]
    assert rule([None, Quant((0.5,))], types, {"bits": 4, "alpha": 0.25}) == Quant((2.0**-18,))
    assert rule([None, None], types, {"bits": 4, "alpha": 1.0}) is None
    with pytest.raises(ConstraintError, match=r"^ShiftMatMul \(scales\): codes must have no scale, since they are logarithms"):
        rule([Quant((1.0,)), Quant((0.5,))], types, {"bits": 4, "alpha": 1.0})
    for quant in (Quant((0.5,), zero_point=1), Quant((0.5, 0.25), axis=1)):
        with pytest.raises(ConstraintError, match=r"^ShiftMatMul \(scales\): must be per tensor with zero point 0, but found"):
            rule([None, quant], types, {"bits": 4, "alpha": 1.0})


# --- Constraints


@pytest.mark.parametrize(("c", "v"), [("int8", "int8"), ("int32", "int8"), ("uint8", "int32"), ("uint8", "uint16")])
def test_shift_mat_mul_c1_codes_are_uint8_and_v_is_narrow(c: str, v: str) -> None:
    for accepted in ("int8", "uint8", "int16"):
        assert shift_mat_mul(codes([15]), np.array([[3]], accepted), bits=4, alpha=1.0).tolist() == [[3]]
    with pytest.raises(ConstraintError, match=r"^ShiftMatMul \(C1\): (codes|v) must be"):
        shift_mat_mul(np.array([[1]], c), np.array([[1]], v), bits=4, alpha=1.0)


@pytest.mark.parametrize("shapes", [((3,), (3, 2)), ((1, 3), (3,)), ((1, 2), (3, 2)), ((2, 1, 3), (3, 3, 2))])
def test_shift_mat_mul_c2_shapes_match(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    first, second = (np.ones(shape, dtype) for shape, dtype in zip(shapes, ("uint8", "int8"), strict=True))
    with pytest.raises(ConstraintError, match=r"^ShiftMatMul \(C2\): the shapes must match as"):
        shift_mat_mul(first, second, bits=4, alpha=1.0)


@pytest.mark.parametrize("bits", [0, 5])
def test_shift_mat_mul_c3_bits_are_from_1_to_4(bits: int) -> None:
    assert shift_mat_mul(codes([0, 1, 2]), V, bits=1, alpha=1.0).tolist() == [[254 - 1, -256 + 1]]
    with pytest.raises(ConstraintError, match=rf"^ShiftMatMul \(C3\): bits must be from 1 to 4, but found {bits}$"):
        shift_mat_mul(codes([0, 0, 0]), V, bits=bits, alpha=1.0)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan")])
def test_shift_mat_mul_c4_alpha_is_a_positive_float32(alpha: float) -> None:
    with pytest.raises(ConstraintError, match=r"^ShiftMatMul \(C4\): alpha must be a finite, positive float32, but found"):
        shift_mat_mul(codes([0, 0, 0]), V, bits=4, alpha=alpha)


@pytest.mark.parametrize("overflow", ["raise", "wrap"])
@pytest.mark.parametrize(("bits", "code"), [(4, 17), (4, 255), (2, 5), (1, 3)])
def test_shift_mat_mul_c5_no_code_is_above_2_to_the_bits(bits: int, code: int, overflow: str) -> None:
    call: Call = ((codes([2**bits, code, 0]), V), {"bits": bits, "alpha": 1.0})
    with pytest.raises(
        ConstraintError, match=rf"^ShiftMatMul \(C5\): no code must be above 2\*\*bits = {2**bits}, but found {code}$"
    ):
        run("ShiftMatMul", call, overflow)
