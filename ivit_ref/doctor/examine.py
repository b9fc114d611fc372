"""Everything that can be said of a checkpoint without running it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

import numpy as np

from ivit_ref.checkpoints import State
from ivit_ref.doctor import ranges, weights
from ivit_ref.doctor.buffers import Reals, numbers, usable
from ivit_ref.doctor.finding import Finding, Findings
from ivit_ref.errors import ScaleError
from ivit_ref.models.config import Config, ViTConfig
from ivit_ref.models.sites import Act, Gelu, Layer, Norm, Site, Softmax, sites


def examine(state: State, config: Config) -> list[Finding]:
    """The findings, the gravest first."""
    found = Findings()
    steps: dict[str, float] = {}
    expected = [_without_missing_bias(state, site) for site in sites(config)]
    for site in expected:
        _check(state, site, steps, found, deployed=isinstance(config, ViTConfig))
    _check_reload(state, expected, found)
    return found.all()


def _check(state: State, site: Site, steps: dict[str, float], found: Findings, *, deployed: bool) -> None:
    """One module; ``steps`` has the scales of those before it."""
    values = usable(state, site, found)
    if isinstance(site, Act):
        if site.scale in values:
            steps[site.name] = float(values[site.scale])
        return
    with np.errstate(all="ignore"):  # what overflows here differs from what is stored, and is told
        _check_values(state, site, values, steps, found, deployed=deployed)


def _check_values(
    state: State, site: Site, values: Mapping[str, Reals], steps: Mapping[str, float], found: Findings, *, deployed: bool
) -> None:
    if isinstance(site, Layer):
        weights.check_layer(state, site, values, steps.get(site.source), found)
    if isinstance(site, Norm):
        weights.check_norm(state, site, values, found)
        ranges.check_norm(site, values, found, deployed=deployed)
    if isinstance(site, Softmax):
        stored = numbers(state, f"{site.name}.act_scaling_factor")
        ranges.check_bits(site, float(stored.reshape(-1)[0]) if stored is not None and stored.size else None, found)
    if isinstance(site, Softmax | Gelu) and site.source in steps:
        with suppress(ScaleError):  # a scale without an i0: building the graph refuses it
            if isinstance(site, Gelu):
                ranges.check_gelu(site, steps[site.source], found)
            else:
                ranges.check_sum(site, steps[site.source], found)


def _without_missing_bias(state: State, site: Site) -> Site:
    """A model without qkv_bias has no trace of one in any block."""
    if not isinstance(site, Layer) or not site.name.endswith("attn.qkv"):
        return site
    has = any(".attn.qkv.bias" in key for key in state.arrays)
    return site if has else Layer(site.name, site.shape, site.source, bias=False)


def _check_reload(state: State, expected: Iterable[Site], found: Findings) -> None:
    """What happens to those who load the checkpoint into PyTorch again."""
    acts = [site for site in expected if isinstance(site, Act)]
    if not any(key.endswith((".min_val", ".max_val")) for key in state.arrays) and not found.has("epsilon-scale"):
        found.add("reload-ranges", "*.act_scaling_factor", f"{len(acts)} scales, none with the range that it came from")
    reshaped = {site.scale: (1,) for site in acts}
    reshaped |= {f"{site.name}.norm_scaling_factor": (1,) for site in expected if isinstance(site, Norm)}
    changed = {
        key: state.arrays[key].shape for key, shape in reshaped.items() if key in state and state.arrays[key].shape != shape
    }
    if changed:
        key, shape = next(iter(changed.items()))
        found.add("reshaped", key, f"has shape {list(shape)}, and is registered with [1]; so are {len(changed)} buffers in all")
