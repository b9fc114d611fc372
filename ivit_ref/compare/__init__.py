"""A backend's tensors beside the golden ones: the first integer that is wrong, and the decision that explains it."""
