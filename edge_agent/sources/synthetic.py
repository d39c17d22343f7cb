"""A signal made up by rule, for trying out pipelines and for tests under load. The same options give the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import SourceEnded
from edge_agent.sources.alarm import Alarm
from edge_agent.values import Sample

SIGNALS = ("sine", "square", "ramp", "constant", "noise")


def open_source(name: str, options: Mapping[str, Any], inbox: object = None, *, clock: Clock | None = None) -> SyntheticSource:
    """As the checked ``options`` say: rate_hz (10; 0: as fast as read), channels (1) or shape, signal (sine), frequency_hz (1), amplitude
    (1), offset (0), noise (0), seed (0), limit (0: none), block (1), dtype (float32)."""
    return SyntheticSource(name, options, clock or SystemClock())


class SyntheticSource:
    """Reading ``n`` is ``offset + amplitude * wave(n * frequency_hz / rate_hz + c / channels) + noise * normal``, ``c`` along the last axis
    of ``shape``. Without a rate the wave is that of 100 readings a second. Whole-number types are rounded and kept in range.

    Reading n is due at start + n / rate, so the rate does not drift, and its time is when it was due.
    """

    def __init__(self, name: str, options: Mapping[str, Any], clock: Clock) -> None:
        import numpy as np

        self.name = name
        self.garbage = 0
        self._np, self._clock = np, clock
        rate_hz = float(options.get("rate_hz", 10.0))
        self._period_ns = 1e9 / rate_hz if rate_hz > 0 else 0.0
        self._shape = tuple(options.get("shape", (options.get("channels", 1),)))
        self._signal = str(options.get("signal", "sine"))
        self._turns = float(options.get("frequency_hz", 1.0)) / (rate_hz or 100.0)
        self._amplitude, self._offset = float(options.get("amplitude", 1.0)), float(options.get("offset", 0.0))
        self._noise = float(options.get("noise", 0.0))
        self._random = np.random.default_rng(int(options.get("seed", 0)))
        self._limit = int(options.get("limit", 0))
        self._block = int(options.get("block", 1))
        self._dtype = np.dtype(str(options.get("dtype", "float32")))
        self._phases = np.arange(self._shape[-1]) / self._shape[-1]
        self._seq = 0
        self._start_ns = 0
        self._start_seq = 0
        self._alarm = Alarm()

    def open(self) -> None:
        """Starts the schedule now; a source opened again goes on where it was."""
        self._alarm.clear()
        self._start_ns, self._start_seq = self._clock.monotonic_ns(), self._seq

    @property
    def paced(self) -> bool:
        return self._period_ns > 0 and self._block == 1

    @property
    def period_ns(self) -> int:
        return round(self._period_ns)

    def next_ns(self) -> int:
        return self._due_ns(self._seq)

    def read(self, timeout_s: float) -> Sample | None:
        rows = min(self._block, self._limit - self._seq) if self._limit else self._block
        if rows <= 0:
            raise SourceEnded(f"source {self.name}: the limit of {self._limit} samples is reached")
        now_ns = self._clock.monotonic_ns()
        first_ns = self._due_ns(self._seq)
        due_ns = self._due_ns(self._seq + rows - 1)  # a block is there when its last row is
        if due_ns > now_ns:
            self._alarm.wait(min((due_ns - now_ns) / 1e9, timeout_s))
            if self._clock.monotonic_ns() < due_ns:
                return None
        values = self._make(rows)
        sample = Sample(
            self.name,
            self._seq,
            first_ns if self._period_ns else now_ns,
            values if rows > 1 else values[0],
            None,
            rows,
            round(self._period_ns),
        )
        self._seq += rows
        return sample

    def close(self) -> None:
        self._alarm.ring()

    def _due_ns(self, seq: int) -> int:
        """Long past when nothing is ever waited for."""
        return self._start_ns + round((seq - self._start_seq) * self._period_ns) if self._period_ns else 0

    def _make(self, rows: int) -> Any:
        """Values (rows, *shape)."""
        np = self._np
        turns = (self._seq + np.arange(rows))[:, None] * self._turns + self._phases
        wave = self._offset + self._amplitude * self._wave(turns)
        wave = wave.reshape(rows, *[1] * (len(self._shape) - 1), -1)
        values = np.broadcast_to(wave, (rows, *self._shape))
        spread = self._amplitude if self._signal == "noise" else self._noise
        if spread:
            values = values + spread * self._random.standard_normal((rows, *self._shape), np.float32)
        if self._dtype.kind in "iu":
            limits = np.iinfo(self._dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        return values.astype(self._dtype)

    def _wave(self, turns: Any) -> Any:
        np = self._np
        if self._signal == "sine":
            return np.sin(2 * np.pi * turns)
        if self._signal == "square":
            return np.where(turns % 1.0 < 0.5, 1.0, -1.0)
        if self._signal == "ramp":
            return 2 * (turns % 1.0) - 1
        return np.full(turns.shape, 1.0 if self._signal == "constant" else 0.0)
