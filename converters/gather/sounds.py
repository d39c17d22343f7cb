"""Sounds: WAV files of PCM samples, cut or padded to one length, values -1 to 1."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import InputError
from converters.gather.folder import files_of
from converters.gather.labels import numbered
from converters.gather.said import SamplesSaid
from converters.gather.writing import write_npz

ENDINGS = (".wav",)


def gather_sounds(path: Path, said: SamplesSaid, classes: Sequence[str], out: Path) -> None:
    """``window`` with (length, channels) rows. Raises :class:`InputError` naming the file whose rate or channels differ."""
    files, names = files_of(path, ENDINGS)
    rate, channels, length = _form(files[0])
    if said.rate and rate != said.rate:
        raise InputError(f"{files[0]}: has {rate} samples a second, samples.rate asks for {said.rate}; resample it first")
    length = round(said.seconds * rate) if said.seconds else length
    rows = (_sound(file, rate, channels, length) for file in files)
    streams: dict[str, tuple[tuple[int, ...], Any]] = {"window": ((len(files), length, channels), rows)}
    if names:
        labels = numbered(path, names, classes)
        streams["labels"] = ((len(labels),), labels)
    write_npz(out, streams)


def _form(file: Path) -> tuple[int, int, int]:
    with _opened(file) as sound:
        return sound.getframerate(), sound.getnchannels(), sound.getnframes()


def _sound(file: Path, rate: int, channels: int, length: int) -> Any:
    with _opened(file) as sound:
        if (sound.getframerate(), sound.getnchannels()) != (rate, channels):
            said = f"{sound.getframerate()} Hz, {sound.getnchannels()} channels"
            raise InputError(f"{file}: has {said}; the first file has {rate} Hz, {channels} channels, and all must be alike")
        values = _decoded(sound.readframes(length), sound.getsampwidth()).reshape(-1, channels)[:length]
    return np.pad(values, ((0, length - len(values)), (0, 0)))


def _decoded(data: bytes, width: int) -> Any:
    """Whole numbers of 1 (unsigned), 2, 3 or 4 bytes, little-endian (RIFF WAVE, 1991, "Data Format of the Samples")."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    whole = data[: len(data) // width * width]
    if width == 3:
        parts = np.frombuffer(whole, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(parts), 4), np.uint8)
        wide[:, 1:] = parts
        return (wide.view("<i4").reshape(-1) / 2.0**31).astype(np.float32)
    return (np.frombuffer(whole, f"<i{width}") / 2.0 ** (8 * width - 1)).astype(np.float32)


def _opened(file: Path) -> Any:
    try:
        return wave.open(str(file), "rb")
    except (OSError, EOFError, wave.Error) as error:
        raise InputError(f"{file}: cannot be read as a WAV file of PCM samples ({error})") from None
