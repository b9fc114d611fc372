"""How exports are read back: as their layout says, by a C compiler, by a Verilog simulator."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from math import prod
from pathlib import Path

import numpy as np
import pytest

from ivit_ref.golden.case import Case
from ivit_ref.golden.export.c_words import identifiers
from ivit_ref.ir import Array
from tests.golden.samples import compiled

IVERILOG, VVP = shutil.which("iverilog"), shutil.which("vvp")
needs_iverilog = pytest.mark.skipif(not (IVERILOG and VVP), reason="needs iverilog")


def layout_of(folder: Path) -> list[dict[str, object]]:
    layout = json.loads((folder / "layout.json").read_text(encoding="utf-8"))
    files = [t["file"] for t in layout["tensors"]]
    assert sorted([*files, "layout.json"]) == sorted(p.name for p in folder.iterdir())
    assert len({file.lower() for file in files}) == len(files)
    tensors: list[dict[str, object]] = layout["tensors"]
    return tensors


def read_bin(folder: Path) -> dict[str, Array]:
    found = {}
    for t in layout_of(folder):
        dtype = np.dtype(str(t["dtype"])).newbyteorder("<")
        assert t["bits"] == 8 * dtype.itemsize
        assert (folder / str(t["file"])).stat().st_size == t["count"] * dtype.itemsize
        found[str(t["name"])] = np.fromfile(folder / str(t["file"]), dtype).reshape(t["shape"])  # type: ignore[call-overload]
    return found


def from_words(words: list[str], t: dict[str, object]) -> Array:
    """A word as a testbench reads it: its bits, and what the layout says that they mean."""
    bits, dtype = int(str(t["bits"])), str(t["dtype"])
    assert all(re.fullmatch(rf"[0-9a-f]{{{-(-bits // 4)}}}", word) for word in words)
    numbers = [int(word, 16) for word in words]
    if t["representation"] == "two's complement":
        numbers = [n - 2**bits if n >= 2 ** (bits - 1) else n for n in numbers]
    if t["representation"] == "IEEE 754 binary32":
        return np.array(numbers, np.uint32).view(np.float32).reshape(t["shape"])  # type: ignore[call-overload, no-any-return]
    assert dtype != "bool" or set(numbers) <= {0, 1}
    return np.array(numbers, dtype).reshape(t["shape"])  # type: ignore[call-overload, no-any-return]


def read_memh(folder: Path) -> dict[str, Array]:
    found = {}
    for t in layout_of(folder):
        text = (folder / str(t["file"])).read_bytes().decode("ascii")
        assert text.endswith("\n")
        words = text[:-1].split("\n")
        assert len(words) == t["count"]
        found[str(t["name"])] = from_words(words, t)
    return found


def read_verilog(folder: Path, work: Path) -> dict[str, Array]:
    """By a Verilog simulator."""
    layout = layout_of(folder)
    lines = ["module dump;", "integer i;"]
    lines += [f"reg [{int(str(t['bits'])) - 1}:0] m{k} [0:{int(str(t['count'])) - 1}];" for k, t in enumerate(layout)]
    lines.append("initial begin")
    for k, t in enumerate(layout):
        lines.append(f'$readmemh("{folder / str(t["file"])}", m{k});')
        lines.append(f'for (i = 0; i < {t["count"]}; i = i + 1) $display("{k} %h", m{k}[i]);')
    (work / "dump.v").write_text("\n".join([*lines, "end", "endmodule", ""]))
    subprocess.run([str(IVERILOG), "-Wall", "-o", work / "dump", work / "dump.v"], check=True)
    done = subprocess.run([str(VVP), "-n", work / "dump"], capture_output=True, text=True, check=True)
    words: list[list[str]] = [[] for _ in layout]
    for line in done.stdout.splitlines():
        number, word = line.split()
        words[int(number)].append(word)
    return {str(t["name"]): from_words(w, t) for t, w in zip(layout, words, strict=True)}


DUMP = """\
#include <stdio.h>
#include "case.h"
static void dump(const void *data, int rank, long count, size_t size)
{
    static const union { unsigned one; unsigned char low; } order = {1};
    printf("%d %ld", rank, count);
    for (const unsigned char *p = data, *end = p + count * (long)size; p != end; p += size) {
        printf(" ");
        for (size_t k = 0; k < size; k++)
            printf("%02x", order.low ? p[size - 1 - k] : p[k]);
    }
    printf("\\n");
}
int main(void)
{
"""


def read_c(folder: Path, case: Case, work: Path) -> dict[str, Array]:
    """By a C compiler."""
    ends = identifiers(record.name for record in case.records)
    calls = []
    for record in case.records:
        end = ends[record.name]
        calls.append(f"    dump(tensor_{end}, RANK_{end}, COUNT_{end}, sizeof *tensor_{end});\n")
        calls += [f'    printf("%d\\n", DIM{k}_{end});\n' for k in range(len(record.shape))]
    (work / "dump.c").write_text(DUMP + "".join(calls) + "    return 0;\n}\n")
    program = compiled(work, [work / "dump.c"], f"-I{folder}", "-O0")
    lines = iter(subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines())
    found = {}
    for record in case.records:
        rank, count, *words = next(lines).split()
        shape = tuple(int(next(lines)) for _ in range(int(rank)))
        assert int(count) == prod(shape) == len(words)
        size = np.dtype(record.dtype).itemsize
        assert {len(word) for word in words} == {2 * size}
        found[record.name] = np.array([int(w, 16) for w in words], f"u{size}").view(record.dtype).reshape(shape)
    return found
