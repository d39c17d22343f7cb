"""Tables: a CSV file with a header, a row a sample; or a recording, cut into windows; or a folder of recordings."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import InputError
from converters.gather.labels import numbered
from converters.gather.said import SamplesSaid
from converters.gather.writing import write_npz
from converters.given import check_given

WINDOW = "window"


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which columns are read, and which one (if any) is the label."""

    columns: tuple[str, ...]
    places: tuple[int, ...]
    label: int | None


def gather_table(path: Path, said: SamplesSaid, classes: Sequence[str], inputs: Sequence[str], out: Path) -> None:
    """Where every one of ``inputs`` is a column, an array each; else all columns as ``window``, one reading a row, or ``said.window`` rows
    a sample. Raises :class:`InputError` naming file, line and column."""
    check_given(path)
    with _rows(path) as rows:
        plan = _plan(path, next(rows, None), said, inputs)
    if said.window:
        values, names = _windows(path, plan, said)
    else:
        values, names = _values(path, plan)
    if not len(values):
        raise InputError(f"{path}: holds no samples" if not said.window else f"{path}: is shorter than one window of {said.window} rows")
    streams: dict[str, tuple[tuple[int, ...], Any]] = {}
    if not said.window and inputs and set(inputs) <= set(plan.columns):
        for name in inputs:
            column = values[:, plan.columns.index(name)]
            streams[name] = (column.shape, column)
    else:
        streams[WINDOW] = (values.shape, values)
    if plan.label is not None:
        labels = numbered(path, names, classes)
        streams["labels"] = ((len(labels),), labels)
    write_npz(out, streams)


def _plan(path: Path, head: list[str] | None, said: SamplesSaid, inputs: Sequence[str]) -> _Plan:
    if not head:
        raise InputError(f"{path}: is empty; its first line must name the columns")
    names = [name.strip() for name in head]
    if len(set(names)) != len(names):
        raise InputError(f"{path}: line 1: two columns have the same name")
    if all(_is_number(name) for name in names):
        raise InputError(f"{path}: line 1: must name the columns, but holds numbers")
    label = names.index(said.label) if said.label in names else None
    missing = [name for name in said.columns if name not in names]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]!r}, which samples.columns names; it has {', '.join(names)}")
    wanted = said.columns or tuple(name for at, name in enumerate(names) if at != label)
    if not said.columns and not said.window and inputs and set(inputs) <= set(names):
        wanted = tuple(inputs)
    return _Plan(wanted, tuple(names.index(name) for name in wanted), label)


def _values(path: Path, plan: _Plan) -> tuple[Any, list[str]]:
    kept, names = [], []
    with _rows(path) as rows:
        next(rows)
        for line, row in enumerate(rows, 2):
            if not any(cell.strip() for cell in row):
                continue
            kept.append([_number(path, line, row, name, at) for name, at in zip(plan.columns, plan.places, strict=True)])
            if plan.label is not None:
                names.append(row[plan.label].strip() if plan.label < len(row) else "")
    return np.asarray(kept, np.float32).reshape(len(kept), len(plan.columns)), names


def _windows(path: Path, plan: _Plan, said: SamplesSaid) -> tuple[Any, list[str]]:
    """Windows of one recording; the label of a window is that of its last row."""
    values, names = _values(path, plan)
    starts = range(0, len(values) - said.window + 1, said.hop or said.window)
    cut = [values[at : at + said.window] for at in starts]
    made = np.stack(cut) if cut else np.empty((0, said.window, values.shape[1]), np.float32)
    return made, [names[at + said.window - 1] for at in starts] if names else []


def _number(path: Path, line: int, row: Sequence[str], name: str, at: int) -> float:
    text = row[at].strip() if at < len(row) else ""
    try:
        value = float(text)
    except ValueError:
        raise InputError(
            f"{path}: line {line}, column {name}: {text!r} is not a number; name the columns to read in samples.columns"
        ) from None
    if not np.isfinite(value):
        raise InputError(f"{path}: line {line}, column {name}: {text!r} is not a finite number")
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@contextmanager
def _rows(path: Path) -> Iterator[Iterator[list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield csv.reader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV table ({error})") from None
