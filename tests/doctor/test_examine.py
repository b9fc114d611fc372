"""Every rule of the doctor, from a checkpoint that is broken on purpose: that rule is told, there, and nothing else changes.

``SOUND`` is a state dict made by hand: every scale and every float parameter is a power of two times a small integer, so that
what each stored integer must be can be read off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_ref.arrays import read_npz
from ivit_ref.checkpoints import State
from ivit_ref.doctor import Finding, examine
from ivit_ref.doctor.rules import RULES
from ivit_ref.models import Config, ViTConfig, model_graph, recognise
from ivit_ref.models.sites import Act, Gelu, Layer, Norm, Softmax, sites

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Told = dict[str, dict[str, str]]

GRAPHS = Path(__file__).parents[2] / "graphs"
SIZES = ViTConfig((4, 4), (2, 2), channels=1, dim=16, depth=1, heads=2, hidden=16, classes=3)
UNIT = 2.0**-28
"""sqrt(16) / 2**30: the scale of a LayerNorm of 16 channels whose gain is 1."""

ALWAYS = {"scale-clash", "layernorm-wrap", "reload-ranges", "reshaped"}
"""What is told of every ViT that the release's training saved."""

FC1, NORM = "blocks.0.mlp.fc1", "blocks.0.norm1"


def sound() -> Arrays:
    """int8 weights in steps of 2**-7 that reach 127 in each channel; a LayerNorm with gain 1 and beta 2**-8."""
    rng, arrays = np.random.default_rng(0), {}
    steps = {site.name: 2.0**-12 if site.bits == 16 else 2.0**-4 for site in sites(SIZES) if isinstance(site, Act)}
    for site in sites(SIZES):
        if isinstance(site, Act):
            arrays[site.scale] = np.float32(steps[site.name])
        elif isinstance(site, Layer):
            q = rng.integers(-100, 101, site.shape)
            q.reshape(len(q), -1)[:, 0] = 127
            b = rng.integers(-500, 501, site.shape[:1])
            arrays |= {f"{site.name}.weight": q * 2.0**-7, f"{site.name}.weight_integer": q}
            arrays |= {f"{site.name}.bias": b * 2.0**-7 * steps[site.source], f"{site.name}.bias_integer": b}
            arrays[site.scales] = np.full(site.shape[:1], 2.0**-7)
        elif isinstance(site, Norm):
            ones = np.ones(site.dim)
            arrays |= {f"{site.name}.weight": ones, f"{site.name}.bias": ones * 2.0**-8}
            arrays |= {f"{site.name}.norm_scaling_factor": ones * UNIT, f"{site.name}.bias_integer": ones * 2.0**20}
        elif isinstance(site, Softmax | Gelu):
            arrays[f"{site.name}.act_scaling_factor"] = np.array(2.0**-15 if isinstance(site, Softmax) else 2.0**-11)
        else:
            arrays[site.name] = rng.standard_normal(site.shape)
    return {key: np.asarray(array, np.float32) for key, array in arrays.items()}


SOUND = sound()


def told(arrays: Mapping[str, Array], config: Config = SIZES) -> Told:
    """Values by key by rule."""
    return places(examine(State(arrays), config))


def places(findings: list[Finding]) -> Told:
    return {f.rule: {place.key: place.value for place in f.places} for f in findings}


def new(changes: Mapping[str, Array | None]) -> Told:
    """What is told of the sound checkpoint with these arrays replaced or, for None, taken out, and not of the sound one."""
    arrays = {k: v for k, v in {**SOUND, **changes}.items() if v is not None}
    found, before = told(arrays), told(SOUND)
    changed = {rule: {k: v for k, v in rows.items() if before.get(rule, {}).get(k) != v} for rule, rows in found.items()}
    return {rule: rows for rule, rows in changed.items() if rows and rule != "reshaped"}


def with_one(key: str, value: float, index: int = -1) -> dict[str, Array]:
    """The array of a key with one element replaced, in float64."""
    array = SOUND[key].astype(np.float64)
    array.reshape(-1)[index] = value
    return {key: array}


def test_the_sound_checkpoint_is_sound() -> None:
    assert set(told(SOUND)) == ALWAYS
    model_graph(State(SOUND), SIZES)


# --- Buffers

EVERY = [key for key in SOUND if not key.endswith((".weight", ".bias"))]
UNREAD = {"blocks.0.attn.int_softmax.act_scaling_factor", "blocks.0.mlp.act.act_scaling_factor"}
READ = [key for key in EVERY if key not in UNREAD]
INT8 = [key for key in READ if key.endswith("weight_integer")]
NORM_BIASES = [key for key in READ if key.endswith("bias_integer") and "norm" in key]
LAYER_BIASES = [key for key in READ if key.endswith("bias_integer") and "norm" not in key]
SINGLE = [key for key in READ if key.endswith("act_scaling_factor")]
CHANNELS = [key for key in READ if key.endswith(("fc_scaling_factor", "conv_scaling_factor"))]


@pytest.mark.parametrize("key", READ)
def test_missing(key: str) -> None:
    assert new({key: None}) == {"missing": {key: "is not in the state dict"}}


def test_what_the_graph_does_not_read_may_be_missing() -> None:
    softmax = "blocks.0.attn.int_softmax.act_scaling_factor"
    expected = {"scale-clash": {softmax: "not stored; the release has 2**-15"}}
    assert new(dict.fromkeys([*UNREAD, FC1 + ".weight", "norm.weight"])) == expected


@pytest.mark.parametrize("key", READ)
@pytest.mark.parametrize("shape", ["longer", "none", "rank"])
def test_wrong_shape(key: str, shape: str) -> None:
    array = np.atleast_1d(SOUND[key])
    if shape == "rank" and key.endswith("scaling_factor"):
        assert new({key: array[None]}) == {}  # a scale may have an axis more
        return
    wrong = {"longer": np.concatenate([array, array]), "none": array[:0], "rank": array[None]}[shape]
    must = f"has shape {list(wrong.shape)}, and must have {list(SOUND[key].shape)}"
    assert new({key: wrong}) == {"wrong-shape": {key: must}}


@pytest.mark.parametrize("key", READ)
@pytest.mark.parametrize("dtype", ["bool", "complex64", "object", "str", "datetime64[s]"])
def test_no_numbers(key: str, dtype: str) -> None:
    assert new({key: np.zeros(SOUND[key].shape, dtype)}) == {"wrong-shape": {key: "does not hold numbers"}}


@pytest.mark.parametrize("key", READ)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(key: str, value: float) -> None:
    folded = "norm" in key and key.endswith("bias_integer")  # beta / gamma of a gain of 0
    assert one_value("bias-overflow" if folded else "not-finite", key, value, str(value))


def one_value(rule: str, key: str, value: float, shown: str) -> bool:
    """Whether one wrong element at the end of an array leads to this rule, which counts it and says where it is."""
    shape = SOUND[key].shape
    where = f"1 of {SOUND[key].size}, first at {[length - 1 for length in shape]}: " if shape else ""
    found = new(with_one(key, value))
    text = found.get(rule, {}).get(key, "")
    return set(found) == {rule} and set(found[rule]) == {key} and text.startswith(where + shown)


@pytest.mark.parametrize("key", INT8)
@pytest.mark.parametrize("value", [200, 128, -129, 0.5, 126.75, -1e-3])
def test_weights_that_are_no_int8(key: str, value: float) -> None:
    assert one_value("not-integers", key, value, f"{value:g}, no int8")


@pytest.mark.parametrize("key", LAYER_BIASES)
@pytest.mark.parametrize(("value", "shown"), [(0.5, "0.5"), (2.0**31, "2.1474836e+09"), (-(2.0**31) - 1, "-2.1474836e+09")])
def test_biases_that_are_no_int32(key: str, value: float, shown: str) -> None:
    assert one_value("not-integers", key, value, f"{shown}, no int32")


@pytest.mark.parametrize("key", NORM_BIASES)
@pytest.mark.parametrize(("value", "shown"), [(2.0**31, "2.1474836e+09"), (-(2.0**40), "-1.0995116e+12")])
def test_folded_biases_beyond_int32(key: str, value: float, shown: str) -> None:
    assert one_value("bias-overflow", key, value, f"{shown}, no int32")
    assert one_value("not-integers", key, 0.5, "0.5, no int32")


@pytest.mark.parametrize("key", [*SINGLE, *CHANNELS])
@pytest.mark.parametrize(("value", "shown"), [(0.0, "0"), (-0.0, "-0"), (-0.5, "-0.5")])
def test_scales_of_zero_or_below(key: str, value: float, shown: str) -> None:
    assert one_value("zero-scale", key, value, shown)


@pytest.mark.parametrize("key", SINGLE)
@pytest.mark.parametrize("shape", [(), (1,)])
def test_scales_of_a_range_that_was_never_seen(key: str, shape: tuple[int, ...]) -> None:
    """float32 epsilon is 2**-23 = 1.1920929e-07; the next float32 is a scale like any other, if a very fine one."""
    told = new({key: np.full(shape, 2.0**-23, np.float32)})
    assert told == {"epsilon-scale": {key: "1.1920929e-07, float32 epsilon"}}
    assert "epsilon-scale" not in new({key: np.full(shape, np.nextafter(np.float32(2.0**-23), np.float32(1)))})


def test_every_gain_that_is_zero() -> None:
    """As the release's formulas have it: sqrt(C)/2**30 * 0, and beta / 0, which is infinite or, for beta 0, NaN."""
    scale, bias = (SOUND[f"{NORM}.{key}"].copy() for key in ("norm_scaling_factor", "bias_integer"))
    scale[[3, 5]], bias[3], bias[5] = 0, np.inf, np.nan
    gamma = SOUND[f"{NORM}.weight"].copy()
    gamma[[3, 5]] = 0
    changes = {f"{NORM}.norm_scaling_factor": scale, f"{NORM}.bias_integer": bias, f"{NORM}.weight": gamma}
    assert new(changes) == {
        "zero-gain": {f"{NORM}.norm_scaling_factor": "2 of 16, first at [3]: 0"},
        "bias-overflow": {f"{NORM}.bias_integer": "2 of 16, first at [3]: inf"},
    }


def folded(gain: float, beta: float, stored: float) -> Told:
    """What is told of a LayerNorm whose channel 2 has this gain and beta and the folded bias ``stored``."""
    changes = {}
    for name, value in (("weight", gain), ("bias", beta), ("norm_scaling_factor", gain * UNIT), ("bias_integer", stored)):
        changes |= with_one(f"{NORM}.{name}", value, 2)
    return new(changes)


def test_gains_below_zero() -> None:
    """floor(2**-8 / -0.5 / 2**-28) = -2**21."""
    scale = f"{NORM}.norm_scaling_factor"
    assert folded(-0.5, 2.0**-8, -(2.0**21)) == {"negative-gain": {scale: "1 of 16, first at [2]: -1.86265e-09"}}


def test_gains_near_zero() -> None:
    """floor(1 / 2**-10 / 2**-28) = 2**38, which the release's converter wraps to 0."""
    key = f"{NORM}.bias_integer"
    assert folded(2.0**-10, 1.0, 2.0**38) == {"bias-overflow": {key: "1 of 16, first at [2]: 2.7487791e+11, no int32"}}
    stale = "1 of 16 differ, first at [2]: stored 0, the float parameter gives 2.74877907e+11"
    assert folded(2.0**-10, 1.0, 0.0) == {"stale-integers": {key: stale}}


@pytest.mark.parametrize(("power", "room"), [(30, False), (30.5, True)])
@pytest.mark.parametrize("sign", [1, -1])
def test_room_above_a_folded_bias(power: float, room: bool, sign: int) -> None:
    stored = sign * np.floor(2.0**power / 2**10) * 2**10
    found = folded(1.0, stored * UNIT, stored)
    value = f"at [2]: {stored:.0f}, beyond 2**30"
    assert found == ({"bias-room": {f"{NORM}.bias_integer": value}} if room else {})


# --- Float parameters: see test_stale.py. Ranges: see test_ranges.py. All together:


def test_many_faults_at_once_are_all_told() -> None:
    """One fault for each rule, and for one of them two places; each in a module of its own."""
    changes = {
        "head.bias_integer": None,
        "blocks.0.attn.proj.bias_integer": None,
        "pos_embed": SOUND["pos_embed"][:, :3],
        **with_one("cls_token", np.nan),
        **with_one("blocks.0.mlp.fc2.weight_integer", 0.5),
        "blocks.0.qact3.act_scaling_factor": np.float32(2.0**-23),
        "blocks.0.qact4.act_scaling_factor": np.float32(0),
        "patch_embed.proj.bias": SOUND["patch_embed.proj.bias"] * 2,
        **with_one("blocks.0.norm2.norm_scaling_factor", 0),
        **with_one("norm.bias_integer", 2.0**31),
    }
    arrays = {k: v for k, v in {**SOUND, **changes}.items() if v is not None}
    findings = examine(State(arrays), SIZES)
    faults = [rule for rule, what in RULES.items() if what.severity == "fault" and rule not in ("refused", "disagreement")]
    assert [f.rule for f in findings if f.severity == "fault"] == faults
    assert len(findings[0].places) == 2
    assert [f.rule for f in findings] == [rule for rule in RULES if rule in places(findings)]
    changed = {key for rule in faults for key in places(findings)[rule]}
    assert changed == {k.replace("proj.bias", "proj.bias_integer") if k == "patch_embed.proj.bias" else k for k in changes}


@given(st.lists(st.sampled_from(READ), min_size=1, max_size=12, unique=True), st.integers(0, 2))
def test_any_number_of_places(keys: list[str], kind: int) -> None:
    rule, broken = [
        ("missing", lambda array: None),
        ("not-finite", lambda array: np.full_like(array, np.nan)),
        ("wrong-shape", lambda array: np.zeros((2, 0), np.float32)),
    ][kind]
    make: Callable[[Array], Array | None] = broken
    found = new({key: make(SOUND[key]) for key in keys})
    told = set(found.get(rule, {})) | (set(found.get("bias-overflow", {})) if rule == "not-finite" else set())
    assert told == set(keys)


# --- The checkpoints of the repository


def test_digits_vit() -> None:
    """Its four scales that clash are those of the four blocks; nothing else of it changes results but the LayerNorms."""
    arrays = read_npz(GRAPHS / "digits_vit.npz")
    findings = examine(State(arrays), recognise(State(arrays), heads=4))
    assert [f.rule for f in findings if f.severity != "note"] == ["scale-clash", "layernorm-wrap"]
    clash = places(findings)["scale-clash"]
    assert clash == {f"blocks.{i}.attn.int_softmax.act_scaling_factor": "3.0517578125e-05 = 2**-15" for i in range(4)}
    norms = [key for key in arrays if re.search(r"norm[12]?\.norm_scaling_factor", key)]
    assert len(places(findings)["layernorm-wrap"]) == len(norms) == 9


def test_digits_swin() -> None:
    arrays = read_npz(GRAPHS / "digits_swin.npz")
    findings = examine(State(arrays), recognise(State(arrays)))
    assert {f.severity for f in findings} == {"note"}
    assert {"layernorm-width", "root-range"} <= set(places(findings))
