"""The values that flow through the device. Frozen; units in the names. No numpy here: arrays are ``Any``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DTYPES: Mapping[str, int] = {
    "float32": 4,
    "float16": 2,
    "float64": 8,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
    "bool": 1,
}
"""Tensor element types by numpy name, and their size in bytes."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of a sensor, or a block of them. ``seq`` counts up by one per reading from 0; ``t_ns`` is monotonic capture time.

    ``values`` is a flat sequence of numbers, one reading of all channels, or an array of any shape, such as a frame (height, width, 3).
    ``label`` is set only by sources that replay labelled data.
    A block has ``rows`` above 1 and ``values`` as an array (rows, ...): row ``i`` is the reading ``seq + i``, captured at
    ``t_ns + i * period_ns``.
    """

    source: str
    seq: int
    t_ns: int
    values: Any
    label: int | None = None
    rows: int = 1
    period_ns: int = 0

    def part(self, first: int, count: int) -> Sample:
        """``count`` rows of this block from row ``first`` on; one row is a plain reading. Nothing is copied."""
        if first == 0 and count == self.rows:
            return self
        values = self.values[first] if count == 1 else self.values[first : first + count]
        return Sample(self.source, self.seq + first, self.t_ns + first * self.period_ns, values, self.label, count, self.period_ns)


@dataclass(frozen=True, slots=True)
class Window:
    """What a model is asked about at once. ``values`` is an array (length, channels); a window of one frame is that frame as it came.

    ``seq`` counts windows from 0; ``first_seq``/``last_seq`` are the sample numbers it spans; ``gaps`` how many of its rows are missing:
    sample numbers in a window by count, rows too far from any sample in one by time.
    ``start_ns``/``end_ns`` are the times of its first and last row. ``settles``: how many samples were taken in since the window before;
    what becomes of this window becomes of them.
    """

    source: str
    seq: int
    first_seq: int
    last_seq: int
    start_ns: int
    end_ns: int
    values: Any
    gaps: int
    label: int | None = None
    settles: int = 1


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and shape of a model input or output. ``None`` in ``shape`` is a free dimension.

    ``scale`` and ``zero_point`` are set when the tensor is quantized: real = (stored - zero_point) * scale.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    scale: float | None = None
    zero_point: int | None = None

    def bytes_for(self, batch: int = 1) -> int:
        """Bytes of one tensor, free dimensions taken as ``batch``."""
        count = 1
        for size in self.shape:
            count *= batch if size is None else size
        return count * DTYPES[self.dtype]


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Microseconds a window spent in each stage: waiting in the queue, preprocess, infer (hop and model), model alone, postprocess."""

    queue_us: float
    preprocess_us: float
    infer_us: float
    model_us: float
    postprocess_us: float
    total_us: float


@dataclass(frozen=True, slots=True)
class Box:
    """Something a detector found: corners as shares (0 to 1) of the picture's width and height, ``x0`` left, ``y0`` top."""

    label: str
    score: float
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class StageVerdict:
    """What an earlier model of the pipeline said of the same window."""

    model: str
    version: str
    label: str | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model said of a window. ``label`` and ``score`` are the winner; ``scores`` every class or output value; ``boxes`` what a
    detector found, the surest first; ``before`` what the models before the last one said."""

    pipeline: str
    model: str
    version: str
    window_seq: int
    first_seq: int
    last_seq: int
    t_ns: int
    label: str | None
    score: float | None
    scores: tuple[float, ...]
    times: StageTimes
    expected: int | None = None
    boxes: tuple[Box, ...] = ()
    before: tuple[StageVerdict, ...] = ()


@dataclass(frozen=True, slots=True)
class PipelineCounters:
    """Exact accounting of a pipeline since it started: produced = processed + dropped + failed + in_flight (windows of one sample each),
    and the same in samples for longer windows. ``replayed`` counts windows sent again after a worker died."""

    produced: int = 0
    processed: int = 0
    dropped: int = 0
    failed: int = 0
    in_flight: int = 0
    replayed: int = 0
    windows: int = 0
    correct: int = 0
    labelled: int = 0


@dataclass(frozen=True, slots=True)
class SinkCounts:
    """Predictions of one sink since its pipeline started; at every moment given = emitted + dropped + failed + waiting.

    ``emitted``: the sink took it. ``dropped``: given up unsent, because the queue was full, it was too old, or the pipeline ended.
    ``failed``: the sink refused it or broke on it. ``waiting``: in the queue, or being sent just now.
    """

    given: int = 0
    emitted: int = 0
    dropped: int = 0
    failed: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a sink wants its predictions: up to ``batch`` in one call, waiting at most ``every_s`` for so many to come together; and
    the longest pause between two attempts while it fails."""

    batch: int = 1
    every_s: float = 0.0
    longest_pause_s: float = 2.0


@dataclass(frozen=True, slots=True)
class TrialReport:
    """What happened when a candidate model ran its golden inputs on this device, in the process that would serve.

    ``max_error`` is the largest absolute difference to the expected outputs; ``latency_p95_ms`` one run;
    ``peak_rss_mib`` of the candidate process; ``reasons`` is empty exactly when ``passed``. ``transient`` says that the board was the
    reason (no memory free just now), so that the same bundle may pass another time and is not quarantined.
    """

    passed: bool
    max_error: float
    latency_p95_ms: float
    peak_rss_mib: float
    reasons: tuple[str, ...] = ()
    runs: int = 0
    transient: bool = False


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A served model as the engine sees it now. ``state``: starting, serving, restarting, failed, switching, unloaded.

    ``pids`` are all its workers, ``pid`` the first; ``options`` says what they run with; ``last_error`` why one does not serve.
    """

    name: str
    version: str
    digest: str
    state: str
    pid: int | None
    restarts: int
    requests: int
    errors: int
    rss_mib: float | None = None
    lane: str = "isolated"
    pids: tuple[int, ...] = ()
    options: str = ""
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class HealthSample:
    """Totals of one model version since it began to serve; compared with the previous version's while watching."""

    windows: int
    errors: int
    crashes: int
    infer_p95_us: float


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling: ``kind`` is a word from docs/mqtt.md, ``data`` JSON-ready details."""

    kind: str
    level: str
    message: str
    t_ns: int
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HistogramSnapshot:
    """A latency histogram as numbers: sparse ``counts`` by bucket index (the buckets are telemetry/latency's), and the exact maximum."""

    counts: Mapping[int, int]
    max_us: float


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """A pipeline as the engine sees it. ``latency`` holds totals since start by stage (the fields of StageTimes without ``_us``);
    ``shadow`` the fields of the ShadowReport of a candidate that answers, or last answered, beside the serving version."""

    name: str
    model: str
    version: str
    state: str
    pid: int | None
    restarts: int
    counters: PipelineCounters
    latency: Mapping[str, HistogramSnapshot]
    last_error: str = ""
    sinks: Mapping[str, SinkCounts] = field(default_factory=dict)
    shadow: Mapping[str, Any] = field(default_factory=dict)
