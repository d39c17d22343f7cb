"""The queue every outgoing message passes through, so that an outage of the broker or of the agent loses nothing that matters.

What ``put`` promises when it returns, by ``keep``: 2 (results) survives the loss of power, 1 (events) the death of the process, 0
(metrics, predictions) is written within ``flush_s``; a message that the broker has acknowledged by then never wears the card.
A disk that is full or broken does not stop the agent: messages wait in a bounded part of memory until the disk is back.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from edge_agent.clock import Clock, monotonic_s
from edge_agent.errors import StoreError
from edge_agent.ports import Reporter
from edge_agent.transport.outbox_file import OutboxFile, Row, StoreDamaged, open_or_quarantine, set_aside
from edge_agent.values import Event

PUT_LIMIT_S = 10.0
"""A card that stalls for longer must not stop the agent: ``put`` returns, and the message is written when the card answers."""


class SqliteOutbox:
    """The outbox on disk. Any thread may ``put``; one thread takes and acknowledges; a thread of its own does all the writing."""

    def __init__(
        self,
        path: Path,
        *,
        quota_mib: int,
        clock: Clock,
        report: Reporter | None = None,
        flush_s: float = 5.0,
        retry_s: float = 5.0,
        ram_bytes: int = 4 << 20,
    ) -> None:
        """Open or make ``path``. Never raises for what the disk does: that is reported, and tried again."""
        self._path = path
        self._quota_bytes = quota_mib << 20
        self._ram_bytes = ram_bytes
        self._flush_s = flush_s
        self._retry_s = retry_s
        self._clock = clock
        self._changed = threading.Condition()
        self._pending: dict[int, Row] = {}
        self._pending_bytes = 0
        self._since_s = 0.0
        self._written_s = monotonic_s(clock)
        self._asleep = False
        self._gone: set[int] = set()
        self._next_id = 1
        self._cursor = 0
        self._stored = 0
        self._stored_top = 0
        self._dropped = 0
        self._urgent = 0
        self._damage = ""
        self._retry_at_s: float | None = None
        self._dropping = False
        self._closing = False
        self._notices: deque[Event] = deque(maxlen=16)
        self._report = report
        self._in_use = False
        self._wake: Callable[[], None] | None = None
        self._file: OutboxFile | None = None
        self._open()
        if self._file is None:
            # The ids in a file that will open later are unknown; these must come after them.
            self._next_id = clock.wall_ns()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    # For those who send

    def put(self, topic: str, payload: bytes, *, keep: int = 0, retain: bool = False, wait: bool = True) -> None:
        """Queue a message; see the module's first lines for what holds when this returns.

        Without ``wait`` it returns at once and the message is written as soon as the card takes it: for threads that must not stall.
        """
        with self._changed:
            row = Row(self._next_id, topic, payload, retain, keep)
            self._next_id += 1
            if not self._pending:
                self._since_s = monotonic_s(self._clock)
            self._pending[row.id] = row
            self._pending_bytes += row.size_bytes
            self._bound_memory()
            if keep > 0 or self._pending_bytes > self._ram_bytes // 2:
                self._urgent = max(self._urgent, keep, 1)
            if self._urgent or self._asleep or not self._in_use:
                self._in_use = True
                self._changed.notify_all()
        if self._wake is not None:
            self._wake()
        # The writing thread reports its own troubles through here: it must not wait for itself.
        if wait and keep > 0 and threading.current_thread() is not self._thread:
            with self._changed:
                self._changed.wait_for(lambda: self._is_settled(row.id), PUT_LIMIT_S)

    def _is_settled(self, row_id: int) -> bool:
        """Whether a put of ``row_id`` need not wait: it is on disk, acknowledged or given up, or the disk cannot be written now."""
        return row_id not in self._pending or self._retry_at_s is not None or self._closing

    def queued(self) -> int:
        """Messages not yet acknowledged."""
        with self._changed:
            return max(0, self._stored - len(self._gone) + len(self._pending))

    def dropped(self) -> int:
        """Messages given up for want of space, or lost with a damaged file, since this object was made."""
        with self._changed:
            return self._dropped

    # For the one who delivers

    def listen(self, wake: Callable[[], None]) -> None:
        """``wake`` is called after every ``put``, on the putting thread; it must not block."""
        with self._changed:
            self._wake = wake
            self._in_use = True
            self._changed.notify_all()

    def take(self, limit: int) -> list[Row]:
        """The next rows in the order of ``put``, at most ``limit``; each is given once until :meth:`rewind`."""
        with self._changed:
            rows = {row.id: row for row in islice((r for r in self._pending.values() if r.id > self._cursor), limit)}
            file = self._file if self._stored_top > self._cursor else None
        # Memory first, then disk: a row on its way from one to the other is seen twice, never missed.
        if file is not None:
            rows.update((row.id, row) for row in self._stored_rows(file, limit))
        taken = [rows[row_id] for row_id in sorted(rows)[:limit]]
        if taken:
            self._cursor = taken[-1].id
        return taken

    def rewind(self) -> None:
        """Give everything that is not acknowledged again: the connection that had it is gone."""
        self._cursor = 0

    def ack(self, ids: Iterable[int]) -> None:
        """The broker has these: they need not be kept."""
        with self._changed:
            for row_id in ids:
                row = self._pending.pop(row_id, None)
                if row is None:
                    self._gone.add(row_id)
                    continue
                self._pending_bytes -= row.size_bytes
                if row.keep > 0:
                    self._changed.notify_all()  # its put may be waiting for a write that is not needed any more
            if self._dropping and self._stored <= len(self._gone) and not self._pending:
                self._dropping = False

    def close(self) -> None:
        """Write what is in memory, with a sync, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout=10.0)

    # The writing thread

    def _run(self) -> None:
        while True:
            with self._changed:
                pause_s = self._pause_s()
                self._asleep = pause_s is None
                self._changed.wait(pause_s)
                self._asleep = False
                closing = self._closing
            self._flush(everything=closing)
            self._tell()
            if closing:
                break
        if self._file is not None:
            self._file.close()

    def _pause_s(self) -> float | None:
        """How long the writing thread may sleep: 0 when there is something to do, ``None`` when only a ``put`` can bring work."""
        if self._closing or (self._notices and self._may_tell()):
            return 0.0
        now_s = monotonic_s(self._clock)
        if self._retry_at_s is not None:
            return max(0.0, self._retry_at_s - now_s)
        if self._urgent or self._damage:
            return 0.0
        due_s = [self._since_s + self._flush_s] if self._pending else []
        due_s += [self._written_s + self._flush_s] if self._gone else []
        return max(0.0, min(due_s) - now_s) if due_s else None

    def _flush(self, *, everything: bool) -> None:
        with self._changed:
            now_s = monotonic_s(self._clock)
            if self._retry_at_s is not None and now_s < self._retry_at_s and not everything:
                return
            due = everything or self._retry_at_s is not None or now_s >= self._since_s + self._flush_s
            crowded = self._pending_bytes > self._ram_bytes // 2
            rows = [row for row in self._pending.values() if due or crowded or row.keep > 0]
            gone = set(self._gone) if rows or due or now_s >= self._written_s + self._flush_s else set()
            sync = everything or self._urgent >= 2
            self._urgent = 0
        if not rows and not gone and self._retry_at_s is None and not self._damage:
            return
        try:
            self._recover()
            assert self._file is not None
            dropped = self._file.write(rows, gone, sync=sync) if rows or gone else 0
        except (StoreError, OSError) as error:
            self._failed(error)
            return
        self._written(rows, gone, dropped)

    def _written(self, rows: list[Row], gone: set[int], dropped: int) -> None:
        assert self._file is not None
        with self._changed:
            for row in rows:
                if self._pending.pop(row.id, None) is None:
                    self._gone.add(row.id)  # acknowledged while it was being written
                else:
                    self._pending_bytes -= row.size_bytes
            self._gone -= gone
            self._stored, self._stored_top = self._file.count, self._file.top
            self._since_s = self._written_s = monotonic_s(self._clock)
            self._give_up(dropped)
            if self._retry_at_s is not None:
                self._retry_at_s = None
                self._notice("outbox_disk_back", "info", f"{self._path}: can be written again")
            self._changed.notify_all()

    def _failed(self, error: Exception) -> None:
        with self._changed:
            if isinstance(error, StoreDamaged):
                self._damage = str(error)
            if self._retry_at_s is None:
                self._notice("outbox_disk_failed", "error", f"{error}; messages wait in memory, at most {self._ram_bytes} bytes of them")
            self._retry_at_s = monotonic_s(self._clock) + self._retry_s
            self._changed.notify_all()

    def _recover(self) -> None:
        """Bring back a file that is usable: open one that could not be opened, replace one that is damaged."""
        if self._damage:
            damage, self._damage = self._damage, ""
            with self._changed:
                file, self._file = self._file, None
                lost = max(0, self._stored - len(self._gone))
                self._stored, self._stored_top = 0, 0
                self._gone.clear()
                self._dropped += lost
                self._notice("outbox_damaged", "error", f"{damage}; set aside with {lost} messages in it, a new one is used", lost=lost)
            if file is not None:
                file.close()
            set_aside(self._path)
        if self._file is None:
            self._open()
        if self._file is None:
            raise StoreError(f"{self._path}: cannot be opened")

    def _open(self) -> None:
        try:
            file, damage = open_or_quarantine(self._path, self._quota_bytes)
        except (StoreError, OSError) as error:
            self._failed(error)
            return
        with self._changed:
            self._file = file
            self._stored, self._stored_top = file.count, file.top
            self._next_id = max(self._next_id, file.top + 1)
            if damage:
                self._notice("outbox_damaged", "error", f"{damage}; set aside, a new one is used")

    def _stored_rows(self, file: OutboxFile, limit: int) -> list[Row]:
        """Rows on disk after the cursor that are not acknowledged."""
        found: list[Row] = []
        after = self._cursor
        while len(found) < limit:
            try:
                rows = file.after(after, limit)
            except StoreError as error:
                self._unreadable(error)
                break
            with self._changed:
                found += [row for row in rows if row.id not in self._gone]
            if len(rows) < limit:
                break
            after = rows[-1].id
        return found[:limit]

    def _unreadable(self, error: StoreError) -> None:
        with self._changed:
            if isinstance(error, StoreDamaged):
                self._damage = str(error)
                self._changed.notify_all()

    # Bounds and notices; the lock is held

    def _bound_memory(self) -> None:
        """Drop the oldest of the lowest class from memory, a tenth at a time so that it is not done for every message."""
        if self._pending_bytes <= self._ram_bytes or len(self._pending) == 1:
            return
        newest = self._next_id - 1
        dropped = 0
        for row in sorted(self._pending.values(), key=lambda r: (r.keep, r.id == newest, r.id)):
            if self._pending_bytes <= self._ram_bytes * 9 // 10:
                break
            del self._pending[row.id]
            self._pending_bytes -= row.size_bytes
            dropped += 1
        self._give_up(dropped)

    def _give_up(self, dropped: int) -> None:
        self._dropped += dropped
        if dropped and not self._dropping:
            self._dropping = True
            self._notice(
                "outbox_full", "warning", f"{self._path}: the quota is used up; the oldest of the least important messages go first"
            )

    def _notice(self, kind: str, level: str, message: str, **data: int) -> None:
        self._notices.append(Event(kind, level, message, self._clock.monotonic_ns(), data))

    def _may_tell(self) -> bool:
        # Before anyone uses the outbox, those who want to hear of it are still being put together.
        return self._report is not None and (self._in_use or self._closing)

    def _tell(self) -> None:
        while self._report is not None and self._notices and self._may_tell():
            self._report(self._notices.popleft())
