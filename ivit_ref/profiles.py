"""The published versions of I-ViT, each a named set of the choices in which they differ.

A profile is applied when a graph is built or rewritten; every choice ends up in the attributes of a node, and nothing is
an ambient mode. ``PAPER``: arXiv 2207.01405. ``QAT``: the released PyTorch code, in exact integers. ``TVM``: the released
deployment, with its int16, int32 and uint32 widths. ``IDEAL``: like ``QAT``, but with exact sums and exact roots.

The evidence for each value is in ``docs/numerics.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ivit_ref import dyadic
from ivit_ref.errors import GraphError
from ivit_ref.integers import Rounding
from ivit_ref.ir import Attribute

Half = Literal["keep", "drop"]
Quotient = Literal["floor", "truncate"]
Sum = Literal["exact", "clamped", "int32"]
Sigmoid = Literal["folded", "shifts"]
MeanRounding = Literal["half_even", "half_away", "truncate"]


@dataclass(frozen=True)
class Profile:
    """One column of the table of choices; the parameters are named as the attributes they become."""

    name: str
    i0: dyadic.UnitRule
    softmax_n: int
    gelu_n: int
    clamp: bool
    half: Half
    quotient: Quotient
    exp_bits: Literal[32, 64]
    sum: Sum
    numerator: int
    product_bits: Literal[32, 64]
    softmax_out_bits: int
    sigmoid: Sigmoid
    mean_rounding: MeanRounding
    mean_bits: Literal[16, 64]
    variance_bits: Literal[32, 64]
    sqrt_start: int
    sqrt_steps: int
    halving: Literal["floor", "truncate"]
    rounding: Rounding

    def shift_exp(self, scale: float) -> dict[str, Attribute]:
        """All attributes of ``ShiftExp`` for an input whose step is worth ``scale`` (with Shiftmax's n)."""
        return {"i0": dyadic.exp_unit(scale, self.i0), "n": self.softmax_n, **self._exponential()}

    def int_div(self, out_bits: int) -> dict[str, Attribute]:
        """All attributes of ``IntDiv`` for a quotient of ``out_bits`` bits."""
        return {**self._division(), "out_bits": out_bits, "dtype": f"int{out_bits}"}

    def int_sqrt(self) -> dict[str, Attribute]:
        """All attributes of ``IntSqrt``."""
        return {"start": self.sqrt_start, "steps": self.sqrt_steps}

    def shiftmax(self, scale: float) -> dict[str, Attribute]:
        """All attributes of ``Shiftmax`` for logits whose step is worth ``scale``."""
        return {**self.shift_exp(scale), "sum": self.sum, **self.int_div(self.softmax_out_bits)}

    def shift_gelu(self, scale: float) -> dict[str, Attribute]:
        """All attributes of ``ShiftGELU`` for an input whose step is worth ``scale``."""
        unit = dyadic.exp_unit(scale, self.i0, sigmoid=self.sigmoid == "folded")
        exponential = {"i0": unit, "n": self.gelu_n, **self._exponential()}
        return {**exponential, "sum": self.sum, **self._division(), "out_bits": 8, "sigmoid": self.sigmoid}

    def i_layer_norm(self) -> dict[str, Attribute]:
        """All attributes of ``ILayerNorm``."""
        return {
            "mean_rounding": self.mean_rounding,
            "mean_bits": self.mean_bits,
            "variance_bits": self.variance_bits,
            "sqrt_start": self.sqrt_start,
            "sqrt_steps": self.sqrt_steps,
            "product_bits": self.product_bits,
            "halving": self.halving,
        }

    def _exponential(self) -> dict[str, Attribute]:
        return {"clamp": self.clamp, "half": self.half, "quotient": self.quotient, "exp_bits": self.exp_bits}

    def _division(self) -> dict[str, Attribute]:
        return {"numerator": self.numerator, "product_bits": self.product_bits}


QAT = Profile(
    name="qat",
    i0="ceil",
    softmax_n=15,
    gelu_n=23,
    clamp=True,
    half="keep",
    quotient="floor",
    exp_bits=64,
    sum="clamped",
    numerator=2**31 - 1,
    product_bits=64,
    softmax_out_bits=16,
    sigmoid="folded",
    mean_rounding="half_even",
    mean_bits=64,
    variance_bits=64,
    sqrt_start=2**16,
    sqrt_steps=10,
    halving="floor",
    rounding="half_even",
)
"""zkkli/I-ViT: models/quantization_utils, models/vit_quant.py."""

IDEAL = Profile(
    name="ideal",
    i0="ceil",
    softmax_n=15,
    gelu_n=23,
    clamp=True,
    half="keep",
    quotient="floor",
    exp_bits=64,
    sum="exact",
    numerator=2**31 - 1,
    product_bits=64,
    softmax_out_bits=16,
    sigmoid="folded",
    mean_rounding="half_even",
    mean_bits=64,
    variance_bits=64,
    sqrt_start=0,
    sqrt_steps=0,
    halving="floor",
    rounding="half_even",
)
"""As QAT, without what its widths and its fixed number of square-root steps cost."""

PAPER = Profile(
    name="paper",
    i0="round",
    softmax_n=15,
    gelu_n=23,
    clamp=False,
    half="drop",
    quotient="floor",
    exp_bits=64,
    sum="exact",
    numerator=2**31,
    product_bits=64,
    softmax_out_bits=8,
    sigmoid="shifts",
    mean_rounding="half_even",
    mean_bits=64,
    variance_bits=64,
    sqrt_start=0,
    sqrt_steps=10,
    halving="floor",
    rounding="floor",
)
"""arXiv 2207.01405, Algorithms 1 and 2; where the paper leaves a value free, the released one."""

TVM = Profile(
    name="tvm",
    i0="floor_plus_one",
    softmax_n=16,
    gelu_n=23,
    clamp=True,
    half="drop",
    quotient="truncate",
    exp_bits=32,
    sum="int32",
    numerator=2**31 - 1,
    product_bits=32,
    softmax_out_bits=8,
    sigmoid="folded",
    mean_rounding="truncate",
    mean_bits=16,
    variance_bits=32,
    sqrt_start=2**16,
    sqrt_steps=10,
    halving="truncate",
    rounding="half_up",
)
"""zkkli/I-ViT: TVM_benchmark/models/layers.py, on TVM 0.9."""

PROFILES: Mapping[str, Profile] = {p.name: p for p in (PAPER, QAT, TVM, IDEAL)}

SOFTMAX_BITS = "softmax_bits"
"""The metadata of a model whose Shiftmax has the same bits in every profile, because it was trained with them (Swin: 8)."""


def fitted(profile: Profile, metadata: Mapping[str, str]) -> Profile:
    """The profile for a model of this metadata."""
    bits = metadata.get(SOFTMAX_BITS)
    if bits is None:
        return profile
    if bits not in ("8", "16"):
        raise GraphError(f"metadata {SOFTMAX_BITS!r}: must be 8 or 16, but found {bits!r}")
    return replace(profile, softmax_out_bits=int(bits))


def profile_named(profile: str | Profile) -> Profile:
    """The profile of that name; a ``Profile`` stands for itself (``dataclasses.replace`` makes variants)."""
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise GraphError(f"profile: must be one of {', '.join(PROFILES)}, but found {profile!r}")
    return PROFILES[profile]
