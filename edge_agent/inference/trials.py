"""A candidate on its way to serving: room is made for it, it proves itself, and it may answer beside the version that serves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import wait as wait_for_futures
from dataclasses import asdict, dataclass

from edge_agent.errors import EdgeError
from edge_agent.inference.context import ModelVersion
from edge_agent.inference.loop import Loop
from edge_agent.inference.plane import Plane
from edge_agent.inference.workers import Worker
from edge_agent.inference.zygote_client import Tell
from edge_agent.update.trial import judge, judge_shadow, memory_reason, refusal
from edge_agent.values import TrialReport

UNLOAD_TIMEOUT_S = 5.0
LOOK_S = 0.5
"""How soon a candidate that only looks on is given up when nobody wants it."""


@dataclass(frozen=True, slots=True)
class TrialTerms:
    """``swap`` as in the configuration; ``shadow_s`` beside the serving version; ``timeout_s`` for loading and golden inputs; ``available``
    memory in MiB; ``halted`` ends the waiting when the agent does, and so does ``unwanted`` once nobody wants the candidate any more."""

    swap: str
    shadow_s: float
    timeout_s: float
    available: Callable[[], float | None]
    halted: threading.Event
    unwanted: Callable[[], bool]


class Trials:
    """Blocking; called from the update's thread."""

    def __init__(self, loop: Loop, plane: Plane, terms: TrialTerms, tell: Tell) -> None:
        self._loop = loop
        self._plane = plane
        self._terms = terms
        self._tell = tell

    def run(self, version: ModelVersion) -> TrialReport:
        """Never raises: what goes wrong with the candidate is a reason in the report. One that passed stays ready."""
        reason = self._make_room(version)
        if reason:
            return refusal(reason, transient=True)
        worker = self._loop.call(lambda: self._plane.try_version(version))
        report = self._proven(worker)
        if report.passed and self._terms.shadow_s and self._loop.call(lambda: bool(self._plane.service(version.model).targets)):
            report = self._beside(worker, report)
        if not report.passed:
            self._loop.call(lambda: self._plane.discard(version.model))
        return report

    def _make_room(self, version: ModelVersion) -> str:
        """Why the candidate cannot be tried now, empty when it can; the serving version may have been unloaded for it."""
        model, manifest = version.model, version.manifest
        swap, available = self._terms.swap, self._terms.available()
        mapped = self._loop.call(lambda: self._plane.mapped(version))
        reason = memory_reason(manifest, available, mapped=mapped)
        if swap == "beside" or (not reason and swap == "auto"):
            return reason
        freed_mib = self._loop.call(lambda: self._plane.worker_mib(model))
        reason = memory_reason(manifest, None if available is None else available + freed_mib, mapped=mapped)
        if reason:
            return reason
        data = {"model": model, "version": manifest.version}
        text = f"{model}: the serving version is unloaded to make room for {manifest.version}; what is asked meanwhile waits"
        self._tell("unloaded_first", "warning", text, data)
        wait_for_futures(self._loop.call(lambda: self._plane.pause(model, "switching")), UNLOAD_TIMEOUT_S)
        return ""

    def _proven(self, worker: Worker) -> TrialReport:
        try:
            worker.loaded.result(self._terms.timeout_s)
        except FutureTimeout:
            return refusal(f"no result within {self._terms.timeout_s:g} s", transient=worker.blameless)
        except EdgeError as error:
            return refusal(str(error), transient=worker.blameless)
        if worker.measured is None:
            return refusal("the candidate measured nothing")
        return judge(worker.measured, worker.version.manifest.requires)

    def _look_on(self) -> None:
        left_s = self._terms.shadow_s
        while left_s > 0 and not self._terms.halted.wait(min(left_s, LOOK_S)) and not self._terms.unwanted():
            left_s -= LOOK_S

    def _beside(self, worker: Worker, report: TrialReport) -> TrialReport:
        """Let the candidate answer unseen for a while beside the version that serves."""
        version = worker.version
        self._loop.call(lambda: self._plane.shadow(version.model, worker))
        self._look_on()
        shadow = self._loop.call(lambda: self._plane.shadowed(version.model, version.digest))
        self._loop.call(lambda: self._plane.shadow(version.model, None))
        data = {"model": version.model, "version": version.manifest.version, **asdict(shadow)}
        self._tell("shadowed", "info", f"{version.title} beside the serving version: {shadow}", data)
        if not worker.serving:
            return refusal("the candidate died while it answered beside the serving version")
        return judge_shadow(report, shadow, version.manifest.requires)
