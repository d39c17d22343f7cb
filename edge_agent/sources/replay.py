"""Replays recorded samples as a sensor would give them: at a rate, once or in a loop.

``.npz``: array ``x`` (n, ...), each sample flattened, and optionally whole-number labels ``y`` or ``labels`` (n,); a samples file of
the converter plays as it is. ``.csv``: numbers with commas
between, one sample a line, a header line is allowed. ``.jsonl``: one JSON value a line. Labels: see ``framing``. ``.wav``: one sample a
frame of sound, from -1 to 1, in blocks. All but ``.npz`` are read piece by piece, so such a recording may be larger than RAM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import SourceEnded, SourceError
from edge_agent.sources.alarm import Alarm
from edge_agent.sources.framing import Reading, choose_framing, read_csv
from edge_agent.sources.wav import read_blocks, read_form
from edge_agent.values import Sample

_MAX_LINE_BYTES = 1 << 24
_LABELS = ("y", "labels")
_NOT_SAMPLES = ("calibrate", "train", "test")


def open_source(name: str, options: Mapping[str, Any], inbox: object = None, *, clock: Clock | None = None) -> ReplaySource:
    """A replay as the checked ``options`` say: path, rate_hz (0: as fast as read), loop, limit (0: none), block (of a .wav;
    0: 20 ms). Not yet opened."""
    return ReplaySource(
        name,
        Path(options["path"]),
        rate_hz=float(options.get("rate_hz", 0.0)),
        loop=bool(options.get("loop", False)),
        limit=int(options.get("limit", 0)),
        block=int(options.get("block", 0)),
        clock=clock or SystemClock(),
    )


class ReplaySource:
    """A recording that plays against the monotonic clock.

    Sample n is due at start + n / rate, whatever happened to those before it, so the rate does not drift and a reader that was late
    catches up. A sample's time is when it was due: what the reader was late by shows as waiting, as it would with a real sensor.
    Sound that plays as fast as it can be read keeps the times of its recording, from the start on.
    """

    def __init__(self, name: str, path: Path, *, rate_hz: float, loop: bool, limit: int, clock: Clock, block: int = 0) -> None:
        self.name = name
        self.garbage = 0  # lines that held no sample
        self._path, self._loop, self._limit, self._clock = path, loop, limit, clock
        self._period_ns = round(1e9 / rate_hz) if rate_hz > 0 else 0
        self._recorded_ns = 0  # period of a recording that knows its own
        self._block = block
        self._readings: Iterator[Reading] | None = None
        self._next: Reading | None = None
        self._seq = 0
        self._start_ns = 0
        self._start_seq = 0
        self._alarm = Alarm()
        self._in_blocks = path.suffix.lower() == ".wav"
        self._by_suffix: Mapping[str, Callable[[], Iterator[Reading]]] = {".npz": self._arrays, ".wav": self._sound}

    def open(self) -> None:
        """Starts the schedule now; a replay opened again goes on where it was."""
        if not self._path.is_file():
            raise SourceError(f"source {self.name}: {self._path}: there is no such file")
        self._alarm.clear()
        self._start_ns, self._start_seq = self._clock.monotonic_ns(), self._seq

    @property
    def paced(self) -> bool:
        """Everything with a rate, but sound, which comes in blocks."""
        return self._period_ns > 0 and not self._in_blocks

    @property
    def period_ns(self) -> int:
        return self._period_ns

    def next_ns(self) -> int:
        return self._start_ns + (self._seq - self._start_seq) * self._period_ns

    def read(self, timeout_s: float) -> Sample | None:
        if self._limit and self._seq >= self._limit:
            raise SourceEnded(f"source {self.name}: the limit of {self._limit} samples is reached")
        if self._next is None:
            self._next = self._following()
        rows = self._rows_of(self._next) if self._in_blocks else 1
        period_ns = self._period_ns or self._recorded_ns
        first_ns = self._start_ns + (self._seq - self._start_seq) * period_ns
        due_ns = first_ns + (rows - 1) * period_ns  # a block is there when its last row is
        now_ns = self._clock.monotonic_ns()
        if self._period_ns and due_ns > now_ns:
            self._alarm.wait(min((due_ns - now_ns) / 1e9, timeout_s))
            if self._clock.monotonic_ns() < due_ns:
                return None
        reading, self._next = self._next, None
        values = reading.values if not self._in_blocks else reading.values[:rows] if rows > 1 else reading.values[0]
        sample = Sample(self.name, self._seq, first_ns if period_ns else now_ns, values, reading.label, rows, period_ns)
        self._seq += rows
        return sample

    def _rows_of(self, block: Reading) -> int:
        return min(len(block.values), self._limit - self._seq) if self._limit else len(block.values)

    def close(self) -> None:
        self._alarm.ring()

    def _following(self) -> Reading:
        """The next reading, from the beginning again when looping."""
        for _ in range(2):
            fresh = self._readings is None
            if self._readings is None:
                self._readings = self._play()
            try:
                reading = next(self._readings, None)
            except SourceError:
                self._readings = None
                raise
            if reading is not None:
                return reading
            if fresh:
                self._readings = None
                raise SourceError(f"source {self.name}: {self._path}: holds no samples")
            if not self._loop:
                raise SourceEnded(f"source {self.name}: {self._path} was played to its end")
            self._readings = None
        raise SourceError(f"source {self.name}: {self._path}: holds no samples")

    def _play(self) -> Iterator[Reading]:
        try:
            yield from self._by_suffix.get(self._path.suffix.lower(), self._lines)()
        except Exception as error:  # numpy's reader alone raises seven kinds for files that are not what they seem
            raise SourceError(f"source {self.name}: {self._path}: cannot be read ({error})") from error

    def _arrays(self) -> Iterator[Reading]:
        import numpy as np

        with np.load(self._path, allow_pickle=False) as archive:
            name = _sample_array(archive.files)
            x = archive[name]
            answers = next((word for word in _LABELS if word in archive.files), "")
            labels = archive[answers] if answers else None
        if x.ndim < 1 or x.dtype.kind not in "biuf":
            raise ValueError(f"array {name} has type {x.dtype} and {x.ndim} axes; numbers with samples along the first are needed")
        if labels is not None and (labels.shape != (len(x),) or labels.dtype.kind not in "iu"):
            raise ValueError(f"array {answers} has type {labels.dtype} and shape {labels.shape}; whole numbers ({len(x)},) are needed")
        rows = x.reshape(len(x), -1) if len(x) else x
        for index in range(len(x)):
            yield Reading(rows[index], None if labels is None else int(labels[index]))

    def _sound(self) -> Iterator[Reading]:
        with self._path.open("rb") as file:
            form = read_form(file)
            self._recorded_ns = round(1e9 / form.rate_hz)
            for block in read_blocks(file, form, self._block or max(1, form.rate_hz // 50)):
                yield Reading(block)

    def _lines(self) -> Iterator[Reading]:
        with self._path.open("rb") as file:
            framing = choose_framing("json")
            if self._path.suffix.lower() == ".csv":
                fields = self._header(file)
                framing = choose_framing("csv", fields)
            while line := file.readline(_MAX_LINE_BYTES):
                if not line.strip():
                    continue
                reading = framing(line.strip())
                if reading is None:
                    self.garbage += 1
                else:
                    yield reading

    def _header(self, file: Any) -> tuple[str, ...]:
        """Names of the columns when the first line is not numbers; the file stands where the samples begin."""
        line = file.readline(_MAX_LINE_BYTES)
        if read_csv(line.strip()) is not None:
            file.seek(0)
            return ()
        return tuple(word.strip().strip('"') for word in line.decode("utf-8", "replace").split(","))


def _sample_array(names: Sequence[str]) -> str:
    """``x`` or ``window``, else the one array that is not known to be something else: a converter's samples file plays as it is."""
    for word in ("x", "window"):
        if word in names:
            return word
    others = [name for name in names if name not in (*_LABELS, *_NOT_SAMPLES)]
    if len(others) != 1:
        raise ValueError(f"has no array x, and {len(others)} that could be meant ({', '.join(others) or 'none'}): name the samples x")
    return others[0]
