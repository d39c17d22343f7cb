"""What the user says of samples that are not arrays: the ``[samples]`` table of the processing file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from converters.errors import InputError

COLOURS = ("rgb", "bgr", "grey")


@dataclass(frozen=True, slots=True)
class SamplesSaid:
    """Tables: ``columns`` that are read (default: all of numbers), the ``label`` column, and for recordings ``window`` rows a sample, a new
    one every ``hop`` rows. Pictures: ``size`` (height, width) and ``colour``. Sounds: ``rate`` in Hz and ``seconds`` of each."""

    columns: tuple[str, ...] = ()
    label: str = "label"
    window: int = 0
    hop: int = 0
    size: tuple[int, ...] = ()
    colour: str = "rgb"
    rate: int = 0
    seconds: float = 0.0


def samples_said(path: Path, table: Any) -> SamplesSaid:
    """The table ``samples`` of the file ``path``. Raises :class:`InputError` naming file and key."""
    if not isinstance(table, dict):
        raise InputError(f"{path}: samples: must be a table ([samples])")
    known = {field: getattr(SamplesSaid(), field) for field in SamplesSaid.__dataclass_fields__}
    for key, value in table.items():
        if key not in known:
            raise InputError(f"{path}: samples.{key}: is not known here; there are {', '.join(known)}")
        if not _valid(key, value):
            raise InputError(f"{path}: samples.{key}: {value!r} {_WANTED[key]}")
    return from_tree(table)


def as_tree(said: SamplesSaid) -> dict[str, Any]:
    """As :func:`from_tree` reads it."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(said).items()}


def from_tree(tree: Mapping[str, Any]) -> SamplesSaid:
    """The other way round."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in tree.items()}
    return SamplesSaid(**fields)


_WANTED: Mapping[str, str] = {
    "columns": "is not a list of column names",
    "label": "is not the name of a column",
    "window": "is not a number of rows, 1 or more",
    "hop": "is not a number of rows, 1 or more",
    "size": "is not [height, width]",
    "colour": f"is not one of {', '.join(COLOURS)}",
    "rate": "is not a number of samples a second",
    "seconds": "is not a number of seconds above 0",
}


def _valid(key: str, value: Any) -> bool:
    if key == "columns":
        return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)
    if key == "label":
        return isinstance(value, str)
    if key == "colour":
        return value in COLOURS
    if key == "size":
        return isinstance(value, list) and len(value) == 2 and all(_whole(size) for size in value)
    if key == "seconds":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 3600
    return _whole(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 24
