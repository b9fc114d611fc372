"""Stored integers against float parameters, on the sound checkpoint of ``test_examine``, whose values can be read off."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref.checkpoints import State
from ivit_ref.doctor import examine
from ivit_ref.errors import IvitError
from ivit_ref.models import model_graph
from tests.doctor.test_examine import CHANNELS, FC1, NORM, SIZES, SOUND, UNIT, new, with_one

Array = npt.NDArray[Any]
F32 = np.float32

WEIGHT, INTEGERS, SCALES, BIAS = (f"{FC1}.{name}" for name in ("weight", "weight_integer", "fc_scaling_factor", "bias_integer"))


def stale(**changes: Array) -> dict[str, str]:
    """The places of stale integers; nothing else may be told."""
    found = new({f"{FC1}.{key}": array for key, array in changes.items()})
    assert set(found) <= {"stale-integers"}
    return found.get("stale-integers", {})


def test_one_weight_that_moved_by_a_step() -> None:
    q = SOUND[INTEGERS][1, 3]
    found = new(with_one(WEIGHT, (q + 1) * 2.0**-7, 16 + 3))
    text = f"1 of 256 differ, first at [1, 3]: stored {q:.9g}, the float parameter gives {q + 1:.9g}"
    assert found == {"stale-integers": {INTEGERS: text}}


@pytest.mark.parametrize(("steps", "given"), [(2.5, 2), (3.5, 4), (-0.5, 0), (-1.5, -2), (0.49, 0)])
def test_weights_are_rounded_half_to_even(steps: float, given: int) -> None:
    weight = with_one(WEIGHT, steps * 2.0**-7, 16 + 3)
    assert new(weight | with_one(INTEGERS, given, 16 + 3)) == {}
    assert set(new(weight | with_one(INTEGERS, given + 1, 16 + 3))) == {"stale-integers"}


def test_an_optimizer_step_behind_the_last_forward_pass() -> None:
    """All weights halved: the scales are half of those stored, and each weight half its integer; the bias is what it was."""
    half = np.rint(SOUND[INTEGERS] / 2)
    wrong = np.count_nonzero(half != SOUND[INTEGERS])
    found = stale(weight=SOUND[WEIGHT] / 2)
    assert set(found) == {SCALES, INTEGERS}
    assert found[SCALES] == "16 of 16 differ, first at [0]: stored 0.0078125, the float parameter gives 0.00390625"
    assert found[INTEGERS] == f"{wrong} of 256 differ, first at [0, 0]: stored 127, the float parameter gives 64"


def test_weights_saturate() -> None:
    """Twice the weights in the stored steps: 254 is 127, and -254 is -128."""
    q = SOUND[INTEGERS].copy()
    q[0, :2] = -127, 127
    given = np.clip(2 * q, -128, 127)
    found = stale(weight=q * F32(2.0**-6), weight_integer=given)
    assert set(found) == {SCALES}


def test_a_bias_that_moved() -> None:
    """Its step is that of the weight times that of the input: 2**-7 * 2**-4."""
    b = SOUND[BIAS][4]
    text = f"1 of 16 differ, first at [4]: stored {b:.9g}, the float parameter gives {b + 2:.9g}"
    assert new(with_one(f"{FC1}.bias", (b + 2) * 2.0**-11, 4)) == {"stale-integers": {BIAS: text}}


def test_an_input_whose_scale_is_another() -> None:
    """The input's scale is twice as large: each bias must be half as large."""
    found = new({"blocks.0.qact3.act_scaling_factor": F32(2.0**-3)})
    assert set(found["stale-integers"]) == {BIAS}
    assert set(found) <= {"stale-integers", "layernorm-wrap"}


@pytest.mark.parametrize("key", CHANNELS)
def test_a_scale_that_is_off_by_the_last_bit(key: str) -> None:
    """2**-7 is max / 127 in both forms, 127 * (1/127 rounded) * 2**-7 being 2**-7 as well."""
    assert F32(127) * F32(2.0**-7) * (F32(1) / F32(127)) == 2.0**-7
    for towards in (0, 1):
        near = np.nextafter(F32(2.0**-7), F32(towards))
        text = f"1 of {SOUND[key].size} differ, first at [1]: stored {near:.9g}, the float parameter gives 0.0078125"
        assert new(with_one(key, near, 1))["stale-integers"][key] == text


def differing_forms() -> list[tuple[np.float32, np.float32, np.float32]]:
    """Largest weights whose scale is another where a GPU computes it, with both scales."""
    largest = np.arange(1, 2, 2**-10, dtype=F32)
    cpu, gpu = largest / F32(127), largest * (F32(1) / F32(127))
    return [(m, c, g) for m, c, g in zip(largest, cpu, gpu, strict=True) if c != g]


def channel(largest: np.float32, scale: np.float32) -> dict[str, Array]:
    """A first channel with this largest weight and this scale, its integers and a bias of 0 as they follow."""
    weight, q, scales = SOUND[WEIGHT].copy(), SOUND[INTEGERS].copy(), SOUND[SCALES].copy()
    weight[0], q[0], scales[0] = 0, 0, scale
    weight[0, 0], q[0, 0] = -largest, -127
    bias, integers = SOUND[f"{FC1}.bias"].copy(), SOUND[BIAS].copy()
    bias[0] = integers[0] = 0
    return {"weight": weight, "weight_integer": q, "fc_scaling_factor": scales, "bias": bias, "bias_integer": integers}


def test_both_forms_of_a_scale_are_taken() -> None:
    """A GPU divides by 127 by multiplying with its reciprocal. A third value is told."""
    forms = differing_forms()
    assert len(forms) > 20
    for largest, cpu, gpu in forms[::7]:
        assert np.nextafter(cpu, gpu) == gpu
        assert stale(**channel(largest, cpu)) == stale(**channel(largest, gpu)) == {}
        for scale, other in ((cpu, gpu), (gpu, cpu)):
            assert set(stale(**channel(largest, np.nextafter(scale, F32(scale * 2 - other))))) == {SCALES}


def test_a_channel_of_zeros_has_epsilon_for_its_scale() -> None:
    """The release never lets a scale be less than float32 epsilon, 2**-23."""
    arrays = channel(F32(0), F32(2.0**-23))
    arrays["weight_integer"][0] = 0
    assert stale(**arrays) == {}
    arrays["fc_scaling_factor"][0] = 2.0**-22
    assert set(stale(**arrays)) == {SCALES}


@pytest.mark.parametrize(("beta", "given"), [(-0.5, -1), (0.5, 0), (-1.0, -1), (1.75, 1), (-7.25, -8)])
def test_folded_biases_are_rounded_down(beta: float, given: int) -> None:
    change = with_one(f"{NORM}.bias", beta * UNIT, 2)
    assert new(change | with_one(f"{NORM}.bias_integer", given, 2)) == {}
    assert set(new(change | with_one(f"{NORM}.bias_integer", given + 1, 2))) == {"stale-integers"}


def test_a_gain_that_moved() -> None:
    """From 1 to 2: the scale is twice as large, the folded bias 2**20 / 2."""
    found = new(with_one(f"{NORM}.weight", 2, 2))["stale-integers"]
    scale = "1 of 16 differ, first at [2]: stored 3.7252903e-09, the float parameter gives 7.4505806e-09"
    bias = "1 of 16 differ, first at [2]: stored 1048576, the float parameter gives 524288"
    assert found == {f"{NORM}.norm_scaling_factor": scale, f"{NORM}.bias_integer": bias}


@pytest.mark.parametrize("key", ["weight", "bias"])
@pytest.mark.parametrize("module", [FC1, NORM, "patch_embed.proj"])
def test_float_parameters_that_cannot_be_compared_with(key: str, module: str) -> None:
    """Missing, of another shape, not finite, not numbers: the graph does not read them."""
    array = SOUND[f"{module}.{key}"]
    for other in (None, array[:1], np.full_like(array, np.nan), np.full(array.shape, "x")):
        assert new({f"{module}.{key}": other}) == {}


EXTREMES = (1e300, -1e300, 3e38, 1e-45, 1e-300, 1e-37, -1e-40, 2.0**-28, 1e10)


@given(st.sampled_from(sorted(SOUND)), st.sampled_from(EXTREMES), st.sampled_from(sorted(SOUND)), st.sampled_from(EXTREMES))
def test_extreme_values_are_told(key: str, value: float, other: str, second: float) -> None:
    """Nothing crashes; what is told to be unbuildable is not built, and the graph refuses it in an error of our own."""
    state = State({**SOUND, **with_one(key, value), **with_one(other, second)})
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        findings = examine(state, SIZES)
        with suppress(IvitError):
            model_graph(state, SIZES)
            unbuildable = {"missing", "wrong-shape", "not-finite", "not-integers", "zero-scale", "zero-gain", "bias-overflow"}
            assert not unbuildable & {f.rule for f in findings}


@pytest.mark.parametrize(("key", "value"), [(f"{NORM}.weight", 1e-37), (SCALES, 1e-45), (WEIGHT, 1e38)])
def test_extreme_values_are_told_without_a_warning(key: str, value: float) -> None:
    changed = {name: array.astype(F32) for name, array in with_one(key, value).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert examine(State({**SOUND, **changed}), SIZES)
