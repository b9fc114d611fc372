"""What the flags of vectors mean: which kind of bug each hunts, and what a backend shows that has it.

Many are places in which the released PyTorch code and the released deployment on TVM part; ``docs/numerics.md`` has the
evidence. Issues are those of zkkli/I-ViT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """One flag: the kind of bug that it hunts, what the row is, and what the bug looks like."""

    kind: str
    description: str
    effect: str


NOTES: Mapping[str, Note] = {
    # What happens on the way: these are events of the run.
    "saturation": Note(
        "range",
        "A result lies outside its dtype and is held at the end of it (or, in ShiftExp, at 2**62).",
        "A cast instead of a clip: the sign flips. The released deployment casts its Shiftmax to int8 so.",
    ),
    "overflow": Note(
        "width",
        "A value leaves the width that the operator declares; the low bits are kept, and the verdict says so.",
        "Wider or saturating arithmetic gives other numbers. Such rows break the published deployment: mean, deviation and "
        "sum of squares of LayerNorm (issue 3), the sum of exponentials.",
    ),
    "clamp": Note(
        "range",
        "A value is cut off inside the operator: an exponent at -n*i0, a sum of exponentials at 2**31 - 1.",
        "Without the clamp, the tail decays to 0 where the released codes keep i0; with another n, the "
        "tail has another level: for Shiftmax PyTorch has 15 and TVM 16.",
    ),
    "not-converged": Note(
        "iteration",
        "Newton's steps end before the root is reached: their number and their start are semantics.",
        "An exact square root is right by mathematics and wrong here: quiet tokens get up to several times the value.",
    ),
    "property": Note(
        "property",
        "A property that the operator's text states, and that this version breaks: docs/numerics.md tells which, and why.",
        "A backend that keeps the property is another version's: it does not clamp, or is wider, or takes more steps.",
    ),
    # Rounding.
    "tie": Note(
        "rounding",
        "A quotient lies half-way between two integers.",
        "Another rule for ties is off by one. PyTorch rounds half to even, TVM half up or away from zero, and the mean "
        "of the deployment truncates.",
    ),
    "two-roundings": Note(
        "rounding",
        "A quotient just beside a half, which the first of two roundings takes onto it.",
        "One rounding where TFLite and TOSA's DOUBLE_ROUND have two, or the reverse: off by one, and at 1/4 for the number 1.",
    ),
    "negative-odd": Note(
        "rounding",
        "A negative odd product is halved.",
        "Truncation instead of floor, or the reverse, is off by one: PyTorch floors, TVM truncates.",
    ),
    "half-bit": Note(
        "rounding",
        "The rest within an exponential is odd, so its half is no integer.",
        "Keeping the half (PyTorch) where it should be dropped (TVM), or the reverse, moves a result by up to 2**(n - 1).",
    ),
    "float32-rounding": Note(
        "rounding",
        "A float32 product or quotient is inexact at the edge of the graph.",
        "Float64 arithmetic, or a division where a reciprocal is multiplied, is off by one step.",
    ),
    "float64": Note(
        "rounding",
        "A product of more than 53 bits lies just beside a tie or a whole number.",
        "Float64 arithmetic, as PyTorch's requantization has it, puts it on the tie or the number: off by one.",
    ),
    "boundary-square": Note(
        "iteration",
        "A square, or one beside it.",
        "A root by floats is off by one; and at m**2 - 1 Newton's steps swing between two results, so their number shows.",
    ),
    # Constants.
    "multiple-of-i0": Note(
        "boundary",
        "The exponent of two is a whole multiple of i0: the quotient steps here, and the rest is 0.",
        "A quotient that is formed in floats, or an i0 that is off by one, takes the step too early or too late.",
    ),
    "integer-unit": Note(
        "constant",
        "1/S is an integer exactly, where the rules for i0 part.",
        "ceil(1/S) (PyTorch) and floor(1/S) + 1 (TVM) differ by one here and nowhere else: up to "
        "31 of 127 in a Shiftmax at S = 0.25.",
    ),
    "power-of-two": Note(
        "constant",
        "The denominator is a power of two, which divides the numerator 2**31 but not 2**31 - 1.",
        "The other numerator gives a reciprocal that is one larger or smaller.",
    ),
    "far-tail": Note(
        "range",
        "The distance is so large that the exponential is 0, or what the clamp leaves of it.",
        "A shift by a negative number or by more than the width is undefined in C: garbage, where 0 or i0 should be.",
    ),
    "above-limit": Note(
        "range",
        "The maximum of the row is above n*ln(2)/1.702, where ShiftGELU has both exponentials at the clamp.",
        "An operator that mends this gives 0 for the small ones; the released codes give half of x.",
    ),
    # The shape of a row.
    "all-equal": Note(
        "degenerate",
        "All numbers of the row are equal: of a softmax the largest sum that its length allows, of a norm a variance of 0.",
        "A sum that is too narrow wraps; with 197 equal logits the deployment answers -1, or 68, for each.",
    ),
    "one-hot": Note(
        "degenerate",
        "One number takes all: of a softmax the largest quotient there is.",
        "A quotient of exactly 2**(out_bits - 1) wraps to the smallest number, where it must saturate. And the number of bits "
        "shows: the deployment always answers 127, PyTorch 32767, at a scale of its own each (issues 6 and 12).",
    ),
    "two-maxima": Note("degenerate", "The largest number comes twice.", "A mask of the maximum loses one: half the result."),
    "all-negative": Note(
        "sign",
        "All numbers of the row are negative: ShiftGELU then asks for the exponential of a positive number.",
        "A negative quotient and a shift by more than n: truncation, an undefined shift, or a maximum that begins at 0.",
    ),
    "zero-variance": Note(
        "degenerate",
        "All deviations from the rounded mean are 0.",
        "A division by zero; or, from 2**16 in ten steps, a root that is taken for 0 and is 64.",
    ),
    "ramp": Note("coverage", "Numbers in equal steps.", "Any error of the exponential shows as a kink."),
    # Values.
    "vanishing": Note(
        "range",
        "The right answer is 0 throughout: the sum of exponentials leaves no bits to its reciprocal.",
        "A sum or an exponential that is too narrow wraps, and answers something else than 0.",
    ),
    "zeros": Note(
        "degenerate",
        "0 is among the numbers.",
        "An initial value that shines through, or a sign of 0 that is taken for negative.",
    ),
    "extremes": Note(
        "width",
        "An input holds an end of its dtype.",
        "-128 has no positive int8, and the difference or product of two ends needs another bit.",
    ),
    "full-scale": Note(
        "width",
        "An input holds both ends of its dtype, as a residual stream of 16 bits may.",
        "A difference or a sum in the width of the input wraps, as in the deployment (issue 3).",
    ),
    "every-code": Note("coverage", "Every integer of 8 bits once.", "A table with one wrong entry."),
    "negative": Note(
        "sign",
        "A numerator or denominator is negative, as one that has wrapped is.",
        "A division that floors, or an unsigned one, gives another quotient; C truncates.",
    ),
    # Attributes.
    "zero-point": Note("constant", "The zero point is not 0.", "Added before the rounding, left out, or subtracted."),
    "negative-multiplier": Note(
        "sign",
        "The dyadic number is negative, as a folded gain of LayerNorm may be.",
        "An unsigned multiplier, or rounding by magnitude: off by one on each tie, or everywhere.",
    ),
    "shift-ends": Note(
        "boundary", "The shift is 0, or 62.", "A rounding term 1 << (shift - 1) is undefined at 0 and needs 64 bits."
    ),
    "per-axis": Note(
        "indexing", "The constants differ along an axis.", "The last axis is taken, or the first constant throughout."
    ),
    "rounds-once": Note(
        "rounding", "Two branches are added and then rounded once.", "Rounded each: off by one in many places."
    ),
    "broadcast": Note(
        "indexing", "Inputs repeat along axes of length one.", "A buffer is read beyond its end, or in the wrong order."
    ),
    "bias": Note(
        "constant",
        "A bias is added that is not 0.",
        "The bias in other steps or a narrower width: with a gain near 0 the folded bias of LayerNorm is huge.",
    ),
    "scale-only": Note(
        "constant",
        "A factor that only changes what a step is worth.",
        "Multiplied into the integers, it is applied twice.",
    ),
    # Layout.
    "order": Note("indexing", "All numbers differ.", "Any element in the wrong place shows."),
    "repeat": Note("indexing", "A place is taken more than once.", "A permutation is assumed, or places are sorted."),
    "padding": Note(
        "indexing", "The image is padded, differently on each side.", "Pads in another order, or of another value."
    ),
    "stride": Note("indexing", "The window moves by other steps down than across.", "Strides swapped, or only one used."),
    "dilation": Note("indexing", "The window has gaps.", "Dilations ignored or swapped."),
    "grouped": Note("indexing", "Channels are convolved in groups.", "Outputs interleaved instead of in blocks."),
    "batched": Note("indexing", "Axes before the last two multiply matrix by matrix.", "Only the first matrix is used."),
    "random": Note("coverage", "Drawn from a seeded stream.", "Whatever nobody thought of."),
}
"""Every flag that a row may carry."""
