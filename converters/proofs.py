"""A candidate in every runtime version that its boards name: old ones refuse, crash on or silently misread files that new ones run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.boards import boards_that_prove
from converters.tools.environments import find, runtime_tool
from converters.workshop import Proof, Workshop
from edge_agent.errors import ModelError

ROWS = 64
"""Samples that are put to another version: a kernel that computes something else shows in each of them."""
CODES = 2.0
"""Codes of 8 bits that two versions' integer kernels may lie apart at the output: they round differently."""
RELATIVE = 1e-4
"""Of the largest answer, for float kernels: they sum in another order."""

ProvenIn = tuple[str, str]
"""Library and version."""


def prove_everywhere(
    workshop: Workshop,
    proof: Proof,
    data: bytes,
    extension: str,
    rows: Sequence[int],
    prove: Sequence[tuple[str, str, str]],
    *,
    quantized: bool = True,
) -> tuple[tuple[ProvenIn, ...], tuple[str, ...]]:
    """The runtimes that the file ``data``, which gave ``proof`` here on ``rows``, was proven in, and the reasons why another of ``prove``
    (runtime, library, version) was not enough. ``quantized`` says that it computes with integers."""
    done: list[ProvenIn] = [(proof.runtime, proof.version)]
    reasons: list[str] = []
    for runtime, library, version in prove:
        if runtime != extension or (library, version) in done:
            continue
        reason = _prove_in(workshop, proof, data, list(rows[:ROWS]), (library, version), quantized=quantized)
        if reason:
            reasons.append(reason)
        else:
            done.append((library, version))
    return tuple(done), tuple(reasons)


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
        allowed = max(allowed, CODES * _code(known))
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


def _prove_in(workshop: Workshop, proof: Proof, data: bytes, rows: list[int], where: tuple[str, str], *, quantized: bool) -> str:
    """Empty, or why the version of the library is no place for the file."""
    library, version = where
    named = f"{library} {version}"
    tool = runtime_tool(library, version)
    python = find(tool)
    if python is None:
        return (
            f"not proven in {named}, which {boards_that_prove(library, version)} runs: `edge-convert tools add {tool.name}` makes its "
            "environment, or --unproven goes without"
        )
    what = f"{proof.path.stem} in {named}"
    try:
        there = workshop.prove_in(python, what, data, proof.path.suffix[1:], rows)
    except ModelError as error:
        return f"does not run in {named}: {str(error).removeprefix(f'{what}: ')}"
    difference = agrees(proof, there, quantized=quantized)
    return f"answers differently in {named}: {difference}" if difference else ""
