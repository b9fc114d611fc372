"""C99: ``case.h`` with every tensor and every number of the graph, and ``main.c``, which compares what a function answers.

The identifiers of a tensor begin with ``tensor_``, ``RANK_``, ``COUNT_``, ``DIM0_``, ``SCALE_``, ``SCALES_``, ``AXIS_`` or
``ZERO_`` and end in its name; those of a node begin with ``NODE`` and its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from pathlib import Path

from ivit_ref.golden.case import Case, TensorRecord
from ivit_ref.golden.export.c_main import main_lines, prototype
from ivit_ref.golden.export.c_words import C_TYPES, comment, elements, identifiers, integer, real
from ivit_ref.golden.write import PROGRAM
from ivit_ref.ir import Attribute, Node, Quant

IN_A_LINE = 16
GUARD = "IVIT_CASE_H"


def write_c(folder: Path, case: Case) -> None:
    """Write ``case.h`` and ``main.c``."""
    ends = identifiers(record.name for record in case.records)
    for name, lines in (("case.h", _header(case, ends)), ("main.c", main_lines(case, ends))):
        with (folder / name).open("w", encoding="ascii", newline="\n") as stream:
            stream.writelines(f"{line}\n" for line in lines)


def _header(case: Case, ends: dict[str, str]) -> Iterator[str]:
    yield from _provenance(case)
    yield from ["", f"#ifndef {GUARD}", f"#define {GUARD}", "", "#include <stdint.h>"]
    yield from ["#include <math.h>"] if any(record.dtype == "float32" for record in case.records) else []
    for record in case.records:
        yield ""
        yield from _tensor(case, record, ends[record.name])
    for k, node in enumerate(case.graph.nodes):
        yield ""
        yield from _node(node, k)
    yield ""
    yield from prototype(case, ends)
    yield from ["", "#endif"]


def _provenance(case: Case) -> Iterator[str]:
    yield comment(f"A golden case, written by {PROGRAM}; all arrays are static")
    yield comment(f"case    {case.name}")
    yield comment(f"profile {case.profile or 'none'}")
    yield comment(f"flags   {' '.join(case.flags) or 'none'}")
    yield comment(f"comment {case.comment}")


def _tensor(case: Case, record: TensorRecord, end: str) -> Iterator[str]:
    made = f" made by node {record.node} ({record.op})" if record.node else ""
    yield comment(f"{record.role} {record.name}: {record.type}{made}")
    yield f"#define RANK_{end} {len(record.shape)}"
    yield f"#define COUNT_{end} {prod(record.shape)}"
    yield from (f"#define DIM{k}_{end} {length}" for k, length in enumerate(record.shape))
    quant = case.graph.values[record.name].quant
    if quant:
        yield from _quant(quant, end)
    written = elements(case.tensors[record.name], f"tensor {record.name!r}")
    yield from _array(C_TYPES[record.dtype], f"tensor_{end}", f"COUNT_{end}", written)


def _quant(quant: Quant, end: str) -> Iterator[str]:
    yield f"#define ZERO_{end} {integer(quant.zero_point)}"
    scales = [real(scale, "a scale") for scale in quant.scale]
    if quant.axis is None:
        yield f"#define SCALE_{end} {scales[0]}"
    else:
        yield f"#define AXIS_{end} {integer(quant.axis)}"
        yield from _array("float", f"SCALES_{end}", str(len(scales)), scales)


def _array(type_: str, name: str, count: str, written: Sequence[str]) -> Iterator[str]:
    yield f"static const {type_} {name}[{count}] = {{"
    yield from ("    " + ", ".join(written[k : k + IN_A_LINE]) + "," for k in range(0, len(written), IN_A_LINE))
    yield "};"


def _node(node: Node, k: int) -> Iterator[str]:
    yield comment(f"node {k}: {node.output.name} = {node.op}({', '.join(node.inputs)}), named {node.name}")
    for name, value in node.attributes.items():
        yield from _attribute(f"NODE{k}", name, value)


def _attribute(node: str, name: str, value: Attribute) -> Iterable[str]:
    """A number as a macro, a list as an array and its length, a choice as a string and as a macro that exists."""
    if isinstance(value, str):
        choice = re.sub(r"[^A-Za-z0-9_]", "_", value)
        return [f'#define {node}_{name} "{choice}"', f"#define {node}_IS_{name}_{choice} 1"]
    if isinstance(value, tuple):
        length = f"#define {node}_COUNT_{name} {len(value)}"
        type_ = "float" if any(isinstance(v, float) for v in value) else "int64_t"
        written = [_number(v, node) for v in value]
        return [length, *(_array(type_, f"{node}_{name}", str(len(value)), written) if value else [])]
    return [f"#define {node}_{name} {_number(value, node)}"]


def _number(value: int | float, node: str) -> str:
    return real(value, node) if isinstance(value, float) else integer(int(value))
