"""One served model: which version, by which worker, and how it comes back after a crash."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.clock import monotonic_s
from edge_agent.inference.context import AGAIN_S, Context, ModelVersion
from edge_agent.inference.crashes import CrashRecord
from edge_agent.inference.memory import rss_mib
from edge_agent.inference.workers import Worker
from edge_agent.inference.zygote_client import Exit
from edge_agent.values import ModelStatus


class ModelService:
    """Keeps one worker of the serving version alive. Loop's thread only.

    ``target`` is the worker that pipelines should be linked to now: the next version's while a switch is under way, else the serving
    one's, ``None`` while there is none. ``on_change(service)`` is called whenever it changed.
    """

    def __init__(self, context: Context, name: str, on_change: Callable[[ModelService], None]) -> None:
        self.name = name
        self.version: ModelVersion | None = None
        self.worker: Worker | None = None
        self.next: Worker | None = None
        self.restarts = 0
        self.crashes = 0
        self._context = context
        self._on_change = on_change
        self._record = self._fresh_record()
        self._requests = 0
        self._errors = 0
        self._died_s = 0.0
        self._stopping = False

    @property
    def target(self) -> Worker | None:
        if self.next is not None:
            return self.next if self.next.serving else None
        return self.worker if self.worker is not None and self.worker.serving else None

    def start(self, version: ModelVersion, *, trial: bool = False) -> Worker:
        """A worker of ``version`` that nobody uses yet."""
        return Worker(self._context, version, trial=trial, on_loaded=self._loaded, on_exit=self._exited)

    def serve(self, worker: Worker) -> None:
        """From now on ``worker`` and its version serve; the one that did is asked to end."""
        old, self.worker, self.next = self.worker, worker, None
        self.version, self.crashes, self._record = worker.version, 0, self._fresh_record()
        if old is not None and old is not worker:
            old.end()
        self._on_change(self)

    def offer(self, worker: Worker | None) -> None:
        """Lead the pipelines over to ``worker``, or back with ``None``; :meth:`serve` makes it last."""
        self.next = worker
        self._on_change(self)

    def hung(self, worker: Worker) -> None:
        """``worker`` let a deadline pass."""
        if worker.child.exited.done() or worker.hung:
            return
        worker.hung = True
        data = {"model": self.name, "version": worker.version.manifest.version, "pid": worker.child.pid}
        self._context.tell("worker_hung", "error", f"{worker.version.title} did not answer in time and is killed", data)
        worker.kill()

    def stop(self) -> list[Worker]:
        """Ask every worker to end and start none again; those that still run."""
        self._stopping = True
        workers = [worker for worker in (self.worker, self.next) if worker is not None and not worker.child.exited.done()]
        for worker in workers:
            worker.end()
        return workers

    def status(self) -> ModelStatus | None:
        """``None`` until a version was chosen."""
        if self.version is None:
            return None
        worker = self.worker
        alive = worker is not None and not worker.child.exited.done()
        pid = worker.child.pid if worker is not None and alive else None
        return ModelStatus(
            self.name,
            self.version.manifest.version,
            self.version.digest,
            self._state(alive),
            pid,
            self.restarts,
            self._requests + (worker.requests if worker is not None and alive else 0),
            self._errors + (worker.errors if worker is not None and alive else 0),
            rss_mib(pid) if pid is not None else None,
        )

    def _state(self, alive: bool) -> str:
        if self.worker is not None and self.worker.serving:
            return "serving"
        if self.worker is not None and self.worker.refusal:
            return "failed"
        return "starting" if alive and not self.restarts else "restarting"

    def _fresh_record(self) -> CrashRecord:
        return CrashRecord(self._context.config.crash_limit, self._context.config.crash_window_s)

    def _loaded(self, worker: Worker) -> None:
        if worker is not self.worker:
            return
        version = worker.version
        data = {"model": self.name, "version": version.manifest.version, "pid": worker.child.pid, "ms": worker.loaded.result()}
        if self._died_s:
            data["ms"] = (monotonic_s(self._context.clock) - self._died_s) * 1000
            self._died_s = 0.0
            self._context.tell("worker_restarted", "info", f"{version.title} serves again after {data['ms']:.0f} ms", data)
        else:
            self._context.tell("worker_started", "info", f"{version.title} serves", data)
        self._on_change(self)

    def _exited(self, worker: Worker, exit_: Exit) -> None:
        self._requests += worker.requests
        self._errors += worker.errors
        if worker is self.next:
            self._tell_death(worker, exit_)
            self._on_change(self)
        elif worker is self.worker and not self._stopping:
            self.crashes += 1
            self._tell_death(worker, exit_)
            self._on_change(self)
            self._restart_later(worker)

    def _tell_death(self, worker: Worker, exit_: Exit) -> None:
        version = worker.version
        data = {
            "model": self.name,
            "version": version.manifest.version,
            "pid": worker.child.pid,
            "signal": exit_.signal,
            "code": exit_.code,
        }
        self._context.tell("worker_died", "error", f"{version.title}: {worker.refusal or exit_}", data)

    def _restart_later(self, worker: Worker) -> None:
        now_s = monotonic_s(self._context.clock)
        self._died_s = self._died_s or now_s
        restart = self._record.died(now_s)
        if restart.delay_s:
            self._context.loop.later(restart.delay_s, lambda: self._restart(worker))
        else:
            self._restart(worker)
        if restart.looping:
            self._context.on_crash_loop(self.name, worker.version.digest)

    def _restart(self, dead: Worker) -> None:
        if self.worker is not dead or self._stopping:
            return
        try:
            self.worker = self.start(dead.version)
            self.restarts += 1
        except OSError:  # no descriptor or no memory just now: that must not end the serving for good
            self._context.loop.later(AGAIN_S, lambda: self._restart(dead))
