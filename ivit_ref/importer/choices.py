"""What a user may choose when a graph is imported, and what the import tells of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ivit_ref.errors import InputError
from ivit_ref.importer.source import printable
from ivit_ref.profiles import Profile, profile_named

Softmax = Literal["shiftmax", "shiftmax-fine"]
Gelu = Literal["shiftgelu", "lookup"]
LayerNorm = Literal["ilayernorm"]


@dataclass(frozen=True)
class Choices:
    """Which integer operator takes the place of each float one, and the profile of their constants."""

    profile: str | Profile = "ideal"
    softmax: Softmax = "shiftmax"
    gelu: Gelu = "shiftgelu"
    layernorm: LayerNorm = "ilayernorm"

    def __post_init__(self) -> None:
        for name, allowed in (("softmax", Softmax), ("gelu", Gelu), ("layernorm", LayerNorm)):
            if getattr(self, name) not in get_args(allowed):
                raise InputError(f"{name}: must be one of {', '.join(get_args(allowed))}, but found {getattr(self, name)!r}")
        profile_named(self.profile)

    def metadata(self) -> dict[str, str]:
        """As a graph records them."""
        return {"softmax": self.softmax, "gelu": self.gelu, "layernorm": self.layernorm}


@dataclass
class Entry:
    """What became of one node of the source: the operators that do its work, or why there are none."""

    name: str
    type: str
    operators: list[str] = field(default_factory=list)
    note: str = ""
    refused: str = ""

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {"node": self.name, "operator": self.type, "becomes": self.operators, "note": self.note, "refused": self.refused}


@dataclass
class Report:
    """What maps to what, which scales were chosen, what is refused and why; ``unmade`` says what an output lacks."""

    entries: dict[str, Entry] = field(default_factory=dict)
    chosen: list[str] = field(default_factory=list)
    unmade: str = ""

    def entry(self, name: str, type_: str) -> Entry:
        """The entry of a node, made when it is new."""
        return self.entries.setdefault(name, Entry(name, type_))

    def choose(self, what: str) -> None:
        """A scale, or a meaning, that the source does not give."""
        line = printable(what)
        if line not in self.chosen:
            self.chosen.append(line)

    @property
    def refused(self) -> list[Entry]:
        """The nodes that stand in the way."""
        return [entry for entry in self.entries.values() if entry.refused]
