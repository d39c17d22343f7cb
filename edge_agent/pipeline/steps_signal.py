"""Steps for signals: ``fft``, ``log_mel``, ``mfcc``. Computed in float64, given as float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.pipeline.arguments import Arguments
from edge_agent.pipeline.mel import NORMS, SCALES, TRIANGLES, MelBank, cosines, mel_weights, window_weights
from edge_agent.pipeline.stage import REAL, Stage, check_growth
from edge_agent.pipeline.steps_values import axis_of

MAX_TRANSFORM = 16_384
MAX_BANDS = 256
MAX_FRAMED = 1 << 22
"""Values in all overlapping frames of a window together."""

_LOGS: Mapping[str, Callable[[Any], Any]] = {
    "ln": np.log,
    "log10": np.log10,
    "db": lambda x: 10.0 * np.log10(x),
    "none": lambda x: x,
}


def fft(args: Arguments) -> Stage:
    """The real transform along ``axis`` (0: the samples of each channel): ``of`` magnitude, power, or log (ln of the power)."""
    of = args.choice("of", ("magnitude", "power", "log"), "magnitude")
    axis = axis_of(args, 0)
    window = args.choice("window", ("none", "hann"), "none")
    size = args.whole("n", low=1, high=MAX_TRANSFORM) if args.has("n") else None
    floor = args.positive("floor", 1e-10)

    def run(x: Any) -> Any:
        length = x.shape[axis] if size is None else size
        check_growth(x.size // (x.shape[axis] or 1) * max(length, x.shape[axis]))
        signal = np.moveaxis(np.asarray(x, np.float64), axis, -1)[..., :length]
        power = _power(np.fft.rfft(signal * window_weights(window, signal.shape[-1]), n=length))
        values = np.sqrt(power) if of == "magnitude" else power if of == "power" else np.log(np.maximum(power, floor))
        return np.moveaxis(values, -1, axis).astype(np.float32)

    return Stage(run, REAL)


def log_mel(args: Arguments) -> Stage:
    """(frames, n_mels) of one channel."""
    spectrogram = _spectrogram(args)
    return Stage(lambda x: spectrogram(x).astype(np.float32), REAL)


def mfcc(args: Arguments) -> Stage:
    """(frames, coefficients): the cosine transform of the ``log_mel`` that the same arguments give."""
    spectrogram = _spectrogram(args)
    bands = spectrogram.weights.shape[1]
    count = args.whole("n_mfcc", min(13, bands), low=1, high=bands)
    kept = args.wholes("keep", low=0) if args.has("keep") else tuple(range(count))
    if max(kept) >= count or len(set(kept)) != len(kept):
        raise args.bad("keep", f"must name coefficients below n_mfcc ({count}), each once")
    table = cosines(bands, kept, htk=args.choice("dct", ("ortho", "htk"), "ortho") == "htk")
    return Stage(lambda x: (spectrogram(x) @ table).astype(np.float32), REAL)


@dataclass(frozen=True, slots=True)
class _Frames:
    """Windows of ``size`` samples every ``hop``; ``centred``: the first around sample 0, and ``border`` goes on at both ends."""

    size: int
    hop: int
    centred: bool
    border: str

    def of(self, x: Any) -> Any:
        """(frames, size), a view. ``x`` is one channel."""
        if x.size != max(x.shape, default=1):
            raise ValueError("needs one channel; select one before")
        signal = np.asarray(x, np.float64).reshape(-1)
        if self.centred:
            signal = self._continued(signal)
        if signal.size < self.size:
            raise ValueError(f"{signal.size} samples are fewer than one frame of {self.size}")
        check_growth(((signal.size - self.size) // self.hop + 1) * self.size, MAX_FRAMED)
        return np.lib.stride_tricks.sliding_window_view(signal, self.size)[:: self.hop]

    def _continued(self, signal: Any) -> Any:
        half = self.size // 2
        if self.border == "reflect" and signal.size <= half:
            raise ValueError(f"{signal.size} samples are too few to be reflected over {half}")
        return np.pad(signal, half, mode="reflect") if self.border == "reflect" else np.pad(signal, half)


@dataclass(frozen=True, slots=True)
class _Spectrogram:
    """The logarithm of mel bands, float64 (frames, bands): ``window`` (frame,), ``weights`` (size // 2 + 1, bands)."""

    frames: _Frames
    window: Any
    size: int
    power: int
    weights: Any
    log: Callable[[Any], Any]
    offset: float
    floor: float

    def __call__(self, x: Any) -> Any:
        lines = np.fft.rfft(self.frames.of(x) * self.window, n=self.size)
        power = _power(lines)
        bands = (power if self.power == 2 else np.sqrt(power)) @ self.weights
        return self.log(np.maximum(bands + self.offset, self.floor))


def _spectrogram(args: Arguments) -> _Spectrogram:
    rate_hz = args.positive("rate_hz")
    size = args.whole("n_fft", low=2, high=MAX_TRANSFORM)
    frame = args.whole("frame", size, low=1, high=size)
    centred = args.flag("centre", default=True)
    # A centred frame is as long as the transform, the window in its middle, as in librosa; else what is missing is zeros behind it.
    before = (size - frame) // 2 if centred else 0
    length = size if centred else frame
    window = np.zeros(length)
    window[before : before + frame] = window_weights(args.choice("window", ("hann", "none"), "hann"), frame)
    return _Spectrogram(
        frames=_Frames(length, args.whole("hop", max(frame // 4, 1), low=1), centred, args.choice("border", ("zeros", "reflect"), "zeros")),
        window=window,
        size=size,
        power=args.whole("power", 2, low=1, high=2),
        weights=_weights(args, rate_hz, size),
        log=_LOGS[args.choice("log", tuple(_LOGS), "ln")],
        offset=args.number("offset", 0.0),
        floor=args.positive("floor", 1e-10),
    )


def _weights(args: Arguments, rate_hz: float, size: int) -> Any:
    bank = MelBank(
        bands=args.whole("n_mels", 128, low=1, high=MAX_BANDS),
        low_hz=args.number("fmin", 0.0),
        high_hz=args.positive("fmax", rate_hz / 2),
        scale=args.choice("scale", SCALES, "slaney"),
        triangles=args.choice("triangles", TRIANGLES, "hz"),
        norm=args.choice("norm", NORMS, "slaney"),
    )
    if not 0 <= bank.low_hz < bank.high_hz:
        raise args.bad("fmin", "must be 0 or more and below fmax")
    if bank.high_hz > rate_hz / 2:
        raise args.bad("fmax", f"must not be above half the rate ({rate_hz / 2:g} Hz)")
    return mel_weights(bank, rate_hz, size)


def _power(lines: Any) -> Any:
    return np.square(lines.real) + np.square(lines.imag)
