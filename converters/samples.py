"""Real samples, as the sensor gives them, for calibration, evaluation and the golden cases.

A samples file is an .npz with one array named as each model input, one row a sample (of any name, or ``window``, for one input);
optionally ``labels`` (whole numbers, one a row), ``targets`` (what a regressor should give, a row each), ``calibrate`` (numbers of the
rows meant for calibration; all others are for evaluation) and, for models with state, ``recordings`` (the number of the recording each row
comes from; its rows follow each other). Rows are what a window of the device's pipeline holds and go through the same
preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import InputError
from converters.npz import NpzFile
from edge_agent.bundle.archive import sha256_file
from edge_agent.bundle.manifest import Step
from edge_agent.errors import ModelError
from edge_agent.pipeline.preprocess import PICTURE_OPS, compile_preprocess
from edge_agent.values import TensorSpec

WINDOW = "window"
RESERVED = ("labels", "targets", "calibrate", "recordings")
_LARGEST = 1 << 53  # beyond it float64 has no whole numbers of its own
MIN_SPLIT = 16
"""With fewer samples than this, calibration and evaluation share them all."""


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers, ascending; ``shared`` when the two sets are the same for want of samples."""

    calibrate: tuple[int, ...]
    evaluate: tuple[int, ...]
    shared: bool


class Samples:
    """The samples in ``path`` for a model with ``inputs`` and the declared ``preprocess`` steps. Raises :class:`InputError`."""

    def __init__(self, path: Path, inputs: tuple[TensorSpec, ...], preprocess: tuple[Step, ...]) -> None:
        self.path = path
        self._npz = NpzFile(path)
        self._inputs = inputs
        self._declared = bool(preprocess)
        self._pictures = any(step.op in PICTURE_OPS for step in preprocess)
        self._feeders = self._plan(preprocess)
        self.count = self._count()
        self.labels = self._whole_numbers("labels") if "labels" in self._npz.heads else None
        self.targets = self._npz.whole("targets") if "targets" in self._npz.heads else None
        self._calibrate = self._declared_rows() if "calibrate" in self._npz.heads else None
        self._recordings = self._whole_numbers("recordings") if "recordings" in self._npz.heads else None

    def split(self, *, calibration: int, evaluation: int, seed: int) -> Split:
        """At most ``calibration`` and ``evaluation`` rows, as the file says or else drawn by ``seed``, never one in both."""
        draw = np.random.default_rng(seed)
        if self._calibrate is not None:
            rest = np.setdiff1d(np.arange(self.count), self._calibrate)
            first, second = draw.permutation(self._calibrate), draw.permutation(rest)
        elif self.count < MIN_SPLIT:
            first = second = np.arange(self.count)
        else:
            order = draw.permutation(self.count)
            cut = min(calibration, self.count // 2)
            first, second = order[:cut], order[cut:]
        shared = not len(second) or (self._calibrate is None and self.count < MIN_SPLIT)
        second = second if len(second) else first
        return Split(_ascending(first[:calibration]), _ascending(second[:evaluation]), shared)

    def in_order(self, *, evaluation: int) -> Split:
        """The first rows, for a model whose answers depend on those before: at most ``evaluation`` of them, which serve for both."""
        rows = tuple(range(min(evaluation, self.count)))
        return Split(rows, rows, shared=True)

    def starts(self, rows: Sequence[int]) -> tuple[int, ...]:
        """Positions among ``rows`` where a recording begins, the first always."""
        held = self._recordings
        return tuple(i for i, row in enumerate(rows) if not i or (held is not None and held[row] != held[rows[i - 1]]))

    def feeds(self, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The model's input arrays by name for each of ``rows`` (ascending). Raises InputError naming array and row."""
        streams = [self._npz.rows(array, rows) for array, _ in self._feeders]
        for row, values in zip(rows, zip(*streams, strict=True), strict=True):
            feed: dict[str, Any] = {}
            for (array, prepare), raw in zip(self._feeders, values, strict=True):
                if raw.dtype.kind == "f" and not np.isfinite(raw).all():
                    raise InputError(f"{self.path}: array {array}, row {row}: holds NaN or infinity")
                try:
                    feed.update(prepare(_as_window(raw, pictures=self._pictures)))
                except ModelError as error:
                    raise InputError(f"{self.path}: array {array}, row {row}: {error}") from None
            yield feed

    def check(self) -> None:
        """Reads the whole file once against its checksums. Raises InputError naming the damaged array."""
        self._npz.check()

    def sha256(self) -> str:
        """Hash of the samples file."""
        return sha256_file(self.path)

    def _plan(self, steps: tuple[Step, ...]) -> list[tuple[str, Callable[[Any], dict[str, Any]]]]:
        """Which array feeds which inputs: one array for each input, or ``window`` for all of them."""
        held = self._npz.heads
        named = array_for_each(tuple(held), tuple(spec.name for spec in self._inputs))
        missing = [spec.name for spec in self._inputs if spec.name not in named]
        if not missing:
            for spec in self._inputs:
                self._check_shape(spec, named[spec.name])
            return [(named[spec.name], compile_preprocess(_steps_for(spec.name, steps), (spec,))) for spec in self._inputs]
        if WINDOW in held:
            return [(WINDOW, compile_preprocess(steps, self._inputs))]
        have = ", ".join(f"{name} {head.shape}" for name, head in held.items()) or "nothing"
        raise InputError(f"{self.path}: has no array named {missing[0]!r}, which is an input of the model; it holds {have}")

    def _check_shape(self, spec: TensorSpec, array: str) -> None:
        """Rows of rank 3 and more without declared steps must have the model's own shape: a mere count would let axes be mixed up."""
        row = self._npz.heads[array].shape[1:]
        if self._declared or len(row) < 3:
            return
        fits = any(
            len(row) == len(want) and all(w in (None, size) for size, w in zip(row, want, strict=True))
            for want in (spec.shape, spec.shape[1:])
        )
        if not fits:
            raise InputError(f"{self.path}: array {array} has rows of shape {row}, the model takes {spec.shape}")

    def _count(self) -> int:
        counts = {array: self._npz.heads[array].shape[:1] for array, _ in self._feeders}
        for name in ("labels", "targets", "recordings"):
            if name in self._npz.heads:
                counts[name] = self._npz.heads[name].shape[:1]
        if any(not count for count in counts.values()) or len(set(counts.values())) != 1:
            said = ", ".join(f"{name} {count[0] if count else 'no'} rows" for name, count in counts.items())
            raise InputError(f"{self.path}: its arrays must have one row for each sample ({said})")
        count = int(next(iter(counts.values()))[0])
        if not count:
            raise InputError(f"{self.path}: holds no samples")
        return count

    def _declared_rows(self) -> Any:
        rows = np.unique(self._whole_numbers("calibrate"))
        if not len(rows) or rows[0] < 0 or rows[-1] >= self.count:
            raise InputError(f"{self.path}: array calibrate: must hold row numbers from 0 to {self.count - 1}")
        return rows

    def _whole_numbers(self, name: str) -> Any:
        array = self._npz.whole(name)
        if array.ndim != 1 or not np.array_equal(array, np.rint(array)) or (array.size and np.abs(array).max() > _LARGEST):
            raise InputError(f"{self.path}: array {name}: must be a list of whole numbers")
        return array.astype(np.int64)


def held_arrays(path: Path) -> frozenset[str]:
    """Names of the arrays in the samples file ``path``. Raises :class:`InputError`."""
    return frozenset(NpzFile(path).heads)


def array_for_each(held: tuple[str, ...], inputs: tuple[str, ...]) -> dict[str, str]:
    """Which array feeds each input: the one of its name; a model with one input also takes the only array there is beside the reserved
    ones. Inputs without an array are left out."""
    named = {name: name for name in inputs if name in held}
    spare = [name for name in held if name not in RESERVED]
    return {inputs[0]: spare[0]} if not named and len(inputs) == len(spare) == 1 and WINDOW not in held else named


def _steps_for(name: str, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(step for step in steps if step.args.get("input") in (None, name))


def _as_window(raw: Any, *, pictures: bool) -> Any:
    """A row as window values (length, channels): one reading for rank 0 and 1; rank 3 and more as one flat reading, C order, but as
    a camera's frame (height, width, colours) for steps that take pictures."""
    return raw if raw.ndim == 2 or (pictures and raw.ndim == 3) else raw.reshape(1, -1)


def _ascending(rows: Any) -> tuple[int, ...]:
    return tuple(int(row) for row in np.sort(rows))
