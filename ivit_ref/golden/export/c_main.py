"""``main.c``: calls the function that is tested, compares every element, and says what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ivit_ref.golden.case import Case
from ivit_ref.golden.export.c_words import C_TYPES, string
from ivit_ref.ir import Value

_HEAD = """\
/* Compares what ivit_run answers with the outputs of the case, bit for bit. Exit status 0: equal; 1: something differs.
   Compile with the file that has the function: cc -std=c99 main.c yours.c */

#include <stdio.h>
#include <string.h>

#include "case.h"

/* What the function leaves alone must differ from what it must write: every bit is the opposite. */
static void prepare(void *got, const void *want, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((unsigned char *)got)[i] = (unsigned char)~((const unsigned char *)want)[i];
}

/* The first element that differs, or count; wrong becomes how many do. */
static long compare(const void *got, const void *want, long count, size_t size, long *wrong)
{
    long first = count;
    *wrong = 0;
    for (long i = 0; i < count; i++)
        if (memcmp((const char *)got + (size_t)i * size, (const char *)want + (size_t)i * size, size) != 0 && (*wrong)++ == 0)
            first = i;
    return first;
}

static void print_index(long flat, int rank, const long *dims)
{
    long step = 1;
    for (int k = 0; k < rank; k++)
        step *= dims[k];
    printf("[");
    for (int k = 0; k < rank; k++) {
        step /= dims[k];
        printf("%s%ld", k ? ", " : "", flat / step % dims[k]);
    }
    printf("]");
}
"""

_CHECK = """\
static int check_{end}(const {type} *got)
{{
    static const long dims[] = {{{dims}1}};
    long wrong, first = compare(got, tensor_{end}, COUNT_{end}, sizeof *got, &wrong);
    if (wrong == 0)
        return 0;
    printf("%s", {name});
    print_index(first, RANK_{end}, dims);
    printf(": got {form}, want {form}", ({wide})got[first], ({wide})tensor_{end}[first]);
    printf("; %ld of %ld differ\\n", wrong, (long)COUNT_{end});
    return 1;
}}
"""


def prototype(case: Case, ends: Mapping[str, str]) -> Iterator[str]:
    """The declaration of the function that the user supplies."""
    outputs = [f"{C_TYPES[v.type.dtype]} *output_{ends[v.name]}" for v in outputs_of(case)]
    inputs = [f"const {C_TYPES[v.type.dtype]} *input_{ends[v.name]}" for v in case.graph.inputs]
    yield "/* Yours to write: reads the inputs of the graph and writes its outputs, row-major, the last axis fastest. */"
    yield "void ivit_run("
    yield "    " + ",\n    ".join([*inputs, *outputs]) + ");"


def main_lines(case: Case, ends: Mapping[str, str]) -> Iterator[str]:
    """The whole of ``main.c``."""
    yield from _HEAD.splitlines()
    outputs = outputs_of(case)
    for value in outputs:
        yield ""
        yield from _check(value, ends[value.name]).splitlines()
    yield ""
    yield from (f"static {C_TYPES[v.type.dtype]} got_{ends[v.name]}[COUNT_{ends[v.name]}];" for v in outputs)
    yield from ["", "int main(void)", "{", "    int failed = 0;"]
    for end in (ends[v.name] for v in outputs):
        yield f"    prepare(got_{end}, tensor_{end}, sizeof got_{end});"
    given = [*(f"tensor_{ends[v.name]}" for v in case.graph.inputs), *(f"got_{ends[v.name]}" for v in outputs)]
    yield f"    ivit_run({', '.join(given)});"
    yield from (f"    failed |= check_{ends[v.name]}(got_{ends[v.name]});" for v in outputs)
    yield from ["    if (!failed)", '        printf("equal\\n");', "    return failed;", "}"]


def outputs_of(case: Case) -> list[Value]:
    """The outputs of the graph, each once."""
    return [case.graph.values[name] for name in dict.fromkeys(case.graph.outputs)]


def _check(value: Value, end: str) -> str:
    real = value.type.dtype == "float32"
    return _CHECK.format(
        end=end,
        type=C_TYPES[value.type.dtype],
        dims="".join(f"DIM{k}_{end}, " for k in range(len(value.type.shape))),
        name=string(value.name),
        form="%a" if real else "%lld",
        wide="double" if real else "long long",
    )
