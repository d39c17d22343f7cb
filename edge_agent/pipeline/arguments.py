"""Reading the arguments of pre- and postprocessing steps, so that every mistake is named before the first window comes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError

MAX_ITEMS = 1 << 20


class Arguments:
    """The arguments of step ``where`` (such as ``preprocess[2]``). Every read names its key; :meth:`done` refuses keys never read."""

    def __init__(self, step: Step, where: str) -> None:
        self._args = step.args
        self.where = where
        self._read: set[str] = set()

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

    def whole(self, key: str, default: int | None = None, *, low: int) -> int:
        value = self._value(key, default)
        if not _is_whole(value) or value < low:
            raise self.bad(key, f"must be a whole number, {low} or more")
        return int(value)

    def wholes(self, key: str, *, low: int) -> tuple[int, ...]:
        value = self._value(key, None)
        fits = isinstance(value, list) and 0 < len(value) <= 4096
        if not fits or not all(_is_whole(item) and low <= item <= 1 << 31 for item in value):
            raise self.bad(key, f"must be a list of whole numbers, {low} or more")
        return tuple(value)

    def text(self, key: str) -> str:
        value = self._value(key, None)
        if not isinstance(value, str):
            raise self.bad(key, "must be text")
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
