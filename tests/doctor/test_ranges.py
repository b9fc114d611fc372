"""What scales and shapes let happen. The limits are worked out by hand, in each test's docstring, from docs/numerics.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ivit_ref.checkpoints import State
from ivit_ref.doctor import examine
from ivit_ref.doctor.rules import RULES
from ivit_ref.models import Config, SwinConfig, ViTConfig, model_graph, random_state
from ivit_ref.models.config import MODELS
from tests.doctor.test_examine import ALWAYS, Told, told

VIT = ViTConfig((8, 8), (2, 2), channels=1, dim=16, depth=1, heads=2, hidden=16, classes=3)
LONG = replace(VIT, image=(28, 28))
"""197 tokens, as at 224x224 in patches of 16x16."""

SWIN = SwinConfig((16, 16), (2, 2), 1, 32, (1, 2), (2, 2), window=4, hidden=32, classes=3)
LOGITS = "blocks.0.attn.qact_attn1.act_scaling_factor"
GELU = "blocks.0.mlp.qact_gelu.act_scaling_factor"
SWIN_ALWAYS = {"layernorm-width", "reload-ranges", "reshaped"}


def changed(config: Config, key: str, value: float) -> Told:
    """What is told of a random state with one scale replaced."""
    return told({**random_state(config).arrays, key: np.float32(value)}, config)


KINDS: Mapping[str, tuple[Config, set[str]]] = {
    "vit": (VIT, ALWAYS),
    "vit, not square": (replace(VIT, image=(4, 10), channels=3), ALWAYS),
    "vit, 197 tokens": (LONG, {*ALWAYS, "flat-rows"}),
    "swin": (SWIN, {*SWIN_ALWAYS, "root-range"}),
    "swin without a norm of patches, one stage": (
        replace(SWIN, depths=(2,), heads=(2,), patch_norm=False),
        SWIN_ALWAYS,
    ),
    "swin without a norm of patches": (replace(SWIN, patch_norm=False), {*SWIN_ALWAYS, "root-range"}),
    "swin with positions": (replace(SWIN, position=True), {*SWIN_ALWAYS, "root-range"}),
    "deit-tiny": (MODELS["deit_tiny_patch16_224"], {*ALWAYS, "flat-rows"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_random_states_have_no_fault(kind: str) -> None:
    config, rules = KINDS[kind]
    assert set(told(random_state(config).arrays, config)) == rules


@pytest.mark.parametrize("axis", [(), (1,)])
def test_a_model_without_qkv_bias(axis: tuple[int, ...]) -> None:
    """No block has a trace of one: it is not missing. One block that has a trace asks for all."""
    deep = replace(VIT, depth=2)
    arrays = {k: v for k, v in random_state(deep).arrays.items() if not k.endswith("qkv.bias_integer")}
    assert set(told(arrays, replace(deep, qkv_bias=False))) == ALWAYS
    for trace in ("bias", "bias_integer"):
        found = told({**arrays, f"blocks.1.attn.qkv.{trace}": np.zeros(48, np.float32)}, deep)
        missing = {"blocks.0.attn.qkv.bias_integer", "blocks.1.attn.qkv.bias_integer"}
        assert set(found["missing"]) == (missing if trace == "bias" else {"blocks.0.attn.qkv.bias_integer"})


def test_scale_clash_is_of_checkpoints_as_trained() -> None:
    """The published mend multiplies the stored 2**-15 by 256."""
    key = "blocks.0.attn.int_softmax.act_scaling_factor"
    assert changed(VIT, key, 2.0**-15)["scale-clash"] == {key: "3.0517578125e-05 = 2**-15"}
    assert "scale-clash" not in changed(VIT, key, 2.0**-7)
    without = {k: v for k, v in random_state(VIT).arrays.items() if k != key}
    assert told(without, VIT)["scale-clash"] == {key: "not stored; the release has 2**-15"}
    assert "scale-clash" in told({**without, key: np.full(1, 2.0**-15)}, VIT)


@pytest.mark.parametrize(("image", "tokens"), [((32, 16), 129), ((254, 2), 128), ((28, 28), 197)])
def test_flat_rows(image: tuple[int, int], tokens: int) -> None:
    """floor(128 / L) is 0 from 129 tokens on."""
    config = replace(VIT, image=image, patch=(2, 2))
    assert config.tokens == tokens
    found = told(random_state(config).arrays, config).get("flat-rows")
    text = f"{tokens} equal logits give floor(128 / {tokens}) = 0 each"
    assert found == ({"blocks.0.attn.int_softmax": text} if tokens > 128 else None)


@pytest.mark.parametrize(
    ("scale", "profiles"),
    [(0.00603, []), (0.00602, ["tvm"]), (0.00599, ["tvm"]), (0.00302, ["tvm"]), (0.003, ["qat", "tvm"])],
)
def test_sums_of_exponentials(scale: float, profiles: list[str]) -> None:
    """Of L equal logits each exponential is i0 * 2**n.

    tvm, n = 16: 197 * i0 * 2**16 is beyond 2**31 - 1 from i0 = 167 on; i0 = floor(1/S + 1), so up to S = 1/166 = 0.006024.
    qat, n = 15: from i0 = 333 on; i0 = ceil(1/S), so below S = 1/332 = 0.003012. The dictionary has one place for a key.
    """
    state = State({**random_state(LONG).arrays, LOGITS: np.float32(scale)})
    places = [p for f in examine(state, LONG) if f.rule == "shiftmax-sum" for p in f.places]
    assert {p.key for p in places} <= {LOGITS}
    assert [p.value.rpartition(" in ")[2] for p in places] == profiles
    total = {"tvm": 197 * int(1 / scale + 1) * 2**16, "qat": 197 * -int(-1 // scale) * 2**15}
    assert all(f"sum up to {total[p.value.rpartition(' in ')[2]]:.3g} > 2**31 - 1" in p.value for p in places)


LOST = {3: 25, 2: 33, 1: 50}
"""Percent that a quotient may be too small with such a reciprocal: 1 / (F + 1)."""


@pytest.mark.parametrize(("unit", "factor"), [(82, 4), (83, 4), (84, 3), (110, 3), (111, 2), (166, 2), (167, 1), (1000, 1)])
def test_the_reciprocal_of_shiftmax(unit: int, factor: int) -> None:
    """197 * i0 * 2**15 goes into 2**31 - 1 four times up to i0 = 83, three times up to 110, twice up to 166; then once."""
    scale = np.float32(1 / (unit - 0.5))
    found = changed(LONG, LOGITS, scale).get("int-div", {})
    text = f"{scale:.6g}: the smallest reciprocal is {factor}: quotients up to {LOST.get(factor)} % too small"
    assert found == ({LOGITS: text} if factor in LOST else {})


@pytest.mark.parametrize(("unit", "factor"), [(31, 4), (32, 3), (42, 3), (43, 2), (63, 2), (64, 1), (200, 1)])
def test_the_reciprocal_of_gelu(unit: int, factor: int) -> None:
    """The largest pair is 2 * i0 * 2**23 = i0 / 128 of 2**31, its reciprocal floor(127.99 / i0); i0 = ceil(1 / (1.702 * S))."""
    found = changed(VIT, GELU, 1 / (1.702 * (unit - 0.5))).get("int-div", {})
    assert set(found) == ({GELU} if factor in LOST else set())
    end = f"the smallest reciprocal is {factor}: quotients up to {LOST.get(factor)} % too small"
    assert factor == 4 or found[GELU].endswith(end)


@pytest.mark.parametrize(("scale", "wraps"), [(0.00463, False), (0.00462, True), (0.00459, True), (0.001, True)])
def test_pairs_of_exponentials(scale: float, wraps: bool) -> None:
    """tvm: 2 * i0 * 2**23 is beyond 2**31 - 1 from i0 = 128 on; i0 = floor(1/(1.702*S) + 1), so up to S = 0.004626."""
    found = changed(VIT, GELU, scale).get("gelu-sum", {})
    pair = 2 * int(1 / (1.702 * scale) + 1) * 2**23
    assert found == ({GELU: f"{scale:.6g}: two exponentials sum up to {pair:.3g} > 2**31 - 1"} if wraps else {})


def test_the_last_scale_whose_pair_wraps() -> None:
    """In doubles, as TVM has it: of float32, the last at or below 1 / (127 * 1.702), and not the one after it."""
    limit = 1 / (127 * Fraction("1.702"))
    last = np.float32(float(limit))
    while Fraction(float(last)) > limit:
        last = np.nextafter(last, np.float32(0))
    after = np.nextafter(last, np.float32(1))
    assert Fraction(float(last)) <= limit < Fraction(float(after))
    assert ["gelu-sum" in changed(VIT, GELU, float(scale)) for scale in (last, after)] == [True, False]


@pytest.mark.parametrize(("scale", "beyond"), [(0.0737, False), (0.0738, True), (1.0, False), (0.5, True)])
def test_the_range_of_gelu(scale: float, beyond: bool) -> None:
    """23 * ln 2 / 1.702 = 9.367: 127 * 0.0737 = 9.360, 127 * 0.0738 = 9.373. At S = 1, i0 = ceil(0.59) = 1 still is one."""
    found = changed(VIT, GELU, scale).get("gelu-range", {})
    expected = f"{scale:.6g}: inputs reach 127 steps, {127 * scale:.2f}"
    assert found == ({GELU: expected} if beyond or scale == 1 else {})


@pytest.mark.parametrize(("dim", "mean", "deviation"), [(192, "170.7", 4730), (384, "85.3", 3344), (768, "42.7", 2365)])
def test_the_widths_of_the_deployed_layer_norm(dim: int, mean: str, deviation: int) -> None:
    """A sum of C numbers leaves int16 from a mean of 32767/C on, one of squares uint32 from a deviation of sqrt(2**32/C) on.

    The survey of the published codes gives 4729.7, 3344.4 and 2364.8 for DeiT-T, -S and -B.
    """
    config = replace(VIT, dim=dim)
    text = f"int16, {dim} channels: a row wraps from a mean of {mean} or a deviation of {deviation} steps on"
    keys = ("qact1", "blocks.0.qact2", "blocks.0.qact4")
    found = told(random_state(config).arrays, config)
    assert found["layernorm-wrap"] == {f"{key}.act_scaling_factor": text for key in keys}
    assert "layernorm-width" not in found


def test_the_root_of_norms_of_8_bits() -> None:
    """sqrt(34,596) = 186: over sqrt(C), 32.88 for 32 channels, 23.25 for 64, 16.44 for 128."""
    found = told(random_state(SWIN).arrays, SWIN)
    quiet = {32: "32.9", 64: "23.2", 128: "16.4"}
    dims = {"patch_embed.qact_before_norm": 32, "layers.0.downsample.qact2": 64}
    text = "int8, {} channels: rows with a deviation below {} steps"
    assert found["root-range"] == {f"{k}.act_scaling_factor": text.format(c, quiet[c]) for k, c in dims.items()}
    deeper = SwinConfig((16, 16), (2, 2), 1, 32, (1, 1, 1), (2, 2, 2), window=2, hidden=32, classes=3)
    again = told(random_state(deeper).arrays, deeper)["root-range"]
    assert again["layers.1.downsample.qact2.act_scaling_factor"] == text.format(128, quiet[128])


def test_swin_has_neither_fault_of_the_deployment() -> None:
    found = told(random_state(SWIN).arrays, SWIN)
    assert not {"scale-clash", "layernorm-wrap", "flat-rows"} & set(found)
    assert len(found["layernorm-width"]) == 9 - 2


def test_ranges_that_were_kept() -> None:
    """A checkpoint with the range of even one scale comes from code that saves them."""
    arrays = dict(random_state(VIT).arrays)
    acts = [key for key in arrays if key.endswith("act_scaling_factor") and "int_softmax" not in key and ".act." not in key]
    assert told(arrays, VIT)["reload-ranges"] == {
        "*.act_scaling_factor": f"{len(acts)} scales, none with the range that it came from"
    }
    for name in ("min_val", "max_val"):
        assert "reload-ranges" not in told({**arrays, f"qact1.{name}": np.zeros(1, np.float32)}, VIT)


def test_buffers_as_they_are_registered() -> None:
    """With every scale of shape [1], only the LayerNorms' differ from what is registered; they hold a scale per channel."""
    arrays: dict[str, Any] = {k: v.reshape(-1) if v.ndim == 0 else v for k, v in random_state(VIT).arrays.items()}
    key = "blocks.0.norm1.norm_scaling_factor"
    assert told(arrays, VIT)["reshaped"] == {key: "has shape [16], and is registered with [1]; so are 3 buffers in all"}
    single = {"qact1.act_scaling_factor": arrays["qact1.act_scaling_factor"].reshape(())}
    value = "has shape [], and is registered with [1]; so are 4 buffers in all"
    assert told({**arrays, **single}, VIT)["reshaped"] == {"qact1.act_scaling_factor": value}


def test_fine_scales_leave_a_valid_graph() -> None:
    """Notes are no faults: the graph is built."""
    for key, scale in ((LOGITS, 0.001), (GELU, 0.004), (GELU, 0.5)):
        model_graph(State({**random_state(VIT).arrays, key: np.float32(scale)}), VIT)


def test_every_rule_is_reached() -> None:
    """``refused`` and ``disagreement`` are the command's (see ``test_cli_doctor``); each other has a test of its own too."""
    fine = {
        **random_state(LONG).arrays,
        LOGITS: np.float32(0.003),
        GELU: np.float32(0.001),
        "norm.bias_integer": np.full(16, 2e9),
    }
    gains = {"norm.norm_scaling_factor": np.full(16, -1e-9), GELU: np.float32(0.5)}
    found = set(told(fine, LONG)) | set(told({**random_state(VIT).arrays, **gains}, VIT))
    found |= set(changed(VIT, "blocks.0.attn.int_softmax.act_scaling_factor", 2.0**-7))
    found |= set(changed(VIT, GELU, 1 / (1.702 * 42.5))) | set(told(random_state(SWIN).arrays, SWIN))
    notes = {rule for rule, what in RULES.items() if what.severity != "fault"}
    assert found == notes
