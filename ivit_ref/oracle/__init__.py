"""The twins: every operator once more, on plain Python integers, lists and fractions, written from the operator's text.

They share nothing with the rest of the package and do not use NumPy: an integer of Python has no width to get wrong. The tests
hold the NumPy bodies against them, and no golden vector of an operator is written that its twin does not confirm.
"""
