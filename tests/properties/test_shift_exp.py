"""Properties of ShiftExp, on every int16 (so every int8) at scales of every kind."""

from __future__ import annotations

import numpy as np
import pytest

from ivit_ref.profiles import TVM, Profile
from tests.properties.building import SCALES, Array, Attributes, base_two, every_profile, result, row

every_scale = pytest.mark.parametrize("scale", [1.0, 0.5, *SCALES])

ALL = np.arange(-(2**15), 2**15, dtype="int16")
BELOW = ALL[: 2**15 + 1]


def fitting(profile: Profile, scale: float, x: Array) -> tuple[Array, Array, Attributes]:
    """x as far as y fits, y, and the attributes: y is not less than it is at 64 bits."""
    chosen = profile.shift_exp(scale)
    fits = result("ShiftExp", x, **{**chosen, "exp_bits": 64}) < 2 ** (int(chosen["exp_bits"]) - 1)  # type: ignore[call-overload]
    return x[fits], result("ShiftExp", x[fits], **chosen), dict(chosen)


@every_scale
@every_profile
def test_shift_exp_p1_does_not_decrease(profile: Profile, scale: float) -> None:
    x, y, _ = fitting(profile, scale, ALL)
    assert x.max() > 0
    assert (np.diff(y) >= 0).all()


def test_shift_exp_p1_wraps_in_the_deployment() -> None:
    assert result("ShiftExp", row(19, 20), **TVM.shift_exp(1.0)).tolist() == [2**30, -(2**31)]
    below = TVM.shift_exp(float(np.float32(3e-5)))
    assert result("ShiftExp", row(-789, -788, dtype="int16"), **below).tolist() == [2147418112, -(2**31)]


@every_scale
@every_profile
def test_shift_exp_p2_is_between_0_and_its_value_at_0(profile: Profile, scale: float) -> None:
    _, y, a = fitting(profile, scale, BELOW)
    assert y[-1] == a["i0"] * 2 ** a["n"] == y.max()
    assert y.min() >= (a["i0"] if a["clamp"] else 0)


@every_scale
@every_profile
def test_shift_exp_p3_halves(profile: Profile, scale: float) -> None:
    x, y, a = fitting(profile, scale, BELOW)
    p = base_two(x)
    known = dict(zip(p.tolist(), y.tolist(), strict=True))
    lowest = -a["n"] * a["i0"] if a["clamp"] else p.min()
    pairs = [(v, known[q - a["i0"]]) for q, v in known.items() if q - a["i0"] >= lowest and q - a["i0"] in known]
    assert len(pairs) > 5
    assert all(halved == v >> 1 for v, halved in pairs)


@every_scale
@every_profile
def test_shift_exp_p4_is_near_the_power_of_two(profile: Profile, scale: float) -> None:
    x, y, a = fitting(profile, scale, BELOW)
    p = base_two(x)
    kept = p > -a["n"] * a["i0"] if a["clamp"] else p < 1
    p, y, q = p[kept], y[kept], (-p // a["i0"])[kept]
    t = a["i0"] * 2.0 ** a["n"] * np.exp2(p / a["i0"])
    dropped = 2.0 ** (a["n"] - q - 1) * (p % 2 != (q * a["i0"]) % 2) * (a["half"] == "drop")
    assert (y > t * (1 - 1e-12) - 1 - dropped).all()
    assert (y <= t * 1.0615).all()


def test_shift_exp_p5_the_exponent_is_near_1_4375_x() -> None:
    off = 16 * base_two(ALL) - 23 * ALL.astype("int64")
    assert (off.min(), off.max()) == (-7, 14)
