"""For the tests of a backend, and of other people's code around these operators.

>>> def test_shiftmax():
...     check_backend(my_backend, suite="Shiftmax", profile="tvm")
...     fuzz_backend(my_backend, op="Shiftmax", profile="tvm")

``check_backend`` runs the vectors of an operator through a backend and says what explains a difference; ``fuzz_backend``
searches for an input on which it is wrong, and shrinks it. ``ivit_ref.testing.strategies`` has what it draws from, for tests of
your own. The last two need hypothesis.
"""

from __future__ import annotations

from ivit_ref.compare.backend import Backend, Function
from ivit_ref.compare.findings import conclusions
from ivit_ref.compare.report import compare
from ivit_ref.compare.text import text
from ivit_ref.compare.waiting import check_timeout
from ivit_ref.golden.make import check_random, suite_cases
from ivit_ref.profiles import PROFILES
from ivit_ref.testing.checks import check_operator
from ivit_ref.testing.fuzz import Mismatch, fuzz_backend, name_of
from ivit_ref.testing.subject import BadBackend, InProcess, checked

__all__ = ["BadBackend", "Mismatch", "check_backend", "fuzz_backend"]


def check_backend(
    function: Function, *, suite: str, profile: str | None = None, random: int = 24, seed: int = 0, timeout: float = 60.0
) -> int:
    """Run the vectors of an operator through a backend; the number of cases. Mismatch tells what differs, and why.

    ``function`` takes ``(inputs, graph)``: arrays by name, and a graph of one node, which carries the operator's attributes. It
    gives arrays by name: ``result``, in the dtype and shape that the graph declares. ``profile`` chooses one of the published
    versions; None is all of them. ``random`` vectors, made from ``seed``, come behind the directed ones. Each is asked twice
    and must be answered in the same way, within ``timeout`` seconds (BadBackend). The function gets copies and is copied: it
    may reuse both.
    """
    check_operator(suite, profile, "check_backend: ", what="suite")
    check_random(random, seed, "check_backend: ")
    check_timeout(timeout, "check_backend: timeout ")
    backend = Backend(function, name_of(function), timeout)
    subject = InProcess(backend, strict=False)
    source = subject.name
    compared = []
    for case in suite_cases(suite, [profile] if profile else PROFILES, random, seed):
        actual = checked(subject, case)
        compared.append((case, compare(case, actual, source), actual, source))
    reports = [report for _, report, _, _ in compared]
    wrong = sum(report.first is not None for report in reports)
    if wrong:
        findings = conclusions(compared, backend)
        settings = next((" and ".join(f.settings[0]) for f in findings if f.settings), "")
        summary = f"{suite}: {wrong} of {len(reports)} cases differ" + (
            f"; exactly what it gives with {settings}" * bool(settings)
        )
        raise Mismatch(f"{summary}\n\n{text(reports, findings, brief=False)}")
    return len(compared)
