"""Reading the arguments of pre- and postprocessing steps, so that every mistake is named before the first window comes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError

MAX_ITEMS = 1 << 20
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class Arguments:
    """The arguments of step ``where`` (such as ``preprocess[2]``). Every read names its key; :meth:`done` refuses keys never read."""

    def __init__(self, step: Step, where: str) -> None:
        self._args = step.args
        self.where = where
        self._read: set[str] = set()

    def given(self) -> Mapping[str, Any]:
        """The arguments as they were written."""
        return self._args

    def bad(self, key: str, what: str) -> BundleError:
        return BundleError(f"{self.where}.args.{key}: {what}")

    def done(self) -> None:
        unknown = sorted(set(self._args) - self._read)
        if unknown:
            raise self.bad(unknown[0], f"is not known to this step; it has {', '.join(sorted(self._read)) or 'no arguments'}")

    def has(self, key: str) -> bool:
        self._read.add(key)
        return self._args.get(key) is not None

    def number(self, key: str, default: float | None = None) -> float:
        """One finite number."""
        value = self._value(key, default)
        if not _is_number(value):
            raise self.bad(key, "must be a finite number")
        return float(value)

    def narrow(self, key: str, default: float | None = None) -> float:
        """One finite number within the range of float32."""
        value = self.number(key, default)
        if abs(value) > _FLOAT32_MAX:
            raise self.bad(key, "is beyond the range of float32")
        return value

    def numbers(self, key: str, default: float | None = None) -> Any:
        """One finite number or a list of them (one per channel), as a float32 array of rank 0 or 1."""
        value = self._value(key, default)
        items = value if isinstance(value, list) else [value]
        if not 0 < len(items) <= MAX_ITEMS or not all(_is_number(item) for item in items):
            raise self.bad(key, "must be a finite number or a list of them")
        with np.errstate(over="ignore"):
            array = np.array(value, np.float32)
        if not np.all(np.isfinite(array)):
            raise self.bad(key, "has a number beyond the range of float32")
        return array

    def whole(self, key: str, default: int | None = None, *, low: int, high: int | None = None) -> int:
        value = self._value(key, default)
        if not _is_whole(value) or value < low or (high is not None and value > high):
            raise self.bad(key, f"must be a whole number, {low} or more" + ("" if high is None else f", at most {high}"))
        return int(value)

    def positive(self, key: str, default: float | None = None) -> float:
        """One finite number above 0."""
        value = self.number(key, default)
        if value <= 0:
            raise self.bad(key, "must be greater than 0")
        return value

    def share(self, key: str, default: float | None = None) -> float:
        """One number from 0 to 1."""
        value = self.number(key, default)
        if not 0 <= value <= 1:
            raise self.bad(key, "must be a number from 0 to 1")
        return value

    def wholes(self, key: str, *, low: int) -> tuple[int, ...]:
        value = self._value(key, None)
        fits = isinstance(value, list) and 0 < len(value) <= 4096
        if not fits or not all(_is_whole(item) and low <= item <= 1 << 31 for item in value):
            raise self.bad(key, f"must be a list of whole numbers, {low} or more")
        return tuple(value)

    def size(self, key: str, *, most: int) -> tuple[int, int]:
        """Height and width, each from 1 to ``most``."""
        value = self._value(key, None)
        if not isinstance(value, list) or len(value) != 2 or not all(_is_whole(item) and 1 <= item <= most for item in value):
            raise self.bad(key, f"must be a list of height and width, each from 1 to {most}")
        return value[0], value[1]

    def table(self, key: str, *, columns: int, most: int) -> Any:
        """A list of at most ``most`` rows of ``columns`` finite numbers each, as a float64 array (rows, columns)."""
        value = self._value(key, None)
        fits = isinstance(value, list) and 0 < len(value) <= most and all(isinstance(row, list) and len(row) == columns for row in value)
        if not fits or not all(_is_number(item) for row in value for item in row):
            raise self.bad(key, f"must be a list of 1 to {most} lists of {columns} finite numbers")
        return np.array(value, np.float64)

    def tables(self, key: str, *, columns: int, most: int) -> list[Any]:
        """A list of at most ``most`` tables, each as :meth:`table` reads one."""
        value = self._value(key, None)
        if not isinstance(value, list) or not 0 < len(value) <= most:
            raise self.bad(key, f"must be a list of 1 to {most} lists of lists of {columns} finite numbers")
        parts = (Arguments(Step("", {key: part}), self.where) for part in value)
        return [part.table(key, columns=columns, most=most) for part in parts]

    def row(self, key: str, *, most: int, default: list[float] | None = None) -> list[float]:
        """A list of one to ``most`` finite numbers."""
        value = self._value(key, default)
        if not isinstance(value, list) or not 0 < len(value) <= most or not all(_is_number(item) for item in value):
            raise self.bad(key, f"must be a list of 1 to {most} finite numbers")
        return [float(item) for item in value]

    def text(self, key: str, default: str | None = None) -> str:
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.bad(key, "must be text")
        return value

    def texts(self, key: str, *, most: int) -> tuple[str, ...]:
        """A list of one to ``most`` words."""
        value = self._value(key, None)
        if not isinstance(value, list) or not 0 < len(value) <= most or not all(isinstance(item, str) for item in value):
            raise self.bad(key, f"must be a list of 1 to {most} words")
        return tuple(value)

    def choice(self, key: str, words: Collection[str], default: str | None = None) -> str:
        """One of ``words``."""
        value = self._value(key, default)
        if not isinstance(value, str) or value not in words:
            raise self.bad(key, f"{str(value)[:40]!r} is not one of {', '.join(words)}")
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.bad(key, "must be true or false")
        return value

    def _value(self, key: str, default: Any) -> Any:
        self._read.add(key)
        value = self._args.get(key, default)
        if value is None:
            raise self.bad(key, "is missing")
        return value


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number too large for a float
        return False


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
