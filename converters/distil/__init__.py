"""A smaller network that learns from a larger one, on samples without labels, in the PyTorch environment."""
