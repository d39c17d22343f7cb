"""Frameworks that are too heavy to depend on, each in a Python environment of its own, made once and driven as a subprocess on copies."""
