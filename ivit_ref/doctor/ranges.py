"""Whether scales keep the non-linear operators in the range where they approximate what they stand for.

The limits are those of docs/numerics.md, "Limits that the operators have". They follow from scales and shapes alone: what can
happen. What does happen is counted by a run (``--images``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ivit_ref import dyadic
from ivit_ref.doctor.buffers import Reals
from ivit_ref.doctor.finding import Findings
from ivit_ref.models.sites import Gelu, Norm, Softmax
from ivit_ref.profiles import QAT, Profile

CONVERGED_FROM = 34_596
"""From here to 2**32 ten steps from 2**16 are within one of the square root (docs/numerics.md)."""

GELU_LIMIT = QAT.gelu_n * math.log(2) / 1.702
DEPLOYED_STEP = 2.0**-7
"""What a step of the deployed Shiftmax is worth."""

FEWEST = 4
"""A reciprocal below this has fewer than three bits."""


def check_bits(site: Softmax, stored: float | None, believed: float | None, found: Findings) -> None:
    """The bits that a Shiftmax emits.

    ``stored`` is the scale that the checkpoint has for its result, ``believed`` the factor that it has in ``matmul_2``'s, which
    is what the released deployment requantizes with. A checkpoint that has neither is taken for one of the release: 2**-15.
    """
    key = f"{site.name}.act_scaling_factor"
    if site.bits == 16 and believed != DEPLOYED_STEP:
        value = "not stored; the release has 2**-15" if stored is None else f"{stored:.11g}{' = 2**-15' * (stored == 2.0**-15)}"
        also = "" if believed in (None, stored) else f", and matmul_2.act_scaling_factor has it as {believed:.11g}"
        found.add("scale-clash", key, value + also)
    if stored is not None and stored != 2.0 ** (1 - site.bits):
        found.add("softmax-scale", key, f"{stored:.8g}, where {site.bits} bits have 2**-{site.bits - 1}")
    if site.length > 2**7:
        found.add("flat-rows", site.name, f"{site.length} equal logits give floor(128 / {site.length}) = 0 each")


def check_sum(site: Softmax, step: float, profiles: Sequence[Profile], found: Findings) -> None:
    """The sums of Shiftmax, for logits whose step is worth ``step``."""
    key = f"{site.source}.act_scaling_factor"
    for profile in profiles:
        total = (site.length * dyadic.exp_unit(step, profile.i0)) << profile.softmax_n
        if total > 2**31 - 1:
            value = f"{step:.6g}: {site.length} equal logits sum up to {total:.3g} > 2**31 - 1 in {profile.name}"
            found.add("shiftmax-sum", key, value)
        if profile is QAT:
            _check_reciprocal(key, step, total, found)


def check_gelu(site: Gelu, step: float, profiles: Sequence[Profile], found: Findings) -> None:
    """ShiftGELU of an input whose step is worth ``step``."""
    key = f"{site.source}.act_scaling_factor"
    if 127 * step > GELU_LIMIT:
        found.add("gelu-range", key, f"{step:.6g}: inputs reach 127 steps, {127 * step:.2f}")
    for profile in profiles:
        pair = (2 * dyadic.exp_unit(step, profile.i0, sigmoid=True)) << profile.gelu_n
        if profile is QAT:
            _check_reciprocal(key, step, pair, found)
        elif pair > 2**31 - 1:
            found.add("gelu-sum", key, f"{step:.6g}: two exponentials sum up to {pair:.3g} > 2**31 - 1")


def _check_reciprocal(key: str, step: float, largest: int, found: Findings) -> None:
    """What the rounding down of floor((2**31 - 1) / d) can lose, for denominators up to the largest."""
    factor = (2**31 - 1) // min(largest, 2**31 - 1)
    if factor < FEWEST:
        loss = 100 / (factor + 1)
        found.add("int-div", key, f"{step:.6g}: the smallest reciprocal is {factor}: quotients up to {loss:.0f} % too small")


def check_norm(site: Norm, values: Mapping[str, Reals], found: Findings, *, deployed: bool) -> None:
    """I-LayerNorm: its widths, which the release has ``deployed`` or not, its square root, its folded parameters."""
    key = f"{site.source}.act_scaling_factor"
    if site.bits == 16:
        mean, spread = (2**15 - 1) / site.dim, math.sqrt(2**32 / site.dim)
        value = f"int16, {site.dim} channels: a row wraps from a mean of {mean:.1f} or a deviation of {spread:.0f} steps on"
        found.add("layernorm-wrap" if deployed else "layernorm-width", key, value)
    else:
        quiet = math.sqrt(CONVERGED_FROM / site.dim)
        found.add("root-range", key, f"int8, {site.dim} channels: rows with a deviation below {quiet:.1f} steps")
    _check_folded(site, values, found)


def _check_folded(site: Norm, values: Mapping[str, Reals], found: Findings) -> None:
    key = f"{site.name}.norm_scaling_factor"
    gains = values.get(key)
    if gains is not None and (gains < 0).any():
        negative = np.flatnonzero(gains < 0)
        found.add("negative-gain", key, f"{negative.size} of {site.dim}, first at [{negative[0]}]: {gains[negative[0]]:.6g}")
    key = f"{site.name}.bias_integer"
    bias = values.get(key)
    if bias is not None and np.abs(bias).max() > 2**30:
        worst = int(np.argmax(np.abs(bias)))
        found.add("bias-room", key, f"at [{worst}]: {bias[worst]:.0f}, beyond 2**30")
