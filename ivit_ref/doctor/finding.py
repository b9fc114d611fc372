"""What the doctor finds: which rule, where, and what is remarkable there."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from ivit_ref.doctor.rules import RULES, Severity

WIDTH = 118
SHOWN = 2
"""So many places of a finding are told in the text; all are in the JSON."""


@dataclass(frozen=True)
class Place:
    """A key of the state dict and what is remarkable about its value."""

    key: str
    value: str


@dataclass(frozen=True)
class Finding:
    """A rule of ``RULES`` that something breaks, at one place or more."""

    rule: str
    places: tuple[Place, ...]

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return RULES[self.rule].severity

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {"rule": self.rule, **vars(RULES[self.rule]), "places": [vars(place) for place in self.places]}

    def text(self) -> str:
        """A few lines for a person."""
        rule, more = RULES[self.rule], len(self.places) - SHOWN
        rows = [f"{place.key}: {place.value}" for place in self.places[:SHOWN]]
        rows += [f"and {more} more (see: --json)"] if more > 0 else []
        rows += [f"effect: {rule.effect}", f"remedy: {rule.remedy}"]
        return "\n".join([f"{rule.severity.upper()}: {self.rule}", *map(_indented, rows)])


def _indented(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)


class Findings:
    """Collects places by rule."""

    def __init__(self) -> None:
        self._places: dict[str, list[Place]] = {rule: [] for rule in RULES}

    def add(self, rule: str, key: str, value: str) -> None:
        """Something breaks a rule."""
        self._places[rule].append(Place(key, value))

    def has(self, rule: str) -> bool:
        """Whether something broke it."""
        return bool(self._places[rule])

    def all(self) -> list[Finding]:
        """The findings, the gravest first."""
        return [Finding(rule, tuple(places)) for rule, places in self._places.items() if places]
