"""Text records to readings: one line of CSV, or one JSON value. Shared by every source that reads text.

A record is *garbage*, and reads as ``None``, unless it holds only numbers, and as many as the fields asked for. Sensors on wires send
half lines, boot banners and empty lines; who reads counts them and goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_CHANNELS = 1 << 22
LABEL = "label"
"""The JSON key, or CSV column, that carries the true class where data is labelled."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of all channels; of recorded sound a block of them."""

    values: Any
    label: int | None = None


Framing = Callable[[bytes], "Reading | None"]


def choose_framing(kind: str, fields: tuple[str, ...] = ()) -> Framing:
    """``csv``, ``json``, or ``auto``: JSON when the record starts with a bracket, else CSV."""
    if kind == "csv":
        return lambda record: read_csv(record, fields)
    if kind == "json":
        return lambda record: read_json(record, fields)
    return lambda record: (read_json if record.lstrip()[:1] in (b"[", b"{") else read_csv)(record, fields)


def read_csv(record: bytes, fields: tuple[str, ...] = ()) -> Reading | None:
    """Numbers with commas between. ``fields`` names the columns, so says how many there must be; one named ``label`` is the true class."""
    try:
        numbers = [float(part) for part in record.decode("ascii").split(",")]
    except ValueError:
        return None
    if "_" in record.decode("ascii") or (fields and len(numbers) != len(fields)) or len(numbers) > MAX_CHANNELS:
        return None
    if LABEL not in fields:
        return Reading(tuple(numbers))
    label = numbers.pop(fields.index(LABEL))
    return Reading(tuple(numbers), int(label)) if label.is_integer() and numbers else None


def read_json(record: bytes, fields: tuple[str, ...] = ()) -> Reading | None:
    """A list of numbers; an object with the list under ``values``; or, with ``fields``, an object with a number under each field."""
    try:
        tree = json.loads(record)
    except (ValueError, RecursionError):
        return None
    if isinstance(tree, dict):
        values = [tree.get(name) for name in fields if name != LABEL] if fields else tree.get("values")
        label = tree.get(LABEL)
    else:
        values, label = tree, None
    numbers = _numbers(values)
    if numbers is None or not (label is None or _is_whole(label)):
        return None
    if fields and len(numbers) != len([name for name in fields if name != LABEL]):
        return None
    return Reading(numbers, label)


def _numbers(values: Any) -> tuple[float, ...] | None:
    if not isinstance(values, list) or not 0 < len(values) <= MAX_CHANNELS:
        return None
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return None
    try:
        return tuple(float(value) for value in values)
    except OverflowError:  # a whole number too large for a float
        return None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31


def fields_of(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The ``fields`` option as a tuple."""
    return tuple(options.get("fields", ()))
