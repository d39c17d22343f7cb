"""Fewer channels, the same answers: structured pruning of a graph from unlabelled samples, without a framework."""
