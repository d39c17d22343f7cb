"""The process of the local API as the engine sees it: kept alive, linked to every worker of every model that serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge_agent.addresses import Listener
from edge_agent.clock import monotonic_s
from edge_agent.errors import EdgeError
from edge_agent.inference.asker import Asker, OnHung, OnInlineDeath
from edge_agent.inference.context import AGAIN_S, Context
from edge_agent.inference.front_told import FrontTold
from edge_agent.inference.wire import Packet, close_all
from edge_agent.inference.workers import Server
from edge_agent.inference.zygote_client import Child, Exit
from edge_agent.pipeline.told import ServingTotals, sum_totals
from edge_agent.values import ModelStatus

SLOTS = 4
NAME = "api"
OnCall = Callable[[str, str, Callable[[str], None]], None]
"""``on_call(call, model, done)``: a client asks to load or unload ``model``; ``done`` takes the error, empty when there is none."""


@dataclass(frozen=True, slots=True)
class FrontConfig:
    """What the API does, apart from where it listens. ``predict``: the model that ``/predict`` without a name means."""

    token: str = ""
    queue: int = 64
    max_body_bytes: int = 64 << 20
    load: bool = False
    version: str = ""
    predict: str = ""


class FrontHandle(Asker):
    """Loop's thread only, but for waiting on ``started``. The sockets outlive the process, so that its restart refuses nobody."""

    def __init__(
        self,
        context: Context,
        config: FrontConfig,
        listeners: Sequence[Listener],
        on_change: Callable[[FrontHandle], None],
        on_hung: OnHung,
        on_inline_death: OnInlineDeath,
        on_call: OnCall,
    ) -> None:
        super().__init__(context, on_hung, on_inline_death, "the local API", slots=SLOTS, single=False)
        self.told = FrontTold()
        self.ended: dict[str, ServingTotals] = {}
        self._config = config
        self._listeners = tuple(listeners)
        self._on_change = on_change
        self._on_call = on_call
        self._told_models: list[dict[str, Any]] = []
        self.child = self._spawn()

    name = NAME

    def aim(self, model: str, targets: list[Server]) -> None:
        """Have it ask all of ``targets`` for ``model``."""
        if self.alive:
            for worker in targets:
                self.linkage.attach(worker)

    def tell_models(self, models: Sequence[ModelStatus], withheld: Mapping[str, str]) -> None:
        """What there is, and in which state; ``withheld`` models may not be asked here, for the reason given. Said when it changed."""
        told = [
            {
                "name": model.name,
                "version": model.version,
                "digest": model.digest,
                "state": "missing" if model.name in withheld else model.state,
                "reason": withheld.get(model.name, ""),
            }
            for model in models
        ]
        if told != self._told_models and self.child.send({"op": "models", "models": told}):
            self._told_models = told

    def withdrawn(self, model: str) -> None:
        """``model`` serves no more."""
        self.child.send({"op": "withdrawn", "model": model})

    def totals(self, model: str, digest: str) -> ServingTotals:
        """Answers of version ``digest`` through the API since it serves."""
        total = ServingTotals(digest)
        for kept in (self.ended.get(model), self.told.serving.get(model)):
            if kept is not None and kept.digest == digest:
                total = total.plus(kept)
        return total

    def stalled_s(self, now_s: float) -> float:
        """How long requests have waited without one being answered, or nothing was heard."""
        return 0.0 if self._stopping else max(0.0, now_s - self._moved_s)

    def _tell_stuck(self, what: str) -> None:
        self._context.tell("api_stuck", "error", what, {"pid": self.child.pid})

    def _spawn(self) -> Child:
        child = self._context.zygote.spawn("front", "edge-api", self._hear, self._exited)
        order = {
            "op": "start",
            "name": NAME,
            "server_name": "edge-agent",
            **asdict(self._config),
            "load_allowed": self._config.load,
            "deadline_ms": self._context.config.deadline_ms,
            "listeners": [{"kind": one.kind, "name": one.name, "token": one.token} for one in self._listeners],
        }
        child.send(order, [one.fd for one in self._listeners])
        return child

    def _hear(self, packet: Packet) -> None:
        close_all(packet.fds)
        self._heard_s = monotonic_s(self._context.clock)
        message = packet.message
        event = message["event"]
        if event == "status":
            self._take_status(message)
        elif event == "linked":
            self.linkage.taken(message["link"])
        elif event == "link_refused":
            self.linkage.refused(message["link"], message["reason"])
        elif event == "hung":
            self._hung(message["link"])
        elif event == "call":
            self._on_call(message["call"], message["model"], lambda error: self._done(message["id"], error))
        elif event == "event":
            self._context.tell(message["kind"], message["level"], f"API: {message['message']}", message["data"])
        elif event == "refused" and not self.started.done():
            self.started.set_exception(EdgeError(f"the local API cannot start: {message['reason']}"))

    def _done(self, number: int, error: str) -> None:
        def answer() -> None:
            self.child.send({"op": "done", "id": number, "error": error})

        self._context.loop.post(answer)

    def _take_status(self, message: Mapping[str, Any]) -> None:
        if not self.started.done():
            self.started.set_result(None)
        if self.told.update(message):
            self._moved_s = monotonic_s(self._context.clock)

    def _exited(self, exit_: Exit) -> None:
        linked = self.linkage.clear("the API's process died")
        self.ended, self.told = sum_totals(self.ended, self.told.serving), FrontTold()
        if self._stopping:
            return
        self._tell_inline_deaths(linked, exit_)
        self._context.tell("api_died", "error", f"the local API's process died: {exit_}", {"signal": exit_.signal, "code": exit_.code})
        delay_s = self._record.died(monotonic_s(self._context.clock), useful=self.started.done()).delay_s
        self._context.loop.later(delay_s, self._restart)

    def _restart(self) -> None:
        if self._stopping:
            return
        try:
            self.child = self._spawn()
        except OSError:  # no descriptor or no memory just now
            self._context.loop.later(AGAIN_S, self._restart)
            return
        self._told_models = []
        self._moved_s, self._heard_s = monotonic_s(self._context.clock), None
        self._on_change(self)
