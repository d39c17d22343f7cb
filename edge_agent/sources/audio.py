"""Sound from ALSA, through the program ``arecord`` (Debian's alsa-utils).

Of the two ways that work on every board, the program is the sturdier: no wheel and no PortAudio to install, a driver that hangs or crashes
takes another process with it, and starting again is starting a program. Its price is one copy through a pipe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edge_agent.clock import Clock, SystemClock, monotonic_s
from edge_agent.errors import RuntimeMissing, SourceError
from edge_agent.sources.child import Child
from edge_agent.sources.row_clock import RowClock
from edge_agent.values import Sample

FORMATS: Mapping[str, tuple[str, float]] = {"S16_LE": ("<i2", 2.0**15), "S32_LE": ("<i4", 2.0**31)}
"""ALSA's name, numpy's name, full scale."""
_BLOCKS_A_SECOND = 50
_OVERRUN = re.compile(r"overrun!+ \(at least ([0-9.]+) ms long\)")


def open_source(name: str, options: Mapping[str, Any], inbox: object = None, *, clock: Clock | None = None) -> AudioSource:
    """As the checked ``options`` say: device (default), rate_hz (16000), channels (1), format (S16_LE), block (rate_hz / 50), silence_s
    (10)."""
    return AudioSource(name, options, clock or SystemClock())


class AudioSource:
    """One sample a frame of sound, in blocks of ``block``: float32 (block, channels) from -1 to 1. What the sound system lost because
    it was not read in time is missing in the numbering, so that it shows as a gap. A device that gives nothing for ``silence_s`` is opened
    anew."""

    def __init__(self, name: str, options: Mapping[str, Any], clock: Clock) -> None:
        self.name = name
        self.garbage = 0
        self._device = str(options.get("device", "default"))
        self._rate_hz, self._channels = int(options.get("rate_hz", 16_000)), int(options.get("channels", 1))
        self._format = str(options.get("format", "S16_LE"))
        self._block = int(options.get("block", 0)) or max(1, self._rate_hz // _BLOCKS_A_SECOND)
        self._silence_s = float(options.get("silence_s", 10.0))
        self._clock = clock
        self._rows = RowClock(self._rate_hz, clock)
        self._child: Child | None = None
        self._rest = bytearray()
        self._heard_s = 0.0
        self._seq = 0

    def open(self) -> None:
        self.close()
        command = ["arecord", "-q", "-t", "raw", "-f", self._format, "-r", str(self._rate_hz), "-c", str(self._channels)]
        try:
            self._child = Child([*command, "-D", self._device], {})
        except FileNotFoundError:
            raise RuntimeMissing("arecord is not installed: apt install alsa-utils") from None
        except OSError as error:
            raise SourceError(f"source {self.name}: arecord cannot be started ({error})") from error
        self._rest.clear()
        self._rows.reset()
        self._heard_s = monotonic_s(self._clock)

    def read(self, timeout_s: float) -> Sample | None:
        deadline_s = monotonic_s(self._clock) + timeout_s
        size = self._block * self._channels * (2 if self._format == "S16_LE" else 4)
        while len(self._rest) < size:
            left_s = deadline_s - monotonic_s(self._clock)
            data = self._receive(max(0.0, left_s))
            self._rest += data
            if not data and left_s <= 0:
                return None
        whole = bytes(self._rest[:size])
        del self._rest[:size]
        return self._sample(whole)

    def close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.stop()

    def _receive(self, timeout_s: float) -> bytes:
        if self._child is None:
            raise SourceError(f"source {self.name}: {self._device} is not open")
        try:
            data = self._child.receive(timeout_s * 1000)
        except SourceError as error:
            self.close()
            raise SourceError(f"source {self.name}: {self._device} was lost: arecord {error}") from None
        now_s = monotonic_s(self._clock)
        if data:
            self._heard_s = now_s
        elif now_s - self._heard_s > self._silence_s:
            self.close()
            raise SourceError(f"source {self.name}: {self._device} gave nothing for {self._silence_s:g} s")
        self._count_overruns(self._child)
        return data

    def _count_overruns(self, child: Child) -> None:
        said = child.heard()
        if said:
            found = _OVERRUN.findall(said)
            if found:
                self._seq += round(sum(map(float, found)) / 1000 * self._rate_hz)
                child.forget()

    def _sample(self, whole: bytes) -> Sample:
        import numpy as np

        kind, full_scale = FORMATS[self._format]
        values = np.frombuffer(whole, kind).reshape(self._block, self._channels).astype(np.float32)
        values /= np.float32(full_scale)
        rows, t_ns = self._block, self._rows.stamp(self._block)
        sample = Sample(self.name, self._seq, t_ns, values if rows > 1 else values[0], None, rows, self._rows.period_ns)
        self._seq += rows
        return sample
