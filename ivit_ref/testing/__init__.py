"""For the tests of a backend: ``check_backend`` runs the vectors of an operator through it and says what explains a difference.

>>> def test_shiftmax():
...     check_backend(my_backend, suite="Shiftmax", profile="tvm")
"""

from __future__ import annotations

from ivit_ref.compare.backend import Backend, Function
from ivit_ref.compare.findings import conclusions
from ivit_ref.compare.report import compare
from ivit_ref.compare.text import text
from ivit_ref.errors import InputError, IvitError
from ivit_ref.golden.make import check_random, suite_cases
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import lookup

__all__ = ["Mismatch", "check_backend"]


class Mismatch(IvitError, AssertionError):
    """A backend's integers differ; the message is the report of ``ivit-ref compare``."""


def check_backend(function: Function, *, suite: str, profile: str | None = None, random: int = 24, seed: int = 0) -> int:
    """Run the vectors of an operator through a backend; the number of cases. Mismatch tells what differs, and why.

    ``function`` takes ``(inputs, graph)``: arrays by name, and a graph of one node, which carries the operator's attributes. It
    gives arrays by name: ``result``, in the dtype and shape that the graph declares. ``profile`` chooses one of the published
    versions; None is all of them. ``random`` vectors, made from ``seed``, come behind the directed ones.
    """
    if not isinstance(suite, str) or not isinstance(profile, (str, type(None))):
        raise InputError(f"check_backend: suite and profile must be names, but found {suite!r}, {profile!r}")
    if profile is not None and profile not in PROFILES:
        raise InputError(f"check_backend: the profile must be one of {', '.join(PROFILES)}, but found {profile!r}")
    lookup(suite, "check_backend: ")
    check_random(random, seed, "check_backend: ")
    backend = Backend(function, getattr(function, "__qualname__", type(function).__name__))
    source = f"backend {backend.name}"
    compared = []
    for case in suite_cases(suite, [profile] if profile else PROFILES, random, seed):
        actual = backend(case.inputs, case.graph, case.name)
        if not actual:
            raise InputError(f"{source} ({case.name}): must give the output 'result', but gave none")
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
