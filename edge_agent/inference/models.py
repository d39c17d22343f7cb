"""One served model: which version, by which workers, and how they come back after a crash."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.clock import monotonic_s
from edge_agent.config import ModelConfig
from edge_agent.inference.context import AGAIN_S, Context, ModelVersion
from edge_agent.inference.crashes import CrashRecord
from edge_agent.inference.memory import rss_mib
from edge_agent.inference.workers import InlineWorker, Server, Worker
from edge_agent.inference.zygote_client import Exit
from edge_agent.runtimes.tune import describe
from edge_agent.values import ModelStatus


class ModelService:
    """Keeps the workers of the serving version alive. Loop's thread only.

    ``targets`` are the workers that should be asked now: the next version's while a switch is under way, else the serving ones, none
    while there is none. ``on_change(service)`` is called whenever they changed. While ``paused`` (the word says why) nothing serves and
    nothing is restarted.
    """

    def __init__(self, context: Context, config: ModelConfig, on_change: Callable[[ModelService], None]) -> None:
        self.name = config.name
        self.config = config
        self.version: ModelVersion | None = None
        self.workers: list[Server] = []
        self.next: Server | None = None
        self.restarts = 0
        self.crashes = 0
        self.paused = ""
        self._context = context
        self._on_change = on_change
        self._record = self._fresh_record()
        self._requests = 0
        self._errors = 0
        self._died_s = 0.0
        self._trouble = ""
        self._stopping = False

    @property
    def targets(self) -> list[Server]:
        if self.next is not None:
            return [self.next] if self.next.serving else []
        return [worker for worker in self.workers if worker.serving]

    def start(self, version: ModelVersion, *, trial: bool = False) -> Server:
        """Something that serves ``version`` and that nobody uses yet. A trial is in a process of its own in either lane."""
        if self.config.lane == "inline" and not trial:
            return InlineWorker(version, self._context.options_of(version))
        return Worker(self._context, version, trial=trial, on_loaded=self._loaded, on_exit=self._exited)

    def serve(self, worker: Server) -> None:
        """From now on ``worker`` and its version serve; those that did are asked to end."""
        old, self.workers, self.next = self.workers, [worker], None
        self.version, self.crashes, self._record = worker.version, 0, self._fresh_record()
        self.paused = self._trouble = ""
        for one in old:
            if one is not worker:
                one.end()
        self._on_change(self)
        self._fill()

    def offer(self, worker: Server | None) -> None:
        """Lead everyone over to ``worker``, or back with ``None``; :meth:`serve` makes it last."""
        self.next = worker
        self._on_change(self)

    def pause(self, why: str) -> list[Server]:
        """End the serving workers and start none again until :meth:`resume` or :meth:`serve`; those that have to end first.

        ``why`` is the state meanwhile: ``unloaded`` (whoever asks is refused) or ``switching`` (whoever asks waits).
        """
        self.paused = why
        ending = [worker for worker in self.workers if worker.alive]
        for worker in ending:
            worker.end()
        self._on_change(self)
        return ending

    def resume(self) -> None:
        """Serve the version again that served before :meth:`pause`."""
        if self.paused and self.version is not None and not self._stopping:
            self.paused = ""
            self.workers = [self.start(self.version)]
            self._on_change(self)

    def hung(self, worker: Server) -> None:
        """``worker`` let a deadline pass."""
        if not isinstance(worker, Worker) or not worker.alive or worker.hung:
            return
        data = {"model": self.name, "version": worker.version.manifest.version, "pid": worker.pid}
        self._context.tell("worker_hung", "error", f"{worker.version.title} did not answer in time and is stopped", data)
        worker.stop_inference(lambda _: self._on_change(self))

    def inline_died(self, worker: InlineWorker, exit_: Exit) -> None:
        """A process that ran ``worker``'s model died; whoever has that process starts it again."""
        if worker in self.workers and not self._stopping:
            self.crashes += 1
            self._tell_death(worker, exit_)
            if self._record.died(monotonic_s(self._context.clock), useful=True).looping:
                self._context.on_crash_loop(self.name, worker.version.digest)

    def stop(self) -> list[Server]:
        """Ask every worker to end and start none again; those that still run."""
        self._stopping = True
        workers = [worker for worker in (*self.workers, self.next) if worker is not None and worker.alive]
        for worker in workers:
            worker.end()
        return workers

    def status(self) -> ModelStatus | None:
        """``None`` until a version was chosen."""
        if self.version is None:
            return None
        alive = [worker for worker in self.workers if worker.alive]
        pids = tuple(worker.pid for worker in alive if worker.pid is not None)
        return ModelStatus(
            self.name,
            self.version.manifest.version,
            self.version.digest,
            self._state(alive),
            pids[0] if pids else None,
            self.restarts,
            self._requests + sum(worker.requests for worker in alive),
            self._errors + sum(worker.errors for worker in alive),
            rss_mib(pids[0]) if pids else None,
            self.config.lane,
            pids,
            next((describe(worker.options) for worker in alive), ""),
            self._trouble,
        )

    def _state(self, alive: list[Server]) -> str:
        if self.paused:
            return self.paused
        if any(worker.serving for worker in self.workers):
            return "serving"
        if any(worker.refusal for worker in self.workers):
            return "failed"
        return "starting" if alive and not self.restarts else "restarting"

    def _fresh_record(self) -> CrashRecord:
        return CrashRecord(self._context.config.crash_limit, self._context.config.crash_window_s)

    def _fill(self) -> None:
        """As many workers as the model is to have; the first ones serve meanwhile. What remembers its past by itself has one."""
        if self.version is None or self.config.lane == "inline" or self.version.manifest.keeps_state_in_graph:
            return
        while len(self.workers) < self.config.workers:
            self.workers.append(self.start(self.version))

    def _loaded(self, worker: Worker) -> None:
        if worker not in self.workers:
            return
        version = worker.version
        self._trouble = ""
        data = {"model": self.name, "version": version.manifest.version, "pid": worker.pid, "ms": worker.loaded.result()}
        if self._died_s:
            data["ms"] = (monotonic_s(self._context.clock) - self._died_s) * 1000
            self._died_s = 0.0
            self._context.tell("worker_restarted", "info", f"{version.title} serves again after {data['ms']:.0f} ms", data)
            if version.manifest.keeps_state_in_graph:
                self._context.tell("state_lost", "warning", f"{version.title}: what it remembered inside the network is gone", data)
        else:
            self._context.tell("worker_started", "info", f"{version.title} serves", data)
        self._on_change(self)

    def _exited(self, worker: Worker, exit_: Exit) -> None:
        self._requests += worker.requests
        self._errors += worker.errors
        if worker is self.next:
            self._tell_death(worker, exit_)
            self._on_change(self)
        elif worker in self.workers and not self._stopping:
            if not self.paused:
                self.crashes += 1
                self._trouble = worker.refusal or str(exit_)
                self._tell_death(worker, exit_)
            self._on_change(self)
            if not self.paused:
                self._restart_later(worker)

    def _tell_death(self, worker: Server, exit_: Exit) -> None:
        version = worker.version
        data = {
            "model": self.name,
            "version": version.manifest.version,
            "pid": worker.pid,
            "signal": exit_.signal,
            "code": exit_.code,
        }
        self._context.tell("worker_died", "error", f"{version.title}: {worker.refusal or exit_}", data)

    def _restart_later(self, worker: Worker) -> None:
        now_s = monotonic_s(self._context.clock)
        self._died_s = self._died_s or now_s
        restart = self._record.died(now_s, useful=worker.requests > worker.errors)
        if restart.delay_s:
            self._context.loop.later(restart.delay_s, lambda: self._restart(worker))
        else:
            self._restart(worker)
        if restart.looping:
            self._context.on_crash_loop(self.name, worker.version.digest)

    def _restart(self, dead: Worker) -> None:
        if dead not in self.workers or self._stopping or self.paused:
            return
        try:
            self.workers[self.workers.index(dead)] = self.start(dead.version)
            self.restarts += 1
        except OSError:  # no descriptor or no memory just now: that must not end the serving for good
            self._context.loop.later(AGAIN_S, lambda: self._restart(dead))
