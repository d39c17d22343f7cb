"""Damaged and lying files against everything that reads files people give: ``python -m fuzz``."""
