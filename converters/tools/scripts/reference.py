"""What a framework answers to a few inputs, kept beside the ONNX file made of its model so that both can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RANDOM = 8
FREE_SIZE = 32
"""Stands in for a size the model leaves free (other than of the batch) where no sample says one."""


def inputs_for(specs: Sequence[dict[str, Any]], seed: int, given: Path) -> list[list[Any]]:
    """Random inputs, and the rows in ``given`` (.npz, arrays named as the inputs) where they fit; each a list in the order of ``specs``."""
    draw = np.random.default_rng(seed)
    rows = _given(specs, given)
    shapes = [array.shape for array in rows[0]] if rows else [_sizes(spec["shape"]) for spec in specs]
    random = [[_drawn(draw, spec["dtype"], shape) for spec, shape in zip(specs, shapes, strict=True)] for _ in range(RANDOM)]
    return random + rows


def save(folder: Path, specs: Sequence[dict[str, Any]], feeds: Sequence[list[Any]], run: Callable[[list[Any]], Sequence[Any]]) -> None:
    """Leaves ``feeds.npz`` (an array an input, a row a sample), ``expected.npz`` (``output_0`` ...) and ``fixed.onnx`` for these sizes."""
    answers = [[np.asarray(value) for value in run(feed)] for feed in feeds]
    asked: dict[str, Any] = {spec["name"]: np.stack([feed[i] for feed in feeds]) for i, spec in enumerate(specs)}
    answered: dict[str, Any] = {f"output_{i}": np.stack([row[i] for row in answers]) for i in range(len(answers[0]))}
    np.savez(folder / "feeds.npz", **asked)
    np.savez(folder / "expected.npz", **answered)
    _write_fixed(folder, {spec["name"]: feeds[0][i].shape for i, spec in enumerate(specs)})


def _write_fixed(folder: Path, shapes: dict[str, Any]) -> None:
    import onnx

    model = onnx.load(str(folder / "model.onnx"))
    for value in model.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            dim.dim_value = int(size)
    (folder / "fixed.onnx").write_bytes(model.SerializeToString(deterministic=True))


def _given(specs: Sequence[dict[str, Any]], path: Path) -> list[list[Any]]:
    if not path.is_file():
        return []
    with np.load(path, allow_pickle=False) as held:
        arrays = [held.get(name, None) for name in (spec["name"] for spec in specs)]
    fitted = [None if array is None else _fit(array, spec) for array, spec in zip(arrays, specs, strict=True)]
    if any(array is None for array in fitted):
        return []
    return [list(row) for row in zip(*fitted, strict=True)]


def _fit(array: Any, spec: dict[str, Any]) -> Any:
    """Rows as the model takes them, with a batch of one where the rows have none; ``None`` where they do not fit."""
    shape = spec["shape"]
    for rows in (array, array[:, None]):
        if rows.ndim == len(shape) + 1 and all(size in (None, have) for size, have in zip(shape, rows.shape[1:], strict=True)):
            return rows.astype(spec["dtype"])
    return None


def _sizes(shape: Sequence[Any]) -> tuple[int, ...]:
    return tuple((1 if i == 0 else FREE_SIZE) if size is None else int(size) for i, size in enumerate(shape))


def _drawn(draw: Any, dtype: str, shape: tuple[int, ...]) -> Any:
    """Zero and one for whole numbers: the only values that any table of codes is sure to have."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return draw.standard_normal(shape).astype(kind)
    return draw.integers(0, 2, shape).astype(kind)
