"""The API process put together: one loop, the engine's channel, the listeners, the models."""

from __future__ import annotations

import hmac
import socket
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.clock import Clock
from edge_agent.errors import EdgeError
from edge_agent.front.body_room import BODIES, BodyRoom
from edge_agent.front.calls import Calls
from edge_agent.front.connection import Connection
from edge_agent.front.health import Health
from edge_agent.front.inline_link import InlineLink
from edge_agent.front.lane import Lane, LaneRules
from edge_agent.front.links import Link
from edge_agent.front.listeners import SWEEP_NS, Limits, Listeners
from edge_agent.front.loop import Loop
from edge_agent.front.regions import Regions
from edge_agent.front.rooms import Rooms
from edge_agent.front.router import Router, Server
from edge_agent.front.served import Served, served_from
from edge_agent.front.shared import Shared
from edge_agent.front.status import Status
from edge_agent.front.worker_link import WorkerLink
from edge_agent.inference.doorbell import LinkFds
from edge_agent.inference.wire import Channel, ChannelClosed, ChannelFull, Packet, close_all
from edge_agent.runtimes.options import options_from_json

TICK_NS = 20_000_000
"""How often deadlines are looked at while a request is on its way."""
END_LIMIT_NS = 2_000_000_000
ON_ITS_WAY = ("serving", "restarting", "switching")
"""States of models that served before this process began, and that it may be asked for as soon as it is linked to a worker."""
SAY_TIMEOUT_S = 1.0


class Front:
    """``start`` is the engine's first message, ``fds`` the listening sockets that came with it."""

    def __init__(self, channel: Channel, start: Mapping[str, Any], fds: tuple[int, ...], clock: Clock) -> None:
        self._channel = channel
        self._clock = clock
        self._loop = Loop(clock)
        self._ending = False
        self._ticking = False
        rules = LaneRules(int(start["deadline_ms"] * 1e6), start["queue"], self._say, self._event)
        self._rooms = Rooms(lambda name: Lane(name, self._loop, rules, self._wake))
        self._listeners = Listeners(self._loop, Limits(), self._on_full)
        self._status = Status(self._say, self._listeners)
        self._calls = Calls(self._loop, self._say)
        self._server = Server(
            name=start["server_name"],
            version=start["version"],
            predict=start.get("predict", ""),
            load_allowed=start["load_allowed"],
            rooms=self._rooms,
            calls=self._calls,
            health=Health(self._loop),
            listeners=self._listeners,
            loop=self._loop,
            clock=clock,
            regions=Regions(),
        )
        self._listen(start, fds)
        self._patience_ns = rules.deadline_ns // 2
        self._holding = False
        self._told_full_ns = 0
        self._loop.watch(channel.fileno(), lambda _: self._obey_all())
        self._loop.later(SWEEP_NS, self._each_second)

    def run(self) -> None:
        """Until the engine says to end. Raises ChannelClosed when the engine is gone."""
        self._obey_all()
        self._status.tell(self._rooms.lanes.values())
        self._hold()
        self._loop.run()
        self._status.tell(self._rooms.lanes.values())

    def _listen(self, start: Mapping[str, Any], fds: tuple[int, ...]) -> None:
        token = start["token"].encode()
        router = Router(self._server)
        room = BodyRoom(BODIES * start["max_body_bytes"])
        for listener, fd in zip(start["listeners"], fds, strict=True):
            shared = Shared(
                loop=self._loop,
                route=router.route,
                token=token if listener["token"] else b"",
                allowed=lambda said: hmac.compare_digest(said, token),
                max_body_bytes=start["max_body_bytes"],
                room=room,
                on_close=self._closed,
                on_bug=self._on_bug,
            )
            if listener["token"] and not token:
                shared.token, shared.allowed = b"-", lambda said: False  # a token is demanded and there is none: nobody may
            self._listeners.add(socket.socket(fileno=fd), shared)

    def _hold(self) -> None:
        """Clients wait at the door while a model that served before is on its way: what they ask of it could not be read yet, and those
        whose connection went with the process before this one come back at once. Not for longer than half a deadline."""
        self._holding = True
        self._listeners.hold()
        self._loop.later(self._patience_ns, self._admit)
        self._admit_when_served()

    def _admit_when_served(self) -> None:
        if self._holding and not any(lane.served is None and lane.state in ON_ITS_WAY for lane in self._rooms.lanes.values()):
            self._admit()

    def _admit(self) -> None:
        if self._holding:
            self._holding = False
            self._listeners.admit()

    def _wake(self) -> None:
        """A request is on its way: look at the deadlines from now on."""
        if not self._ticking:
            self._ticking = True
            self._loop.later(TICK_NS, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        for lane in list(self._rooms.lanes.values()):
            if lane.busy:
                lane.check()
                self._wake()

    def _each_second(self) -> None:
        self._loop.later(SWEEP_NS, self._each_second)
        self._listeners.sweep()
        for lane in self._rooms.lanes.values():
            lane.look()
        self._status.tell(self._rooms.lanes.values())

    def _obey_all(self) -> None:
        while (packet := self._channel.receive()) is not None:
            self._obey(packet)
        self._admit_when_served()

    def _obey(self, packet: Packet) -> None:
        message = packet.message
        op = message["op"]
        if op in ("link", "inline"):
            self._link(packet)
        elif op == "lost":
            for lane in list(self._rooms.lanes.values()):
                lane.lose(message["link"])
        elif op == "models":
            self._rooms.learn(message["models"])
        elif op == "withdrawn":
            self._rooms.withdraw(message["model"])
        elif op == "done":
            self._calls.done(message["id"], message.get("error", ""))
        elif op == "status":
            self._status.tell(self._rooms.lanes.values())
        elif op == "end":
            self._end()

    def _link(self, packet: Packet) -> None:
        """Take a worker, or a model to run here; or say why not."""
        message = packet.message
        lane = self._rooms.lane(message["model"])
        try:
            link = self._inline(lane, message) if message["op"] == "inline" else self._worker(lane, packet)
        except Exception as error:  # whatever is wrong with it, the model that serves goes on serving
            close_all(packet.fds)
            self._say({"event": "link_refused", "link": message["link"], "reason": str(error) or type(error).__name__})
            return
        if lane.served is not None and lane.served is not link.served:
            self._status.tell(self._rooms.lanes.values())  # what was counted until now is of the version before
        lane.state = "serving"
        lane.add(link)

    def _served(self, lane: Lane, message: Mapping[str, Any], slots: int) -> Served:
        """What ``message`` describes; the same object for the same digest, so that what was parsed for it stays known."""
        if lane.served is not None and lane.served.digest == message["digest"] and lane.served.layout.slots == slots:
            return lane.served
        return served_from(lane.name, message["digest"], message["manifest"], lane.next_number(), slots)

    def _worker(self, lane: Lane, packet: Packet) -> Link:
        served = self._served(lane, packet.message, packet.message["slots"])
        return WorkerLink(packet.message["link"], served, LinkFds(*packet.fds))

    def _inline(self, lane: Lane, message: Mapping[str, Any]) -> Link:
        from edge_agent.runtimes.choose import load_runtime

        served = self._served(lane, message, 1)
        runtime = load_runtime(served.manifest, Path(message["folder"]), options=options_from_json(message["options"]))
        return InlineLink(message["link"], served, runtime, self._clock)

    def _closed(self, connection: Connection) -> None:
        self._listeners.gone(connection)

    def _end(self) -> None:
        """Take no more clients, finish what is on its way, but not for ever."""
        if self._ending:
            return
        self._ending = True
        self._listeners.close()
        self._loop.later(END_LIMIT_NS, self._loop.stop)
        self._stop_when_done()

    def _stop_when_done(self) -> None:
        """Looks again every now and then: a client that keeps its connection open is let go once it has its answer."""
        for connection in [one for one in self._listeners.connections if one.idle]:
            connection.close()
        if self._listeners.connections:
            self._loop.later(TICK_NS, self._stop_when_done)
        else:
            self._loop.stop()

    def _say(self, message: Mapping[str, Any]) -> None:
        """Raises ChannelClosed when the engine is gone. An engine that does not listen misses it."""
        try:
            self._channel.send(message, timeout_s=SAY_TIMEOUT_S)
        except ChannelFull:
            pass

    def _event(self, kind: str, level: str, text: str, data: Mapping[str, Any]) -> None:
        try:
            self._say({"event": "event", "kind": kind, "level": level, "message": text, "data": dict(data)})
        except EdgeError:
            pass

    def _on_full(self) -> None:
        if not self._told_full_ns or self._loop.now_ns - self._told_full_ns > 60_000_000_000:
            self._told_full_ns = self._loop.now_ns
            self._event("api_full", "warning", "too many clients are connected, new ones are turned away", {})

    def _on_bug(self, bug: BaseException) -> None:
        if isinstance(bug, ChannelClosed):
            raise bug
        text = "".join(traceback.format_exception(type(bug), bug, bug.__traceback__))[-2000:]
        self._event("api_error", "error", f"a request could not be answered: {bug}", {"trace": text})
