"""ShiftExp at every difference and every scale from 2**-12 up.

A scale S enters by ``i0`` alone, and i0 falls where S rises, under each of the three rules. At S = 2**-12 it is 4096, 4096 and
4097 (paper, qat, tvm), and it is at least 1: the integers from 1 to 4097 are all that any float32 scale from 2**-12 up gives.

x goes from 0 down to where the rest is constant. p(x - 1) < p(x) for every x, as x falls by one there and x >> 4 falls only
where x >> 1 does. So with a clamp y is constant from p(x) <= -n*i0 on; without one it is 0 from q = n + b on, where b is the
bit length of i0, as i_b <= i0 < 2**b. ``p(x) <= 1.4375 x + 1`` says for which x that holds. The two smallest int32 follow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ivit_ref.certify.certificate import Certificate, Checked, Part, Tally
from ivit_ref.integers import Wide, narrow
from ivit_ref.ops import shift_exp
from ivit_ref.profiles import PAPER, QAT, TVM

UNITS, BLOCK = 4097, 64
PROFILES = {"paper": PAPER, "qat, ideal": QAT, "tvm": TVM}
STEPS = (1, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1)
"""How far -p rises from x to x - 1, for -x from 0 to 15 and again from there: 1, and one more at -x even but for 0."""
SMALLEST = (-(2**31) + 1, -(2**31))


def chunk(part: str, index: int) -> Checked:
    """64 units."""
    tally = Tally()
    for i0 in range(BLOCK * index + 1, min(BLOCK * (index + 1), UNITS) + 1):
        attributes: dict[str, Any] = PROFILES[part].shift_exp(1.0) | {"i0": i0}
        halvings = attributes["n"] if attributes["clamp"] else attributes["n"] + i0.bit_length()
        count = int((halvings * i0 + 1) / 1.4375) + 2
        x = narrow(np.concatenate([-np.arange(count), SMALLEST]), "int32")
        want = expected(i0, attributes["n"], halvings, attributes["half"] == "keep", count)
        tally.compare(shift_exp(x, **attributes), np.concatenate([want, want[-1:], want[-1:]]), attributes, x=x)
    return tally.checked()


def expected(i0: int, n: int, halvings: int, keep: bool, count: int) -> Wide:
    """y at x = 0, -1, -2, ...: -p is counted up, and a row of i0 results is halved again and again."""
    minus_p = np.concatenate([[0], np.cumsum(np.tile(STEPS, count // 16 + 1))])[:count]
    rest = np.arange(i0)
    rows = [(2 * i0 - rest if keep else 2 * i0 - 2 * ((rest + 1) // 2)) * 2 ** (n - 1)]
    for _ in range(halvings):
        rows.append(rows[-1] // 2)
    y: Wide = np.concatenate(rows)[np.minimum(minus_p, halvings * i0)]
    return y


CERTIFICATE = Certificate(
    "ShiftExp",
    "every x <= 0, at every float32 scale from 2**-12 up",
    "p is counted up along x in its period of 16, and the row of i0 results between two halvings is halved as a whole, once "
    "for each value of q: no shift of x, no division by i0, no choice of q for an element",
    tuple(Part(name, UNITS // BLOCK + 1, (0, 1, 20, 64)) for name in PROFILES),
    chunk,
)
