"""One model worker as the engine sees it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from edge_agent.bundle.manifest import to_json
from edge_agent.errors import ModelError, WorkerDied
from edge_agent.inference.context import Context, ModelVersion
from edge_agent.inference.doorbell import LinkFds
from edge_agent.inference.wire import Packet, close_all
from edge_agent.inference.zygote_client import Child, Exit
from edge_agent.update.trial import CaseResult, TrialMeasurement

END_TIMEOUT_S = 5.0


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
        self.child: Child = context.zygote.spawn("worker", f"edge-{version.model}", self._hear, self._exited)
        config = context.config
        self.child.send(
            {
                "op": "load",
                "manifest": to_json(version.manifest).decode(),
                "folder": str(version.folder),
                "threads": config.threads,
                "memory_limit_mib": config.memory_limit_mib,
                "trial": trial,
            }
        )

    @property
    def serving(self) -> bool:
        """Loaded and alive."""
        return self.loaded.done() and not self.child.exited.done() and self.loaded.exception() is None

    def link(self, number: int, fds: LinkFds) -> bool:
        """Give it one more link to answer; false when it is gone."""
        return self.child.send({"op": "link", "link": number}, fds.all())

    def unlink(self, number: int) -> None:
        self.child.send({"op": "unlink", "link": number})

    def end(self) -> None:
        """Ask it to finish what it does and end; killed when it does not."""
        if not self.child.send({"op": "end"}):
            self.kill()
        self._context.loop.later(END_TIMEOUT_S, self.kill)

    def kill(self) -> None:
        self._context.zygote.kill(self.child)

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
        elif event == "stats":
            self.requests, self.errors = message["requests"], message["errors"]

    def _exited(self, exit_: Exit) -> None:
        # Killed by someone else is most often the kernel, out of memory: the board's trouble, not the model's.
        self.blameless = self.blameless or (exit_.signal == signal.SIGKILL and not self.child.doomed)
        if not self.loaded.done():
            if self.refusal:
                self.loaded.set_exception(ModelError(f"{self.version.title}: {self.refusal}"))
            else:
                self.loaded.set_exception(WorkerDied(f"{self.version.title}: the worker died while loading ({exit_})"))
        self.on_exit(self, exit_)


def _measurement(message: Mapping[str, Any]) -> TrialMeasurement:
    cases = tuple(CaseResult(case["max_error"], case["within"], case["nan"]) for case in message["cases"])
    return TrialMeasurement(cases, tuple(message["times_ms"]), message["peak_rss_mib"])
