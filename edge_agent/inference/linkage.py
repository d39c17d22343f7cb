"""The links from one process that asks (a pipeline, the API) to the workers that answer it, as the engine keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from edge_agent.bundle.manifest import to_json
from edge_agent.errors import EdgeError
from edge_agent.inference.doorbell import create_link
from edge_agent.inference.layout import layout_for
from edge_agent.inference.workers import InlineWorker, Server, Worker
from edge_agent.runtimes.options import options_to_json

Send = Callable[[Mapping[str, Any], Sequence[int]], bool]
"""``send(message, fds)``: false when the process is gone or does not read."""


@dataclass(slots=True)
class Attachment:
    """A link that was sent; ``taken`` resolves when the process uses it, or fails with the reason it does not."""

    number: int
    worker: Server
    taken: Future[None]

    @property
    def model(self) -> str:
        return self.worker.version.model


class Linkage:
    """Every link of one process. Loop's thread only.

    ``numbers`` are of the whole engine: a worker knows its links by number, whoever they are from. With ``single`` the process uses one
    worker of a model, the one linked last; else all workers of the version linked last.
    """

    def __init__(self, who: str, send: Send, numbers: Iterator[int], *, slots: int, single: bool) -> None:
        self._who = who
        self._send = send
        self._slots = slots
        self._single = single
        self._all: dict[int, Attachment] = {}
        self._numbers = numbers
        self._shadow: tuple[Worker, int] | None = None

    def attach(self, worker: Server) -> Attachment:
        """Link the process to ``worker``; what it has in flight it finishes with the worker that has it, while that lives."""
        current = self.current(worker.version.model)
        there = [a for a in self._all.values() if a.worker is worker and (current is a or not self._single)]
        if there and (current is None or current.worker.version.digest == worker.version.digest):
            return there[0]
        attachment = Attachment(next(self._numbers), worker, Future())
        self._all[attachment.number] = attachment
        if isinstance(worker, InlineWorker):
            given = self._inline(attachment.number, worker)
        else:
            given = self._connect("link", attachment.number, worker)
        if not given:
            self._drop(attachment, "the worker or the process that asks is gone")
        return attachment

    def attachments(self, model: str) -> list[Attachment]:
        return [a for a in self._all.values() if a.model == model]

    def current(self, model: str) -> Attachment | None:
        """The link to ``model`` that was made last."""
        return max(self.attachments(model), key=lambda a: a.number, default=None)

    def lost(self, worker: Server) -> None:
        """``worker`` is dead: whatever it owed will not come."""
        for attachment in [a for a in self._all.values() if a.worker is worker]:
            self._send({"op": "lost", "link": attachment.number}, ())
            self._drop(attachment, "the worker died")

    def taken(self, number: int) -> Attachment | None:
        """The process uses link ``number``, and no longer the ones it replaces; ``None`` when it was taken back meanwhile."""
        attachment = self._all.get(number)
        if attachment is None:
            return None
        for older in [a for a in self.attachments(attachment.model) if a.number < number]:
            if self._single or older.worker.version.digest != attachment.worker.version.digest:
                older.worker.unlink(older.number)
                self._drop(older, "a newer link was taken")
        if not attachment.taken.done():
            attachment.taken.set_result(None)
        return attachment

    def refused(self, number: int, reason: str) -> None:
        """The process cannot use link ``number``."""
        attachment = self._all.get(number)
        if attachment is not None:
            attachment.worker.unlink(number)
            self._drop(attachment, reason)

    def hung(self, number: int) -> Server | None:
        """The process gave up waiting on link ``number``; the worker that let it wait."""
        attachment = self._all.get(number)
        if attachment is None:
            return None
        attachment.worker.unlink(number)
        self._drop(attachment, "the worker did not answer in time")
        return attachment.worker

    def shadow(self, worker: Worker | None) -> None:
        """Have ``worker`` answer unseen beside the one that serves its model; ``None`` ends it."""
        if self._shadow is not None:
            shadow, number = self._shadow
            self._send({"op": "unshadow"}, ())
            shadow.unlink(number)
            self._shadow = None
        if worker is not None:
            number = next(self._numbers)
            self._shadow = (worker, number)
            self._connect("shadow", number, worker)

    def clear(self, reason: str) -> list[Server]:
        """The process is gone; the workers it was linked to."""
        self._shadow = None
        workers = [attachment.worker for attachment in self._all.values()]
        for attachment in list(self._all.values()):
            attachment.worker.unlink(attachment.number)
            self._drop(attachment, reason)
        return workers

    def _connect(self, op: str, number: int, worker: Worker) -> bool:
        fds = create_link(layout_for(worker.version.manifest, self._slots).total_bytes)
        try:
            message = {"op": op, **_about(number, worker), "slots": self._slots}
            return worker.link(number, self._slots, fds) and self._send(message, fds.all())
        finally:
            fds.close()

    def _inline(self, number: int, worker: InlineWorker) -> bool:
        folder = str(worker.version.folder)
        return self._send({"op": "inline", **_about(number, worker), "folder": folder, "options": options_to_json(worker.options)}, ())

    def _drop(self, attachment: Attachment, reason: str) -> None:
        self._all.pop(attachment.number, None)
        if not attachment.taken.done():
            attachment.taken.set_exception(EdgeError(f"{self._who}: {reason}"))


def _about(number: int, worker: Server) -> dict[str, Any]:
    version = worker.version
    return {"link": number, "model": version.model, "digest": version.digest, "manifest": to_json(version.manifest).decode()}
