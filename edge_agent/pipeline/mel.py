"""Mel filter banks and the cosine transform behind MFCC, as tables made once.

Scales: HTK (2595 log10(1 + f/700), The HTK Book, section 5.4) and Slaney (linear below 1 kHz, logarithmic above; Auditory Toolbox,
1998), as librosa's ``filters.mel`` has them. Triangles are straight lines over hertz (librosa) or over mels (HTK and TensorFlow's
``linear_to_mel_weight_matrix``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

SCALES = ("slaney", "htk")
TRIANGLES = ("hz", "mel")
NORMS = ("slaney", "none")

_HZ_A_MEL = 200.0 / 3
_LOG_FROM_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0


@dataclass(frozen=True, slots=True)
class MelBank:
    """``bands`` triangles from ``low_hz`` to ``high_hz`` on the mel ``scale``; ``norm`` slaney: each of area 1 over hertz."""

    bands: int
    low_hz: float
    high_hz: float
    scale: str
    triangles: str
    norm: str


def mel_weights(bank: MelBank, rate_hz: float, size: int) -> Any:
    """Weights (size // 2 + 1, bands), float64, of the lines of a real transform of ``size`` samples."""
    lines_hz = np.arange(size // 2 + 1) * (rate_hz / size)
    low, high = (hz_to_mel(np.array(hz), bank.scale) for hz in (bank.low_hz, bank.high_hz))
    edges_mel = np.linspace(low, high, bank.bands + 2)
    edges_hz = mel_to_hz(edges_mel, bank.scale)
    edges, lines = (edges_hz, lines_hz) if bank.triangles == "hz" else (edges_mel, hz_to_mel(lines_hz, bank.scale))
    rising = (lines[:, np.newaxis] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - lines[:, np.newaxis]) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    return weights * (2.0 / (edges_hz[2:] - edges_hz[:-2])) if bank.norm == "slaney" else weights


def hz_to_mel(hz: Any, scale: str) -> Any:
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    above = _LOG_FROM_HZ / _HZ_A_MEL + np.log(np.maximum(hz, _LOG_FROM_HZ) / _LOG_FROM_HZ) / _LOG_STEP
    return np.where(hz >= _LOG_FROM_HZ, above, hz / _HZ_A_MEL)


def mel_to_hz(mel: Any, scale: str) -> Any:
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    knee = _LOG_FROM_HZ / _HZ_A_MEL
    return np.where(mel >= knee, _LOG_FROM_HZ * np.exp(_LOG_STEP * (np.maximum(mel, knee) - knee)), mel * _HZ_A_MEL)


def cosines(count: int, kept: tuple[int, ...], *, htk: bool) -> Any:
    """The DCT-II of ``count`` bands, only the coefficients ``kept``: (count, len(kept)), float64. Orthonormal, or (``htk``) with
    coefficient 0 scaled like the others, as The HTK Book and TensorFlow have it."""
    at = np.arange(count)[:, np.newaxis] + 0.5
    table = np.cos(np.pi / count * at * np.array(kept)) * np.sqrt(2.0 / count)
    if not htk:
        table[:, np.array(kept) == 0] *= np.sqrt(0.5)
    return table


def window_weights(kind: str, length: int) -> Any:
    """``hann`` (periodic, as librosa, SciPy's ``fftbins`` and TensorFlow have it) or ones, float64."""
    if kind == "none":
        return np.ones(length)
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / length)
