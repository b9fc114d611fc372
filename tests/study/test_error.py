"""Errors against the real functions: by brute force with the twins, and the facts that are known of the operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ivit_ref import ops
from ivit_ref.dyadic import float32
from ivit_ref.errors import ConstraintError, InputError, IvitError
from ivit_ref.ir import Quant, TensorType
from ivit_ref.methods import METHODS, Method
from ivit_ref.oracle.shift_exp import shift_exp
from ivit_ref.oracle.shift_gelu import shift_gelu
from ivit_ref.oracle.shiftmax import shiftmax
from ivit_ref.profiles import PROFILES, QAT, TVM
from ivit_ref.study import Measured, error, sweep
from ivit_ref.study.corpus import Size, corpus
from ivit_ref.study.limits import factor
from ivit_ref.study.subject import decoded, subjects

S = float32(0.05)


def one(op: str, **given: Any) -> Measured:
    [measured] = error(op, **given)
    return measured


def is_refused(function: Callable[..., Any], *given: Any, **named: Any) -> bool:
    try:
        function(*given, **named)
    except ConstraintError:
        return True
    return False


def normal(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


# --- By brute force


def test_shiftmax_of_every_pair() -> None:
    twin: dict[str, Any] = TVM.shiftmax(S)
    got = one("Shiftmax", scale=0.05, profiles=["tvm"]).groups["every row of two"]
    want, sums = [], []
    for difference in range(256):
        row = shiftmax([-128, difference - 128], **twin)
        p = 1 / (1 + math.exp(S * difference))
        repeated = 2 * (256 - difference) if difference else 256
        want += [abs(row[0] / 128 - p), abs(row[1] / 128 - (1 - p))] * repeated
        sums += [sum(row) / 128] * repeated
    facts = got.facts()
    assert (facts["inputs"], facts["rows"]) == (2 * 2**16, 2**16)
    assert facts["real"]["max"] == pytest.approx(max(want), rel=1e-12)
    assert facts["real"]["mean"] == pytest.approx(math.fsum(want) / len(want), rel=1e-12)
    assert facts["real"]["rms"] == pytest.approx(math.sqrt(math.fsum(w * w for w in want) / len(want)), rel=1e-12)
    assert facts["last_places"]["max"] == facts["real"]["max"] * 128
    assert facts["row_sums"] == {"min": min(sums), "mean": math.fsum(sums) / len(sums), "max": max(sums)}


@pytest.mark.parametrize("profile", ["paper", "tvm"])
def test_shift_gelu_of_every_x_and_row_maximum(profile: str) -> None:
    attributes: dict[str, Any] = PROFILES[profile].shift_gelu(S)
    largest, order = 0.0, 0
    real = {x: S * x * normal(S * x) for x in range(-128, 128)}
    for top in range(-128, 128):
        row = shift_gelu(list(range(-128, top + 1)), **attributes, overflow="wrap")
        reals = [real[x] for x in range(-128, top + 1)]
        steps = list(zip(row, row[1:], reals, reals[1:], strict=False))
        order += sum((b - a) * (d - c) < 0 for a, b, c, d in steps)
        largest = max(largest, *(abs(y * S / 128 - r) for y, r in zip(row, reals, strict=True)))
    total = one("ShiftGELU", scale=0.05, profiles=[profile]).total
    facts = total.facts()
    assert facts["inputs"] == 256 * 257 // 2
    assert facts["real"]["max"] == pytest.approx(largest, rel=1e-7)  # the scale of the result is a float32
    assert facts["order_violations"] == order


@pytest.mark.parametrize("bits", [8, 16])
def test_shift_exp_of_every_difference(bits: int) -> None:
    scale = float32(0.05 / 2 ** (bits - 8))
    attributes: dict[str, Any] = QAT.shift_exp(scale)
    codes = range(1 - 2**bits, 1)
    values = shift_exp(list(codes), **attributes, overflow="raise")
    want = max(abs(y * scale / 2**15 - math.exp(scale * x)) for x, y in zip(codes, values, strict=True))
    facts = one("ShiftExp", scale=scale, bits=bits).total.facts()
    assert facts["inputs"] == 2**bits
    assert facts["real"]["max"] == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize(("op", "bits"), [("ShiftGELU", 8), ("ShiftGELU", 16), ("ShiftExp", 16), ("Requantize", 16)])
def test_the_worst_input_gives_the_worst_error(op: str, bits: int) -> None:
    scale = float32(0.05 / 2 ** (bits - 8))
    [subject] = subjects(op, scale=scale, bits=bits)
    worst = one(op, scale=scale, bits=bits).total.worst
    assert worst is not None
    row = np.array(worst.inputs[0], subject.dtype)
    attributes = subject.attributes(TensorType(subject.dtype, row.shape))
    function: Callable[..., Any] = getattr(ops, subject.op.kernel.__name__)
    assert int(function(row, **attributes)[worst.place]) == worst.integer
    real = {"ShiftGELU": lambda x: x * normal(x), "ShiftExp": math.exp, "Requantize": float}[op]
    assert worst.want == pytest.approx(real(scale * worst.inputs[0][worst.place]), rel=1e-12)


def test_a_worst_row_is_complete() -> None:
    worst = one("ILayerNorm").total.worst
    assert worst is not None
    assert worst.facts()["inputs"] == [list(worst.inputs[0])]
    assert len(worst.inputs[0]) == 197


# --- Known facts (of the operators' texts, docs/numerics.md and the survey that the project started from)


@pytest.mark.parametrize(("scale", "largest"), [(0.25, 0.14), (0.1, 0.08), (0.05, 0.06), (0.01, 0.05)])
@pytest.mark.parametrize("profile", ["paper", "qat"])
def test_largest_error_of_shift_exp(scale: float, largest: float, profile: str) -> None:
    facts = one("ShiftExp", scale=scale, profiles=[profile]).total.facts()
    assert round(facts["real"]["max"], 2) == largest


def test_seven_bits_of_shiftmax_zero_a_uniform_row_of_197() -> None:
    found = one("Shiftmax", scale=0.02, profiles=["tvm"])
    assert found.groups["uniform"].zero_rows == 5  # of 197; those of 2 and of 8 add up to 128
    assert found.groups["one-hot"].zero_rows > 0
    assert one("Shiftmax", scale=0.02, profiles=["qat"]).total.zero_rows == 0


def test_row_sums_of_seven_bits() -> None:
    """Logits of deviation 12: mean sums of 62, 33 and 1.3 at 0.1, 0.05 and 0.02, and two thirds of the rows all zero there."""
    means = {}
    for scale in (0.1, 0.05, 0.02):
        [swept] = sweep("Shiftmax", over=(scale, 2 * scale, 2), profiles=["tvm"], rows=200)
        tally = swept.points[0].tally
        assert tally.row_sums is not None
        means[scale] = 128 * tally.row_sums["mean"], tally.zero_rows / tally.rows
    assert means[0.1][0] == pytest.approx(62, abs=1)
    assert means[0.05][0] == pytest.approx(33, abs=1)
    assert means[0.02][0] == pytest.approx(1.3, abs=0.6)
    assert [zero for _, zero in means.values()] == [0, 0, pytest.approx(0.675, abs=0.1)]


def test_sigma_of_zero_in_shift_gelu() -> None:
    scales = (0.1, 0.05, 0.03, 0.02, 0.01, 0.008)
    found = []
    for scale in scales:
        [subject] = subjects("ShiftGELU", scale=scale)
        attributes: dict[str, Any] = subject.check(2)
        f = factor(attributes, "gelu", 2, 0)
        assert f is not None
        found.append((f, f * attributes["i0"] >> 1))  # e = i0 * 2**23, of which F takes 24 bits away
    assert found == [(21, 63), (10, 60), (6, 60), (4, 60), (2, 59), (1, 37)]


def test_the_released_square_root_converges_from_34596_on() -> None:
    found = one("IntSqrt").groups["v < 2**16"]
    assert [(e.kind, e.count) for e in found.log.events] == [("not_converged", 29964)]
    assert one("IntSqrt", profiles=["ideal"]).total.log.events == []


@pytest.mark.parametrize(("scale", "collapsed"), [(0.05, False), (0.06, False), (0.0742, True), (0.1, True)])
def test_shift_gelu_collapses_above_a_row_maximum_of_9_37(scale: float, collapsed: bool) -> None:
    """The largest code of int8 is worth 7.62 and 9.42 at the scales in the middle; sigma is one half of -128, too, then."""
    [swept] = sweep("ShiftGELU", over=(scale, 2 * scale, 2))
    assert ("row maximum above n ln 2 / 1.702" in swept.points[0].limit) == collapsed
    worst = one("ShiftGELU", scale=scale).groups["row maximum 127"].facts()["real"]["max"]
    assert worst > 0.45 * 128 * scale if collapsed else worst < 0.5
    assert "9.367" in swept.thresholds[0]


def test_rows_that_an_operator_refuses_are_counted_and_left_out() -> None:
    """The paper's ShiftGELU divides 0 by 0 where both exponentials of an element are 0."""
    total = one("ShiftGELU", scale=0.25, profiles=["paper"]).total
    attributes: dict[str, Any] = PROFILES["paper"].shift_gelu(0.25)
    refused = sum(is_refused(ops.shift_gelu, np.arange(-128, top + 1, dtype=np.int8), **attributes) for top in range(-128, 128))
    assert refused > 0
    assert total.refused == refused
    assert total.why == "IntDiv (C2): a denominator must not be zero, but found 0"
    assert total.facts()["inputs"] < 256 * 257 // 2


# --- What is measured


def test_rows_are_the_same_for_all_and_come_from_the_seed() -> None:
    first, second = error("Shiftmax", scale=0.05, profiles=["qat", "ideal"])
    assert first.total.facts() == second.total.facts()
    assert one("Shiftmax", scale=0.05, seed=1).total.facts() != first.total.facts()
    drawn = corpus("softmax", Size(rows=2))[-2].batches[-1].x
    assert drawn[0, :6].tolist() == corpus("softmax", Size(rows=2))[-2].batches[-1].x[0, :6].tolist()


def test_a_length_comes_with_the_others() -> None:
    assert one("Shiftmax", scale=0.05, length=50).groups["uniform"].rows == 20
    assert one("Shiftmax", scale=0.05).groups["uniform"].rows == 15


def test_a_method_to_which_no_profile_matters_comes_once() -> None:
    labels = [s.label for s in subjects("Shiftmax", scale=0.05, profiles=["qat", "tvm"])]
    assert labels == ["shiftmax, qat", "shiftmax, tvm"]
    assert [s.label for s in subjects("shiftMAX", scale=0.05, profiles=["qat", "qat"])] == ["shiftmax, qat"]


METHODS_BESIDE = [(methods[0].op, method) for methods in METHODS.values() for method in methods]


@pytest.mark.parametrize(("op", "method"), METHODS_BESIDE, ids=[f"{op}-{method.name}" for op, method in METHODS_BESIDE])
def test_every_method_stands_beside_the_first_of_its_role(op: str, method: Method) -> None:
    """At the scale that it is made for, if it is made for one."""
    scale = method.step or 0.05
    found = error(op, scale=scale, against=[method.name], rows=1)
    assert found[-1].subject.method == method
    assert found[-1].total.facts()["inputs"] == found[0].total.facts()["inputs"]
    assert found[-1].total.refused == 0


def test_zero_points_logarithms_and_negative_scales_are_decoded() -> None:
    codes = np.array([-128, 127], np.int8)
    assert decoded("TFLiteSoftmax", codes, Quant((2.0**-8,), zero_point=-128), {}).tolist() == [0, 255 / 256]
    assert decoded("LogIntSoftmax", np.array([0, 3, 15, 16], np.uint8), None, {"bits": 4}).tolist() == [1, 2**-3, 2**-15, 0]
    assert decoded("IBertGELU", codes, Quant((-0.5,)), {}).tolist() == [64, -63.5]
    with pytest.raises(InputError, match="must be known"):
        decoded("Lookup", codes, None, {})


# --- What is refused

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no such operator": ({"op": "Softmax"}, "operator: must be one of .*Shiftmax.*, but found 'Softmax'"),
    "an operator without a real function": ({"op": "Concat"}, "but found 'Concat'"),
    "no scale": ({"scale": None}, r"Shiftmax \(scales\): .*, but found None"),
    "a scale of 0": ({"scale": 0.0}, r"Shiftmax \(scales\): .*, but found 0.0"),
    "a negative scale": ({"scale": -0.05}, "but found -0.05"),
    "NaN": ({"scale": math.nan}, "but found nan"),
    "infinity": ({"scale": math.inf}, "but found inf"),
    "a scale beyond float32": ({"scale": 1e300}, "but found 1e.300"),
    "a scale that i0 has no bits for": ({"scale": 1e-12}, "i0: the scale must be .* at least 2..-28, but found"),
    "a scale that an exponential has no bits for": (
        {"op": "ShiftGELU", "scale": 2.0**-26},
        r"ShiftGELU \(C3\): .*but found n = 23",
    ),
    "4 bits": ({"bits": 4}, r"Shiftmax \(C1\): the codes must have 8 or 16 bits, but found 4"),
    "a row that is too long": ({"length": 70000}, r"Shiftmax \(C1\): .*but found int8\[1,70000\]"),
    "a row of nothing": ({"length": 0}, "a dimension must be a positive integer or a name, but found 0"),
    "a length without rows": ({"op": "ShiftExp", "length": 5}, "must go along rows, but found ShiftExp"),
    "no rows": ({"rows": 0}, "rows, seed: .* but found 0, 0"),
    "more than memory has": ({"rows": 10_000, "length": 2**16}, "at most 16777216 elements, but found 10000 . 65536"),
    "a negative seed": ({"seed": -1}, "rows, seed: .* but found 100, -1"),
    "no such profile": ({"profiles": ["tensorrt"]}, "profile: must be one of .*, but found 'tensorrt'"),
    "no such method": ({"against": ["none"]}, "softmax: the method must be one of .*, but found 'none'"),
    "a method beside a step": ({"op": "ShiftExp", "against": ["ibert"]}, "ShiftExp must be a method of a role"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(IvitError, match=message):
        error(**{"op": "Shiftmax", "scale": 0.05, **given})
