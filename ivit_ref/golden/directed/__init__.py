"""Directed vectors: for each operator and profile the cases at which published or likely backends go wrong.

``groups`` has what is written into the suites, ``refusals`` the calls that no backend may answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ivit_ref.errors import GraphError
from ivit_ref.golden.directed import (
    baselines,
    division,
    elementwise,
    exponential,
    ibert,
    linear,
    movement,
    norm,
    runtimes,
    scale,
    shift_gelu,
    shiftmax,
)
from ivit_ref.golden.directed.refused import refusals
from ivit_ref.golden.group import Group
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import lookup

__all__ = ["groups", "profiled", "refusals"]

PROFILED: Mapping[str, Callable[[str], Iterator[Group]]] = {
    "ShiftExp": exponential.groups,
    "IntDiv": division.quotients,
    "IntSqrt": division.roots,
    "Shiftmax": shiftmax.groups,
    "ShiftGELU": shift_gelu.groups,
    "ILayerNorm": norm.layer_norms,
    "ReduceMean": norm.means,
    "Requantize": scale.requantizations,
    "RequantizeAdd": scale.additions,
}
"""The operators in which a profile has a say."""

PLAIN: Mapping[str, Callable[[], Iterator[Group]]] = {
    "MatMul": linear.matmuls,
    "Linear": linear.linears,
    "Conv": linear.convs,
    "Mul": linear.products,
    "ReduceSum": linear.sums,
    "Quantize": elementwise.quantizations,
    "Dequantize": elementwise.dequantizations,
    "Center": elementwise.centers,
    "Rescale": elementwise.rescalings,
    "Clip": elementwise.clips,
    "Lookup": elementwise.lookups,
    "L1LayerNorm": baselines.l1_layer_norms,
    "ITASoftmax": baselines.ita_softmaxes,
    "FloatSoftmax": baselines.float_softmaxes,
    "FloatGELU": baselines.float_gelus,
    "FloatLayerNorm": baselines.float_layer_norms,
    "Where": elementwise.wheres,
    "MaxPool": elementwise.pools,
    "IBertSoftmax": ibert.softmaxes,
    "IBertGELU": ibert.gelus,
    "IBertLayerNorm": ibert.layer_norms,
    "LogIntSoftmax": ibert.log_softmaxes,
    "ShiftMatMul": ibert.shift_products,
    "Reshape": movement.reshapes,
    "Transpose": movement.transposes,
    "Concat": movement.concats,
    "Slice": movement.slices,
    "Take": movement.takes,
    "Roll": movement.rolls,
    "Expand": movement.expansions,
    "GemmlowpRequantize": runtimes.gemmlowp_requantizations,
    "TosaRescale": runtimes.tosa_rescalings,
    "TFLiteSoftmax": runtimes.tflite_softmaxes,
}
"""The operators that mean the same in every profile."""

WITHOUT_PROFILE = ("ReduceMean", "Requantize", "RequantizeAdd")
"""Profiled operators with rules of rounding that no profile has: these are groups of no profile."""


def profiled(op: str) -> bool:
    """Whether a profile has a say in the operator."""
    return lookup(op).name in PROFILED


def groups(op: str, profile: str) -> Iterator[Group]:
    """The directed groups of an operator in a profile, or in none (``""``).

    An operator in which profiles have no say has the same groups in each. One in which they have has none without a profile,
    but for those whose rounding no profile has.
    """
    if profile and profile not in PROFILES:
        raise GraphError(f"profile: must be one of {', '.join(PROFILES)} or nothing, but found {profile!r}")
    if not profiled(op):
        return PLAIN[op]()
    return PROFILED[op](profile) if profile or op in WITHOUT_PROFILE else iter(())
