"""The integer graph beside tensors of the PyTorch simulation: how far the simulation strays, where first, and why.

Every node runs three times: on the graph's own integers; on the simulation's, taken for integers (what this node alone makes
different); and in float32 on the simulation's own numbers (whether the un-rounded quotient ``x / scale`` explains that).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from ivit_ref.doctor.simulation import ONE, SUMMING, Floats, Simulated, along, parameter, simulate
from ivit_ref.errors import InputError
from ivit_ref.events import Context
from ivit_ref.integers import BOUNDS, from_float, narrow
from ivit_ref.interpreter import check_inputs, kernel_of, last_uses
from ivit_ref.ir import Array, Graph, Node, Quant

Verdict = Literal["equal", "carried", "float32", "partly", "unexplained"]
"""equal: no integer differs. carried: none differs when the node is given the simulation's integers. float32: the un-rounded
quotient in float32 gives the simulation's integers. partly: it gives some of those that differ. unexplained: it gives none."""

UNEXPLAINED = ("partly", "unexplained")
ULPS = tuple(sorted(range(-8, 9), key=abs))
"""How many units in the last place a sum may be off that PyTorch takes in its own order."""
MEAN_ULPS = (0, 8, -8)
"""The same for the sum of a mean, which matters next to a tie only: two tries are one on either side of it."""

SCALE = ".scale"
"""The name of a module's scale in a dump, behind the name of the module."""


@dataclass(frozen=True)
class Comparison:
    """One tensor: how many of ``total`` integers differ and how far at most; of the graph's own run, of the node fed with the
    simulation's integers (``alone``), and of the float32 emulation (``left``)."""

    name: str
    op: str
    total: int
    differing: int
    largest: int
    alone: int
    left: int
    verdict: Verdict

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(
    graph: Graph, dump: Mapping[str, Array], images: Array, source: str, done: Callable[[int], None] = lambda count: None
) -> list[Comparison]:
    """Every tensor that graph and dump both have, in the order of the graph.

    A dump has arrays by module name, float32 with ``<name>.scale`` beside it, or integers. ``images`` must be those that the
    dump was made from, in one batch.
    """
    if not any(node.name in dump for node in graph.nodes):
        found = ", ".join(list(dump)[:3]) or "none"
        raise InputError(f"{source}: must hold tensors by module name, such as {graph.nodes[0].name!r}, but found {found}")
    tracks = _Tracks(graph, dump, images, source)
    rows = []
    for place, node in enumerate(graph.nodes):
        with np.errstate(all="ignore"):  # what a dump holds beyond float32 is refused or differs
            row = tracks.step(place, node)
        rows += [row] if row else []
        done(place + 1)
    return rows


class _Tracks:
    """The three runs, side by side: tensors by name."""

    def __init__(self, graph: Graph, dump: Mapping[str, Array], images: Array, source: str) -> None:
        self.dump, self.source, self.count = dump, source, len(images)
        image = graph.inputs[0].name
        check_inputs(graph, {image: images})
        self.own: dict[str, Array] = {image: images} | {c.value.name: c.data for c in graph.constants}
        self.fed = dict(self.own)
        self.simulated: dict[str, Simulated | None] = {image: Simulated(images, np.asarray(ONE))}
        for c in graph.constants:
            self.simulated[c.value.name] = parameter(c.data, c.value.quant) if c.value.quant else None
        self.kernels = {node.op: kernel_of(node.op, "fast") for node in graph.nodes}
        self.last_use = last_uses(graph)

    def step(self, place: int, node: Node) -> Comparison | None:
        """Run one node three times, and compare it if the dump has it."""
        name = node.output.name
        self.own[name] = self._run(node, self.own)
        same = all(self.fed[i] is self.own[i] for i in node.inputs)
        self.fed[name] = self.own[name] if same else self._run(node, self.fed)
        inputs = [self.simulated[i] for i in node.inputs]
        known = [i for i in inputs if i is not None]
        self.simulated[name] = simulate(node, known) if len(known) == len(inputs) else None
        compared = node.name in self.dump and node.output.type.dtype in BOUNDS
        row = self._compare(node, known) if compared else None
        self._fold_factor(node)
        for used in self.last_use.get(place, ()):
            del self.own[used], self.fed[used], self.simulated[used]
        return row

    def _run(self, node: Node, values: Mapping[str, Array]) -> Array:
        ctx = Context("wrap", op=node.op, node=node.name)
        return self.kernels[node.op]([values[i] for i in node.inputs], node.attributes, ctx)

    def _compare(self, node: Node, inputs: Sequence[Simulated]) -> Comparison:
        """The three results against the dump, whose integers and real numbers then take their place."""
        name, before = node.output.name, self.simulated[node.output.name]
        theirs, integers = self._dumped(node)
        own, fed = self.own[name], self.fed[name]
        differing, alone = _unequal(own, integers), _unequal(fed, integers)
        left = alone if before is None else _left(node, inputs, before, integers)
        far = int(np.abs(np.asarray(own, np.float64) - integers).max())
        self.fed[name], self.simulated[name] = integers, theirs
        verdict = _verdict(differing, alone, left)
        return Comparison(node.name, node.op, integers.size, differing, far, alone, left, verdict)

    def _dumped(self, node: Node) -> tuple[Simulated, Array]:
        """The simulation's tensor: as it is, and taken for integers."""
        own, array = self.own[node.output.name], self.dump[node.name]
        each = own.size // self.count
        if array.size != own.size and array.size and not array.size % each:
            must = f"must be made from the {self.count} images that are given (see: --images)"
            raise InputError(f"{self.source}: {must}, but found {array.size // each} in {node.name!r}")
        if array.size != own.size or array.dtype.kind not in "fiu":
            must = f"{node.name!r} must have the elements of {node.output.type}"
            raise InputError(f"{self.source}: {must}, but found {array.dtype}{list(array.shape)}")
        scale = self._scale(node, own.ndim)
        x = array.reshape(own.shape)
        theirs = Simulated(np.asarray(x, np.float32) * (scale if x.dtype.kind in "iu" else ONE), scale)
        return theirs, self._integers(node, x, theirs)

    def _integers(self, node: Node, x: Array, theirs: Simulated) -> Array:
        steps = np.asarray(x, np.float64) if x.dtype.kind in "iu" else theirs.steps
        dtype = node.output.type.dtype
        low, high = BOUNDS[dtype]
        wrong = ~((steps >= low) & (steps <= high))
        if wrong.any():
            must = f"{node.name!r} must be {dtype} in steps of its scale"
            raise InputError(f"{self.source}: {must}, but found {steps[wrong][0]:.6g}")
        return narrow(from_float(steps), dtype)

    def _scale(self, node: Node, rank: int) -> Array:
        """The scale in the dump; where it has none, the graph's, without the factor that only the graph folds in."""
        quant = node.output.quant or Quant((1.0,))
        stored = self.dump.get(node.name + SCALE)
        if stored is None:
            return along(quant.scale, quant.axis, rank) / _factor(node)
        scales = np.asarray(stored, np.float32) if stored.dtype.kind == "f" else np.zeros(0, np.float32)
        if scales.size not in (1, len(quant.scale)) or not (np.isfinite(scales) & (scales != 0)).all():
            must = f"{node.name + SCALE!r} must be {len(quant.scale)} finite scales other than 0"
            raise InputError(f"{self.source}: {must}, but found {stored.dtype}{list(stored.shape)}")
        return along(scales.reshape(-1), None if scales.size == 1 else quant.axis, rank)

    def _fold_factor(self, node: Node) -> None:
        """Behind a product, the release multiplies numbers and scale by attention's 1/sqrt(d)."""
        s, factor = self.simulated[node.output.name], _factor(node)
        if s is not None and factor != 1:
            self.simulated[node.output.name] = Simulated(s.x * factor, s.scale * factor)


def _factor(node: Node) -> Floats:
    alpha = node.attributes.get("alpha", 1.0)
    return np.asarray(alpha if node.op == "MatMul" else 1.0, np.float32)


def _left(node: Node, inputs: Sequence[Simulated], first: Simulated, integers: Array) -> int:
    """How many integers of the simulation the emulation misses, row by row with the sum that suits best."""
    if node.op not in SUMMING:
        return _unequal(first.steps, integers)
    missed = (first.steps != integers).sum(axis=-1)
    rows = missed > 0
    if not rows.any():
        return 0
    x, fewest = Simulated(inputs[0].x[rows], inputs[0].scale), missed[rows]
    for ulps in product(MEAN_ULPS if node.op == "ILayerNorm" else (0,), ULPS):
        other = simulate(node, [x, *inputs[1:]], ulps) if fewest.any() else None
        if other is not None:
            fewest = np.minimum(fewest, (other.steps != integers[rows]).sum(axis=-1))
    return int(fewest.sum())


def _unequal(a: Array, b: Array) -> int:
    return int(np.count_nonzero(a != b))


def _verdict(differing: int, alone: int, left: int) -> Verdict:
    if not differing:
        return "equal"
    if not alone:
        return "carried"
    return "float32" if not left else "partly" if left < alone else "unexplained"
