"""Names of classes to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from converters.errors import InputError


def numbered(path: Path, names: Sequence[str], classes: Sequence[str]) -> list[int]:
    """The number of each of ``names``: its place among ``classes``, or, when none are declared, the whole number it is, or else its place
    among the names in order. Raises :class:`InputError` for a name that no class has."""
    if classes:
        places = {name: at for at, name in enumerate(classes)}
        unknown = next((name for name in names if name not in places and not _index(name, len(classes))), None)
        if unknown is not None:
            raise InputError(f"{path}: label {unknown!r} is not among the labels of the processing file: {', '.join(classes[:12])}")
        return [places[name] if name in places else int(name) for name in names]
    if all(name.isdecimal() for name in names):
        return [int(name) for name in names]
    order = {name: at for at, name in enumerate(sorted(set(names)))}
    return [order[name] for name in names]


def _index(name: str, count: int) -> bool:
    return name.isdecimal() and int(name) < count
