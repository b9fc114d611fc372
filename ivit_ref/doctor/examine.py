"""Everything that can be said of a checkpoint without running it."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from ivit_ref.checkpoints import State
from ivit_ref.doctor import ranges, weights
from ivit_ref.doctor.buffers import numbers, usable
from ivit_ref.doctor.finding import Finding, Findings
from ivit_ref.errors import ScaleError
from ivit_ref.models.config import Config, ViTConfig
from ivit_ref.models.sites import Act, Gelu, Layer, Norm, Site, Softmax, sites
from ivit_ref.profiles import QAT, TVM


def examine(state: State, config: Config) -> list[Finding]:
    """The findings, the gravest first."""
    examination = _Examination(state, deployed=isinstance(config, ViTConfig))
    with np.errstate(all="ignore"):  # what overflows here differs from what is stored, and is told
        for site in sites(config):
            examination.check(site)
    examination.check_reload()
    return examination.found.all()


class _Examination:
    """Goes through the modules in the order of the forward pass; ``steps`` has the scales of those before."""

    def __init__(self, state: State, *, deployed: bool) -> None:
        self.state, self.deployed = state, deployed
        self.profiles = (QAT, TVM) if deployed else (QAT,)
        self.found = Findings()
        self.steps: dict[str, float] = {}
        self.acts = 0

    def check(self, site: Site) -> None:
        """One module."""
        values = usable(self.state, site, self.found)
        self.acts += isinstance(site, Act)
        if isinstance(site, Act) and site.scale in values:
            self.steps[site.name] = float(values[site.scale])
        elif isinstance(site, Layer):
            weights.check_layer(self.state, site, values, self.steps.get(site.source), self.found)
        elif isinstance(site, Norm):
            weights.check_norm(self.state, site, values, self.found)
            ranges.check_norm(site, values, self.found, deployed=self.deployed)
        elif isinstance(site, Softmax):
            self._check_softmax(site)
        elif isinstance(site, Gelu) and site.source in self.steps:
            with suppress(ScaleError):  # a scale without an i0: building the graph refuses it
                ranges.check_gelu(site, self.steps[site.source], self.profiles, self.found)

    def _check_softmax(self, site: Softmax) -> None:
        attention = site.name.rpartition(".")[0]
        product, values = self._scale(f"{attention}.matmul_2"), self.steps.get(f"{attention}.qact1")
        stored = self._scale(site.name)
        believed = product / values if product is not None and values is not None else stored
        ranges.check_bits(site, stored, believed, self.found)
        if site.source in self.steps:
            with suppress(ScaleError):
                ranges.check_sum(site, self.steps[site.source], self.profiles, self.found)

    def _scale(self, module: str) -> float | None:
        """A scale that the integer graph does not read, if it is there and was ever written."""
        array = numbers(self.state, f"{module}.act_scaling_factor")
        return None if array is None or array.size != 1 or not np.isfinite(array).all() else float(array.reshape(())) or None

    def check_reload(self) -> None:
        """What happens to those who load the checkpoint into PyTorch again."""
        if not any(key.endswith((".min_val", ".max_val")) for key in self.state.arrays) and not self.found.has("epsilon-scale"):
            self.found.add(
                "reload-ranges", "*.act_scaling_factor", f"{self.acts} scales, none with the range that it came from"
            )
        scales = [key for key in self.state.arrays if key.endswith(("act_scaling_factor", "norm_scaling_factor"))]
        shapes = {key: self.state.arrays[key].shape for key in scales}
        changed = [key for key, shape in shapes.items() if shape != (1,)]
        if changed:
            value = f"has shape {list(shapes[changed[0]])}, and is registered with [1]; so are {len(changed)} buffers in all"
            self.found.add("reshaped", changed[0], value)
