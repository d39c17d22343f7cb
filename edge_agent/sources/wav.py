"""WAV files in blocks: RIFF/WAVE with PCM of 8, 16, 24 or 32 bits or floats of 32 or 64, plain or in the extensible format.

Source: Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" (1991) and "Multiple channel audio data and WAVE files"
(2001). The standard library's ``wave`` reads neither floats nor, before Python 3.12, the extensible format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KINDS = {(_PCM, 8): "u1", (_PCM, 16): "<i2", (_PCM, 24): "u1", (_PCM, 32): "<i4", (_FLOAT, 32): "<f4", (_FLOAT, 64): "<f8"}
_MOST_CHANNELS = 256


@dataclass(frozen=True, slots=True)
class WavForm:
    """How the sound is stored, and where: ``data_start`` and ``data_bytes`` in the file."""

    rate_hz: int
    channels: int
    coding: int
    bits: int
    data_start: int
    data_bytes: int

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8


def read_form(file: BinaryIO) -> WavForm:
    """The header; ``file`` stands anywhere afterwards. Raises ValueError for what is not such a file."""
    riff = file.read(12)
    if len(riff) < 12 or riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        raise ValueError("not a WAV file (no RIFF/WAVE at its beginning)")
    form: tuple[int, int, int, int] | None = None
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[4:], "little")
        start = file.tell()
        if head[:4] == b"fmt ":
            form = _form_chunk(file.read(min(size, 64)))
        elif head[:4] == b"data":
            if form is None:
                raise ValueError("the sound comes before the chunk that says how it is stored")
            there = file.seek(0, 2) - start  # a recorder that was cut off left 0 or the most there can be
            return WavForm(*form, start, min(size, there) if size else there)
        file.seek(start + size + size % 2)
    raise ValueError("holds no sound (no data chunk)")


def _form_chunk(data: bytes) -> tuple[int, int, int, int]:
    if len(data) < 16:
        raise ValueError("its fmt chunk is too short")
    coding, channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", data[:16])
    if coding == _EXTENSIBLE and len(data) >= 26:
        coding = int.from_bytes(data[24:26], "little")
    if (coding, bits) not in _KINDS:
        raise ValueError(f"coding {coding} with {bits} bits cannot be read: PCM of 8 to 32 bits and floats can")
    if not 0 < channels <= _MOST_CHANNELS or not rate_hz:
        raise ValueError(f"says it has {channels} channels at {rate_hz} Hz")
    return rate_hz, channels, coding, bits


def read_blocks(file: BinaryIO, form: WavForm, frames: int) -> Iterator[Any]:
    """Arrays float32 (up to ``frames``, channels), from -1 to 1; the last may be shorter."""
    file.seek(form.data_start)
    left = form.data_bytes - form.data_bytes % form.frame_bytes
    while left > 0:
        data = file.read(min(left, frames * form.frame_bytes))
        whole = len(data) - len(data) % form.frame_bytes
        if not whole:
            return
        yield _to_floats(data[:whole], form)
        left -= whole


def _to_floats(data: bytes, form: WavForm) -> Any:
    import numpy as np

    raw: Any = np.frombuffer(data, _KINDS[form.coding, form.bits])
    if form.coding == _FLOAT:
        values = raw.astype(np.float32)
    elif form.bits == 8:
        values = (raw.astype(np.float32) - np.float32(128)) / np.float32(128)
    elif form.bits == 24:  # into the upper three bytes of 32 bits, so that the sign is in its place
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = raw.reshape(-1, 3)
        values = wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    else:
        values = raw.astype(np.float32) / np.float32(2 ** (form.bits - 1))
    return values.reshape(-1, form.channels)
