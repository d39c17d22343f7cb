"""A process that asks models, as the engine sees it: what a pipeline and the local API have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from edge_agent.clock import monotonic_s
from edge_agent.inference.context import Context
from edge_agent.inference.crashes import CrashRecord
from edge_agent.inference.linkage import Linkage
from edge_agent.inference.workers import InlineWorker, Server
from edge_agent.inference.zygote_client import Child, Exit

OnHung = Callable[[Server], None]
OnInlineDeath = Callable[[InlineWorker, Exit], None]


class Asker(ABC):
    """Loop's thread only. A subclass spawns ``child``, hears it and starts it again.

    ``on_hung(worker)`` says that a worker let a deadline pass, ``on_inline_death(worker, exit)`` that the process died while it ran that
    model itself.
    """

    name: str
    child: Child

    def __init__(self, context: Context, on_hung: OnHung, on_inline_death: OnInlineDeath, who: str, *, slots: int, single: bool) -> None:
        self.started: Future[None] = Future()
        self.linkage = Linkage(who, self._send, context.link_numbers, slots=slots, single=single)
        self._context = context
        self._on_hung = on_hung
        self._on_inline_death = on_inline_death
        self._record = CrashRecord(context.config.crash_limit, context.config.crash_window_s)
        self._stopping = False
        self._moved_s = monotonic_s(context.clock)
        self._heard_s: float | None = None  # a process that is being started may take its time

    @property
    def alive(self) -> bool:
        return not self.child.exited.done()

    def end_if_stuck(self, now_s: float) -> None:
        """Kill a process that has fallen silent; it is started again like one that died."""
        if self._heard_s is None or not self.alive or self._stopping or self.child.doomed:
            return
        if now_s - self._heard_s > self._context.silent_s:
            what = f"{self.name} has said nothing for {now_s - self._heard_s:.0f} s and is started again"
            self._tell_stuck(what)
            self._context.zygote.kill(self.child)

    def stop(self) -> Future[Exit]:
        """Ask the process to finish what it has and end, and do not start it again."""
        self._stopping = True
        self.child.send({"op": "end"})
        return self.child.exited

    @abstractmethod
    def _tell_stuck(self, what: str) -> None:
        """An event says that it fell silent."""

    def _send(self, message: Mapping[str, Any], fds: Sequence[int]) -> bool:
        return self.child.send(message, fds)

    def _hung(self, number: int) -> None:
        worker = self.linkage.hung(number)
        if worker is not None:
            self._on_hung(worker)

    def _tell_inline_deaths(self, linked: Sequence[Server], exit_: Exit) -> None:
        for worker in linked:
            if isinstance(worker, InlineWorker):
                self._on_inline_death(worker, exit_)
