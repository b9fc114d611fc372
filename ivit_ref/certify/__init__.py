"""Certificates: operators on every input where inputs can be enumerated, against an independent derivation of each result.

``certify(executor=...)`` spreads the chunks over any ``concurrent.futures.Executor``; ``ivit-ref certify`` is the command.
A further certificate is a file here with a ``CERTIFICATE``, and its name in the list below.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ivit_ref.certify import int_sqrt, lookup, requantize, shift_exp, shift_gelu
from ivit_ref.certify.certificate import Certificate, Checked, Part, Tally, Wrong
from ivit_ref.certify.running import Key, Line, certify, finished, keys_of, lines_of
from ivit_ref.errors import InputError

CERTIFICATES: Mapping[str, Certificate] = MappingProxyType(
    {module.CERTIFICATE.name: module.CERTIFICATE for module in (shift_exp, shift_gelu, requantize, int_sqrt, lookup)}
)

__all__ = [
    "CERTIFICATES",
    "Certificate",
    "Checked",
    "Key",
    "Line",
    "Part",
    "Tally",
    "Wrong",
    "certificates_named",
    "certify",
    "finished",
    "keys_of",
    "lines_of",
]


def certificates_named(names: list[str]) -> list[Certificate]:
    """The certificates of these names, all of them where none is given; InputError for one that is unknown."""
    for name in names:
        if name not in CERTIFICATES:
            raise InputError(f"certificate: must be one of {', '.join(CERTIFICATES)}, but found {name!r}")
    return [c for name, c in CERTIFICATES.items() if not names or name in names]
