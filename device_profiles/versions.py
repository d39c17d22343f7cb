"""Just enough of version numbers to compare releases of the runtimes: digits and dots, anything after them is ignored."""

from __future__ import annotations

import re

_RELEASE = re.compile(r"v?(\d+(?:\.\d+)*)")


def parse_version(text: str) -> tuple[int, ...]:
    """``"1.21.0+cpu"`` as (1, 21); trailing zeros do not count (PEP 440, release segment). Raises ValueError."""
    match = _RELEASE.match(text)
    if match is None or len(text) > 64:
        raise ValueError(f"{text[:64]!r} is not a version such as 1.21.0")
    numbers = [int(part) for part in match.group(1).split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
