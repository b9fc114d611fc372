"""Pictures of errors: over the whole range of inputs, all subjects in one figure.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; lines differ in their dashes, too. The same call
gives the same SVG, byte for byte, with one version of matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ivit_ref.arrays import replace_file
from ivit_ref.errors import InputError, MissingExtra
from ivit_ref.events import EventLog
from ivit_ref.study.corpus import Batch, Group, Size, corpus
from ivit_ref.study.measure import wanted
from ivit_ref.study.reals import Kind, Reals
from ivit_ref.study.subject import Subject
from ivit_ref.study.sweeping import at_value, grid

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.5)),
    (0, (6, 2, 1, 2)),
    (0, (8, 3)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (2, 2)),
)
MOST_POINTS, BANDS = 300, 100
"""A curve of more points is drawn as a band: the smallest and the largest error of each hundredth of them."""

POINTS = 40
"""Of a curve over rms, arguments or denominators."""


@dataclass(frozen=True)
class Panel:
    """One set of axes: what is where, and a curve (x, y) for a subject."""

    title: str
    x_label: str
    y_label: str
    curve: Callable[[Subject], tuple[Reals, Reals]]
    log: str = ""


def draw(path: str | Path, subjects: Sequence[Subject], size: Size) -> None:
    """Draw every panel of the subjects' kind into a file, whose name ends in .svg or .png."""
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("svg", "png"):
        raise InputError(f"plot: the file must end in .svg or .png, but found {path.name}")
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plot: needs matplotlib, but it is missing: pip install 'ivit-ref[plot]'") from error
    panels = list(PANELS[subjects[0].kind](subjects[0], size))
    with matplotlib.rc_context({"svg.hashsalt": "ivit-ref", "font.size": 10}):
        columns = min(len(panels), len(subjects))
        lines = -(-len(subjects) // columns)
        figure = Figure(figsize=(6.4 * len(panels), 4.4 + 0.25 * lines), layout="constrained")
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw(axes, panel, subjects)
        figure.suptitle(_title(subjects))
        handles = figure.axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=4)
        metadata = {"Date": None} if kind == "svg" else {}

        def write(stream: IO[bytes]) -> None:
            figure.savefig(stream, format=kind, metadata=metadata, dpi=120)

        replace_file(path, write)


def _title(subjects: Sequence[Subject]) -> str:
    first = subjects[0]
    codes = "" if first.kind in ("sqrt", "quotient") else f", int{first.bits}"
    scale = f", one step of the input = {first.scale:.4g}" if first.kind in ("softmax", "gelu", "exp") else ""
    scale = f", ratio = {first.scale:.4g}" if first.kind == "requantize" else scale
    ops = list(dict.fromkeys(s.method.op for s in subjects))
    named = ", ".join(ops) if len(", ".join(ops)) <= 30 else f"{ops[0]} and {len(ops) - 1} more"
    return f"Error of {named}{codes}{scale}"


def _draw(axes: Any, panel: Panel, subjects: Sequence[Subject]) -> None:
    axes.axhline(0, color="#999999", linewidth=0.8)
    for i, subject in enumerate(subjects):
        x, y = panel.curve(subject)
        width = 3.0 - 1.5 * i / max(len(subjects) - 1, 1)  # a curve under others is broader, and shows
        style = {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)], "linewidth": width}
        if len(x) <= MOST_POINTS:
            axes.plot(x, y, label=_label(subject), **style)
        else:
            _draw_band(axes, x, y, _label(subject), style)
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    if "x" in panel.log:
        axes.set_xscale("log")
    if "y" in panel.log:
        axes.set_yscale("log")


def _draw_band(axes: Any, x: Reals, y: Reals, label: str, style: Mapping[str, Any]) -> None:
    """The smallest and the largest error of neighbours, with colour between."""
    order = np.argsort(x)
    parts = [part for part in np.array_split(order, BANDS) if not np.isnan(y[part]).all()]
    middle = [float(x[part].mean()) for part in parts]
    low, high = ([float(of(y[part])) for part in parts] for of in (np.nanmin, np.nanmax))
    axes.fill_between(middle, low, high, color=style["color"], alpha=0.2, linewidth=0)
    axes.plot(middle, low, label=label, **style)
    axes.plot(middle, high, **style)


def _label(subject: Subject) -> str:
    quant = subject.typical_quant()
    return subject.label if quant is None else f"{subject.label} (one step = {abs(quant.scale[0]):.3g})"


def _errors(subject: Subject, batch: Batch) -> Reals:
    """Got less wanted, NaN in a row that was refused."""
    outcome = subject.run(batch, EventLog())
    errors: Reals = outcome.reals - wanted(subject, batch)
    errors[list(outcome.refused)] = np.nan
    return errors


def _named(kind: Kind, size: Size, name: str) -> Group:
    return next(group for group in corpus(kind, size) if group.name.startswith(name))


def _elements(kind: Kind, size: Size, name: str) -> Callable[[Subject], tuple[Reals, Reals]]:
    """The error of each element of a group that is one row."""
    [batch] = _named(kind, size, name).batches

    def curve(subject: Subject) -> tuple[Reals, Reals]:
        return batch.x[0] * subject.scale, _errors(subject, batch)[0]

    return curve


def _largest(kind: Kind, size: Size, name: str, place: Callable[[Batch], Any]) -> Callable[[Subject], tuple[Reals, Reals]]:
    """The largest error of elements at one place, over the rows of a group."""
    batches = _named(kind, size, name).batches

    def curve(subject: Subject) -> tuple[Reals, Reals]:
        places = np.concatenate([place(batch).ravel() for batch in batches])
        errors = np.concatenate([np.abs(_errors(subject, batch)).ravel() for batch in batches])
        known, index = np.unique(places, return_inverse=True)
        largest = np.zeros(len(known))
        np.fmax.at(largest, index, errors)
        return known * subject.scale, largest

    return curve


def _ranged(kind: Kind, size: Size) -> Callable[[Subject], tuple[Reals, Reals]]:
    """The largest error at each value of what a sweep varies."""
    low, high = grid(kind, size.bits)[0], grid(kind, size.bits)[-1]
    values = grid(kind, size.bits, (low, high, POINTS))

    def curve(subject: Subject) -> tuple[Reals, Reals]:
        largest = [float(np.nanmax(np.abs(_errors(subject, at_value(kind, value, size))))) for value in values]
        return np.array(values), np.array(largest)

    return curve


def _softmax(subject: Subject, size: Size) -> Iterator[Panel]:
    low, high = size.bounds
    others = np.arange(high, low - 1, -1)
    pairs = np.concatenate([np.stack([others[::-1], others[::-1] * 0 + high], 1), np.stack([others * 0 + high, others], 1)])

    def of_two(subject: Subject) -> tuple[Reals, Reals]:
        return (pairs[:, 0] - pairs[:, 1]) * subject.scale, _errors(subject, Batch(pairs))[:, 0]

    length = size.lengths[-1]
    at_length = Size(size.bits, (length,), size.rows, size.seed)
    below = _largest("softmax", at_length, "bell-shaped", lambda batch: batch.x - batch.x.max(axis=1, keepdims=True))
    yield Panel("rows of two: the first element", "first less second element (real value)", "error (of a probability)", of_two)
    yield Panel(
        f"{size.rows} bell-shaped rows of {length}",
        "element less the maximum of its row (real value)",
        "largest |error| (of a probability)",
        below,
    )


def _gelu(subject: Subject, size: Size) -> Iterator[Panel]:
    high = size.bounds[1]
    top = f"row maximum {high} = {high * subject.scale:.4g}"
    yield Panel(top, "x (real value)", "error (real value)", _elements("gelu", size, "row maximum"))
    every = "every row maximum from 0" if size.bits == 8 else "row maxima 2**k - 1"
    yield Panel(every, "x (real value)", "largest |error| (real value)", _largest("gelu", size, "smaller", lambda b: b.x))


def _layernorm(subject: Subject, size: Size) -> Iterator[Panel]:
    title = f"{size.rows} bell-shaped rows of {size.lengths[-1]}"
    y_label = "largest |error| (standard deviations)"
    yield Panel(title, "rms of a row (steps of the input)", y_label, _ranged("layernorm", size), "xy")


def _exp(subject: Subject, size: Size) -> Iterator[Panel]:
    yield Panel("every difference of two codes", "x (real value)", "error (real value)", _elements("exp", size, "x <= 0"))


def _requantize(subject: Subject, size: Size) -> Iterator[Panel]:
    yield Panel(
        "every code", "x * ratio (steps of the result)", "error (steps of the result)", _elements("requantize", size, "every")
    )


def _sqrt(subject: Subject, size: Size) -> Iterator[Panel]:
    yield Panel("64 numbers and squares from v to 2v", "v (steps)", "largest |error| (real value)", _ranged("sqrt", size), "xy")


def _quotient(subject: Subject, size: Size) -> Iterator[Panel]:
    yield Panel("129 numerators from 0 to d", "d (steps)", "largest |error| (of a quotient)", _ranged("quotient", size), "xy")


PANELS: Mapping[Kind, Callable[[Subject, Size], Iterator[Panel]]] = {
    "softmax": _softmax,
    "gelu": _gelu,
    "layernorm": _layernorm,
    "exp": _exp,
    "requantize": _requantize,
    "sqrt": _sqrt,
    "quotient": _quotient,
}
