"""Every faster equal against the operator's own body, on any valid call; and both engines on a trained model."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ivit_ref
from ivit_ref import EventLog, Interpreter
from ivit_ref.fast import KERNELS
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import CALLS
from tests.fast.engines import Array, assert_engines_agree

ROOT = Path(ivit_ref.__file__).parent.parent


def test_every_kernel_is_the_equal_of_an_operator() -> None:
    assert set(KERNELS) <= set(REGISTRY)


@pytest.mark.parametrize("path", sorted((ROOT / "ivit_ref" / "ops").glob("*.py")), ids=lambda path: path.stem)
def test_no_operator_imports_its_faster_equal(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    assert not [module for module in modules if "fast" in module.split(".")]


@settings(deadline=None, max_examples=150)
@pytest.mark.parametrize("name", KERNELS)
@given(data=st.data())
def test_any_valid_call(name: str, data: st.DataObject) -> None:
    arrays, attributes = data.draw(CALLS[name])
    assert_engines_agree(name, arrays, attributes)


@settings(deadline=None)
@pytest.mark.parametrize("name", KERNELS)
@given(data=st.data())
def test_any_layout_in_memory(name: str, data: st.DataObject) -> None:
    arrays, attributes = data.draw(CALLS[name])
    assert_engines_agree(name, [scattered(array, data.draw(st.booleans())) for array in arrays], attributes)


def scattered(x: Array, turned: bool) -> Array:
    """The same elements with gaps between them, and with the axes in the other order in memory."""
    wide = np.zeros([2 * n for n in (x.shape[::-1] if turned else x.shape)], x.dtype)
    every_second: tuple[Any, ...] = (..., *[slice(None, None, 2)] * x.ndim)
    view: Array = wide[every_second].T if turned else wide[every_second]
    view[...] = x
    return view


@pytest.mark.parametrize("profile", PROFILES)
def test_both_engines_on_a_trained_model(profile: str) -> None:
    graph = ivit_ref.load(ROOT / "graphs" / "digits_vit.onnx").with_profile(profile)
    images = np.load(ROOT / "graphs" / "digits_test.npz")["images"][:12]
    log, other = EventLog(), EventLog()
    spec = Interpreter(graph, overflow="wrap", listeners=[log], engine="spec").run({"image": images}, intermediates=True)
    fast = Interpreter(graph, overflow="wrap", listeners=[other], engine="fast").run({"image": images}, intermediates=True)
    assert log.events == other.events
    assert list(spec) == list(fast)
    for name, array in spec.items():
        np.testing.assert_array_equal(fast[name], array, strict=True)
