"""One model worker as the engine sees it: a process of its own, or, in the inline lane, the processes that use the model."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from edge_agent.bundle.manifest import to_json
from edge_agent.errors import ModelError, WorkerDied
from edge_agent.inference.cgroup import killed_for_memory
from edge_agent.inference.context import Context, ModelVersion
from edge_agent.inference.doorbell import LinkFds
from edge_agent.inference.loop import Timer
from edge_agent.inference.wire import Packet, close_all
from edge_agent.inference.zygote_client import Child, Exit
from edge_agent.runtimes.options import RuntimeOptions, options_to_json
from edge_agent.update.trial import CaseResult, TrialMeasurement

END_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 0.03
"""How long a worker has to end an inference it is told to stop, before it is killed. Ending one takes the runtimes a few milliseconds."""


_numbers = itertools.count()
"""Of workers of this process: each has a control group of its own name."""


class InlineWorker:
    """Stands for a version that runs in the processes that use it: always loaded, nothing to kill.

    Its ``trial`` before was in a process of its own, like any other's.
    """

    refusal = ""
    requests = 0
    errors = 0
    pid = None

    def __init__(self, version: ModelVersion, options: RuntimeOptions) -> None:
        self.version = version
        self.options = options
        self.alive = True
        self.loaded: Future[float] = Future()
        self.loaded.set_result(0.0)
        self.ended: Future[Exit] = Future()

    @property
    def serving(self) -> bool:
        return self.alive

    def unlink(self, number: int) -> None:
        """Nothing is held for a link."""

    def end(self) -> None:
        if self.alive:
            self.alive = False
            self.ended.set_result(Exit(0, 0))

    def kill(self) -> None:
        self.end()


class Worker:
    """A process with one loaded model version. Loop's thread only, but for waiting on ``loaded``.

    ``loaded`` resolves with the milliseconds loading took, or fails with ModelError or WorkerDied. ``measured`` is set by then
    when the worker was started as a candidate. ``blameless`` says that it failed for want of something the board lacks.
    ``on_exit(worker, exit)`` belongs to whoever has the worker now.
    """

    def __init__(
        self,
        context: Context,
        version: ModelVersion,
        *,
        trial: bool,
        on_loaded: Callable[[Worker], None],
        on_exit: Callable[[Worker, Exit], None],
    ) -> None:
        self.version = version
        self.on_loaded = on_loaded
        self.on_exit = on_exit
        self.loaded: Future[float] = Future()
        self.measured: TrialMeasurement | None = None
        self.requests = 0
        self.errors = 0
        self.refusal = ""
        self.blameless = False
        self.hung = False
        self._context = context
        self._stop_check: Timer | None = None
        self._on_stopped: Callable[[Worker], None] = lambda worker: None
        self.options = context.options_of(version)
        self._trial = trial
        self._group = f"{version.model}-{next(_numbers)}"
        self.child: Child = context.zygote.spawn("worker", f"edge-{version.model}", self._hear, self._exited)
        if context.cgroups is not None and context.config.memory_limit_mib:
            self.child.on_spawned = self._place  # it waits for its first order, so it is bounded before it loads anything
        else:
            self._order(context.config.memory_limit_mib)

    def _place(self, pid: int) -> None:
        """Bound its memory by the kernel's account where that is ours to divide, else by a limit it sets itself."""
        limit_mib, groups = self._context.config.memory_limit_mib, self._context.cgroups
        placed = groups is not None and groups.place(pid, self._group, limit_mib)
        self._order(0 if placed else limit_mib)

    def _order(self, memory_limit_mib: int) -> None:
        self.child.send(
            {
                "op": "load",
                "manifest": to_json(self.version.manifest).decode(),
                "folder": str(self.version.folder),
                "options": options_to_json(self.options),
                "memory_limit_mib": memory_limit_mib,
                "trial": self._trial,
            }
        )

    @property
    def ended(self) -> Future[Exit]:
        return self.child.exited

    @property
    def alive(self) -> bool:
        return not self.child.exited.done()

    @property
    def pid(self) -> int | None:
        return self.child.pid

    @property
    def serving(self) -> bool:
        """Loaded and alive."""
        return self.loaded.done() and not self.child.exited.done() and self.loaded.exception() is None

    def link(self, number: int, slots: int, fds: LinkFds) -> bool:
        """Give it one more link to answer; false when it is gone."""
        return self.child.send({"op": "link", "link": number, "slots": slots}, fds.all())

    def unlink(self, number: int) -> None:
        self.child.send({"op": "unlink", "link": number})

    def end(self) -> None:
        """Ask it to finish what it does and end; killed when it does not."""
        if not self.child.send({"op": "end"}):
            self.kill()
        self._context.loop.later(END_TIMEOUT_S, self.kill)

    def kill(self) -> None:
        self._context.zygote.kill(self.child)

    def stop_inference(self, on_stopped: Callable[[Worker], None]) -> None:
        """End the inference under way and keep the loaded model, where its runtime can; else it is killed a moment later."""
        if self.hung or not self.alive:
            return
        self.hung = True
        self._on_stopped = on_stopped
        self._context.zygote.signal(self.child, signal.SIGUSR1)
        self._stop_check = self._context.loop.later(STOP_TIMEOUT_S, self.kill)

    def _stopped(self) -> None:
        if self._stop_check is not None and not self.child.doomed:
            self._stop_check.cancel()
            self._stop_check, self.hung = None, False
            self._on_stopped(self)

    def _hear(self, packet: Packet) -> None:
        close_all(packet.fds)
        message = packet.message
        event = message["event"]
        if event == "loaded":
            self.loaded.set_result(message["ms"])
            self.on_loaded(self)
        elif event == "measured":
            self.measured = _measurement(message)
        elif event == "failed":
            self.refusal = message["reason"]
            self.blameless = message["blameless"]
        elif event == "stopped":
            self._stopped()
        elif event == "notes":
            for note in message["notes"]:
                data = {"model": self.version.model, "version": self.version.manifest.version}
                self._context.tell("runtime_note", "warning", f"{self.version.title}: {note}", data)
        elif event == "stats":
            self.requests, self.errors = message["requests"], message["errors"]

    def _exited(self, exit_: Exit) -> None:
        groups = self._context.cgroups
        if killed_for_memory(groups, self._group, exit_.signal):
            self.refusal = f"needed more memory than the {self._context.config.memory_limit_mib} MiB of engine.memory_limit_mib"
        if groups is not None:
            groups.remove(self._group)
        # Killed by someone else is most often the kernel, out of memory: the board's trouble, not the model's.
        self.blameless = self.blameless or (exit_.signal == signal.SIGKILL and not self.child.doomed)
        if not self.loaded.done():
            if self.refusal:
                self.loaded.set_exception(ModelError(f"{self.version.title}: {self.refusal}"))
            else:
                self.loaded.set_exception(WorkerDied(f"{self.version.title}: the worker died while loading ({exit_})"))
        self.on_exit(self, exit_)


Server = Worker | InlineWorker


def _measurement(message: Mapping[str, Any]) -> TrialMeasurement:
    cases = tuple(CaseResult(case["max_error"], case["within"], case["nan"]) for case in message["cases"])
    return TrialMeasurement(cases, tuple(message["times_ms"]), message["peak_rss_mib"])
