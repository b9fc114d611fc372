"""Every operator of ivit_ref in PyTorch integers, on the CPU or on a GPU: a backend to copy from and to compare with.

    ivit-ref compare golden/Shiftmax docs/examples/torch_backend.py:run
    IVIT_DEVICE=cuda ivit-ref compare golden/models docs/examples/torch_backend.py:run
    python docs/examples/torch_backend.py --device cuda --suite Shiftmax --profile tvm

It is written from the texts that ``ivit-ref ops NAME`` prints and takes nothing from ivit_ref but, at the end, the check. All
arithmetic is in int64; where a width is part of the meaning, ``wrap``, ``narrow`` or ``saturate`` says so. Floats are there
before ``Quantize``, behind ``Dequantize`` and, exact, inside ``product``.
"""

from __future__ import annotations

import argparse
import os
from functools import partial

import numpy as np
import torch
from torch.nn.functional import pad

DEVICE = os.environ.get("IVIT_DEVICE", "cpu")

BITS = {"int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32}

CEILING = 2**62
"""Where an exponential stops."""


def wrap(x, dtype):
    """The low bits of x, read as two's complement (or as unsigned)."""
    low_bits = x & ((1 << BITS[dtype]) - 1)
    sign = 1 << (BITS[dtype] - 1)
    return low_bits if dtype.startswith("u") else (low_bits ^ sign) - sign


def narrow(x, bits, dtype):
    """x at the width that an attribute such as ``product_bits`` gives it; 64 is as wide as it is."""
    return x if bits == 64 else wrap(x, dtype)


def saturate(x, dtype):
    """x held within the bounds of a dtype."""
    bits = BITS[dtype]
    if dtype.startswith("u"):
        return x.clamp(0, (1 << bits) - 1)
    return x.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def truncating_divide(x, d):
    """x / d towards zero, for a d of either sign."""
    if (d == 0).any():
        raise ZeroDivisionError("a denominator is zero")  # a GPU would go on with some number
    return torch.div(x, d, rounding_mode="trunc")


def divide(x, d, rounding):
    """x / d for positive d, by one of the five rules of rounding."""
    floor = torch.div(x, d, rounding_mode="floor")
    rest = x - floor * d  # in [0, d), also for negative x
    if rounding == "floor":
        return floor
    if rounding == "truncate":
        return floor + ((x < 0) & (rest > 0))
    tie_goes_up = {"half_up": rest >= 0, "half_away": x > 0, "half_even": floor & 1 == 1}[rounding]
    return floor + ((2 * rest > d) | ((2 * rest == d) & tie_goes_up))


def floor_scale(x, e):
    """floor(x * 2**e) for x >= 0, but at most 2**62. Shifts by 64 or more are undefined in C: the counts stop short of it."""
    left, right = e.clamp(0, 62), (-e).clamp(0, 62)
    too_large = x > (torch.full_like(x, CEILING) >> left)
    return torch.where(too_large, CEILING, (x << left) >> right)


def shift_exp(x, *, i0, n, clamp, half, quotient, exp_bits):
    """About i0 * 2**n * exp(x / i0)."""
    p = x + (x >> 1) - (x >> 4)
    if clamp:
        p = p.clamp(min=-n * i0)
    q = torch.div(p, -i0, rounding_mode="trunc" if quotient == "truncate" else "floor")
    r = p + q * i0
    twice_i_b = r + 2 * i0 if half == "keep" else 2 * ((r >> 1) + i0)
    y = floor_scale(twice_i_b, n - q - 1)  # a value at the ceiling is a multiple of 2**32: it wraps to 0, as the exact one does
    return narrow(y, exp_bits, "int32")


def quotient_of(x, d, *, numerator, out_bits, product_bits):
    """IntDiv before saturation."""
    factor = truncating_divide(torch.full_like(d, numerator), d)
    return narrow(factor * x, product_bits, "int32") >> (31 - (out_bits - 1))


def int_div(x, d, *, dtype, **division):
    """x / d in units of 2**-(out_bits - 1)."""
    return saturate(quotient_of(x, d, **division), dtype)


def total(s, rule):
    """A sum of exponentials under the attribute ``sum``."""
    if rule == "clamped":
        return s.clamp(max=2**31 - 1)
    return wrap(s, "int32") if rule == "int32" else s


def shiftmax(x, *, sum, numerator, out_bits, product_bits, dtype, **exponential):
    """Softmax of the last axis."""
    e = shift_exp(x - x.amax(-1, keepdim=True), **exponential)
    s = total(e.sum(-1, keepdim=True), sum)
    return int_div(e, s, numerator=numerator, out_bits=out_bits, product_bits=product_bits, dtype=dtype)


def shift_gelu(x, *, sum, numerator, out_bits, product_bits, sigmoid, **exponential):
    """x * sigmoid(1.702 x); the maximum is that of a whole row."""
    z = x if sigmoid == "folded" else x + (x >> 1) + (x >> 3) + (x >> 4)
    m = z.amax(-1, keepdim=True)
    e = shift_exp(z - m, **exponential)
    s = total(e + shift_exp(-m, **exponential), sum)
    return wrap(x * quotient_of(e, s, numerator=numerator, out_bits=out_bits, product_bits=product_bits), "int32")


def int_sqrt(v, *, start, steps):
    """About sqrt(v), by so many steps of Newton's from a start; without steps, floor(sqrt(v))."""
    if steps == 0:
        return exact_root(v)
    k = torch.full_like(v, start) if start else start_of(v)
    for _ in range(steps):
        k = (k + torch.div(v, k.clamp(min=1), rounding_mode="floor")) >> 1
    return k


def start_of(v):
    """2**floor(bits / 2), where v has so many bits: it gains one with each 2**(2j - 1) that v reaches."""
    reached = sum((v >= 1 << (2 * j - 1)).long() for j in range(1, 32))
    return torch.ones_like(v) << reached


def exact_root(v):
    """floor(sqrt(v)), one bit at a time."""
    root = torch.zeros_like(v)
    for bit in range(30, -1, -1):
        trial = root + (1 << bit)
        root = torch.where(trial * trial <= v, trial, root)
    return root


def i_layer_norm(x, bias, *, mean_rounding, mean_bits, variance_bits, sqrt_start, sqrt_steps, product_bits, halving):
    """(x - mean) / sqrt(sum of squares) in units of 2**-30, plus bias."""
    s = narrow(x.sum(-1, keepdim=True), mean_bits, "int16")
    y = narrow(x - divide(s, x.shape[-1], mean_rounding), mean_bits, "int16")
    v = narrow((y * y).sum(-1, keepdim=True), variance_bits, "uint32")
    k = int_sqrt(v, start=sqrt_start, steps=sqrt_steps)
    factor = truncating_divide(torch.full_like(k, 2**31 - 1), k.clamp(min=1))
    o = divide(narrow(factor * y, product_bits, "int32"), 2, halving)
    return wrap(o + bias, "int32")


def lookup(x, table, *, low):
    """The entry of the table for each x."""
    return table[x - low]


def along(numbers, axis, x):
    """One number, or one for each index of an axis, in the shape that broadcasts to x."""
    return torch.tensor(numbers, device=x.device).reshape([-1] + [1] * (x.ndim - axis - 1))


def requantize(x, *, multiplier, shift, rounding, axis, zero_point, dtype):
    """x * multiplier / 2**shift + zero_point."""
    divisor = 1 << along(shift, axis, x)
    return saturate(divide(x * along(multiplier, axis, x), divisor, rounding) + zero_point, dtype)


def requantize_add(a, b, *, a_multiplier, a_shift, b_multiplier, b_shift, rounding, rounds, axis, zero_point, dtype):
    """The residual connection; the axis is one of the result."""
    a, b = torch.broadcast_tensors(a, b)
    a, b = a * along(a_multiplier, axis, a), b * along(b_multiplier, axis, b)
    a_divisor, b_divisor = 1 << along(a_shift, axis, a), 1 << along(b_shift, axis, b)
    if rounds == "each":
        y = divide(a, a_divisor, rounding) + divide(b, b_divisor, rounding)
    else:
        y = divide(a + b, a_divisor, rounding)
    return saturate(y + zero_point, dtype)


def reduce_mean(x, *, axes, rounding):
    """The rounded mean along axes."""
    s = x.sum(axes, keepdim=True)
    return divide(s, x.numel() // s.numel(), rounding)


def reduce_sum(x, *, axes):
    """The sum along axes."""
    return wrap(x.sum(axes, keepdim=True), "int32")


def product(a, b):
    """The matrix product of int32 tensors, right in its low 32 bits, which are all that an accumulator keeps.

    CUDA multiplies no integer matrices, float64 does exactly what stays below 2**53: products of 16-bit halves do, for up to
    2**21 of them.
    """
    a_high, a_low = (a >> 16).double(), (a & 0xFFFF).double()
    b_high, b_low = (b >> 16).double(), (b & 0xFFFF).double()
    middle = (a_high @ b_low).long() + (a_low @ b_high).long()
    return (a_low @ b_low).long() + (wrap(middle, "int32") << 16)


def matmul(a, b, *, alpha):
    """a @ b; alpha belongs to the scale."""
    return wrap(product(a, b), "int32")


def linear(x, weight, bias):
    """x @ weight.T + bias."""
    return wrap(product(x, weight.T) + bias, "int32")


def windows_of(x, kernel, strides, pads, dilations, fill):
    """What a kernel meets in a padded image: [N, C, H', W', u, v]."""
    top, left, bottom, right = pads
    x = pad(x, (left, right, top, bottom), value=fill)
    for axis in (0, 1):
        x = x.unfold(axis + 2, dilations[axis] * (kernel[axis] - 1) + 1, strides[axis])
    return x[..., :: dilations[0], :: dilations[1]]


def conv(x, weight, bias, *, strides, pads, dilations, group):
    """A convolution, as a matrix product for each group."""
    windows = windows_of(x, weight.shape[2:], strides, pads, dilations, fill=0)
    size = windows.shape[2:4]
    patches = windows.permute(0, 1, 4, 5, 2, 3).reshape(len(x), group, -1, size.numel())
    y = product(weight.reshape(group, len(weight) // group, -1), patches)
    return wrap(y.reshape(len(x), len(weight), *size) + bias[:, None, None], "int32")


def max_pool(x, *, kernel_shape, strides, pads, dilations):
    """The largest element of each window, of 8 bits; every window has one inside the image."""
    return windows_of(x, kernel_shape, strides, pads, dilations, fill=-128).amax((4, 5))


def quantize(x, *, scale, zero_point, dtype, division):
    """Real numbers to integers, in float32; ties to even."""
    step = torch.tensor(scale, dtype=torch.float32, device=x.device)  # on the GPU, since CUDA divides by a CPU scalar inexactly
    y = torch.round(x / step if division == "direct" else x * (1 / step))
    return saturate(y.clamp(-(2.0**24), 2.0**24).long() + zero_point, dtype)


def dequantize(x, *, scale, axis, zero_point):
    """Integers to real numbers, in float32."""
    return (x - zero_point).float() * along(scale, axis, x)


def roll(x, *, axis, shift):
    """The elements of an axis moved on around its end."""
    return torch.roll(x, shift, axis)


def take(x, *, axis, indices):
    """The elements of an axis at these places."""
    return x.index_select(axis, torch.tensor(indices, device=x.device))


def expand(x, like, *, axes):
    """x repeated along axes; of ``like`` the shape alone is read."""
    return x.expand([like.shape[i] if i in axes else d for i, d in enumerate(x.shape)])


def reshape(x, *, shape):
    """x in another shape, in which 0 keeps a dimension."""
    return x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(shape)])


OPERATORS = {
    "MatMul": matmul,
    "Linear": linear,
    "Conv": conv,
    "Requantize": requantize,
    "RequantizeAdd": requantize_add,
    "Center": lambda x, *, zero_point, dtype: x - zero_point,
    "Rescale": lambda x, *, alpha, axis: x,
    "Quantize": quantize,
    "Dequantize": dequantize,
    "ShiftExp": shift_exp,
    "IntDiv": int_div,
    "Shiftmax": shiftmax,
    "ShiftGELU": shift_gelu,
    "IntSqrt": int_sqrt,
    "ILayerNorm": i_layer_norm,
    "Lookup": lookup,
    "Mul": lambda a, b: wrap(a * b, "int32"),
    "Clip": lambda x, *, low, high: x.clamp(low, high),
    "ReduceSum": reduce_sum,
    "ReduceMean": reduce_mean,
    "MaxPool": max_pool,
    "Where": lambda condition, x, y: torch.where(condition != 0, x, y),
    "Reshape": reshape,
    "Transpose": lambda x, *, perm: x.permute(perm),
    "Concat": lambda x, y, *, axis: torch.cat([x, y], axis),
    "Slice": lambda x, *, axis, start, stop: x.narrow(axis, start, stop - start),
    "Take": take,
    "Roll": roll,
    "Expand": expand,
}


def run(inputs, graph, device=DEVICE):
    """Every tensor that the graph's nodes make, by name: what ``ivit-ref compare`` and ``check_backend`` call.

    Nothing for a graph with an operator that is not here: those of I-BERT, TFLite and the like.
    """
    if any(node.op not in OPERATORS for node in graph.nodes):
        return {}
    tensors = {constant.value.name: to_tensor(constant.data, device) for constant in graph.constants}
    tensors |= {name: to_tensor(array, device) for name, array in inputs.items()}
    for node in graph.nodes:
        arguments = [tensors[name] for name in node.inputs]
        tensors[node.output.name] = OPERATORS[node.op](*arguments, **node.attributes)
    made = [node.output for node in graph.nodes]
    return {value.name: tensors[value.name].cpu().numpy().astype(value.type.dtype) for value in made}


def to_tensor(array, device):
    """An array on the device: int64 whatever integers it holds, float32 otherwise."""
    return torch.tensor(array if array.dtype == np.float32 else array.astype(np.int64), device=device)


def main():
    """Run the vectors of an operator, or of all, and say how many groups of vectors agree."""
    from ivit_ref.testing import check_backend

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--device", default=DEVICE)
    parser.add_argument("--suite", choices=OPERATORS, help="an operator (default: all)")
    parser.add_argument("--profile", help="a profile (default: all)")
    parser.add_argument("--random", type=int, default=24, help="random vectors for each profile")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    options = {"profile": args.profile, "random": args.random, "seed": args.seed}
    for suite in [args.suite] if args.suite else OPERATORS:
        print(suite, check_backend(partial(run, device=args.device), suite=suite, **options))


if __name__ == "__main__":
    main()
