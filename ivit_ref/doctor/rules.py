"""What the doctor looks for: of each rule how grave it is, what it does, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["fault", "deployment", "note"]
"""fault: the checkpoint cannot be converted, or its integers are not those of its training. deployment: the released deployment
(TVM) gives other results than the checkpoint. note: worth knowing; results stay what they are."""


@dataclass(frozen=True)
class Rule:
    """What is told of every finding of a kind."""

    severity: Severity
    effect: str
    remedy: str


RULES: Mapping[str, Rule] = {
    "missing": Rule(
        "fault",
        "the integer graph cannot be built",
        "the module never ran or the key was renamed; save the state in the process that trained it, after a "
        "forward pass, which writes these buffers",
    ),
    "wrong-shape": Rule(
        "fault",
        "the integer graph cannot be built",
        "the array belongs to another model or was cut; save it anew",
    ),
    "not-finite": Rule(
        "fault",
        "NaN and infinity are no integers: the graph cannot be built",
        "training diverged; take an earlier one",
    ),
    "not-integers": Rule(
        "fault",
        "a value that is no integer of the declared width would wrap or round on its way to the hardware",
        "the buffer was overwritten (averaged, scaled, cast); save the state in the process that trained it, "
        "after a forward pass",
    ),
    "epsilon-scale": Rule(
        "fault",
        "the scale of a range that was never seen: ranges (min_val, max_val) are not saved, so a model that "
        "was reloaded and frozen recomputes each scale from zeros as float32 epsilon; everything saturates: "
        "accuracy 0 (upstream #6, #11)",
        "take the checkpoint that training itself saved, or run some batches with unfrozen ranges and save again",
    ),
    "zero-scale": Rule(
        "fault",
        "a scale of 0 or below stands for nothing: the graph cannot be built",
        "take the checkpoint that training itself saved, or run some batches with unfrozen ranges and save again",
    ),
    "stale-integers": Rule(
        "fault",
        "the stored integers are not what the float weights give, which PyTorch quantizes anew: the two answer differently",
        "weights changed after the last forward pass, or buffers are another model's; save the state in the "
        "process that trained it, after a forward pass",
    ),
    "zero-gain": Rule(
        "fault",
        "a LayerNorm gain of 0 makes its scale 0 and its folded bias beta / 0",
        "prune the channel, or set the gain to a small number that keeps |beta / gamma| below sqrt(C)",
    ),
    "bias-overflow": Rule(
        "fault",
        "a LayerNorm gain near 0 makes the folded bias beta / gamma leave int32; the released converter casts "
        "it to int32 all the same, which is undefined",
        "raise the gain until |beta / gamma| is below sqrt(C), or set beta of that channel to 0",
    ),
    "refused": Rule(
        "fault",
        "the integer graph cannot be built",
        "as the message says",
    ),
    "disagreement": Rule(
        "fault",
        "integers and simulation differed in at most 0.5 % of the classes on the models measured; so many "
        "more say that the graph and the given logits are probably not of the same model",
        "check --num-heads, --image-size, the normalisation of the images, and that the logits are this checkpoint's",
    ),
    "scale-clash": Rule(
        "deployment",
        "the deployed Shiftmax emits 7 bits (steps of 2**-7), its consumer assumes the checkpoint's 2**-15: "
        "attention arrives 256 times too small and the model answers at chance level, without an error "
        "(upstream #6, #12)",
        "multiply matmul_2.act_scaling_factor, which the deployment requantizes with, and "
        "int_softmax.act_scaling_factor by 256 in the checkpoint that it reads (convert_model.py, "
        "load_qconfig); then mend layernorm-wrap, its second fault; or deploy what ivit-ref convert writes, "
        "which has neither",
    ),
    "layernorm-wrap": Rule(
        "deployment",
        "the deployed LayerNorm adds up int16 numbers in int16 and their squares in uint32; both wrap without "
        "an error for rows that are usual (about 57 % instead of 97 % on the digits model, with the scale "
        "mended)",
        "in quantized_layernorm (TVM_benchmark/models/layers.py), cast to int32 before the mean, to int64 "
        "before squaring, and make the square root's constants int64",
    ),
    "layernorm-width": Rule(
        "note",
        "the release has no deployment of Swin; its LayerNorm operator, which adds up int16 numbers in int16 "
        "and their squares in uint32, would wrap without an error",
        "whoever deploys one: int32 before the mean, int64 before squaring",
    ),
    "reload-ranges": Rule(
        "note",
        "reloaded in PyTorch and frozen, every activation scale becomes 1.2e-07, and accuracy 0 (upstream #6, "
        "#11); the integer graph reads the saved scales and is not affected",
        "after load_state_dict pin each QuantAct's scale, as docs/dump_simulation.py does, or set max_val = "
        "scale * (2**(bits-1) - 1) and min_val = -max_val",
    ),
    "reshaped": Rule(
        "note",
        "training replaces buffers of shape [1] by others, so load_state_dict reports a size mismatch, strict "
        "or not (upstream #7, #12); the integer graph takes both shapes",
        "set these buffers one by one, as docs/dump_simulation.py does",
    ),
    "flat-rows": Rule(
        "note",
        "in 7 bits - the paper's, the released deployment's, a Swin's - a row of nearly equal logits becomes all zeros",
        "16 bits, with which the release trains a ViT",
    ),
    "shiftmax-sum": Rule(
        "note",
        "rows of nearly equal logits leave int32: the simulation clamps the sum, profile tvm wraps it",
        "coarser logits (a larger scale), or profile ideal, whose sums are exact",
    ),
    "gelu-sum": Rule(
        "note",
        "in a row whose maximum is not negative, the sum of two exponentials can leave int32 in profile tvm",
        "a larger scale, or a profile other than tvm",
    ),
    "gelu-range": Rule(
        "note",
        "in a row whose maximum is beyond n * ln 2 / 1.702 = 9.37, both exponentials are at their clamp for "
        "inputs that far below it, and these come out as x / 2",
        "keep the inputs of GELU smaller (clip before it in training), or raise n",
    ),
    "int-div": Rule(
        "note",
        "the smallest reciprocals inside IntDiv have fewer than three bits: quotients come out up to a fourth "
        "too small and more; the simulation does the same",
        "coarser inputs (a larger scale)",
    ),
    "root-range": Rule(
        "note",
        "ten steps from 2**16 may not reach the square root of a sum of squares below 34,596: quiet rows come "
        "out too small, in the simulation too",
        "profile ideal (start from the bit length), which then differs from the training; --images counts such rows",
    ),
    "softmax-scale": Rule(
        "note",
        "the stored scale of Shiftmax is not that of the bits that the model was trained with; the integer graph has its own",
        "none for the integer graph; a deployment that reads it must emit the bits that it stands for",
    ),
    "negative-gain": Rule(
        "note",
        "the channel's scale is negative, and so is the multiplier of its requantization: right here, wrong "
        "in a backend whose multipliers are unsigned",
        "allow signed multipliers, or move the sign into the weights that follow",
    ),
    "bias-room": Rule(
        "note",
        "the folded bias of LayerNorm is so large that its sum with a large element can leave int32",
        "raise the gain",
    ),
}
"""In the order in which findings are told."""
