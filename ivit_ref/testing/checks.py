"""What is asked for, checked before anything runs."""

from __future__ import annotations

from ivit_ref.compare.waiting import check_timeout
from ivit_ref.errors import InputError
from ivit_ref.golden.make import check_random
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import lookup


def check_profile(profile: str | None, who: str) -> None:
    """A published version, or none."""
    if profile is not None and profile not in PROFILES:
        raise InputError(f"{who}the profile must be one of {', '.join(PROFILES)}, but found {profile!r}")


def check_operator(op: str, profile: str | None, who: str, what: str = "op") -> None:
    """An operator, and a published version or none; ``what`` is the name of the argument."""
    if not isinstance(op, str) or not isinstance(profile, (str, type(None))):
        raise InputError(f"{who}{what} and profile must be names, but found {op!r}, {profile!r}")
    lookup(op, who)
    check_profile(profile, who)


def check_search(op: str, profile: str | None, seed: int, timeout: float, who: str) -> None:
    """What may be searched, and how."""
    check_operator(op, profile, who)
    check_random(0, seed, who)
    check_timeout(timeout, f"{who}timeout ")
