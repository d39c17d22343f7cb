"""A model worker's life after its model is loaded: answer every link's requests until told to end."""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.bundle.manifest import Manifest
from edge_agent.clock import Clock
from edge_agent.inference.doorbell import LinkFds
from edge_agent.inference.layout import layout_for
from edge_agent.inference.link import AnsweringEnd
from edge_agent.inference.wire import Channel, Packet, close_all
from edge_agent.ports import Runtime

STATS_EVERY_NS = 1_000_000_000
TIDY_AFTER_NS = 1_000_000_000
PAUSE_MS = 5.0


class WorkerLoop:
    """One thread, one poll: the control channel and the request doorbell of each link.

    ``tidy`` is called once, in a pause after the first second: what a worker can do later must not keep those who wait for its answer.
    """

    def __init__(self, channel: Channel, runtime: Runtime, manifest: Manifest, clock: Clock, tidy: Callable[[], None]) -> None:
        self._channel = channel
        self._runtime = runtime
        self._manifest = manifest
        self._clock = clock
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._links: dict[int, AnsweringEnd] = {}
        self._by_fd: dict[int, AnsweringEnd] = {}
        self._requests = 0
        self._errors = 0
        self._told_ns = 0
        self._tidy: Callable[[], None] | None = tidy
        self._tidy_ns = clock.monotonic_ns() + TIDY_AFTER_NS

    def run(self) -> None:
        """Until an ``end`` message. Raises ChannelClosed when the engine is gone."""
        while True:
            ready = self._poll.poll(self._pause_ms())
            if not ready:
                self._tidy_up()
            for fd, _ in ready:
                end = self._by_fd.get(fd)
                if end is not None:
                    self._serve(end)
                elif not self._obey():
                    self._tell()
                    return

    def _pause_ms(self) -> float | None:
        """How long nobody may ask before there is time to tidy up; for ever once that is done."""
        if self._tidy is None:
            return None
        return max(PAUSE_MS, (self._tidy_ns - self._clock.monotonic_ns()) / 1e6)

    def _tidy_up(self) -> None:
        tidy, self._tidy = self._tidy, None
        if tidy is not None:
            tidy()

    def _serve(self, end: AnsweringEnd) -> None:
        requests, errors = end.serve(self._runtime.run)
        self._requests += requests
        self._errors += errors
        if self._clock.monotonic_ns() - self._told_ns > STATS_EVERY_NS:
            self._tell()

    def _tell(self) -> None:
        self._told_ns = self._clock.monotonic_ns()
        self._channel.send({"event": "stats", "requests": self._requests, "errors": self._errors}, timeout_s=1.0)

    def _obey(self) -> bool:
        """Carry out what the engine says; false when it says to end."""
        while True:
            packet = self._channel.receive()
            if packet is None:
                return True
            if packet.message["op"] == "end":
                close_all(packet.fds)
                return False
            self._change_links(packet)

    def _change_links(self, packet: Packet) -> None:
        message: Mapping[str, Any] = packet.message
        if message["op"] == "link":
            end = AnsweringEnd(layout_for(self._manifest, message["slots"]), LinkFds(*packet.fds), self._clock, self._runtime.bind)
            self._links[message["link"]] = end
            self._by_fd[end.request_fd] = end
            self._poll.register(end.request_fd, select.POLLIN)
        elif message["op"] == "unlink":
            gone = self._links.pop(message["link"], None)
            if gone is not None:
                self._poll.unregister(gone.request_fd)
                del self._by_fd[gone.request_fd]
                gone.close()
