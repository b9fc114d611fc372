"""Cases as text, for a program behind pipes: it needs neither Python nor files, and scanf reads all of it.

``ivit-ref golden feed CASES | ./dut | ivit-ref golden check CASES``

Everything is words between white space; docs/format.md describes the language. For one node, tensors and constants come in the
order in which its operator takes them, and what it takes twice comes once.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from math import prod

from ivit_ref.errors import InputError
from ivit_ref.golden.case import Case, TensorRecord
from ivit_ref.golden.names import file_name
from ivit_ref.golden.words import BITS, digits, from_bits, words
from ivit_ref.ir import Array, Attribute

LONGEST_LINE = 2**24

Answers = dict[str, Array]
"""What a program answered for a case, by the names of the tensors."""

_HEXADECIMAL = re.compile("(?:0[xX])?([0-9a-fA-F]+)")
_SHOWN = 60


def feed(case: Case) -> Iterator[str]:
    """The lines of a case, without line ends."""
    graph = case.graph
    yield f"case {case.name}"
    if len(graph.nodes) == 1:
        yield f"op {graph.nodes[0].op}"
        for name, value in graph.nodes[0].attributes.items():
            yield _attribute(name, value)
    else:
        yield f"graph {file_name(graph.name) or '-'}"
    records = {record.name: record for record in case.records}
    for record in _fed(case, records):
        yield _head("constant" if record.role == "constant" else "tensor", record)
        yield from _rows(case.tensors[record.name])
    for name in dict.fromkeys(graph.outputs):
        yield _head("want", records[name])
    yield "end"


def _fed(case: Case, records: dict[str, TensorRecord]) -> list[TensorRecord]:
    """Inputs and constants: for one node in its own order, and then what it does not take."""
    given = {name: record for name, record in records.items() if not record.node}
    first = case.graph.nodes[0].inputs if len(case.graph.nodes) == 1 else ()
    return [given[name] for name in dict.fromkeys([*first, *given])]


def _attribute(name: str, value: Attribute) -> str:
    if isinstance(value, str):
        return f"text {name} {value}"
    several = isinstance(value, tuple)
    numbers = value if isinstance(value, tuple) else (value,)
    real = any(isinstance(v, float) for v in numbers)
    written = [struct.pack(">f", v).hex() if real else str(int(v)) for v in numbers]
    count = [str(len(written))] if several else []
    return " ".join([("float" if real else "int") + ("s" if several else ""), name, *count, *written])


def _head(keyword: str, record: TensorRecord) -> str:
    return " ".join([keyword, record.name, record.dtype, str(len(record.shape)), *map(str, record.shape)])


def _rows(array: Array) -> Iterator[str]:
    flat = words(array)
    length = array.shape[-1] if array.ndim else 1
    return (" ".join(flat[k : k + length]) for k in range(0, len(flat), length))


def read_answers(lines: Iterable[str], cases: Iterable[Case]) -> Iterator[tuple[Case, Answers]]:
    """What a program answers for each case, in their order; InputError names the line and what is wrong with it.

    Shapes, dtypes and names are right in what comes out; whether the numbers are is for others to say.
    """
    reader = _Reader(lines)
    for case in cases:
        yield case, _read_case(reader, case)
    if reader.next() is not None:
        raise reader.error("after the last case there must be nothing")


class _Reader:
    """The words of some lines, one at a time; ``word`` is the latest, None at the end."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.line = 0
        self.word: str | None = None
        self._words = self._split(lines)

    def _split(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self.line += 1
            if len(line) > LONGEST_LINE:
                raise InputError(f"line {self.line}: must have at most {LONGEST_LINE} characters, but found {len(line)}")
            yield from line.split()

    def next(self) -> str | None:
        """The next word."""
        self.word = next(self._words, None)
        return self.word

    def error(self, must: str) -> InputError:
        """What to raise where the latest word is not what it must be."""
        if self.word is None:
            return InputError(f"line {self.line}: {must}, but found the end of the answers")
        shown = repr(self.word) if len(self.word) <= _SHOWN else f"{self.word[:_SHOWN]!r}..."
        return InputError(f"line {self.line}: {must}, but found {shown}")

    def expect(self, words: Iterable[str], must: str) -> None:
        """These words and no others."""
        for word in words:
            if self.next() != word:
                raise self.error(must)


def _read_case(reader: _Reader, case: Case) -> Answers:
    records = {record.name: record for record in case.records}
    answers: Answers = {}
    reader.expect(["case", case.name], f"next there must be 'case {case.name}'")
    while reader.next() == "tensor":
        record = _named(reader, case, records, answers)
        answers[record.name] = _elements(reader, record)
    if reader.word != "end":
        raise reader.error(f"behind {_latest(answers)} there must be 'tensor' or 'end'")
    missing = [name for name in case.graph.outputs if name not in answers]
    if missing:
        raise InputError(f"line {reader.line}: case {case.name} must have a tensor {missing[0]!r}, but has none")
    return answers


def _latest(answers: Answers) -> str:
    if not answers:
        return "the name of the case"
    name = list(answers)[-1]
    return f"the {answers[name].size} elements of {name!r}"


def _named(reader: _Reader, case: Case, records: dict[str, TensorRecord], answers: Answers) -> TensorRecord:
    """The record of the tensor that comes now, when its type is right."""
    record = records.get(reader.next() or "")
    if record is None:
        raise reader.error(f"a tensor of case {case.name} must be named, such as {case.graph.outputs[0]!r}")
    if record.name in answers:
        raise reader.error("a tensor must be answered once")
    head = _head("tensor", record)
    reader.expect(head.split()[2:], f"a tensor of this name must begin with '{head}'")
    return record


def _elements(reader: _Reader, record: TensorRecord) -> Array:
    """As many words as the tensor has elements."""
    most, bits = digits(record.dtype), []
    for k in range(prod(record.shape)):
        found = _HEXADECIMAL.fullmatch(reader.next() or "")
        value = int(found[1], 16) if found and len(found[1]) <= most else 2**64
        if value >> BITS[record.dtype]:
            what = "0 or 1" if record.dtype == "bool" else f"hexadecimal with at most {most} digits"
            raise reader.error(f"element {k} of tensor {record.name!r}, {record.type}, must be {what}")
        bits.append(value)
    return from_bits(bits, record.dtype, record.shape)
