"""Rescale on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.nested import at, build, shape_of


def rescale(x: Any, *, alpha: tuple[float, ...], axis: int) -> Any:
    return build(shape_of(x), lambda index: at(x, index))
