"""Every seam to the world, on one page. Adapters implement these; drivers receive them by constructor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from edge_agent.bundle.manifest import Manifest
from edge_agent.update.machine import UpdateCommand, UpdateRecord
from edge_agent.values import Delivery, Event, HealthSample, Prediction, Sample, TensorSpec, TrialReport


class Source(Protocol):
    """A sensor. One reader thread calls it; ``read`` returns ``None`` when nothing came within ``timeout_s``.

    A source that drops samples itself, such as a camera's older frames, has a counter ``lost`` beside ``garbage``.
    """

    name: str

    @property
    def garbage(self) -> int:
        """Readings that came but could not be understood."""
        ...

    def open(self) -> None:
        """Connect. Raises :class:`~edge_agent.errors.SourceError`; called again after an error, so it must be repeatable."""
        ...

    def read(self, timeout_s: float) -> Sample | None:
        """The next sample. Raises SourceError (reopen me) or SourceEnded (no more will come)."""
        ...

    def close(self) -> None: ...


NEVER_NS = 1 << 62
"""Of a time: nothing is known to come."""


@runtime_checkable
class PacedSource(Source, Protocol):
    """A source that can be asked when its next sample is there, and gives it at once then: it needs no thread of its own."""

    @property
    def paced(self) -> bool:
        """Whether it is one, with its options."""
        ...

    @property
    def period_ns(self) -> int:
        """From one sample to the next; 0 when that is not known."""
        ...

    def next_ns(self) -> int:
        """When the next sample is there (monotonic), ``NEVER_NS`` while none is on its way."""
        ...


class Sink(Protocol):
    """Where predictions go. Kinds that may block for long are called on a thread of their own.

    ``emit`` raises SinkError (not taken; give it again, or not) or SinkRefused (never give this one again). ``close`` may come from
    another thread while ``emit`` is stuck, and is then to end it; a second one does nothing.
    """

    name: str

    def emit(self, prediction: Prediction) -> None: ...

    def flush(self) -> None:
        """Bring out what is held back; called at least once a second while predictions come. and after the last of them until the
        sink's ``backlog``, if it has such an attribute, is false."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class BatchSink(Protocol):
    """A sink that takes several predictions at once, all or none of them; else as :class:`Sink`."""

    name: str
    delivery: Delivery

    def emit_all(self, predictions: Sequence[Prediction]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class Runtime(Protocol):
    """A loaded model. Arrays in and out by tensor name; not thread-safe but for ``stop``.

    ``notes`` tell what was asked for and could not be had (an accelerator that the processor stands in for).
    """

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...]

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """One inference. ``arrays`` are C-contiguous numpy arrays of the declared dtypes. Raises ModelError."""
        ...

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Callable[[], None] | None:
        """A call that runs one inference from ``inputs`` into ``outputs`` where they lie (views of shared memory), raising ModelError.
        None where the runtime cannot."""
        ...

    def stop(self) -> bool:
        """From another thread: end the inference under way soon, with ModelError. False where the runtime cannot."""
        ...

    def close(self) -> None: ...


class Outbox(Protocol):
    """The on-disk queue every outgoing MQTT message passes through. ``keep``: 2 results, 1 events, 0 metrics and predictions:
    when the quota is full the oldest of the lowest class go first, and are counted."""

    def put(self, topic: str, payload: bytes, *, keep: int = 0, retain: bool = False, wait: bool = True) -> None:
        """Without ``wait`` it returns before the message is on disk, however slow the card is."""
        ...

    def queued(self) -> int: ...

    def dropped(self) -> int: ...


class Transport(Protocol):
    """The MQTT connection. Handlers run on the transport's own thread and must be short."""

    def start(self) -> None: ...

    def subscribe(self, topic: str, handler: Callable[[str, bytes], None]) -> None: ...

    def connected(self) -> bool: ...

    def stop(self, *, last_words: bytes | None = None) -> None:
        """Publish ``last_words`` (retained, to the will's topic) and disconnect cleanly."""
        ...


class Journal(Protocol):
    """The one durable record of the update in progress."""

    def load(self) -> UpdateRecord: ...

    def save(self, record: UpdateRecord) -> None:
        """Durable when it returns. Raises StoreError or StoreFull; then the old record still stands."""
        ...


class Fetcher(Protocol):
    """Brings a bundle into the store and verifies it, in a short-lived process."""

    def fetch(self, command: UpdateCommand, progress: Callable[[int, int], None]) -> str:
        """The sha256 of the object now in the store. ``progress(done_bytes, total_bytes)``. Raises FetchError, FetchRefused,
        TrustError, StoreFull. May be called again after any interruption and goes on from what is there."""
        ...

    def verify(self, command: UpdateCommand, digest: str) -> Manifest:
        """Hash, open, check against this device, unpack beside the object. Raises BundleError, TrustError, StoreFull."""
        ...

    def cancel(self) -> None:
        """Make a running fetch or verify end soon with FetchError."""
        ...


class Versions(Protocol):
    """What the engine asks of a store."""

    def active(self, model: str) -> str:
        """Digest of the version to serve, empty when there is none."""
        ...

    def manifest(self, digest: str) -> Manifest: ...

    def folder(self, digest: str) -> Path: ...


class Store(Protocol):
    """Content-addressed bundles and one durable pointer per model."""

    def active(self, model: str) -> str:
        """Digest of the served bundle, empty when there is none."""
        ...

    def previous(self, model: str) -> str: ...

    def models(self) -> tuple[str, ...]: ...

    def set_active(self, model: str, digest: str) -> None:
        """Durable when it returns; the old active becomes previous (unless they are the same)."""
        ...

    def manifest(self, digest: str) -> Manifest: ...

    def folder(self, digest: str) -> Path:
        """Folder with the unpacked, verified files of ``digest``."""
        ...

    def find(self, model: str, version: str) -> str:
        """Digest of a stored bundle by name and version, empty when there is none."""
        ...

    def quarantine(self, digest: str, reason: str) -> None: ...

    def quarantined(self, digest: str) -> str:
        """The reason ``digest`` may not be installed, empty when it may."""
        ...


class ModelHost(Protocol):
    """What the update asks of the processes that serve. Blocking calls, made from the update thread."""

    def try_candidate(self, model: str, digest: str, manifest: Manifest, folder: Path) -> TrialReport:
        """Fork a worker, load, run the golden inputs. A passed candidate stays ready until switched or discarded."""
        ...

    def switch(self, model: str, digest: str) -> None:
        """Make ``digest`` serve in every pipeline: the ready candidate if there is one, else a fresh worker. No window is lost.
        Raises EdgeError when it cannot; the one that served still serves. An empty ``digest`` takes the model out of service."""
        ...

    def discard(self, model: str) -> None:
        """End a candidate that will not serve."""
        ...

    def health(self, model: str) -> HealthSample: ...


Reporter = Callable[[Event], None]
"""Where events go."""
