"""Whether scales keep the non-linear operators in the range where they approximate what they stand for.

The limits are those of docs/numerics.md, "Limits that the operators have". They follow from scales and shapes alone: what can
happen. What does happen is counted by a run (``--images``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ivit_ref import dyadic
from ivit_ref.doctor.buffers import Reals
from ivit_ref.doctor.finding import Findings
from ivit_ref.models.sites import Gelu, Norm, Softmax
from ivit_ref.profiles import QAT, TVM, Profile

CONVERGED_FROM = 34_596
"""From here on ten steps from 2**16 are within one of the square root, up to 2**45."""

GELU_LIMIT = QAT.gelu_n * math.log(2) / 1.702
TOLERATED_LOSS = 0.1
"""Of the largest result of IntDiv, by the few bits of its reciprocal."""


def check_bits(site: Softmax, stored: float | None, found: Findings) -> None:
    """The bits that a Shiftmax emits; ``stored`` is the scale that the checkpoint has for its result."""
    if site.bits == 16 and (stored is None or stored == 2.0**-15):
        value = f"{stored!r} = 2**-15" if stored else "not stored; the release has 2**-15"
        found.add("scale-clash", f"{site.name}.act_scaling_factor", value)
    elif stored is not None and stored != 2.0 ** (1 - site.bits):
        value = f"{stored:.8g}, where {site.bits} bits have 2**-{site.bits - 1}"
        found.add("softmax-scale", f"{site.name}.act_scaling_factor", value)
    if site.length > 2**7:
        found.add("flat-rows", site.name, f"{site.length} equal logits give floor(128 / {site.length}) = 0 each")


def check_sum(site: Softmax, step: float, found: Findings) -> None:
    """Shiftmax of logits whose step is worth ``step``."""
    key = f"{site.source}.act_scaling_factor"
    for profile in (QAT, TVM):
        total = _softmax_total(profile, step, site.length)
        if total > 2**31 - 1:
            value = f"{step:.6g}: {site.length} equal logits sum up to {total:.3g} > 2**31 - 1 in {profile.name}"
            found.add("shiftmax-sum", key, value)
    _check_reciprocal(key, step, _softmax_total(QAT, step, site.length), f"{site.length} equal logits", found)


def _softmax_total(profile: Profile, step: float, length: int) -> int:
    return length * dyadic.exp_unit(step, profile.i0) << profile.softmax_n


def check_gelu(site: Gelu, step: float, found: Findings) -> None:
    """ShiftGELU of an input whose step is worth ``step``."""
    key = f"{site.source}.act_scaling_factor"
    if 127 * step > GELU_LIMIT:
        found.add("gelu-range", key, f"{step:.6g}: inputs reach 127 steps, {127 * step:.2f}")
    pair = 2 * dyadic.exp_unit(step, QAT.i0, sigmoid=True) << QAT.gelu_n
    _check_reciprocal(key, step, pair, "an input of 0 in a row whose maximum is 0", found)
    deployed = 2 * dyadic.exp_unit(step, TVM.i0, sigmoid=True) << TVM.gelu_n
    if deployed > 2**31 - 1:
        found.add("gelu-sum", key, f"{step:.6g}: two exponentials sum up to {deployed:.3g} > 2**31 - 1")


def _check_reciprocal(key: str, step: float, denominator: int, of_what: str, found: Findings) -> None:
    """What the rounding down of floor((2**31 - 1) / denominator) loses."""
    denominator = min(denominator, 2**31 - 1)
    factor = (2**31 - 1) // denominator
    loss = 1 - factor * denominator / (2**31 - 1)
    if loss > TOLERATED_LOSS:
        found.add("int-div", key, f"{step:.6g}: the reciprocal is {factor} for {of_what}, {100 * loss:.1f} % too small")


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
