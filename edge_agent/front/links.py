"""The links of one model: those of the version that serves now, and those of older versions that still owe answers."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.front.inline_link import InlineLink
from edge_agent.front.loop import Loop
from edge_agent.front.worker_link import WorkerLink

Link = WorkerLink | InlineLink


class Links:
    """``linked(number)`` is called once a link is all there is: when no older version owes anything more."""

    def __init__(self, loop: Loop, linked: Callable[[int], None]) -> None:
        self.current: list[Link] = []
        self.old: list[Link] = []
        self._untold: list[int] = []
        self._loop = loop
        self._linked = linked

    def all(self) -> tuple[Link, ...]:
        return (*self.current, *self.old)

    def add(self, link: Link, hear: Callable[[Link], None]) -> None:
        """Use ``link`` from now on; ``hear(link)`` when it rings. Links of another version become old."""
        self._loop.watch(link.response_fd, lambda _: hear(link))
        link.last_answer_ns = self._loop.now_ns
        if self.current and self.current[0].served is not link.served:
            self.old += self.current
            self.current = []
        self.current.append(link)
        self._untold.append(link.link)

    def free(self) -> Link | None:
        """The least loaded link with a free slot."""
        current = self.current
        if len(current) == 1:
            return current[0] if current[0].free else None
        return min((link for link in current if link.free), key=lambda link: len(link.asked), default=None)

    def find(self, number: int) -> Link | None:
        return next((link for link in self.all() if link.link == number), None)

    def settle(self) -> None:
        """Let go of old links that owe nothing more, and say so when there is none left."""
        for link in [link for link in self.old if not link.asked]:
            self.old.remove(link)
            self._close(link)
        if not self.old:
            untold, self._untold = self._untold, []
            for number in untold:
                self._linked(number)

    def forget(self, link: Link) -> None:
        """``link`` leads nowhere any more."""
        if link.link in self._untold:
            self._untold.remove(link.link)
        if link in self.old:
            self.old.remove(link)
        else:
            self.current.remove(link)
            self._go_back()
        self._close(link)

    def clear(self) -> None:
        """Forget all."""
        for link in self.all():
            self._close(link)
        self.current, self.old, self._untold = [], [], []

    def _go_back(self) -> None:
        """When the newest version has no worker left, the one before it goes on until there is one again."""
        if not self.current and self.old:
            last = self.old[-1].served
            self.current = [one for one in self.old if one.served is last]
            self.old = [one for one in self.old if one.served is not last]

    def _close(self, link: Link) -> None:
        self._loop.unwatch(link.response_fd)
        link.close()
