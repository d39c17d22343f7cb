"""Writing an .npz file row by row: memory does not grow with the number of rows, and the same rows give the same bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_npz(path: Path, streams: Mapping[str, tuple[tuple[int, ...], Iterable[Any]]]) -> None:
    """Array by array: shape and rows, each float32 except ``labels`` (int64)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, (shape, rows) in streams.items():
            dtype = np.dtype(np.int64 if name == "labels" else np.float32)
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with archive.open(entry, "w", force_zip64=True) as out:
                out.write(_head(shape, dtype))
                for row in rows:
                    out.write(np.ascontiguousarray(row, dtype).tobytes())


def _head(shape: tuple[int, ...], dtype: Any) -> bytes:
    made = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(made, fields)
    return made.getvalue()
