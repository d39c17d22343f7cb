"""What a pipeline counts and times, and how that is told to the control process."""

from __future__ import annotations

from typing import Any

from edge_agent.pipeline.durations import Durations
from edge_agent.pipeline.intake import IntakeCounts
from edge_agent.values import PipelineCounters, Prediction

STAGES = ("queue", "preprocess", "infer", "model", "postprocess", "total")


class Tally:
    """Exact sample accounting and one histogram per stage. Main thread of the pipeline only.

    A sample is settled with the first window that ends at or after it: until then it is in flight.
    """

    def __init__(self) -> None:
        self.windows = 0
        self.replayed = 0
        self._taken = 0
        self._processed = 0
        self._failed = 0
        self._passed_over = 0
        self._correct = 0
        self._labelled = 0
        self._times = Durations(len(STAGES))
        self.serving: dict[str, ServingTotals] = {}

    def take(self, rows: int) -> None:
        """So many samples came out of the queue."""
        self._taken += rows

    def settle(self, samples: int, *, failed: bool) -> None:
        """A window was answered or failed, and ``samples`` with it."""
        if failed:
            self._failed += samples
        else:
            self._processed += samples
            self.windows += 1

    def pass_over(self, samples: int) -> None:
        """A window was not asked about because a newer one had come."""
        self._passed_over += samples

    def record(self, prediction: Prediction) -> None:
        """Time a finished prediction."""
        t = prediction.times
        self._times.record((t.queue_us, t.preprocess_us, t.infer_us, t.model_us, t.postprocess_us, t.total_us))

    def score(self, expected: int | None, answered: int | None) -> None:
        """Compare with the label that came with the data, when one did."""
        if expected is not None:
            self._labelled += 1
            self._correct += expected == answered

    def counters(self, intake: IntakeCounts, discarded: int, lost_messages: int = 0) -> PipelineCounters:
        """The totals; ``discarded`` by the windows, ``lost_messages`` came from the broker and were dropped before the source saw them."""
        return PipelineCounters(
            produced=intake.produced + lost_messages,
            processed=self._processed,
            dropped=intake.dropped + lost_messages + self._passed_over + discarded,
            failed=self._failed,
            in_flight=intake.waiting + self._taken - self._processed - self._failed - self._passed_over - discarded,
            replayed=self.replayed,
            windows=self.windows,
            correct=self._correct,
            labelled=self._labelled,
        )

    def latency(self) -> dict[str, Any]:
        """JSON-ready snapshots by stage."""
        return dict(zip(STAGES, self._times.trees(), strict=True))

    def of_version(self, model: str, digest: str) -> ServingTotals:
        """The totals of the version of ``model`` that serves now; of a new one they begin anew."""
        totals = self.serving.get(model)
        if totals is None or totals.digest != digest:
            totals = self.serving[model] = ServingTotals(digest)
        return totals


class ServingTotals:
    """Since one model version began to serve in this pipeline."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.windows = 0
        self.errors = 0
        self._infer = Durations(1)

    def answered(self, infer_us: float) -> None:
        """Count a window that was answered."""
        self.windows += 1
        self._infer.record((infer_us,))

    def told(self) -> dict[str, Any]:
        return {"digest": self.digest, "windows": self.windows, "errors": self.errors, "infer": self._infer.trees()[0]}
