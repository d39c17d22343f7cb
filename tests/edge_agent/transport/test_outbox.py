"""The outbox keeps what it promised, in order, within its quota, whatever happens to the process, the file or the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import wait_for

from edge_agent.clock import SystemClock
from edge_agent.transport.outbox import SqliteOutbox
from edge_agent.transport.outbox_file import OutboxFile, Row
from edge_agent.values import Event

HOUR_S = 3600.0


@contextmanager
def opened(
    path: Path,
    *,
    quota_mib: int = 4,
    flush_s: float = 0.02,
    retry_s: float = 0.02,
    ram_bytes: int = 4 << 20,
    report: Callable[[Event], None] | None = None,
) -> Iterator[SqliteOutbox]:
    outbox = SqliteOutbox(
        path, quota_mib=quota_mib, clock=SystemClock(), report=report, flush_s=flush_s, retry_s=retry_s, ram_bytes=ram_bytes
    )
    try:
        yield outbox
    finally:
        outbox.close()


def payloads(outbox: SqliteOutbox, limit: int = 10_000) -> list[bytes]:
    return [row.payload for row in outbox.take(limit)]


def on_disk(path: Path) -> list[Row]:
    file = OutboxFile(path, 1 << 20)
    try:
        return file.after(0, 100_000)
    finally:
        file.close()


def test_messages_come_out_in_the_order_they_went_in_from_memory_and_from_disk(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", flush_s=HOUR_S) as outbox:
        for n in range(30):
            outbox.put(f"t/{n}", b"%d" % n, keep=n % 3, retain=n % 2 == 0)
        rows = outbox.take(12) + outbox.take(100)
        assert [row.payload for row in rows] == [b"%d" % n for n in range(30)]
        assert [(row.topic, row.retain, row.keep) for row in rows] == [(f"t/{n}", n % 2 == 0, n % 3) for n in range(30)]
        assert outbox.take(5) == []


def test_what_was_not_acknowledged_is_given_again_after_a_rewind_and_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    with opened(path) as outbox:
        for n in range(10):
            outbox.put("t", b"%d" % n, keep=1)
        rows = outbox.take(10)
        outbox.ack([row.id for row in rows if row.payload not in (b"3", b"7")])
        assert outbox.queued() == 2
        outbox.rewind()
        assert payloads(outbox) == [b"3", b"7"]
    with opened(path) as outbox:
        assert outbox.queued() == 2
        outbox.put("t", b"10")
        assert payloads(outbox) == [b"3", b"7", b"10"]


def test_a_message_acknowledged_before_the_flush_is_never_written(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    with opened(path, flush_s=HOUR_S) as outbox:
        for _ in range(50):
            outbox.put("t", b"x" * 200)
            outbox.ack([row.id for row in outbox.take(1)])
        assert outbox.queued() == 0
    assert on_disk(path) == []
    with opened(path) as outbox:
        outbox.put("t", b"y")
        assert wait_for(lambda: on_disk(path), what="the flush by time")[0].payload == b"y"


def test_waking_tells_the_deliverer_of_every_put(tmp_path: Path) -> None:
    woken: list[int] = []
    with opened(tmp_path / "o.db") as outbox:
        outbox.listen(lambda: woken.append(1))
        outbox.put("t", b"1")
        outbox.put("t", b"2", keep=2)
    assert len(woken) == 2


CHILD = """
import sys
from pathlib import Path
from edge_agent.clock import SystemClock
from edge_agent.transport.outbox import SqliteOutbox
outbox = SqliteOutbox(Path(sys.argv[1]), quota_mib=4, clock=SystemClock(), flush_s=3600.0)
for n in range(10_000_000):
    outbox.put("t", b"%d" % n, keep=1 + n % 2)
    print(n, flush=True)
"""


def test_a_killed_process_loses_nothing_that_put_had_promised(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for _ in range(40):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    promised = 39 + len([line for line in child.stdout.read().splitlines() if line])
    child.wait()
    child.stdout.close()
    found = [int(row.payload) for row in on_disk(path)]
    assert found[: promised + 1] == list(range(promised + 1))


def test_many_threads_share_commits_and_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    with opened(path, flush_s=HOUR_S) as outbox:

        def send(name: int) -> None:
            for n in range(20):
                outbox.put(f"t/{name}", b"%d" % n, keep=2)

        threads = [threading.Thread(target=send, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rows = on_disk(path)
    assert len(rows) == 160
    for name in range(8):
        assert [int(row.payload) for row in rows if row.topic == f"t/{name}"] == list(range(20))


def test_a_full_quota_gives_up_the_oldest_of_the_least_important_and_says_so_once(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    events: list[Event] = []
    with opened(path, quota_mib=1, report=events.append) as outbox:
        for n in range(1500):
            outbox.put("m", b"metrics %5d" % n + b"." * 900)
            if n % 50 == 0:
                outbox.put("e", b"event %d" % n, keep=1)
                outbox.put("r", b"result %d" % n, keep=2)
        wait_for(lambda: any(e.kind == "outbox_full" for e in events), what="the event")
        rows = outbox.take(10_000)
        dropped = outbox.dropped()
    assert [row.payload for row in rows if row.keep == 2] == [b"result %d" % n for n in range(0, 1500, 50)]
    assert [row.payload for row in rows if row.keep == 1] == [b"event %d" % n for n in range(0, 1500, 50)]
    metrics = [int(row.payload[8:13]) for row in rows if row.keep == 0]
    assert metrics == list(range(1500 - len(metrics), 1500))
    assert dropped == 1500 - len(metrics) > 0
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 1 << 20
    assert [e.kind for e in events] == ["outbox_full"]


def test_the_most_important_of_a_full_outbox_stay_when_less_important_ones_come(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", quota_mib=1) as outbox:
        for n in range(900):
            outbox.put("r", b"%4d" % n + b"." * 900, keep=2)
        kept = [row.payload for row in outbox.take(10_000)]
        for _ in range(20):
            outbox.put("m", b"." * 900)
        outbox.put("e", b"event", keep=1)
        outbox.rewind()
        assert [row.payload for row in outbox.take(10_000) if row.keep == 2] == kept
        assert kept[-1][:4] == b" 899"


def test_a_message_larger_than_the_quota_is_dropped_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", quota_mib=1) as outbox:
        outbox.put("t", b"small", keep=1)
        outbox.put("t", b"x" * (900 << 10), keep=1)
        assert payloads(outbox) == [b"small"]
        assert outbox.dropped() == 1


@pytest.mark.parametrize("hurt", ["header", "middle", "not a database", "empty log"])
def test_a_damaged_file_is_set_aside_and_the_agent_goes_on(tmp_path: Path, hurt: str) -> None:
    path = tmp_path / "o.db"
    with opened(path) as outbox:
        for n in range(300):
            outbox.put("t", b"%d" % n + b"." * 300, keep=1 if n == 299 else 0)
    data = bytearray(path.read_bytes())
    if hurt == "header":
        data[:100] = os.urandom(100)
    elif hurt == "middle":
        data[4096:40960] = os.urandom(36864)
    elif hurt == "not a database":
        data = bytearray(b"hello " * 999)
    else:
        data = bytearray(data[: len(data) // 2])
    path.write_bytes(bytes(data))
    events: list[Event] = []
    with opened(path, report=events.append) as outbox:
        outbox.put("t", b"new", keep=2)
        assert payloads(outbox)[-1:] == [b"new"]
        wait_for(lambda: [e.kind for e in events] == ["outbox_damaged"], what="the event")
    assert path.with_name("o.db.damaged").exists()
    assert [row.payload for row in on_disk(path)] == [b"new"]


def test_damage_found_while_running_is_counted_and_repaired(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    events: list[Event] = []
    with opened(path, report=events.append) as outbox:
        for n in range(400):
            outbox.put("t", b"%d" % n + b"." * 300, keep=1 if n == 399 else 0)
        wait_for(lambda: len(on_disk(path)) == 400, what="all on disk")
        with path.open("r+b") as file:
            file.seek(1024)
            file.write(os.urandom(path.stat().st_size - 1024))
        with Path(f"{path}-wal").open("r+b") as log:
            log.write(os.urandom(Path(f"{path}-wal").stat().st_size))

        def repaired() -> bool:
            outbox.rewind()
            outbox.take(1000)
            outbox.put("t", b"after", keep=1)
            return any(e.kind == "outbox_damaged" for e in events)

        wait_for(repaired, what="the damage to be noticed")
        outbox.put("t", b"last", keep=2)
        outbox.rewind()
        assert payloads(outbox)[-1] == b"last"
        assert outbox.dropped() > 0


def test_a_disk_that_is_not_there_does_not_stop_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    path.mkdir()
    events: list[Event] = []
    with opened(path, report=events.append) as outbox:
        for n in range(5):
            outbox.put("t", b"%d" % n, keep=2)
        wait_for(lambda: [e.kind for e in events] == ["outbox_disk_failed"], what="the first event")
        assert payloads(outbox) == [b"0", b"1", b"2", b"3", b"4"]
        path.rmdir()
        wait_for(lambda: [e.kind for e in events] == ["outbox_disk_failed", "outbox_disk_back"], what="the second event")
    assert [row.payload for row in on_disk(path)] == [b"0", b"1", b"2", b"3", b"4"]


LIMITED = """
import resource, signal, sys, threading
from pathlib import Path
from edge_agent.clock import SystemClock
from edge_agent.transport.outbox import SqliteOutbox
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
kinds, moved = [], threading.Condition()
def report(event):
    with moved:
        kinds.append(event.kind)
        moved.notify_all()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
outbox = SqliteOutbox(Path(sys.argv[1]), quota_mib=4, clock=SystemClock(), report=report, retry_s=0.02, ram_bytes=1 << 20)
for n in range(3000):
    outbox.put("t", b"%d" % n + b"." * 500, keep=1)
assert kinds[:1] == ["outbox_disk_failed"], kinds
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with moved:
    assert moved.wait_for(lambda: "outbox_disk_back" in kinds, 10), kinds
outbox.put("t", b"end", keep=2)
rows = [row.payload.rstrip(b".") for row in outbox.take(10_000)]
print(len(rows), outbox.dropped(), rows[-2].decode(), rows[-1].decode(), kinds.count("outbox_disk_failed"))
outbox.close()
"""


def test_a_disk_that_refuses_writes_leaves_memory_bounded_and_is_taken_up_again(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    queued, dropped, before_last, last, failures = done.stdout.split()
    assert (before_last, last, failures) == ("2999", "end", "1")
    assert int(queued) + int(dropped) == 3001
    assert int(dropped) > 0
    assert len(on_disk(path)) == int(queued)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 2)),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("ack"), st.integers(1, 4)),
        st.tuples(st.just("rewind"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(operations)
def test_any_sequence_of_acts_agrees_with_a_plain_list(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    path = tmp_path_factory.mktemp("outbox") / "o.db"
    queue: list[bytes] = []
    given_out: list[Row] = []
    outbox = SqliteOutbox(path, quota_mib=4, clock=SystemClock(), flush_s=0.001)
    count = 0
    try:
        for act, number in steps:
            if act == "put":
                queue.append(b"%d" % count)
                outbox.put("t", queue[-1], keep=number)
                count += 1
            elif act == "take":
                rows = outbox.take(number)
                assert [row.payload for row in rows] == queue[len(given_out) : len(given_out) + number]
                given_out += rows
            elif act == "ack":
                gone, given_out = given_out[:number], given_out[number:]
                outbox.ack([row.id for row in gone])
                queue = queue[len(gone) :]
            else:
                if act == "reopen":
                    outbox.close()
                    outbox = SqliteOutbox(path, quota_mib=4, clock=SystemClock(), flush_s=0.001)
                outbox.rewind()
                given_out = []
            assert outbox.queued() == len(queue)
    finally:
        outbox.close()


def test_a_message_acknowledged_before_it_could_be_written_does_not_keep_its_sender_waiting(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", flush_s=HOUR_S) as outbox:
        outbox.listen(lambda: outbox.ack([row.id for row in outbox.take(100)]))
        done = threading.Event()

        def send() -> None:
            for number in range(100):
                outbox.put("t", b"%d" % number, keep=1)
            done.set()

        threading.Thread(target=send, daemon=True).start()
        assert done.wait(4.0), "a put waited for a write that was not needed any more"


def test_a_sender_that_may_not_wait_is_not_held_by_a_card_that_stalls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stalled, released = threading.Event(), threading.Event()
    write = OutboxFile.write

    def stall(self: OutboxFile, *args: Any, **kwargs: Any) -> int:
        stalled.set()
        assert released.wait(30)
        return write(self, *args, **kwargs)

    monkeypatch.setattr(OutboxFile, "write", stall)
    with opened(tmp_path / "o.db") as outbox:
        done = threading.Event()

        def send() -> None:
            outbox.put("t", b"1", keep=1, wait=False)
            stalled.wait(5)
            outbox.put("t", b"2", keep=1, wait=False)
            done.set()

        threading.Thread(target=send, daemon=True).start()
        assert done.wait(8), "it waited for the card"
        assert stalled.is_set()
        released.set()
        wait_for(lambda: len(on_disk(tmp_path / "o.db")) == 2, what="both are written")
