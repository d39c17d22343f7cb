"""Every error the device side raises on purpose, in one tree.

``retryable`` says whether the same call may succeed later without anyone changing anything (a broker that is
away, a full disk that will be emptied). Who retries, when and how often is the caller's business.
Refusals that are part of normal life (a gate that says no, a trial that fails) are values, not errors.
"""

from __future__ import annotations

from dataclasses import dataclass


class EdgeError(Exception):
    """Root of the tree."""

    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input: ``where`` is a key path or file, ``what`` says what is wrong and what to do."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class ConfigError(EdgeError):
    """A configuration that cannot be used; carries every problem found, not only the first."""

    def __init__(self, problems: tuple[Problem, ...] | list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class BundleError(EdgeError):
    """A bundle that is damaged, hostile, or of a format this version does not read."""


class ModelError(EdgeError):
    """A model file that the runtime refuses to load or run."""


class RuntimeMissing(EdgeError):
    """The runtime that a model needs is not installed, or not in a version that works."""


class WorkerDied(EdgeError):
    """The worker process ended while it owed an answer."""

    retryable = True


class WorkerHung(EdgeError):
    """The worker process did not answer within the request's deadline and was killed."""

    retryable = True


class SourceError(EdgeError):
    """A sensor source failed; sources are reopened by the pipeline, so most of these pass."""

    retryable = True


class SourceEnded(EdgeError):
    """A finite source (a replay without loop) has given its last sample."""


class SinkError(EdgeError):
    """A sink could not take a prediction; the same prediction may be given again, not before ``pause_s`` where the sink knows."""

    retryable = True

    def __init__(self, message: str, *, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s
        super().__init__(message)


class SinkRefused(SinkError):
    """A sink refused these predictions for good; others may pass."""

    retryable = False


class TransportError(EdgeError):
    """The broker refused, vanished or cannot be reached."""

    retryable = True


class StoreError(EdgeError):
    """The state directory cannot be read or written."""


class StoreFull(StoreError):
    """No space left where the store lives."""

    retryable = True


class TrustError(EdgeError):
    """Signed metadata or a digest that does not verify. Never retried by itself."""


class FetchError(EdgeError):
    """A transfer that failed on the way (network, 5xx, truncation)."""

    retryable = True


class FetchRefused(EdgeError):
    """A transfer that the other side refused for good (4xx, unknown target)."""


class CommandError(EdgeError):
    """A command message that cannot be understood or carried out."""


class AgentUnreachable(EdgeError):
    """No agent listens on the local socket."""
