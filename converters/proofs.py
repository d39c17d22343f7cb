"""A candidate in every runtime version that its boards name: old ones refuse, crash on or silently misread files that new ones run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.boards import boards_that_prove
from converters.tools.environments import find, runtime_tool
from converters.workshop import Proof, Workshop
from edge_agent.errors import ModelError

CODES = 2.0
"""Codes of 8 bits that two versions' integer kernels may lie apart at the output: they round differently."""
RELATIVE = 1e-4
"""Of the largest answer, for float kernels: they sum in another order."""

Judge = Callable[[Proof], Sequence[str]]
"""The gate's objections to answers."""


@dataclass(frozen=True, slots=True, eq=False)
class Elsewhere:
    """A candidate in another version: its answers there (``None`` when there are none), the ``reason`` why they are not enough (empty when
    they are), and a ``note`` when they are good though not the same. ``missing``: the version is not at hand here."""

    library: str
    version: str
    proof: Proof | None = None
    reason: str = ""
    note: str = ""
    missing: bool = False


def prove_everywhere(
    workshop: Workshop,
    proof: Proof,
    data: bytes,
    extension: str,
    rows: Sequence[int],
    prove: Sequence[tuple[str, str, str]],
    *,
    quantized: bool = True,
    judge: Judge | None = None,
) -> tuple[Elsewhere, ...]:
    """The file ``data``, which gave ``proof`` here on ``rows``, in each of ``prove`` (runtime, library, version) that is not this one.

    Answers must be the same up to rounding (``quantized``: the file computes with integers, whose kernels round differently); where they
    are not, ``judge`` has the word: what counts is how far they are from the original's.
    """
    wanted = [(library, version) for runtime, library, version in prove if runtime == extension]
    others = [where for where in dict.fromkeys(wanted) if where != (proof.runtime, proof.version)]
    return tuple(_prove_in(workshop, proof, data, list(rows), where, quantized=quantized, judge=judge) for where in others)


def agrees(one: Proof, other: Proof, *, quantized: bool = True) -> str:
    """Empty when ``other`` answers what ``one`` does, over as many samples as it has; else how they differ, in words.

    Integer outputs may lie :data:`CODES` apart, and so may float ones of a file that computes with integers; other float outputs
    :data:`RELATIVE` of the largest.
    """
    theirs = {spec.name: other.values[spec.name] for spec in other.outputs}
    for spec in one.outputs:
        left, right = one.values[spec.name], theirs.get(spec.name)
        if right is None:
            return f"has no output {spec.name} there"
        left = left[: len(right)]
        if left.shape != right.shape or left.dtype != right.dtype:
            return f"output {spec.name} is {right.dtype} {right.shape[1:]} there, {left.dtype} {left.shape[1:]} here"
        reason = _distance(left, right, quantized=quantized)
        if reason:
            return f"output {spec.name} {reason}"
    return ""


def _distance(left: Any, right: Any, *, quantized: bool) -> str:
    a, b = left.astype(np.float64), right.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return "holds NaN or infinity in one of them only"
    apart = float(np.abs(np.where(np.isfinite(a), a - b, 0.0)).max(initial=0.0))
    known = a[np.isfinite(a)]
    if left.dtype.kind in "iub":
        return f"differs by {apart:.0f} codes" if apart > CODES else ""
    allowed = RELATIVE * float(np.abs(known).max(initial=0.0))
    if quantized:
        allowed = max(allowed, (CODES + 0.01) * _code(known))  # codes made real are rounded once more
    return f"differs by {apart:.3g}, allowed is {allowed:.3g}" if apart > max(allowed, 1e-6) else ""


def _code(values: Any) -> float:
    """The width of one 8-bit code: the grid that all ``values`` lie on, if they do, else a 255th of what they span."""
    levels = np.unique(values)
    if levels.size < 2:
        return 0.0
    gaps = np.diff(levels)
    width = float(gaps.min())
    on_grid = levels.size <= 256 and bool(np.all(np.abs(gaps / width - np.rint(gaps / width)) < 0.02))
    return max(width if on_grid else 0.0, float(levels[-1] - levels[0]) / 255)


def _prove_in(
    workshop: Workshop, proof: Proof, data: bytes, rows: list[int], where: tuple[str, str], *, quantized: bool, judge: Judge | None
) -> Elsewhere:
    library, version = where
    named = f"{library} {version}"
    tool = runtime_tool(library, version)
    python = find(tool)
    if python is None:
        reason = (
            f"not proven in {named}, which {boards_that_prove(library, version)} runs: `edge-convert tools add {tool.name}` makes its "
            "environment, or --unproven goes without"
        )
        return Elsewhere(library, version, reason=reason, missing=True)
    what = f"{proof.path.stem} in {named}"
    try:
        there = workshop.prove_in(python, what, data, proof.path.suffix[1:], rows)
    except ModelError as error:
        return Elsewhere(library, version, reason=f"does not run in {named}: {str(error).removeprefix(f'{what}: ')}")
    difference = agrees(proof, there, quantized=quantized)
    if not difference:
        return Elsewhere(library, version, there)
    said = f"answers differently in {named}: {difference}"
    if judge is None or not _comparable(proof, there):
        return Elsewhere(library, version, there, reason=said)
    objections = judge(there)
    if objections:
        return Elsewhere(library, version, there, reason=f"{said}; there it {objections[0]}")
    return Elsewhere(library, version, there, note=f"{said}; there, too, it passes the gate")


def _comparable(one: Proof, other: Proof) -> bool:
    """Whether the outputs are of the same names, types and shapes, so that a judge can be asked."""
    shapes = [{spec.name: (proof.values[spec.name].shape, spec.dtype) for spec in proof.outputs} for proof in (one, other)]
    return shapes[0] == shapes[1]
