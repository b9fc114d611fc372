"""Hypothesis strategies for tests around these operators; importing this needs hypothesis (MissingExtra says what to install).

>>> @given(calls("Shiftmax", profile="tvm", overflow="wrap"))
... def test_mine(call):
...     (x,), attributes = call

``tensors`` of a dtype, ``rows`` that stress an operator, ``scales`` and ``quants`` (what integers are worth), ``calls`` of an
operator, ``graphs`` and ``inputs`` for one. Bounds are given by keyword, and refused at once where they cannot be met.
"""

from __future__ import annotations

from ivit_ref.testing.extra import needing_hypothesis

with needing_hypothesis("ivit_ref.testing.strategies"):
    from ivit_ref.testing.calls import calls
    from ivit_ref.testing.graphs import graphs, inputs
    from ivit_ref.testing.rows import rows
    from ivit_ref.testing.values import quants, scales, tensors

__all__ = ["calls", "graphs", "inputs", "quants", "rows", "scales", "tensors"]
