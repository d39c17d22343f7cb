"""The outbox's SQLite file: rows in, rows out, a quota, and what to do when the file is damaged.

WAL journal and 1 KiB pages (a third of the bytes that 4 KiB pages cost for small records); a commit survives the death of the process, a
commit with ``sync`` also the loss of power (https://www.sqlite.org/pragma.html#pragma_synchronous). The quota is ``max_page_count``, kept
well below the file system's size: on a file system that is full SQLite cannot delete either.
"""

from __future__ import annotations

import heapq
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import StoreError, StoreFull
from edge_agent.update.durable import fsync_dir

PAGE_BYTES = 1024
CACHE_KIB = 256
"""Pages that each connection keeps. SQLite would keep 2 MiB each from the first backlog on; rows are read once and in order."""
_WAL_PAGES_MAX = 512
_MARGIN_PAGES = 16
_ROW_BYTES = 32
_SCHEMA = """CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY, keep INTEGER NOT NULL, retain INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL)"""


class StoreDamaged(StoreError):
    """The file is not a readable database any more."""


@dataclass(frozen=True, slots=True)
class Row:
    """One waiting message. ``keep`` as in :class:`edge_agent.ports.Outbox`; ids count up in the order of ``put``."""

    id: int
    topic: str
    payload: bytes
    retain: bool
    keep: int = 0

    @property
    def size_bytes(self) -> int:
        """What the row takes on disk, about: rows that do not fit a page go to pages of their own."""
        content = len(self.topic) + len(self.payload) + _ROW_BYTES
        return content if content < PAGE_BYTES * 9 // 10 else (content // (PAGE_BYTES - 4) + 2) * PAGE_BYTES


class OutboxFile:
    """An open file. One thread writes; another may read at the same time. Every method raises StoreFull, StoreDamaged or StoreError."""

    def __init__(self, path: Path, quota_bytes: int) -> None:
        self._path = path
        self._quota_bytes = quota_bytes
        quota_pages = max(64, quota_bytes // PAGE_BYTES)
        # The log beside the file counts too: it may grow to about twice its checkpoint size.
        self._wal_pages = min(_WAL_PAGES_MAX, quota_pages // 8)
        self._max_pages = quota_pages - 2 * self._wal_pages
        self.count = 0
        self.top = 0
        self._read_lock = threading.Lock()
        self._writer = self._connect()
        try:
            with _named(path):
                self._prepare()
                self.count, self.top = self._writer.execute("SELECT count(*), coalesce(max(id), 0) FROM outbox").fetchone()
            self._reader = self._connect()
        except StoreError:
            self._writer.close()
            raise
        fsync_dir(path.parent)

    def _connect(self) -> sqlite3.Connection:
        with _named(self._path):
            connection = sqlite3.connect(self._path, timeout=5.0, isolation_level=None, check_same_thread=False)
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            return connection

    def _prepare(self) -> None:
        run = self._writer.execute
        run(f"PRAGMA page_size = {PAGE_BYTES}")
        run("PRAGMA journal_mode = WAL")
        run(f"PRAGMA wal_autocheckpoint = {self._wal_pages}")
        run(f"PRAGMA journal_size_limit = {self._wal_pages * PAGE_BYTES}")
        run(f"PRAGMA max_page_count = {self._max_pages}")
        verdict = run("PRAGMA quick_check(1)").fetchone()
        if verdict is None or verdict[0] != "ok":
            raise StoreDamaged(f"{self._path}: {verdict[0] if verdict else 'no answer to quick_check'}")
        run(_SCHEMA)

    def close(self) -> None:
        with self._read_lock:
            self._reader.close()
        self._writer.close()

    def after(self, row_id: int, limit: int) -> list[Row]:
        """The first ``limit`` rows with ids above ``row_id``, in order."""
        query = "SELECT id, topic, payload, retain, keep FROM outbox WHERE id > ? ORDER BY id LIMIT ?"
        with self._read_lock, _named(self._path):
            found = self._reader.execute(query, (row_id, limit)).fetchall()
        return [Row(r[0], r[1], r[2], bool(r[3]), r[4]) for r in found]

    def write(self, rows: Sequence[Row], gone: Iterable[int], *, sync: bool) -> int:
        """Delete the ids in ``gone`` and add ``rows``, in one commit; returns how many rows, old or new, were given up for the quota."""
        with _named(self._path):
            self._writer.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                deleted = self._delete(gone)
                kept, dropped = self._make_room(rows)
                deleted += dropped - (len(rows) - len(kept))
                inserted = self._insert(kept)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        self.count += inserted - deleted
        self.top = max([self.top, *(row.id for row in kept)])
        return dropped

    def _insert(self, rows: Iterable[Row]) -> int:
        # OR IGNORE: after an error in COMMIT nobody knows whether the rows are there; they are written again.
        before = self._writer.total_changes
        self._writer.executemany(
            "INSERT OR IGNORE INTO outbox (id, topic, payload, retain, keep) VALUES (?, ?, ?, ?, ?)",
            [(r.id, r.topic, r.payload, int(r.retain), r.keep) for r in rows],
        )
        return self._writer.total_changes - before

    def _delete(self, ids: Iterable[int]) -> int:
        before = self._writer.total_changes
        self._writer.executemany("DELETE FROM outbox WHERE id = ?", [(row_id,) for row_id in ids])
        return self._writer.total_changes - before

    def _make_room(self, rows: Sequence[Row]) -> tuple[list[Row], int]:
        """The part of ``rows`` that will fit, after old rows of lower or equal worth have gone; and how many went."""
        fitting = {r.id: r for r in rows if r.size_bytes < self._max_pages * PAGE_BYTES // 2}
        dropped = len(rows) - len(fitting)
        while fitting:
            short_bytes = sum(r.size_bytes for r in fitting.values()) - self._free_bytes()
            if short_bytes <= 0:
                break
            victims = list(self._victims(list(fitting.values()), short_bytes))
            self._delete(row_id for row_id in victims if row_id not in fitting)
            for row_id in victims:
                fitting.pop(row_id, None)
            dropped += len(victims)
        return list(fitting.values()), dropped

    def _free_bytes(self) -> int:
        pages = int(self._writer.execute("PRAGMA page_count").fetchone()[0])
        empty = int(self._writer.execute("PRAGMA freelist_count").fetchone()[0])
        return (self._max_pages - _MARGIN_PAGES - pages + empty) * PAGE_BYTES

    def _victims(self, rows: Sequence[Row], short_bytes: int) -> Iterator[int]:
        """Ids to give up: the oldest of the lowest class first, and within that class some more, so that this is not done for every row."""
        stored = self._writer.execute(f"SELECT keep, id, length(topic) + length(payload) + {_ROW_BYTES} FROM outbox ORDER BY keep, id")
        fresh = sorted((r.keep, r.id, r.size_bytes) for r in rows)
        freed_bytes = 0
        lowest: int | None = None
        for keep, row_id, size in heapq.merge(stored, fresh):
            lowest = keep if lowest is None else lowest
            enough = short_bytes if keep != lowest else short_bytes + self._quota_bytes // 20
            if freed_bytes >= enough:
                return
            freed_bytes += size
            yield row_id


def open_or_quarantine(path: Path, quota_bytes: int) -> tuple[OutboxFile, str]:
    """The file at ``path``, made when it is not there; a damaged one is moved aside first. Second value: why, or empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return OutboxFile(path, quota_bytes), ""
    except StoreDamaged as damage:
        set_aside(path)
        return OutboxFile(path, quota_bytes), str(damage)


def set_aside(path: Path) -> None:
    """Rename a damaged file to ``*.damaged`` for a person to look at; only the latest is kept, so that this cannot fill the disk."""
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    if path.exists():
        path.replace(f"{path}.damaged")


class _named:
    """Turns SQLite's errors into ours, with the file's name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, sqlite3.Error):
            return
        text = f"{self._path}: {error}"
        if "full" in str(error):
            raise StoreFull(f"{text}; free some space") from error
        # "disk I/O error" and "unable to open" are OperationalError; "malformed" and "not a database" are plain DatabaseError.
        if type(error) is sqlite3.DatabaseError:
            raise StoreDamaged(text) from error
        raise StoreError(text) from error
