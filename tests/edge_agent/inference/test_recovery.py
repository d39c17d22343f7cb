from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_rig import Rig
from waiting import wait_for

from benchmarks.tiny_model import make_bundle, poisonable_graph
from edge_agent.config import EngineConfig, PipelineConfig, SourceConfig
from edge_agent.errors import EdgeError
from edge_agent.inference import zygote_client


def open_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children(pid: int) -> list[int]:
    return [int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_killing_the_worker_under_load_loses_no_window(rig: Rig, number: int) -> None:
    rig.replay(400, rate_hz=400)
    for kill in range(3):
        rig.wait_windows(50 * (kill + 1))
        rig.kill("worker", number)
        event = rig.wait_event("worker_died", kill + 1)
        assert event.data["signal"] == number
        rig.wait_event("worker_restarted", kill + 1)
    counters = rig.wait_ended().counters
    assert (counters.processed, counters.failed, counters.dropped) == (400, 0, 0)
    assert sorted(line["window_seq"] for line in rig.lines()) == list(range(400))
    assert rig.engine.health("tiny").crashes == 3


def test_a_worker_that_hangs_is_killed_at_the_deadline_and_its_window_is_asked_again(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(deadline_ms=200, crash_limit=1000))
    rig.replay(300, rate_hz=300)
    rig.wait_windows(20)
    hung = rig.kill("worker", signal.SIGSTOP)
    assert rig.wait_event("worker_hung").data["pid"] == hung
    rig.wait_event("worker_restarted")
    counters = rig.wait_ended().counters
    assert (counters.processed, counters.failed, counters.replayed) == (300, 0, 1)
    assert not Path(f"/proc/{hung}").exists()


def test_a_window_that_hangs_two_workers_is_failed_and_the_next_is_answered(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(deadline_ms=150, crash_limit=1000))
    bundle = make_bundle(rig.folder / "poisonable", version="3.0.0", graph=poisonable_graph())
    rig.store.add(bundle)
    rig.engine.switch("tiny", bundle.digest)
    path = rig.folder / "poisoned.csv"
    path.write_text("1,2,3,4\n" * 50 + "1,1e18,1,1\n" + "1,2,3,4\n" * 49)
    rig.engine.add_pipeline(PipelineConfig("p", "tiny", SourceConfig("replay", {"path": path}), (rig.jsonl(),)))
    counters = rig.wait_ended().counters
    assert (counters.processed, counters.failed, counters.replayed) == (99, 1, 1)
    assert rig.kinds().count("worker_hung") == 2
    assert "window 50: the worker died or hung 2 times" in rig.wait_event("window_failed").message


def test_nothing_leaks_over_thirty_kills(rig: Rig) -> None:
    rig.replay(100, rate_hz=200, loop=True)
    rig.wait_windows(10)
    fds = open_fds()
    zygote, pipeline = rig.pid("zygote"), rig.pid("pipeline")
    pipeline_fds = len(list(Path(f"/proc/{pipeline}/fd").iterdir()))
    zygote_fds = len(list(Path(f"/proc/{zygote}/fd").iterdir()))
    for kill in range(30):
        rig.kill("worker")
        rig.wait_event("worker_restarted", kill + 1)
        rig.wait_windows(rig.status().counters.windows + 1)
    assert rig.status().counters.failed == 0
    assert open_fds() == fds
    assert len(list(Path(f"/proc/{pipeline}/fd").iterdir())) == pipeline_fds
    assert len(list(Path(f"/proc/{zygote}/fd").iterdir())) == zygote_fds
    assert sorted(children(zygote)) == sorted(pid for role, pid in rig.engine.processes() if role != "zygote")


def test_a_crash_loop_is_told_once_and_the_engine_keeps_trying(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(crash_limit=3, crash_window_s=60))
    for death in range(3):
        rig.kill("worker")
        rig.wait_event("worker_died", death + 1)
        if death < 2:
            rig.wait_event("worker_restarted", death + 1)
    wait_for(lambda: rig.loops)
    assert rig.loops == [("tiny", rig.one.digest)]
    rig.wait_event("worker_restarted", 3)
    assert rig.loops == [("tiny", rig.one.digest)]


def test_a_pipeline_that_dies_is_started_again(rig: Rig) -> None:
    rig.replay(100, rate_hz=200, loop=True)
    rig.wait_windows(10)
    before = rig.engine.progress()
    rig.kill("pipeline")
    assert rig.wait_event("pipeline_died").data["signal"] == signal.SIGKILL
    wait_for(lambda: rig.status().state == "running" and rig.status().counters.windows > 10)
    assert rig.status().restarts == 1
    assert rig.engine.progress() > before
    assert rig.engine.health("tiny").windows >= before


def test_when_the_zygote_dies_all_starts_again(rig: Rig) -> None:
    rig.replay(100, rate_hz=200, loop=True)
    rig.wait_windows(10)
    old = [pid for _, pid in rig.engine.processes()]
    rig.kill("zygote")
    rig.wait_event("zygote_died")
    rig.wait_event("worker_restarted")
    wait_for(lambda: rig.status().state == "running" and rig.status().counters.windows > 10)
    assert not set(old) & {pid for _, pid in rig.engine.processes()}
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in old))


def test_a_zygote_that_does_not_obey_is_ended_and_all_starts_again(make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.inference.zygote_client.KILL_TIMEOUT_S", 0.3)
    rig = make_rig(EngineConfig(deadline_ms=200, crash_limit=1000))
    rig.replay(100, rate_hz=200, loop=True)
    rig.wait_windows(10)
    stopped = rig.kill("zygote", signal.SIGSTOP)
    rig.kill("worker")  # its parent does not tell
    rig.wait_event("worker_hung")
    rig.wait_event("zygote_died")
    assert rig.pid("zygote") != stopped
    rig.wait_event("pipeline_died")
    wait_for(lambda: rig.status().state == "running" and rig.status().counters.windows > 10)


def test_where_forking_is_not_safe_fresh_processes_do_the_same(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@" --spawn\n')
    python.chmod(0o755)
    rig = make_rig(python=str(python))
    assert "fresh processes" in rig.wait_event("zygote_spawns").message
    rig.replay(100, rate_hz=200, loop=True)
    rig.wait_windows(10)
    rig.kill("worker", signal.SIGSEGV)
    rig.wait_event("worker_restarted")
    rig.engine.switch("tiny", rig.two.digest)
    rig.wait_windows(rig.status().counters.windows + 10)
    assert rig.status().counters.failed == 0
    assert not any(Path(f"/proc/{pid}/cmdline").read_bytes().count(b"zygote") for role, pid in rig.engine.processes() if role != "zygote")


def test_a_worker_may_not_take_more_memory_than_it_is_given(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(memory_limit_mib=1, crash_limit=1), serve=False)
    with pytest.raises(EdgeError, match=r"tiny@1\.0\.0"):
        rig.engine.serve("tiny")


@pytest.mark.parametrize("role", ["worker", "pipeline"])
def test_a_process_that_cannot_be_started_just_now_is_tried_again(rig: Rig, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    rig.replay(100, rate_hz=100, loop=True)
    rig.wait_windows(5)
    real, refused = zygote_client.pair, []

    def once_without_descriptors() -> object:
        if not refused:
            refused.append(1)
            raise OSError(errno.EMFILE, "Too many open files")
        return real()

    monkeypatch.setattr(zygote_client, "pair", once_without_descriptors)
    killed = rig.kill(role)
    wait_for(lambda: refused and rig.pids(role) and rig.pids(role) != [killed], what=f"another {role}")
    windows = rig.status().counters.windows
    wait_for(lambda: rig.status().counters.windows > windows, what="more answers")
