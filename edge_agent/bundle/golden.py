"""Golden cases: inputs with the answers the converter saw, which the device must see too before a model may serve.

Tensors are raw little-endian C-order bytes, one file each (see :class:`~edge_agent.bundle.manifest.GoldenTensor`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.bundle.manifest import GoldenTensor, Manifest
from edge_agent.errors import BundleError

MAX_GOLDEN_BYTES = 64 << 20
"""All golden tensors of a bundle together; they are held in RAM while a candidate is on trial."""


@dataclass(frozen=True, slots=True, eq=False)
class GoldenArrays:
    """One case as numpy arrays by tensor name. An answer passes when |got - expected| <= ``atol`` + ``rtol`` * |expected|."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    atol: float
    rtol: float


def tensor_bytes(array: Any) -> bytes:
    """The bytes a golden file holds for ``array``: C order, little-endian."""
    array = np.asarray(array)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def load_cases(manifest: Manifest, folder: Path) -> list[GoldenArrays]:
    """Every golden case of the unpacked bundle in ``folder``; raises :class:`BundleError` naming the file that is wrong."""
    sizes = {entry.path: entry.bytes for entry in manifest.files}
    total = sum(sizes.get(t.path, 0) for case in manifest.golden for t in (*case.inputs, *case.outputs))
    if total > MAX_GOLDEN_BYTES:
        raise BundleError(f"golden tensors have {total} bytes together; at most {MAX_GOLDEN_BYTES} are allowed")
    return [
        GoldenArrays(
            {tensor.name: _load(folder, tensor) for tensor in case.inputs},
            {tensor.name: _load(folder, tensor) for tensor in case.outputs},
            case.atol,
            case.rtol,
        )
        for case in manifest.golden
    ]


def compare(case: GoldenArrays, outputs: Mapping[str, Any]) -> float:
    """Largest absolute difference between ``outputs`` and the expected ones; infinite when one is missing or has another shape,
    dtype, or a NaN or infinity where none is expected."""
    worst = 0.0
    for name, expected in case.outputs.items():
        difference = _difference(expected, outputs.get(name))
        worst = max(worst, float(difference.max(initial=0.0)))
    return worst


def within(case: GoldenArrays, outputs: Mapping[str, Any]) -> bool:
    """Whether every value of every expected output is within the case's tolerance."""
    for name, expected in case.outputs.items():
        with np.errstate(invalid="ignore", over="ignore"):
            allowed = case.atol + case.rtol * np.abs(expected.astype(np.float64))
        allowed = np.where(np.isfinite(allowed), allowed, 0.0)
        if not bool(np.all(_difference(expected, outputs.get(name)) <= allowed)):
            return False
    return True


def _difference(expected: Any, got: Any) -> Any:
    """|got - expected| by element as float64; equal values (infinities and NaN too) differ by 0, else NaN and infinity by infinity."""
    if not isinstance(got, np.ndarray) or got.shape != expected.shape or got.dtype != expected.dtype:
        return np.array([np.inf])
    left, right = got.astype(np.float64), expected.astype(np.float64)
    same = (got == expected) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(left - right)
    return np.where(same, 0.0, np.where(np.isfinite(difference), difference, np.inf))


def _load(folder: Path, tensor: GoldenTensor) -> Any:
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    try:
        array = np.fromfile(folder / tensor.path, dtype=dtype)
    except OSError as error:
        raise BundleError(f"{tensor.path}: cannot be read ({error.strerror})") from None
    if array.size != int(np.prod(tensor.shape, dtype=np.int64)):
        raise BundleError(f"{tensor.path}: holds {array.size} values, shape {tensor.shape} needs another number")
    return np.asarray(array.reshape(tensor.shape).astype(tensor.dtype, copy=False), order="C")  # a single value stays one
