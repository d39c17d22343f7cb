"""Comparing version texts of libraries and of the agent, whatever else they hold."""

from __future__ import annotations

import re


def version_key(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparing: ``1.24.0rc1`` gives (1, 24). Trailing zeros do not count."""
    leading = re.match(r"[^0-9]*([0-9]{1,9}(?:\.[0-9]{1,9})*)", version)
    numbers = [int(part) for part in leading[1].split(".")] if leading else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
