"""The engine: what the rest of the control process sees of zygote, workers and pipelines.

Public methods may be called from any thread but its own and block until the thing is done; the engine's thread carries them out.
``report``, ``publish`` and ``on_crash_loop`` are called on the engine's thread: they must be short and must not call back.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from pathlib import Path
from typing import Any

from edge_agent.addresses import Listener
from edge_agent.bundle.manifest import Manifest
from edge_agent.clock import Clock, monotonic_s
from edge_agent.config import EngineConfig, ModelConfig, PipelineConfig
from edge_agent.errors import EdgeError
from edge_agent.inference.cgroup import Cgroups
from edge_agent.inference.context import Context, ModelVersion, OptionsOf
from edge_agent.inference.describing import Description, describe
from edge_agent.inference.front import FrontConfig, OnCall
from edge_agent.inference.loop import Loop
from edge_agent.inference.memory import available_mib
from edge_agent.inference.plane import Plane
from edge_agent.inference.trials import Trials, TrialTerms
from edge_agent.inference.waits import Waits, result_of
from edge_agent.inference.workers import Server
from edge_agent.inference.zygote_client import ZygoteClient
from edge_agent.inference.zygote_start import StartedZygote
from edge_agent.ports import Reporter, Versions
from edge_agent.values import Event, HealthSample, ModelStatus, PipelineStatus, Prediction, TrialReport

START_TIMEOUT_S = LOAD_TIMEOUT_S = TRIAL_TIMEOUT_S = 60.0
FLIP_MARGIN_S = 10.0
WITHDRAW_TIMEOUT_S = 5.0
DEFAULT_MODEL = ModelConfig("")


class Engine:
    """Serves models to pipelines; a :class:`~edge_agent.ports.ModelHost` for updates."""

    def __init__(
        self,
        *,
        store: Versions,
        clock: Clock,
        report: Reporter,
        config: EngineConfig,
        runtimes: tuple[str, ...],
        publish: Callable[[str, str, Prediction], None],
        on_crash_loop: Callable[[str, str], None],
        models: Sequence[ModelConfig] = (),
        default_model: ModelConfig = DEFAULT_MODEL,
        options: OptionsOf | None = None,
        cgroups: Cgroups | None = None,
        api: bool = False,
        zygote: StartedZygote | None = None,
        shadow_s: float = 0.0,
        python: str = sys.executable,
        trial_timeout_s: float = TRIAL_TIMEOUT_S,
        available: Callable[[], float | None] = available_mib,
        unwanted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._report = report
        self._config = config
        self._loop = Loop(clock, self._callback_failed)
        self._zygote = ZygoteClient(self._loop, clock, runtimes, python, self._tell, api=api, early=zygote)
        by_name = {model.name: model for model in models}
        self._plane = Plane(
            Context(
                self._loop,
                clock,
                self._zygote,
                config,
                self._tell,
                publish,
                on_crash_loop,
                models=by_name,
                options=options,
                cgroups=cgroups,
                default_model=default_model,
            )
        )
        self._changing = threading.Lock()
        self._halted = threading.Event()
        terms = TrialTerms(config.swap, shadow_s, trial_timeout_s, available, self._halted, unwanted)
        self._trials = Trials(self._loop, self._plane, terms, self._tell)
        self._waits = Waits(clock)
        self._stopped = True

    def start(self) -> None:
        """Start the zygote and wait until it can make processes. Raises EdgeError."""
        self._loop.start()
        self._stopped = False
        try:
            self._loop.call(self._zygote.start)
            self._waits.start_of(self._zygote.ready, START_TIMEOUT_S, "the zygote did not start")
            self._loop.call(self._plane.look_after)
        except Exception:
            self.stop(1.0)
            raise

    def halt(self) -> None:
        """Have whoever waits for a start wait no longer: that raises Stopping. Safe in a signal handler; :meth:`stop` is to follow."""
        self._waits.give_up()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End pipelines, then workers, then the zygote; what does not end in time is killed with it."""
        if self._stopped:
            return
        self._stopped = True
        self._halted.set()
        wait_for_futures(self._loop.call(self._plane.stop_pipelines), timeout_s / 2)
        wait_for_futures(self._loop.call(self._plane.stop_workers), timeout_s / 4)
        self._loop.call(lambda: self._zygote.stop(timeout_s / 4))
        self._loop.stop()

    def serve(self, model: str, digest: str = "") -> None:
        """Serve ``digest``, or the store's active version of ``model``; it can be asked through the local API when this returns.

        Raises EdgeError when there is none or it does not load.
        """
        digest = digest or self._store.active(model)
        if not digest:
            raise EdgeError(f"model {model}: no version is installed")
        version = self._version(model, digest)
        worker = self._loop.call(lambda: self._plane.serve(version))
        self._waits.start_of(worker.loaded, LOAD_TIMEOUT_S, f"{version.title} did not load")
        wait_for_futures(self._loop.call(lambda: self._plane.front_links(model)), FLIP_MARGIN_S)

    def add_pipeline(self, config: PipelineConfig) -> None:
        """Start a pipeline and wait until it takes samples. Raises EdgeError, and then there is no such pipeline."""
        handle = self._loop.call(lambda: self._plane.add_pipeline(config))
        try:
            self._waits.start_of(handle.started, LOAD_TIMEOUT_S, f"pipeline {config.name} did not start")
        except EdgeError:
            self._loop.call(lambda: self._plane.remove_pipeline(config.name))
            raise

    def open_pipeline(self, config: PipelineConfig) -> str:
        """Start a pipeline that stays: it takes samples as soon as its models serve. Waits for that while they do or are being started.

        Why it takes none yet, empty when it does. Raises EdgeError where it never will; its status then says so.
        """
        handle = self._loop.call(lambda: self._plane.add_pipeline(config))
        self._waits.until(handle.started, LOAD_TIMEOUT_S, lambda: not self._loop.call(lambda: self._plane.lacks(config)))
        return self._loop.call(lambda: handle.holdup(self._plane.lacks(config)))

    def open_api(self, config: FrontConfig, listeners: Sequence[Listener], on_call: OnCall) -> Callable[[], None]:
        """Begin to start the local API's process on sockets that listen already; they stay the caller's. The result waits until it has
        started, and raises EdgeError when it does not."""
        front = self._loop.call(lambda: self._plane.add_front(config, listeners, on_call))
        return lambda: result_of(front.started, LOAD_TIMEOUT_S, "the local API did not start")

    def describe(self, path: Path) -> Description:
        """The tensors of a model file. Raises ModelError."""
        found = self._loop.call(lambda: describe(self._zygote, path))
        return result_of(found, LOAD_TIMEOUT_S, f"{path}: its runtime did not open it in {LOAD_TIMEOUT_S:g} s")

    def unload(self, model: str) -> None:
        """Keep the version of ``model`` but serve it no more until :meth:`load`. Raises EdgeError where pipelines need it."""
        needed = self._loop.call(lambda: self._plane.pipelines_of(model))
        if needed:
            raise EdgeError(f"model {model}: pipeline {needed[0]} uses it")
        if all(status.name != model for status in self.models()):
            raise EdgeError(f"model {model}: there is no such model")
        with self._changing:
            wait_for_futures(self._loop.call(lambda: self._plane.pause(model, "unloaded")), WITHDRAW_TIMEOUT_S)

    def load(self, model: str) -> None:
        """Serve ``model`` again after :meth:`unload`; one that serves goes on. Raises EdgeError when there is none or it does not load."""
        if all(status.name != model for status in self.models()):
            self.serve(model)
            return
        with self._changing:
            workers = self._loop.call(lambda: self._plane.resume(model))
        for worker in workers:
            result_of(worker.loaded, LOAD_TIMEOUT_S, f"{model} did not load")
        wait_for_futures(self._loop.call(lambda: self._plane.front_links(model)), FLIP_MARGIN_S)

    def deliver(self, pipeline: str, topic: str, payload: bytes) -> None:
        """A broker's message for the source of ``pipeline``. Does not wait."""

        def hand_over() -> None:
            handle = self._plane.pipelines.get(pipeline)
            if handle is not None:
                handle.deliver(topic, payload)

        self._loop.post(hand_over)

    def try_candidate(self, model: str, digest: str, manifest: Manifest, folder: Path) -> TrialReport:
        """Load ``digest`` in a process of its own and run its golden inputs there. A passed candidate stays ready.

        Where two versions do not fit into memory the serving one makes room first, if it may: what is asked meanwhile waits, and it serves
        again when the candidate fails. Whatever goes wrong with the candidate is a reason in the report, never an exception.
        """
        return self._trials.run(ModelVersion(model, digest, manifest, folder))

    def switch(self, model: str, digest: str) -> None:
        """Make ``digest`` serve in every pipeline of ``model``; returns when all use it. Raises EdgeError, then the old one serves on.

        An empty ``digest`` takes the model out of service: its pipelines end, and can be added again when there is a version.
        """
        with self._changing:
            if not digest:
                wait_for_futures(self._loop.call(lambda: self._plane.withdraw_pipelines(model)), WITHDRAW_TIMEOUT_S)
                wait_for_futures(self._loop.call(lambda: self._plane.withdraw(model)), WITHDRAW_TIMEOUT_S)
                return
            if self._loop.call(lambda: self._serves(model, digest)):
                self.discard(model)
                return
            worker = self._loop.call(lambda: self._plane.take_candidate(model, digest)) or self._fresh(model, digest)
            self._lead(model, worker)

    def renew(self, model: str, digest: str) -> None:
        """Have fresh workers serve ``digest`` in place of those that do, when it is what serves; no window is lost. Raises EdgeError."""
        with self._changing:
            if self._loop.call(lambda: self._serves(model, digest)):
                self._lead(model, self._fresh(model, digest))

    def _lead(self, model: str, worker: Server) -> None:
        """Everyone who asks ``model`` over to ``worker``, or nobody."""
        try:
            taken = self._loop.call(lambda: self._plane.lead_to(model, worker))
            self._await_all(taken)
            self._loop.call(lambda: self._plane.settle(model, worker))
        except Exception:  # out of descriptors or memory is no EdgeError, and half a switch must not stay either
            self._loop.call(lambda: self._plane.lead_back(model, worker))
            raise

    def discard(self, model: str) -> None:
        """End a candidate that will not serve."""
        self._loop.call(lambda: self._plane.discard(model))

    def health(self, model: str) -> HealthSample:
        """Totals since the version that serves now began to. Raises EdgeError for a model that is not served."""
        return self._loop.call(lambda: self._plane.health(model))

    def versions(self) -> tuple[ModelVersion, ...]:
        """The version of each model that serves or is being started."""
        return self._loop.call(lambda: tuple(s.version for s in self._plane.services.values() if s.version is not None))

    def models(self) -> tuple[ModelStatus, ...]:
        return self._loop.call(self._plane.statuses)

    def pipelines(self) -> tuple[PipelineStatus, ...]:
        """As each pipeline last told, at most a second ago while it works."""
        return self._loop.call(self._plane.pipeline_statuses)

    def processes(self) -> tuple[tuple[str, int], ...]:
        """Role and process id: zygote, worker:NAME@VERSION, candidate:NAME@VERSION, pipeline:NAME."""
        return self._loop.call(lambda: tuple(self._plane.processes()))

    def progress(self) -> int:
        """Windows answered by all pipelines since the engine started."""
        return self._loop.call(self._plane.progress)

    def stalled_s(self) -> float:
        """The longest that a pipeline has had something waiting without progress, or was not heard of. At rest about a second."""
        return self._loop.call(self._plane.stalled_s)

    def _fresh(self, model: str, digest: str) -> Server:
        version = self._version(model, digest)
        worker = self._loop.call(lambda: self._plane.service(model).start(version))
        try:
            result_of(worker.loaded, LOAD_TIMEOUT_S, f"{version.title} did not load")
        except EdgeError:
            self._loop.call(worker.kill)
            raise
        return worker

    def _version(self, model: str, digest: str) -> ModelVersion:
        return ModelVersion(model, digest, self._store.manifest(digest), self._store.folder(digest))

    def _serves(self, model: str, digest: str) -> bool:
        service = self._plane.service(model)
        return not service.paused and any(worker.serving and worker.version.digest == digest for worker in service.workers)

    def _await_all(self, taken: Sequence[Future[None]]) -> None:
        """Every pipeline flips between two windows, so it may first have to wait out the one that is in flight."""
        limit_s = self._config.deadline_ms / 1000 + FLIP_MARGIN_S
        deadline_s = monotonic_s(self._clock) + limit_s
        for future in taken:
            result_of(future, max(0.0, deadline_s - monotonic_s(self._clock)), "a pipeline did not take the new version in time")

    def _tell(self, kind: str, level: str, message: str, data: Mapping[str, Any]) -> None:
        try:
            self._report(Event(kind, level, message, self._clock.wall_ns(), data))
        except Exception:  # whoever cannot take an event must not keep a worker from being started again
            traceback.print_exc()

    def _callback_failed(self, error: BaseException) -> None:
        traceback.print_exception(type(error), error, error.__traceback__)
        self._tell("internal_error", "error", f"{type(error).__name__}: {error}", {})
