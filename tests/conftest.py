"""Hypothesis profiles, and what the suite ran with.

``pytest --hypothesis-profile=deep`` searches longer. Both profiles name their parent: without one they would inherit whatever
profile is active, and that is Hypothesis's own ``ci`` wherever the variable ``CI`` is set.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from hypothesis import settings

PACKAGES = ("numpy", "onnx", "onnxruntime", "hypothesis")

settings.register_profile("default", settings.get_profile("default"), deadline=None, max_examples=60)
settings.register_profile("deep", settings.get_profile("default"), max_examples=2000)
settings.load_profile("default")


def pytest_report_header() -> str:
    """The versions that a failure depends on."""
    return ", ".join([f"python {platform.python_version()}", *(f"{name} {_version(name)}" for name in PACKAGES)])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
