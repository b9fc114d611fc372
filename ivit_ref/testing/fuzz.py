"""``fuzz_backend``: searches for an input on which a backend is wrong, shrinks it, and says what explains it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ivit_ref.compare.backend import Backend, Function
from ivit_ref.compare.difference import integers_of
from ivit_ref.compare.explain import Evidence, evidence, explain
from ivit_ref.errors import InputError, IvitError
from ivit_ref.golden.case import Case
from ivit_ref.ir import Array
from ivit_ref.testing.checks import check_search
from ivit_ref.testing.extra import needing_hypothesis
from ivit_ref.testing.paste import as_json, as_python, literal
from ivit_ref.testing.subject import BadBackend, InProcess
from ivit_ref.text import format_attributes

if TYPE_CHECKING:
    from ivit_ref.testing.search import Search

SHOWN = 3
"""Settings of which each explains everything: how many are named."""


class Mismatch(IvitError, AssertionError):
    """A backend's integers differ; the message says where, and what explains it. ``case``: the one that a search found."""

    def __init__(self, message: str, case: Case | None = None) -> None:
        super().__init__(message)
        self.case = case


def fuzz_backend(
    function: Function,
    *,
    op: str,
    profile: str | None = None,
    max_examples: int = 500,
    seed: int = 0,
    timeout: float = 10.0,
) -> int:
    """Search for a call of an operator that a backend answers wrongly; the number of calls that it answered, if none is found.

    ``function`` is a backend as ``check_backend`` takes. ``profile``: calls with the attributes of that published version, at
    many scales; None is any attributes, which is all there is for operators in which no profile has a say. Values wrap, and
    what the operator refuses is not given to the backend.

    Mismatch has the smallest failing call - fewest elements, smallest numbers, simplest scale -, what explains it, and the case
    to be pasted: as Python, and as a vector of ``suite.json``. BadBackend says the same of a function that gives no answer: it
    raises, gives arrays of other names, shapes or dtypes or a view of its input, writes into its input, takes longer than
    ``timeout`` seconds, or does not answer the same twice. Needs hypothesis (MissingExtra).
    """
    check_search(op, profile, seed, timeout, "fuzz_backend: ")
    if type(max_examples) is not int or max_examples < 1:
        raise InputError(f"fuzz_backend: max_examples must be a number from 1, but found {max_examples!r}")
    with needing_hypothesis("fuzz_backend"):
        from ivit_ref.testing.search import Search
    found = Search(InProcess(Backend(function, name_of(function), timeout)), op, profile, seed)
    found.run(max_examples=max_examples)
    if found.found is not None:
        message = told(found, explanation(found))
        if found.found.fault == "differs":
            raise Mismatch(message, found.found.case)
        raise BadBackend(found.found.fault, message, found.found.case) from found.found.cause
    return found.examples


def name_of(function: Function) -> str:
    """What a function is called in messages."""
    return getattr(function, "__qualname__", type(function).__name__)


def told(search: Search, why: str) -> str:
    """What was found, at length: the input, the answer, the right one, what explains it, and the case to be pasted."""
    assert search.found is not None
    case, answer = search.found.case, search.found.answer
    [node] = case.graph.nodes
    lines = [f"{case.suite}{f' ({case.profile})' * bool(case.profile)}: {search.found.message}", ""]
    lines += [f"{value.name:<7} {literal(case.tensors[value.name])}" for value in case.graph.inputs]
    if answer is not None:
        lines.append(f"got     {literal(answer['result'])}")
    lines.append(f"want    {literal(case.tensors['result'])}{' (a value wrapped on the way)' * (case.verdict == 'overflow')}")
    scale = "" if search.found.example.scale is None else f"scale={search.found.example.scale!r} "
    lines.append(f"with    {scale}{format_attributes(node.attributes)}")
    lines += [f"why     {why}"] * bool(why)
    tried = f"{search.examples} examples, with {len(search.settings)} different sets of attributes"
    return "\n".join([*lines, f"found   after {tried}", "", as_python(case), "", as_json(case)])


def explanation(search: Search) -> str:
    """Which settings give exactly the integers of the smallest example and of all others that were kept, in one line.

    Nothing where there is no answer to be explained.
    """
    assert search.found is not None
    if search.found.answer is None:
        return ""
    kept = [(search.found.case, search.found.answer), *search.evidence]
    together, alone = explain([_evidence(case, answer) for case, answer in kept])
    if together:
        others = f", or {len(together) - SHOWN} others" if len(together) > SHOWN else ""
        return f"exactly what it gives with {' or with '.join(' and '.join(names) for names in together[:SHOWN])}{others}"
    if alone:
        return f"{' and '.join(alone[0])} gives this, but not the other answers that were seen"
    return "no setting that was tried explains it"


def _evidence(case: Case, answer: dict[str, Array]) -> Evidence:
    [node], [record] = case.graph.nodes, case.made
    got = integers_of(record, answer[record.name], case.name)
    return evidence(case.graph, node, [case.tensors[name] for name in node.inputs], got, case.name)
