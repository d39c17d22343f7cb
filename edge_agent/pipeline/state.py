"""What a model remembers of one stream, held by the pipeline and not by the worker.

A worker is asked with the state beside the window and answers with the next state, so a window that is asked again after a worker died is
computed from the very same numbers. State changes only when an answer was accepted. Nothing here knows a clock or a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from edge_agent.bundle.manifest import StatePair, StateSpec
from edge_agent.errors import ModelError
from edge_agent.values import TensorSpec


class Stateful(Protocol):
    """What a state is made for: a :class:`~edge_agent.bundle.manifest.Manifest`, or the two of its fields that count here."""

    @property
    def state(self) -> StateSpec | None: ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...


class ModelState:
    """The state of ``model`` in one stream; of a model without state it holds nothing and its methods do nothing.

    Around each window: :meth:`meet`, then :meth:`inputs` as often as the window has to be asked, then one :meth:`commit`. It belongs to one
    version; a worker that is started again for the same version goes on with the same object.
    """

    def __init__(self, model: Stateful) -> None:
        state = model.state
        specs = {spec.name: spec for spec in model.inputs}
        self._pairs = state.pairs if state else ()
        self._specs = {pair.input: specs[pair.input] for pair in self._pairs}
        self._resets_at_gaps = state is not None and state.on_gap == "reset"
        self._first = {pair.input: initial_array(specs[pair.input], pair) for pair in self._pairs}
        self._now = dict(self._first)
        self._last_seq: int | None = None
        self._met_seq: int | None = None

    def meet(self, last_seq: int, hop: int) -> bool:
        """Says which window comes next: the number of its last sample, and how many samples a window is after the other.

        Where samples are missing since the last accepted answer (lost ones, or a window that failed) a model that resets at gaps starts
        from its initial state again; then, and only then, the result is true. Asking for the same window again changes nothing.
        """
        follows = self._last_seq is None or last_seq == self._last_seq + hop
        self._met_seq = last_seq
        if follows or not self._resets_at_gaps:
            return False
        self.reset()
        return True

    def inputs(self) -> dict[str, Any]:
        """The model's state inputs by name, C-contiguous and read-only: to be fed beside what preprocessing made of the window."""
        return dict(self._now)

    def commit(self, outputs: Mapping[str, Any]) -> None:
        """Takes the next state from an accepted answer, by copy: ``outputs`` may lie in memory that the next answer is written to.

        Raises :class:`ModelError` where a state output is missing, has another dtype or shape, or holds NaN; the state is then as it was.
        """
        self._now = {pair.input: _next(pair, self._first[pair.input], outputs) for pair in self._pairs}
        self._last_seq = self._met_seq

    def reset(self) -> None:
        """Back to the initial values."""
        self._now = dict(self._first)
        self._last_seq = None

    def carried_to(self, model: Stateful) -> ModelState:
        """The state that the version ``model`` starts with in this stream: this one where it asks for that (``on_swap`` carry) and
        all its pairs take the same inputs of the same dtype, shape, scale and zero point; else its own initial one."""
        new = ModelState(model)
        if model.state is None or model.state.on_swap != "carry" or not _equal(new._specs, self._specs):
            return new
        new._now, new._last_seq = dict(self._now), self._last_seq
        return new


def initial_array(spec: TensorSpec, pair: StatePair) -> Any:
    """The state input ``spec`` before the first window: every element ``pair.initial``, stored as ``spec`` stores real numbers, free
    dimensions as 1. Read-only."""
    dtype = np.dtype(spec.dtype)
    value: Any = pair.initial
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        whole = round(pair.initial / (spec.scale or 1.0)) + (spec.zero_point or 0)
        value = min(max(whole, int(limits.min)), int(limits.max))
    array = np.full([1 if size is None else size for size in spec.shape], value, dtype)
    array.flags.writeable = False
    return array


def _next(pair: StatePair, like: Any, outputs: Mapping[str, Any]) -> Any:
    got = outputs.get(pair.output)
    if got is None:
        raise ModelError(f"output {pair.output}: missing, the model gave {', '.join(outputs) or 'nothing'}")
    if got.shape != like.shape or got.dtype != like.dtype:
        raise ModelError(f"output {pair.output}: is {got.dtype} {got.shape}, the state {pair.input} is {like.dtype} {like.shape}")
    if got.dtype.kind == "f" and np.isnan(got).any():
        raise ModelError(f"output {pair.output}: holds NaN, which the state {pair.input} would never lose again")
    array = np.array(got, order="C")
    array.flags.writeable = False
    return array


def _equal(new: Mapping[str, TensorSpec], old: Mapping[str, TensorSpec]) -> bool:
    return bool(new) and _kinds(new) == _kinds(old)


def _kinds(specs: Mapping[str, TensorSpec]) -> dict[str, tuple[Any, ...]]:
    return {n: (s.dtype, tuple(1 if size is None else size for size in s.shape), s.scale, s.zero_point) for n, s in specs.items()}
