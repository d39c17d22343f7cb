"""Rows of arrays in an .npz file, read as a stream: memory does not grow with the number of rows.

The array format is numpy's (NEP 1); arrays of objects, which would need pickle, are refused.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import InputError
from converters.given import check_given

_DAMAGED = (zipfile.BadZipFile, zlib.error, tokenize.TokenError, EOFError, ValueError, OSError, RuntimeError)  # RuntimeError: encrypted


@dataclass(frozen=True, slots=True)
class ArrayHead:
    """Shape and dtype of one array; ``fortran`` arrays are stored column by column."""

    shape: tuple[int, ...]
    dtype: Any
    fortran: bool


class NpzFile:
    """The .npz file at ``path``: what arrays it holds, and their rows. Raises :class:`InputError` naming file and array."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists():  # a pipe would be waited for
            check_given(path)
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
                self.heads = {name.removesuffix(".npy"): self._head(archive, name) for name in names}
        except FileNotFoundError:
            raise InputError(f"{path}: there is no such samples file") from None
        except _DAMAGED as error:
            raise InputError(f"{path}: not a readable .npz file ({_text(error)})") from None

    def check(self) -> None:
        """Every byte against the checksums of the file, piece by piece: reading some rows only would not see them."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                damaged = archive.testzip()
        except _DAMAGED as error:
            raise InputError(f"{self.path}: is damaged ({_text(error)})") from None
        if damaged is not None:
            raise InputError(f"{self.path}: array {damaged.removesuffix('.npy')} is damaged (its checksum does not match)")

    def whole(self, name: str) -> Any:
        """All of array ``name``; for small ones."""
        head = self.heads[name]
        count = head.shape[0] if head.shape else 1
        if not head.shape:
            raise InputError(f"{self.path}: array {name} is a single value; a list of them was expected")
        rows = list(self.rows(name, range(count)))
        return np.stack(rows) if rows else np.empty(head.shape, head.dtype)

    def rows(self, name: str, wanted: Sequence[int]) -> Iterator[Any]:
        """Rows ``wanted`` (ascending) of array ``name`` along its first axis."""
        head = self.heads[name]
        if head.fortran and len(head.shape) > 1:
            yield from self._columns(name, head, wanted)
            return
        row_shape = head.shape[1:]
        row_bytes = math.prod(row_shape) * head.dtype.itemsize
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as stream:
                _read_head(stream)
                at = 0
                for row in wanted:
                    _skip(stream, (row - at) * row_bytes)
                    yield np.frombuffer(_exactly(stream, row_bytes), head.dtype).reshape(row_shape)
                    at = row + 1
        except _DAMAGED as error:
            raise InputError(f"{self.path}: array {name} is damaged ({_text(error)})") from None

    def _columns(self, name: str, head: ArrayHead, wanted: Sequence[int]) -> Iterator[Any]:
        # A row of a Fortran array lies scattered over the whole of it: there is no stream to read.
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as stream:
                _read_head(stream)
                data = _exactly(stream, math.prod(head.shape) * head.dtype.itemsize)
        except _DAMAGED as error:
            raise InputError(f"{self.path}: array {name} is damaged ({_text(error)})") from None
        array = np.frombuffer(data, head.dtype).reshape(head.shape, order="F")
        yield from (np.ascontiguousarray(array[row]) for row in wanted)

    def _head(self, archive: zipfile.ZipFile, name: str) -> ArrayHead:
        with archive.open(name) as stream:
            head = _read_head(stream)
        if head.dtype.hasobject or head.dtype.kind not in "biuf":
            raise InputError(f"{self.path}: array {name.removesuffix('.npy')} holds {head.dtype}, numbers were expected")
        promised = math.prod(head.shape) * head.dtype.itemsize
        if min(head.shape, default=0) < 0 or promised > archive.getinfo(name).file_size:
            raise InputError(
                f"{self.path}: array {name.removesuffix('.npy')} is damaged (it ends before its last row; its shape is {head.shape})"
            )
        return head


def _read_head(stream: Any) -> ArrayHead:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return ArrayHead(tuple(shape), dtype, fortran)


def _skip(stream: Any, count: int) -> None:
    while count:
        count -= len(_exactly(stream, min(count, 1 << 18)))


def _exactly(stream: Any, count: int) -> bytes:
    data = bytes(stream.read(count))
    if len(data) != count:
        raise EOFError("it ends before its last row")
    return data


def _text(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
