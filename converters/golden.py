"""Golden cases: a few real samples with the answers of the packed model itself, for the device to check before it serves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from converters.samples import Samples
from converters.workshop import Proof
from edge_agent.bundle.golden import tensor_bytes
from edge_agent.bundle.manifest import GoldenCase, GoldenTensor, StateSpec
from edge_agent.pipeline.state import initial_array

CASES = 10
MAX_BYTES = 8 << 20
MARGIN = 1.5
STEPS = 2.0
"""Integer kernels of two processors may round one code apart in a layer; twice the output's step covers what is left of that at the end."""

_SHARE_OF_STEP: Mapping[str, float] = MappingProxyType({"int8": 1.0, "int8-io": 1.0, "int16x8": 1 / 16})


def choose_cases(classes: Sequence[str], bytes_each: int, among: Collection[int] | None = None) -> list[int]:
    """Positions of samples (those in ``among``, where given): the classes in turn, first come first, at most ``CASES`` and ``MAX_BYTES``
    together, at least one."""
    by_class: dict[str, list[int]] = {}
    for position, name in enumerate(classes):
        if among is None or position in among:
            by_class.setdefault(name, []).append(position)
    wanted = max(1, min(CASES, len(classes), MAX_BYTES // max(bytes_each, 1)))
    queues = list(by_class.values())
    turns = [queue[turn] for turn in range(wanted) for queue in queues if turn < len(queue)]
    return sorted(turns[:wanted])


def tolerance(proof: Proof, precision: str, steps: Mapping[str, float], max_abs_error: float) -> tuple[float, float]:
    """Absolute and relative tolerance. Integers: one unit. int8 inside: ``STEPS`` output steps; 16-bit activations: a sixteenth of that,
    some 30 of their own codes. Float: ten times the distance that two runtimes showed on all samples, and never less than float32's own
    noise; where weights were rounded for storage, the distance says nothing of runtimes, and a noise of many layers is allowed for."""
    if all(np.dtype(spec.dtype).kind in "iu" for spec in proof.outputs):
        return 1.0, 0.0
    largest = max(float(np.abs(proof.values[spec.name]).max(initial=0.0)) for spec in proof.outputs)
    if precision in _SHARE_OF_STEP and steps:
        return max(_SHARE_OF_STEP[precision] * STEPS * max(steps.values()), 1e-6), 1e-4
    if precision == "float32":
        return max(10 * max_abs_error, 1e-5 * largest, 1e-6), 1e-4
    return max(1e-4 * largest, 1e-6) if precision in ("float16", "weights8") else max(1e-5 * largest, 1e-6), 1e-4


def widened(allowed: tuple[float, float], proof: Proof, others: Sequence[Proof], positions: Sequence[int]) -> tuple[float, float]:
    """``allowed`` with room for what proven versions of the runtime answered at ``positions`` of the samples, and half as much again."""
    apart = [
        float(np.abs(proof.values[spec.name][at].astype(np.float64) - other.values[spec.name][at]).max(initial=0.0))
        for other in others
        for spec in proof.outputs
        for at in positions
    ]
    return max(allowed[0], MARGIN * max(apart, default=0.0)), allowed[1]


def make_cases(
    proof: Proof,
    samples: Samples,
    rows: Sequence[int],
    positions: Sequence[int],
    allowed: tuple[float, float],
    state: StateSpec | None = None,
) -> tuple[tuple[GoldenCase, ...], dict[str, bytes]]:
    """The manifest's cases and their files. ``rows`` are the evaluated rows, ``positions`` the chosen ones among them; state inputs are as
    the row before left them."""
    cases, files = [], {}
    starts = frozenset(samples.starts(rows))
    feeds = samples.feeds([rows[position] for position in positions])
    for number, (position, feed) in enumerate(zip(positions, feeds, strict=True)):
        feed = {**feed, **_state_before(proof, state, position, starts)}
        answers = {spec.name: proof.values[spec.name][position] for spec in proof.outputs}
        tensors = []
        for kind, arrays in (("in", feed), ("out", answers)):
            made = tuple(_tensor(f"golden/{number:02d}.{kind}{i}.bin", name, array) for i, (name, array) in enumerate(arrays.items()))
            files.update({tensor.path: tensor_bytes(array) for tensor, array in zip(made, arrays.values(), strict=True)})
            tensors.append(made)
        cases.append(GoldenCase(tensors[0], tensors[1], *allowed))
    return tuple(cases), files


def _state_before(proof: Proof, state: StateSpec | None, position: int, starts: Collection[int]) -> dict[str, Any]:
    """The state inputs at ``position``."""
    specs = {spec.name: spec for spec in proof.inputs}
    pairs = state.pairs if state else ()
    fresh = position in starts
    return {p.input: initial_array(specs[p.input], p) if fresh else proof.values[p.output][position - 1] for p in pairs}


def _tensor(path: str, name: str, array: Any) -> GoldenTensor:
    return GoldenTensor(name, path, str(array.dtype), tuple(int(size) for size in array.shape))
