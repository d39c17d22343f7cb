"""Did a translation keep the meaning? The ONNX file answers the same inputs as the framework did, in ONNX Runtime, in a child process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import InputError
from converters.isolate import run_job
from converters.npz import NpzFile
from edge_agent.errors import EdgeError

WORST = 1e-3
"""Largest difference let through, as a share of the largest reference output: float32 sums in another order stay far below."""
GIVEN_ROWS = 8


def keep_given(samples: Path | None, target: Path) -> bool:
    """Copies a few rows of the user's own samples to ``target``, for a framework to answer; whether there were any to copy."""
    if samples is None or samples.suffix.lower() != ".npz" or not samples.is_file():
        return False
    try:
        file = NpzFile(samples)
        rows = {name: min(head.shape[0], GIVEN_ROWS) for name, head in file.heads.items() if head.shape and head.shape[0]}
        arrays: dict[str, Any] = {name: np.stack(list(file.rows(name, range(count)))) for name, count in rows.items()}
    except EdgeError:
        return False  # whoever reads the samples for what they are for says what is wrong with them
    np.savez(target, **arrays)
    return bool(arrays)


def compared(folder: Path, what: str, answer: Mapping[str, Any]) -> str:
    """A note on how close ``folder/model.onnx`` comes to the framework. Raises :class:`InputError` when it answers otherwise."""
    with np.load(folder / "expected.npz", allow_pickle=False) as held:
        expected = [held[f"output_{i}"] for i in range(len(answer["outputs"]))]
    count = int(answer["rows"])
    room = folder / "comparison"
    room.mkdir()
    job = {
        "kind": "infer",
        "what": what,
        "model": str(folder / "fixed.onnx"),
        "samples": str(folder / "feeds.npz"),
        "preprocess": [],
        "rows": list(range(count)),
    }
    try:
        said = run_job(room, job)
    except EdgeError as error:
        plain = str(error).replace(str(folder / "fixed.onnx"), "the translation")
        raise InputError(f"{what}: was translated to ONNX, but ONNX Runtime does not run it: {plain}") from None
    with np.load(room / "outputs.npz", allow_pickle=False) as held:
        got = [held[f"output_{i}"] for i in range(len(said["outputs"]))]
    worst = max((_difference(want, have) for want, have in zip(expected, got, strict=True)), default=0.0)
    if not worst <= WORST:
        raise InputError(
            f"{what}: its ONNX translation answers otherwise than {answer['framework']} does (by {worst:.2g} of the largest output); "
            "export it as ONNX with the framework it was trained in"
        )
    agrees = f"ONNX Runtime {said['version']} agrees within {worst:.1e} of the largest output on {count} inputs"
    return f"translated by {answer['framework']}; {agrees}"


def _difference(want: Any, have: Any) -> float:
    """Largest difference as a share of the largest reference; infinite where shapes differ or values are not finite in one only."""
    if want.shape != have.shape:
        return math.inf
    if not want.size:
        return 0.0
    if want.dtype.kind != "f":
        return 0.0 if np.array_equal(want, have) else math.inf
    finite = np.isfinite(want)
    if not np.array_equal(finite, np.isfinite(have)):
        return math.inf
    if not finite.any():
        return 0.0
    want, have = want[finite].astype(np.float64), have[finite].astype(np.float64)
    return float(np.abs(want - have).max() / max(np.abs(want).max(), 1e-6))
