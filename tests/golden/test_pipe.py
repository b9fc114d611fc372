"""The text protocol: what is fed says everything, what is answered is read strictly, and a C program speaks both."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ivit_ref.errors import InputError
from ivit_ref.golden.case import Case
from ivit_ref.golden.group import Group, Row
from ivit_ref.golden.make import group_case
from ivit_ref.golden.pipe import LONGEST_LINE, feed, read_answers
from ivit_ref.golden.words import words
from ivit_ref.ir import DTYPES, Array
from ivit_ref.profiles import PROFILES
from tests.golden.samples import case_of_arrays, digits, everything, one_node, same

SOURCE = Path(__file__).parents[2] / "docs" / "examples" / "shiftmax.c"


def answer(case: Case, *names: str) -> Iterator[str]:
    """What a perfect program prints, for some tensors or for the outputs."""
    yield f"case {case.name}"
    for name in names or case.graph.outputs:
        array = case.tensors[name]
        yield " ".join(["tensor", name, str(array.dtype), str(array.ndim), *map(str, array.shape)])
        yield " ".join(words(array))
    yield "end"


def fed(lines: list[str]) -> tuple[dict[str, Any], dict[str, Array], dict[str, tuple[str, ...]]]:
    """Attributes, tensors and what is wanted, as a program reads them that knows the protocol's text alone."""
    stream = iter(" ".join(lines).split())
    attributes: dict[str, Any] = {}
    tensors: dict[str, Array] = {}
    wanted: dict[str, tuple[str, ...]] = {}
    numbers: dict[str, Callable[[str], Any]] = {
        "int": int,
        "float": lambda w: struct.unpack(">f", bytes.fromhex(w))[0],
        "text": str,
    }
    for word in stream:
        if word in ("case", "op", "graph"):
            attributes[word] = next(stream)
        elif word in numbers:
            name = next(stream)
            attributes[name] = numbers[word](next(stream))
        elif word in ("ints", "floats"):
            name, count = next(stream), int(next(stream))
            attributes[name] = tuple(numbers[word[:-1]](next(stream)) for _ in range(count))
        elif word in ("tensor", "constant", "want"):
            name, dtype, rank = next(stream), next(stream), int(next(stream))
            shape = tuple(int(next(stream)) for _ in range(rank))
            wanted |= {name: (dtype, *map(str, shape))} if word == "want" else {}
            tensors |= {name: elements(stream, dtype, shape)} if word != "want" else {}
        else:
            assert word == "end"
            assert list(stream) == []
    return attributes, tensors, wanted


def elements(stream: Iterator[str], dtype: str, shape: tuple[int, ...]) -> Array:
    bits = [int(next(stream), 16) for _ in range(int(np.prod(shape)))]
    return np.array(bits, f"u{np.dtype(dtype).itemsize}").view(dtype).reshape(shape)


# --- What is fed


@pytest.mark.parametrize("make", [everything, digits])
def test_a_graph_is_fed_with_its_inputs_and_constants(make: Callable[[], Case]) -> None:
    case = make()
    attributes, tensors, wanted = fed(list(feed(case)))
    assert attributes == {"case": case.name, "graph": {"all of it": "all%20of%20it"}.get(case.graph.name, case.graph.name)}
    given_names = [record.name for record in case.records if not record.node]
    assert list(tensors) == given_names
    assert all(same(tensors[name], case.tensors[name]) for name in given_names)
    assert wanted == {n: (str(a.dtype), *map(str, a.shape)) for n in case.graph.outputs for a in [case.tensors[n]]}
    constants = [line.split()[1] for line in feed(case) if line.startswith("constant ")]
    assert constants == [c.value.name for c in case.graph.constants]


def test_the_lines_of_one_node() -> None:
    x = np.array([[0, 1, -1], [127, -128, 5]], np.int8)
    attributes = {"scale": (1.0, 0.5), "axis": 0, "zero_point": -3}
    assert list(feed(one_node("Dequantize", {"x": x}, attributes))) == [
        "case Dequantize/test_made",
        "op Dequantize",
        "int axis 0",
        "floats scale 2 3f800000 3f000000",
        "int zero_point -3",
        "tensor x int8 2 2 3",
        "00 01 ff",
        "7f 80 05",
        "want y float32 2 2 3",
        "end",
    ]


def test_attributes_of_every_kind() -> None:
    profile = PROFILES["tvm"].shiftmax(0.05)
    attributes, _, _ = fed(list(feed(one_node("Shiftmax", {"x": np.array([[1, 2]], np.int8)}, profile))))
    assert {name: attributes[name] for name in profile} == profile
    assert "int clamp 1" in feed(one_node("Shiftmax", {"x": np.array([[1, 2]], np.int8)}, profile))
    scalar = {"alpha": 0.125}
    matmul = one_node("MatMul", {"a": np.ones((1, 1), np.int8), "b": np.ones((1, 1), np.int8)}, scalar)
    assert "float alpha 3e000000" in feed(matmul)
    transposed = one_node("Transpose", {"x": np.ones((1, 2), np.int8)}, {"perm": (1, 0)})
    assert "ints perm 2 1 0" in feed(transposed)


def test_a_row_has_a_line_and_a_scalar_too() -> None:
    case = case_of_arrays({"x": np.array(-2, np.int16), "w": np.zeros((2, 1, 2), np.bool_)})
    assert list(feed(case))[2:] == [
        "tensor x int16 0",
        "fffe",
        "constant w bool 3 2 1 2",
        "0 0",
        "0 0",
        "want x int16 0",
        "end",
    ]


# --- What is answered


@st.composite
def tensors(draw: st.DrawFn) -> Array:
    dtype = draw(st.sampled_from(DTYPES))
    return draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, max_side=5)))


@given(tensors(), st.booleans(), st.booleans(), st.booleans())
def test_an_answer_is_read_in_every_spelling(array: Array, short: bool, upper: bool, prefix: bool) -> None:
    case = case_of_arrays({"x": array})
    head = " ".join(["tensor x", str(array.dtype), str(array.ndim), *map(str, array.shape)])
    spelt = [(word.lstrip("0") or "0") if short else word for word in words(array)]
    spelt = [word.upper() if upper else word for word in spelt]
    lines = [f"case {case.name}", head, *("0x" * prefix + word for word in spelt), "end"]
    for text in (lines, [" ".join(lines)], [f"  {line}\t\r\n" for line in lines]):
        ((_, answers),) = read_answers(text, [case])
        assert list(answers) == ["x"]
        assert same(answers["x"], array)


def test_further_tensors_are_read_too() -> None:
    case = digits()
    inner = [record.name for record in case.made][::20]
    names = [*inner, *(n for n in case.graph.outputs if n not in inner), "image"]
    ((_, answers),) = read_answers(answer(case, *names), [case])
    assert list(answers) == names
    assert all(same(array, case.tensors[name]) for name, array in answers.items())


def test_cases_are_read_one_at_a_time() -> None:
    """A program may answer the first before it is asked the second."""
    case = digits()

    def lines() -> Iterator[str]:
        yield from answer(case)
        raise AssertionError("nobody asked for more")

    assert next(read_answers(lines(), [case, case]))[0] is case


def pair() -> Case:
    return one_node("Clip", {"x": np.array([[1, -2], [3, 4]], np.int8)}, {"low": -1, "high": 3})


RIGHT = ["case Clip/test_made", "tensor y int8 2 2 2", "01 ff", "03 03", "end"]
"""What is answered; each of the following changes it."""


@pytest.mark.parametrize(
    ("at", "line", "message"),
    [
        (0, "case Clip/another", "line 1: next there must be 'case Clip/test_made', but found 'Clip/another'"),
        (0, "tensor y", "line 1: next there must be 'case Clip/test_made', but found 'tensor'"),
        (1, "tensor z int8 2 2 2", "line 2: a tensor of case Clip/test_made must be named, such as 'y', but found 'z'"),
        (1, "tensor y int16 2 2 2", "line 2: a tensor of this name must begin with 'tensor y int8 2 2 2', but found 'int16'"),
        (1, "tensor y int8 1 4", "line 2: a tensor of this name must begin with 'tensor y int8 2 2 2', but found '1'"),
        (1, "tensor y int8 2 2 3", "line 2: a tensor of this name must begin with 'tensor y int8 2 2 2', but found '3'"),
        (1, "y int8 2 2 2", "line 2: behind the name of the case there must be 'tensor' or 'end', but found 'y'"),
        (3, "03", "line 5: element 3 of tensor 'y', int8[2,2], must be hexadecimal with at most 2 digits, but found 'end'"),
        (3, "03 03 03", "line 4: behind the 4 elements of 'y' there must be 'tensor' or 'end', but found '03'"),
        (3, "03 0g", "line 4: element 3 of tensor 'y', int8[2,2], must be hexadecimal with at most 2 digits, but found '0g'"),
        (3, "03 -1", "line 4: element 3 of tensor 'y', int8[2,2], must be hexadecimal with at most 2 digits, but found '-1'"),
        (
            3,
            "03 ffffffff",
            "line 4: element 3 of tensor 'y', int8[2,2], must be hexadecimal with at most 2 digits, but found 'ffffffff'",
        ),
        (3, "03 003", "line 4: element 3 of tensor 'y', int8[2,2], must be hexadecimal with at most 2 digits, but found '003'"),
        (3, "03 1_1", "line 4: element 3 of tensor 'y', int8[2,2], must be hexadecimal with at most 2 digits, but found '1_1'"),
        (3, "03 0x", "line 4: element 3 of tensor 'y', int8[2,2], must be hexadecimal with at most 2 digits, but found '0x'"),
        (3, "03 ٣", "line 4: element 3 of tensor 'y', int8[2,2], must be hexadecimal with at most 2 digits, but found '٣'"),
        (4, "tensor y", "line 5: a tensor must be answered once, but found 'y'"),
        (4, "", "line 5: behind the 4 elements of 'y' there must be 'tensor' or 'end', but found the end of the answers"),
        (4, "case Clip/test_made", "line 5: behind the 4 elements of 'y' there must be 'tensor' or 'end', but found 'case'"),
        (4, "end end", "line 5: after the last case there must be nothing, but found 'end'"),
        (4, "end\ncase", "line 5: after the last case there must be nothing, but found 'case'"),
        (
            3,
            "0" * 70,
            f"line 4: element 2 of tensor 'y', int8[2,2], must be hexadecimal with at most 2 digits, but found '{'0' * 60}'...",
        ),
    ],
)
def test_a_wrong_answer_is_refused(at: int, line: str, message: str) -> None:
    lines = [*RIGHT[:at], line, *RIGHT[at + 1 :]]
    with pytest.raises(InputError) as refused:
        list(read_answers(lines, [pair()]))
    assert str(refused.value) == message


def test_the_right_answer_is_not_refused() -> None:
    ((_, answers),) = read_answers(RIGHT, [pair()])
    assert same(answers["y"], pair().tensors["y"])


def test_a_case_without_an_answer_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^line 5: next there must be 'case Clip/test_made', but found the end of the answers$"
    ):
        list(read_answers(RIGHT, [pair(), pair()]))
    with pytest.raises(
        InputError, match=r"^line 0: next there must be 'case Clip/test_made', but found the end of the answers$"
    ):
        list(read_answers([], [pair()]))


def test_a_missing_output_is_refused() -> None:
    with pytest.raises(InputError, match=r"^line 2: case Clip/test_made must have a tensor 'y', but has none$"):
        list(read_answers(["case Clip/test_made", "end"], [pair()]))


def test_a_truth_is_0_or_1() -> None:
    case = case_of_arrays({"x": np.array([True])})
    with pytest.raises(InputError, match=r"^line 3: element 0 of tensor 'x', bool\[1\], must be 0 or 1, but found '2'$"):
        list(read_answers([f"case {case.name}", "tensor x bool 1 1", "2", "end"], [case]))


def test_a_line_without_an_end_is_refused() -> None:
    with pytest.raises(InputError, match=r"^line 1: must have at most 16777216 characters, but found 16777217$"):
        list(read_answers([" " * (LONGEST_LINE + 1)], [pair()]))


@given(st.lists(st.sampled_from([*" ".join(RIGHT).split(), "\n", "zz", "7", "x", "0x1"]), max_size=25))
def test_any_answer_is_read_or_refused_in_one_line(found: list[str]) -> None:
    message = ""
    try:
        list(read_answers(" ".join(found).split("\n"), [pair()]))
    except InputError as error:
        message = str(error)
    assert re.fullmatch(r"(line \d+: [^\n]+)?", message)


def test_the_example_of_the_documentation_is_what_is_fed_and_answered() -> None:
    text = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
    block = next(part for part in re.findall(r"```text\n(.*?)```", text, re.DOTALL) if part.startswith("case Shiftmax"))
    fed = [line[:43].strip() for line in block.splitlines() if line[:43].strip()]
    answered = [line[43:].strip() for line in block.splitlines() if line[43:].strip()]
    x = np.array([[127, 100, 0], [-128, -1, 5]], np.int8)
    group = Group("example", "", "Shiftmax", "tvm", {"x": x}, PROFILES["tvm"].shiftmax(0.25), (Row("rows"),))
    case = replace(group_case(group, {"kind": "directed"}), id="test_example")
    assert list(feed(case)) == fed
    [(_, answers)] = read_answers(answered, [case])
    np.testing.assert_array_equal(answers["result"], case.tensors["result"], strict=True)
